//! Three nodes: what followers answer, and what survives the leader.

use std::time::Duration;

use pi_proto::admin::v1::{BootstrapRequest, StatusRequest};
use pi_proto::raft::v1::GetMembersRequest;
use pi_proto::raft::v1::routing_client::RoutingClient;
use pi_proto::secrets::v1::watch_response::Kind;
use pi_proto::secrets::v1::{Consistency, ListRequest, WatchRequest};
use pi_region::config::Limits;
use tonic::Code;

use crate::harness::*;

async fn three() -> Vec<Harness> {
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(Harness::pristine_node(id, Limits::default()).await);
    }
    let members = nodes.iter().map(|node| node.member.clone()).collect();
    let request = BootstrapRequest { region: REGION.into(), members };
    nodes[0].admin().bootstrap(operator(request)).await.unwrap();
    nodes
}

/// Takes the node out that can serve linearizable requests.
async fn take_leader(nodes: &mut Vec<Harness>) -> Harness {
    for _ in 0..200 {
        for at in 0..nodes.len() {
            if nodes[at].secrets().list(tenant("acme", list_request())).await.is_ok() {
                return nodes.remove(at);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no leader within 10 s");
}

#[tokio::test]
async fn a_follower_names_the_leader_serves_stale_reads_and_holds_the_same_state() {
    let mut nodes = three().await;
    let leader = take_leader(&mut nodes).await;
    leader.create("db").await.unwrap();
    for follower in &nodes {
        let details = refusal(follower.create("other").await);
        assert_eq!((details.code, details.reason.as_deref()), (Code::Unavailable, Some("NO_LEADER")));
        assert!(details.not_proposed && details.retry_after.is_some());
        assert_eq!(details.leader, Some(leader.member.id));
        let watch = WatchRequest { region: REGION.into(), ..Default::default() };
        let details = refusal(follower.secrets().watch(tenant("acme", watch)).await);
        assert_eq!(details.reason.as_deref(), Some("NO_LEADER"));

        let mut routing = RoutingClient::new(follower.channel.clone());
        let members = routing.get_members(GetMembersRequest { region: REGION.into() }).await.unwrap();
        let members = members.into_inner();
        assert_eq!((members.leader_id, members.nodes.len()), (leader.member.id, 3));

        let stale = || ListRequest { consistency: Consistency::Stale.into(), ..list_request() };
        let mut answer = follower.secrets().list(tenant("acme", stale())).await.unwrap().into_inner();
        for _ in 0..100 {
            if !answer.secrets.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer = follower.secrets().list(tenant("acme", stale())).await.unwrap().into_inner();
        }
        assert!(answer.stale && answer.secrets.len() == 1);
        let status = |node: &Harness| {
            let mut admin = node.admin();
            async move {
                let request = operator(StatusRequest { region: REGION.into() });
                admin.status(request).await.unwrap().into_inner()
            }
        };
        let (ours, theirs) = (status(&leader).await, status(follower).await);
        assert_eq!((theirs.role.as_str(), theirs.voters.len()), ("follower", 3));
        assert_eq!((ours.revision, ours.state_digest), (theirs.revision, theirs.state_digest));
    }
}

#[tokio::test]
async fn answers_and_watches_go_on_with_the_next_leader() {
    let mut nodes = three().await;
    let leader = take_leader(&mut nodes).await;
    let id = new_id();
    let create = || with_id(&id, tenant("acme", create_request("db")));
    let first = leader.secrets().create(create()).await.unwrap().into_inner();
    let request = WatchRequest { region: REGION.into(), ..Default::default() };
    let mut stream = leader.secrets().watch(tenant("acme", request.clone())).await.unwrap().into_inner();
    let token = loop {
        let message = stream.message().await.unwrap().unwrap();
        if message.kind() == Kind::Synced {
            break message.resume_token;
        }
    };
    leader.shutdown.trigger();
    let ended = loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some(), "ended without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
    drop(stream);
    leader.stop().await.unwrap();

    let next = take_leader(&mut nodes).await;
    let again = next.secrets().create(create()).await.unwrap().into_inner();
    assert_eq!(again, first, "the stored answer is replicated");
    next.create("more").await.unwrap();
    let resumed = WatchRequest { resume_token: token, ..request };
    let mut stream = next.secrets().watch(tenant("acme", resumed)).await.unwrap().into_inner();
    let message = stream.message().await.unwrap().unwrap();
    assert_eq!((message.kind(), message.secret.unwrap().name), (Kind::Created, "more".into()));
}

#[tokio::test]
async fn without_a_majority_nothing_is_acknowledged_and_unknown_is_called_unknown() {
    let mut nodes = three().await;
    let leader = take_leader(&mut nodes).await;
    for node in nodes {
        node.stop().await.unwrap();
    }
    let id = new_id();
    let mut request = with_id(&id, tenant("acme", create_request("db")));
    request.set_timeout(Duration::from_millis(800));
    let details = refusal(leader.secrets().create(request).await);
    match details.reason.as_deref() {
        Some("OUTCOME_UNKNOWN") => {
            assert!(!details.not_proposed, "never marked not-proposed");
            assert_eq!(details.metadata["request_id"], id);
        }
        // The leader may have noticed first that it has no majority.
        Some("NO_LEADER") => assert!(details.not_proposed),
        other => panic!("{other:?}: {}", details.message),
    }
    let mut request = tenant("acme", list_request());
    request.set_timeout(Duration::from_millis(800));
    let details = refusal(leader.secrets().list(request).await);
    assert!(matches!(details.reason.as_deref(), Some("REGION_UNAVAILABLE" | "NO_LEADER")), "{details:?}");
}

#[tokio::test]
async fn a_leader_cut_from_its_majority_ends_its_watches() {
    let mut nodes = three().await;
    let leader = take_leader(&mut nodes).await;
    let request = WatchRequest { region: REGION.into(), ..Default::default() };
    let mut stream = leader.secrets().watch(tenant("acme", request)).await.unwrap().into_inner();
    for node in nodes {
        node.stop().await.unwrap();
    }
    let ended = async {
        loop {
            match stream.message().await {
                Ok(message) => assert!(message.is_some(), "ended without a reason"),
                Err(status) => break status,
            }
        }
    };
    // About 2 s by design; the rest is for a busy machine.
    let ended = tokio::time::timeout(Duration::from_secs(4), ended).await.expect("the watch goes on");
    let details = refusal::<()>(Err(ended));
    assert_eq!((details.code, details.reason.as_deref()), (Code::Unavailable, Some("NO_LEADER")));
}
