//! The storage contract on RocksDB: one database, one write-ahead log, for vote, log and state of a node.
//!
//! This file opens and formats, and hands each call to its part: [`log`] or [`state`]. See `OVERVIEW.md` for what is
//! written when, and what a crash at each step leaves.

mod database;
mod log;
mod open;
mod options;
mod pinned;
mod state;

use std::io;
use std::path::Path;
use std::sync::Arc;

use pi_raft::codec;
use pi_raft::store::{LogBounds, LogRecord, ReceivedSnapshot, StateReceiver, StateView, Store};
use pi_raft::types::{LogId, StoredMembership, Vote};
use pi_state::{Ops, Read};
use rocksdb::WriteBatch;
use rocksdb::statistics::Ticker;

use crate::error::{Error, Result};
use crate::files;
use crate::marker::{Expect, Marker};
use database::{Database, Durability, Live, key};
use log::Log;
use options::{LOG, META, state_name};
pub use options::{Options, Statistics};
use state::{Applied, State};

/// A store on RocksDB. Dropping it, its readers and its views closes the database and frees the directory.
pub struct RocksStore {
    // Before `database`: both hold what must go first.
    state: State,
    log: Log,
    database: Arc<Database>,
}

/// What the store takes and how large it is, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory of memtables, in bytes.
    pub memtable_bytes: u64,
    /// Memory of the block cache, in bytes.
    pub block_cache_bytes: u64,
    /// Memory of open files' indexes and filters outside the cache, in bytes.
    pub table_reader_bytes: u64,
    /// Size of the log's files, in bytes, without what is only in the write-ahead log yet.
    pub log_file_bytes: u64,
    /// Size of the state's files, in bytes, without what is only in the write-ahead log yet.
    pub state_file_bytes: u64,
    /// Pinned moments: the current snapshot, those being sent, and reads of several steps under way.
    pub pinned_views: u64,
}

impl RocksStore {
    /// Makes the store of a new node in an empty (or absent) directory; the marker is written last, so that a directory
    /// with a marker is whole. A `format` that was interrupted may be repeated.
    ///
    /// Never called by a node by itself: see [`crate::marker`].
    pub fn format(data_dir: &Path, marker: &Marker) -> Result<()> {
        open::format(data_dir, marker)
    }

    /// Opens the store of the node that `expect` names. Refuses another node's, a locked, a damaged one, and one whose
    /// database comes back below what the node acknowledged. Removes what a crash left half done.
    pub fn open(data_dir: &Path, expect: &Expect, options: Options) -> Result<RocksStore> {
        let (database, high_water) = open::open(data_dir, expect, options)?;
        let log = Log::open(&database, high_water)?;
        let state = State::open(&database)?;
        if let Some(purged) = log.bounds().purged
            && database.options.purge_limit == crate::PurgeLimit::Applied
            && state.applied().position.is_none_or(|applied| applied < purged)
        {
            let place = data_dir.display().to_string();
            return Err(Error::corrupt(place, "the log is purged behind the state's position"));
        }
        Ok(RocksStore { state, log, database })
    }

    /// The store's size and memory.
    pub fn stats(&self) -> Result<Stats> {
        let database = &self.database;
        let sum = |property: &str| {
            let mut sum = 0;
            for family in [LOG, META, &state_name(database.state_number())] {
                sum += self.property(family, property)?;
            }
            Ok::<u64, Error>(sum)
        };
        Ok(Stats {
            memtable_bytes: sum("rocksdb.cur-size-all-mem-tables")?,
            block_cache_bytes: database.cache.get_usage() as u64,
            table_reader_bytes: sum("rocksdb.estimate-table-readers-mem")?,
            log_file_bytes: self.property(LOG, "rocksdb.total-sst-files-size")?,
            state_file_bytes: self
                .property(&state_name(database.state_number()), "rocksdb.total-sst-files-size")?,
            pinned_views: self.property(META, "rocksdb.num-snapshots")?,
        })
    }

    /// How often the write-ahead log was synced since the open; `None` without [`Options::statistics`].
    pub fn wal_syncs(&self) -> Option<u64> {
        let on = self.database.options.statistics == Statistics::On;
        on.then(|| self.database.db_options.get_ticker_count(Ticker::WalFileSynced))
    }

    /// Lets every write fail from now on, as after a failed sync.
    #[cfg(test)]
    pub(crate) fn fail_next_writes(&self) {
        let failed: Result<()> = Err(Error::refused("a test"));
        let _ = self.database.poison_on_error(failed);
    }

    fn property(&self, family: &str, property: &str) -> Result<u64> {
        let family = self.database.family(family)?;
        let value = self.database.db.property_int_value_cf(&family, property);
        Ok(value.map_err(self.database.rocks("read a property"))?.unwrap_or(0))
    }
}

impl Store for RocksStore {
    fn log_bounds(&self) -> io::Result<LogBounds> {
        Ok(self.log.bounds())
    }

    fn append(&self, records: &[LogRecord]) -> io::Result<()> {
        Ok(self.log.append(&self.database, records)?)
    }

    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        Ok(self.log.truncate_after(&self.database, last)?)
    }

    fn purge(&self, upto: LogId) -> io::Result<()> {
        if self.log.bounds().purged.is_none_or(|purged| purged.index < upto.index) {
            let applied = self.state.applied().position;
            self.database.options.purge_limit.check(applied.as_ref(), &upto)?;
        }
        Ok(self.log.purge(&self.database, upto)?)
    }

    fn read_log(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<LogRecord>> {
        Ok(self.log.read(&self.database, from, to, bytes_max)?)
    }

    fn save_vote(&self, vote: &Vote) -> io::Result<()> {
        Ok(self.log.save_vote(&self.database, vote)?)
    }

    fn read_vote(&self) -> io::Result<Option<Vote>> {
        Ok(self.log.vote())
    }

    fn save_committed(&self, committed: Option<LogId>) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        let value = committed.as_ref().map(codec::encode_log_id);
        self.database.put_meta(&mut batch, key::COMMITTED, value.as_deref())?;
        Ok(self.database.write("save the committed position", batch, Durability::Buffered)?)
    }

    fn read_committed(&self) -> io::Result<Option<LogId>> {
        let value = self.database.meta(key::COMMITTED)?;
        Ok(value.map(|value| codec::decode_log_id(&value)).transpose()?)
    }

    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let Applied { position, membership } = self.state.settled();
        Ok((position, membership))
    }

    fn commit(&self, ops: &Ops, applied: LogId, membership: &StoredMembership) -> io::Result<()> {
        let applied = Applied { position: Some(applied), membership: membership.clone() };
        Ok(self.state.commit(&self.database, ops, applied)?)
    }

    fn reader(&self) -> Arc<dyn Read + Send + Sync> {
        Arc::new(Live(Arc::clone(&self.database)))
    }

    fn snapshot_reader(&self) -> io::Result<Box<dyn Read + Send + Sync>> {
        Ok(Box::new(self.database.pin()?))
    }

    fn freeze(&self) -> io::Result<Box<dyn StateView>> {
        Ok(Box::new(self.state.freeze(&self.database)?))
    }

    fn publish(&self, view: Box<dyn StateView>) -> io::Result<()> {
        Ok(self.state.publish(&self.database, view)?)
    }

    fn current(&self) -> io::Result<Option<Arc<dyn StateView>>> {
        Ok(self.state.current())
    }

    fn receive(&self) -> io::Result<Box<dyn StateReceiver>> {
        Ok(Box::new(self.state.receive(&self.database)?))
    }

    fn install(&self, snapshot: ReceivedSnapshot) -> io::Result<()> {
        Ok(self.state.install(&self.database, snapshot)?)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(files::free_bytes(&self.database.layout.root)?)
    }
}
