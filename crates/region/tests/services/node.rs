//! The node around the services: health, reflection, the way it stops.

use pi_proto::secrets::v1::WatchRequest;
use pi_region::config::Limits;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::*;

async fn health(node: &Harness, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.into() };
    let answer = HealthClient::new(node.channel.clone()).check(request).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

async fn becomes(node: &Harness, service: &str, expected: ServingStatus) {
    for _ in 0..200 {
        if health(node, service).await == Ok(expected) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{service:?} is {:?}, not {expected:?}", health(node, service).await);
}

#[tokio::test]
async fn health_tells_the_process_from_the_ability_to_serve() {
    let node = Harness::pristine(Limits::default()).await;
    assert_eq!(health(&node, "").await, Ok(ServingStatus::Serving));
    assert_eq!(health(&node, "pi.secrets.v1.Secrets").await, Ok(ServingStatus::NotServing));
    assert_eq!(health(&node, "nonsense").await, Err(Code::NotFound));
    let formed = Harness::start().await;
    becomes(&formed, "pi.secrets.v1.Secrets", ServingStatus::Serving).await;
}

#[tokio::test]
async fn a_node_that_is_asked_to_stop_ends_its_watches_and_then_itself() {
    let node = Harness::start().await;
    let request = WatchRequest { region: REGION.into(), ..Default::default() };
    let mut stream = node.secrets().watch(tenant("acme", request)).await.unwrap().into_inner();
    stream.message().await.unwrap().expect("synced");
    node.shutdown.trigger();
    let status = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without a reason"),
            Err(status) => break status,
        }
    };
    let details = pi_proto::status::decode(&status);
    assert_eq!((details.code, details.reason.as_deref()), (Code::Unavailable, Some("SHUTTING_DOWN")));
    drop(stream);
    node.stop().await.expect("an orderly stop is no error");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = pi_region::server::bind(address).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("client_listen"), "{error}");
}
