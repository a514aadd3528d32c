//! The open database: column families, meta values, the one way to write, and the reader of the newest state.

use std::fs::File;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use pi_state::Fatal;
use rocksdb::{
    BoundColumnFamily, Cache, DBRawIteratorWithThreadMode, DBWithThreadMode, MultiThreaded, ReadOptions,
    WriteBatch, WriteOptions,
};

use crate::error::{Error, Result};
use crate::failpoint;
use crate::files::Layout;
use crate::record::{decode_meta, encode_meta};
use crate::rocks::options::{META, Options, state_name};
use crate::rocks::pinned::{PinnedState, Pins};

/// RocksDB with column families that come and go.
pub(crate) type Db = DBWithThreadMode<MultiThreaded>;
/// A column family's handle; it stays usable while a view holds it, even after the family was dropped.
pub(crate) type Family<'a> = Arc<BoundColumnFamily<'a>>;

/// Whether a write waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It survives a power cut when the call returns.
    Synced,
    /// It is in the same write-ahead log, so it survives when a later synced write does.
    Buffered,
}

/// The keys of the meta column family. Stored on disk: never change one.
pub(crate) mod key {
    /// The store's uuid.
    pub(crate) const STORE: &str = "store";
    /// The vote.
    pub(crate) const VOTE: &str = "vote";
    /// The committed position.
    pub(crate) const COMMITTED: &str = "committed";
    /// The last purged position, and the chain value behind it.
    pub(crate) const PURGED: &str = "purged";
    /// The first index of a log of which nothing was purged.
    pub(crate) const START: &str = "start";
    /// The number of the current state.
    pub(crate) const STATE: &str = "state";
    /// The applied position.
    pub(crate) const APPLIED: &str = "applied";
    /// The membership of the state.
    pub(crate) const MEMBERSHIP: &str = "membership";
}

/// One open database, shared by the store, its readers and its views; closed, and the directory's lock freed, when the
/// last of them is gone.
pub(crate) struct Database {
    pub(crate) db: Db,
    /// What it was opened with; holds the counters.
    pub(crate) db_options: rocksdb::Options,
    pub(crate) layout: Layout,
    pub(crate) options: Options,
    pub(crate) cache: Cache,
    /// The number of the current state. Locked while the pointer moves, so that nobody pairs the old family with the
    /// new meta values.
    state: RwLock<u64>,
    poisoned: AtomicBool,
    /// Dropped last: nobody may open the directory before the database is closed.
    _lock: File,
}

/// What [`open`](super::open) hands over.
pub(crate) struct Opened {
    pub(crate) db: Db,
    /// What it was opened with; holds the counters.
    pub(crate) db_options: rocksdb::Options,
    pub(crate) layout: Layout,
    pub(crate) options: Options,
    pub(crate) cache: Cache,
    pub(crate) state: u64,
    pub(crate) lock: File,
}

impl Database {
    pub(crate) fn new(opened: Opened) -> Arc<Self> {
        let Opened { db, db_options, layout, options, cache, state, lock } = opened;
        let (state, poisoned) = (RwLock::new(state), AtomicBool::new(false));
        Arc::new(Database { db, db_options, layout, options, cache, state, poisoned, _lock: lock })
    }

    /// Attaches what was tried to an error of RocksDB.
    pub(crate) fn rocks(&self, action: &'static str) -> impl FnOnce(rocksdb::Error) -> Error + '_ {
        move |source| Error::Rocks { action, path: self.layout.db.clone(), source }
    }

    /// A column family that is always there.
    pub(crate) fn family(&self, name: &str) -> Result<Family<'_>> {
        family(&self.db, &self.layout, name)
    }

    /// The current state's column family. The lock is held only to look it up, so a reader may read again.
    pub(crate) fn state_family(&self) -> Result<Family<'_>> {
        let number = self.state.read_recursive();
        self.family(&state_name(*number))
    }

    /// The number of the current state.
    pub(crate) fn state_number(&self) -> u64 {
        *self.state.read_recursive()
    }

    /// Moves to state `number` by `switch`, while no view is being made.
    pub(crate) fn move_state(&self, number: u64, switch: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut state = self.state.write();
        switch()?;
        *state = number;
        Ok(())
    }

    /// Writes a batch. After a failure nothing is written any more: what reached the disk is unknown, and a second
    /// sync that succeeds would prove nothing about the first.
    pub(crate) fn write(
        &self,
        action: &'static str,
        batch: WriteBatch,
        durability: Durability,
    ) -> Result<()> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Error::Poisoned);
        }
        // Synced in a step of its own: with `set_sync` RocksDB syncs inside its queue of writers, and the state's
        // batches, which need no sync, would wait behind every fsync of the log's.
        let written = self.db.write_opt(batch, &WriteOptions::default()).map_err(self.rocks(action));
        self.poison_on_error(written)?;
        match durability {
            Durability::Synced => self.sync(),
            Durability::Buffered => Ok(()),
        }
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Error::Poisoned);
        }
        let synced = self.db.flush_wal(true).map_err(self.rocks("sync the write-ahead log"));
        self.poison_on_error(synced)
    }

    /// Lets a failed write be the last.
    pub(crate) fn poison_on_error<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.poisoned.store(true, Ordering::Release);
        }
        result
    }

    /// A meta value, checked.
    pub(crate) fn meta(&self, key: &'static str) -> Result<Option<Vec<u8>>> {
        read_meta(&self.db, &self.layout, key)
    }

    /// Puts a meta value into a batch; `None` deletes it.
    pub(crate) fn put_meta(
        &self,
        batch: &mut WriteBatch,
        key: &'static str,
        value: Option<&[u8]>,
    ) -> Result<()> {
        let family = self.family(META)?;
        match value {
            Some(value) => batch.put_cf(&family, key, encode_meta(key, value)),
            None => batch.delete_cf(&family, key),
        }
        Ok(())
    }

    /// Pins the state as it is now.
    pub(crate) fn pin(self: &Arc<Self>) -> Result<PinnedState> {
        let number = self.state.read_recursive();
        PinnedState::try_new(Arc::clone(self), |database| {
            Ok(Pins {
                snapshot: database.db.snapshot(),
                state: database.family(&state_name(*number))?,
                meta: database.family(META)?,
            })
        })
    }
}

/// A column family by name.
pub(crate) fn family<'a>(db: &'a Db, layout: &Layout, name: &str) -> Result<Family<'a>> {
    db.cf_handle(name).ok_or_else(|| {
        Error::corrupt(layout.db.display().to_string(), format!("the column family {name} is missing"))
    })
}

/// A meta value of a database, checked.
pub(crate) fn read_meta(db: &Db, layout: &Layout, key: &'static str) -> Result<Option<Vec<u8>>> {
    let stored = db.get_pinned_cf(&family(db, layout, META)?, key).map_err(|source| Error::Rocks {
        action: "read a meta value",
        path: layout.db.clone(),
        source,
    })?;
    stored.map(|stored| Ok(decode_meta(key, &stored)?.to_vec())).transpose()
}

/// Reads the newest state.
pub(crate) struct Live(pub(crate) Arc<Database>);

impl pi_state::Read for Live {
    fn get(&self, key: &[u8]) -> std::result::Result<Option<Vec<u8>>, Fatal> {
        let state = self.0.state_family().map_err(|error| Fatal::Storage(Box::new(error)))?;
        let value = self.0.db.get_pinned_cf(&state, key).map_err(|error| Fatal::Storage(Box::new(error)))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut pi_state::Visit<'_>,
    ) -> std::result::Result<(), Fatal> {
        let state = self.0.state_family().map_err(|error| Fatal::Storage(Box::new(error)))?;
        scan(|options| self.0.db.raw_iterator_cf_opt(&state, options), from, to, visit)
    }
}

/// Visits `from <= key < to` of an iterator.
pub(crate) fn scan<'a>(
    iterator: impl FnOnce(ReadOptions) -> DBRawIteratorWithThreadMode<'a, Db>,
    from: &[u8],
    to: &[u8],
    visit: &mut pi_state::Visit<'_>,
) -> std::result::Result<(), Fatal> {
    if from >= to {
        return Ok(());
    }
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(to);
    let mut pairs = iterator(options);
    pairs.seek(from);
    while let Some((key, value)) = pairs.item() {
        if let ControlFlow::Break(()) = visit(key, value)? {
            return Ok(());
        }
        pairs.next();
    }
    // An iterator also ends where it cannot read on.
    pairs.status().map_err(|error| Fatal::Storage(Box::new(error)))
}

/// A write between two steps at which a crash test may end the process.
pub(crate) fn between<T>(before: &str, after: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    failpoint::reach(before);
    let done = work()?;
    failpoint::reach(after);
    Ok(done)
}
