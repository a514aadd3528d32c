//! A mutation whose outcome the caller does not know, repeated under its request id, happens once.

use std::time::Duration;

use pi_auth::Token;
use pi_client::{CallOptions, Client, Error, new_request_id, reason, secrets};
use pi_dev::Role;
use pi_e2e::{Load, TestCluster, US, one_region, payload, tenant};
use pi_types::RequestId;
use tokio::task::JoinSet;

fn create(name: &str) -> secrets::CreateRequest {
    secrets::CreateRequest {
        name: name.to_owned(),
        payload: payload("x"),
        ..secrets::CreateRequest::default()
    }
}

fn under(request_id: RequestId) -> CallOptions {
    CallOptions { request_id: Some(request_id), ..CallOptions::default() }
}

/// Straight to one node, so that no gateway repeats anything.
fn direct(cluster: &TestCluster, node: u64, tenant: &str) -> Client {
    Client::builder()
        .endpoints(vec![cluster.process(Role::Region, US, node).address.clone()])
        .token(Token::new(format!("insecure:{tenant}")).unwrap())
        .region(US.parse().unwrap())
        .connect_lazy()
        .unwrap()
}

async fn all(client: &Client) -> Vec<secrets::Secret> {
    let request = secrets::ListRequest { page_size: 500, ..secrets::ListRequest::default() };
    client.list(request, CallOptions::default()).await.unwrap().secrets
}

async fn raise_quota(cluster: &TestCluster, tenant: &str) {
    let request = pi_client::admin::SetQuotaRequest {
        tenant: tenant.to_owned(),
        secrets_max: 1_000,
        ..pi_client::admin::SetQuotaRequest::default()
    };
    cluster.operator(US).unwrap().set_quota(request, CallOptions::default()).await.unwrap();
}

/// The caller goes away while the leader is at it, earlier or later; then it repeats.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_after_a_lost_answer_gets_the_first_answer_and_does_nothing_again() {
    let cluster = TestCluster::start("retry", one_region).await.unwrap();
    let tenant = tenant("retry");
    raise_quota(&cluster, &tenant).await;
    let through_gateway = cluster.client(&tenant, US).unwrap();
    let to_leader = direct(&cluster, cluster.await_leader(US).await.unwrap(), &tenant);
    all(&to_leader).await;

    let mut ids = Vec::new();
    for number in 0..60_u64 {
        let id = new_request_id();
        let name = format!("s-{number}");
        let patience = Duration::from_micros(number * 150);
        // Dropping the call resets its stream, and the node drops what it was doing for it.
        let _ = tokio::time::timeout(patience, to_leader.create(create(&name), under(id))).await;
        ids.push((name, id));
    }
    let before = all(&through_gateway).await;
    println!("{} of {} happened although the caller had gone away", before.len(), ids.len());

    for (name, id) in &ids {
        let told = through_gateway.create(create(name), under(*id)).await.unwrap().secret.unwrap();
        if let Some(first) = before.iter().find(|secret| secret.name == *name) {
            assert_eq!(told, *first, "the repetition is told what happened first");
        }
        let again = through_gateway.create(create(name), under(*id)).await.unwrap().secret.unwrap();
        assert_eq!(again, told);
    }
    let after = all(&through_gateway).await;
    assert_eq!(after.len(), ids.len());
    assert!(!before.is_empty(), "no call reached the log before its caller went away: nothing was tested");

    // The same id for another name is a mistake of the caller, and does nothing.
    let error = through_gateway.create(create("other"), under(ids[0].1)).await.unwrap_err();
    assert_eq!(error.reason(), Some(reason::REQUEST_REUSED), "{error}");
    // A deletion repeated is the same deletion, not a second one that finds nothing.
    let id = new_request_id();
    let request = secrets::DeleteRequest { name: "s-0".to_owned(), ..secrets::DeleteRequest::default() };
    let first = through_gateway.delete(request.clone(), under(id)).await.unwrap();
    assert_eq!(through_gateway.delete(request, under(id)).await.unwrap(), first);
}

/// Creates under way at the leader when it is killed, then repeated through the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_under_way_when_the_leader_dies_and_repeated_under_their_ids_happen_once() {
    let mut cluster = TestCluster::start("unknown", one_region).await.unwrap();
    let tenant = tenant("unknown");
    raise_quota(&cluster, &tenant).await;
    let through_gateway = cluster.client(&tenant, US).unwrap();
    let leader = cluster.await_leader(US).await.unwrap();
    let to_leader = direct(&cluster, leader, &tenant);
    let load = Load::start(&cluster, US, 4).await.unwrap();
    load.progress(50).await.unwrap();

    let mut creating = JoinSet::new();
    for number in 0..48_u64 {
        let (client, id, name) = (to_leader.clone(), new_request_id(), format!("s-{number}"));
        creating.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number)).await;
            let options = CallOptions { deadline: Some(Duration::from_millis(1_500)), ..under(id) };
            let outcome = client.create(create(&name), options).await;
            (name, id, outcome)
        });
    }
    tokio::time::sleep(Duration::from_millis(24)).await;
    cluster.kill(Role::Region, US, leader).await.unwrap();
    let outcomes = creating.join_all().await;
    cluster.await_leader(US).await.unwrap();
    let before = all(&through_gateway).await;

    let (mut acknowledged, mut unknown, mut happened) = (0, 0, 0);
    for (name, id, outcome) in outcomes {
        let first = before.iter().find(|secret| secret.name == name);
        match &outcome {
            Ok(answer) => {
                acknowledged += 1;
                assert_eq!(answer.secret.as_ref(), first, "{name} was acknowledged");
            }
            Err(Error::Unknown { request_id, .. }) => {
                assert_eq!(*request_id, id, "the error names the id to repeat under");
                unknown += 1;
                happened += usize::from(first.is_some());
            }
            // The client says that nothing changed, so nothing must have.
            Err(Error::Unavailable { .. }) => assert_eq!(first, None, "{name} was reported as not done"),
            Err(error) => panic!("{name}: {error}"),
        }
        let told = through_gateway.create(create(&name), under(id)).await.unwrap().secret.unwrap();
        if let Some(first) = first {
            assert_eq!(told, *first, "{name} happened before its repetition");
        }
    }
    println!("{acknowledged} acknowledged, {unknown} unknown, of which {happened} had happened");
    let after = all(&through_gateway).await;
    let mut revisions: Vec<u64> = after.iter().map(|secret| secret.revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!((after.len(), revisions.len()), (48, 48));
    load.stop().await.unwrap().verify().await.unwrap();
}
