//! One node's part in its region's group, for the services above: propose, read, watch, form the group, report.
//!
//! Responsible for saying of every proposal that was not answered whether it *cannot* have happened or *may* have.
//! Left to others: who may ask, request ids and deadlines (`pi-region`), exactly-once (`pi-state`).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::FutureExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, InitializeError, RaftError};
use openraft::network::{NetSnapshot, RaftNetworkFactory};
use pi_state::{Command, Outcome, Read, Reject, Response};
use pi_types::{ClusterName, RegionName, TenantId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Duration, Instant};

use crate::Group;
use crate::codec;
use crate::fatal::{FatalSignal, chain};
use crate::log::{LogStore, WriterEnded};
use crate::machine::{Machine, Progress, SnapshotSource};
use crate::options::{COMMAND_BYTES_MAX, InvalidOptions, Options};
use crate::reads::{ReadError, Reads};
use crate::status::{self, Members, Status};
use crate::store::Store;
use crate::types::{EncodedCommand, Member, NodeId, Responder, TypeConfig};

/// How often openraft's own state is looked at: its death must end the process, and nothing announces it.
const WATCHDOG_INTERVAL: Duration = Duration::from_millis(100);
/// How long a stopping replica waits for its log writer to let go of the store.
const WRITER_END_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a proposal has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Definitely not proposed: this node does not lead, or may not admit writes now.
    #[error("not proposed: this node does not lead")]
    NotLeader {
        /// Who may lead.
        leader: Option<NodeId>,
    },
    /// It may have happened, or may yet: only a retry with the same request id tells.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// Definitely not proposed: as many proposals wait as may, or the deadline has passed.
    #[error("not proposed: too many proposals are under way")]
    Overloaded,
    /// Definitely not proposed: the group had stopped on this node before.
    #[error("not proposed: the group has stopped on this node")]
    Stopped,
}

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Options that cannot work.
    #[error(transparent)]
    Options(#[from] InvalidOptions),
    /// The store cannot be read, or contradicts itself.
    #[error("the store cannot be read")]
    Store(#[from] std::io::Error),
    /// openraft does not start on what the store holds.
    #[error("the group does not start on what the store holds: {0}")]
    Group(String),
}

/// Why the group was not formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// This node has a log or has voted: the group exists.
    #[error("this node already belongs to a group")]
    AlreadyBootstrapped,
    /// The asked node must be one of the members.
    #[error("node {node_id} is not among the members")]
    NotAMember {
        /// The asked node.
        node_id: NodeId,
    },
    /// The group has stopped on this node.
    #[error("the group has stopped on this node")]
    Stopped,
}

/// One node's part in its region's group; cheap to clone.
pub struct Replica<S: Store> {
    inner: Arc<Inner<S>>,
}

impl<S: Store> Clone for Replica<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<S: Store> {
    cluster: ClusterName,
    region: RegionName,
    node_id: NodeId,
    store: Arc<S>,
    group: Group<S>,
    reads: Reads,
    progress: Progress,
    writer_ended: WriterEnded,
    /// Room for proposals, by count and by bytes.
    proposals: Arc<Semaphore>,
    proposal_bytes: Arc<Semaphore>,
    read_rounds: Arc<AtomicU64>,
    /// Set when the replica is shut down.
    stopping: AtomicBool,
}

impl<S: Store> Replica<S> {
    /// Starts this node's part on what `store` holds.
    ///
    /// A pristine node waits to be bootstrapped or to be added by others. Returns before the node has caught up; see
    /// [`Replica::wait_ready`].
    pub async fn start<N>(
        cluster: ClusterName,
        region: RegionName,
        node_id: NodeId,
        store: Arc<S>,
        network: N,
        options: Options,
    ) -> Result<Self, StartError>
    where
        N: RaftNetworkFactory<TypeConfig>,
        N::Network: NetSnapshot<TypeConfig, SnapshotData = SnapshotSource>,
    {
        let config = Arc::new(options.config(&format!("{cluster}/{region}"))?);
        let fatal = FatalSignal::default();
        let progress = Progress::new(fatal.clone());
        let (log, writer_ended) = LogStore::open(
            Arc::clone(&store),
            fatal.clone(),
            options.threads,
            pi_types::limits::APPEND_BYTES_MAX,
        )?;
        let machine = Machine::with_progress(Arc::clone(&store), progress.clone(), options.threads)?;
        let group = Group::new(node_id, config, network, log, machine)
            .await
            .map_err(|error| StartError::Group(chain(&error)))?;
        tokio::spawn(watch_openraft(group.clone(), fatal));
        let read_rounds = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&read_rounds);
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let reads = Reads::start(group.clone(), progress.applied_end.subscribe(), options.reads_max, count);
        let inner = Inner {
            cluster,
            region,
            node_id,
            store,
            group,
            reads,
            progress,
            writer_ended,
            proposals: Arc::new(Semaphore::new(options.proposals_max)),
            proposal_bytes: Arc::new(Semaphore::new(options.proposal_bytes_max)),
            read_rounds,
            stopping: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The cluster this node was started for.
    pub fn cluster(&self) -> &ClusterName {
        &self.inner.cluster
    }

    /// The region this node was started for.
    pub fn region(&self) -> &RegionName {
        &self.inner.region
    }

    /// This node's id.
    pub fn node_id(&self) -> NodeId {
        self.inner.node_id
    }

    /// Proposes a command and waits for its answer until `deadline`.
    ///
    /// A refusal by the state machine is an answer. A command larger than [`COMMAND_BYTES_MAX`] is refused without
    /// being proposed.
    pub async fn propose(
        &self,
        command: Command,
        deadline: impl Into<Instant>,
    ) -> Result<Response, ProposeError> {
        let deadline = deadline.into();
        let encoded = codec::encode_command(&command);
        if let Err(refusal) = check(&encoded) {
            return Ok(self.refuse(refusal));
        }
        let room = self.room(encoded.0.len(), deadline)?;
        if self.stopped() {
            return Err(ProposeError::Stopped);
        }
        let (responder, answered) = Responder::new(room);
        if let Err(fatal) = self.inner.group.client_write_ff(encoded, Some(responder)).await {
            return Err(ProposeError::Unknown(format!(
                "the group stopped while it was handed over: {fatal}"
            )));
        }
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(Ok(written))) => Ok(written.data),
            Ok(Ok(Err(error))) => Err(propose_error(error)),
            Ok(Err(_)) => Err(ProposeError::Unknown("the group stopped before it answered".into())),
            Err(_) => Err(ProposeError::Unknown("it was not answered by the deadline".into())),
        }
    }

    /// A view of the state that covers every write acknowledged before the call, fixed at one moment.
    pub async fn read(&self, deadline: impl Into<Instant>) -> Result<Arc<dyn Read + Send + Sync>, ReadError> {
        if self.stopped() {
            return Err(ReadError::Stopped);
        }
        self.inner.reads.confirm(deadline.into()).await?;
        self.view().ok_or(ReadError::Stopped)
    }

    /// A view of this node's own state, however old, fixed at one moment.
    pub fn read_stale(&self) -> Arc<dyn Read + Send + Sync> {
        self.view().unwrap_or_else(|| self.inner.store.reader())
    }

    /// A receiver that changes after each batch that changed something of `tenant` on this node. Read the state after
    /// calling this, then wait for changes, and none is missed.
    pub fn changed(&self, tenant: &TenantId) -> watch::Receiver<u64> {
        self.inner.progress.hub.subscribe(tenant)
    }

    /// Forms the group, once, through one pristine node that is one of its members.
    ///
    /// Never called by a node on its own: one that lost its data would found a second group (P19).
    pub async fn bootstrap(&self, members: BTreeMap<NodeId, Member>) -> Result<(), BootstrapError> {
        let node_id = self.inner.node_id;
        if !members.contains_key(&node_id) {
            return Err(BootstrapError::NotAMember { node_id });
        }
        self.inner.group.initialize(members).await.map_err(|error| match error {
            RaftError::APIError(InitializeError::NotAllowed(_)) => BootstrapError::AlreadyBootstrapped,
            RaftError::APIError(InitializeError::NotInMembers(_)) => BootstrapError::NotAMember { node_id },
            RaftError::Fatal(_) => BootstrapError::Stopped,
        })
    }

    /// Members and leader as this node knows them. Never blocks.
    pub fn members(&self) -> Members {
        status::members(&self.inner.group.metrics().borrow_watched())
    }

    /// Who leads, as far as this node knows; [`Replica::members`] without the members. Never blocks.
    pub fn leader(&self) -> Option<NodeId> {
        self.inner.group.metrics().borrow_watched().current_leader
    }

    /// What this node knows of itself and the group.
    ///
    /// # Errors
    /// The store cannot be read, or changed during every attempt to read it.
    pub fn status(&self) -> std::io::Result<Status> {
        // Cloned: the store is read below, and a guard held meanwhile would block openraft (P20).
        let metrics = self.inner.group.metrics().borrow_watched().clone();
        status::status(&metrics, &*self.inner.store)
    }

    /// openraft's handle, for the transport. Services do not use it.
    pub fn raft(&self) -> &Group<S> {
        &self.inner.group
    }

    /// The store, for the transport's snapshot streams.
    pub fn store(&self) -> &Arc<S> {
        &self.inner.store
    }

    /// Waits until this node has applied all that it may have applied before it was restarted. A pristine node waits
    /// until it belongs to a group.
    pub async fn wait_ready(&self) -> Result<(), ReadError> {
        match self.inner.group.wait_for_recovery(None).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ReadError::Stopped),
        }
    }

    /// Asks the leader, which must be this node, to hand leadership to `to`. Returns when the hand-over has begun;
    /// [`Replica::members`] tells when it is done.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), ReadError> {
        if self.inner.group.trigger().transfer_leader(to).await.is_err() {
            return Err(ReadError::Stopped);
        }
        Ok(())
    }

    /// How many rounds of confirming leadership reads have cost.
    pub fn read_rounds(&self) -> u64 {
        self.inner.read_rounds.load(Ordering::Relaxed)
    }

    /// Resolves with the reason when the group has died on this node; the process must then end. Not by
    /// [`Replica::shutdown`].
    pub fn fatal(&self) -> impl Future<Output = Arc<str>> + Send + use<S> {
        let fatal = self.inner.progress.fatal.clone();
        async move { fatal.wait().await }
    }

    /// Stops this node's part and waits until its store is let go of by the log writer.
    pub async fn shutdown(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        // An error means that openraft's task has ended before, which `fatal` reports.
        let _ = self.inner.group.shutdown().await;
        let ended = self.inner.writer_ended.clone().wait();
        if tokio::time::timeout(WRITER_END_TIMEOUT, ended).await.is_err() {
            tracing::warn!("the log writer has not ended");
        }
    }

    fn stopped(&self) -> bool {
        self.inner.progress.fatal.is_tripped() || self.inner.stopping.load(Ordering::Relaxed)
    }

    fn view(&self) -> Option<Arc<dyn Read + Send + Sync>> {
        match self.inner.store.snapshot_reader() {
            Ok(view) => Some(Arc::from(view)),
            Err(error) => {
                self.inner.progress.fatal.trip(format!("could not read the state: {}", chain(&error)));
                None
            }
        }
    }

    /// Room for one more proposal, held until openraft is done with its entry.
    fn room(&self, bytes: usize, deadline: Instant) -> Result<Vec<OwnedSemaphorePermit>, ProposeError> {
        if deadline <= Instant::now() {
            return Err(ProposeError::Overloaded);
        }
        // Checked at start: the greatest command fits u32.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let count = Arc::clone(&self.inner.proposals).try_acquire_owned();
        let count = count.map_err(|_| ProposeError::Overloaded)?;
        let bytes = Arc::clone(&self.inner.proposal_bytes).try_acquire_many_owned(bytes);
        Ok(vec![count, bytes.map_err(|_| ProposeError::Overloaded)?])
    }

    fn refuse(&self, reject: Reject) -> Response {
        let revision =
            pi_state::Header::read(&*self.inner.store.reader()).map_or(0, |header| header.revision);
        Response { revision, replayed: false, outcome: Outcome::Rejected(reject) }
    }
}

/// What apply could not take must not reach the log, where it would stop every replica: too large, or not decodable.
fn check(command: &EncodedCommand) -> Result<(), Reject> {
    let refused = |reason: String| Err(Reject::Invalid { field: "command".into(), reason });
    if command.0.len() > COMMAND_BYTES_MAX {
        return refused(format!("{} bytes; at most {COMMAND_BYTES_MAX} are possible", command.0.len()));
    }
    match codec::decode_command(&command.0) {
        Ok(_) => Ok(()),
        Err(error) => refused(chain(&error)),
    }
}

fn propose_error(error: ClientWriteError<TypeConfig>) -> ProposeError {
    match error {
        // openraft: "This proposal was rejected before its entry was appended".
        ClientWriteError::ForwardToLeader(forward) => ProposeError::NotLeader { leader: forward.leader_id },
        ClientWriteError::LogEntryDiscarded(_) => {
            ProposeError::Unknown("leadership changed before it was committed here".into())
        }
        // Not answered to a plain write; if they were, nothing would say that it was not appended.
        error @ (ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_)) => {
            ProposeError::Unknown(error.to_string())
        }
    }
}

/// Trips `fatal` when openraft has died; ends when it was shut down.
async fn watch_openraft<S: Store>(group: Group<S>, fatal: FatalSignal) {
    let mut metrics = group.metrics();
    drop(group);
    loop {
        tokio::time::sleep(WATCHDOG_INTERVAL).await;
        let running = metrics.borrow_watched().running_state.clone();
        match running {
            Ok(()) if matches!(metrics.changed().now_or_never(), Some(Err(_))) => {
                fatal.trip("openraft has ended without saying why");
                return;
            }
            Ok(()) => {}
            Err(openraft::errors::Fatal::Stopped) => return,
            Err(error) => {
                fatal.trip(format!("openraft has stopped: {}", chain(&error)));
                return;
            }
        }
    }
}
