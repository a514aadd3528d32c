//! The one place that says which openraft types we use.
//!
//! Standard Raft leader ids (one leader per term), `u64` node ids, commands as encoded bytes: a follower stores and
//! forwards a command without decoding it, and it is decoded once, by apply.

use std::fmt;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// openraft's type configuration of a region's group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

// By hand: openraft's macro takes no generic `Responder`.
impl openraft::RaftTypeConfig for TypeConfig {
    type D = EncodedCommand;
    type R = pi_state::Response;
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<EncodedCommand, u64, Member>;
    type Entry = openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = Responder<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// A `pi.raft.v1.Command`, encoded. See [`crate::codec`].
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedCommand(pub Bytes);

impl fmt::Debug for EncodedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the content: it holds a payload, and though sealed it has no place in a log line.
        write!(f, "EncodedCommand({} bytes)", self.0.len())
    }
}

impl fmt::Display for EncodedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a node of the group is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// `host:port` of the Raft listener.
    pub raft_address: String,
    /// `host:port` of the listener for clients and gateways.
    pub client_address: String,
}

/// A node's id: allocated once per region, never reused.
pub type NodeId = u64;
/// A log position.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// A log entry.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// A log entry's payload.
pub type EntryPayload = openraft::type_config::alias::PayloadOf<TypeConfig>;
/// Voters, during a change two sets of them, and learners.
pub type Membership = openraft::Membership<NodeId, Member>;
/// A membership with the log id that set it.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// A snapshot's metadata.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// Carries the outcome of one proposal from openraft to its proposer.
///
/// It also holds the proposal's share of what may be in flight: openraft drops a responder exactly when the entry is
/// applied, discarded or refused, so a proposer that gave up waiting does not free room its entry still occupies.
pub struct Responder<T> {
    sender: oneshot::Sender<T>,
    room: Vec<OwnedSemaphorePermit>,
}

impl<T: Send> Responder<T> {
    /// A responder that holds `room` until it is answered or dropped, and the receiver of its answer.
    pub fn new(room: Vec<OwnedSemaphorePermit>) -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, room }, receiver)
    }
}

impl<T: Send + 'static> openraft::raft::responder::Responder<TypeConfig, T> for Responder<T> {
    fn on_complete(self, result: T) {
        drop(self.room);
        // The proposer may have stopped waiting; then nobody wants to know.
        let _ = self.sender.send(result);
    }
}
