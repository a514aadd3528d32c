//! Starting, stopping, resuming, and what is refused.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use pi_client::{CallOptions, secrets};
use pi_dev::{Role, bin_dir};
use pi_e2e::{
    Load, TestCluster, US, await_caught_up, await_equal_replicas, eventually, one_region, payload, tenant,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

fn create(name: &str) -> secrets::CreateRequest {
    secrets::CreateRequest {
        name: name.to_owned(),
        payload: payload("x"),
        ..secrets::CreateRequest::default()
    }
}

/// A process of the cluster that this test started itself, so that it learns the exit code.
struct Own(std::process::Child);

impl Own {
    /// Starts a process of the cluster again, as `pi-dev` does.
    fn start(cluster: &TestCluster, role: Role, region: &str, node: u64) -> Self {
        let process = cluster.process(role, region, node);
        let program = bin_dir().unwrap().join(if role == Role::Region { "pi-region" } else { "pi-gateway" });
        let mut command = Command::new(program);
        if role == Role::Region {
            command.arg("serve");
        }
        let log = std::fs::OpenOptions::new().append(true).open(process.log()).unwrap();
        command.arg("--config").arg(process.config()).stdin(Stdio::null());
        Self(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    async fn exit_code(&mut self) -> Option<i32> {
        let mut ended = None;
        for _ in 0..1_500 {
            ended = self.0.try_wait().unwrap();
            if ended.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ended.expect("it ends within 30 s").code()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Watches the health of a process until the connection ends; every status it said.
async fn health(address: String) -> Vec<ServingStatus> {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    let mut said = Vec::new();
    let request = HealthCheckRequest { service: String::new() };
    let mut stream = client.watch(request).await.unwrap().into_inner();
    while let Ok(Some(answer)) = stream.message().await {
        said.push(answer.status());
    }
    said
}

async fn is_serving(address: &str) -> Option<()> {
    let channel = Endpoint::from_shared(format!("http://{address}")).ok()?.connect().await.ok()?;
    let request = HealthCheckRequest { service: String::new() };
    let status = HealthClient::new(channel).check(request).await.ok()?.into_inner().status();
    (status == ServingStatus::Serving).then_some(())
}

/// Every node is stopped and started under load, one after the other: first all to be this test's own, then each own
/// one, the leader first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sigterm_a_node_says_not_serving_first_and_ends_with_0_and_writing_goes_on() {
    let mut cluster = TestCluster::start("sigterm", one_region).await.unwrap();
    let load = Load::start(&cluster, US, 4).await.unwrap();
    load.progress(50).await.unwrap();
    let mut nodes = Vec::new();
    for node in 1..=3 {
        cluster.stop(Role::Region, US, node).await.unwrap();
        nodes.push((node, Own::start(&cluster, Role::Region, US, node)));
        await_caught_up(&cluster, US, node).await.unwrap();
    }
    let leads = async |node: u64| cluster.node_status(US, node).await.is_ok_and(|s| s.role == "leader");
    let leader = async || {
        for node in 1..=3 {
            if leads(node).await {
                return Some(node);
            }
        }
        None
    };
    let leader = eventually("a node leads", leader).await.unwrap();
    nodes.sort_by_key(|(node, _)| *node != leader);
    for (node, mut own) in nodes {
        let address = cluster.process(Role::Region, US, node).address.clone();
        let status = tokio::spawn(health(address));
        load.progress(50).await.unwrap();
        let started = Instant::now();
        own.terminate();
        assert_eq!(own.exit_code().await, Some(0), "node {node}");
        println!("node {node} ended within {:.2?}; it led: {}", started.elapsed(), node == leader);
        assert_eq!(status.await.unwrap(), [ServingStatus::Serving, ServingStatus::NotServing]);
        cluster.start(Role::Region, US, node).unwrap();
        await_caught_up(&cluster, US, node).await.unwrap();
    }
    let history = load.stop().await.unwrap();
    history.verify().await.unwrap();
    await_equal_replicas(&cluster, US).await.unwrap();
    println!(
        "{} writes acknowledged, {} outcomes asked again; longest write gap {:.2?}",
        history.acknowledged(),
        history.unknown(),
        history.longest_gap()
    );
    assert!(history.longest_gap() < Duration::from_secs(4), "{:?}", history.longest_gap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sigterm_a_gateway_says_not_serving_first_finishes_what_is_under_way_and_ends_with_0() {
    let mut cluster = TestCluster::start("gateway", one_region).await.unwrap();
    cluster.stop(Role::Gateway, "", 1).await.unwrap();
    let mut own = Own::start(&cluster, Role::Gateway, "", 1);
    cluster.ready().await.unwrap();
    let client = cluster.client(&tenant("gateway"), US).unwrap();
    client.create(create("one"), CallOptions::default()).await.unwrap();
    let address = cluster.gateways()[0].clone();
    let status = tokio::spawn(health(address.clone()));
    let serving = || is_serving(&address);
    eventually("the gateway says that it serves", serving).await.unwrap();
    let started = Instant::now();
    own.terminate();
    assert_eq!(own.exit_code().await, Some(0));
    println!("the gateway ended within {:.2?}", started.elapsed());
    let said = status.await.unwrap();
    assert_eq!(said, [ServingStatus::Serving, ServingStatus::NotServing]);
}

#[tokio::test]
async fn a_node_whose_data_is_gone_or_anothers_is_refused_with_the_remedy() {
    let mut cluster = TestCluster::start("wiped", one_region).await.unwrap();
    let leader = cluster.await_leader(US).await.unwrap();
    let (wiped, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.stop(Role::Region, US, wiped).await.unwrap();
    let process = cluster.process(Role::Region, US, wiped);
    let data = process.dir.join("data");
    let serve = |config: &Path| {
        let program = bin_dir().unwrap().join("pi-region");
        Command::new(program).arg("serve").arg("--config").arg(config).output().unwrap()
    };
    let refused = |output: Output, words: &[&str]| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for word in words {
            assert!(said.contains(word), "expected {word:?} in: {said}");
        }
    };
    let kept = process.dir.join("kept");
    std::fs::rename(&data, &kept).unwrap();
    refused(serve(&process.config()), &[data.to_str().unwrap(), "pi-region init"]);
    std::fs::create_dir(&data).unwrap();
    refused(serve(&process.config()), &[data.to_str().unwrap(), "pi-region init"]);

    // Another node's data, as after a disk was put into the wrong machine.
    std::fs::remove_dir(&data).unwrap();
    cluster.stop(Role::Region, US, other).await.unwrap();
    let others = cluster.process(Role::Region, US, other).dir.join("data");
    let process = cluster.process(Role::Region, US, wiped);
    std::fs::rename(&others, &data).unwrap();
    refused(serve(&process.config()), &["node", &other.to_string(), &wiped.to_string()]);
    std::fs::rename(&data, &others).unwrap();

    // Put back, all is as before.
    std::fs::rename(&kept, &data).unwrap();
    cluster.start(Role::Region, US, wiped).unwrap();
    cluster.start(Role::Region, US, other).unwrap();
    cluster.ready().await.unwrap();
    await_equal_replicas(&cluster, US).await.unwrap();
}

/// Runs `pi-dev` on the cluster's directory.
async fn pi_dev(dir: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(bin_dir()?.join("pi-dev"));
    command.args(args).arg("--dir").arg(dir).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

async fn processes(dir: &Path) -> Vec<Value> {
    let text = pi_dev(dir, &["status", "-o", "json"]).await.unwrap();
    let mut status: Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<&String> = status.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["processes"]);
    serde_json::from_value(status["processes"].take()).unwrap()
}

#[tokio::test]
async fn a_second_up_resumes_what_died_and_leaves_the_rest_alone() {
    let cluster = TestCluster::start("resume", one_region).await.unwrap();
    let dir = cluster.dir();
    let client = cluster.client(&tenant("resume"), US).unwrap();
    client.create(create("kept"), CallOptions::default()).await.unwrap();

    let before = processes(dir).await;
    assert_eq!(before.len(), 4);
    for process in &before {
        let keys: Vec<&String> = process.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["role", "region", "node", "pid", "address", "leader"]);
        assert!(process["pid"].as_u64().is_some(), "{process}");
    }
    let regions: Vec<_> = before.iter().filter(|p| p["role"] == "region" && p["region"] == US).collect();
    let nodes: Vec<_> = regions.iter().map(|p| p["node"].as_u64().unwrap()).collect();
    assert_eq!(nodes, [1, 2, 3]);
    assert_eq!(regions.iter().filter(|p| p["leader"] == true).count(), 1);
    assert_eq!(before.iter().filter(|p| p["role"] == "gateway" && p["leader"] == false).count(), 1);

    // A node and the gateway die.
    let dead = ["us-central1/2", "gateway/1"];
    for process in cluster.processes().iter().filter(|process| dead.contains(&process.name().as_str())) {
        process.signal(Signal::KILL).unwrap();
        eventually("it is gone", || async { (!process.alive()).then_some(()) }).await.unwrap();
    }
    let between = processes(dir).await;
    assert_eq!(between.iter().filter(|p| p["pid"].is_null()).count(), 2);

    let up = ["up", "--region", US, "--detach"];
    let printed = pi_dev(dir, &up).await.unwrap();
    assert!(printed.contains("PI_CONFIG="), "{printed}");
    let after = processes(dir).await;
    for (old, new) in before.iter().zip(&after) {
        assert!(new["pid"].as_u64().is_some(), "{new}");
        let died = old["role"] == "gateway" || old["node"] == 2;
        assert_eq!(old["pid"] != new["pid"], died, "{old} {new}");
        assert_eq!(old["address"], new["address"]);
    }
    let access = secrets::AccessRequest { name: "kept".to_owned(), ..secrets::AccessRequest::default() };
    let read = client.access(access.clone(), CallOptions::default()).await.unwrap();
    assert_eq!(read.payload, payload("x"));

    pi_dev(dir, &["down"]).await.unwrap();
    assert!(processes(dir).await.iter().all(|process| process["pid"].is_null()));
    pi_dev(dir, &up).await.unwrap();
    let read = client.access(access, CallOptions::default()).await.unwrap();
    assert_eq!(read.payload, payload("x"));
}
