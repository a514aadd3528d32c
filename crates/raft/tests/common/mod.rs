//! A group in one process: replicas over a counting store in memory, joined by a network that can be cut.
#![expect(dead_code, reason = "each test file uses a part of it")]

pub mod net;
pub mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use pi_raft::{Member, NodeId, Options, Replica, Timing};
use pi_state::{Command, CommandKind, Response, SealedPayload};
use pi_types::{RequestId, TenantId, Uid};
use tokio::time::Instant;

use net::Router;
use store::TestStore;

/// Longer than anything here may take, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn options() -> Options {
    // Relaxed: the tests share a small machine with compilers.
    let timing =
        Timing { heartbeat_ms: 100, election_min_ms: 300, election_max_ms: 600, ..Timing::default() };
    Options { timing, ..Options::default() }
}

pub struct Cluster {
    pub router: Arc<Router>,
    pub stores: BTreeMap<NodeId, Arc<TestStore>>,
    pub nodes: BTreeMap<NodeId, Replica<TestStore>>,
    pub options: Options,
}

impl Cluster {
    /// Three started nodes that are no group yet.
    pub async fn start(options: Options) -> Self {
        let stores = (1..=3).map(|id| (id, Arc::new(TestStore::default()))).collect();
        let mut cluster = Self { router: Arc::default(), stores, nodes: BTreeMap::new(), options };
        for id in 1..=3 {
            cluster.start_node(id).await;
        }
        cluster
    }

    /// Three nodes with a leader.
    pub async fn formed(options: Options) -> Self {
        let cluster = Self::start(options).await;
        cluster.nodes[&1].bootstrap(members()).await.unwrap();
        cluster.leader().await;
        cluster
    }

    pub async fn start_node(&mut self, id: NodeId) {
        let (cluster, region) = ("test".parse().unwrap(), "here".parse().unwrap());
        let store = Arc::clone(&self.stores[&id]);
        let network = net::Factory { from: id, router: Arc::clone(&self.router) };
        let replica =
            Replica::start(cluster, region, id, store, network, self.options.clone()).await.unwrap();
        self.router.join(id, replica.raft().clone());
        self.nodes.insert(id, replica);
    }

    pub async fn stop_node(&mut self, id: NodeId) {
        self.router.leave(id);
        self.nodes.remove(&id).unwrap().shutdown().await;
    }

    /// Waits until a node confirms by a linearizable read that it leads.
    pub async fn leader(&self) -> NodeId {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for (id, node) in &self.nodes {
                let soon = Instant::now() + Duration::from_millis(500);
                if node.members().leader == Some(*id) && node.read(soon).await.is_ok() {
                    return *id;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no leader: {:?}", self.nodes.values().map(|node| node.members()).collect::<Vec<_>>());
    }

    /// Proposes on whoever leads, again with the same command after anything but an answer.
    pub async fn write(&self, command: &Command) -> Response {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let leader = self.leader().await;
            let soon = Instant::now() + Duration::from_secs(2);
            if let Ok(response) = self.nodes[&leader].propose(command.clone(), soon).await {
                return response;
            }
        }
        panic!("not written");
    }

    /// Waits until `holds`.
    pub async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what} does not come true: {:?}", self.statuses());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn statuses(&self) -> BTreeMap<NodeId, pi_raft::Status> {
        self.nodes.iter().map(|(id, node)| (*id, node.status().unwrap())).collect()
    }
}

pub fn members() -> BTreeMap<NodeId, Member> {
    (1..=3)
        .map(|id| (id, Member { raft_address: format!("n{id}:1"), client_address: format!("n{id}:2") }))
        .collect()
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

pub fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn now_ms() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

/// A UUIDv7 that no other call gives.
pub fn request_id() -> RequestId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&now_ms().to_be_bytes()[2..]);
    bytes[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes[6] = 0x70;
    bytes[8] |= 0x80;
    RequestId::from_bytes(&bytes).unwrap()
}

pub fn create(owner: &str, name: &str) -> Command {
    let request_id = request_id();
    let payload = SealedPayload {
        sealed: vec![7; 256],
        plaintext_bytes: 200,
        uid: Uid::from_bytes(*request_id.as_bytes()),
        generation: 1,
    };
    let kind = CommandKind::CreateSecret {
        namespace: Default::default(),
        name: name.parse().unwrap(),
        labels: Default::default(),
        annotations: Default::default(),
        payload,
    };
    command(owner, request_id, kind)
}

pub fn set_quota(owner: &str, secrets_max: u32) -> Command {
    command(owner, request_id(), CommandKind::SetQuota { secrets_max })
}

fn command(owner: &str, request_id: RequestId, kind: CommandKind) -> Command {
    Command {
        time_ms: now_ms(),
        tenant: tenant(owner),
        principal: "tester".parse().unwrap(),
        request_id,
        kind,
    }
}
