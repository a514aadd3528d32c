//! One node from start to stop: store, replica, listeners, health, and what ends the process.
//!
//! Start: check the configuration, open the store (its marker must name this cluster, region and node), bind both
//! listeners, start the replica, serve. Stop: health says NOT_SERVING, leadership goes to another node, watches end,
//! requests under way finish, the Raft listener closes, the replica stops. Anything that must not be survived (the group
//! or the store is broken) ends the process with a cause; restarting it is the service manager's business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pi_raft::store::Store;
use pi_raft::{FatalSignal, Options, Replica, Threads, Timing};
use pi_runtime::shutdown::Shutdown;
use pi_runtime::tasks::Supervisor;
use pi_storage::marker::{Expect, Marker};
use pi_storage::rocks::{self, RocksStore};
use pi_transport::{Network, RaftService};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::Checked;
use crate::sealing::PlainV0;
use crate::server;
use crate::services::watch::Watches;
use crate::services::{Confirmed, Identity, Node};

/// How often a node asks itself whether it can serve linearizable requests; see also `watch::CONFIRMED_WITHIN`.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How long that may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How long gateways are given to see NOT_SERVING before connections close.
const HEALTH_LEAD: Duration = Duration::from_millis(100);
/// How long one node that is offered leadership may take before another one is asked.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(500);
/// How many are asked.
const HAND_OVERS_MAX: u32 = 3;
/// How long handing over may take in all.
const HANDING_OVER_MAX: Duration = HAND_OVER_TIMEOUT.saturating_mul(HAND_OVERS_MAX);
/// How often it is looked whether it has.
const HAND_OVER_LOOK: Duration = Duration::from_millis(5);
/// How much longer than its own drain time a task may take before it counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Formats the data directory for this node. Refuses one that is not empty.
pub fn init(config: &Checked) -> anyhow::Result<()> {
    let marker = Marker::new(&config.cluster, &config.region, config.node_id);
    RocksStore::format(&config.data_dir, &marker)
        .with_context(|| format!("formatting data_dir {}", config.data_dir.display()))?;
    tracing::info!(data_dir = %config.data_dir.display(), node_id = config.node_id, "data directory formatted");
    Ok(())
}

/// What the data directory's marker must say.
fn expect(config: &Checked) -> Expect {
    Expect { cluster: config.cluster.clone(), region: config.region.clone(), node_id: config.node_id }
}

/// Runs the node until it is asked to stop, or must.
pub async fn serve(config: Checked, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = RocksStore::open(&config.data_dir, &expect(&config), rocks::Options::default())
        .with_context(|| format!("opening data_dir {}", config.data_dir.display()))?;
    run(config, Arc::new(store), shutdown).await
}

/// [`serve`] on any store.
pub async fn run<S: Store>(config: Checked, store: Arc<S>, shutdown: Shutdown) -> anyhow::Result<()> {
    let client_listener = server::bind(config.client_listen).await?;
    let raft_listener = pi_transport::listen(&config.raft_listen.to_string()).await.context("raft_listen")?;
    let replica = start_replica(&config, Arc::clone(&store)).await?;
    let fatal = FatalSignal::default();
    let identity =
        Identity { cluster: config.cluster.clone(), region: config.region.clone(), node_id: config.node_id };
    let node = Arc::new(Node {
        identity,
        replica: replica.clone(),
        sealer: Arc::new(PlainV0),
        policy: config.plain.insecure_tokens,
        watches: Watches::new(&config.plain.limits),
        limits: config.plain.limits.clone(),
        confirmed: Confirmed::default(),
        shutdown: shutdown.child(),
        fatal: fatal.clone(),
    });
    warn_of_what_is_insecure(&node);

    let (reporter, health) = server::health().await;
    let routes = server::routes(&node, config.plain.reflection, health)?;
    // The listeners stop later than the request to stop: first health, then watches, then they.
    let close = Shutdown::new();
    let mut tasks = Supervisor::new(shutdown.clone());
    let (limits, stop) = (node.limits.clone(), close.clone());
    tasks.spawn("client listener", server::serve(client_listener, limits, routes, stop));
    let service =
        RaftService::new(peer_identity(&config), replica.raft().clone(), store, fatal, Threads::Real);
    tasks.spawn("raft listener", pi_transport::serve(raft_listener, service, close.requested()));
    tasks.spawn("health", report_health(Arc::clone(&node), reporter, shutdown.clone(), close.clone()));
    tasks.spawn("fatal", watch_fatal(Arc::clone(&node), shutdown.clone()));
    tracing::info!(
        client = %config.client_listen, raft = %config.raft_listen, region = %config.region,
        node_id = config.node_id, "serving"
    );
    // Each task keeps its own time to end; this is for one that does not.
    let drain =
        HEALTH_LEAD + HANDING_OVER_MAX + Duration::from_millis(config.plain.limits.drain_ms) + STUCK_AFTER;
    let ended = tasks.run(drain).await;
    replica.shutdown().await;
    tracing::info!("stopped");
    ended.map_err(anyhow::Error::from)
}

async fn start_replica<S: Store>(config: &Checked, store: Arc<S>) -> anyhow::Result<Replica<S>> {
    let raft = &config.plain.raft;
    let timing = Timing {
        heartbeat_ms: raft.heartbeat_ms,
        election_min_ms: raft.election_min_ms,
        election_max_ms: raft.election_max_ms,
        ..Timing::default()
    };
    let options = Options {
        timing,
        snapshot_every: raft.snapshot_every,
        keep_logs: raft.keep_logs,
        ..Options::default()
    };
    let network = Network::new(peer_identity(config), Threads::Real);
    Replica::start(config.cluster.clone(), config.region.clone(), config.node_id, store, network, options)
        .await
        .context("starting the region's replica")
}

fn peer_identity(config: &Checked) -> pi_transport::Identity {
    pi_transport::Identity {
        cluster: config.cluster.clone(),
        region: config.region.clone(),
        node_id: config.node_id,
    }
}

fn warn_of_what_is_insecure<S: Store>(node: &Node<S>) {
    tracing::warn!(
        sealer = node.sealer.format(),
        "payloads are stored NOT encrypted in this version; do not put real credentials into it"
    );
    if node.policy == pi_auth::InsecurePolicy::LoopbackOnly {
        tracing::warn!(
            "insecure_tokens = \"loopback-only\": whoever reaches this machine's loopback is anyone"
        );
    }
}

/// Keeps the health service truthful, and leads the way when the node is asked to stop.
async fn report_health<S: Store>(
    node: Arc<Node<S>>,
    mut reporter: HealthReporter,
    shutdown: Shutdown,
    close: Shutdown,
) -> anyhow::Result<()> {
    let mut serving = false;
    while !shutdown.is_requested() {
        // Also what keeps watches alive on a leader that nobody reads from.
        let probe = node.view(Instant::now() + PROBE_TIMEOUT);
        let now = tokio::select! {
            result = probe => result.is_ok(),
            () = shutdown.requested() => break,
        };
        if now != serving {
            serving = now;
            let status = if now { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.set_service_status(server::HEALTH_SECRETS, status).await;
            tracing::info!(serving, "can serve linearizable requests");
        }
        tokio::select! {
            () = tokio::time::sleep(PROBE_EVERY) => {}
            () = shutdown.requested() => break,
        }
    }
    for service in ["", server::HEALTH_SECRETS] {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
    }
    tokio::time::sleep(HEALTH_LEAD).await;
    hand_over(&node.replica).await;
    // Ends the streams of those who watch health. They know by now, and would hold the drain up to its last moment.
    for service in ["", server::HEALTH_SECRETS] {
        reporter.clear_service_status(service).await;
    }
    close.trigger();
    Ok(())
}

/// Hands leadership to another voter, when this node has it: else nobody would serve the region while this node drains,
/// and the others would wait an election timeout after that. Does what it can; without it they elect one all the same.
async fn hand_over<S: Store>(replica: &Replica<S>) {
    let me = replica.node_id();
    let leads = || replica.members().leader == Some(me);
    for to in replica.members().voters.into_iter().filter(|voter| *voter != me).take(HAND_OVERS_MAX as usize)
    {
        if !leads() || replica.transfer_leader(to).await.is_err() {
            return;
        }
        let until = Instant::now() + HAND_OVER_TIMEOUT;
        while leads() && Instant::now() < until {
            tokio::time::sleep(HAND_OVER_LOOK).await;
        }
        tracing::info!(to, handed_over = !leads(), "leadership was offered to another node");
    }
}

/// Fails, and with it the process, when the group or the state is broken.
async fn watch_fatal<S: Store>(node: Arc<Node<S>>, shutdown: Shutdown) -> anyhow::Result<()> {
    tokio::select! {
        cause = node.replica.fatal() => Err(anyhow::anyhow!("the region's group died on this node: {cause}")),
        cause = node.fatal.wait() => Err(anyhow::anyhow!("this node must stop: {cause}")),
        () = shutdown.requested() => Ok(()),
    }
}
