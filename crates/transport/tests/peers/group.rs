//! A group over real sockets: elects, replicates, survives cut links.

use std::time::Duration;

use crate::support::{self, Group, State, eventually};
use pi_raft::Options;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_elects_replicates_and_agrees() {
    let group = Group::start(Options::default()).await;
    for number in 0..200 {
        group.write(number, None).await;
    }
    for node in [2, 3] {
        group.same_state(node, 1).await;
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_at_once_are_replicated() {
    let group = Group::start(Options::default()).await;
    let leader = group.leader(None).await;
    let replica = &group.nodes[&leader].replica;
    let writes = (0..2_000).map(|number| {
        replica.propose(support::set_quota(number), tokio::time::Instant::now() + Duration::from_secs(20))
    });
    for outcome in futures::future::join_all(writes).await {
        outcome.unwrap();
    }
    for node in [1, 2, 3] {
        group.same_state(node, leader).await;
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_behind_the_purged_log_catches_up_by_snapshot_while_writes_go_on() {
    let options = Options { snapshot_every: 100, keep_logs: 10, ..Options::default() };
    let group = Group::start(options).await;
    group.write(0, None).await;
    let leader = group.leader(None).await;
    let behind = if leader == 3 { 2 } else { 3 };
    let status = |id: u64| group.nodes[&id].replica.status().unwrap();

    group.isolate(behind, State::Broken);
    let before = status(behind).last_log_index;
    for number in 1..400 {
        group.write(number, Some(behind)).await;
    }
    let leader = group.leader(Some(behind)).await;
    eventually("a log purged beyond the follower", || status(leader).purged_index > before).await;

    group.isolate(behind, State::Open);
    for number in 400..600 {
        group.write(number, None).await;
    }
    group.same_state(behind, leader).await;
    assert!(status(behind).snapshot_index > before, "it must have come by snapshot: {:?}", status(behind));
    group.stop().await;
}

/// Both kinds of isolation, because they end differently: a broken link fails at once, a silent one by deadlines.
async fn rejoins_quietly(state: State) {
    let group = Group::start(Options::default()).await;
    group.write(0, None).await;
    let leader = group.leader(None).await;
    let away = if leader == 3 { 2 } else { 3 };
    let term = |id: u64| group.nodes[&id].replica.status().unwrap().members.term;
    let before = term(leader);

    group.isolate(away, state);
    // Several election timeouts; without Pre-Vote the term over there would climb at each.
    tokio::time::sleep(Duration::from_secs(4)).await;
    group.write(1, Some(away)).await;
    assert_eq!(term(away), before, "an isolated node must not raise its term");

    group.isolate(away, State::Open);
    group.write(2, None).await;
    group.same_state(away, leader).await;
    assert_eq!(group.leader(None).await, leader, "the rejoining node must not depose the leader");
    assert_eq!(term(leader), before);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_broken_links_rejoins_without_an_election() {
    rejoins_quietly(State::Broken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_silent_links_rejoins_without_an_election() {
    rejoins_quietly(State::Silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_leader_is_replaced_and_follows_when_it_returns() {
    let group = Group::start(Options::default()).await;
    group.write(0, None).await;
    let old = group.leader(None).await;
    group.isolate(old, State::Silent);
    group.write(1, Some(old)).await;
    let new = group.leader(Some(old)).await;
    assert_ne!(new, old);
    group.isolate(old, State::Open);
    group.same_state(old, new).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_can_be_handed_over() {
    let group = Group::start(Options::default()).await;
    group.write(0, None).await;
    let old = group.leader(None).await;
    let new = if old == 3 { 2 } else { 3 };
    group.nodes[&old].replica.transfer_leader(new).await.unwrap();
    eventually("the new leader", || group.nodes[&new].replica.status().unwrap().role.as_str() == "leader")
        .await;
    group.write(1, Some(old)).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_ends_although_its_peers_keep_their_streams() {
    let mut group = Group::start(Options::default()).await;
    group.write(0, None).await;
    let leader = group.leader(None).await;
    let follower = if leader == 3 { 2 } else { 3 };
    let node = group.nodes.remove(&follower).unwrap();
    tokio::time::timeout(Duration::from_secs(8), node.stop()).await.expect("it must not wait for its peers");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_only_its_leader_cannot_reach_deposes_nobody() {
    let group = Group::start(Options::default()).await;
    group.write(0, None).await;
    let leader = group.leader(None).await;
    let away = if leader == 3 { 2 } else { 3 };
    let term = |id: u64| group.nodes[&id].replica.status().unwrap().members.term;
    let before = term(leader);
    // It can still ask the others for votes; they hear from a leader and grant none.
    group.link(leader, away).set(State::Silent);
    tokio::time::sleep(Duration::from_secs(3)).await;
    group.write(1, Some(away)).await;
    assert_eq!((group.leader(None).await, term(leader), term(away)), (leader, before, before));
    group.link(leader, away).set(State::Open);
    group.same_state(away, leader).await;
    group.stop().await;
}
