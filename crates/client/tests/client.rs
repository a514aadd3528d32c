//! The client against a node that fails on demand: what is repeated, under which id, and what is reported.

#[path = "support/fake.rs"]
mod fake;

use std::time::{Duration, Instant};

use fake::{Act, Fake, dead_address};
use pi_auth::Token;
use pi_client::{CallOptions, Client, Error};
use pi_proto::reason;
use pi_proto::secrets::v1::{CreateRequest, GetRequest, WatchRequest};
use tonic::Code;

const DEADLINE: Duration = Duration::from_secs(3);

fn client_of(addresses: &[std::net::SocketAddr]) -> Client {
    Client::builder()
        .endpoints(addresses.iter().map(ToString::to_string).collect())
        .token(Token::new("insecure:acme".to_owned()).unwrap())
        .region("eu".parse().unwrap())
        .deadline(DEADLINE)
        .connect_lazy()
        .unwrap()
}

fn named(name: &str) -> CreateRequest {
    CreateRequest { name: name.to_owned(), ..CreateRequest::default() }
}

fn within(deadline_ms: u64) -> CallOptions {
    CallOptions { deadline: Some(Duration::from_millis(deadline_ms)), ..CallOptions::default() }
}

#[tokio::test]
async fn a_call_carries_region_credential_deadline_and_a_request_id_for_mutations_only() {
    let node = Fake::start(1, "eu").await;
    let client = client_of(&[node.address]);
    client.create(named("a"), CallOptions::default()).await.unwrap();
    client
        .get(GetRequest { name: "a".to_owned(), ..GetRequest::default() }, CallOptions::default())
        .await
        .unwrap();
    let [create, get] = &node.seen()[..] else { panic!("two calls") };
    assert_eq!((create.region.as_str(), create.name.as_str()), ("eu", "a"));
    assert_eq!(create.metadata["authorization"], "Bearer insecure:acme");
    assert!(create.metadata.contains_key("grpc-timeout"));
    assert!(create.request_id().parse::<pi_types::RequestId>().is_ok(), "{create:?}");
    assert_eq!(get.request_id(), "");
}

#[tokio::test]
async fn the_region_of_the_request_wins_over_options_which_win_over_the_client() {
    let node = Fake::start(1, "eu").await;
    let client = client_of(&[node.address]);
    let options = CallOptions { region: Some("options".parse().unwrap()), ..CallOptions::default() };
    client.create(named("a"), options.clone()).await.unwrap();
    client.create(CreateRequest { region: "request".to_owned(), ..named("b") }, options).await.unwrap();
    let regions: Vec<_> = node.seen().into_iter().map(|seen| seen.region).collect();
    assert_eq!(regions, ["options", "request"]);

    let homeless = Client::builder().endpoints(vec![node.address.to_string()]).connect_lazy().unwrap();
    let error = homeless.create(named("a"), CallOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("--region"), "{error}");
}

#[tokio::test]
async fn a_broken_connection_and_a_missing_leader_are_repeated_under_one_request_id() {
    let node = Fake::start(1, "eu").await;
    node.script([Act::NotLeader(None), Act::ApplyThenCut, Act::Cut]);
    client_of(&[node.address]).create(named("a"), CallOptions::default()).await.unwrap();
    let seen = node.seen();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen.iter().all(|call| call.request_id() == seen[0].request_id()), "{seen:?}");
    assert_eq!(node.applied(), [seen[0].request_id()], "done exactly once");
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_keeps_its_details() {
    let node = Fake::start(1, "eu").await;
    node.script([Act::Refuse(Code::AlreadyExists, reason::SECRET_EXISTS)]);
    let error = client_of(&[node.address]).create(named("a"), CallOptions::default()).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::AlreadyExists, Some(reason::SECRET_EXISTS)));
    assert!(!error.retryable() && error.to_string().contains("`pi secret update`"), "{error}");
    assert_eq!(node.seen().len(), 1);
}

#[tokio::test]
async fn a_mutation_that_was_sent_and_not_answered_is_unknown_and_names_its_id() {
    let node = Fake::start(1, "eu").await;
    node.script([Act::Hang]);
    let client = client_of(&[node.address]);
    let started = Instant::now();
    let error = client.create(named("a"), within(300)).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let Error::Unknown { request_id, .. } = &error else { panic!("{error}") };
    assert_eq!(node.seen()[0].request_id(), request_id.to_string());
    assert!(error.to_string().contains(&request_id.to_string()), "{error}");
    // The hint works: the same id learns the outcome.
    let again = CallOptions { request_id: Some(*request_id), ..CallOptions::default() };
    client.create(named("a"), again).await.unwrap();
    assert_eq!(node.applied(), [request_id.to_string()]);
}

#[tokio::test]
async fn a_read_that_was_not_answered_is_unavailable_not_unknown() {
    let node = Fake::start(1, "eu").await;
    node.script([Act::Hang]);
    let error = client_of(&[node.address]).get(GetRequest::default(), within(200)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_unavailable_because_nothing_was_sent() {
    let client = client_of(&[dead_address().await]);
    let error = client.create(named("a"), within(300)).await.unwrap_err();
    let Error::Unavailable { attempts, cause, .. } = &error else { panic!("{error}") };
    assert!(*attempts > 1 && cause.contains("refused"), "{error}");
}

#[tokio::test]
async fn another_gateway_is_tried_when_one_is_gone() {
    let node = Fake::start(1, "eu").await;
    let client = client_of(&[dead_address().await, node.address]);
    for turn in 0..4 {
        client.create(named(&turn.to_string()), CallOptions::default()).await.unwrap();
    }
    assert_eq!(node.seen().len(), 4);
}

#[tokio::test]
async fn a_foreign_error_is_repeated_when_it_may_be_the_connection_and_refused_when_not() {
    let node = Fake::start(1, "eu").await;
    node.script([Act::Foreign(Code::Internal), Act::Foreign(Code::Unimplemented)]);
    let error =
        client_of(&[node.address]).get(GetRequest::default(), CallOptions::default()).await.unwrap_err();
    assert_eq!((error.code(), node.seen().len()), (Code::Unimplemented, 2));
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_sent() {
    let node = Fake::start(1, "eu").await;
    let request = CreateRequest { payload: vec![0; 256 * 1024], ..named("a") };
    let error = client_of(&[node.address]).create(request, CallOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("262144"), "{error}");
    assert!(node.seen().is_empty());
}

#[tokio::test]
async fn a_watch_resumes_behind_the_last_answer_and_reports_lost_history() {
    let node = Fake::start(1, "eu").await;
    node.script([
        Act::StreamThenCut(vec![3, 4]),
        Act::NotLeader(None),
        Act::Stream(vec![5]),
        Act::Refuse(Code::OutOfRange, reason::WATCH_TOO_OLD),
    ]);
    let mut watch =
        client_of(&[node.address]).watch(WatchRequest::default(), CallOptions::default()).unwrap();
    for revision in [3, 4, 5] {
        assert_eq!(watch.next().await.unwrap().unwrap().revision, revision);
    }
    assert_eq!(watch.resume_token(), "5");
    node.cut();
    let error = watch.next().await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::OutOfRange, Some(reason::WATCH_TOO_OLD)));
    assert!(watch.next().await.is_none());
    let tokens: Vec<_> = node.seen().into_iter().map(|seen| seen.resume_token).collect();
    assert_eq!(tokens, ["", "4", "4", "5"]);
}

#[tokio::test]
async fn a_watch_tells_that_nobody_answers_and_can_go_on() {
    let node = Fake::start(1, "eu").await;
    node.script([Act::Stream(vec![1]), Act::Hang, Act::Stream(vec![2])]);
    let mut watch = client_of(&[node.address]).watch(WatchRequest::default(), within(300)).unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision, 1);
    node.cut();
    assert!(matches!(watch.next().await, Some(Err(Error::Unavailable { .. }))));
    assert_eq!(watch.next().await.unwrap().unwrap().revision, 2);
}
