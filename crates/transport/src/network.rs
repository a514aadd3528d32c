//! The way out: openraft's network, one [`PeerClient`] per peer and purpose.
//!
//! Every call has a deadline from openraft's option and fails before openraft would cut it off. No failure is ever
//! turned into an answer: an unreachable peer has not granted a (pre-)vote.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{ReplicationClosed, StreamingError};
use openraft::network::{RPCOption, RPCTypes, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use pi_proto::raft::v1 as pb;
use pi_proto::raft::v1::raft_client::RaftClient;
use pi_raft::types::{Member, NodeId, TypeConfig, Vote};
use pi_raft::{SnapshotSource, Threads};
use pi_types::limits::PEER_MESSAGE_BYTES_MAX;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::append::{self, Pipeline, Range, cut, read_answer};
use crate::channel::{Channels, Lease, Purpose};
use crate::error::{CallError, bad_answer, call_error, timeout};
use crate::{Error, Identity, convert, send};

/// Shortest wait for an answer on an append stream before the stream is given up.
///
/// openraft's own figure is the heartbeat interval, which a follower's disk exceeds now and then; giving up then would
/// send the same entries again to a disk that is already slow. Failure detection does not depend on this: heartbeats
/// have a connection and a deadline of their own.
const STREAM_STALL_MIN: Duration = Duration::from_millis(500);

/// openraft's network of one node.
#[derive(Clone, Debug)]
pub struct Network {
    identity: Arc<Identity>,
    channels: Arc<Channels>,
    threads: Threads,
}

impl Network {
    /// The network of the node that `identity` names. Connects to nobody yet.
    #[must_use]
    pub fn new(identity: Identity, threads: Threads) -> Self {
        Self { identity: Arc::new(identity), channels: Arc::default(), threads }
    }

    fn client(&self, target: NodeId, member: &Member, purpose: Purpose) -> PeerClient {
        PeerClient {
            identity: Arc::clone(&self.identity),
            channels: Arc::clone(&self.channels),
            threads: self.threads,
            target,
            address: member.raft_address.clone(),
            purpose,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: NodeId, member: &Member) -> PeerClient {
        self.client(target, member, Purpose::Append)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, member: &Member) -> PeerClient {
        self.client(target, member, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, member: &Member) -> PeerClient {
        self.client(target, member, Purpose::Snapshot)
    }
}

/// Calls to one peer for one purpose.
#[derive(Debug)]
pub struct PeerClient {
    identity: Arc<Identity>,
    channels: Arc<Channels>,
    threads: Threads,
    target: NodeId,
    address: String,
    purpose: Purpose,
}

impl PeerClient {
    pub(crate) fn channels(&self) -> &Channels {
        &self.channels
    }

    pub(crate) fn local(&self) -> NodeId {
        self.identity.node_id
    }

    pub(crate) fn target(&self) -> NodeId {
        self.target
    }

    pub(crate) fn threads(&self) -> Threads {
        self.threads
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn peer(&self) -> pb::Peer {
        self.identity.to(self.target)
    }

    pub(crate) fn lease(&self) -> Result<Lease, Error> {
        if self.target == self.identity.node_id {
            return Err(Error::WrongPeer(format!("node {} does not call itself", self.target)));
        }
        self.channels.lease(self.target, self.purpose, &self.address)
    }

    /// What a failed call means, for openraft; drops the connection if it is to blame.
    pub(crate) fn failed(&self, lease: &Lease, status: &Status) -> CallError {
        // A refusal of ours came through a sound connection; anything else came from the transport itself.
        if pi_proto::status::decode(status).reason.is_some() {
            self.channels.worked(lease);
        } else {
            self.channels.failed(lease);
        }
        call_error(self.target, status)
    }

    /// One unary call within `limit`.
    async fn call<T, F>(
        &self,
        action: RPCTypes,
        limit: Duration,
        call: impl FnOnce(RaftClient<Channel>) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let lease = self.lease().map_err(Error::into_call_error)?;
        match tokio::time::timeout(limit, call(raft_client(&lease))).await {
            Ok(Ok(answer)) => {
                self.channels.worked(&lease);
                Ok(answer.into_inner())
            }
            Ok(Err(status)) => Err(self.failed(&lease, &status)),
            Err(_) => {
                self.channels.timed_out(&lease);
                Err(timeout(action, self.local(), self.target, limit))
            }
        }
    }

    async fn ask_for_vote(
        &self,
        request: VoteRequest<TypeConfig>,
        option: &RPCOption,
        kind: VoteKind,
    ) -> Result<VoteResponse<TypeConfig>, CallError> {
        let limit = option.soft_ttl();
        let request = within(option, convert::vote_request_to_proto(&request, self.peer()));
        let call = |mut client: RaftClient<Channel>| async move {
            match kind {
                VoteKind::Vote => client.vote(request).await,
                VoteKind::PreVote => client.pre_vote(request).await,
            }
        };
        let answer = self.call(RPCTypes::Vote, limit, call).await?;
        convert::vote_response_from_proto(&answer).ok_or_else(|| bad_answer(self.target, "it has no vote"))
    }

    /// Opens a pipelined stream. Its requests go through a channel as wide as the window, so that tonic holds nothing
    /// of openraft's.
    ///
    /// The first request is taken before anything that can fail: openraft waits between tries where it hands requests
    /// out, and nowhere else. Without this, a peer that refuses connections is tried thousands of times a second.
    async fn open_stream<'s, S>(
        &'s self,
        mut input: S,
        option: RPCOption,
    ) -> Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, CallError>>, CallError>
    where
        S: futures::Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let stall = option.soft_ttl().max(STREAM_STALL_MIN);
        let Some(first) = input.next().await else { return Ok(Box::pin(futures::stream::empty())) };
        let input = futures::stream::iter([first]).chain(input);
        let lease = self.lease().map_err(Error::into_call_error)?;
        let (outgoing, requests) = mpsc::channel(append::IN_FLIGHT_MAX);
        let mut client = raft_client(&lease);
        let opened = tokio::time::timeout(stall, client.append_stream(ReceiverStream::new(requests))).await;
        match opened {
            Ok(Ok(answers)) => {
                let pipeline = Pipeline::new(self, lease, input, outgoing, answers.into_inner(), stall);
                Ok(Box::pin(pipeline.into_stream()))
            }
            Ok(Err(status)) => Err(self.failed(&lease, &status)),
            Err(_) => {
                self.channels.timed_out(&lease);
                Err(timeout(RPCTypes::AppendEntries, self.local(), self.target, stall))
            }
        }
    }
}

#[derive(Clone, Copy)]
enum VoteKind {
    Vote,
    PreVote,
}

/// A client with our limits on a connection.
pub(crate) fn raft_client(lease: &Lease) -> RaftClient<Channel> {
    RaftClient::new(lease.channel.clone())
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX)
}

/// A request that tells the peer its deadline, so that it stops working when nobody waits any more.
///
/// The deadline told is openraft's own, a little behind ours: tonic enforces it on this side too, with an error that
/// looks like a broken connection.
fn within<T>(option: &RPCOption, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(option.hard_ttl());
    request
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotSource;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, CallError> {
        let limit = option.soft_ttl();
        let whole =
            Range { prev: rpc.prev_log_id, last: rpc.entries.last().map(|e| e.log_id).or(rpc.prev_log_id) };
        // What does not fit is not sent: openraft sends the rest after the partial success.
        let piece = cut(&rpc).map_err(Error::into_call_error)?.pop_front();
        let mut piece = piece.ok_or_else(|| bad_answer(self.target, "nothing to send"))?;
        piece.request.peer = Some(self.peer());
        let request = within(&option, piece.request);
        let call = |mut client: RaftClient<Channel>| async move { client.append(request).await };
        let answer = self.call(RPCTypes::AppendEntries, limit, call).await?;
        let (result, _) = read_answer(answer, piece.range).map_err(|what| bad_answer(self.target, what))?;
        Ok(match result {
            Ok(matching) if matching == whole.last => AppendEntriesResponse::Success,
            Ok(matching) => AppendEntriesResponse::PartialSuccess(matching),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, CallError>>, CallError>>
    where
        S: futures::Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        match self.purpose {
            Purpose::Append => Box::pin(self.open_stream(input, option)),
            // A heartbeat is one request; a stream around it would cost a second round trip.
            Purpose::Heartbeat | Purpose::Snapshot => stream_append_sequential(self, input, option),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, CallError> {
        self.ask_for_vote(rpc, &option, VoteKind::Vote).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, CallError> {
        self.ask_for_vote(rpc, &option, VoteKind::PreVote).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotSource>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        send::snapshot(self, vote, snapshot, cancel, &option).await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, CallError> {
        let limit = option.soft_ttl();
        let request = within(&option, convert::transfer_to_proto(&request, self.peer()));
        let call = |mut client: RaftClient<Channel>| async move { client.transfer_leader(request).await };
        let answer = self.call(RPCTypes::TransferLeader, limit, call).await?;
        convert::transfer_response_from_proto(&answer)
            .ok_or_else(|| bad_answer(self.target, "a refusal without its votes"))
    }
}
