//! What goes wrong between nodes, and what each side makes of it: a gRPC status where we serve, openraft's error kinds
//! where we call.

use std::time::Duration;

use openraft::errors::{NetworkError, RPCError, Timeout, Unreachable};
use openraft::network::RPCTypes;
use pi_proto::{reason, status};
use pi_raft::types::{NodeId, TypeConfig};
use tonic::{Code, Status};

use crate::frames;

/// openraft's error of a call to a peer.
pub(crate) type CallError = RPCError<TypeConfig>;

/// What can go wrong here. Never shows an entry's or a snapshot's content.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is meant for another node, or comes from one that cannot be a peer.
    #[error("wrong peer: {0}")]
    WrongPeer(String),
    /// The message is not one that a node of this version sends.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// The message.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry is larger than what one message can carry.
    #[error("the log entry at index {index} has {bytes} bytes; at most {max} can be sent to a peer")]
    EntryTooLarge {
        /// Where.
        index: u64,
        /// Its encoded size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A peer's address is not `host:port`.
    #[error("the address {address:?} of a peer is not host:port; correct the member's raft_address")]
    Address {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// The listener could not be opened.
    #[error("cannot listen for peers on {address}; is another process using the port?")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("the Raft listener failed")]
    Serve(#[source] tonic::transport::Error),
    /// A snapshot's frames do not add up.
    #[error("snapshot stream refused: {0}")]
    Frames(#[from] frames::Error),
    /// This node's storage failed while receiving or sending a snapshot; the node must stop.
    #[error("storage failed while {doing}")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// The failure.
        #[source]
        source: std::io::Error,
    },
    /// Another snapshot is being received.
    #[error("another snapshot is being received; try again later")]
    Busy,
    /// The connection to the sender broke, or the sender gave up.
    #[error("the stream broke: {0}")]
    Broken(String),
    /// The peer sent nothing for this long.
    #[error("the sender was silent for {0:?}")]
    Silent(Duration),
    /// openraft has stopped on this node.
    #[error("this node is stopping: {0}")]
    Stopped(String),
}

impl From<pi_raft::codec::Error> for Error {
    fn from(error: pi_raft::codec::Error) -> Self {
        // The codec's texts name fields and sizes, never contents; its cause is prost's description of the wire form.
        let reason = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Self::Malformed { what: "Raft message", reason }
    }
}

impl Error {
    /// Why an incoming stream of `what` ended with an error: tonic reports bytes that are no message, and messages
    /// that are too large, with codes of their own.
    pub(crate) fn of_stream(what: &'static str, status: &Status) -> Self {
        let reason = status.message().to_owned();
        match status.code() {
            Code::Internal | Code::OutOfRange | Code::Unimplemented | Code::InvalidArgument => {
                Self::Malformed { what, reason }
            }
            _ => Self::Broken(reason),
        }
    }

    /// As an answer to the peer. Causes that concern this node only are not told.
    pub(crate) fn into_status(self) -> Status {
        let (code, reason) = match &self {
            Self::WrongPeer(_) => (Code::FailedPrecondition, reason::WRONG_PEER),
            Self::Malformed { .. } | Self::Frames(_) | Self::EntryTooLarge { .. } => {
                (Code::InvalidArgument, reason::INVALID_ARGUMENT)
            }
            Self::Broken(_) => (Code::Aborted, reason::OUTCOME_UNKNOWN),
            Self::Busy => (Code::ResourceExhausted, reason::OVERLOADED),
            Self::Silent(_) => (Code::DeadlineExceeded, reason::OVERLOADED),
            Self::Stopped(_) => (Code::Unavailable, reason::SHUTTING_DOWN),
            Self::Storage { .. } | Self::Address { .. } | Self::Listen { .. } | Self::Serve(_) => {
                (Code::Unavailable, reason::SHUTTING_DOWN)
            }
        };
        status::status(code, reason, self.to_string(), &[]).build()
    }

    /// As the failure of a call that never left this node: trying again at once would fail the same way.
    pub(crate) fn into_call_error(self) -> CallError {
        RPCError::Unreachable(Unreachable::new(&self))
    }
}

/// What a failed call means to the channel it ran on, and to openraft.
///
/// openraft retries `Network` and `Timeout` soon and waits between tries after `Unreachable`. So a connection that
/// broke is `Network` (the next try connects anew); one that cannot be made, and an answer that will not change by
/// asking again, is `Unreachable`.
pub(crate) fn call_error(peer: NodeId, status: &Status) -> CallError {
    let text = format!("node {peer} answered {:?}: {}", status.code(), status.message());
    match status.code() {
        Code::Unavailable
        | Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::OutOfRange
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented
        | Code::ResourceExhausted => RPCError::Unreachable(Unreachable::from_string(text)),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::DataLoss => RPCError::Network(NetworkError::from_string(text)),
    }
}

/// An answer that no node of this version gives.
pub(crate) fn bad_answer(peer: NodeId, what: &str) -> CallError {
    RPCError::Unreachable(Unreachable::from_string(format!(
        "node {peer} gave an answer without meaning: {what}"
    )))
}

/// A deadline passed.
pub(crate) fn timeout(action: RPCTypes, id: NodeId, target: NodeId, timeout: Duration) -> CallError {
    RPCError::Timeout(Timeout { action, id, target, timeout })
}
