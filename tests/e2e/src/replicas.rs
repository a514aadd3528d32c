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

/// Waits until a node has applied all that any node knew to be committed when this was called.
///
/// # Errors
/// No node answers, or the node takes longer than [`PATIENCE`].
pub async fn await_caught_up(cluster: &Cluster, region: &str, node: u64) -> Result<()> {
    let committed = || async {
        let mut most = 0;
        for node in 1..=cluster.spec().nodes {
            if let Ok(status) = cluster.node_status(region, node).await {
                most = most.max(status.committed_index);
            }
        }
        (most > 0).then_some(most)
    };
    let committed = eventually(&format!("{region} has committed something"), committed).await?;
    let caught_up = || async {
        let applied = cluster.node_status(region, node).await.ok()?.applied_index;
        (applied >= committed).then_some(())
    };
    eventually(&format!("{region}/{node} has applied {committed}"), caught_up).await
}

/// What the nodes of a region wrote to their logs must be bounded: a line for each try of something that fails over
/// and over fills a disk.
///
/// # Errors
/// A log has more than 64 KiB.
pub fn check_logs_are_small(cluster: &Cluster, region: &str) -> Result<()> {
    for process in cluster.processes().iter().filter(|process| process.region == region) {
        let bytes = std::fs::metadata(process.log())?.len();
        ensure!(bytes < 64 * 1024, "{} has {bytes} bytes", process.log().display());
    }
    Ok(())
}
