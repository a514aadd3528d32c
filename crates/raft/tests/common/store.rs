//! The store in memory, counting and slowing its appends, and failing on request.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pi_raft::store::{LogBounds, LogRecord, ReceivedSnapshot, StateReceiver, StateView, Store};
use pi_raft::types::{LogId, StoredMembership, Vote};
use pi_state::{Ops, Read};
use pi_storage::memory::MemoryStore;

type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub struct TestStore {
    inner: MemoryStore,
    /// Calls of `append`.
    pub appends: AtomicU64,
    /// Entries they brought.
    pub entries: AtomicU64,
    /// Calls of `read_log`.
    pub log_reads: AtomicU64,
    /// Calls of `commit`.
    pub commits: AtomicU64,
    /// What a sync takes.
    pub sync_ms: AtomicU64,
    /// Every log write fails.
    pub broken: AtomicBool,
    /// Every state write fails.
    pub state_broken: AtomicBool,
    /// Runs before the next read of the log.
    before_read: Mutex<Option<Hook>>,
}

impl TestStore {
    pub fn over(inner: MemoryStore) -> Self {
        Self { inner, ..Self::default() }
    }

    pub fn before_read(&self, hook: impl FnOnce() + Send + 'static) {
        *self.before_read.lock() = Some(Box::new(hook));
    }

    fn sync(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected failure"));
        }
        let ms = self.sync_ms.load(Ordering::SeqCst);
        if ms > 0 {
            std::thread::sleep(Duration::from_millis(ms));
        }
        Ok(())
    }
}

impl Store for TestStore {
    fn log_bounds(&self) -> io::Result<LogBounds> {
        self.inner.log_bounds()
    }

    fn append(&self, records: &[LogRecord]) -> io::Result<()> {
        self.sync()?;
        self.appends.fetch_add(1, Ordering::SeqCst);
        self.entries.fetch_add(records.len() as u64, Ordering::SeqCst);
        self.inner.append(records)
    }

    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        self.sync()?;
        self.inner.truncate_after(last)
    }

    fn purge(&self, upto: LogId) -> io::Result<()> {
        self.sync()?;
        self.inner.purge(upto)
    }

    fn read_log(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<LogRecord>> {
        self.log_reads.fetch_add(1, Ordering::SeqCst);
        let hook = self.before_read.lock().take();
        if let Some(hook) = hook {
            hook();
        }
        self.inner.read_log(from, to, bytes_max)
    }

    fn save_vote(&self, vote: &Vote) -> io::Result<()> {
        self.sync()?;
        self.inner.save_vote(vote)
    }

    fn read_vote(&self) -> io::Result<Option<Vote>> {
        self.inner.read_vote()
    }

    fn save_committed(&self, committed: Option<LogId>) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected failure"));
        }
        self.inner.save_committed(committed)
    }

    fn read_committed(&self) -> io::Result<Option<LogId>> {
        self.inner.read_committed()
    }

    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.inner.applied()
    }

    fn commit(&self, ops: &Ops, applied: LogId, membership: &StoredMembership) -> io::Result<()> {
        if self.state_broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected failure"));
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(ops, applied, membership)
    }

    fn reader(&self) -> Arc<dyn Read + Send + Sync> {
        self.inner.reader()
    }

    fn snapshot_reader(&self) -> io::Result<Box<dyn Read + Send + Sync>> {
        self.inner.snapshot_reader()
    }

    fn freeze(&self) -> io::Result<Box<dyn StateView>> {
        self.inner.freeze()
    }

    fn publish(&self, view: Box<dyn StateView>) -> io::Result<()> {
        self.inner.publish(view)
    }

    fn current(&self) -> io::Result<Option<Arc<dyn StateView>>> {
        self.inner.current()
    }

    fn receive(&self) -> io::Result<Box<dyn StateReceiver>> {
        self.inner.receive()
    }

    fn install(&self, snapshot: ReceivedSnapshot) -> io::Result<()> {
        self.inner.install(snapshot)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }
}
