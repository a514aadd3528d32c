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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    /// When leadership was last confirmed; watches live by it.
    pub confirmed: Confirmed,
    /// Ends watches when the node stops.
    pub shutdown: Shutdown,
    /// Tripped when the state cannot be read; whoever runs the node stops it then.
    pub fatal: FatalSignal,
}

impl<S: Store> Node<S> {
    /// The first steps of every request.
    pub fn gate(&self) -> Gate<'_> {
        Gate {
            region: &self.identity.region,
            policy: &self.policy,
            limits: &self.limits,
            leader: self.replica.leader(),
        }
    }

    /// A linearizable view: it holds every write acknowledged before this was called.
    pub async fn view(&self, deadline: Instant) -> Result<View, Failure> {
        let view = self.replica.read(deadline).await.map_err(|error| match error {
            ReadError::NotLeader { leader: None } if self.is_pristine() => Failure::NotBootstrapped,
            error => Failure::Read(error),
        })?;
        self.confirmed.now();
        Ok(view)
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

/// When this node last had a linearizable read, which proves that it led a majority. What it merely believes of its
/// leadership is no proof: a leader cut off from its majority goes on believing.
#[derive(Debug)]
pub struct Confirmed {
    since: Instant,
    /// Milliseconds after `since`, plus 1; 0 is never.
    at_ms: AtomicU64,
}

impl Default for Confirmed {
    fn default() -> Self {
        Self { since: Instant::now(), at_ms: AtomicU64::new(0) }
    }
}

impl Confirmed {
    /// Notes that a linearizable read succeeded now.
    pub fn now(&self) {
        self.at_ms.fetch_max(self.clock_ms(), Ordering::Relaxed);
    }

    /// Whether one succeeded within `age`.
    pub fn within(&self, age: Duration) -> bool {
        let at_ms = self.at_ms.load(Ordering::Relaxed);
        at_ms > 0 && u128::from(self.clock_ms().saturating_sub(at_ms)) <= age.as_millis()
    }

    fn clock_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// This machine's clock, milliseconds since the Unix epoch; 0 before it.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
