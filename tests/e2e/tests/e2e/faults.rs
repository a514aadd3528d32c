//! Processes killed under load: nothing acknowledged is lost, nothing happens twice, and writing goes on.

use std::time::{Duration, Instant};

use pi_client::secrets::watch_response::Kind;
use pi_client::{CallOptions, secrets};
use pi_dev::{Cluster, Role};
use pi_e2e::{
    Load, TestCluster, US, await_caught_up, await_equal_replicas, check_logs_are_small, eventually,
    one_region, payload, tenant,
};

const WRITERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_leader_under_load_loses_no_acknowledged_write_and_writing_goes_on() {
    let mut cluster = TestCluster::start("leader", one_region).await.unwrap();
    let load = Load::start(&cluster, US, WRITERS).await.unwrap();
    load.progress(300).await.unwrap();
    let mut dead = Vec::new();
    for _ in 0..3 {
        let leader = cluster.await_leader(US).await.unwrap();
        cluster.kill(Role::Region, US, leader).await.unwrap();
        dead.push(leader);
        let killed = Instant::now();
        load.progress(300).await.unwrap();
        println!("leader {leader} killed; 300 more writes within {:.2?}", killed.elapsed());
        cluster.start(Role::Region, US, leader).unwrap();
        // With the killed one still behind, the next kill would take the majority.
        await_caught_up(&cluster, US, leader).await.unwrap();
    }
    let history = load.stop().await.unwrap();
    history.verify().await.unwrap();
    await_equal_replicas(&cluster, US).await.unwrap();
    check_logs_are_small(&cluster, US).unwrap();
    let gap = history.longest_gap();
    println!(
        "leaders killed: {dead:?}; {} writes acknowledged, {} outcomes asked again; longest write gap {gap:.2?}",
        history.acknowledged(),
        history.unknown()
    );
    // An election takes 0.3 to 0.6 s and may need a second round; the rest is for two busy cores.
    assert!(gap < Duration::from_secs(6), "no write was acknowledged for {gap:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_all_three_nodes_under_load_loses_no_acknowledged_write() {
    let mut cluster = TestCluster::start("all", one_region).await.unwrap();
    let load = Load::start(&cluster, US, WRITERS).await.unwrap();
    load.progress(500).await.unwrap();
    kill_together(&cluster).await;
    for node in 1..=3 {
        cluster.start(Role::Region, US, node).unwrap();
    }
    // The writers ask for the outcome of what was under way, and go on.
    load.progress(200).await.unwrap();
    let history = load.stop().await.unwrap();
    history.verify().await.unwrap();
    await_equal_replicas(&cluster, US).await.unwrap();
    check_logs_are_small(&cluster, US).unwrap();
    println!(
        "{} writes acknowledged, {} outcomes asked again; longest write gap {:.2?}",
        history.acknowledged(),
        history.unknown(),
        history.longest_gap()
    );
}

/// At the same moment, as a power cut would.
async fn kill_together(cluster: &Cluster) {
    let nodes: Vec<_> = cluster.processes().iter().filter(|p| p.role == Role::Region).collect();
    for node in &nodes {
        node.signal(rustix::process::Signal::KILL).unwrap();
    }
    let gone = || async { nodes.iter().all(|node| !node.alive()).then_some(()) };
    eventually("all nodes are gone", gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_across_the_leaders_death_tells_every_change_once_and_in_order() {
    let mut cluster = TestCluster::start("watch", one_region).await.unwrap();
    let client = cluster.client(&tenant("watch"), US).unwrap();
    let mut watch = client.watch(secrets::WatchRequest::default(), CallOptions::default()).unwrap();
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(first.kind(), Kind::Synced, "the state is empty, and changes follow");
    let watched = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            let answer = watch.next().await.expect("not refused").expect("mends itself");
            let name = answer.secret.as_ref().map(|secret| secret.name.clone()).unwrap_or_default();
            match answer.kind() {
                Kind::Progress => {}
                _ if name == "end" => return seen,
                kind => seen.push((kind, answer.revision)),
            }
        }
    });
    let leader = cluster.await_leader(US).await.unwrap();
    let mut told = Vec::new();
    for number in 0..40 {
        if number == 20 {
            cluster.kill(Role::Region, US, leader).await.unwrap();
        }
        let name = "same".to_owned();
        let request = secrets::CreateRequest {
            name: name.clone(),
            payload: payload("x"),
            ..secrets::CreateRequest::default()
        };
        let created = client.create(request, CallOptions::default()).await.unwrap();
        told.push((Kind::Created, created.secret.unwrap().revision));
        let request = secrets::DeleteRequest { name, ..secrets::DeleteRequest::default() };
        let deleted = client.delete(request, CallOptions::default()).await.unwrap();
        told.push((Kind::Deleted, deleted.revision));
    }
    let request = secrets::CreateRequest {
        name: "end".to_owned(),
        payload: payload("x"),
        ..secrets::CreateRequest::default()
    };
    client.create(request, CallOptions::default()).await.unwrap();
    assert_eq!(watched.await.unwrap(), told);
}
