//! The newest entries of the log, its bounds and the vote, in memory.
//!
//! openraft must be able to read an entry as soon as `append` returns, which is before it is durable, and replication
//! and apply read almost only fresh entries: both are served from here. Old durable entries are dropped when there are
//! too many.
//!
//! Invariants, held under one lock:
//! - The entries are consecutive and end with `last`.
//! - Every entry of the log that is not durable is here; so what is not here can be read from the store.
//! - `purged < first entry`, when there is one.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use parking_lot::Mutex;

use crate::codec::ENTRY_OVERHEAD_BYTES_MAX;
use crate::store::LogBounds;
use crate::types::{Entry, EntryPayload, LogId, Vote};

/// Durable entries kept at most, by count: more than all followers of a healthy group lag behind.
const KEPT_ENTRIES_MAX: usize = 16_384;
/// Durable entries kept at most, by size.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a membership entry counts for; it is rare and small.
const MEMBERSHIP_BYTES: usize = 1024;

/// See the module.
pub(super) struct Tail(Mutex<Inner>);

struct Inner {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Everything below this index is durable.
    durable_end: u64,
    /// The first index there may be: behind `purged`, or where an empty log began.
    start: u64,
    bounds: LogBounds,
    vote: Option<Vote>,
    /// Counts purges and truncations, so that a reader notices that one overtook it.
    epoch: u64,
}

/// Where a range of the log is to be found.
pub(super) struct Segment {
    /// The part to read from the store; comes first.
    pub(super) stored: Range<u64>,
    /// The part that was in memory.
    pub(super) tail: Vec<Entry>,
    /// Of the moment at which it was looked up.
    pub(super) epoch: u64,
}

impl Tail {
    pub(super) fn new(bounds: LogBounds, vote: Option<Vote>) -> Self {
        let (start, durable_end) = (end_of(bounds.purged), end_of(bounds.last));
        Self(Mutex::new(Inner {
            entries: VecDeque::new(),
            bytes: 0,
            durable_end,
            start,
            bounds,
            vote,
            epoch: 0,
        }))
    }

    pub(super) fn bounds(&self) -> LogBounds {
        self.0.lock().bounds.clone()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.0.lock().epoch
    }

    /// The last durable vote.
    pub(super) fn vote(&self) -> Option<Vote> {
        self.0.lock().vote
    }

    pub(super) fn set_vote(&self, vote: Vote) {
        self.0.lock().vote = Some(vote);
    }

    /// Adds entries, which must follow the last one.
    pub(super) fn append(&self, entries: &[Entry]) -> io::Result<()> {
        let mut inner = self.0.lock();
        for entry in entries {
            // An empty log may begin anywhere; after that there is no hole.
            if inner.bounds.last.is_some() && entry.log_id.index != end_of(inner.bounds.last) {
                let reason = format!("entry {} does not follow {:?}", entry.log_id, inner.bounds.last);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
            if inner.bounds.last.is_none() {
                inner.durable_end = entry.log_id.index;
                inner.start = entry.log_id.index;
            }
            inner.bounds.last = Some(entry.log_id);
            inner.bytes += entry_bytes(entry);
            inner.entries.push_back(entry.clone());
        }
        inner.check();
        Ok(())
    }

    /// Forgets what is behind `last`.
    pub(super) fn truncate_after(&self, last: Option<LogId>) {
        let mut inner = self.0.lock();
        if end_of(last) >= end_of(inner.bounds.last) {
            return;
        }
        let end = end_of(last).max(end_of(inner.bounds.purged));
        while inner.entries.back().is_some_and(|entry| entry.log_id.index >= end) {
            inner.pop_back();
        }
        inner.bounds.last = last.max(inner.bounds.purged);
        inner.epoch += 1;
        inner.check();
    }

    /// Forgets what is not behind `upto`, which may be beyond the last entry.
    pub(super) fn purge(&self, upto: LogId) {
        let mut inner = self.0.lock();
        if end_of(Some(upto)) <= end_of(inner.bounds.purged) {
            return;
        }
        while inner.entries.front().is_some_and(|entry| entry.log_id.index <= upto.index) {
            inner.pop_front();
        }
        inner.bounds.purged = Some(upto);
        inner.start = end_of(Some(upto));
        if end_of(inner.bounds.last) <= end_of(Some(upto)) {
            inner.bounds.last = Some(upto);
        }
        inner.durable_end = inner.durable_end.max(end_of(Some(upto)));
        inner.epoch += 1;
        inner.check();
    }

    /// The writer has made everything below `end` durable.
    pub(super) fn durable(&self, end: u64) {
        let mut inner = self.0.lock();
        inner.durable_end = inner.durable_end.max(end);
        inner.evict();
    }

    /// The writer has removed everything at and behind `end`.
    pub(super) fn truncated(&self, end: u64) {
        let mut inner = self.0.lock();
        inner.durable_end = inner.durable_end.min(end.max(end_of(inner.bounds.purged)));
    }

    /// Finds what the log holds of `start..end`; stops in memory after the entry that exceeds `bytes_max`.
    pub(super) fn segment(&self, start: u64, end: u64, bytes_max: usize) -> Segment {
        let inner = self.0.lock();
        let start = start.max(inner.start);
        let end = end.min(end_of(inner.bounds.last)).max(start);
        let memory_start = inner.entries.front().map_or(end, |entry| entry.log_id.index);
        let stored = start..memory_start.clamp(start, end);
        let mut tail = Vec::new();
        if stored.end < end {
            // Not negative: `memory_start <= stored.end`, because otherwise `stored.end == end`.
            let skip = (stored.end - memory_start) as usize;
            let count = (end - stored.end) as usize;
            let mut bytes = 0;
            for entry in inner.entries.iter().skip(skip).take(count) {
                bytes += entry_bytes(entry);
                tail.push(entry.clone());
                if bytes > bytes_max {
                    break;
                }
            }
        }
        Segment { stored, tail, epoch: inner.epoch }
    }
}

impl Inner {
    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry_bytes(&entry);
        }
    }

    fn pop_back(&mut self) {
        if let Some(entry) = self.entries.pop_back() {
            self.bytes -= entry_bytes(&entry);
        }
    }

    /// Drops the oldest durable entries while there are too many.
    fn evict(&mut self) {
        while self.entries.len() > KEPT_ENTRIES_MAX || self.bytes > KEPT_BYTES_MAX {
            match self.entries.front() {
                Some(entry) if entry.log_id.index < self.durable_end => self.pop_front(),
                _ => break,
            }
        }
    }

    /// The module's invariants.
    fn check(&self) {
        if let (Some(first), Some(last)) = (self.entries.front(), self.entries.back()) {
            assert_eq!(Some(last.log_id), self.bounds.last, "the tail ends with the log");
            let span = last.log_id.index - first.log_id.index + 1;
            assert_eq!(span, self.entries.len() as u64, "the tail has no hole");
            assert!(first.log_id.index >= end_of(self.bounds.purged), "nothing purged is in the tail");
            assert!(first.log_id.index <= self.durable_end, "what is not durable is in the tail");
        }
    }
}

/// The index after a position.
pub(super) fn end_of(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |log_id| log_id.index.saturating_add(1))
}

fn entry_bytes(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Membership(_) => MEMBERSHIP_BYTES,
    };
    payload + ENTRY_OVERHEAD_BYTES_MAX
}

#[cfg(test)]
mod tests;
