//! The way in: `pi.raft.v1.Raft` around openraft's handle.
//!
//! Each handler checks who speaks, converts, asks openraft, converts back. Bytes that are no message of ours are
//! answered with INVALID_ARGUMENT, a request for another node with FAILED_PRECONDITION/WRONG_PEER; neither stops this
//! node. What is trusted is a leader's content: the commands in its entries are not decoded on receipt (each was when it
//! was proposed), nor are a snapshot's pairs. One that does not decode stops the node when it is applied or read.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::Snapshot;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;
use pi_proto::raft::v1 as pb;
use pi_proto::raft::v1::raft_server::Raft;
use pi_raft::codec::vote_to_proto;
use pi_raft::store::Store;
use pi_raft::types::{LogId, NodeId, TypeConfig};
use pi_raft::{FatalSignal, Group, SnapshotSource, Threads};
use pi_runtime::shutdown::Shutdown;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use crate::frames::Progress;
use crate::receive::{Announced, Receiving, announced, next_frame};
use crate::{Error, Identity, convert};

/// Longest wait for openraft on behalf of one unary request, whatever deadline the peer set.
const UNARY_MAX: Duration = Duration::from_secs(5);

/// The service of one node; cheap to clone.
pub struct RaftService<S: Store> {
    node: Arc<Node<S>>,
}

struct Node<S: Store> {
    identity: Identity,
    raft: Group<S>,
    store: Arc<S>,
    fatal: FatalSignal,
    threads: Threads,
    /// One snapshot is received at a time: each takes the disk space of a whole state.
    receiving: Semaphore,
    /// Ends the streams, which otherwise live as long as their peers.
    closing: Shutdown,
}

impl<S: Store> Clone for RaftService<S> {
    fn clone(&self) -> Self {
        Self { node: Arc::clone(&self.node) }
    }
}

impl<S: Store> fmt::Debug for RaftService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftService").field("identity", &self.node.identity).finish_non_exhaustive()
    }
}

impl<S: Store> RaftService<S> {
    /// The service of the node that `identity` names. `fatal` is tripped when `store` fails while a snapshot arrives.
    #[must_use]
    pub fn new(
        identity: Identity,
        raft: Group<S>,
        store: Arc<S>,
        fatal: FatalSignal,
        threads: Threads,
    ) -> Self {
        let node = Node {
            identity,
            raft,
            store,
            fatal,
            threads,
            receiving: Semaphore::new(1),
            closing: Shutdown::new(),
        };
        Self { node: Arc::new(node) }
    }

    /// Ends running streams and refuses new ones.
    pub(crate) fn close(&self) {
        self.node.closing.trigger();
    }

    /// Resolves when the service is closed; owned.
    fn closed(&self) -> impl Future<Output = ()> + Send + use<S> {
        let closing = self.node.closing.clone();
        async move { closing.requested().await }
    }

    fn sender(&self, peer: Option<&pb::Peer>) -> Result<NodeId, Error> {
        self.node.identity.check(peer)
    }

    /// Logs a refusal that a human must act on, and answers it.
    fn refuse(&self, error: Error) -> Status {
        match &error {
            Error::Storage { .. } => self.node.fatal.trip(with_source(&error)),
            Error::WrongPeer(_) | Error::Malformed { .. } | Error::Frames(_) => {
                tracing::warn!(node = self.node.identity.node_id, %error, "refused a request from a peer");
            }
            Error::EntryTooLarge { .. }
            | Error::Address { .. }
            | Error::Listen { .. }
            | Error::Serve(_)
            | Error::Busy
            | Error::Broken(_)
            | Error::Silent(_)
            | Error::Stopped(_) => tracing::debug!(%error, "refused a request from a peer"),
        }
        error.into_status()
    }

    async fn receive_snapshot(
        &self,
        mut stream: Streaming<pb::SnapshotFrame>,
    ) -> Result<pb::SnapshotResponse, Error> {
        let node = &self.node;
        let announced = announced(&node.identity, next_frame(&mut stream).await?)?;
        // A deposed leader learns so before it sends a whole state.
        let seen = node.raft.metrics().borrow_watched().vote;
        if seen > announced.vote {
            return Ok(pb::SnapshotResponse { vote: Some(vote_to_proto(&seen)) });
        }
        let _permit = node.receiving.try_acquire().map_err(|_| Error::Busy)?;
        let mut receiving = Receiving::start(Arc::clone(&node.store), node.threads, &announced).await?;
        let mut progress = Progress::Incomplete;
        while let Some(frame) = next_frame(&mut stream).await? {
            // A frame behind the end is refused by the decoder.
            progress = receiving.frame(frame).await?;
        }
        tracing::debug!(?progress, "a snapshot's stream ended");
        let received = receiving.finish().await?;
        self.install(announced, received).await
    }

    async fn install(
        &self,
        announced: Announced,
        received: pi_raft::store::ReceivedSnapshot,
    ) -> Result<pb::SnapshotResponse, Error> {
        let meta = announced.manifest.meta;
        let committed = self.node.raft.metrics().borrow_watched().local_committed;
        if contradicts(meta.last_log_id, committed) {
            let reason = "it contradicts what is committed here; one of the two was built by another group";
            return Err(Error::Malformed { what: "snapshot", reason: reason.to_owned() });
        }
        let snapshot = Snapshot { meta, snapshot: SnapshotSource::Received(received) };
        let answer = self.node.raft.install_full_snapshot(announced.vote, snapshot).await;
        let answer = answer.map_err(|fatal| stopped(&fatal))?;
        Ok(pb::SnapshotResponse { vote: Some(vote_to_proto(&answer.vote)) })
    }
}

/// openraft asserts that a snapshot ahead of the committed position is ahead in index too.
fn contradicts(snapshot: Option<LogId>, committed: Option<LogId>) -> bool {
    match (snapshot, committed) {
        (Some(snapshot), Some(committed)) => snapshot > committed && snapshot.index <= committed.index,
        (Some(_) | None, None) | (None, Some(_)) => false,
    }
}

fn stopped(error: &dyn fmt::Display) -> Error {
    Error::Stopped(error.to_string())
}

fn with_source(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// One unary answer of openraft, bounded in time.
async fn ask<T, E: fmt::Display>(answer: impl Future<Output = Result<T, E>>) -> Result<T, Error> {
    match tokio::time::timeout(UNARY_MAX, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(fatal)) => Err(stopped(&fatal)),
        Err(_) => Err(Error::Stopped(format!("no answer from the Raft core within {UNARY_MAX:?}"))),
    }
}

/// Why an incoming stream ended before its sender ended it; told behind the answers to what came before.
type Refusal = Arc<Mutex<Option<Error>>>;

/// The requests of one stream. Its first message names the sender; a message that is not right ends it.
fn requests<S: Store>(
    service: RaftService<S>,
    messages: Streaming<pb::AppendRequest>,
    refusal: Refusal,
) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 'static {
    let closing = service.closed();
    let state = (service, messages, refusal, None);
    futures::stream::unfold(state, |(service, mut messages, refusal, from)| async move {
        let message = match messages.message().await {
            Ok(message) => message?,
            Err(status) => {
                *refusal.lock() = Some(Error::of_stream("append stream", &status));
                return None;
            }
        };
        match read_request(&service, message, from) {
            Ok((request, from)) => Some((request, (service, messages, refusal, Some(from)))),
            Err(error) => {
                *refusal.lock() = Some(error);
                None
            }
        }
    })
    .take_until(closing)
}

fn read_request<S: Store>(
    service: &RaftService<S>,
    message: pb::AppendRequest,
    from: Option<NodeId>,
) -> Result<(AppendEntriesRequest<TypeConfig>, NodeId), Error> {
    let from = match (from, &message.peer) {
        (Some(from), None) => from,
        (_, peer) => service.sender(peer.as_ref())?,
    };
    Ok((convert::append_from_proto(message, from)?, from))
}

/// The answers of one stream, in the order of its requests; then the reason it ended, if there is one.
fn answers<S: Store>(
    service: RaftService<S>,
    results: impl Stream<Item = Result<openraft::raft::StreamAppendResult<TypeConfig>, Fatal<TypeConfig>>>
    + Send
    + 'static,
    refusal: Refusal,
) -> impl Stream<Item = Result<pb::AppendResponse, Status>> + Send + 'static {
    let closing = service.closed();
    let results = results.map(|result| match result {
        Ok(result) => Ok(convert::stream_result_to_proto(&result)),
        Err(fatal) => Err(stopped(&fatal).into_status()),
    });
    let last = futures::stream::once(async move { refusal.lock().take() })
        .filter_map(move |error| std::future::ready(error.map(|error| Err(service.refuse(error)))));
    results.chain(last).take_until(closing)
}

#[tonic::async_trait]
impl<S: Store> Raft for RaftService<S> {
    type AppendStreamStream = Pin<Box<dyn Stream<Item = Result<pb::AppendResponse, Status>> + Send>>;

    async fn append_stream(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        // Answered at once: an idle leader opens the stream long before it has something to send.
        let refusal = Refusal::default();
        let requests = requests(self.clone(), request.into_inner(), Arc::clone(&refusal));
        let results = self.node.raft.stream_append(requests);
        Ok(Response::new(Box::pin(answers(self.clone(), results, refusal))))
    }

    async fn append(
        &self,
        request: Request<pb::AppendRequest>,
    ) -> Result<Response<pb::AppendResponse>, Status> {
        let answer = async {
            let request = request.into_inner();
            let from = self.sender(request.peer.as_ref())?;
            let request = convert::append_from_proto(request, from)?;
            let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
            let answer = ask(self.node.raft.append_entries(request)).await?;
            Ok(convert::append_response_to_proto(&answer, last.as_ref()))
        };
        answer.await.map(Response::new).map_err(|error| self.refuse(error))
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        let answer = async {
            let request = request.into_inner();
            let from = self.sender(request.peer.as_ref())?;
            let request = convert::vote_request_from_proto(&request, from)?;
            Ok(convert::vote_response_to_proto(&ask(self.node.raft.vote(request)).await?))
        };
        answer.await.map(Response::new).map_err(|error| self.refuse(error))
    }

    async fn pre_vote(
        &self,
        request: Request<pb::VoteRequest>,
    ) -> Result<Response<pb::VoteResponse>, Status> {
        let answer = async {
            let request = request.into_inner();
            let from = self.sender(request.peer.as_ref())?;
            let request = convert::vote_request_from_proto(&request, from)?;
            Ok(convert::vote_response_to_proto(&ask(self.node.raft.pre_vote(request)).await?))
        };
        answer.await.map(Response::new).map_err(|error| self.refuse(error))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let answer = async {
            let request = request.into_inner();
            let from = self.sender(request.peer.as_ref())?;
            let request = convert::transfer_from_proto(&request, from)?;
            Ok(convert::transfer_response_to_proto(
                &ask(self.node.raft.handle_transfer_leader(request)).await?,
            ))
        };
        answer.await.map(Response::new).map_err(|error| self.refuse(error))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotFrame>>,
    ) -> Result<Response<pb::SnapshotResponse>, Status> {
        let receive = self.receive_snapshot(request.into_inner());
        let answer = tokio::select! {
            biased;
            () = self.node.closing.requested() => Err(Error::Stopped("it was asked to".to_owned())),
            answer = receive => answer,
        };
        answer.map(Response::new).map_err(|error| self.refuse(error))
    }
}
