//! Every way a request can end without an answer, as values.
//!
//! What a failure looks like on the wire (code, reason, text) is decided in one place: [`crate::status`].

use std::net::IpAddr;

use pi_auth::Principal;
use pi_proto::reason;
use pi_raft::{NodeId, ProposeError, ReadError};
use pi_state::{Fatal, Reject};
use pi_types::{Invalid, Namespace, SecretName};

use crate::authorize::Action;
use crate::sealing;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request names a region that is not this node's.
    #[error("wrong region")]
    WrongRegion {
        /// What the request names.
        asked: String,
    },
    /// No or a bad credential.
    #[error("unauthenticated")]
    Unauthenticated(#[from] pi_auth::Error),
    /// The principal may not do this.
    #[error("permission denied")]
    Denied {
        /// Who asked.
        principal: Principal,
        /// For what.
        action: Action,
    },
    /// Fields that do not hold what they must, all of them.
    #[error("invalid request")]
    Invalid(Vec<Violation>),
    /// The state machine's refusal, or the same decided on a read.
    #[error("rejected")]
    Rejected(Reject),
    /// Nothing was decided: the proposal did not come through, or nobody knows.
    #[error("not proposed, or outcome unknown")]
    Propose(#[from] ProposeError),
    /// A linearizable read could not be had.
    #[error("not readable")]
    Read(#[from] ReadError),
    /// The payload changed under an update each time it was prepared, until the deadline.
    #[error("update did not settle")]
    Unsettled,
    /// The region's group was not formed yet, as far as this node knows.
    #[error("not bootstrapped")]
    NotBootstrapped,
    /// The region's group was formed before.
    #[error("already bootstrapped")]
    AlreadyBootstrapped,
    /// The feed no longer holds what follows the resume token.
    #[error("watch too old")]
    WatchTooOld {
        /// The revision the watch asked to continue behind.
        revision: u64,
        /// The oldest revision it could continue behind.
        oldest: u64,
    },
    /// The tenant has as many watches on this node as it may.
    #[error("too many watches of the tenant")]
    TenantWatches {
        /// The bound.
        limit: usize,
    },
    /// The node has as many watches as it may.
    #[error("too many watches")]
    NodeWatches {
        /// The bound.
        limit: usize,
    },
    /// The watcher did not read for too long while it was sent the present state.
    #[error("slow watcher")]
    SlowWatcher,
    /// The watch ran until its own deadline.
    #[error("watch deadline")]
    WatchDeadline,
    /// The node is stopping.
    #[error("shutting down")]
    ShuttingDown,
    /// The stored payload does not open.
    #[error("payload does not open")]
    Sealing(#[from] sealing::Error),
    /// The state cannot be read or contradicts itself; the node stops.
    #[error("state unreadable")]
    Fatal(#[from] Fatal),
    /// The node's own position and state could not be read together.
    #[error("status unreadable")]
    Status(#[source] std::io::Error),
    /// The state machine gave an answer that does not belong to the command.
    #[error("unexpected outcome")]
    UnexpectedOutcome,
}

/// One field that does not hold what it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request.
    pub field: String,
    /// What is wrong; never shows a payload.
    pub description: String,
    /// [`reason::INVALID_ARGUMENT`], or a more telling one.
    pub reason: &'static str,
}

impl Violation {
    /// An ordinary violation.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into(), reason: reason::INVALID_ARGUMENT }
    }
}

impl From<Invalid> for Violation {
    fn from(invalid: Invalid) -> Self {
        Self::new(invalid.field, invalid.reason)
    }
}

impl Failure {
    /// One violation as a failure.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(field, description)])
    }

    /// True for what an operator must look at; everything else is between the caller and the answer.
    pub fn is_alarming(&self) -> bool {
        matches!(self, Self::Fatal(_) | Self::Sealing(_) | Self::UnexpectedOutcome)
    }
}

/// What a request is about, for error texts. Filled in as far as the request got.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The node's region.
    pub region: String,
    /// The caller's tenant.
    pub tenant: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// The secret it names.
    pub secret: Option<(Namespace, SecretName)>,
    /// Who leads, as far as the node knew when the request came.
    pub leader: Option<NodeId>,
    /// Where the connection comes from.
    pub peer: Option<IpAddr>,
    /// True once the deadline passed.
    pub late: Lateness,
}

/// Whether the deadline had passed when the failure was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lateness {
    /// There was time left.
    #[default]
    InTime,
    /// The deadline had passed.
    Late,
}
