//! Three replicas in one process: what a service may rely on.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Cluster, create, options, set_quota, soon, tenant};
use futures::future::join_all;
use pi_raft::{BootstrapError, Options, ProposeError, ReadError, Role, Threads};
use pi_state::{Outcome, Read, Reject, query};
use pi_types::limits::CLIENT_MESSAGE_BYTES_MAX;
use tokio::time::Instant;

fn used(view: &dyn Read, owner: &str) -> u32 {
    query::usage(view, &tenant(owner)).unwrap().used
}

#[tokio::test]
async fn a_write_is_answered_by_the_leader_and_read_there_and_others_name_the_leader() {
    let cluster = Cluster::formed(options()).await;
    let leader = cluster.leader().await;
    let node = &cluster.nodes[&leader];
    let response = node.propose(create("acme", "one"), soon()).await.unwrap();
    assert!(matches!(response.outcome, Outcome::Created { used: 1, quota: 8, .. }), "{response:?}");
    assert_eq!(used(&*node.read(soon()).await.unwrap(), "acme"), 1);

    for follower in cluster.nodes.values().filter(|node| node.node_id() != leader) {
        let error = follower.propose(create("acme", "two"), soon()).await.unwrap_err();
        assert_eq!(error, ProposeError::NotLeader { leader: Some(leader) });
        let error = follower.read(soon()).await.err().unwrap();
        assert_eq!(error, ReadError::NotLeader { leader: Some(leader) });
    }
    // What a follower has applied can be read there, and is the same.
    cluster
        .eventually("every node has applied the write", |cluster| {
            cluster.nodes.values().all(|node| used(&*node.read_stale(), "acme") == 1)
        })
        .await;
    cluster
        .eventually("all digests are equal", |cluster| {
            let statuses = cluster.statuses();
            statuses
                .values()
                .map(|status| (status.applied_index, status.state_digest))
                .collect::<BTreeSet<_>>()
                .len()
                == 1
        })
        .await;
    assert_eq!(node.status().unwrap().role, Role::Leader);
}

#[tokio::test]
async fn a_group_is_formed_once_by_one_of_its_members() {
    let cluster = Cluster::start(options()).await;
    assert!(cluster.nodes[&1].members().nodes.is_empty());
    let strangers = common::members().into_iter().filter(|(id, _)| *id != 1).collect();
    assert_eq!(cluster.nodes[&1].bootstrap(strangers).await, Err(BootstrapError::NotAMember { node_id: 1 }));
    cluster.nodes[&1].bootstrap(common::members()).await.unwrap();
    cluster.leader().await;
    for node in cluster.nodes.values() {
        assert_eq!(node.bootstrap(common::members()).await, Err(BootstrapError::AlreadyBootstrapped));
        assert_eq!(node.members().nodes, common::members());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_share_log_writes_and_state_commits() {
    let cluster = Cluster::formed(options()).await;
    let leader = cluster.leader().await;
    let node = &cluster.nodes[&leader];
    for store in cluster.stores.values() {
        store.sync_ms.store(5, Ordering::SeqCst);
    }
    let store = &cluster.stores[&leader];
    let before = (store.appends.load(Ordering::SeqCst), store.commits.load(Ordering::SeqCst));
    let writes = (0..1_000).map(|number| node.propose(create(&format!("t{number}"), "x"), soon()));
    for response in join_all(writes).await {
        assert!(matches!(response.unwrap().outcome, Outcome::Created { .. }));
    }
    let appends = store.appends.load(Ordering::SeqCst) - before.0;
    let commits = store.commits.load(Ordering::SeqCst) - before.1;
    assert!(appends <= 50, "1,000 entries took {appends} appends");
    assert!(commits <= 100, "1,000 entries took {commits} commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_reads_share_confirmations_and_see_every_write_before_them() {
    let cluster = Cluster::formed(options()).await;
    let node = cluster.nodes[&cluster.leader().await].clone();
    node.propose(create("acme", "one"), soon()).await.unwrap();
    let before = node.read_rounds();
    for result in join_all((0..2_000).map(|_| node.read(soon()))).await {
        assert_eq!(used(&*result.unwrap(), "acme"), 1);
    }
    let rounds = node.read_rounds() - before;
    assert!(rounds <= 100, "2,000 reads took {rounds} rounds");
}

#[tokio::test]
async fn a_view_is_fixed_at_its_moment() {
    let cluster = Cluster::formed(options()).await;
    let node = &cluster.nodes[&cluster.leader().await];
    let before = node.read(soon()).await.unwrap();
    node.propose(create("acme", "one"), soon()).await.unwrap();
    assert_eq!((used(&*before, "acme"), used(&*node.read(soon()).await.unwrap(), "acme")), (0, 1));
}

#[tokio::test]
async fn a_read_beyond_what_may_wait_is_refused_as_overload_not_as_a_late_one() {
    let cluster = Cluster::formed(Options { reads_max: 1, ..options() }).await;
    let node = cluster.nodes[&cluster.leader().await].clone();
    let results = join_all((0..64).map(|_| node.read(soon()))).await;
    assert!(results.iter().any(Result::is_ok));
    let refused: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty(), "64 at once must not fit");
    assert!(refused.iter().all(|error| *error == ReadError::Overloaded), "{refused:?}");
}

#[tokio::test]
async fn a_lost_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::formed(options()).await;
    let first = cluster.leader().await;
    cluster.nodes[&first].propose(create("acme", "one"), soon()).await.unwrap();
    cluster.stop_node(first).await;
    let second = cluster.leader().await;
    assert_ne!(first, second);
    cluster.write(&create("acme", "two")).await;
    assert_eq!(used(&*cluster.nodes[&second].read(soon()).await.unwrap(), "acme"), 2);

    // The old one comes back and catches up.
    cluster.start_node(first).await;
    cluster.nodes[&first].wait_ready().await.unwrap();
    cluster
        .eventually("the returned node has both", |cluster| {
            used(&*cluster.nodes[&first].read_stale(), "acme") == 2
        })
        .await;
}

#[tokio::test]
async fn a_group_that_stopped_as_a_whole_resumes_with_everything() {
    let mut cluster = Cluster::formed(options()).await;
    for number in 0..8 {
        cluster.write(&create("acme", &format!("s{number}"))).await;
    }
    for id in 1..=3 {
        cluster.stop_node(id).await;
    }
    for id in 1..=3 {
        cluster.start_node(id).await;
    }
    let leader = cluster.leader().await;
    assert_eq!(used(&*cluster.nodes[&leader].read(soon()).await.unwrap(), "acme"), 8);
    let ninth = cluster.write(&create("acme", "s8")).await;
    assert_eq!(ninth.outcome, Outcome::Rejected(Reject::QuotaExceeded { used: 8, quota: 8 }));
}

#[tokio::test]
async fn a_retried_request_happens_once_and_returns_its_first_answer() {
    let mut cluster = Cluster::formed(options()).await;
    let request = create("acme", "one");
    let first = cluster.write(&request).await;
    let again = cluster.write(&request).await;
    assert!(again.replayed && !first.replayed);
    assert_eq!((&first.outcome, first.revision), (&again.outcome, again.revision));

    // Also on another leader.
    let leader = cluster.leader().await;
    cluster.stop_node(leader).await;
    let elsewhere = cluster.write(&request).await;
    assert!(elsewhere.replayed);
    assert_eq!(first.outcome, elsewhere.outcome);
    let view = cluster.nodes[&cluster.leader().await].read(soon()).await.unwrap();
    assert_eq!(used(&*view, "acme"), 1);
}

#[tokio::test]
async fn a_leader_cut_off_serves_no_reads_and_its_write_is_unknown_not_failed() {
    let cluster = Cluster::formed(options()).await;
    let old = cluster.leader().await;
    let node = cluster.nodes[&old].clone();
    cluster.router.isolate(old);
    // Still within its lease, so it is appended here; it can never commit here.
    let lost = create("acme", "lost");
    let write = tokio::spawn({
        let (node, lost) = (node.clone(), lost.clone());
        async move { node.propose(lost, Instant::now() + Duration::from_secs(15)).await }
    });
    let read = node.read(soon()).await.err().unwrap();
    assert!(matches!(read, ReadError::NotLeader { .. }), "{read:?}");

    cluster
        .eventually("another leads", |cluster| {
            cluster
                .nodes
                .values()
                .any(|node| node.node_id() != old && node.members().leader == Some(node.node_id()))
        })
        .await;
    // Once the lease is over nothing is appended any more, and it says so.
    let refused = node.propose(create("acme", "refused"), soon()).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotLeader { .. }), "{refused:?}");

    cluster.write(&create("acme", "kept")).await;
    cluster.router.heal();
    let outcome = write.await.unwrap().unwrap_err();
    assert!(matches!(outcome, ProposeError::Unknown(_)), "{outcome:?}");
    // The retry decides.
    cluster.write(&lost).await;
    assert_eq!(used(&*cluster.nodes[&cluster.leader().await].read(soon()).await.unwrap(), "acme"), 2);
}

#[tokio::test]
async fn a_leader_whose_answers_do_not_come_back_is_replaced() {
    let cluster = Cluster::formed(options()).await;
    let old = cluster.leader().await;
    // Its heartbeats arrive and renew everyone's lease; it hears nothing.
    for other in (1..=3).filter(|id| *id != old) {
        cluster.router.cut(other, old);
    }
    cluster
        .eventually("another leads", |cluster| {
            cluster
                .nodes
                .values()
                .any(|node| node.node_id() != old && node.members().leader == Some(node.node_id()))
        })
        .await;
}

#[tokio::test]
async fn a_node_cut_off_forces_no_election_when_it_returns() {
    let cluster = Cluster::formed(options()).await;
    let leader = cluster.leader().await;
    let term = cluster.nodes[&leader].members().term;
    let outsider = (1..=3).find(|id| *id != leader).unwrap();
    cluster.router.isolate(outsider);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(cluster.nodes[&outsider].members().term, term, "its term does not climb");
    cluster.router.heal();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((cluster.leader().await, cluster.nodes[&leader].members().term), (leader, term));
}

#[tokio::test]
async fn a_follower_behind_the_purged_log_catches_up_by_snapshot() {
    let cluster = Cluster::formed(Options { snapshot_every: 100, keep_logs: 10, ..options() }).await;
    let leader = cluster.leader().await;
    let away = (1..=3).find(|id| *id != leader).unwrap();
    cluster.write(&set_quota("acme", 1_000)).await;
    cluster.router.isolate(away);
    let node = cluster.nodes[&leader].clone();
    for round in 0..10 {
        let writes =
            (0..50).map(|number| node.propose(create("acme", &format!("s{round}-{number}")), soon()));
        for response in join_all(writes).await {
            response.unwrap();
        }
    }
    let behind = cluster.nodes[&away].status().unwrap().last_log_index;
    cluster
        .eventually("the leader's log is purged beyond the follower", |cluster| {
            cluster.nodes[&leader].status().unwrap().purged_index > behind + 100
        })
        .await;
    let mut changed = cluster.nodes[&away].changed(&tenant("acme"));
    changed.mark_unchanged();
    cluster.router.heal();
    // Writes go on meanwhile.
    cluster.write(&create("acme", "last")).await;
    cluster
        .eventually("the follower has everything", |cluster| {
            used(&*cluster.nodes[&away].read_stale(), "acme") == 501
        })
        .await;
    assert!(cluster.nodes[&away].status().unwrap().snapshot_index > behind, "by snapshot");
    assert!(changed.has_changed().unwrap(), "an installed snapshot wakes watchers");
    let statuses = cluster.statuses();
    if statuses[&away].applied_index == statuses[&leader].applied_index {
        assert_eq!(statuses[&away].state_digest, statuses[&leader].state_digest);
    }
    let view = cluster.nodes[&away].read_stale();
    assert_eq!(query::verify_digest(&*view).unwrap(), pi_state::Header::read(&*view).unwrap().digest);
}

#[tokio::test]
async fn a_purged_node_restarts() {
    let mut cluster = Cluster::formed(Options { snapshot_every: 50, keep_logs: 5, ..options() }).await;
    cluster.write(&set_quota("acme", 1_000)).await;
    let leader = cluster.leader().await;
    let node = cluster.nodes[&leader].clone();
    for number in 0..200 {
        node.propose(create("acme", &format!("s{number}")), soon()).await.unwrap();
    }
    cluster
        .eventually("the log is purged", |cluster| {
            cluster.nodes[&leader].status().unwrap().purged_index > 100
        })
        .await;
    drop(node);
    cluster.stop_node(leader).await;
    cluster.start_node(leader).await;
    cluster.nodes[&leader].wait_ready().await.unwrap();
    assert_eq!(used(&*cluster.nodes[&leader].read_stale(), "acme"), 200);
}

#[tokio::test]
async fn a_failed_log_write_stops_the_node_and_is_not_acknowledged() {
    let cluster = Cluster::formed(options()).await;
    let leader = cluster.leader().await;
    let node = &cluster.nodes[&leader];
    let fatal = node.fatal();
    cluster.stores[&leader].broken.store(true, Ordering::SeqCst);
    let outcome = node.propose(create("acme", "one"), soon()).await.unwrap_err();
    assert!(matches!(outcome, ProposeError::Unknown(_)), "{outcome:?}");
    let reason = tokio::time::timeout(Duration::from_secs(5), fatal).await.unwrap();
    assert!(reason.contains("injected failure"), "{reason}");
    assert_eq!(node.propose(create("acme", "two"), soon()).await.unwrap_err(), ProposeError::Stopped);
    assert_eq!(node.read(soon()).await.err().unwrap(), ReadError::Stopped);
}

#[tokio::test]
async fn a_failed_state_write_stops_the_node_and_is_not_acknowledged() {
    let cluster = Cluster::formed(options()).await;
    let leader = cluster.leader().await;
    let node = &cluster.nodes[&leader];
    cluster.stores[&leader].state_broken.store(true, Ordering::SeqCst);
    let outcome = node.propose(create("acme", "one"), soon()).await.unwrap_err();
    assert!(matches!(outcome, ProposeError::Unknown(_)), "{outcome:?}");
    let reason = tokio::time::timeout(Duration::from_secs(5), node.fatal()).await.unwrap();
    assert!(reason.contains("injected failure"), "{reason}");
}

#[tokio::test]
async fn too_many_proposals_and_late_ones_are_refused_unproposed() {
    let cluster = Cluster::formed(Options { proposals_max: 2, ..options() }).await;
    let leader = cluster.leader().await;
    let node = cluster.nodes[&leader].clone();
    assert_eq!(
        node.propose(create("acme", "late"), Instant::now()).await.unwrap_err(),
        ProposeError::Overloaded
    );

    cluster.stores.values().for_each(|store| store.sync_ms.store(300, Ordering::SeqCst));
    let quick = Instant::now() + Duration::from_millis(20);
    let results =
        join_all((0..5).map(|number| node.propose(create("acme", &format!("s{number}")), quick))).await;
    let overloaded = results.iter().filter(|result| **result == Err(ProposeError::Overloaded)).count();
    assert_eq!(overloaded, 3, "{results:?}");
    // Those that gave up still occupy their room.
    assert_eq!(node.propose(create("acme", "more"), soon()).await.unwrap_err(), ProposeError::Overloaded);
    cluster.stores.values().for_each(|store| store.sync_ms.store(0, Ordering::SeqCst));
    cluster.write(&create("acme", "later")).await;
}

#[tokio::test]
async fn a_command_that_cannot_be_applied_does_not_reach_the_log() {
    let cluster = Cluster::formed(options()).await;
    let node = &cluster.nodes[&cluster.leader().await];
    let before = node.status().unwrap().last_log_index;
    let mut command = create("acme", "large");
    if let pi_state::CommandKind::CreateSecret { payload, .. } = &mut command.kind {
        payload.sealed = vec![0; CLIENT_MESSAGE_BYTES_MAX];
    }
    let response = node.propose(command, soon()).await.unwrap();
    assert!(matches!(response.outcome, Outcome::Rejected(Reject::Invalid { .. })), "{response:?}");
    assert_eq!(node.status().unwrap().last_log_index, before);
}

#[tokio::test]
async fn a_change_wakes_its_tenants_watchers_on_every_node() {
    let cluster = Cluster::formed(options()).await;
    let mut watchers: Vec<_> = cluster.nodes.values().map(|node| node.changed(&tenant("acme"))).collect();
    let other = cluster.nodes[&1].changed(&tenant("other"));
    let response = cluster.write(&create("acme", "one")).await;
    for watcher in &mut watchers {
        let seen =
            tokio::time::timeout(Duration::from_secs(5), watcher.wait_for(|at| *at >= response.revision));
        seen.await.unwrap().unwrap();
    }
    assert!(!other.has_changed().unwrap());
}

#[tokio::test]
async fn leadership_is_handed_over_on_request() {
    let cluster = Cluster::formed(options()).await;
    let old = cluster.leader().await;
    let next = (1..=3).find(|id| *id != old).unwrap();
    // Once it is up to date.
    cluster.write(&create("acme", "one")).await;
    cluster.nodes[&old].transfer_leader(next).await.unwrap();
    cluster
        .eventually("the other leads", |cluster| cluster.nodes[&next].members().leader == Some(next))
        .await;
    assert_eq!(used(&*cluster.nodes[&next].read(soon()).await.unwrap(), "acme"), 1);
}

#[test]
fn a_group_runs_on_one_thread_alone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = Options { threads: Threads::Inline, snapshot_every: 20, keep_logs: 5, ..options() };
        let cluster = Cluster::formed(options).await;
        cluster.write(&set_quota("acme", 100)).await;
        for number in 0..50 {
            cluster.write(&create("acme", &format!("s{number}"))).await;
        }
        let leader = cluster.leader().await;
        assert_eq!(used(&*cluster.nodes[&leader].read(soon()).await.unwrap(), "acme"), 50);
        cluster
            .eventually("a snapshot is taken", |c| c.nodes[&leader].status().unwrap().snapshot_index > 0)
            .await;
    });
}

#[tokio::test]
async fn shutdown_lets_go_of_the_store() {
    let mut cluster = Cluster::formed(options()).await;
    let store = Arc::clone(&cluster.stores[&2]);
    cluster.stop_node(2).await;
    cluster.stores.remove(&2);
    let deadline = Instant::now() + Duration::from_secs(5);
    while Arc::strong_count(&store) > 1 {
        assert!(Instant::now() < deadline, "{} handles are left", Arc::strong_count(&store));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
