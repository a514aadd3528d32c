//! A group of nodes in one process, over real sockets, with links that can be cut.
//!
//! Each node reaches each other through a [`Link`] of its own, so that a test can isolate one node in both directions
//! or starve one direction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::RaftNetworkFactory;
use pi_raft::types::{Member, NodeId, TypeConfig};
use pi_raft::{FatalSignal, Options, Replica, Threads};
use pi_runtime::shutdown::Shutdown;
use pi_state::{Command, CommandKind};
use pi_storage::memory::MemoryStore;
use pi_transport::{Identity, Network, RaftService, listen, serve};
use pi_types::{PrincipalName, RequestId, TenantId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What a link does to its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Passes bytes on.
    Open,
    /// Breaks what is connected and refuses what comes, as a dead process does.
    Broken,
    /// Keeps connections and passes nothing on, as a lost network does.
    Silent,
}

/// A way from one node to another.
pub struct Link {
    pub address: String,
    state: watch::Sender<State>,
}

impl Link {
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = watch::Sender::new(State::Open);
        let states = state.subscribe();
        tokio::spawn(async move {
            while let Ok((inside, _)) = listener.accept().await {
                if *states.borrow() == State::Broken {
                    continue;
                }
                let (states, target) = (states.clone(), target.clone());
                tokio::spawn(async move {
                    if let Ok(outside) = TcpStream::connect(target).await {
                        let _ = inside.set_nodelay(true);
                        let _ = outside.set_nodelay(true);
                        let (from_in, to_in) = inside.into_split();
                        let (from_out, to_out) = outside.into_split();
                        tokio::select! {
                            () = pump(from_in, to_out, states.clone()) => {}
                            () = pump(from_out, to_in, states) => {}
                        }
                    }
                });
            }
        });
        Self { address, state }
    }

    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

/// Moves bytes one way until either end closes or the link breaks.
async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut states: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let state = *states.borrow_and_update();
        if state == State::Broken {
            return;
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            read = from.read(&mut buffer), if state == State::Open => match read {
                Ok(count) if count > 0 && to.write_all(&buffer[..count]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}

/// The node's network, with every peer's address replaced by the link that leads there.
pub struct Via {
    network: Network,
    addresses: BTreeMap<NodeId, String>,
}

impl Via {
    fn member(&self, target: NodeId) -> Member {
        Member { raft_address: self.addresses[&target].clone(), client_address: String::new() }
    }
}

impl RaftNetworkFactory<TypeConfig> for Via {
    type Network = <Network as RaftNetworkFactory<TypeConfig>>::Network;

    async fn new_client(&mut self, target: NodeId, _: &Member) -> Self::Network {
        let member = self.member(target);
        self.network.new_client(target, &member).await
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, _: &Member) -> Self::Network {
        let member = self.member(target);
        self.network.new_heartbeat_client(target, &member).await
    }

    async fn new_snapshot_client(&mut self, target: NodeId, _: &Member) -> Self::Network {
        let member = self.member(target);
        self.network.new_snapshot_client(target, &member).await
    }
}

pub fn identity(node_id: NodeId) -> Identity {
    Identity { cluster: "test".parse().unwrap(), region: "here".parse().unwrap(), node_id }
}

pub struct Node {
    pub replica: Replica<MemoryStore>,
    pub address: String,
    pub fatal: FatalSignal,
    shutdown: Shutdown,
    server: JoinHandle<()>,
}

impl Node {
    /// A pristine node that reaches others through `addresses`.
    pub async fn start(
        node_id: NodeId,
        listener: TcpListener,
        addresses: BTreeMap<NodeId, String>,
        options: Options,
    ) -> Self {
        let id = identity(node_id);
        let address = listener.local_addr().unwrap().to_string();
        let store = Arc::new(MemoryStore::new());
        let network = Via { network: Network::new(id.clone(), Threads::Real), addresses };
        let (cluster, region) = (id.cluster.clone(), id.region.clone());
        let replica =
            Replica::start(cluster, region, node_id, Arc::clone(&store), network, options).await.unwrap();
        let fatal = FatalSignal::default();
        let service = RaftService::new(id, replica.raft().clone(), store, fatal.clone(), Threads::Real);
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let server = tokio::spawn(async move {
            serve(listener, service, async move { stop.requested().await }).await.unwrap();
        });
        Self { replica, address, fatal, shutdown, server }
    }

    /// One node that belongs to no group.
    pub async fn alone(node_id: NodeId) -> Self {
        let listener = listen("127.0.0.1:0").await.unwrap();
        Self::start(node_id, listener, BTreeMap::new(), Options::default()).await
    }

    pub async fn stop(self) {
        self.shutdown.trigger();
        self.server.await.unwrap();
        self.replica.shutdown().await;
    }
}

/// Three nodes that form a group.
pub struct Group {
    pub nodes: BTreeMap<NodeId, Node>,
    links: BTreeMap<(NodeId, NodeId), Link>,
}

impl Group {
    pub async fn start(options: Options) -> Self {
        let ids = [1, 2, 3];
        let mut listeners = BTreeMap::new();
        for id in ids {
            listeners.insert(id, listen("127.0.0.1:0").await.unwrap());
        }
        let addresses: BTreeMap<NodeId, String> = listeners
            .iter()
            .map(|(id, listener)| (*id, listener.local_addr().unwrap().to_string()))
            .collect();
        let mut links = BTreeMap::new();
        for from in ids {
            for to in ids.into_iter().filter(|to| *to != from) {
                links.insert((from, to), Link::to(addresses[&to].clone()).await);
            }
        }
        let mut nodes = BTreeMap::new();
        for (id, listener) in listeners {
            let via = links
                .iter()
                .filter(|((from, _), _)| *from == id)
                .map(|((_, to), link)| (*to, link.address.clone()));
            nodes.insert(id, Node::start(id, listener, via.collect(), options.clone()).await);
        }
        let members = addresses
            .into_iter()
            .map(|(id, raft_address)| (id, Member { raft_address, client_address: String::new() }));
        nodes[&1].replica.bootstrap(members.collect()).await.unwrap();
        Self { nodes, links }
    }

    /// Sets every link from and to `node`.
    pub fn isolate(&self, node: NodeId, state: State) {
        for ((from, to), link) in &self.links {
            if *from == node || *to == node {
                link.set(state);
            }
        }
    }

    pub fn link(&self, from: NodeId, to: NodeId) -> &Link {
        &self.links[&(from, to)]
    }

    /// The node that leads and knows it, once there is one; not `except`.
    pub async fn leader(&self, except: Option<NodeId>) -> NodeId {
        let mut found = None;
        eventually("a leader", || {
            found = self.nodes.iter().find_map(|(id, node)| {
                let status = node.replica.status().unwrap();
                (status.role.as_str() == "leader" && Some(*id) != except).then_some(*id)
            });
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Proposes at whoever leads until it succeeds; the request id makes repeats harmless.
    pub async fn write(&self, number: u64, except: Option<NodeId>) {
        let command = set_quota(number);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let leader = self.leader(except).await;
            let tried =
                self.nodes[&leader].replica.propose(command.clone(), Instant::now() + Duration::from_secs(2));
            match tried.await {
                Ok(_) => return,
                Err(error) => assert!(Instant::now() < deadline, "no write succeeds: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until `node` has applied what `other` has, and compares their digests.
    pub async fn same_state(&self, node: NodeId, other: NodeId) {
        let status = |id: NodeId| self.nodes[&id].replica.status().unwrap();
        eventually("the same state", || {
            let (node, other) = (status(node), status(other));
            node.applied_index == other.applied_index && node.state_digest == other.state_digest
        })
        .await;
    }

    pub async fn stop(self) {
        for node in self.nodes.into_values() {
            assert_eq!(node.fatal.tripped(), None);
            node.stop().await;
        }
    }
}

/// A command that changes the state: the quota of tenant `number % 50`.
pub fn set_quota(number: u64) -> Command {
    let time_ms = 1_760_000_000_000 + i64::try_from(number).unwrap();
    let mut id = [0; 16];
    id[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
    id[8..].copy_from_slice(&number.to_be_bytes());
    id[6] = 0x70;
    id[8] = 0x80;
    Command {
        time_ms,
        tenant: format!("tenant-{}", number % 50).parse::<TenantId>().unwrap(),
        principal: "operator".parse::<PrincipalName>().unwrap(),
        request_id: RequestId::from_bytes(&id).unwrap(),
        kind: CommandKind::SetQuota { secrets_max: 10 + u32::try_from(number % 1000).unwrap() },
    }
}

/// Waits up to 20 s for something to hold.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
