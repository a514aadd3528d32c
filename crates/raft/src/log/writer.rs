//! The log writer: the one place that writes the log, the vote and the committed position, in the order they came.
//!
//! Group commit: whatever queued while the last sync ran goes into one `Store::append`. The committed position is
//! written behind the entries of its batch, so that a crash never leaves it pointing beyond the log.
//!
//! After the first storage error nothing is written any more: everything queued then and later fails, and the fatal
//! signal is tripped.

use std::io;
use std::sync::Arc;

use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot, watch};

use super::Shared;
use super::tail::end_of;
use crate::codec;
use crate::fatal::{FatalSignal, chain};
use crate::store::{LogRecord, Store};
use crate::threads::Threads;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// Operations queued at most; then `append` waits, which slows openraft down as it should.
pub(super) const QUEUE_OPS_MAX: usize = 1_024;
/// Operations taken from the queue at most before the disk is touched.
const BATCH_OPS_MAX: usize = QUEUE_OPS_MAX;
/// Bytes after which a batch is written without looking for more.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One write. `done` and `flushed` are answered when it is durable.
pub(super) enum Op {
    Append { entries: Vec<Entry>, flushed: IOFlushed<TypeConfig> },
    Vote { vote: Vote, done: oneshot::Sender<io::Result<()>> },
    Truncate { last: Option<LogId>, done: oneshot::Sender<io::Result<()>> },
    Purge { upto: LogId },
    Committed(Option<LogId>),
}

/// Starts the writer; it ends when the queue's senders are gone and then drops `alive`.
pub(super) fn start<S: Store>(
    shared: Arc<Shared<S>>,
    mut queue: mpsc::Receiver<Op>,
    fatal: FatalSignal,
    threads: Threads,
    alive: watch::Sender<()>,
) -> io::Result<()> {
    let mut writer = Writer {
        shared,
        fatal,
        records: Vec::new(),
        bytes: 0,
        flushed: Vec::new(),
        committed: None,
        failed: None,
    };
    match threads {
        Threads::Real => {
            let run = move || {
                while let Some(op) = queue.blocking_recv() {
                    writer.batch(op, &mut queue);
                }
                drop(writer);
                drop(alive);
            };
            std::thread::Builder::new().name("pi-log-writer".into()).spawn(run)?;
        }
        Threads::Inline => {
            tokio::spawn(async move {
                while let Some(op) = queue.recv().await {
                    writer.batch(op, &mut queue);
                }
                drop(writer);
                drop(alive);
            });
        }
    }
    Ok(())
}

struct Writer<S: Store> {
    shared: Arc<Shared<S>>,
    fatal: FatalSignal,
    /// Encoded, not yet written.
    records: Vec<LogRecord>,
    bytes: usize,
    /// To be told when `records` are durable.
    flushed: Vec<IOFlushed<TypeConfig>>,
    /// The newest committed position, not yet written.
    committed: Option<Option<LogId>>,
    failed: Option<(io::ErrorKind, String)>,
}

impl<S: Store> Writer<S> {
    /// Takes `first` and what else is queued, and writes all of it.
    fn batch(&mut self, first: Op, queue: &mut mpsc::Receiver<Op>) {
        self.take(first);
        for _ in 1..BATCH_OPS_MAX {
            match queue.try_recv() {
                Ok(op) => self.take(op),
                Err(_) => break,
            }
        }
        self.flush();
        debug_assert!(self.records.is_empty() && self.flushed.is_empty(), "a batch leaves nothing behind");
    }

    fn take(&mut self, op: Op) {
        match op {
            Op::Append { entries, flushed } => self.take_append(&entries, flushed),
            Op::Committed(committed) => self.committed = Some(committed),
            Op::Vote { vote, done } => {
                self.flush();
                let result = self.attempt("save the vote", |store| store.save_vote(&vote));
                if result.is_ok() {
                    self.shared.tail.set_vote(vote);
                }
                // openraft waits for it, unless it is being shut down.
                let _ = done.send(result);
            }
            Op::Truncate { last, done } => {
                self.flush();
                let result = self.attempt("truncate the log", |store| store.truncate_after(last));
                if result.is_ok() {
                    self.shared.tail.truncated(end_of(last));
                }
                let _ = done.send(result);
            }
            Op::Purge { upto } => {
                self.flush();
                // A failure is remembered and tripped; nobody waits.
                let _ = self.attempt("purge the log", |store| store.purge(upto));
            }
        }
    }

    fn take_append(&mut self, entries: &[Entry], flushed: IOFlushed<TypeConfig>) {
        for entry in entries {
            let bytes = codec::encode_entry(entry);
            self.bytes += bytes.len();
            self.records.push(LogRecord { index: entry.log_id.index, term: *entry.log_id.leader_id, bytes });
        }
        self.flushed.push(flushed);
        if self.bytes >= BATCH_BYTES_MAX {
            self.flush();
        }
    }

    /// Makes the collected entries durable, tells who waits, and writes the committed position behind them.
    fn flush(&mut self) {
        self.bytes = 0;
        if !self.flushed.is_empty() {
            let records = std::mem::take(&mut self.records);
            let result = match records.last() {
                None => self.failed_before(),
                Some(last) => {
                    let end = last.index + 1;
                    let result = self.attempt("append to the log", |store| store.append(&records));
                    if result.is_ok() {
                        self.shared.tail.durable(end);
                    }
                    result
                }
            };
            for flushed in std::mem::take(&mut self.flushed) {
                flushed.io_completed(result.as_ref().copied().map_err(copy_of));
            }
        }
        if let Some(committed) = self.committed.take() {
            let _ = self.attempt("save the committed position", |store| store.save_committed(committed));
        }
    }

    /// Runs one store operation, unless an earlier one failed; the first failure trips the fatal signal.
    fn attempt(&mut self, what: &str, operation: impl FnOnce(&S) -> io::Result<()>) -> io::Result<()> {
        self.failed_before()?;
        operation(&self.shared.store).inspect_err(|error| {
            let reason = format!("could not {what}: {}", chain(error));
            self.fatal.trip(&reason);
            self.failed = Some((error.kind(), reason));
        })
    }

    fn failed_before(&self) -> io::Result<()> {
        match &self.failed {
            None => Ok(()),
            Some((kind, reason)) => Err(io::Error::new(*kind, reason.clone())),
        }
    }
}

fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), chain(error))
}
