//! Every refusal a caller can meet on a healthy node: code, reason, field.

use pi_proto::admin::v1::{BootstrapRequest, Member, SetQuotaRequest, StatusRequest};
use pi_proto::raft::v1::GetMembersRequest;
use pi_proto::raft::v1::routing_client::RoutingClient;
use pi_proto::regions::v1::GetRegionRequest;
use pi_proto::secrets::v1::{
    AccessRequest, CreateRequest, DeleteRequest, GetRequest, StringMap, UpdateRequest, WatchRequest,
};
use pi_region::config::Limits;
use tonic::{Code, Request};

use crate::harness::*;

fn get_in(region: &str) -> GetRequest {
    GetRequest { region: region.into(), name: "db".into(), ..Default::default() }
}

#[tokio::test]
async fn creates_are_exact_under_64_concurrent_ones() {
    let node = Harness::start().await;
    let creates = (0..64).map(|i| {
        let mut secrets = node.secrets();
        let request = create_request(&format!("s{i}"));
        async move { secrets.create(tenant("acme", request)).await }
    });
    let results = futures::future::join_all(creates).await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (8, 56));
    for result in lost {
        let details = refusal(result);
        assert_eq!(
            (details.code, details.reason.as_deref()),
            (Code::ResourceExhausted, Some("QUOTA_EXCEEDED"))
        );
        let (_, cause) = details.message.split_once("is forbidden: ").expect("Kubernetes' words come first");
        assert_eq!(
            cause,
            "exceeded quota: tenant acme has 8 of 8 secrets in region us-central1 (all namespaces count); \
             delete one with \"pi secret delete NAME\" or ask an operator for a higher quota"
        );
        assert_eq!(details.quotas[0].limit, 8);
    }
    let list = node.secrets().list(tenant("acme", list_request())).await.unwrap().into_inner();
    assert_eq!(list.secrets.len(), 8);
    let other = node.secrets().create(tenant("other", create_request("s"))).await;
    assert!(other.is_ok(), "another tenant's quota is its own");
}

#[tokio::test]
async fn all_fields_that_do_not_hold_are_told_at_once() {
    let node = Harness::start().await;
    let request = CreateRequest {
        namespace: "Upper".into(),
        name: "no_underscore".into(),
        r#type: "Opaque".into(),
        labels: map(&[("ok", "not ok!")]),
        payload: b"not json".to_vec(),
        ..create_request("")
    };
    let details = refusal(node.secrets().create(tenant("acme", request)).await);
    assert_eq!((details.code, details.reason.as_deref()), (Code::InvalidArgument, Some("INVALID_ARGUMENT")));
    let fields: Vec<_> = details.violations.iter().map(|v| v.field.as_str()).collect();
    for field in ["namespace", "name", "type", "labels", "payload"] {
        assert!(fields.iter().any(|f| f.starts_with(field)), "{field} is missing in {fields:?}");
    }
}

#[tokio::test]
async fn the_limit_is_4096_bytes_inclusive_on_create_and_update() {
    let node = Harness::start().await;
    let mut secrets = node.secrets();
    let most = CreateRequest { payload: payload_of(4_096), ..create_request("most") };
    let created = secrets.create(tenant("acme", most)).await.unwrap().into_inner();
    assert_eq!(created.secret.unwrap().payload_bytes, 4_096);

    let more = CreateRequest { payload: payload_of(4_097), ..create_request("more") };
    let update = UpdateRequest {
        region: REGION.into(),
        name: "most".into(),
        payload: Some(payload_of(4_097)),
        ..Default::default()
    };
    let refusals = [
        refusal(secrets.create(tenant("acme", more)).await),
        refusal(secrets.update(tenant("acme", update)).await),
    ];
    for details in refusals {
        assert_eq!(
            (details.code, details.reason.as_deref()),
            (Code::InvalidArgument, Some("PAYLOAD_TOO_LARGE"))
        );
        assert_eq!(details.violations[0].field, "payload");
        assert!(details.message.contains("4097"), "{}", details.message);
    }
}

#[tokio::test]
async fn existence_and_preconditions() {
    let node = Harness::start().await;
    let mut secrets = node.secrets();
    let secret = node.create("db").await.unwrap().secret.unwrap();
    let exists = refusal(node.create("db").await);
    assert_eq!((exists.code, exists.reason.as_deref()), (Code::AlreadyExists, Some("SECRET_EXISTS")));

    let labels = Some(StringMap::default());
    let update = |name: &str, uid: &str, revision| UpdateRequest {
        region: REGION.into(),
        name: name.into(),
        labels: labels.clone(),
        expect_uid: uid.into(),
        expect_revision: revision,
        ..Default::default()
    };
    let delete = |name: &str, uid: &str, revision| DeleteRequest {
        region: REGION.into(),
        name: name.into(),
        expect_uid: uid.into(),
        expect_revision: revision,
        ..Default::default()
    };
    let access = AccessRequest { region: REGION.into(), name: "gone".into(), ..Default::default() };
    let get = GetRequest { region: REGION.into(), name: "gone".into(), ..Default::default() };
    let with_payload = UpdateRequest { payload: Some(payload("new")), ..update("gone", "", 0) };
    for details in [
        refusal(secrets.get(tenant("acme", get)).await),
        refusal(secrets.access(tenant("acme", access)).await),
        refusal(secrets.update(tenant("acme", update("gone", "", 0))).await),
        refusal(secrets.update(tenant("acme", with_payload)).await),
        refusal(secrets.delete(tenant("acme", delete("gone", "", 0))).await),
    ] {
        assert_eq!((details.code, details.reason.as_deref()), (Code::NotFound, Some("SECRET_NOT_FOUND")));
    }
    let nobody = "00000000-0000-4000-8000-000000000000";
    for details in [
        refusal(secrets.update(tenant("acme", update("db", nobody, 0))).await),
        refusal(secrets.update(tenant("acme", update("db", "", 999_999))).await),
        refusal(secrets.delete(tenant("acme", delete("db", nobody, 0))).await),
        refusal(secrets.delete(tenant("acme", delete("db", &secret.uid, 999_999))).await),
    ] {
        assert_eq!((details.code, details.reason.as_deref()), (Code::Aborted, Some("PRECONDITION_FAILED")));
        assert_eq!(details.metadata["uid"], secret.uid);
    }
    let malformed = refusal(secrets.delete(tenant("acme", delete("db", "nonsense", 0))).await);
    assert_eq!(malformed.violations[0].field, "expect_uid");
    let nothing = UpdateRequest { labels: None, ..update("db", "", 0) };
    let nothing = refusal(secrets.update(tenant("acme", nothing)).await);
    assert_eq!(nothing.reason.as_deref(), Some("INVALID_ARGUMENT"));
    let met = secrets.delete(tenant("acme", delete("db", &secret.uid, secret.revision))).await;
    assert!(met.is_ok(), "preconditions that hold");
}

#[tokio::test]
async fn the_region_comes_before_the_credential_and_the_credential_before_existence() {
    let node = Harness::start().await;
    let mut secrets = node.secrets();
    for region in ["", "eu-west1", "\u{1F980}"] {
        let details = refusal(secrets.get(Request::new(get_in(region))).await);
        let expected = (Code::InvalidArgument, Some("WRONG_REGION"));
        assert_eq!((details.code, details.reason.as_deref()), expected, "{region}");
    }
    let members = GetMembersRequest { region: "eu-west1".into() };
    let details = refusal(RoutingClient::new(node.channel.clone()).get_members(members).await);
    assert_eq!(details.reason.as_deref(), Some("WRONG_REGION"));

    let missing = refusal(secrets.get(Request::new(get_in(REGION))).await);
    assert_eq!((missing.code, missing.reason.as_deref()), (Code::Unauthenticated, Some("UNAUTHENTICATED")));
    for token in ["", "Bearer", "Bearer nonsense", "Basic insecure:acme", "Bearer insecure:UPPER"] {
        let details = refusal(secrets.get(with_token(token, get_in(REGION))).await);
        assert_eq!(details.reason.as_deref(), Some("UNAUTHENTICATED"), "{token}");
    }
}

#[tokio::test]
async fn tenants_may_not_administer_and_operators_may_not_touch_secrets() {
    let node = Harness::start().await;
    let (mut secrets, mut admin) = (node.secrets(), node.admin());
    let region = || REGION.to_owned();
    let access = AccessRequest { region: region(), name: "db".into(), ..Default::default() };
    let watch = WatchRequest { region: region(), ..Default::default() };
    let quota = SetQuotaRequest { region: region(), tenant: "acme".into(), secrets_max: 9 };
    let bootstrap = BootstrapRequest { region: region(), members: vec![] };
    for details in [
        refusal(secrets.create(operator(create_request("db"))).await),
        refusal(secrets.get(operator(get_in(REGION))).await),
        refusal(secrets.access(operator(access)).await),
        refusal(secrets.list(operator(list_request())).await),
        refusal(secrets.watch(operator(watch)).await),
        refusal(admin.set_quota(tenant("acme", quota)).await),
        refusal(admin.bootstrap(tenant("acme", bootstrap)).await),
        refusal(admin.status(tenant("acme", StatusRequest { region: region() })).await),
    ] {
        assert_eq!(
            (details.code, details.reason.as_deref()),
            (Code::PermissionDenied, Some("PERMISSION_DENIED"))
        );
    }
    let request = GetRegionRequest { region: region(), consistency: 0 };
    let answer = node.regions().get_region(operator(request)).await.unwrap().into_inner();
    assert_eq!((answer.tenant.as_str(), answer.secrets_quota), ("", 0), "an operator has no tenant");
}

#[tokio::test]
async fn administration_checks_its_fields_and_forms_a_region_once() {
    let node = Harness::pristine(Limits::default()).await;
    let details = refusal(node.create("db").await);
    assert_eq!((details.code, details.reason.as_deref()), (Code::Unavailable, Some("NOT_BOOTSTRAPPED")));
    assert!(details.not_proposed);
    let stale = pi_proto::secrets::v1::ListRequest { consistency: 2, ..list_request() };
    let details = refusal(node.secrets().list(tenant("acme", stale)).await);
    assert_eq!(details.reason.as_deref(), Some("NOT_BOOTSTRAPPED"));

    let members = |members: Vec<Member>| BootstrapRequest { region: REGION.into(), members };
    let stranger = Member { id: 2, ..node.member.clone() };
    for bad in [vec![], vec![stranger], vec![node.member.clone(), node.member.clone()]] {
        let details = refusal(node.admin().bootstrap(operator(members(bad))).await);
        assert_eq!(details.reason.as_deref(), Some("INVALID_ARGUMENT"), "{}", details.message);
    }
    let good = members(vec![node.member.clone()]);
    node.admin().bootstrap(operator(good.clone())).await.unwrap();
    let details = refusal(node.admin().bootstrap(operator(good)).await);
    assert_eq!(
        (details.code, details.reason.as_deref()),
        (Code::FailedPrecondition, Some("ALREADY_BOOTSTRAPPED"))
    );
    let bad = SetQuotaRequest { region: REGION.into(), tenant: "Upper".into(), secrets_max: 1_000_001 };
    let details = refusal(node.admin().set_quota(operator(bad)).await);
    let fields: Vec<_> = details.violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["tenant", "secrets_max"]);
}

#[tokio::test]
async fn a_full_node_refuses_at_once_and_says_that_nothing_happened() {
    let node = Harness::start_with(Limits { requests_max: 2, ..Limits::default() }).await;
    let creates = (0..64).map(|i| {
        let mut secrets = node.secrets();
        let request = create_request(&format!("s{i}"));
        async move { secrets.create(tenant(&format!("t{i}"), request)).await }
    });
    let results = futures::future::join_all(creates).await;
    let refused: Vec<_> = results.into_iter().filter(Result::is_err).map(refusal).collect();
    assert!(!refused.is_empty(), "64 at once do not fit into 2 places");
    for details in refused {
        assert_eq!((details.code, details.reason.as_deref()), (Code::Unavailable, Some("OVERLOADED")));
        assert!(details.not_proposed && details.retry_after.is_some());
    }
    assert!(node.create("later").await.is_ok(), "places are given back");
}
