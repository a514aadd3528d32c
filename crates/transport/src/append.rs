//! The sending half of a pipelined append stream.
//!
//! openraft hands over a stream of requests and wants a stream of results in the same order. [`Pipeline`] sends
//! requests without waiting for earlier answers, at most [`Window`]'s bounds ahead, pairs the answers in order, and
//! gives up when answers are due and none comes.
//!
//! Two things that are easy to get wrong:
//! - The input is polled here, never by tonic. tonic's body task can outlive the call by seconds on a dead
//!   connection, and the input holds a lock that openraft's next session needs.
//! - A request above [`APPEND_BYTES_MAX`] is cut into several, each with a result of its own. The follower acknowledges
//!   positions, not requests, so openraft sees progress and need not know.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::network::RPCTypes;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use pi_proto::raft::v1 as pb;
use pi_raft::codec::{log_id_from_proto, log_id_to_proto, vote_from_proto, vote_to_proto};
use pi_raft::types::{LogId, TypeConfig};
use pi_types::limits::APPEND_BYTES_MAX;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Streaming;

use crate::channel::Lease;
use crate::error::{CallError, bad_answer, timeout};
use crate::network::PeerClient;
use crate::{ENTRY_BYTES_MAX, Error, convert};

/// Requests sent and not yet answered, per stream. Enough to keep a follower's disk busy over a round trip.
pub(crate) const IN_FLIGHT_MAX: usize = 16;
/// Bytes of entries sent and not yet answered, per stream: bounds memory on both sides when entries are large.
const IN_FLIGHT_BYTES_MAX: usize = 4 * APPEND_BYTES_MAX;
/// Entries of one request on the wire, whatever their size.
pub(crate) const ENTRIES_PER_REQUEST_MAX: usize = 65_536;

/// The log positions that one request covers: it follows `prev` and ends with `last` (`prev` when it has no entries).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) prev: Option<LogId>,
    pub(crate) last: Option<LogId>,
}

/// One request as it goes on the wire.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) request: pb::AppendRequest,
    pub(crate) range: Range,
    pub(crate) bytes: usize,
}

/// Cuts a request into pieces whose entries together have at most [`APPEND_BYTES_MAX`] bytes; an entry above that
/// travels alone. There is always at least one piece. No piece names a peer.
pub(crate) fn cut(request: &AppendEntriesRequest<TypeConfig>) -> Result<VecDeque<Piece>, Error> {
    let piece = |prev: Option<LogId>| Piece {
        request: pb::AppendRequest {
            peer: None,
            vote: Some(vote_to_proto(&request.vote)),
            prev_log_id: prev.as_ref().map(log_id_to_proto),
            entries: Vec::new(),
            leader_commit: request.leader_commit.as_ref().map(log_id_to_proto),
        },
        range: Range { prev, last: prev },
        bytes: 0,
    };
    let mut pieces = VecDeque::new();
    let mut current = piece(request.prev_log_id);
    for entry in &request.entries {
        let encoded = convert::entry_to_proto(entry);
        if encoded.len() > ENTRY_BYTES_MAX {
            let (index, bytes) = (entry.log_id.index, encoded.len());
            return Err(Error::EntryTooLarge { index, bytes, max: ENTRY_BYTES_MAX });
        }
        let full = current.bytes + encoded.len() > APPEND_BYTES_MAX
            || current.request.entries.len() == ENTRIES_PER_REQUEST_MAX;
        if full && !current.request.entries.is_empty() {
            let next = piece(current.range.last);
            pieces.push_back(std::mem::replace(&mut current, next));
        }
        current.bytes += encoded.len();
        current.range.last = Some(entry.log_id);
        current.request.entries.push(encoded);
    }
    pieces.push_back(current);
    Ok(pieces)
}

/// What is sent and not yet answered.
#[derive(Debug, Default)]
struct Window {
    sent: VecDeque<(Range, usize)>,
    bytes: usize,
}

impl Window {
    /// One request always has room when nothing is in flight, however large.
    fn has_room(&self, bytes: usize) -> bool {
        self.sent.is_empty() || self.sent.len() < IN_FLIGHT_MAX && self.bytes + bytes <= IN_FLIGHT_BYTES_MAX
    }

    fn push(&mut self, range: Range, bytes: usize) {
        self.bytes += bytes;
        self.sent.push_back((range, bytes));
    }

    fn pop(&mut self) -> Option<Range> {
        let (range, bytes) = self.sent.pop_front()?;
        self.bytes -= bytes;
        Some(range)
    }
}

/// Whether the stream goes on behind a result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    End,
}

/// What an answer to the request over `range` says; `Err` when it cannot be an answer to it.
pub(crate) fn read_answer(
    answer: pb::AppendResponse,
    range: Range,
) -> Result<(StreamAppendResult<TypeConfig>, Flow), &'static str> {
    use pb::append_response::Result as Wire;
    let matching = match answer.result.ok_or("it has no result")? {
        Wire::Success(success) => success.matching.as_ref().map(log_id_from_proto),
        Wire::PartialSuccess(matching) => Some(log_id_from_proto(&matching)),
        Wire::Conflict(_) => {
            // Nothing conflicts with the beginning of the log.
            let prev = range.prev.ok_or("a conflict before the first entry")?;
            return Ok((Err(StreamAppendError::Conflict(prev)), Flow::End));
        }
        Wire::HigherVote(vote) => {
            return Ok((Err(StreamAppendError::HigherVote(vote_from_proto(&vote))), Flow::End));
        }
    };
    if matching > range.last {
        return Err("it acknowledges more than was sent");
    }
    // What follows in the pipeline builds on entries that were not stored: openraft starts again from `matching`.
    let flow = if matching == range.last { Flow::Continue } else { Flow::End };
    Ok((Ok(matching), flow))
}

/// A running append stream; see the module.
pub(crate) struct Pipeline<'a, S> {
    client: &'a PeerClient,
    lease: Lease,
    input: Input<S>,
    /// Cut and waiting for room in the window.
    ready: VecDeque<Piece>,
    window: Window,
    /// `None` once everything is sent. Its capacity is the window's, so it always has room.
    outgoing: Option<mpsc::Sender<pb::AppendRequest>>,
    incoming: Pin<Box<Streaming<pb::AppendResponse>>>,
    /// Longest wait for an answer while one is due.
    stall: Duration,
    /// When the wait for the next answer ends; meaningless while nothing is in flight.
    due: Instant,
    first: bool,
}

enum Input<S> {
    Open(S),
    Ended,
}

type Item = Result<StreamAppendResult<TypeConfig>, CallError>;

enum Event {
    Answer(Result<Option<pb::AppendResponse>, tonic::Status>),
    Request(Option<AppendEntriesRequest<TypeConfig>>),
    Stalled,
}

impl<'a, S> Pipeline<'a, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin + Send + 'static,
{
    pub(crate) fn new(
        client: &'a PeerClient,
        lease: Lease,
        input: S,
        outgoing: mpsc::Sender<pb::AppendRequest>,
        incoming: Streaming<pb::AppendResponse>,
        stall: Duration,
    ) -> Self {
        Self {
            client,
            lease,
            input: Input::Open(input),
            ready: VecDeque::new(),
            window: Window::default(),
            outgoing: Some(outgoing),
            incoming: Box::pin(incoming),
            stall,
            due: Instant::now(),
            first: true,
        }
    }

    /// The results in order; ends behind the first error, conflict, higher vote or partial success.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Item> + Send + 'a
    where
        S: 'a,
    {
        futures::stream::unfold(Some(self), |state| async move {
            let mut pipeline = state?;
            let (item, flow) = pipeline.next().await?;
            Some((item, (flow == Flow::Continue).then_some(pipeline)))
        })
    }

    /// `None` when the input has ended and everything is answered.
    async fn next(&mut self) -> Option<(Item, Flow)> {
        loop {
            if let Err(error) = self.send_ready() {
                return Some((Err(error), Flow::End));
            }
            let all_sent = matches!(self.input, Input::Ended) && self.ready.is_empty();
            if all_sent {
                self.outgoing = None;
                if self.window.sent.is_empty() {
                    return None;
                }
            }
            match self.event().await {
                Event::Answer(answer) => return Some(self.on_answer(answer)),
                Event::Request(None) => self.input = Input::Ended,
                Event::Request(Some(request)) => match cut(&request) {
                    Ok(pieces) => self.ready = pieces,
                    Err(error) => return Some((Err(error.into_call_error()), Flow::End)),
                },
                Event::Stalled => {
                    self.client.channels().timed_out(&self.lease);
                    let error = timeout(
                        RPCTypes::AppendEntries,
                        self.client.local(),
                        self.client.target(),
                        self.stall,
                    );
                    return Some((Err(error), Flow::End));
                }
            }
        }
    }

    fn send_ready(&mut self) -> Result<(), CallError> {
        while let Some(piece) = self.ready.front()
            && self.window.has_room(piece.bytes)
            && let Some(outgoing) = &self.outgoing
            && let Some(mut piece) = self.ready.pop_front()
        {
            if std::mem::take(&mut self.first) {
                piece.request.peer = Some(self.client.peer());
            }
            if self.window.sent.is_empty() {
                self.due = Instant::now() + self.stall;
            }
            self.window.push(piece.range, piece.bytes);
            if outgoing.try_send(piece.request).is_err() {
                // tonic dropped the body: the connection is gone, and the answers will say how. If they do not, the
                // stall ends the wait.
                self.outgoing = None;
            }
        }
        Ok(())
    }

    async fn event(&mut self) -> Event {
        let wants_input = self.ready.is_empty();
        let answer_due = !self.window.sent.is_empty();
        let input = async {
            match &mut self.input {
                Input::Open(input) if wants_input => input.next().await,
                Input::Open(_) | Input::Ended => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = self.incoming.message() => Event::Answer(answer),
            request = input => Event::Request(request),
            () = tokio::time::sleep_until(self.due), if answer_due => Event::Stalled,
        }
    }

    fn on_answer(&mut self, answer: Result<Option<pb::AppendResponse>, tonic::Status>) -> (Item, Flow) {
        let peer = self.client.target();
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                let status = tonic::Status::aborted("it ended the append stream");
                return (Err(self.client.failed(&self.lease, &status)), Flow::End);
            }
            Err(status) => return (Err(self.client.failed(&self.lease, &status)), Flow::End),
        };
        self.client.channels().worked(&self.lease);
        self.due = Instant::now() + self.stall;
        let Some(range) = self.window.pop() else {
            return (Err(bad_answer(peer, "nothing was asked")), Flow::End);
        };
        match read_answer(answer, range) {
            Ok((result, flow)) => (Ok(result), flow),
            Err(what) => (Err(bad_answer(peer, what)), Flow::End),
        }
    }
}

#[cfg(test)]
mod tests;
