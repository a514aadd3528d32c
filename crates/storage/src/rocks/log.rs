//! The log and the vote on RocksDB.
//!
//! One thread writes at a time (`writer` makes sure of it); readers come from any. A reader holds `shape` while it
//! reads, and removal holds it while it removes, so that a reader never takes a record that is being removed for a
//! hole. Appending does not hold it: it only adds behind what a reader may ask for.

use parking_lot::{Mutex, RwLock};
use pi_raft::codec;
use pi_raft::store::{LogBounds, LogRecord};
use pi_raft::types::{LogId, Vote};
use rocksdb::{ReadOptions, WriteBatch};

use crate::error::{Error, Result};
use crate::failpoint;
use crate::high_water::{HighWater, show_mark};
use crate::position::{check_follows, check_range, check_vote, log_id, show, term};
use crate::record::{self, CHAIN_START, Stored, check_chain, decode_log, encode_log, log_key};
use crate::rocks::database::{Database, Durability, between, key};
use crate::rocks::options::LOG;

/// The log's part of the store.
#[derive(Debug)]
pub(crate) struct Log {
    writer: Mutex<Writer>,
    shape: RwLock<()>,
    bounds: Mutex<Bounds>,
}

/// What only the writing thread needs.
#[derive(Debug)]
struct Writer {
    /// The checksum of the last record, which the next one carries.
    chain: u32,
    vote: Option<Vote>,
    high_water: HighWater,
    scratch: Vec<u8>,
}

/// Where the log begins and ends. `first` is `purged + 1` when anything was purged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bounds {
    purged: Option<LogId>,
    first: u64,
    last: Option<LogId>,
}

impl Bounds {
    fn is_empty(&self) -> bool {
        self.last == self.purged
    }
}

impl Log {
    /// Reads the whole log once, record by record, and refuses one with a hole, a foreign record, or less than what
    /// the high-water file says was acknowledged.
    pub(crate) fn open(database: &Database, high_water: HighWater) -> Result<Self> {
        let vote = database.meta(key::VOTE)?.map(|vote| codec::decode_vote(&vote)).transpose();
        let vote = vote.map_err(|error| Error::corrupt("meta record vote", error.to_string()))?;
        let (purged, mut chain) = read_purged(database)?;
        let first = match &purged {
            Some(purged) => purged.index + 1,
            None => read_start(database)?,
        };
        let mut last = purged;
        let recorded = *high_water.recorded();
        let mut term_at_mark =
            purged.filter(|purged| Some(purged.index) == recorded.last.map(|last| last.index));
        scan(database, first, None, &mut |stored| {
            check_chain(chain, &stored)?;
            check_follows(last.as_ref(), std::slice::from_ref(&stored.record))?;
            chain = stored.crc;
            let id = log_id(stored.record.term, stored.record.index);
            if Some(id.index) == recorded.last.map(|last| last.index) {
                term_at_mark = Some(id);
            }
            last = Some(id);
            Ok(Next::Go)
        })?;
        // Behind what was purged any term may have been; at or before the end, the recorded entry must be there.
        let log_reaches = recorded.last.is_none_or(|mark| {
            purged.is_some_and(|purged| purged.index >= mark.index) || term_at_mark == Some(mark)
        });
        let vote_reaches = recorded.vote.is_none_or(|mark| vote.is_some_and(|vote| vote >= mark));
        if !log_reaches || !vote_reaches {
            let found = show_mark(vote.as_ref(), last.as_ref());
            return Err(high_water.below(show_mark(recorded.vote.as_ref(), recorded.last.as_ref()), found));
        }
        let mut high_water = high_water;
        high_water.resume(last);
        let writer = Writer { chain, vote, high_water, scratch: Vec::new() };
        let bounds = Bounds { purged, first, last };
        Ok(Log { writer: Mutex::new(writer), shape: RwLock::new(()), bounds: Mutex::new(bounds) })
    }

    pub(crate) fn bounds(&self) -> LogBounds {
        let bounds = self.bounds.lock();
        LogBounds { purged: bounds.purged, last: bounds.last }
    }

    pub(crate) fn append(&self, database: &Database, records: &[LogRecord]) -> Result<()> {
        let mut writer = self.writer.lock();
        let bounds = *self.bounds.lock();
        check_follows(bounds.last.as_ref(), records)?;
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return database.sync();
        };
        let family = database.family(LOG)?;
        let mut batch = WriteBatch::default();
        if bounds.last.is_none() {
            database.put_meta(&mut batch, key::START, Some(&first.index.to_be_bytes()))?;
        }
        let mut chain = writer.chain;
        for record in records {
            chain = encode_log(record, chain, &mut writer.scratch);
            batch.put_cf(&family, log_key(record.index), &writer.scratch);
        }
        between("append.before", "append.synced", || {
            database.write("append to the log", batch, Durability::Synced)
        })?;
        writer.chain = chain;
        let end = log_id(last.term, last.index);
        database.poison_on_error(writer.high_water.appended(end, records.len() as u64))?;
        let first = if bounds.last.is_none() { first.index } else { bounds.first };
        *self.bounds.lock() = Bounds { first, last: Some(end), ..bounds };
        Ok(())
    }

    pub(crate) fn truncate_after(&self, database: &Database, keep: Option<LogId>) -> Result<()> {
        let mut writer = self.writer.lock();
        let bounds = *self.bounds.lock();
        let Some(last) = bounds.last else { return Ok(()) };
        if keep.is_some_and(|keep| keep.index > last.index) {
            return Ok(());
        }
        let (from, chain, kept) = match keep.filter(|keep| Some(*keep) != bounds.purged) {
            Some(keep) => {
                let stored = read_known(database, &bounds, &keep)?;
                (keep.index + 1, stored.crc, Some(keep))
            }
            None => (bounds.first, read_purged(database)?.1, bounds.purged),
        };
        if from > last.index {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(&database.family(LOG)?, log_key(from), log_key(last.index + 1));
        // Lowered first: the file must never claim more than the database holds.
        database.poison_on_error(writer.high_water.lower(kept))?;
        let _shape = self.shape.write();
        between("truncate.before", "truncate.synced", || {
            database.write("truncate the log", batch, Durability::Synced)
        })?;
        writer.chain = chain;
        *self.bounds.lock() = Bounds { last: kept, ..bounds };
        Ok(())
    }

    /// Removes up to `upto`. A log that has another entry there is of another history than the state: all of it goes.
    pub(crate) fn purge(&self, database: &Database, upto: LogId) -> Result<()> {
        let mut writer = self.writer.lock();
        let bounds = *self.bounds.lock();
        if bounds.purged.is_some_and(|purged| upto.index <= purged.index) {
            return Ok(());
        }
        let stored = match &bounds.last {
            Some(last) if !bounds.is_empty() && (bounds.first..=last.index).contains(&upto.index) => {
                Some(read_one(database, upto.index)?)
            }
            _ => None,
        };
        let chain = stored.filter(|stored| stored.record.term == term(&upto)).map(|stored| stored.crc);
        let (last, purge_end) = match (chain, &bounds.last) {
            (Some(_), last) => (*last, upto.index + 1),
            (None, None) => (Some(upto), upto.index + 1),
            (None, Some(last)) => (Some(upto), last.index.max(upto.index) + 1),
        };
        let chain_behind = chain.unwrap_or_else(|| seed(&upto));

        let mut batch = WriteBatch::default();
        if !bounds.is_empty() {
            batch.delete_range_cf(&database.family(LOG)?, log_key(bounds.first), log_key(purge_end));
        }
        database.put_meta(&mut batch, key::PURGED, Some(&encode_purged(&upto, chain_behind)))?;
        if chain.is_none() && bounds.last.is_some_and(|last| last.index > upto.index) {
            database.poison_on_error(writer.high_water.lower(bounds.purged))?;
        }
        // A purge that is lost is done again, unless it moved the log's end: the high-water file may record that end at
        // any time from here on, and must never claim more than the database holds durably.
        let durability = if last == bounds.last { Durability::Buffered } else { Durability::Synced };
        let _shape = self.shape.write();
        between("purge.before", "purge.written", || database.write("purge the log", batch, durability))?;
        if chain.is_none() {
            writer.chain = chain_behind;
        }
        writer.high_water.resume(last);
        *self.bounds.lock() = Bounds { purged: Some(upto), first: upto.index + 1, last };
        Ok(())
    }

    pub(crate) fn read(
        &self,
        database: &Database,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogRecord>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let _shape = self.shape.read();
        let bounds = *self.bounds.lock();
        check_range(bounds.first, bounds.last.as_ref(), from, to)?;
        let mut records: Vec<LogRecord> = Vec::new();
        let (mut bytes, mut chain) = (0, None);
        scan(database, from, Some(to), &mut |stored| {
            if let Some(chain) = chain {
                check_chain(chain, &stored)?;
            }
            chain = Some(stored.crc);
            bytes += stored.record.bytes.len();
            if !records.is_empty() && bytes > bytes_max {
                return Ok(Next::Stop);
            }
            records.push(stored.record);
            Ok(Next::Go)
        })?;
        if bytes <= bytes_max && records.len() as u64 != to - from {
            let missing = from + records.len() as u64;
            return Err(Error::corrupt(format!("log record {missing}"), "it is missing"));
        }
        Ok(records)
    }

    pub(crate) fn vote(&self) -> Option<Vote> {
        self.writer.lock().vote
    }

    pub(crate) fn save_vote(&self, database: &Database, vote: &Vote) -> Result<()> {
        let mut writer = self.writer.lock();
        check_vote(writer.vote.as_ref(), vote)?;
        if writer.vote == Some(*vote) {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        database.put_meta(&mut batch, key::VOTE, Some(&codec::encode_vote(vote)))?;
        between("vote.before", "vote.synced", || database.write("save the vote", batch, Durability::Synced))?;
        database.poison_on_error(writer.high_water.vote(*vote))?;
        failpoint::reach("vote.recorded");
        writer.vote = Some(*vote);
        Ok(())
    }
}

/// Whether a scan goes on.
enum Next {
    Go,
    Stop,
}

/// Visits the records from `from` on, each checked to be the one that must follow; an end before `to` is left to the
/// caller to judge.
fn scan(
    database: &Database,
    from: u64,
    to: Option<u64>,
    visit: &mut dyn FnMut(Stored) -> Result<Next>,
) -> Result<()> {
    let mut options = ReadOptions::default();
    // Who reads the log from disk reads it once: a follower catching up, or an open.
    options.fill_cache(false);
    if let Some(to) = to {
        options.set_iterate_upper_bound(log_key(to));
    }
    let mut records = database.db.raw_iterator_cf_opt(&database.family(LOG)?, options);
    if to.is_some() {
        records.seek(log_key(from));
    } else {
        // At open, whatever lies before the first record is found too.
        records.seek_to_first();
    }
    let mut index = from;
    while let Some((key, value)) = records.item() {
        if let Next::Stop = visit(decode_log(index, key, value)?)? {
            return Ok(());
        }
        index += 1;
        records.next();
    }
    records.status().map_err(database.rocks("read the log"))
}

fn read_one(database: &Database, index: u64) -> Result<Stored> {
    let value = database.db.get_pinned_cf(&database.family(LOG)?, log_key(index));
    match value.map_err(database.rocks("read the log"))? {
        Some(value) => decode_log(index, &log_key(index), &value),
        None => Err(Error::corrupt(format!("log record {index}"), "it is missing")),
    }
}

/// The record at a position that must be in the log.
fn read_known(database: &Database, bounds: &Bounds, id: &LogId) -> Result<Stored> {
    let unknown = || {
        Error::refused(format!(
            "position {} is not in the log, which ends at {}",
            show(Some(id)),
            show(bounds.last.as_ref())
        ))
    };
    if id.index < bounds.first {
        return Err(unknown());
    }
    let stored = read_one(database, id.index)?;
    if stored.record.term == term(id) { Ok(stored) } else { Err(unknown()) }
}

/// The chain value behind a position whose record this log never had: any that both sides of a restart agree on.
fn seed(upto: &LogId) -> u32 {
    crc32c::crc32c(&[term(upto).to_be_bytes(), upto.index.to_be_bytes()].concat())
}

fn encode_purged(upto: &LogId, chain: u32) -> Vec<u8> {
    let mut value = chain.to_be_bytes().to_vec();
    value.extend_from_slice(&codec::encode_log_id(upto));
    value
}

/// The last purged position and the chain value behind it.
fn read_purged(database: &Database) -> Result<(Option<LogId>, u32)> {
    let Some(value) = database.meta(key::PURGED)? else { return Ok((None, CHAIN_START)) };
    let damaged = |why: String| Error::corrupt("meta record purged", why);
    let (chain, id) = value.split_at_checked(4).ok_or_else(|| damaged("too short".to_owned()))?;
    let id = codec::decode_log_id(id).map_err(|error| damaged(error.to_string()))?;
    Ok((Some(id), u32::from_be_bytes(chain.try_into().expect("split at four bytes"))))
}

fn read_start(database: &Database) -> Result<u64> {
    let Some(value) = database.meta(key::START)? else { return Ok(0) };
    record::decode_u64(key::START, &value)
}
