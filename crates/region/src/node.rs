//! One node from start to stop: store, replica, listeners, health, and what ends the process.
//!
//! Start: check the configuration, open the store (its marker must name this cluster, region and node), bind both
//! listeners, start the replica, serve. Stop: health says NOT_SERVING, watches end, requests under way finish, the Raft
//! listener closes, the replica stops. Anything that must not be survived (the group or the store is broken) ends the
//! process with a cause; restarting it is the service manager's business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pi_raft::Replica;
use pi_raft::store::Store;
use pi_runtime::shutdown::Shutdown;
use pi_runtime::tasks::Supervisor;
use pi_storage::marker::{Expect, Marker};
use pi_storage::rocks::{self, RocksStore};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::Checked;
use crate::sealing::PlainV0;
use crate::server;
use crate::services::watch::Watches;
use crate::services::{Identity, Node};

/// How often a node asks itself whether it can serve linearizable requests.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How long that may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How long gateways are given to see NOT_SERVING before connections close.
const HEALTH_LEAD: Duration = Duration::from_millis(100);

/// Formats the data directory for this node. Refuses one that is not empty.
pub fn init(config: &Checked) -> anyhow::Result<()> {
    let marker = Marker::new(&config.cluster, &config.region, config.node_id);
    RocksStore::format(&config.data_dir, &marker)
        .with_context(|| format!("formatting data_dir {}", config.data_dir.display()))?;
    tracing::info!(data_dir = %config.data_dir.display(), node_id = config.node_id, "data directory formatted");
    Ok(())
}

/// Runs the node until it is asked to stop, or must.
pub async fn serve(config: Checked, shutdown: Shutdown) -> anyhow::Result<()> {
    let expect = Expect::new(&config.cluster, &config.region, config.node_id);
    let store = RocksStore::open(&config.data_dir, &expect, rocks::Options::default())
        .with_context(|| format!("opening data_dir {}", config.data_dir.display()))?;
    run(config, Arc::new(store), shutdown).await
}

/// [`serve`] on any store.
pub async fn run<S: Store>(config: Checked, store: Arc<S>, shutdown: Shutdown) -> anyhow::Result<()> {
    let client_listener = server::bind(config.client_listen).await?;
    let raft_listener = tokio::net::TcpListener::bind(config.raft_listen).await.with_context(|| {
        format!("raft_listen {} cannot be bound; is another pi-region running?", config.raft_listen)
    })?;
    let replica = start_replica(&config, Arc::clone(&store)).await?;
    let fatal = tokio::sync::watch::Sender::new(None);
    let identity =
        Identity { cluster: config.cluster.clone(), region: config.region.clone(), node_id: config.node_id };
    let node = Arc::new(Node {
        identity,
        replica: replica.clone(),
        sealer: Arc::new(PlainV0),
        policy: config.plain.insecure_tokens,
        watches: Watches::new(&config.plain.limits),
        limits: config.plain.limits.clone(),
        shutdown: shutdown.child(),
        fatal,
    });
    warn_of_what_is_insecure(&node);

    let (reporter, health) = server::health().await;
    let routes = server::routes(&node, config.plain.reflection, health)?;
    // The listeners stop later than the request to stop: first health, then watches, then they.
    let close = Shutdown::new();
    let mut tasks = Supervisor::new(shutdown.clone());
    let limits = node.limits.clone();
    let stop = close.requested();
    tasks
        .spawn("client listener", async move { server::serve(client_listener, &limits, routes, stop).await });
    let service =
        pi_transport::RaftService::new(config.cluster.clone(), config.region.clone(), replica.clone());
    tasks.spawn("raft listener", pi_transport::serve(raft_listener, service, close.requested()));
    tasks.spawn("health", report_health(Arc::clone(&node), reporter, shutdown.clone(), close.clone()));
    tasks.spawn("fatal", watch_fatal(Arc::clone(&node), shutdown.clone()));
    tracing::info!(
        client = %config.client_listen, raft = %config.raft_listen, region = %config.region,
        node_id = config.node_id, "serving"
    );
    let drain = HEALTH_LEAD + Duration::from_millis(config.plain.limits.drain_ms);
    let ended = tasks.run(drain).await;
    replica.shutdown().await;
    tracing::info!("stopped");
    ended.map_err(anyhow::Error::from)
}

async fn start_replica<S: Store>(config: &Checked, store: Arc<S>) -> anyhow::Result<Replica<S>> {
    let raft = &config.plain.raft;
    let timing = pi_raft::Timing {
        heartbeat_ms: raft.heartbeat_ms,
        election_min_ms: raft.election_min_ms,
        election_max_ms: raft.election_max_ms,
        ..pi_raft::Timing::default()
    };
    let options = pi_raft::Options {
        timing,
        snapshot_every: raft.snapshot_every,
        keep_logs: raft.keep_logs,
        ..pi_raft::Options::default()
    };
    let network = pi_transport::Network::new(
        config.cluster.clone(),
        config.region.clone(),
        config.node_id,
        Arc::clone(&store),
    );
    Replica::start(config.cluster.clone(), config.region.clone(), config.node_id, store, network, options)
        .await
        .context("starting the region's replica")
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
    reporter: HealthReporter,
    shutdown: Shutdown,
    close: Shutdown,
) -> anyhow::Result<()> {
    let mut serving = false;
    while !shutdown.is_requested() {
        let probe = node.replica.read(Instant::now() + PROBE_TIMEOUT);
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
    close.trigger();
    Ok(())
}

/// Fails, and with it the process, when the group or the state is broken.
async fn watch_fatal<S: Store>(node: Arc<Node<S>>, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut unreadable = node.fatal.subscribe();
    tokio::select! {
        cause = node.replica.fatal() => Err(anyhow::anyhow!("the region's group died on this node: {cause}")),
        cause = unreadable.wait_for(Option::is_some) => {
            let cause = cause.ok().and_then(|cause| cause.clone()).unwrap_or_default();
            Err(anyhow::anyhow!("this node's state cannot be read: {cause}"))
        }
        () = shutdown.requested() => Ok(()),
    }
}
