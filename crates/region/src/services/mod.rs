//! The services of a node's client listener.
//!
//! Every handler goes the same way: [`Gate::admit`] (deadline, region, credential, permission), validation, execution
//! against the replica, answer; a [`Failure`] becomes a status in one place. [`Node`] is what they share.
//!
//! | service | file |
//! |---|---|
//! | `pi.secrets.v1.Secrets` | [`secrets`], which hands on to [`write`], [`read`] and [`watch`] |
//! | `pi.regions.v1.Regions` | [`regions`] |
//! | `pi.admin.v1.Admin` | [`admin`] |
//! | `pi.raft.v1.Routing` | [`routing`] |

pub mod admin;
pub mod read;
pub mod regions;
pub mod routing;
pub mod secrets;
pub mod watch;
pub mod write;

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pi_auth::InsecurePolicy;
use pi_raft::store::Store;
use pi_raft::types::NodeId;
use pi_raft::{FatalSignal, ProposeError, ReadError, Replica};
use pi_runtime::shutdown::Shutdown;
use pi_state::{Command, CommandKind, Fatal, Outcome, Read, Response};
use pi_types::{ClusterName, RegionName, TenantId};

use crate::call::{Call, Gate};
use crate::config::Limits;
use crate::failure::Failure;
use crate::sealing::Sealer;
use watch::Watches;

/// A state as of one moment.
pub type View = Arc<dyn Read + Send + Sync>;

/// Which node this is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterName,
    /// The region.
    pub region: RegionName,
    /// The node.
    pub node_id: NodeId,
}

/// What the services of one node share.
pub struct Node<S: Store> {
    /// Who we are.
    pub identity: Identity,
    /// Our member of the region's group.
    pub replica: Replica<S>,
    /// Seals and opens payloads.
    pub sealer: Arc<dyn Sealer>,
    /// Which tokens are accepted.
    pub policy: InsecurePolicy,
    /// Bounds.
    pub limits: Limits,
    /// Counts watches.
    pub watches: Watches,
    /// Ends watches when the node stops.
    pub shutdown: Shutdown,
    /// Tripped when the state cannot be read; whoever runs the node stops it then.
    pub fatal: FatalSignal,
}

impl<S: Store> Node<S> {
    /// The first steps of every request.
    pub fn gate(&self) -> Gate<'_> {
        Gate { region: &self.identity.region, policy: &self.policy, limits: &self.limits }
    }

    /// A linearizable view: it holds every write acknowledged before this was called.
    pub async fn view(&self, deadline: Instant) -> Result<View, Failure> {
        self.replica.read(deadline).await.map_err(|error| match error {
            ReadError::NotLeader { leader: None } if self.is_pristine() => Failure::NotBootstrapped,
            error => Failure::Read(error),
        })
    }

    /// This node's own state, however old.
    pub fn stale_view(&self) -> Result<View, Failure> {
        if self.is_pristine() { Err(Failure::NotBootstrapped) } else { Ok(self.replica.read_stale()) }
    }

    /// A command of this call, stamped with this node's clock.
    pub fn command(&self, call: &Call, tenant: &TenantId, kind: CommandKind) -> Command {
        Command {
            time_ms: now_ms(),
            tenant: tenant.clone(),
            principal: call.principal_name().clone(),
            request_id: call.request_id,
            kind,
        }
    }

    /// Proposes and waits for the answer; a refusal of the state machine is a failure here.
    pub async fn propose(&self, call: &Call, command: Command) -> Result<Response, Failure> {
        let result = self.replica.propose(command, call.deadline).await;
        let response = result.map_err(|error| match error {
            ProposeError::NotLeader { leader: None } if self.is_pristine() => Failure::NotBootstrapped,
            error => Failure::Propose(error),
        })?;
        match response.outcome {
            Outcome::Rejected(reject) => Err(Failure::Rejected(reject)),
            _ => Ok(response),
        }
    }

    /// Wraps what a query found: an unreadable state stops the node, whoever asked.
    pub fn found<T>(&self, result: Result<T, Fatal>) -> Result<T, Failure> {
        result.map_err(|fatal| {
            self.fatal.trip(format!("the state cannot be read: {fatal}"));
            Failure::Fatal(fatal)
        })
    }

    /// True while this node belongs to no group.
    fn is_pristine(&self) -> bool {
        self.replica.members().nodes.is_empty()
    }
}

/// This machine's clock, milliseconds since the Unix epoch; 0 before it.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
