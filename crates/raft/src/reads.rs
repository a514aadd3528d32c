//! Linearizable reads: leadership is confirmed once for all readers that wait for it.
//!
//! A reader must be covered by a confirmation (ReadIndex: a quorum acknowledges a heartbeat sent after the reader
//! arrived) that *started* after it arrived. Rounds take whoever waits when they start. openraft batches the heartbeats
//! themselves, but each of its requests is a message to its core; here a burst of readers costs one.
//!
//! A few rounds may be under way at once, so that a reader does not wait for the end of a round that began just before
//! it: with few readers each has its own, with many the rounds grow.
//!
//! Never by lease: openraft forgets its lease at a restart, so a restarted follower could vote inside it, and a
//! suspended clock breaks it too.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::Group;
use crate::store::Store;
use crate::types::{NodeId, TypeConfig};

/// Rounds under way at once at most. More than one hides the wait for the next round; many would be many messages.
const ROUNDS_MAX: usize = 4;

/// Why a linearizable read was not possible. Nothing was changed by it; it may be repeated anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This node does not lead, or cannot confirm that it still does.
    #[error("this node cannot confirm that it leads")]
    NotLeader {
        /// Who may lead.
        leader: Option<NodeId>,
    },
    /// Leadership was not confirmed, or the state not caught up, by the deadline.
    #[error("leadership was not confirmed by the deadline")]
    Timeout,
    /// As many readers wait as may. Says nothing about who leads.
    #[error("as many reads wait as may")]
    Overloaded,
    /// The group has stopped on this node.
    #[error("the group has stopped on this node")]
    Stopped,
}

/// The end up to which entries must be applied before the reader may read.
type Answer = Result<u64, ReadError>;

/// Where readers queue.
#[derive(Clone)]
pub(crate) struct Reads {
    waiting: mpsc::Sender<oneshot::Sender<Answer>>,
    applied_end: watch::Receiver<u64>,
}

impl Reads {
    /// Starts serving readers; ends when all handles are gone.
    pub(crate) fn start<S: Store>(
        group: Group<S>,
        applied_end: watch::Receiver<u64>,
        reads_max: usize,
        started: impl Fn() + Send + 'static,
    ) -> Self {
        let (waiting, arrivals) = mpsc::channel(reads_max);
        tokio::spawn(serve(group, arrivals, started));
        Self { waiting, applied_end }
    }

    /// Waits until what this node has applied covers every write acknowledged before the call.
    pub(crate) async fn confirm(&self, deadline: Instant) -> Result<(), ReadError> {
        let (answer, answered) = oneshot::channel();
        match self.waiting.try_send(answer) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(ReadError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(ReadError::Stopped),
        }
        let confirmed = async {
            let wanted_end = answered.await.map_err(|_| ReadError::Stopped)??;
            // Each reader waits for apply by itself, within its own deadline: were it part of the round, a leader that
            // is deposed before its first entry commits would keep the round, and all behind it, waiting.
            if *self.applied_end.borrow() >= wanted_end {
                return Ok(());
            }
            let mut applied_end = self.applied_end.clone();
            applied_end.wait_for(|end| *end >= wanted_end).await.map(|_| ()).map_err(|_| ReadError::Stopped)
        };
        tokio::time::timeout_at(deadline, confirmed).await.unwrap_or(Err(ReadError::Timeout))
    }
}

async fn serve<S: Store>(
    group: Group<S>,
    mut arrivals: mpsc::Receiver<oneshot::Sender<Answer>>,
    started: impl Fn() + Send + 'static,
) {
    let group = Arc::new(group);
    let mut rounds: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            first = arrivals.recv(), if rounds.len() < ROUNDS_MAX => {
                let Some(first) = first else { break };
                let mut readers = vec![first];
                while let Ok(reader) = arrivals.try_recv() {
                    readers.push(reader);
                }
                // Only now, after the last of them arrived, does the round start.
                started();
                rounds.push(Box::pin(round(Arc::clone(&group), readers)));
            }
            Some(()) = rounds.next(), if !rounds.is_empty() => {}
        }
    }
    while rounds.next().await.is_some() {}
}

async fn round<S: Store>(group: Arc<Group<S>>, readers: Vec<oneshot::Sender<Answer>>) {
    // Bounded by openraft: it answers at the latest when the leader's lease would have run out.
    let answer = match group.get_read_linearizer(ReadPolicy::ReadIndex).await {
        Ok(linearizer) => Ok(linearizer.read_log_id().index() + 1),
        Err(error) => Err(read_error(error)),
    };
    for reader in readers {
        // A reader that gave up is gone.
        let _ = reader.send(answer.clone());
    }
}

fn read_error(error: RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> ReadError {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            ReadError::NotLeader { leader: forward.leader_id }
        }
        // It may be cut off while another leads: ask elsewhere.
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => {
            ReadError::NotLeader { leader: None }
        }
        RaftError::Fatal(_) => ReadError::Stopped,
    }
}
