//! Watch: present state, changes, filters, resuming, ends.

use std::time::Duration;

use pi_proto::secrets::v1::watch_response::Kind;
use pi_proto::secrets::v1::{DeleteRequest, StringMap, UpdateRequest, WatchRequest, WatchResponse};
use pi_region::config::Limits;
use tonic::{Code, Status, Streaming};

use crate::harness::*;

fn watch_request() -> WatchRequest {
    WatchRequest { region: REGION.into(), ..Default::default() }
}

async fn watch(node: &Harness, request: WatchRequest) -> Streaming<WatchResponse> {
    node.secrets().watch(tenant("acme", request)).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<WatchResponse>) -> Result<WatchResponse, Status> {
    let message = tokio::time::timeout(Duration::from_secs(10), stream.message());
    message.await.expect("a message within 10 s").map(|message| message.expect("the stream goes on"))
}

/// The next event in short: kind and name.
async fn event(stream: &mut Streaming<WatchResponse>) -> (Kind, String) {
    let message = next(stream).await.unwrap();
    let name = message.secret.as_ref().map(|secret| secret.name.clone()).unwrap_or_default();
    (message.kind(), name)
}

async fn label(node: &Harness, name: &str, labels: &[(&str, &str)]) {
    let labels = Some(StringMap { entries: map(labels) });
    let update = UpdateRequest { region: REGION.into(), name: name.into(), labels, ..Default::default() };
    node.secrets().update(tenant("acme", update)).await.unwrap();
}

async fn delete(node: &Harness, name: &str) {
    let delete = DeleteRequest { region: REGION.into(), name: name.into(), ..Default::default() };
    node.secrets().delete(tenant("acme", delete)).await.unwrap();
}

#[tokio::test]
async fn the_present_state_comes_first_then_every_change_in_order() {
    let node = Harness::start().await;
    node.create("a").await.unwrap();
    node.create("b").await.unwrap();
    let mut stream = watch(&node, watch_request()).await;
    assert_eq!(event(&mut stream).await, (Kind::Existing, "a".into()));
    assert_eq!(event(&mut stream).await, (Kind::Existing, "b".into()));
    let synced = next(&mut stream).await.unwrap();
    assert_eq!(synced.kind(), Kind::Synced);
    assert!(!synced.resume_token.is_empty() && synced.secret.is_none());

    node.create("c").await.unwrap();
    label(&node, "a", &[("x", "y")]).await;
    delete(&node, "b").await;
    let mut last = synced.revision;
    for expected in [(Kind::Created, "c"), (Kind::Updated, "a"), (Kind::Deleted, "b")] {
        let message = next(&mut stream).await.unwrap();
        assert_eq!((message.kind(), message.secret.unwrap().name.as_str()), expected);
        assert!(message.revision > last, "by revision");
        last = message.revision;
    }
}

#[tokio::test]
async fn a_resumed_watch_misses_nothing_and_repeats_nothing() {
    let node = Harness::start().await;
    let mut stream = watch(&node, watch_request()).await;
    assert_eq!(next(&mut stream).await.unwrap().kind(), Kind::Synced);
    node.create("a").await.unwrap();
    let token = next(&mut stream).await.unwrap().resume_token;
    drop(stream);
    node.create("b").await.unwrap();
    delete(&node, "a").await;
    let resumed = WatchRequest { resume_token: token, ..watch_request() };
    let mut stream = watch(&node, resumed.clone()).await;
    assert_eq!(event(&mut stream).await, (Kind::Created, "b".into()));
    assert_eq!(event(&mut stream).await, (Kind::Deleted, "a".into()));

    let other = WatchRequest { name: "b".into(), ..resumed };
    let details = refusal(node.secrets().watch(tenant("acme", other)).await);
    assert_eq!(details.violations[0].field, "resume_token", "bound to its arguments");
}

#[tokio::test]
async fn a_token_behind_the_kept_history_is_out_of_range() {
    let node = Harness::start().await;
    let mut stream = watch(&node, watch_request()).await;
    let token = next(&mut stream).await.unwrap().resume_token;
    drop(stream);
    node.create("a").await.unwrap();
    for i in 0..140 {
        label(&node, "a", &[("i", &i.to_string())]).await;
    }
    let request = WatchRequest { resume_token: token, ..watch_request() };
    let details = refusal(node.secrets().watch(tenant("acme", request)).await);
    assert_eq!((details.code, details.reason.as_deref()), (Code::OutOfRange, Some("WATCH_TOO_OLD")));
    let mut stream = watch(&node, watch_request()).await;
    assert_eq!(event(&mut stream).await, (Kind::Existing, "a".into()), "a fresh watch works");
}

#[tokio::test]
async fn a_selector_shows_the_selected_set() {
    let node = Harness::start().await;
    node.create_labelled("in", &[("team", "a")]).await;
    node.create_labelled("out", &[("team", "b")]).await;
    let request = WatchRequest { label_selector: "team=a".into(), ..watch_request() };
    let mut stream = watch(&node, request).await;
    assert_eq!(event(&mut stream).await, (Kind::Existing, "in".into()));
    assert_eq!(event(&mut stream).await.0, Kind::Synced);
    label(&node, "out", &[("team", "b"), ("more", "x")]).await;
    label(&node, "out", &[("team", "a")]).await;
    assert_eq!(event(&mut stream).await, (Kind::Created, "out".into()), "it starts to match");
    label(&node, "in", &[("team", "b")]).await;
    assert_eq!(event(&mut stream).await, (Kind::Deleted, "in".into()), "it stops to match");
    delete(&node, "in").await;
    delete(&node, "out").await;
    assert_eq!(event(&mut stream).await, (Kind::Deleted, "out".into()), "gone before: not told twice");
}

#[tokio::test]
async fn a_name_filter_shows_one_secret_and_other_tenants_show_nothing() {
    let node = Harness::start().await;
    node.create("b").await.unwrap();
    let mut stream = watch(&node, WatchRequest { name: "a".into(), ..watch_request() }).await;
    assert_eq!(event(&mut stream).await.0, Kind::Synced);
    node.secrets().create(tenant("other", create_request("a"))).await.unwrap();
    node.create("c").await.unwrap();
    node.create("a").await.unwrap();
    assert_eq!(event(&mut stream).await, (Kind::Created, "a".into()));
}

#[tokio::test]
async fn a_quiet_watch_gets_fresh_tokens() {
    let node = Harness::start_with(Limits { watch_progress_ms: 100, ..Limits::default() }).await;
    let mut stream = watch(&node, watch_request()).await;
    let synced = next(&mut stream).await.unwrap();
    node.secrets().create(tenant("other", create_request("a"))).await.unwrap();
    loop {
        let message = next(&mut stream).await.unwrap();
        assert_eq!(message.kind(), Kind::Progress);
        if message.revision > synced.revision {
            assert_ne!(message.resume_token, synced.resume_token);
            break;
        }
    }
}

#[tokio::test]
async fn watches_are_bounded_per_tenant_and_places_come_back() {
    let node = Harness::start_with(Limits { watches_per_tenant_max: 1, ..Limits::default() }).await;
    let stream = watch(&node, watch_request()).await;
    let details = refusal(node.secrets().watch(tenant("acme", watch_request())).await);
    assert_eq!((details.code, details.reason.as_deref()), (Code::ResourceExhausted, Some("OVERLOADED")));
    assert!(node.secrets().watch(tenant("other", watch_request())).await.is_ok());
    drop(stream);
    for _ in 0..100 {
        if node.secrets().watch(tenant("acme", watch_request())).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a dropped watch did not give its place back within 5 s");
}

#[tokio::test]
async fn bad_arguments_and_tokens_are_refused_before_the_stream() {
    let node = Harness::start().await;
    for (field, request) in [
        ("name", WatchRequest { name: "Upper".into(), ..watch_request() }),
        ("namespace", WatchRequest { namespace: "a.b".into(), ..watch_request() }),
        ("label_selector", WatchRequest { label_selector: "==".into(), ..watch_request() }),
        ("resume_token", WatchRequest { resume_token: "nonsense".into(), ..watch_request() }),
    ] {
        let details = refusal(node.secrets().watch(tenant("acme", request)).await);
        assert_eq!((details.code, details.violations[0].field.as_str()), (Code::InvalidArgument, field));
    }
}

#[tokio::test]
async fn a_watch_ends_at_its_own_deadline() {
    let node = Harness::start().await;
    let mut request = tenant("acme", watch_request());
    request.metadata_mut().insert("grpc-timeout", "700m".parse().unwrap());
    let mut stream = node.secrets().watch(request).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await.unwrap().kind(), Kind::Synced);
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn the_deadline_of_a_watch_is_the_callers_whatever_other_requests_are_bounded_to() {
    let limits = Limits { deadline_default_ms: 300, deadline_max_ms: 300, ..Limits::default() };
    let node = Harness::start_with(limits).await;
    let mut unlimited = watch(&node, watch_request()).await;
    assert_eq!(next(&mut unlimited).await.unwrap().kind(), Kind::Synced);
    let mut request = tenant("acme", watch_request());
    request.metadata_mut().insert("grpc-timeout", "2S".parse().unwrap());
    let begun = std::time::Instant::now();
    let mut stream = node.secrets().watch(request).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await.unwrap().kind(), Kind::Synced);
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() > Duration::from_millis(1_900), "ended after {:?}", begun.elapsed());
    node.create("a").await.unwrap();
    assert_eq!(event(&mut unlimited).await, (Kind::Created, "a".into()));
}

#[tokio::test]
async fn a_node_full_of_watches_names_itself_as_the_leader() {
    let node = Harness::start_with(Limits { watches_max: 1, ..Limits::default() }).await;
    let _stream = watch(&node, watch_request()).await;
    let details = refusal(node.secrets().watch(tenant("other", watch_request())).await);
    assert_eq!((details.code, details.reason.as_deref()), (Code::Unavailable, Some("OVERLOADED")));
    assert_eq!((details.not_proposed, details.leader), (true, Some(1)));
}

#[tokio::test]
async fn a_slow_watcher_reads_later_and_still_gets_everything() {
    let node = Harness::start().await;
    let mut stream = watch(&node, watch_request()).await;
    assert_eq!(event(&mut stream).await.0, Kind::Synced);
    node.create("a").await.unwrap();
    for i in 0..60 {
        label(&node, "a", &[("i", &i.to_string())]).await;
    }
    assert_eq!(event(&mut stream).await.0, Kind::Created);
    for i in 0..60 {
        let message = next(&mut stream).await.unwrap();
        assert_eq!(message.secret.unwrap().labels, map(&[("i", &i.to_string())]));
    }
}
