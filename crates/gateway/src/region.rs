//! What the gateway knows of one region: its nodes and its leader. Nothing else is remembered between requests.
//!
//! Responsible for following membership and leader by asking the region itself (`pi.raft.v1.Routing/GetMembers`), and
//! for choosing whom to ask next. Configuration names seeds only; they are used until the region has answered, and
//! again when none of the members it named answers.
//!
//! **Invariant:** regions share nothing: each has its own connections, limits and task, so that none can slow another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::join_all;
use http::HeaderMap;
use http::uri::PathAndQuery;
use pi_proto::raft::v1::{GetMembersRequest, GetMembersResponse};
use pi_runtime::shutdown::Shutdown;
use prost::Message;
use tokio::sync::{Notify, Semaphore};

use crate::config::{Config, Region as Configured};
use crate::frame;
use crate::node::{LinkOptions, Node};
use crate::service::grpc_headers;

/// How long one node may take to tell its members. It answers from memory.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// The largest list of members taken.
const MEMBERS_BYTES_MAX: usize = 64 * 1024;

/// One region.
pub(crate) struct Region {
    pub(crate) name: String,
    seeds: Vec<String>,
    options: LinkOptions,
    nodes: ArcSwap<Vec<Arc<Node>>>,
    /// The leader's node id; 0 while unknown.
    leader: AtomicU64,
    /// Whether the leader itself answered the last look and said that it leads.
    led: AtomicBool,
    /// False once no node has answered for a while; then requests are refused without trying.
    reachable: AtomicBool,
    turn: AtomicUsize,
    wake: Notify,
    /// Requests waiting for their first answer.
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) requests_max: usize,
    /// Streams that last.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) streams_max: usize,
}

/// What the answers of one round say together.
struct Round {
    members: GetMembersResponse,
    leader: u64,
    /// Whether the leader itself says so.
    led: bool,
}

impl Region {
    pub(crate) fn new(configured: &Configured, config: &Config) -> Self {
        let options = LinkOptions {
            connections: config.nodes.connections,
            connect_timeout: Duration::from_millis(config.nodes.connect_timeout_ms),
            keepalive: Duration::from_millis(config.nodes.keepalive_ms),
        };
        let nodes = configured.seeds.iter().filter_map(|seed| Node::new(0, seed, options));
        Self {
            name: configured.name.to_string(),
            seeds: configured.seeds.clone(),
            options,
            nodes: ArcSwap::from_pointee(nodes.map(Arc::new).collect()),
            leader: AtomicU64::new(0),
            led: AtomicBool::new(false),
            reachable: AtomicBool::new(true),
            turn: AtomicUsize::new(0),
            wake: Notify::new(),
            requests: Arc::new(Semaphore::new(config.limits.requests_per_region_max)),
            requests_max: config.limits.requests_per_region_max,
            streams: Arc::new(Semaphore::new(config.limits.streams_per_region_max)),
            streams_max: config.limits.streams_per_region_max,
        }
    }

    /// True while a leader is known that answered the last look.
    pub(crate) fn available(&self) -> bool {
        self.leader() != 0 && self.led.load(Ordering::Relaxed)
    }

    /// False once no node has answered for a while.
    pub(crate) fn reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// The leader's node id, 0 while unknown.
    pub(crate) fn leader(&self) -> u64 {
        self.leader.load(Ordering::Relaxed)
    }

    /// The leader, or else the next node in turn; never one of `avoid`. `None` when all are avoided.
    pub(crate) fn pick(&self, avoid: &[String]) -> Option<Arc<Node>> {
        let nodes = self.nodes.load();
        let usable = |node: &&Arc<Node>| !avoid.contains(&node.address);
        let leader = self.leader();
        if leader != 0
            && let Some(node) = nodes.iter().find(|node| node.id == leader).filter(usable)
        {
            return Some(Arc::clone(node));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = nodes.len().max(1);
        nodes.iter().cycle().skip(turn % count).take(nodes.len()).find(usable).cloned()
    }

    /// Whether a node that did not propose is nevertheless the one to ask again, after a pause: it says that it leads, or
    /// that it is overloaded without saying who leads, which is no evidence against it.
    pub(crate) fn same_again(&self, node: &Node, leader: Option<u64>, overloaded: bool) -> bool {
        match leader {
            Some(leader) if leader == node.id => {
                // Only where none is known: an old leader may not have heard of the new one.
                let _ = self.leader.compare_exchange(0, leader, Ordering::Relaxed, Ordering::Relaxed);
                true
            }
            Some(_) => false,
            None => overloaded,
        }
    }

    /// A node says that it is not the leader, and perhaps who is.
    pub(crate) fn not_leader(&self, node: &Node, leader: Option<u64>) {
        match leader {
            Some(leader) => self.leader.store(leader, Ordering::Relaxed),
            None => self.doubt(node),
        }
        self.wake.notify_one();
    }

    /// A node did not answer; if it was the leader, there is none until the region says so again.
    pub(crate) fn doubt(&self, node: &Node) {
        let _ = self.leader.compare_exchange(node.id, 0, Ordering::Relaxed, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Follows the region until shutdown.
    pub(crate) async fn follow(
        self: Arc<Self>,
        config: Arc<Config>,
        shutdown: Shutdown,
    ) -> anyhow::Result<()> {
        let unavailable_after = Duration::from_millis(config.nodes.unavailable_after_ms);
        let slow = Duration::from_millis(config.nodes.refresh_ms);
        let fast = Duration::from_millis(config.nodes.refresh_without_leader_ms);
        let mut silent_since = None;
        let stopped = shutdown.requested();
        tokio::pin!(stopped);
        loop {
            if self.refresh().await {
                silent_since = None;
                self.set_reachable(true);
            } else {
                let since = *silent_since.get_or_insert_with(tokio::time::Instant::now);
                if since.elapsed() >= unavailable_after {
                    self.set_reachable(false);
                }
            }
            let pause = if self.available() { slow } else { fast };
            tokio::select! {
                () = &mut stopped => return Ok(()),
                () = tokio::time::sleep(pause) => {}
                // At most one look per `fast`, however many requests ask for it.
                () = self.wake.notified() => tokio::time::sleep(fast.min(pause) / 2).await,
            }
        }
    }

    fn set_reachable(&self, reachable: bool) {
        if self.reachable.swap(reachable, Ordering::Relaxed) != reachable {
            if reachable {
                tracing::info!(region = self.name, "region answers again");
            } else {
                tracing::warn!(region = self.name, "region does not answer");
            }
        }
    }

    /// Asks every node once. False when none answered.
    async fn refresh(&self) -> bool {
        let mut nodes = Vec::clone(&self.nodes.load());
        if !self.reachable() {
            // The members known may be gone for good; the seeds are what an operator keeps right.
            let known: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
            let missing = self.seeds.iter().filter(|seed| !known.contains(*seed));
            nodes.extend(missing.filter_map(|seed| Node::new(0, seed, self.options)).map(Arc::new));
        }
        let answers =
            join_all(nodes.iter().map(|node| async { Some((node.id, self.ask(node).await?)) })).await;
        let Some(round) = Round::of(answers.into_iter().flatten()) else {
            self.led.store(false, Ordering::Relaxed);
            self.leader.store(0, Ordering::Relaxed);
            return false;
        };
        self.adopt(&round.members);
        self.led.store(round.led, Ordering::Relaxed);
        if self.leader.swap(round.leader, Ordering::Relaxed) != round.leader {
            tracing::info!(region = self.name, leader = round.leader, "leader changed");
        }
        true
    }

    /// Takes over the membership, keeping the connections of nodes that stay.
    fn adopt(&self, members: &GetMembersResponse) {
        let known = self.nodes.load();
        // A region that is not bootstrapped yet has no members; then the seeds stay.
        if members.nodes.is_empty() {
            return;
        }
        let same = known.len() == members.nodes.len()
            && members
                .nodes
                .iter()
                .all(|m| known.iter().any(|n| n.id == m.id && n.address == m.client_address));
        if same {
            return;
        }
        let next: Vec<_> = members
            .nodes
            .iter()
            .filter_map(|member| {
                let kept = known.iter().find(|n| n.id == member.id && n.address == member.client_address);
                kept.cloned()
                    .or_else(|| Node::new(member.id, &member.client_address, self.options).map(Arc::new))
            })
            .collect();
        if next.is_empty() {
            tracing::warn!(
                region = self.name,
                "the region names members without usable addresses; keeping the old"
            );
            return;
        }
        let addresses: Vec<_> = next.iter().map(|node| format!("{}={}", node.id, node.address)).collect();
        tracing::info!(region = self.name, nodes = addresses.join(","), "members changed");
        self.nodes.store(Arc::new(next));
    }

    /// What one node says of the region; `None` when it does not answer or belongs to another region.
    async fn ask(&self, node: &Node) -> Option<GetMembersResponse> {
        static PATH: PathAndQuery = PathAndQuery::from_static("/pi.raft.v1.Routing/GetMembers");
        let body = frame::encode(&GetMembersRequest { region: self.name.clone() });
        let answer = tokio::time::timeout(ASK_TIMEOUT, read_message(node, &PATH, grpc_headers(), body)).await;
        let members = GetMembersResponse::decode(answer.ok()??).ok()?;
        if members.region != self.name {
            tracing::warn!(
                region = self.name,
                node = node.address,
                found = members.region,
                "node of another region"
            );
            return None;
        }
        Some(members)
    }
}

/// The one message of an answer; `None` for any error.
async fn read_message(node: &Node, path: &PathAndQuery, headers: HeaderMap, body: Bytes) -> Option<Bytes> {
    let mut frames = node.forward_unary(path, headers, body).await.ok()?.into_body();
    let mut received = Vec::new();
    loop {
        match frames.next().await.ok()?.into_data() {
            Ok(data) => received.extend_from_slice(&data),
            Err(_) => break,
        }
        if received.len() > MEMBERS_BYTES_MAX {
            return None;
        }
    }
    let message = frame::message_of(&received).ok()?.len();
    Some(Bytes::from(received).slice(frame::PREFIX_BYTES..frame::PREFIX_BYTES + message))
}

impl Round {
    /// The newest membership, and the leader of the newest term that has one. Answers come with the id of the node that
    /// gave them, 0 for a seed.
    fn of(answers: impl Iterator<Item = (u64, GetMembersResponse)>) -> Option<Self> {
        let answers: Vec<_> = answers.collect();
        let (_, newest) =
            answers.iter().max_by_key(|(_, answer)| (answer.membership_index, answer.nodes.len()))?;
        let leading = answers.iter().filter(|(_, answer)| answer.leader_id != 0);
        let leader = leading.max_by_key(|(_, answer)| answer.term).map_or(0, |(_, answer)| answer.leader_id);
        let led =
            leader != 0 && answers.iter().any(|(id, answer)| *id == leader && answer.leader_id == leader);
        Some(Self { members: newest.clone(), leader, led })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u64, membership_index: u64, term: u64, leader_id: u64) -> (u64, GetMembersResponse) {
        (id, GetMembersResponse { membership_index, term, leader_id, ..GetMembersResponse::default() })
    }

    #[test]
    fn the_newest_membership_and_the_leader_of_the_newest_term_count() {
        let round =
            Round::of([answer(1, 5, 2, 1), answer(2, 9, 3, 0), answer(3, 7, 3, 2)].into_iter()).unwrap();
        assert_eq!((round.members.membership_index, round.leader), (9, 2));
        assert_eq!(Round::of([answer(1, 1, 4, 0)].into_iter()).unwrap().leader, 0);
        assert!(Round::of(std::iter::empty()).is_none());
    }

    #[test]
    fn a_leader_that_only_others_name_does_not_lead() {
        assert!(!Round::of([answer(1, 1, 4, 2), answer(3, 1, 4, 2)].into_iter()).unwrap().led);
        assert!(Round::of([answer(1, 1, 4, 2), answer(2, 1, 4, 2)].into_iter()).unwrap().led);
    }
}
