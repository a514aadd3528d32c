//! The high-water file: a second, independent witness of what this node acknowledged.
//!
//! RocksDB decides what its own write-ahead log still holds; should it ever drop synced records without an error, a
//! node would vote twice or forget entries it acknowledged, and the region could lose data. So vote and last log
//! position are also kept here, in a file of their own, and `open` refuses a database that comes back below them.
//!
//! **What it catches.** Every lost vote: the file is synced at each change of the vote, before the vote is
//! acknowledged. Every lost log tail that reaches below the recorded position, which trails the acknowledged end of
//! the log by at most [`LAG_ENTRIES`] entries or the appends of [`LAG_TIME`], whichever is less (and not at all after
//! an orderly close). **What it does not catch.** The loss of only the newest appends within that lag; a whole data
//! directory put back from an older copy, since the file is part of it.
//!
//! **Cost.** One `pwrite` and `fdatasync` of a preallocated file (about 0.15 ms) for a vote or truncation, and at most
//! one a [`LAG_TIME`] or [`LAG_ENTRIES`] for appends: below 0.1 % of the syncs under load.
//!
//! The file never claims more than the database holds: it is raised after the database's sync and lowered before a
//! truncation. Two slots are written in turn, each with a checksum, so that a torn write leaves the other one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pi_raft::types::{LogId, Vote};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::files::{Layout, at, sync_dir};
use crate::position::{log_id, show, term};

/// The recorded log position trails the acknowledged one by at most this many entries ...
pub(crate) const LAG_ENTRIES: u64 = 4_096;
/// ... and by no append that follows another by more than this.
pub(crate) const LAG_TIME: Duration = Duration::from_millis(1_000);

/// Slots lie on pages of their own, so that writing one cannot tear the other.
const SLOT_STRIDE: u64 = 4_096;
const SLOT_BYTES: usize = 80;
const MAGIC: &[u8; 8] = b"PIHIGH01";

/// What is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mark {
    pub(crate) vote: Option<Vote>,
    pub(crate) last: Option<LogId>,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct HighWater {
    file: File,
    path: PathBuf,
    store: Uuid,
    sequence: u64,
    recorded: Mark,
    /// The log's acknowledged end, at or ahead of `recorded.last`.
    seen: Option<LogId>,
    entries_since: u64,
    written_at: Instant,
}

impl HighWater {
    /// Creates the file of a new store.
    pub(crate) fn create(layout: &Layout, store: Uuid) -> Result<()> {
        let path = &layout.high_water;
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(at("create", path))?;
        let empty = Mark::default();
        for sequence in [0, 1] {
            let slot = encode(store, sequence, &empty);
            file.write_all_at(&slot, sequence * SLOT_STRIDE).map_err(at("write", path))?;
        }
        file.set_len(2 * SLOT_STRIDE).and_then(|()| file.sync_all()).map_err(at("sync", path))?;
        sync_dir(&layout.root)
    }

    /// Opens the file of an existing store.
    pub(crate) fn open(layout: &Layout, store: Uuid) -> Result<Self> {
        let path = layout.high_water.clone();
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(at("open", &path))?;
        let mut newest: Option<(Uuid, u64, Mark)> = None;
        for slot in [0, 1] {
            let mut bytes = [0; SLOT_BYTES];
            file.read_exact_at(&mut bytes, slot * SLOT_STRIDE).map_err(at("read", &path))?;
            if let Some(found) = decode(&bytes)
                && newest.as_ref().is_none_or(|newest| newest.1 < found.1)
            {
                newest = Some(found);
            }
        }
        let (found, sequence, recorded) = newest.ok_or_else(|| {
            Error::corrupt(path.display().to_string(), "neither of its two slots has a valid checksum")
        })?;
        if found != store {
            let (found, expected) = (found.to_string(), store.to_string());
            return Err(crate::marker::Error::Mixed { path, found, expected }.into());
        }
        let seen = recorded.last;
        Ok(HighWater {
            file,
            path,
            store,
            sequence,
            recorded,
            seen,
            entries_since: 0,
            written_at: Instant::now(),
        })
    }

    /// What is recorded.
    pub(crate) fn recorded(&self) -> &Mark {
        &self.recorded
    }

    /// The error of a database that comes back below what is recorded.
    pub(crate) fn below(&self, recorded: String, found: String) -> Error {
        Error::BelowHighWater { path: self.path.clone(), recorded, found }
    }

    /// Notes where the log durably ends, at or ahead of what is recorded: after an open, or a purge that moved the end.
    /// A close records it as it is here, so the database must have synced it before.
    pub(crate) fn resume(&mut self, last: Option<LogId>) {
        self.seen = last;
    }

    /// Records a vote that the database holds durably.
    pub(crate) fn vote(&mut self, vote: Vote) -> Result<()> {
        self.write(Mark { vote: Some(vote), last: self.seen })
    }

    /// Notes that the database durably holds `entries` more entries, up to `last`; records it when the lag is spent.
    pub(crate) fn appended(&mut self, last: LogId, entries: u64) -> Result<()> {
        self.seen = Some(last);
        self.entries_since += entries;
        if self.entries_since >= LAG_ENTRIES || self.written_at.elapsed() >= LAG_TIME {
            self.write(Mark { last: Some(last), ..self.recorded })?;
        }
        Ok(())
    }

    /// Lowers the recorded position to `last`, durably, before the database removes what is behind it.
    pub(crate) fn lower(&mut self, last: Option<LogId>) -> Result<()> {
        self.seen = last;
        let behind = |recorded: &LogId| last.as_ref().is_none_or(|last| last.index < recorded.index);
        if self.recorded.last.as_ref().is_some_and(behind) {
            self.write(Mark { last, ..self.recorded })?;
        }
        Ok(())
    }

    /// Records the acknowledged end of the log: for an orderly close.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.recorded.last == self.seen {
            return Ok(());
        }
        self.write(Mark { last: self.seen, ..self.recorded })
    }

    fn write(&mut self, mark: Mark) -> Result<()> {
        self.sequence += 1;
        let slot = encode(self.store, self.sequence, &mark);
        let offset = (self.sequence % 2) * SLOT_STRIDE;
        self.file.write_all_at(&slot, offset).map_err(at("write", &self.path))?;
        self.file.sync_data().map_err(at("sync", &self.path))?;
        self.recorded = mark;
        self.entries_since = 0;
        self.written_at = Instant::now();
        Ok(())
    }
}

impl Drop for HighWater {
    fn drop(&mut self) {
        // A failure leaves the file behind the log, which is always allowed.
        if let Err(error) = self.settle() {
            tracing::warn!(%error, "the high-water file stays behind the log");
        }
    }
}

fn encode(store: Uuid, sequence: u64, mark: &Mark) -> [u8; SLOT_BYTES] {
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&sequence.to_be_bytes());
    slot.extend_from_slice(store.as_bytes());
    let vote = mark.vote.map_or((0, 0, 0), |vote| {
        (1 + u8::from(vote.committed), vote.leader_id.term, vote.leader_id.voted_for)
    });
    let last = mark.last.map_or((0, 0, 0), |last| (1, term(&last), last.index));
    for (kind, first, second) in [vote, last] {
        slot.push(kind);
        slot.extend_from_slice(&u64::to_be_bytes(first));
        slot.extend_from_slice(&u64::to_be_bytes(second));
    }
    slot.resize(SLOT_BYTES - 4, 0);
    let crc = crc32c::crc32c(&slot);
    slot.extend_from_slice(&crc.to_be_bytes());
    slot.try_into().expect("the parts add up to SLOT_BYTES")
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<(Uuid, u64, Mark)> {
    let (body, crc) = slot.split_at(SLOT_BYTES - 4);
    if crc32c::crc32c(body).to_be_bytes() != *crc || &body[..8] != MAGIC {
        return None;
    }
    let number = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("eight bytes"));
    let vote = match body[32] {
        0 => None,
        1 => Some(Vote::new(number(33), number(41))),
        2 => Some(Vote::new_committed(number(33), number(41))),
        _ => return None,
    };
    let last = match body[49] {
        0 => None,
        1 => Some(log_id(number(50), number(58))),
        _ => return None,
    };
    let store = Uuid::from_bytes(body[16..32].try_into().expect("sixteen bytes"));
    Some((store, number(8), Mark { vote, last }))
}

/// For messages.
pub(crate) fn show_mark(vote: Option<&Vote>, last: Option<&LogId>) -> String {
    format!("vote {} and log end {}", vote.map_or_else(|| "none".to_owned(), ToString::to_string), show(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, Layout, Uuid) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::of(dir.path());
        let store = Uuid::from_u128(7);
        HighWater::create(&layout, store).unwrap();
        (dir, layout, store)
    }

    #[test]
    fn a_vote_is_recorded_at_once_and_an_append_within_the_lag() {
        let (_dir, layout, store) = fresh();
        let mut file = HighWater::open(&layout, store).unwrap();
        file.vote(Vote::new_committed(3, 2)).unwrap();
        file.appended(log_id(3, 9), 9).unwrap();
        let read = HighWater::open(&layout, store).unwrap();
        assert_eq!(*read.recorded(), Mark { vote: Some(Vote::new_committed(3, 2)), last: None });
        file.appended(log_id(3, 9 + LAG_ENTRIES), LAG_ENTRIES).unwrap();
        let read = HighWater::open(&layout, store).unwrap();
        assert_eq!(read.recorded().last, Some(log_id(3, 9 + LAG_ENTRIES)));
    }

    #[test]
    fn an_orderly_close_records_the_end_of_the_log() {
        let (_dir, layout, store) = fresh();
        let mut file = HighWater::open(&layout, store).unwrap();
        file.appended(log_id(1, 5), 5).unwrap();
        drop(file);
        assert_eq!(HighWater::open(&layout, store).unwrap().recorded().last, Some(log_id(1, 5)));
    }

    #[test]
    fn lowering_is_durable_before_it_returns() {
        let (_dir, layout, store) = fresh();
        let mut file = HighWater::open(&layout, store).unwrap();
        file.appended(log_id(1, LAG_ENTRIES), LAG_ENTRIES).unwrap();
        file.lower(Some(log_id(1, 5))).unwrap();
        assert_eq!(HighWater::open(&layout, store).unwrap().recorded().last, Some(log_id(1, 5)));
        file.lower(None).unwrap();
        assert_eq!(HighWater::open(&layout, store).unwrap().recorded().last, None);
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before_and_two_are_an_error() {
        let (_dir, layout, store) = fresh();
        let mut file = HighWater::open(&layout, store).unwrap();
        file.vote(Vote::new(1, 1)).unwrap();
        file.vote(Vote::new(2, 1)).unwrap();
        let newest = (file.sequence % 2) * SLOT_STRIDE;
        file.file.write_all_at(&[0xff; 3], newest + 30).unwrap();
        assert_eq!(HighWater::open(&layout, store).unwrap().recorded().vote, Some(Vote::new(1, 1)));
        file.file.write_all_at(&[0xff; 3], SLOT_STRIDE - newest + 30).unwrap();
        assert!(matches!(HighWater::open(&layout, store), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn another_stores_file_is_refused() {
        let (_dir, layout, _) = fresh();
        assert!(matches!(HighWater::open(&layout, Uuid::from_u128(8)), Err(Error::Marker(_))));
    }
}
