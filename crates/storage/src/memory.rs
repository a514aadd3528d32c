//! The storage contract in memory: for tests and simulation. Nothing survives the value.
//!
//! Everything is one [`Image`] behind a lock, so each call is atomic; the state is shared copy-on-write, so that
//! freezing it costs nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use pi_raft::store::{LogBounds, LogRecord, ReceivedSnapshot, StateReceiver, StateView, Store};
use pi_raft::types::{LogId, SnapshotMeta, StoredMembership, Vote};
use pi_state::memory::MemoryState;
use pi_state::{Fatal, Ops, Read};

use crate::digest::{PairsDigest, StreamCheck};
use crate::error::{Error, Result};
use crate::position::{
    PurgeLimit, check_advances, check_follows, check_install, check_range, check_vote, log_id, show,
    supersedes, term,
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    image: Arc<RwLock<Image>>,
    purge_limit: PurgeLimit,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store with another purge limit.
    pub fn with_purge_limit(purge_limit: PurgeLimit) -> Self {
        MemoryStore { purge_limit, ..Self::default() }
    }
}

/// All that the store holds.
///
/// - `log` has no hole, and starts right behind `purged` when anything was purged.
/// - `snapshot` covers at least `purged`.
#[derive(Debug, Default)]
struct Image {
    log: BTreeMap<u64, LogRecord>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    applied: Option<LogId>,
    membership: StoredMembership,
    state: Arc<MemoryState>,
    snapshot: Option<Snapshot>,
}

/// The current snapshot.
#[derive(Clone)]
struct Snapshot(Arc<dyn StateView>);

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({})", self.0.meta())
    }
}

impl Image {
    fn last(&self) -> Option<LogId> {
        self.log.last_key_value().map(|(_, record)| log_id(record.term, record.index)).or(self.purged)
    }

    fn first(&self) -> u64 {
        match (&self.purged, self.log.first_key_value()) {
            (Some(purged), _) => purged.index + 1,
            (None, Some((first, _))) => *first,
            (None, None) => 0,
        }
    }

    fn append(&mut self, records: &[LogRecord]) -> Result<()> {
        check_follows(self.last().as_ref(), records)?;
        self.log.extend(records.iter().map(|record| (record.index, record.clone())));
        Ok(())
    }

    fn truncate_after(&mut self, last: Option<LogId>) -> Result<()> {
        let keep = last.map_or(self.first(), |last| last.index + 1);
        if let Some(last) = &last {
            self.check_known(last)?;
        }
        self.log.retain(|index, _| *index < keep);
        Ok(())
    }

    /// Refuses a position that contradicts the log: purged, or of another term.
    fn check_known(&self, id: &LogId) -> Result<()> {
        let found = match self.log.get(&id.index) {
            Some(record) => Some(record.term),
            None if self.last().is_none_or(|last| last.index < id.index) => return Ok(()),
            None => self.purged.filter(|purged| purged.index == id.index).map(|purged| term(&purged)),
        };
        if found == Some(term(id)) {
            return Ok(());
        }
        Err(Error::refused(format!(
            "position {} is not in the log, which ends at {}",
            show(Some(id)),
            show(self.last().as_ref())
        )))
    }

    fn purge(&mut self, upto: LogId, limit: PurgeLimit) -> Result<()> {
        if self.purged.is_some_and(|purged| upto.index <= purged.index) {
            return Ok(());
        }
        limit.check(self.applied.as_ref(), &upto)?;
        // A log that has another entry there is of another history: all of it goes.
        let same_history = self.log.get(&upto.index).is_some_and(|record| record.term == term(&upto));
        self.log.retain(|index, _| same_history && *index > upto.index);
        self.purged = Some(upto);
        Ok(())
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<LogRecord>> {
        if from >= to {
            return Ok(Vec::new());
        }
        check_range(self.first(), self.last().as_ref(), from, to)?;
        let mut records = Vec::new();
        let mut bytes = 0;
        for (expected, (index, record)) in (from..to).zip(self.log.range(from..to)) {
            assert_eq!(expected, *index, "the log has a hole");
            bytes += record.bytes.len();
            if !records.is_empty() && bytes > bytes_max {
                break;
            }
            records.push(record.clone());
        }
        Ok(records)
    }

    fn freeze(&self) -> View {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        View { meta, state: Arc::clone(&self.state) }
    }

    fn commit(&mut self, ops: &Ops, applied: LogId, membership: &StoredMembership) -> Result<()> {
        check_advances(self.applied.as_ref(), &applied)?;
        Arc::make_mut(&mut self.state).apply_ops(ops);
        self.applied = Some(applied);
        self.membership = membership.clone();
        Ok(())
    }

    fn install(&mut self, mut snapshot: ReceivedSnapshot) -> Result<()> {
        check_install(self.applied.as_ref(), &snapshot.meta)?;
        self.state = Arc::new(std::mem::take(&mut snapshot.pairs).into_iter().collect());
        self.applied = snapshot.meta.last_log_id;
        self.membership = snapshot.meta.last_membership.clone();
        self.snapshot = Some(Snapshot(Arc::new(self.freeze())));
        Ok(())
    }
}

struct View {
    meta: SnapshotMeta,
    state: Arc<MemoryState>,
}

impl StateView for View {
    fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    fn totals(&self) -> io::Result<(u64, [u8; 16])> {
        let mut digest = PairsDigest::new();
        self.state.pairs().for_each(|(key, value)| digest.add(key, value));
        Ok(digest.totals())
    }

    fn visit(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
        self.state.pairs().try_for_each(|(key, value)| visit(key, value))
    }
}

/// Reads the newest state.
struct Live(Arc<RwLock<Image>>);

impl Live {
    /// The state as it is now; the lock is not held while it is read, for a visitor may read again.
    fn state(&self) -> Arc<MemoryState> {
        Arc::clone(&self.0.read().state)
    }
}

impl Read for Live {
    fn get(&self, key: &[u8]) -> std::result::Result<Option<Vec<u8>>, Fatal> {
        self.0.read().state.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut pi_state::Visit<'_>,
    ) -> std::result::Result<(), Fatal> {
        self.state().scan(from, to, visit)
    }
}

/// Reads one state, whatever is committed meanwhile.
struct Frozen(Arc<MemoryState>);

impl Read for Frozen {
    fn get(&self, key: &[u8]) -> std::result::Result<Option<Vec<u8>>, Fatal> {
        self.0.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut pi_state::Visit<'_>,
    ) -> std::result::Result<(), Fatal> {
        self.0.scan(from, to, visit)
    }
}

struct Receiver {
    check: StreamCheck,
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl StateReceiver for Receiver {
    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check.add(key, value)?;
        self.pairs.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    fn finish(
        self: Box<Self>,
        meta: SnapshotMeta,
        keys: u64,
        digest: [u8; 16],
    ) -> io::Result<ReceivedSnapshot> {
        self.check.finish(keys, digest)?;
        Ok(ReceivedSnapshot { meta, dir: None, pairs: self.pairs })
    }
}

impl Store for MemoryStore {
    fn log_bounds(&self) -> io::Result<LogBounds> {
        let image = self.image.read();
        Ok(LogBounds { purged: image.purged, last: image.last() })
    }

    fn append(&self, records: &[LogRecord]) -> io::Result<()> {
        Ok(self.image.write().append(records)?)
    }

    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        Ok(self.image.write().truncate_after(last)?)
    }

    fn purge(&self, upto: LogId) -> io::Result<()> {
        Ok(self.image.write().purge(upto, self.purge_limit)?)
    }

    fn read_log(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<LogRecord>> {
        Ok(self.image.read().read(from, to, bytes_max)?)
    }

    fn save_vote(&self, vote: &Vote) -> io::Result<()> {
        let mut image = self.image.write();
        check_vote(image.vote.as_ref(), vote)?;
        image.vote = Some(*vote);
        Ok(())
    }

    fn read_vote(&self) -> io::Result<Option<Vote>> {
        Ok(self.image.read().vote)
    }

    fn save_committed(&self, committed: Option<LogId>) -> io::Result<()> {
        self.image.write().committed = committed;
        Ok(())
    }

    fn read_committed(&self) -> io::Result<Option<LogId>> {
        Ok(self.image.read().committed)
    }

    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let image = self.image.read();
        Ok((image.applied, image.membership.clone()))
    }

    fn commit(&self, ops: &Ops, applied: LogId, membership: &StoredMembership) -> io::Result<()> {
        Ok(self.image.write().commit(ops, applied, membership)?)
    }

    fn reader(&self) -> Arc<dyn Read + Send + Sync> {
        Arc::new(Live(Arc::clone(&self.image)))
    }

    fn snapshot_reader(&self) -> io::Result<Box<dyn Read + Send + Sync>> {
        Ok(Box::new(Frozen(Arc::clone(&self.image.read().state))))
    }

    fn freeze(&self) -> io::Result<Box<dyn StateView>> {
        Ok(Box::new(self.image.read().freeze()))
    }

    fn publish(&self, view: Box<dyn StateView>) -> io::Result<()> {
        let mut image = self.image.write();
        if supersedes(image.snapshot.as_ref().map(|current| &*current.0), &*view) {
            image.snapshot = Some(Snapshot(Arc::from(view)));
        }
        Ok(())
    }

    fn current(&self) -> io::Result<Option<Arc<dyn StateView>>> {
        Ok(self.image.read().snapshot.as_ref().map(|current| Arc::clone(&current.0)))
    }

    fn receive(&self) -> io::Result<Box<dyn StateReceiver>> {
        Ok(Box::new(Receiver { check: StreamCheck::new(), pairs: Vec::new() }))
    }

    fn install(&self, snapshot: ReceivedSnapshot) -> io::Result<()> {
        Ok(self.image.write().install(snapshot)?)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}
