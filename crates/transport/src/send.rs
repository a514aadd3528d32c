//! Sends a snapshot: reads a frozen view on a thread of its own, frame by frame, and streams the frames to one peer.
//!
//! At most a few frames are in memory. The reader stops as soon as the call ends for whatever reason, because the
//! call's future owns the other end of the reader's channel.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::StorageError;
use openraft::errors::{ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::SnapshotResponse;
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::SnapshotOf;
use pi_proto::raft::v1 as pb;
use pi_proto::raft::v1::snapshot_frame::{Begin, Frame};
use pi_raft::codec::{SnapshotManifest, snapshot_to_proto, vote_from_proto, vote_to_proto};
use pi_raft::store::StateView;
use pi_raft::types::{SnapshotMeta, TypeConfig, Vote};
use pi_raft::{SnapshotSource, Threads};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::{bad_answer, timeout};
use crate::frames::Encoder;
use crate::network::{PeerClient, raft_client};
use crate::{Error, Identity};

/// Frames read ahead of the network.
const FRAMES_AHEAD: usize = 2;
/// Longest wait for the peer to take one frame. The whole transfer, its installation included, has openraft's deadline.
const STALL_MAX: Duration = Duration::from_secs(10);

type Outcome = Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>>;

/// Sends `snapshot` to the client's peer; see `RaftNetworkV2::full_snapshot`.
pub(crate) async fn snapshot(
    client: &PeerClient,
    vote: Vote,
    snapshot: SnapshotOf<TypeConfig, SnapshotSource>,
    cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
    option: &RPCOption,
) -> Outcome {
    let SnapshotSource::Sending(view) = snapshot.snapshot else {
        return Err(unreachable_peer("a snapshot that was received is not the one to send"));
    };
    let head = Head { identity: client.identity().clone(), peer: client.peer(), vote, meta: snapshot.meta };
    let limit = option.soft_ttl();
    tokio::select! {
        biased;
        closed = cancel => Err(StreamingError::Closed(closed)),
        outcome = tokio::time::timeout(limit, transfer(client, head, view)) => match outcome {
            Ok(outcome) => outcome,
            Err(_) => Err(timeout(RPCTypes::InstallSnapshot, client.local(), client.target(), limit).into()),
        },
    }
}

fn unreachable_peer(text: &str) -> StreamingError<TypeConfig> {
    StreamingError::Unreachable(Unreachable::from_string(text))
}

async fn transfer(client: &PeerClient, head: Head, view: Arc<dyn StateView>) -> Outcome {
    let lease = client.lease().map_err(Error::into_call_error)?;
    let meta = head.meta.clone();
    let mut reader = Reader::start(client.threads(), head, view);
    let (body, frames) = mpsc::channel(1);
    let mut raft = raft_client(&lease);
    let call = raft.install_snapshot(ReceiverStream::new(frames));
    tokio::pin!(call);

    let answer = {
        let forward = forward(&mut reader.frames, body);
        tokio::pin!(forward);
        tokio::select! {
            biased;
            // Before the end was sent, this is a refusal, or a vote above ours.
            answer = &mut call => Some(answer),
            sent = &mut forward => match sent {
                Sent::All | Sent::BodyClosed => None,
                Sent::Stalled => {
                    client.channels().timed_out(&lease);
                    return Err(timeout(RPCTypes::InstallSnapshot, client.local(), client.target(), STALL_MAX).into());
                }
            },
        }
    };
    let answer = match answer {
        Some(answer) => answer,
        None => {
            // A stream without its end is refused over there; here it means that our own storage failed.
            reader.result().await.map_err(|error| read_error(&meta, &error))?;
            call.await
        }
    };
    match answer {
        Ok(answer) => {
            client.channels().worked(&lease);
            let vote = answer.into_inner().vote;
            let vote = vote.ok_or_else(|| bad_answer(client.target(), "it has no vote"))?;
            Ok(SnapshotResponse::new(vote_from_proto(&vote)))
        }
        Err(status) => Err(client.failed(&lease, &status).into()),
    }
}

fn read_error(meta: &SnapshotMeta, error: &io::Error) -> StreamingError<TypeConfig> {
    StorageError::read_snapshot(Some(meta.signature()), TypeConfig::err_from_error(error)).into()
}

enum Sent {
    /// Everything there was.
    All,
    /// tonic takes no more; the call's answer says why.
    BodyClosed,
    /// The peer took nothing for too long.
    Stalled,
}

/// Moves frames from the reader to the call.
async fn forward(frames: &mut mpsc::Receiver<Frame>, body: mpsc::Sender<pb::SnapshotFrame>) -> Sent {
    while let Some(frame) = frames.recv().await {
        match tokio::time::timeout(STALL_MAX, body.send(pb::SnapshotFrame { frame: Some(frame) })).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Sent::BodyClosed,
            Err(_) => return Sent::Stalled,
        }
    }
    Sent::All
}

/// What the first frame is made of.
struct Head {
    identity: Identity,
    peer: pb::Peer,
    vote: Vote,
    meta: SnapshotMeta,
}

/// Reads a view into frames.
struct Reader {
    frames: mpsc::Receiver<Frame>,
    task: JoinHandle<io::Result<()>>,
}

impl Reader {
    fn start(threads: Threads, head: Head, view: Arc<dyn StateView>) -> Self {
        match threads {
            Threads::Real => {
                let (sender, frames) = mpsc::channel(FRAMES_AHEAD);
                let task = tokio::task::spawn_blocking(move || {
                    // A closed channel ends the reading: the call has ended. That is no failure of this node.
                    let mut closed = false;
                    let result = read(&head, &*view, &mut |frame| {
                        sender.blocking_send(frame).map_err(|_| {
                            closed = true;
                            io::Error::from(io::ErrorKind::BrokenPipe)
                        })
                    });
                    if closed { Ok(()) } else { result }
                });
                Self { frames, task }
            }
            Threads::Inline => {
                // One thread for everything: whoever reads cannot wait for whoever sends, so all is read first.
                let mut all = Vec::new();
                let result = read(&head, &*view, &mut |frame| {
                    all.push(frame);
                    Ok(())
                });
                let (sender, frames) = mpsc::channel(all.len().max(1));
                for frame in all {
                    // It has room for all.
                    let _ = sender.try_send(frame);
                }
                Self { frames, task: tokio::spawn(std::future::ready(result)) }
            }
        }
    }

    async fn result(self) -> io::Result<()> {
        // Should the body have closed early, the reader must not wait for room.
        drop(self.frames);
        match self.task.await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(format!("reading a snapshot did not finish: {error}"))),
        }
    }
}

/// The whole stream of a view, in order. Its end is sent only after everything was read without error.
fn read(head: &Head, view: &dyn StateView, send: &mut dyn FnMut(Frame) -> io::Result<()>) -> io::Result<()> {
    let (keys, digest) = view.totals()?;
    let manifest = SnapshotManifest {
        cluster: head.identity.cluster.as_str().to_owned(),
        region: head.identity.region.as_str().to_owned(),
        meta: head.meta.clone(),
        snapshot_id: String::new(),
        keys,
        digest,
    };
    if view.meta() != &manifest.meta {
        return Err(io::Error::other("a snapshot's view covers something else than its metadata says"));
    }
    let begin = Begin {
        peer: Some(head.peer.clone()),
        vote: Some(vote_to_proto(&head.vote)),
        meta: Some(snapshot_to_proto(&manifest)),
    };
    let mut encoder = Encoder::new(&begin);
    send(Frame::Begin(begin))?;
    view.visit(&mut |key, value| match encoder.pair(key, value).map_err(io::Error::other)? {
        Some(frame) => send(frame),
        None => Ok(()),
    })?;
    let (last, end) = encoder.end();
    if let Some(last) = last {
        send(last)?;
    }
    send(end)
}
