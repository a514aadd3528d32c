//! Starts a node and speaks to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pi_auth::InsecurePolicy;
use pi_proto::admin::v1::admin_client::AdminClient;
use pi_proto::admin::v1::{BootstrapRequest, Member};
use pi_proto::regions::v1::regions_client::RegionsClient;
use pi_proto::secrets::v1::secrets_client::SecretsClient;
use pi_proto::secrets::v1::{CreateRequest, CreateResponse, Secret};
use pi_proto::status::{Details, decode};
use pi_region::config::{Config, Limits, Log, Raft};
use pi_region::node;
use pi_runtime::shutdown::Shutdown;
use pi_storage::memory::MemoryStore;
use pi_types::docker_config::{self, Credential};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use uuid::Uuid;

/// The region of every test.
pub const REGION: &str = "us-central1";

/// A running node of a region of one.
pub struct Harness {
    pub channel: Channel,
    pub shutdown: Shutdown,
    pub member: Member,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Harness {
    /// A formed region.
    pub async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    /// A formed region with other bounds.
    pub async fn start_with(limits: Limits) -> Self {
        let this = Self::pristine(limits).await;
        let request = BootstrapRequest { region: REGION.into(), members: vec![this.member.clone()] };
        this.admin().bootstrap(operator(request)).await.expect("bootstrap");
        this.wait_until_serving().await;
        this
    }

    /// A node that belongs to no group yet.
    pub async fn pristine(limits: Limits) -> Self {
        Self::pristine_node(1, limits).await
    }

    /// The same with an id.
    pub async fn pristine_node(id: u64, limits: Limits) -> Self {
        let (client, raft) = (free_address(), free_address());
        let config = Config {
            cluster: "pi".parse().unwrap(),
            region: REGION.parse().unwrap(),
            node_id: id,
            data_dir: PathBuf::from("/nowhere"),
            client_listen: client.clone(),
            raft_listen: raft.clone(),
            client_address: None,
            raft_address: None,
            worker_threads: None,
            insecure_tokens: InsecurePolicy::LoopbackOnly,
            reflection: true,
            raft: Raft::default(),
            limits,
            log: Log::default(),
        };
        let shutdown = Shutdown::new();
        let store = Arc::new(MemoryStore::new());
        let task = tokio::spawn(node::run(config.check().unwrap(), store, shutdown.clone()));
        let endpoint = Endpoint::from_shared(format!("http://{client}")).unwrap();
        let channel = retry("connect", || endpoint.connect()).await;
        let member = Member { id, raft_address: raft, client_address: client };
        Self { channel, shutdown, member, task }
    }

    async fn wait_until_serving(&self) {
        retry("lead", || async {
            let request = tenant("waiting", list_request());
            self.secrets().list(request).await
        })
        .await;
    }

    pub fn secrets(&self) -> SecretsClient<Channel> {
        SecretsClient::new(self.channel.clone())
    }

    pub fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone())
    }

    pub fn regions(&self) -> RegionsClient<Channel> {
        RegionsClient::new(self.channel.clone())
    }

    /// Creates a secret of tenant acme.
    pub async fn create(&self, name: &str) -> Result<CreateResponse, Status> {
        let response = self.secrets().create(tenant("acme", create_request(name))).await?;
        Ok(response.into_inner())
    }

    /// Creates one with labels.
    pub async fn create_labelled(&self, name: &str, labels: &[(&str, &str)]) -> Secret {
        let mut request = create_request(name);
        request.labels = map(labels);
        let response = self.secrets().create(tenant("acme", request)).await.expect("create");
        response.into_inner().secret.unwrap()
    }

    /// Stops the node, and returns how it ended.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.trigger();
        self.task.await.expect("the node's task does not panic")
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn retry<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    for _ in 0..200 {
        if let Ok(value) = attempt().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the node did not {what} within 10 s: {:?}", attempt().await.err());
}

/// As a tenant.
pub fn tenant<T>(name: &str, message: T) -> Request<T> {
    with_token(&format!("Bearer insecure:{name}"), message)
}

/// As an operator.
pub fn operator<T>(message: T) -> Request<T> {
    with_token("Bearer insecure-operator:root", message)
}

pub fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    request
}

/// Names the mutation.
pub fn with_id<T>(id: &str, mut request: Request<T>) -> Request<T> {
    request.metadata_mut().insert("pi-request-id", id.parse().unwrap());
    request
}

pub fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// kubectl's bytes for one credential.
pub fn payload(password: &str) -> Vec<u8> {
    let credential = Credential {
        server: "https://index.docker.io/v1/".into(),
        username: "bob".into(),
        password: password.to_owned().into(),
        email: None,
    };
    docker_config::write(&credential).to_vec()
}

/// A valid payload of exactly so many bytes.
pub fn payload_of(bytes: usize) -> Vec<u8> {
    let mut payload = payload("pw");
    assert!(payload.len() <= bytes);
    payload.resize(bytes, b' ');
    payload
}

pub fn create_request(name: &str) -> CreateRequest {
    CreateRequest {
        region: REGION.into(),
        name: name.into(),
        payload: payload("pw"),
        ..CreateRequest::default()
    }
}

pub fn list_request() -> pi_proto::secrets::v1::ListRequest {
    pi_proto::secrets::v1::ListRequest { region: REGION.into(), ..Default::default() }
}

pub fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What a refusal says; panics when there was none.
pub fn refusal<T>(result: Result<T, Status>) -> Details {
    decode(&result.err().expect("a refusal"))
}
