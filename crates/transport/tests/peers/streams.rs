//! Append streams that meet limits and silence; snapshot streams that are not whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use openraft::RaftNetworkFactory;
use openraft::errors::{ReplicationClosed, StreamingError};
use openraft::network::{RPCOption, RaftNetworkV2};
use openraft::raft::AppendEntriesRequest;
use pi_proto::raft::v1 as pb;
use pi_proto::{reason, status};
use pi_raft::store::StateView;
use pi_raft::types::{EncodedCommand, Entry, EntryPayload, LogId, SnapshotMeta, TypeConfig, Vote};
use pi_raft::{SnapshotSource, Threads};
use pi_transport::Network;
use pi_transport::frames::Encoder;
use tonic::Code;

use crate::support::{Link, Node, State, eventually, identity};
use crate::wire::{is_unharmed, member, option, peer, raft};

fn append(indexes: std::ops::Range<u64>, bytes: usize) -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: indexes.start.checked_sub(1).map(|index| LogId::new(1.into(), index)),
        entries: indexes
            .map(|index| Entry {
                log_id: LogId::new(1.into(), index),
                payload: EntryPayload::Normal(EncodedCommand(vec![7; bytes].into())),
            })
            .collect(),
        leader_commit: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_larger_than_a_message_arrives_in_pieces() {
    let node = Node::alone(2).await;
    let mut client = Network::new(identity(1), Threads::Real).new_client(2, &member(&node.address)).await;
    // 24 MiB, then 1 MiB behind it.
    let requests = futures::stream::iter([append(0..24, 1 << 20), append(24..25, 1 << 20)]);
    let results: Vec<_> = client.stream_append(requests, option()).await.unwrap().collect().await;
    assert!(results.len() > 2, "several pieces: {results:?}");
    let mut acknowledged = None;
    for result in results {
        let matching = result.unwrap().unwrap();
        assert!(matching > acknowledged);
        acknowledged = matching;
    }
    assert_eq!(acknowledged, Some(LogId::new(1.into(), 24)));
    assert_eq!(node.replica.status().unwrap().last_log_index, 24);

    // The unary call sends what fits and says how far that was.
    let answer = client.append_entries(append(25..49, 1 << 20), option()).await.unwrap();
    let openraft::raft::AppendEntriesResponse::PartialSuccess(Some(partial)) = answer else {
        panic!("a partial success: {answer:?}")
    };
    assert!(partial.index > 24 && partial.index < 48);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_sent_without_waiting_for_answers() {
    let node = Node::alone(2).await;
    let link = Link::to(node.address.clone()).await;
    let mut client = Network::new(identity(1), Threads::Real).new_client(2, &member(&link.address)).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let requests = futures::stream::iter(0..100).map(move |index| {
        counter.fetch_add(1, Ordering::Relaxed);
        append(index..index + 1, 10)
    });
    let mut results = client.stream_append(requests, option()).await.unwrap();
    // The stream stands; nothing comes back any more.
    link.set(State::Silent);
    let error = results.next().await.unwrap().unwrap_err();
    assert!(matches!(error, openraft::errors::RPCError::Timeout(_)), "{error}");
    let taken = taken.load(Ordering::Relaxed);
    assert!((16..=17).contains(&taken), "as many as the window holds, and one waiting: {taken}");
    assert!(results.next().await.is_none(), "a stream ends with its error");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_gets_no_answers_ends_and_the_next_works() {
    let node = Node::alone(2).await;
    let link = Link::to(node.address.clone()).await;
    let mut client = Network::new(identity(1), Threads::Real).new_client(2, &member(&link.address)).await;
    for state in [State::Silent, State::Broken] {
        let (sender, requests) = tokio::sync::mpsc::channel(4);
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        sender.send(append(0..1, 10)).await.unwrap();
        let mut results = client.stream_append(requests, option()).await.unwrap();
        results.next().await.unwrap().unwrap().unwrap();
        link.set(state);
        sender.send(append(1..2, 10)).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(2), results.next()).await.expect("no wedge");
        ended.unwrap().unwrap_err();
        drop(results);
        assert!(sender.is_closed(), "the input must be free for the next session at once");
        link.set(State::Open);
        // Connections that were silent may take some deadlines until they are dropped.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let answer = client.append_entries(append(0..1, 10), option()).await;
            if answer.is_ok() {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{state:?}: {answer:?}");
        }
    }
    node.stop().await;
}

/// openraft waits between tries where it hands a request out. A stream that fails before it asked for one is tried
/// again at once, for as long as the peer is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_to_a_peer_that_is_away_takes_a_request_before_it_fails() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut client = Network::new(identity(1), Threads::Real).new_client(2, &member(&nobody)).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let requests = futures::stream::iter(0..9).map(move |index| {
        counter.fetch_add(1, Ordering::Relaxed);
        append(index..index + 1, 10)
    });
    assert!(client.stream_append(requests, option()).await.is_err());
    assert_eq!(taken.load(Ordering::Relaxed), 1);
}

type Frames = Vec<pb::SnapshotFrame>;

/// A snapshot of two pairs that covers index 10, as node 1 would send it; its digest is that of nothing real.
fn snapshot_frames() -> Frames {
    use pb::snapshot_frame::{Begin, Frame};
    let voters = pb::VoterSet { node_ids: vec![1, 2] };
    let node = |id| pb::Node { id, raft_address: format!("127.0.0.1:{id}"), client_address: String::new() };
    let membership = pb::Membership { configs: vec![voters], nodes: vec![node(1), node(2)] };
    let log_id = |index| Some(pb::LogId { term: 1, index });
    let begin = Begin {
        peer: Some(peer(1, 2)),
        vote: Some(pb::Vote { term: 1, node_id: 1, committed: true }),
        meta: Some(pb::SnapshotMeta {
            format: 1,
            cluster: "test".into(),
            region: "here".into(),
            last_applied: log_id(10),
            membership: Some(pb::StoredMembership { log_id: log_id(1), membership: Some(membership) }),
            keys: 2,
            digest: Bytes::from_static(&[1; 16]),
            ..Default::default()
        }),
    };
    let mut encoder = Encoder::new(&begin);
    assert!(encoder.pair(b"a", b"1").unwrap().is_none());
    assert!(encoder.pair(b"b", b"2").unwrap().is_none());
    let (chunk, end) = encoder.end();
    let frames = [Frame::Begin(begin), chunk.unwrap(), end];
    frames.into_iter().map(|frame| pb::SnapshotFrame { frame: Some(frame) }).collect()
}

#[tokio::test]
async fn a_snapshot_stream_that_is_not_whole_changes_nothing() {
    let node = Node::alone(2).await;
    let whole = snapshot_frames();
    let mut refused: Vec<Frames> = (0..whole.len()).map(|keep| whole[..keep].to_vec()).collect();
    // Whole, but the announced digest is not that of the pairs.
    refused.push(whole.clone());
    refused.push(vec![whole[0].clone(), whole[2].clone()]);
    refused.push(vec![whole[0].clone(), whole[1].clone(), whole[1].clone(), whole[2].clone()]);
    refused.push(vec![whole[0].clone(), whole[1].clone(), whole[2].clone(), whole[2].clone()]);
    let mut flipped = whole.clone();
    if let Some(pb::snapshot_frame::Frame::Chunk(chunk)) = &mut flipped[1].frame {
        let mut data = chunk.data.to_vec();
        data[9] ^= 1;
        chunk.data = data.into();
    }
    refused.push(flipped);
    let mut later = whole.clone();
    if let Some(pb::snapshot_frame::Frame::Begin(begin)) = &mut later[0].frame
        && let Some(meta) = &mut begin.meta
    {
        // openraft would stop the node on this.
        meta.last_applied = Some(pb::LogId { term: 9, index: 10 });
    }
    refused.push(later);
    for frames in refused {
        let status = raft(&node.address).install_snapshot(futures::stream::iter(frames)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    is_unharmed(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn one_snapshot_is_received_at_a_time_and_a_given_up_one_makes_room() {
    let node = Node::alone(2).await;
    let whole = snapshot_frames();
    let stuck = futures::stream::iter(whole[..2].to_vec()).chain(futures::stream::pending());
    let mut client = raft(&node.address);
    let first = tokio::spawn(async move { client.install_snapshot(stuck).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let truncated = || futures::stream::iter(snapshot_frames().into_iter().take(2));
    let status = raft(&node.address).install_snapshot(truncated()).await.unwrap_err();
    assert_eq!(status::decode(&status).reason.as_deref(), Some(reason::OVERLOADED), "{status}");
    first.abort();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(12);
    loop {
        let status = raft(&node.address).install_snapshot(truncated()).await.unwrap_err();
        if status.code() == Code::InvalidArgument {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    is_unharmed(&node).await;
    node.stop().await;
}

/// A view of many pairs, which counts how many were read and is slow enough to be caught reading.
struct Endless {
    meta: SnapshotMeta,
    read: Arc<AtomicUsize>,
}

const ENDLESS: usize = 1_000_000;

impl StateView for Endless {
    fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    fn totals(&self) -> std::io::Result<(u64, [u8; 16])> {
        Ok((ENDLESS as u64, [1; 16]))
    }

    fn visit(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        for number in 0..ENDLESS {
            self.read.store(number, Ordering::Relaxed);
            visit(&number.to_be_bytes(), &[0; 4_096])?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_snapshot_stops_the_reader_and_a_silent_peer_does_not_make_it_read_ahead() {
    let node = Node::alone(2).await;
    let link = Link::to(node.address.clone()).await;
    let mut client =
        Network::new(identity(1), Threads::Real).new_snapshot_client(2, &member(&link.address)).await;
    let meta = SnapshotMeta { last_log_id: Some(LogId::new(1.into(), 10)), ..SnapshotMeta::default() };
    let read = Arc::new(AtomicUsize::new(0));
    let view = Arc::new(Endless { meta: meta.clone(), read: Arc::clone(&read) });
    let alive = Arc::downgrade(&view);
    let snapshot = openraft::Snapshot { meta, snapshot: SnapshotSource::Sending(view) };
    let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
    let cancelled = async move {
        let _ = cancelled.await;
        ReplicationClosed::new("the test says so")
    };
    let option = RPCOption::new(Duration::from_secs(60));
    let sending = tokio::spawn(async move {
        client.full_snapshot(Vote::new_committed(1, 1), snapshot, cancelled, option).await
    });
    eventually("the first chunks", || read.load(Ordering::Relaxed) > 1_000).await;
    link.set(State::Silent);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = read.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(read.load(Ordering::Relaxed), before, "backpressure must reach the reader");
    assert!(before < ENDLESS - 1);

    cancel.send(()).unwrap();
    let error =
        tokio::time::timeout(Duration::from_secs(1), sending).await.expect("at once").unwrap().unwrap_err();
    assert!(matches!(error, StreamingError::Closed(_)), "{error}");
    eventually("the view let go of", || alive.upgrade().is_none()).await;
    link.set(State::Broken);
    is_unharmed(&node).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_cannot_be_read_is_a_storage_error_here_and_nothing_there() {
    struct Broken(SnapshotMeta);
    impl StateView for Broken {
        fn meta(&self) -> &SnapshotMeta {
            &self.0
        }

        fn totals(&self) -> std::io::Result<(u64, [u8; 16])> {
            Ok((2, [1; 16]))
        }

        fn visit(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
            visit(b"a", b"1")?;
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let node = Node::alone(2).await;
    let mut client =
        Network::new(identity(1), Threads::Real).new_snapshot_client(2, &member(&node.address)).await;
    let meta = SnapshotMeta { last_log_id: Some(LogId::new(1.into(), 10)), ..SnapshotMeta::default() };
    let snapshot =
        openraft::Snapshot { meta: meta.clone(), snapshot: SnapshotSource::Sending(Arc::new(Broken(meta))) };
    let vote = Vote::new_committed(1, 1);
    let option = RPCOption::new(Duration::from_secs(60));
    let error = client.full_snapshot(vote, snapshot, std::future::pending(), option).await.unwrap_err();
    assert!(matches!(error, StreamingError::StorageError(_)), "{error}");
    is_unharmed(&node).await;
    node.stop().await;
}
