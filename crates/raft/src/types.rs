//! The one place that says which openraft types we use.
//!
//! Standard Raft leader ids (one leader per term), `u64` node ids, commands as encoded bytes: a follower stores and
//! forwards a command without decoding it, and it is decoded once, by apply.

use std::fmt;

use bytes::Bytes;

openraft::declare_raft_types!(
    /// openraft's type configuration of a region's group.
    pub TypeConfig:
        D = EncodedCommand,
        R = pi_state::Response,
        NodeId = u64,
        Node = Member,
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        Responder<T> = openraft::impls::OneshotResponder<Self, T> where T: openraft::OptionalSend + 'static,
);

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
/// A membership with the log id that set it.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// A snapshot's metadata.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
