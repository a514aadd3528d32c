//! The quota is exact, whatever races.

use std::collections::BTreeMap;

use anyhow::Result;
use pi_auth::Token;
use pi_client::{CallOptions, Client, Error, admin, reason, secrets};
use pi_e2e::{US, await_equal_replicas, payload, shared, tenant};
use tokio::task::JoinSet;
use tonic::Code;

fn create(name: String) -> secrets::CreateRequest {
    secrets::CreateRequest { name, payload: payload("x"), ..secrets::CreateRequest::default() }
}

fn client(endpoint: &str, tenant: &str) -> Client {
    Client::builder()
        .endpoints(vec![endpoint.to_owned()])
        .token(Token::new(format!("insecure:{tenant}")).unwrap())
        .region(US.parse().unwrap())
        .connect_lazy()
        .unwrap()
}

/// Has every client of `clients`, in turn, create one of `count` secrets at the same time; counts the outcomes.
async fn create_at_once(clients: &[Client], count: usize) -> BTreeMap<String, usize> {
    let mut creating = JoinSet::new();
    for (number, client) in clients.iter().cycle().take(count).enumerate() {
        let client = client.clone();
        creating
            .spawn(async move { client.create(create(format!("s-{number}")), CallOptions::default()).await });
    }
    let mut outcomes = BTreeMap::new();
    for outcome in creating.join_all().await {
        let outcome = match outcome {
            Ok(_) => "created".to_owned(),
            Err(error) => {
                if let Error::Refused(details) = &error {
                    assert_eq!(details.code, Code::ResourceExhausted, "{error}");
                    assert_eq!(details.quotas[0].limit, 8, "{error}");
                }
                error.reason().map_or_else(|| error.to_string(), str::to_owned)
            }
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    outcomes
}

fn eight_of_64() -> BTreeMap<String, usize> {
    BTreeMap::from([("created".to_owned(), 8), (reason::QUOTA_EXCEEDED.to_owned(), 56)])
}

async fn count(client: &Client) -> Result<usize> {
    Ok(client.list(secrets::ListRequest::default(), CallOptions::default()).await?.secrets.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_concurrent_creates_of_one_tenant_exactly_8_succeed() {
    let cluster = shared().await.unwrap();
    let client = client(&cluster.gateways()[0], &tenant("quota"));
    assert_eq!(create_at_once(std::slice::from_ref(&client), 64).await, eight_of_64());
    assert_eq!(count(&client).await.unwrap(), 8);
    await_equal_replicas(&cluster, US).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_concurrent_creates_through_two_gateways_exactly_8_succeed() {
    let cluster = shared().await.unwrap();
    let tenant = tenant("quota");
    let clients: Vec<Client> = cluster.gateways().iter().map(|gateway| client(gateway, &tenant)).collect();
    assert_eq!(clients.len(), 2);
    assert_eq!(create_at_once(&clients, 64).await, eight_of_64());
    for client in &clients {
        assert_eq!(count(client).await.unwrap(), 8);
    }
    await_equal_replicas(&cluster, US).await.unwrap();
}

#[tokio::test]
async fn an_operator_changes_a_quota_and_lowering_it_deletes_nothing() {
    let cluster = shared().await.unwrap();
    let tenant = tenant("quota");
    let client = cluster.client(&tenant, US).unwrap();
    let operator = cluster.operator(US).unwrap();
    let set = async |secrets_max: u32| {
        let request = admin::SetQuotaRequest {
            tenant: tenant.clone(),
            secrets_max,
            ..admin::SetQuotaRequest::default()
        };
        operator.set_quota(request, CallOptions::default()).await.unwrap()
    };
    set(10).await;
    for number in 0..10 {
        client.create(create(format!("s-{number}")), CallOptions::default()).await.unwrap();
    }
    let lowered = set(3).await;
    assert_eq!((lowered.secrets_used, lowered.secrets_max), (10, 3));
    assert_eq!(count(&client).await.unwrap(), 10);
    let error = client.create(create("one-more".to_owned()), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some(reason::QUOTA_EXCEEDED), "{error}");
    // An update never counts.
    let update = secrets::UpdateRequest {
        name: "s-0".to_owned(),
        payload: Some(payload("y")),
        ..secrets::UpdateRequest::default()
    };
    assert!(client.update(update, CallOptions::default()).await.unwrap().changed);
}
