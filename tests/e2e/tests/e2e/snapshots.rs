//! A node that was away for longer than the log goes back.

use std::time::Instant;

use pi_dev::Role;
use pi_e2e::{
    Load, TestCluster, US, await_equal_replicas, check_logs_are_small, eventually, one_region,
    small_snapshots,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_away_for_longer_than_the_log_catches_up_by_snapshot_while_writing_goes_on() {
    let shape = |spec: &mut pi_dev::Spec| {
        one_region(spec);
        small_snapshots(spec);
    };
    let mut cluster = TestCluster::start("snapshot", shape).await.unwrap();
    let load = Load::start(&cluster, US, 6).await.unwrap();
    load.progress(50).await.unwrap();
    let leader = cluster.await_leader(US).await.unwrap();
    let follower = leader % 3 + 1;
    let before = cluster.node_status(US, follower).await.unwrap();
    cluster.stop(Role::Region, US, follower).await.unwrap();

    let purged = || async {
        let now = cluster.node_status(US, leader).await.ok()?;
        (now.purged_index > before.last_log_index + 100).then_some(now)
    };
    let gone = eventually("the log is purged behind the follower", purged).await.unwrap();
    println!(
        "follower {follower} stopped at {}; the leader purged up to {}",
        before.last_log_index, gone.purged_index
    );

    cluster.start(Role::Region, US, follower).unwrap();
    let started = Instant::now();
    let caught_up = || async {
        let now = cluster.node_status(US, follower).await.ok()?;
        // What was purged can have come by snapshot only.
        (now.snapshot_index >= gone.purged_index && now.applied_index > gone.applied_index).then_some(now)
    };
    let now = eventually("the follower has a snapshot and more", caught_up).await.unwrap();
    println!(
        "caught up within {:.2?}: snapshot {}, applied {}",
        started.elapsed(),
        now.snapshot_index,
        now.applied_index
    );
    // Still under load, and behind the snapshot by ordinary replication.
    load.progress(100).await.unwrap();
    await_equal_replicas(&cluster, US).await.unwrap();
    let history = load.stop().await.unwrap();
    history.verify().await.unwrap();
    await_equal_replicas(&cluster, US).await.unwrap();

    check_logs_are_small(&cluster, US).unwrap();

    // What came by snapshot is durable: the node can be killed, and lead.
    cluster.kill(Role::Region, US, follower).await.unwrap();
    cluster.start(Role::Region, US, follower).unwrap();
    cluster.stop(Role::Region, US, leader).await.unwrap();
    cluster.await_leader(US).await.unwrap();
    history.verify().await.unwrap();
}
