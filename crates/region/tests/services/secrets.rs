//! What each RPC does when all is well.

use pi_proto::admin::v1::{SetQuotaRequest, StatusRequest};
use pi_proto::raft::v1::GetMembersRequest;
use pi_proto::raft::v1::routing_client::RoutingClient;
use pi_proto::regions::v1::{GetRegionRequest, ListRegionsRequest};
use pi_proto::secrets::v1::{
    AccessRequest, Consistency, CreateRequest, DeleteRequest, GetRequest, StringMap, UpdateRequest,
};

use crate::harness::*;

fn get_request(name: &str) -> GetRequest {
    GetRequest { region: REGION.into(), name: name.into(), ..Default::default() }
}

fn access_request(name: &str) -> AccessRequest {
    AccessRequest { region: REGION.into(), name: name.into(), ..Default::default() }
}

fn update_request(name: &str) -> UpdateRequest {
    UpdateRequest { region: REGION.into(), name: name.into(), ..Default::default() }
}

fn delete_request(name: &str) -> DeleteRequest {
    DeleteRequest { region: REGION.into(), name: name.into(), ..Default::default() }
}

#[tokio::test]
async fn a_secret_is_created_read_accessed_updated_and_deleted() {
    let node = Harness::start().await;
    let mut secrets = node.secrets();
    let created = node.create("db").await.unwrap();
    let secret = created.secret.unwrap();
    assert_eq!((created.quota_used, created.quota_limit), (1, 8));
    assert_eq!((secret.name.as_str(), secret.namespace.as_str()), ("db", "default"));
    assert_eq!((secret.region.as_str(), secret.generation), (REGION, 1));
    assert_eq!(secret.r#type, "kubernetes.io/dockerconfigjson");
    assert_eq!(secret.payload_bytes as usize, payload("pw").len());
    assert!(secret.create_time_ms > 0 && secret.revision > 0);

    let got = secrets.get(tenant("acme", get_request("db"))).await.unwrap().into_inner();
    assert_eq!(got.secret.as_ref(), Some(&secret));
    assert!(!got.stale && got.revision >= secret.revision);

    let accessed = secrets.access(tenant("acme", access_request("db"))).await.unwrap().into_inner();
    assert_eq!(accessed.payload, payload("pw"), "byte for byte what was written");
    assert_eq!(accessed.secret.as_ref(), Some(&secret));

    let update = UpdateRequest { payload: Some(payload("new")), ..update_request("db") };
    let updated = secrets.update(tenant("acme", update)).await.unwrap().into_inner();
    let after = updated.secret.unwrap();
    assert!(updated.changed && after.revision > secret.revision);
    assert_eq!((after.generation, &after.uid), (2, &secret.uid));
    let accessed = secrets.access(tenant("acme", access_request("db"))).await.unwrap().into_inner();
    assert_eq!(accessed.payload, payload("new"));

    let deleted = secrets.delete(tenant("acme", delete_request("db"))).await.unwrap().into_inner();
    assert_eq!(deleted.secret, Some(after.clone()));
    assert!(deleted.revision > after.revision);
    assert_eq!((deleted.quota_used, deleted.quota_limit), (0, 8));

    let again = node.create("db").await.unwrap().secret.unwrap();
    assert_ne!(again.uid, secret.uid, "a re-created secret is another one");
}

#[tokio::test]
async fn the_generation_moves_only_with_the_payload_and_nothing_moves_when_nothing_differs() {
    let node = Harness::start().await;
    let mut secrets = node.secrets();
    let first = node.create("db").await.unwrap().secret.unwrap();

    let same = UpdateRequest { payload: Some(payload("pw")), ..update_request("db") };
    let same = secrets.update(tenant("acme", same)).await.unwrap().into_inner();
    assert!(!same.changed);
    assert_eq!(same.secret.as_ref(), Some(&first));

    let labels = Some(StringMap { entries: map(&[("team", "a")]) });
    let update = UpdateRequest { payload: Some(payload("pw")), labels, ..update_request("db") };
    let labelled = secrets.update(tenant("acme", update)).await.unwrap().into_inner();
    let secret = labelled.secret.unwrap();
    assert!(labelled.changed && secret.revision > first.revision);
    assert_eq!((secret.generation, &secret.labels), (1, &map(&[("team", "a")])));
}

#[tokio::test]
async fn concurrent_updates_all_happen_one_generation_each() {
    let node = Harness::start().await;
    node.create("db").await.unwrap();
    let updates = (0..16).map(|i| {
        let mut secrets = node.secrets();
        let update = UpdateRequest { payload: Some(payload(&format!("pw{i}"))), ..update_request("db") };
        async move { secrets.update(tenant("acme", update)).await.map(|r| r.into_inner().changed) }
    });
    for result in futures::future::join_all(updates).await {
        assert!(result.unwrap(), "re-sealed and proposed again until it fits");
    }
    let got = node.secrets().get(tenant("acme", get_request("db"))).await.unwrap().into_inner();
    assert_eq!(got.secret.unwrap().generation, 17);
}

#[tokio::test]
async fn validate_only_answers_as_the_real_call_would_and_changes_nothing() {
    let node = Harness::start().await;
    let mut secrets = node.secrets();
    let dry = CreateRequest { validate_only: true, ..create_request("db") };
    let answer = secrets.create(tenant("acme", dry.clone())).await.unwrap().into_inner();
    assert_eq!((answer.quota_used, answer.quota_limit), (0, 8));
    assert_eq!(answer.secret.unwrap().uid, "");
    let missing = refusal(secrets.get(tenant("acme", get_request("db"))).await);
    assert_eq!(missing.reason.as_deref(), Some("SECRET_NOT_FOUND"));

    node.create("db").await.unwrap();
    assert_eq!(refusal(secrets.create(tenant("acme", dry)).await).reason.as_deref(), Some("SECRET_EXISTS"));
    let update = UpdateRequest { payload: Some(payload("new")), validate_only: true, ..update_request("db") };
    let answer = secrets.update(tenant("acme", update)).await.unwrap().into_inner();
    assert!(answer.changed);
    let accessed = secrets.access(tenant("acme", access_request("db"))).await.unwrap().into_inner();
    assert_eq!(accessed.payload, payload("pw"));
}

#[tokio::test]
async fn a_key_that_never_matches_is_stored_with_a_warning() {
    let node = Harness::start().await;
    let odd = br#"{"auths":{"https://index.docker.io/v1":{"auth":"Ym9iOnB3"}}}"#.to_vec();
    let request = CreateRequest { payload: odd, ..create_request("db") };
    let created = node.secrets().create(tenant("acme", request)).await.unwrap().into_inner();
    assert_eq!(created.warnings.len(), 1, "{:?}", created.warnings);
}

#[tokio::test]
async fn stale_reads_say_so_and_tenants_do_not_see_each_other() {
    let node = Harness::start().await;
    node.create("db").await.unwrap();
    let mut secrets = node.secrets();
    let stale = GetRequest { consistency: Consistency::Stale.into(), ..get_request("db") };
    assert!(secrets.get(tenant("acme", stale)).await.unwrap().into_inner().stale);
    let other = refusal(secrets.get(tenant("other", get_request("db"))).await);
    assert_eq!(other.reason.as_deref(), Some("SECRET_NOT_FOUND"));
    let list = secrets.list(tenant("other", list_request())).await.unwrap().into_inner();
    assert!(list.secrets.is_empty());
}

#[tokio::test]
async fn regions_routing_quota_and_status_answer() {
    let node = Harness::start().await;
    node.create("db").await.unwrap();
    let regions = node.regions().list_regions(ListRegionsRequest {}).await.unwrap().into_inner().regions;
    assert_eq!((regions.len(), regions[0].name.as_str(), regions[0].available), (1, REGION, true));

    let request = GetRegionRequest { region: REGION.into(), consistency: 0 };
    let region = node.regions().get_region(tenant("acme", request)).await.unwrap().into_inner();
    assert_eq!((region.secrets_used, region.secrets_quota, region.leader_id), (1, 8, 1));
    assert_eq!((region.tenant.as_str(), region.cluster.as_str(), region.healthy), ("acme", "pi", true));
    assert!(region.nodes[0].voter && region.nodes[0].leader);

    let request = GetMembersRequest { region: REGION.into() };
    let mut routing = RoutingClient::new(node.channel.clone());
    let members = routing.get_members(request).await.unwrap().into_inner();
    assert_eq!((members.leader_id, members.nodes.len()), (1, 1));
    assert_eq!(members.nodes[0].client_address, node.member.client_address);

    let request = SetQuotaRequest { region: REGION.into(), tenant: "acme".into(), secrets_max: 0 };
    let set = node.admin().set_quota(operator(request)).await.unwrap().into_inner();
    assert_eq!((set.secrets_used, set.secrets_max), (1, 0));
    let full = refusal(node.create("more").await);
    assert_eq!(full.reason.as_deref(), Some("QUOTA_EXCEEDED"), "lowered below use: creates are refused");
    assert!(node.secrets().get(tenant("acme", get_request("db"))).await.is_ok(), "and nothing is deleted");

    let status = node.admin().status(operator(StatusRequest { region: REGION.into() })).await.unwrap();
    let status = status.into_inner();
    assert_eq!((status.role.as_str(), status.leader_id, status.node_id), ("leader", 1, 1));
    assert_eq!((status.voters.len(), status.state_digest.len()), (1, 32));
    assert!(status.applied_index > 0 && status.revision > 0);
}
