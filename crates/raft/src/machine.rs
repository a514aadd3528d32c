//! openraft's state machine over `pi_state` and any [`Store`].
//!
//! Apply: entries that are ready are taken together, run through one `pi_state::Txn`, committed to the store in one
//! atomic batch with the applied position and the membership, and only then answered and published to watchers.
//!
//! Snapshots: the view is frozen inside `try_create_snapshot_builder`, which openraft calls between two applies, so
//! what it holds is exactly the state at the position it names; the slow part runs beside apply.
//!
//! A failure here stops the node. Deciding what a command does, and refusing what it may not, is left to `pi_state`.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use pi_state::Txn;
use tokio::sync::watch;

use crate::codec;
use crate::fatal::{FatalSignal, chain};
use crate::hub::Hub;
use crate::store::{ReceivedSnapshot, StateView, Store};
use crate::threads::Threads;
use crate::types::{EntryPayload, LogId, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries applied in one store transaction at most: bounds how long readers of the newest state and a snapshot wait.
pub const APPLY_ENTRIES_MAX: usize = 256;

/// A snapshot on its way.
pub enum SnapshotSource {
    /// From this node: a frozen view, to be streamed to a peer.
    Sending(Arc<dyn StateView>),
    /// From a peer: complete and checked, to be installed here.
    Received(ReceivedSnapshot),
}

impl fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sending(view) => f.debug_tuple("Sending").field(view.meta()).finish(),
            Self::Received(received) => f.debug_tuple("Received").field(&received.meta).finish(),
        }
    }
}

type OpenraftSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotSource>;

/// What the machine tells the rest of this crate; shared by its clones.
#[derive(Clone)]
pub(crate) struct Progress {
    /// The index after the last applied entry.
    pub(crate) applied_end: watch::Sender<u64>,
    /// Watchers of tenants.
    pub(crate) hub: Arc<Hub>,
    /// Tripped by the first failure.
    pub(crate) fatal: FatalSignal,
}

impl Progress {
    pub(crate) fn new(fatal: FatalSignal) -> Self {
        Self { applied_end: watch::Sender::new(0), hub: Arc::new(Hub::new()), fatal }
    }
}

/// See the module.
pub struct Machine<S: Store> {
    store: Arc<S>,
    threads: Threads,
    progress: Progress,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl<S: Store> Machine<S> {
    /// A machine on what the store holds. Failures trip `fatal`.
    pub fn open(store: Arc<S>, fatal: FatalSignal, threads: Threads) -> io::Result<Self> {
        Self::with_progress(store, Progress::new(fatal), threads)
    }

    pub(crate) fn with_progress(store: Arc<S>, progress: Progress, threads: Threads) -> io::Result<Self> {
        let (applied, membership) = store.applied()?;
        let machine = Self { store, threads, progress, applied, membership };
        machine.report_applied();
        Ok(machine)
    }

    fn report_applied(&self) {
        let end = self.applied.map_or(0, |log_id| log_id.index + 1);
        self.progress.applied_end.send_replace(end);
    }

    /// Applies one batch, commits it, and answers it.
    fn apply_batch(&mut self, batch: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let Some((last, _)) = batch.last() else { return Ok(()) };
        let applied = last.log_id;
        assert!(
            self.applied < batch.first().map(|(first, _)| first.log_id),
            "entries are applied once, in order"
        );

        let reader = self.store.reader();
        let mut txn = Txn::begin(&*reader).map_err(fatal_error)?;
        let mut answers = Vec::with_capacity(batch.len());
        for (entry, responder) in batch {
            let index = entry.log_id.index;
            let response = match entry.payload {
                EntryPayload::Normal(command) => {
                    let command = codec::decode_command(&command.0).map_err(|error| {
                        fatal_error(pi_state::Fatal::Command { index, why: error.to_string() })
                    })?;
                    txn.apply(index, &command).map_err(fatal_error)?
                }
                EntryPayload::Blank => txn.skip(index).map_err(fatal_error)?,
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    txn.skip(index).map_err(fatal_error)?
                }
            };
            if let Some(responder) = responder {
                answers.push((responder, response));
            }
        }
        let done = txn.finish().map_err(fatal_error)?;
        self.store.commit(&done.ops, applied, &self.membership)?;

        self.applied = Some(applied);
        self.report_applied();
        for (responder, response) in answers {
            responder.send(response);
        }
        self.progress.hub.publish(&done.touched, done.header.revision);
        Ok(())
    }

    async fn apply_stream<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(first) = entries.next().await {
            let mut batch = vec![first?];
            while batch.len() < APPLY_ENTRIES_MAX {
                match entries.next().now_or_never() {
                    Some(Some(item)) => batch.push(item?),
                    Some(None) | None => break,
                }
            }
            self.apply_batch(batch)?;
        }
        Ok(())
    }

    async fn install(&mut self, meta: &SnapshotMeta, snapshot: SnapshotSource) -> io::Result<()> {
        let store = Arc::clone(&self.store);
        let expected = meta.clone();
        self.threads.blocking(move || install_blocking(&*store, &expected, snapshot)).await?;
        let (applied, membership) = self.store.applied()?;
        if applied != meta.last_log_id || membership != meta.last_membership {
            return Err(io::Error::other(format!("the store installed {applied:?} instead of {meta}")));
        }
        self.applied = applied;
        self.membership = membership;
        self.report_applied();
        let header = pi_state::Header::read(&*self.store.reader()).map_err(fatal_error)?;
        self.progress.hub.publish_all(header.revision);
        Ok(())
    }

    fn builder(&self) -> Builder<S> {
        // Between two applies: this is what makes the view's content and position agree.
        let view = self.store.freeze();
        Builder {
            store: Arc::clone(&self.store),
            threads: self.threads,
            fatal: self.progress.fatal.clone(),
            view: Some(view),
        }
    }

    fn trip<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        trip(&self.progress.fatal, what, result)
    }
}

fn trip<T>(fatal: &FatalSignal, what: &str, result: io::Result<T>) -> io::Result<T> {
    result.inspect_err(|error| fatal.trip(format!("could not {what}: {}", chain(error))))
}

fn fatal_error(error: pi_state::Fatal) -> io::Error {
    io::Error::other(error)
}

/// Receives what is not received yet, installs it, and makes it the current snapshot.
fn install_blocking<S: Store>(store: &S, meta: &SnapshotMeta, snapshot: SnapshotSource) -> io::Result<()> {
    let received = match snapshot {
        SnapshotSource::Received(received) => received,
        SnapshotSource::Sending(view) => copy(store, &*view)?,
    };
    if received.meta != *meta {
        return Err(io::Error::other(format!("snapshot {} came with the metadata of {meta}", received.meta)));
    }
    store.install(received)?;
    // openraft expects what was installed to be the current snapshot.
    let current = store.current()?;
    if current.is_none_or(|view| view.meta() != meta) {
        store.publish(store.freeze()?)?;
    }
    Ok(())
}

/// A view within this process, received as a peer's would be.
fn copy<S: Store>(store: &S, view: &dyn StateView) -> io::Result<ReceivedSnapshot> {
    let (keys, digest) = view.totals()?;
    let mut receiver = store.receive()?;
    view.visit(&mut |key, value| receiver.put(key, value))?;
    receiver.finish(view.meta().clone(), keys, digest)
}

impl<S: Store> RaftStateMachine<TypeConfig> for Machine<S> {
    type SnapshotData = SnapshotSource;
    type SnapshotBuilder = Builder<S>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let result = self.apply_stream(entries).await;
        self.trip("apply committed entries", result)
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Self::SnapshotBuilder> {
        Some(self.builder())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.builder()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotSource,
    ) -> Result<(), io::Error> {
        let result = self.install(meta, snapshot).await;
        self.trip("install a snapshot", result)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<OpenraftSnapshot>, io::Error> {
        let current = self.trip("read the current snapshot", self.store.current())?;
        Ok(current
            .map(|view| Snapshot { meta: view.meta().clone(), snapshot: SnapshotSource::Sending(view) }))
    }
}

/// Turns one frozen view into this node's current snapshot.
pub struct Builder<S: Store> {
    store: Arc<S>,
    threads: Threads,
    fatal: FatalSignal,
    /// `None` once built.
    view: Option<io::Result<Box<dyn StateView>>>,
}

impl<S: Store> Builder<S> {
    async fn build(&mut self) -> io::Result<OpenraftSnapshot> {
        let view = self.view.take().ok_or_else(|| io::Error::other("a builder builds one snapshot"))??;
        let meta = view.meta().clone();
        let store = Arc::clone(&self.store);
        let publish = move || {
            store.publish(view)?;
            store.current()
        };
        let current = self.threads.blocking(publish).await?;
        let current = current.ok_or_else(|| io::Error::other("a published snapshot is not there"))?;
        // A snapshot installed meanwhile may be newer; openraft asks for the current one when it sends.
        if current.meta().last_log_id < meta.last_log_id {
            return Err(io::Error::other(format!("published {meta}, but the current snapshot is older")));
        }
        Ok(Snapshot { meta, snapshot: SnapshotSource::Sending(current) })
    }
}

impl<S: Store> RaftSnapshotBuilder<TypeConfig> for Builder<S> {
    type SnapshotData = SnapshotSource;

    async fn build_snapshot(&mut self) -> Result<OpenraftSnapshot, io::Error> {
        let result = self.build().await;
        trip(&self.fatal, "build a snapshot", result)
    }
}
