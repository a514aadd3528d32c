//! openraft's log storage over any [`Store`].
//!
//! Three parts: [`LogStore`] is what openraft writes through, [`LogReader`] what replication and apply read through,
//! and the log writer (`writer.rs`) is the only one that touches the store's log. Between them lies the tail
//! (`tail.rs`): the newest entries and the bounds of the log, in memory.
//!
//! - `append` puts entries into the tail, so that they can be read at once, and queues them; it waits for no disk.
//! - The writer puts everything that queued while the last sync ran into one `Store::append` (group commit), then
//!   reports it flushed.
//! - A vote and a truncation wait for the disk; a purge and a committed position do not, they only keep their place in
//!   the order.
//! - Reads of fresh entries never reach the store.

mod tail;
mod writer;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures::Stream;
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::{mpsc, oneshot, watch};

use self::tail::{Segment, Tail};
use self::writer::{Op, QUEUE_OPS_MAX};
use crate::codec;
use crate::fatal::FatalSignal;
use crate::store::{LogRecord, Store};
use crate::threads::Threads;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// Entries that one read of the apply stream takes at most.
const STREAM_ENTRIES_MAX: u64 = 256;
/// Bytes after which one read of the apply stream stops.
const STREAM_BYTES_MAX: usize = 1024 * 1024;
/// How often a read starts over because a purge or truncation overtook it. Both are rare and ordered; meeting several
/// in one read means that something else is wrong.
const READ_ATTEMPTS_MAX: usize = 8;

/// What openraft writes the log and the vote through.
pub struct LogStore<S: Store> {
    shared: Arc<Shared<S>>,
    ops: mpsc::Sender<Op>,
}

/// What openraft reads the log through; cheap to clone.
pub struct LogReader<S: Store> {
    shared: Arc<Shared<S>>,
}

/// Resolves when the log writer has ended and let go of the store.
#[derive(Clone)]
pub struct WriterEnded(watch::Receiver<()>);

impl WriterEnded {
    /// Waits for it.
    pub async fn wait(mut self) {
        // The writer never sends; the channel closes when it ends.
        while self.0.changed().await.is_ok() {}
    }
}

struct Shared<S: Store> {
    store: Arc<S>,
    tail: Tail,
    /// Bytes after which a read for replication stops, so that one append request stays within the message limit.
    append_bytes_max: usize,
}

impl<S: Store> LogStore<S> {
    /// Loads the log's bounds and the vote, and starts the log writer.
    ///
    /// `append_bytes_max` bounds what [`RaftLogReader::limited_get_log_entries`] returns (one entry may exceed it).
    pub fn open(
        store: Arc<S>,
        fatal: FatalSignal,
        threads: Threads,
        append_bytes_max: usize,
    ) -> io::Result<(Self, WriterEnded)> {
        let tail = Tail::new(store.log_bounds()?, store.read_vote()?);
        let shared = Arc::new(Shared { store, tail, append_bytes_max });
        let (ops, queue) = mpsc::channel(QUEUE_OPS_MAX);
        let (alive, ended) = watch::channel(());
        writer::start(Arc::clone(&shared), queue, fatal, threads, alive)?;
        Ok((Self { shared, ops }, WriterEnded(ended)))
    }

    async fn send(&self, op: Op) -> io::Result<()> {
        self.ops.send(op).await.map_err(|_| writer_gone())
    }

    async fn durably(&self, op: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Op) -> io::Result<()> {
        let (done, waiting) = oneshot::channel();
        self.send(op(done)).await?;
        waiting.await.map_err(|_| writer_gone())?
    }
}

fn writer_gone() -> io::Error {
    io::Error::other("the log writer has stopped")
}

impl<S: Store> RaftLogStorage<TypeConfig> for LogStore<S> {
    type LogReader = LogReader<S>;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let bounds = self.shared.tail.bounds();
        Ok(LogState { last_purged_log_id: bounds.purged, last_log_id: bounds.last })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        LogReader { shared: Arc::clone(&self.shared) }
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        self.durably(|done| Op::Vote { vote, done }).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.send(Op::Committed(committed)).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        // Asked once, before anything is queued.
        self.shared.store.read_committed()
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.shared.tail.append(&entries)?;
        self.send(Op::Append { entries, flushed: callback }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.shared.tail.truncate_after(last);
        self.durably(|done| Op::Truncate { last, done }).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        // The bounds move first, so that no reader looks for an entry that is about to go.
        self.shared.tail.purge(upto);
        self.send(Op::Purge { upto }).await
    }
}

impl<S: Store> Shared<S> {
    /// Reads what the log holds of `start..end`, in order, stopping after the entry that exceeds `bytes_max`.
    ///
    /// Entries may be absent at the front (purged) and at the back (not appended, or truncated), never in between.
    fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        for _ in 0..READ_ATTEMPTS_MAX {
            let segment = self.tail.segment(start, end, bytes_max);
            match self.read_segment(&segment, bytes_max) {
                Ok(entries) => return Ok(entries),
                // What was to be read has just been purged or truncated: the bounds have moved, look again.
                Err(_) if self.tail.epoch() != segment.epoch => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!(
            "the log moved during each of {READ_ATTEMPTS_MAX} reads of {start}..{end}"
        )))
    }

    fn read_segment(&self, segment: &Segment, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut next = segment.stored.start;
        while next < segment.stored.end && (bytes <= bytes_max || entries.is_empty()) {
            let records = self.store.read_log(next, segment.stored.end, bytes_max.saturating_sub(bytes))?;
            if records.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("log entry {next} is missing"),
                ));
            }
            for record in records {
                bytes += record.bytes.len();
                entries.push(decode_record(&record, next)?);
                next += 1;
            }
        }
        if next == segment.stored.end && (bytes <= bytes_max || entries.is_empty()) {
            entries.extend(segment.tail.iter().cloned());
        }
        Ok(entries)
    }
}

/// Decodes a stored record and holds it to its place.
fn decode_record(record: &LogRecord, index: u64) -> io::Result<Entry> {
    let entry = codec::decode_entry(record.bytes.clone())?;
    if record.index != index || entry.log_id.index != index || *entry.log_id.leader_id != record.term {
        let found = entry.log_id;
        let reason = format!("log record {index} claims to be {} and holds {found}", record.index);
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(entry)
}

impl<S: Store> Clone for LogReader<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: Store> RaftLogReader<TypeConfig> for LogReader<S> {
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (next, end) = half_open(&range);
        futures::stream::iter(Chunks { reader: self.clone(), next, end, chunk: Vec::new().into_iter() })
    }

    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = half_open(&range);
        self.shared.read(start, end, usize::MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.tail.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.shared.read(start, end, self.shared.append_bytes_max)
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

/// Entries in order, read a bounded chunk at a time.
struct Chunks<S: Store> {
    reader: LogReader<S>,
    next: u64,
    end: u64,
    chunk: std::vec::IntoIter<Entry>,
}

impl<S: Store> Iterator for Chunks<S> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.chunk.next() {
            return Some(Ok(entry));
        }
        if self.next >= self.end {
            return None;
        }
        let chunk_end = self.end.min(self.next.saturating_add(STREAM_ENTRIES_MAX));
        match self.reader.shared.read(self.next, chunk_end, STREAM_BYTES_MAX) {
            Ok(entries) => {
                // Nothing there: the rest of the range is not in the log.
                self.next = entries.last().map_or(self.end, |entry| entry.log_id.index + 1);
                self.chunk = entries.into_iter();
                self.chunk.next().map(Ok)
            }
            Err(error) => {
                self.next = self.end;
                Some(Err(error))
            }
        }
    }
}
