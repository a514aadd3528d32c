//! A region that is down harms no other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pi_client::{CallOptions, Client, reason, secrets};
use pi_dev::Role;
use pi_e2e::{EU, Pi, TestCluster, US, eventually, payload, tenant};
use pi_proto::secrets::v1::secrets_client::SecretsClient;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tonic::{Code, Request, Status};

/// What a gateway needs to give up on a region (`nodes.unavailable_after_ms`, 2 s), and time for two busy cores. Where
/// nodes hang, it must first notice that they do.
const GIVEN_UP_WITHIN: Duration = Duration::from_millis(3_500);
const NOTICED_WITHIN: Duration = Duration::from_millis(6_000);

/// How long writes and reads take in a region, one after the other; none may fail.
async fn latencies(client: &Client, of: &str) -> Vec<Duration> {
    let mut all = Vec::new();
    for number in 0..60 {
        let name = format!("{of}-{number}");
        let started = Instant::now();
        let create = secrets::CreateRequest {
            name: name.clone(),
            payload: payload("x"),
            ..secrets::CreateRequest::default()
        };
        client.create(create, CallOptions::default()).await.unwrap();
        let access = secrets::AccessRequest { name: name.clone(), ..secrets::AccessRequest::default() };
        client.access(access, CallOptions::default()).await.unwrap();
        let delete = secrets::DeleteRequest { name, ..secrets::DeleteRequest::default() };
        client.delete(delete, CallOptions::default()).await.unwrap();
        all.push(started.elapsed());
    }
    all.sort_unstable();
    all
}

/// One attempt at a list of one region, without a client that would try again.
async fn attempt(gateway: &str, region: &str) -> (Result<(), Status>, Duration) {
    let mut client = SecretsClient::connect(format!("http://{gateway}")).await.unwrap();
    let mut request = Request::new(secrets::ListRequest { region: region.to_owned(), ..Default::default() });
    request.metadata_mut().insert("authorization", "Bearer insecure:acme".parse().unwrap());
    let started = Instant::now();
    let answer = client.list(request).await;
    (answer.map(|_| ()), started.elapsed())
}

/// Has 64 callers ask a region that is down again and again for 6 s; returns the slowest answer and the reasons of
/// each caller's last.
fn hammer(gateway: &str, region: &'static str) -> JoinSet<(Duration, String)> {
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let gateway = gateway.to_owned();
        callers.spawn(async move {
            let (mut slowest, mut last) = (Duration::ZERO, String::new());
            let until = Instant::now() + Duration::from_secs(6);
            while Instant::now() < until {
                let (answer, took) = attempt(&gateway, region).await;
                let details = pi_proto::status::decode(&answer.expect_err("the region is down"));
                assert_eq!(details.code, Code::Unavailable, "{details:?}");
                assert!(details.retry_after.is_some(), "{details:?}");
                last = details.reason.expect("every error of ours has a reason");
                slowest = slowest.max(took);
            }
            (slowest, last)
        });
    }
    callers
}

/// `down` is what happens to the nodes of one region.
async fn the_other_region_is_unaffected(name: &str, down: Signal) {
    let cluster = TestCluster::start(name, |_| {}).await.unwrap();
    let client = cluster.client(&tenant("other"), EU).unwrap();
    latencies(&client, "warm").await;
    let before = latencies(&client, "before").await;
    for process in cluster.processes().iter().filter(|process| process.region == US) {
        process.signal(down).unwrap();
    }
    let gateway = cluster.gateways()[0].clone();
    let callers = hammer(&gateway, US);
    let during = latencies(&client, "during").await;
    let (slowest, reasons): (Vec<_>, BTreeSet<_>) = callers.join_all().await.into_iter().unzip();
    let slowest = slowest.into_iter().max().unwrap();
    let (half, last) = (before.len() / 2, before.len() - 1);
    println!(
        "{EU}: create, access, delete took {:.1?} (half), {:.1?} (slowest) before and {:.1?}, {:.1?} while {US} was \
         down and 64 callers asked it; the slowest refusal for {US} took {slowest:.1?}",
        before[half], before[last], during[half], during[last]
    );
    // The callers take their share of two cores; waiting for the dead region would show as seconds.
    let bound = before[half] * 5 + Duration::from_millis(150);
    assert!(during[half] < bound, "half took more than {bound:?}");
    assert!(during[last] < Duration::from_secs(1), "one took {:?}", during[last]);

    // What was sent to a node that hangs may have happened, for all the gateway knows; what found nobody has not.
    let certain: BTreeSet<String> = [reason::REGION_UNAVAILABLE, reason::NO_LEADER].map(str::to_owned).into();
    println!("reasons of the last refusals: {reasons:?}");
    let bound = if down == Signal::KILL { GIVEN_UP_WITHIN } else { NOTICED_WITHIN };
    assert!(slowest < bound, "a refusal took {slowest:?}");
    if down == Signal::KILL {
        assert!(reasons.is_subset(&certain), "{reasons:?}");
    }

    if down == Signal::STOP {
        for process in cluster.processes().iter().filter(|process| process.region == US) {
            process.signal(Signal::CONT).unwrap();
        }
        let serves = || async { attempt(&gateway, US).await.0.ok() };
        eventually("the region serves again after it went on", serves).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_whose_nodes_are_killed_is_refused_fast_and_the_other_region_is_unaffected() {
    the_other_region_is_unaffected("killed", Signal::KILL).await;
}

/// Unlike killed ones, paused nodes keep their connections and swallow what is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_whose_nodes_hang_is_refused_fast_and_the_other_region_is_unaffected() {
    the_other_region_is_unaffected("hanging", Signal::STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pi_ends_with_3_when_one_of_two_regions_is_down_and_with_1_when_all_are() {
    let mut cluster = TestCluster::start("partial", |spec| spec.nodes = 1).await.unwrap();
    let pi = Pi::new(cluster.dir(), &tenant("partial"));
    let both = format!("--region={US},{EU}");
    let credential = ["--docker-username=bob", "--docker-password=pw", "--request-timeout=3s"];
    let create = |name: &'static str, region: &str| {
        let mut args = vec!["secret", "create", name];
        args.extend(credential);
        args.into_iter().map(str::to_owned).chain([region.to_owned()]).collect::<Vec<_>>()
    };
    let ends = async |args: Vec<String>, code: i32| {
        pi.ends(&args.iter().map(String::as_str).collect::<Vec<_>>(), code).await
    };
    let ran = ends(create("one", &both), 0).await;
    assert!(ran.out.contains(&format!("{US}: secret/one created")), "{ran:?}");
    assert!(ran.out.contains(&format!("{EU}: secret/one created")), "{ran:?}");

    cluster.kill(Role::Region, US, 1).await.unwrap();
    let ran = ends(create("two", &both), 3).await;
    assert_eq!(ran.out, format!("{EU}: secret/two created\n"), "{ran:?}");
    assert!(ran.err.contains(&format!("error: {US}: ")), "{ran:?}");
    let ran = pi.ends(&["secret", "list", "--all-regions", "--request-timeout=3s"], 3).await;
    assert!(ran.out.contains("two") && ran.err.contains(US), "{ran:?}");

    cluster.kill(Role::Region, EU, 1).await.unwrap();
    let ran = ends(create("three", &both), 1).await;
    assert!(ran.out.is_empty() && ran.err.contains(US) && ran.err.contains(EU), "{ran:?}");
}
