//! The storage contract of one node, synchronous and free of openraft's machinery.
//!
//! [`crate::log::LogStore`] and [`crate::machine::Machine`] turn any [`Store`] into openraft's log storage and state
//! machine; `pi-storage` implements [`Store`] on RocksDB and in memory, and one conformance suite holds both to what
//! is written here.
//!
//! What every implementation must hold:
//! 1. A method with *durable* in its doc returns `Ok` only after what it wrote, and everything written before it,
//!    survives a power cut.
//! 2. Writes take effect in the order of the calls: after a crash the store is as after some prefix of them, and that
//!    prefix contains every durable one.
//! 3. The log has no hole between `purged + 1` and `last`; an entry's index equals its key; a read that finds
//!    otherwise is an error, never a shorter answer.
//! 4. An error is final, [`TotalsDiffer`] alone excepted: the caller stops the process. No implementation retries a
//!    failed sync.
//! 5. Log writes come from one thread at a time, state writes from one thread at a time (another one); readers from
//!    any.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::types::{LogId, SnapshotMeta, StoredMembership, Vote};

/// One encoded log entry (`pi.raft.v1.Entry`) and its index.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// The entry's index, the same as inside `bytes`.
    pub index: u64,
    /// The entry's term, the same as inside `bytes`.
    pub term: u64,
    /// The encoded entry; the same bytes travel between nodes.
    pub bytes: Bytes,
}

/// What the log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// The last purged position, if any was purged.
    pub purged: Option<LogId>,
    /// The last position, `purged` when the log is empty behind it.
    pub last: Option<LogId>,
}

/// A frozen view of the replicated state for a snapshot; dropping it frees what it pins.
pub trait StateView: Send + Sync + 'static {
    /// Last applied, membership: read from the view itself, never from the live state.
    fn meta(&self) -> &SnapshotMeta;
    /// How many keys the view holds, and a digest over all its pairs in key order: what a sender announces and
    /// [`StateReceiver::finish`] checks. (Not the digest in the state's header, which leaves the header out.)
    fn totals(&self) -> io::Result<(u64, [u8; 16])>;
    /// Calls `visit(key, value)` for every pair in key order.
    #[expect(
        clippy::type_complexity,
        reason = "an alias would name a lifetime that every implementation must repeat"
    )]
    fn visit(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()>;
}

/// Receives a snapshot's pairs; nothing of it is visible before [`Store::install`].
pub trait StateReceiver: Send + 'static {
    /// Takes the next pair; keys must ascend.
    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()>;
    /// Ends the stream: makes what was received durable on the side and returns it. `keys` is the sender's count; a
    /// different count or digest is an error that wraps [`TotalsDiffer`].
    fn finish(
        self: Box<Self>,
        meta: SnapshotMeta,
        keys: u64,
        digest: [u8; 16],
    ) -> io::Result<ReceivedSnapshot>;
}

/// What a sender announced of a snapshot does not hold for what it sent: the sender's mistake, or damage on the way. The
/// one error of a store that is no failure of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TotalsDiffer {
    /// The number of keys.
    #[error("{received} keys came, the sender announced {announced}")]
    Keys {
        /// What the sender says.
        announced: u64,
        /// What came.
        received: u64,
    },
    /// The digest over all pairs.
    #[error("the digest of the pairs is not the one the sender announced")]
    Digest,
}

impl TotalsDiffer {
    /// Finds it in what [`StateReceiver::finish`] returned.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref()).copied()
    }
}

impl From<TotalsDiffer> for io::Error {
    fn from(differ: TotalsDiffer) -> Self {
        Self::new(io::ErrorKind::InvalidData, differ)
    }
}

/// A complete, checked snapshot on the side, ready to install; its files are removed when it is dropped uninstalled.
#[derive(Debug)]
pub struct ReceivedSnapshot {
    /// What the snapshot covers.
    pub meta: SnapshotMeta,
    /// The directory that holds it; `None` in memory.
    pub dir: Option<PathBuf>,
    /// The pairs, for the memory implementation.
    pub pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Drop for ReceivedSnapshot {
    fn drop(&mut self) {
        // `install` takes the directory out. What cannot be removed now is removed when the store is next opened.
        if let Some(dir) = self.dir.take() {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

/// One node's storage: vote, log, replicated state and snapshots.
pub trait Store: Send + Sync + 'static {
    // The log.

    /// The present bounds.
    fn log_bounds(&self) -> io::Result<LogBounds>;
    /// *Durable.* Appends records whose indexes follow the last one without a gap.
    fn append(&self, records: &[LogRecord]) -> io::Result<()>;
    /// *Durable.* Removes every record behind `last` (all, when `None`).
    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()>;
    /// Removes every record up to and including `upto`, and remembers it as purged. Refuses to purge behind the
    /// applied position.
    fn purge(&self, upto: LogId) -> io::Result<()>;
    /// Reads the records `from..to`, stopping early only after at least one and only when `bytes_max` is exceeded.
    fn read_log(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<LogRecord>>;
    /// *Durable.* Saves the vote; a vote below the saved one is an error.
    fn save_vote(&self, vote: &Vote) -> io::Result<()>;
    /// The saved vote.
    fn read_vote(&self) -> io::Result<Option<Vote>>;
    /// Saves the committed position; need not be durable at once.
    fn save_committed(&self, committed: Option<LogId>) -> io::Result<()>;
    /// The saved committed position.
    fn read_committed(&self) -> io::Result<Option<LogId>>;

    // The state.

    /// The last applied position and the membership of the state; never behind what a reader made before shows.
    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)>;
    /// Writes a batch of state changes together with the applied position and membership, atomically. Visible to
    /// readers when it returns; durable no later than the next durable log write.
    fn commit(&self, ops: &pi_state::Ops, applied: LogId, membership: &StoredMembership) -> io::Result<()>;
    /// The live state, for reads: each call of the returned reader sees the latest committed batch.
    fn reader(&self) -> Arc<dyn pi_state::Read + Send + Sync>;
    /// A consistent view of the state for one read of several steps.
    fn snapshot_reader(&self) -> io::Result<Box<dyn pi_state::Read + Send + Sync>>;

    // Snapshots.

    /// Freezes the state as it is now. Called between two [`Store::commit`] calls; must return within 50 ms.
    fn freeze(&self) -> io::Result<Box<dyn StateView>>;
    /// *Durable.* Makes a frozen view this node's current snapshot, replacing the one before.
    fn publish(&self, view: Box<dyn StateView>) -> io::Result<()>;
    /// The current snapshot, if there is one.
    fn current(&self) -> io::Result<Option<Arc<dyn StateView>>>;
    /// Begins to receive a snapshot on the side.
    fn receive(&self) -> io::Result<Box<dyn StateReceiver>>;
    /// *Durable.* Replaces the whole state, with applied position and membership, by a received snapshot, in one
    /// atomic step. The log is not touched.
    fn install(&self, snapshot: ReceivedSnapshot) -> io::Result<()>;

    // Health.

    /// Free bytes on the store's file system; `u64::MAX` in memory.
    fn free_bytes(&self) -> io::Result<u64>;
}
