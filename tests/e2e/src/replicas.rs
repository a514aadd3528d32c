//! Are all replicas the same, and has one that was away come back?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use pi_dev::Cluster;

use crate::{PATIENCE, eventually};

/// Waits until every node of a region said its digest at one same index, and checks every two digests said of one
/// index on the way. Returns that index. Works under light load too: then it takes a few more looks.
///
/// # Errors
/// Two nodes differ at the same index, or it takes longer than [`PATIENCE`].
pub async fn await_equal_replicas(cluster: &Cluster, region: &str) -> Result<u64> {
    let mut said: BTreeMap<u64, BTreeMap<u64, String>> = BTreeMap::new();
    let until = Instant::now() + PATIENCE;
    loop {
        let mut last = Vec::new();
        for node in 1..=cluster.spec().nodes {
            let Ok(status) = cluster.node_status(region, node).await else { continue };
            ensure!(status.state_digest.len() == 32, "node {node} says no digest: {status:?}");
            last.push((node, status.applied_index));
            let at_index = said.entry(status.applied_index).or_default();
            if let Some((other, digest)) = at_index.iter().find(|(_, d)| **d != status.state_digest) {
                bail!(
                    "{region}: nodes {other} and {node} differ at index {}: {digest} and {}",
                    status.applied_index,
                    status.state_digest
                );
            }
            at_index.insert(node, status.state_digest);
            if at_index.len() as u64 == cluster.spec().nodes {
                return Ok(status.applied_index);
            }
        }
        ensure!(Instant::now() < until, "{region}: no common index within {PATIENCE:?}; last seen: {last:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a node has applied all that the region had committed when this was called.
///
/// # Errors
/// The region has no leader, or the node takes longer than [`PATIENCE`].
pub async fn await_caught_up(cluster: &Cluster, region: &str, node: u64) -> Result<()> {
    let committed = || async {
        let leader = cluster.leader(region).await?;
        Some(cluster.node_status(region, leader).await.ok()?.committed_index)
    };
    let committed = eventually(&format!("{region} has a leader"), committed).await?;
    let caught_up = || async {
        let applied = cluster.node_status(region, node).await.ok()?.applied_index;
        (applied >= committed).then_some(())
    };
    eventually(&format!("{region}/{node} has applied {committed}"), caught_up).await
}
