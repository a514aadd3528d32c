//! What a node does with requests it should not get, and what a client makes of a peer it cannot reach.

use std::time::Duration;

use crate::support::{Link, Node, State, identity};
use bytes::{Buf, BufMut, Bytes};
use openraft::RaftNetworkFactory;
use openraft::network::{RPCOption, RaftNetworkV2};
use openraft::raft::VoteRequest;
use pi_proto::raft::v1 as pb;
use pi_proto::raft::v1::raft_client::RaftClient;
use pi_proto::{reason, status};
use pi_raft::Threads;
use pi_raft::types::{Entry, EntryPayload, LogId, Member, NodeId, Vote};
use pi_transport::Network;
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder as TonicEncoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

pub fn option() -> RPCOption {
    RPCOption::new(Duration::from_millis(400))
}

fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

pub fn raft(address: &str) -> RaftClient<Channel> {
    RaftClient::new(channel(address))
}

pub fn member(address: &str) -> Member {
    Member { raft_address: address.to_owned(), client_address: String::new() }
}

pub fn peer(from: NodeId, to: NodeId) -> pb::Peer {
    pb::Peer { cluster: "test".into(), region: "here".into(), from, to }
}

fn vote(from: NodeId) -> pb::Vote {
    pb::Vote { term: 1, node_id: from, committed: false }
}

fn vote_request(peer: pb::Peer) -> pb::VoteRequest {
    pb::VoteRequest {
        vote: Some(vote(peer.from)),
        peer: Some(peer),
        last_log_id: None,
        leader_transfer: false,
    }
}

/// The node is alive, has taken nothing and still answers a right request.
pub async fn is_unharmed(node: &Node) {
    assert_eq!(node.fatal.tripped(), None);
    assert_eq!(node.replica.status().unwrap().last_log_index, 0);
    assert_eq!(node.replica.status().unwrap().applied_index, 0);
    let answer = raft(&node.address).pre_vote(vote_request(peer(1, 2))).await.unwrap().into_inner();
    assert!(answer.vote.is_some());
}

#[tokio::test]
async fn a_request_for_another_node_is_refused_with_its_reason() {
    let node = Node::alone(2).await;
    let wrong = [
        ("cluster", pb::Peer { cluster: "other".into(), ..peer(1, 2) }),
        ("region", pb::Peer { region: "elsewhere".into(), ..peer(1, 2) }),
        ("this is node 2", peer(1, 3)),
        ("wired to itself", peer(2, 3)),
        ("wired to itself", peer(2, 2)),
    ];
    for (why, peer) in wrong {
        let refused = |status: Status| {
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert_eq!(status::decode(&status).reason.as_deref(), Some(reason::WRONG_PEER));
            assert!(status.message().contains(why), "{}", status.message());
        };
        let mut raft = raft(&node.address);
        refused(raft.vote(vote_request(peer.clone())).await.unwrap_err());
        refused(raft.pre_vote(vote_request(peer.clone())).await.unwrap_err());
        let append = pb::AppendRequest { peer: Some(peer.clone()), ..pb::AppendRequest::default() };
        refused(raft.append(append.clone()).await.unwrap_err());
        let mut answers = raft.append_stream(futures::stream::iter([append])).await.unwrap().into_inner();
        refused(answers.message().await.unwrap_err());
        let transfer = pb::TransferLeaderRequest { peer: Some(peer.clone()), ..Default::default() };
        refused(raft.transfer_leader(transfer).await.unwrap_err());
        let begin = pb::snapshot_frame::Begin { peer: Some(peer), ..Default::default() };
        let frame = pb::SnapshotFrame { frame: Some(pb::snapshot_frame::Frame::Begin(begin)) };
        refused(raft.install_snapshot(futures::stream::iter([frame])).await.unwrap_err());
    }
    is_unharmed(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn a_node_wired_to_itself_gets_an_error_not_a_vote() {
    let node = Node::alone(1).await;
    // Node 2's address leads to node 1.
    let mut client = Network::new(identity(1), Threads::Real).new_client(2, &member(&node.address)).await;
    let request = VoteRequest::new(Vote::new(1, 1), None);
    let error = client.vote(request, option()).await.unwrap_err().to_string();
    assert!(error.contains("wired to itself") && error.contains("raft_address of node 2"), "{error}");
    node.stop().await;
}

#[tokio::test]
async fn an_unreachable_peer_grants_nothing() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut client = Network::new(identity(1), Threads::Real).new_client(2, &member(&nobody)).await;
    let request = || VoteRequest::new(Vote::new(1, 1), None);
    assert!(matches!(
        client.pre_vote(request(), option()).await.unwrap_err(),
        openraft::errors::RPCError::Unreachable(_)
    ));
    client.vote(request(), option()).await.unwrap_err();

    let node = Node::alone(2).await;
    let link = Link::to(node.address.clone()).await;
    link.set(State::Silent);
    let mut client = Network::new(identity(1), Threads::Real).new_client(2, &member(&link.address)).await;
    let started = tokio::time::Instant::now();
    assert!(matches!(
        client.pre_vote(request(), option()).await.unwrap_err(),
        openraft::errors::RPCError::Timeout(_)
    ));
    assert!(started.elapsed() < option().hard_ttl(), "it must fail before openraft cuts it off");
    node.stop().await;
}

/// Bytes as they are, for sending what no message encodes to.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl TonicEncoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Sends one message to a method and returns how the call ended.
async fn raw(channel: &Channel, method: &str, message: Bytes) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::try_from(format!("/pi.raft.v1.Raft/{method}")).unwrap();
    let request = Request::new(futures::stream::iter([message]));
    let call = async {
        let mut answers = grpc.streaming(request, path, Raw).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(15), call).await.expect("a malformed request must be answered")
}

const METHODS: [&str; 6] = ["Append", "AppendStream", "Vote", "PreVote", "TransferLeader", "InstallSnapshot"];

#[tokio::test]
async fn malformed_bytes_are_answered_with_an_error_at_every_method() {
    let node = Node::alone(2).await;
    let channel = channel(&node.address);
    // A fixed pseudo-random sequence: a failure is the same tomorrow.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for method in METHODS {
        for round in 0..200 {
            let length = (next() % 60) as usize;
            let mut message: Vec<u8> = (0..length).map(|_| next() as u8).collect();
            if round % 2 == 0 {
                // A right peer first, so that what follows is looked at.
                let mut with_peer =
                    pb::VoteRequest { peer: Some(peer(1, 2)), ..Default::default() }.encode_to_vec();
                with_peer.append(&mut message);
                message = with_peer;
            }
            let ended = raw(&channel, method, message.into()).await;
            let status = ended.expect_err("nothing random is a right request");
            assert_ne!(status.code(), Code::Unavailable, "{method}: the connection must live: {status}");
        }
    }
    is_unharmed(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn well_formed_nonsense_is_refused_before_openraft_sees_it() {
    let node = Node::alone(2).await;
    let leader = pb::Vote { term: 5, node_id: 1, committed: true };
    let log_id = |term, index| Some(pb::LogId { term, index });
    let entry = |term, index| {
        let entry = Entry { log_id: LogId::new(u64::into(term), index), payload: EntryPayload::Blank };
        pi_raft::codec::encode_entry(&entry)
    };
    let good = pb::AppendRequest {
        peer: Some(peer(1, 2)),
        vote: Some(leader),
        prev_log_id: None,
        entries: vec![entry(5, 0)],
        leader_commit: None,
    };
    let bad = [
        pb::AppendRequest { vote: None, ..good.clone() },
        pb::AppendRequest { vote: Some(pb::Vote { committed: false, ..leader }), ..good.clone() },
        pb::AppendRequest { vote: Some(pb::Vote { node_id: 3, ..leader }), ..good.clone() },
        pb::AppendRequest { entries: vec![entry(5, 1)], ..good.clone() },
        pb::AppendRequest { entries: vec![entry(5, 0), entry(5, 2)], ..good.clone() },
        pb::AppendRequest { entries: vec![entry(5, 0), entry(4, 1)], ..good.clone() },
        pb::AppendRequest { entries: vec![entry(6, 0)], ..good.clone() },
        pb::AppendRequest { prev_log_id: log_id(5, u64::MAX), entries: vec![entry(5, 0)], ..good.clone() },
        pb::AppendRequest { entries: vec![Bytes::from_static(b"\xff\xff")], ..good.clone() },
        pb::AppendRequest { entries: vec![Bytes::new()], ..good.clone() },
    ];
    let mut raft = raft(&node.address);
    for request in bad {
        let status = raft.append(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{request:?}: {status}");
        let mut answers = raft.append_stream(futures::stream::iter([request])).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap_err().code(), Code::InvalidArgument);
    }
    let request = pb::VoteRequest { vote: Some(leader), ..vote_request(peer(1, 2)) };
    assert_eq!(raft.vote(request).await.unwrap_err().code(), Code::InvalidArgument);
    let request = pb::VoteRequest { last_log_id: log_id(9, 9), ..vote_request(peer(1, 2)) };
    assert_eq!(raft.vote(request).await.unwrap_err().code(), Code::InvalidArgument);
    is_unharmed(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_and_the_node_lives() {
    let node = Node::alone(2).await;
    let huge = pb::AppendRequest {
        peer: Some(peer(1, 2)),
        entries: vec![vec![0; pi_types::limits::PEER_MESSAGE_BYTES_MAX + 1].into()],
        ..Default::default()
    };
    let status = raft(&node.address).append(huge).await.unwrap_err();
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status}");
    is_unharmed(&node).await;
    node.stop().await;
}
