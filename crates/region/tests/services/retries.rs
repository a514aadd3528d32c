//! Request ids: exactly once, whatever is repeated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pi_proto::secrets::v1::{CreateRequest, DeleteRequest, UpdateRequest};
use tonic::Code;
use uuid::{NoContext, Timestamp, Uuid};

use crate::harness::*;

fn id_at(shift_s: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let at = now.checked_add_signed(shift_s).unwrap();
    Uuid::new_v7(Timestamp::from_unix(NoContext, at, 0)).to_string()
}

#[tokio::test]
async fn a_repeated_create_returns_the_first_answer_and_counts_once() {
    let node = Harness::start().await;
    let id = new_id();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let request = with_id(&id, tenant("acme", create_request("db")));
        answers.push(node.secrets().create(request).await.unwrap().into_inner());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "the same uid, revision and count");
    assert_eq!(answers[0].quota_used, 1);
    let other = with_id(&new_id(), tenant("acme", create_request("db")));
    assert_eq!(refusal(node.secrets().create(other).await).reason.as_deref(), Some("SECRET_EXISTS"));
}

#[tokio::test]
async fn concurrent_tries_under_one_id_are_one_create() {
    let node = Harness::start().await;
    let id = new_id();
    let tries = (0..16).map(|_| {
        let mut secrets = node.secrets();
        let request = with_id(&id, tenant("acme", create_request("db")));
        async move { secrets.create(request).await.map(|r| r.into_inner().secret.unwrap().uid) }
    });
    let uids: Vec<_> =
        futures::future::join_all(tries).await.into_iter().map(|result| result.unwrap()).collect();
    assert!(uids.iter().all(|uid| *uid == uids[0]), "{uids:?}");
}

#[tokio::test]
async fn a_repeated_delete_and_update_find_their_answers_after_the_secret_is_gone() {
    let node = Harness::start().await;
    let mut secrets = node.secrets();
    node.create("db").await.unwrap();
    let update_id = new_id();
    let update = || {
        let update = UpdateRequest {
            region: REGION.into(),
            name: "db".into(),
            payload: Some(payload("new")),
            ..Default::default()
        };
        with_id(&update_id, tenant("acme", update))
    };
    let updated = secrets.update(update()).await.unwrap().into_inner();
    assert_eq!(secrets.update(update()).await.unwrap().into_inner(), updated, "not changed = false");

    let delete_id = new_id();
    let delete = || {
        let delete = DeleteRequest { region: REGION.into(), name: "db".into(), ..Default::default() };
        with_id(&delete_id, tenant("acme", delete))
    };
    let deleted = secrets.delete(delete()).await.unwrap().into_inner();
    assert_eq!(secrets.delete(delete()).await.unwrap().into_inner(), deleted);
    assert_eq!(secrets.update(update()).await.unwrap().into_inner(), updated);
}

#[tokio::test]
async fn refusals_are_remembered_too_and_ids_are_a_tenants_own() {
    let node = Harness::start().await;
    let mut secrets = node.secrets();
    node.create("db").await.unwrap();
    let id = new_id();
    let create = |tenant_name: &str| with_id(&id, tenant(tenant_name, create_request("db")));
    assert_eq!(refusal(secrets.create(create("acme")).await).reason.as_deref(), Some("SECRET_EXISTS"));
    let delete = DeleteRequest { region: REGION.into(), name: "db".into(), ..Default::default() };
    secrets.delete(tenant("acme", delete)).await.unwrap();
    let again = refusal(secrets.create(create("acme")).await);
    assert_eq!(again.reason.as_deref(), Some("SECRET_EXISTS"), "the stored answer");
    assert!(secrets.create(create("other")).await.is_ok());
}

#[tokio::test]
async fn ids_that_are_malformed_reused_too_old_or_from_the_future_are_refused() {
    let node = Harness::start().await;
    let mut secrets = node.secrets();
    let v4 = Uuid::new_v4().to_string();
    for id in ["", "nonsense", v4.as_str(), "0190163d8694739baea5966c26f8ad91"] {
        let details = refusal(secrets.create(with_id(id, tenant("acme", create_request("db")))).await);
        assert_eq!(
            (details.code, details.reason.as_deref()),
            (Code::InvalidArgument, Some("INVALID_ARGUMENT"))
        );
        assert_eq!(details.violations[0].field, "pi-request-id", "{id}");
    }
    let id = new_id();
    secrets.create(with_id(&id, tenant("acme", create_request("db")))).await.unwrap();
    let reused = refusal(secrets.create(with_id(&id, tenant("acme", create_request("other")))).await);
    assert_eq!((reused.code, reused.reason.as_deref()), (Code::InvalidArgument, Some("REQUEST_REUSED")));
    for (shift_s, reason) in [(-601, "REQUEST_TOO_OLD"), (120, "REQUEST_FROM_FUTURE")] {
        let request = with_id(&id_at(shift_s), tenant("acme", create_request("late")));
        let details = refusal(secrets.create(request).await);
        assert_eq!((details.code, details.reason.as_deref()), (Code::InvalidArgument, Some(reason)));
    }
}

#[tokio::test]
async fn a_deadline_that_passed_is_an_error_and_a_malformed_one_is_refused() {
    let node = Harness::start().await;
    let mut request = tenant("acme", create_request("db"));
    request.set_timeout(Duration::from_nanos(1));
    // Either the node's own answer, or the transport's when it is faster; never a wrong success.
    assert!(node.secrets().create(request).await.is_err());
    let mut request = tenant("acme", CreateRequest { validate_only: true, ..create_request("db") });
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let details = refusal(node.secrets().create(request).await);
    assert_eq!(details.violations[0].field, "grpc-timeout");
}
