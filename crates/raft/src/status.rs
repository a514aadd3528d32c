//! What a replica knows of itself and its group.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use openraft::{RaftMetrics, ServerState};
use pi_state::Header;

use crate::store::Store;
use crate::types::{Member, NodeId, TypeConfig};

/// How often a consistent pair of applied position and state is looked for.
const PAIR_ATTEMPTS_MAX: usize = 16;

/// What a node is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It admits writes.
    Leader,
    /// It votes and follows.
    Follower,
    /// It stands for election.
    Candidate,
    /// It follows without a vote, or belongs to no group yet.
    Learner,
    /// It has stopped.
    Shutdown,
}

impl Role {
    /// The word for it in `pi.admin.v1.StatusResponse.role`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Shutdown => "shutdown",
        }
    }
}

impl From<ServerState> for Role {
    fn from(state: ServerState) -> Self {
        match state {
            ServerState::Leader => Self::Leader,
            ServerState::Follower => Self::Follower,
            ServerState::Candidate => Self::Candidate,
            ServerState::Learner => Self::Learner,
            ServerState::Shutdown => Self::Shutdown,
        }
    }
}

/// Members and leader as this node knows them; empty before the group is formed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Voters and learners.
    pub nodes: BTreeMap<NodeId, Member>,
    /// Who votes; during a change, in either set.
    pub voters: BTreeSet<NodeId>,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// The term this node is in.
    pub term: u64,
    /// The log index of the membership, 0 when there is none.
    pub membership_index: u64,
}

/// All that `pi.admin.v1.StatusResponse` tells of the group. Indexes are 0 where there is nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What this node is.
    pub role: Role,
    /// Members and leader.
    pub members: Members,
    /// The last entry in the log.
    pub last_log_index: u64,
    /// The last entry known to be committed.
    pub committed_index: u64,
    /// The last entry applied, at which `revision` and `state_digest` were read.
    pub applied_index: u64,
    /// The last entry the current snapshot covers.
    pub snapshot_index: u64,
    /// The last entry purged.
    pub purged_index: u64,
    /// The region's revision.
    pub revision: u64,
    /// The state's digest: equal on every replica at the same applied index.
    pub state_digest: [u8; 16],
}

pub(crate) fn members(metrics: &RaftMetrics<TypeConfig>) -> Members {
    let membership = &metrics.membership_config;
    Members {
        nodes: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
        voters: membership.voter_ids().collect(),
        leader: metrics.current_leader,
        term: metrics.current_term,
        membership_index: membership.log_id().map_or(0, |log_id| log_id.index),
    }
}

pub(crate) fn status<S: Store>(metrics: &RaftMetrics<TypeConfig>, store: &S) -> io::Result<Status> {
    let (applied_index, header) = applied_pair(store)?;
    Ok(Status {
        role: metrics.state.into(),
        members: members(metrics),
        last_log_index: metrics.last_log_index.unwrap_or(0),
        committed_index: metrics.local_committed.map_or(0, |log_id| log_id.index),
        applied_index,
        snapshot_index: metrics.snapshot.map_or(0, |log_id| log_id.index),
        purged_index: metrics.purged.map_or(0, |log_id| log_id.index),
        revision: header.revision,
        state_digest: header.digest,
    })
}

/// The applied index and the header of the same moment: apply may move on between the two reads.
fn applied_pair<S: Store>(store: &S) -> io::Result<(u64, Header)> {
    for _ in 0..PAIR_ATTEMPTS_MAX {
        let (before, _) = store.applied()?;
        let header = Header::read(&*store.snapshot_reader()?).map_err(io::Error::other)?;
        let (after, _) = store.applied()?;
        if before == after {
            return Ok((after.map_or(0, |log_id| log_id.index), header));
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "the state changed during every read of it"))
}
