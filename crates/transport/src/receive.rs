//! Receives a snapshot: checks frames and puts their pairs into the store's receiver, never more than a frame in memory.
//!
//! Nothing here changes the node's state. A complete, checked snapshot lies on the side afterwards; openraft decides
//! whether it is installed.

use std::sync::Arc;
use std::time::Duration;

use pi_proto::raft::v1 as pb;
use pi_proto::raft::v1::snapshot_frame::{Begin, Frame};
use pi_raft::Threads;
use pi_raft::codec::{SnapshotManifest, snapshot_from_proto};
use pi_raft::store::{ReceivedSnapshot, StateReceiver, Store, TotalsDiffer};
use pi_raft::types::Vote;
use tonic::Streaming;

use crate::frames::{self, Decoder, Progress};
use crate::{Error, Identity, convert};

/// Longest silence of a sender between two frames.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The next frame; `None` at the end of the stream.
pub(crate) async fn next_frame(stream: &mut Streaming<pb::SnapshotFrame>) -> Result<Option<Frame>, Error> {
    let message = tokio::time::timeout(SILENCE_MAX, stream.message()).await;
    let message = message.map_err(|_| Error::Silent(SILENCE_MAX))?;
    let message = message.map_err(|status| Error::of_stream("snapshot stream", &status))?;
    match message {
        None => Ok(None),
        Some(pb::SnapshotFrame { frame: Some(frame) }) => Ok(Some(frame)),
        Some(pb::SnapshotFrame { frame: None }) => {
            Err(Error::Malformed { what: "snapshot stream", reason: "a frame is empty".to_owned() })
        }
    }
}

/// What the first frame announces, checked as far as it can be before the rest.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) begin: Begin,
    pub(crate) vote: Vote,
    pub(crate) manifest: SnapshotManifest,
}

/// Checks the first frame.
pub(crate) fn announced(identity: &Identity, frame: Option<Frame>) -> Result<Announced, Error> {
    const WHAT: &str = "snapshot manifest";
    let begin = match frame {
        Some(Frame::Begin(begin)) => begin,
        Some(other) => {
            let order = frames::Error::Order { expected: "the beginning", found: frames::name(&other) };
            return Err(order.into());
        }
        None => return Err(frames::Error::Truncated { chunks: 0 }.into()),
    };
    let from = identity.check(begin.peer.as_ref())?;
    let vote = convert::leader_vote("snapshot", begin.vote.as_ref(), from)?;
    let malformed = |reason: &str| Error::Malformed { what: WHAT, reason: reason.to_owned() };
    let meta = begin.meta.as_ref().ok_or_else(|| malformed("it is absent"))?;
    let manifest = snapshot_from_proto(meta)?;
    if manifest.cluster != identity.cluster.as_str() || manifest.region != identity.region.as_str() {
        return Err(Error::WrongPeer("the snapshot was taken in another cluster or region".to_owned()));
    }
    // openraft asserts this; a peer's mistake must not stop this node.
    let last = manifest.meta.last_log_id.ok_or_else(|| malformed("it covers no log entry"))?;
    if *last.leader_id > vote.leader_id.term {
        return Err(malformed("it covers entries of a later term than its leader's"));
    }
    Ok(Announced { begin, vote, manifest })
}

/// A snapshot being received. Dropping it removes what arrived.
pub(crate) struct Receiving {
    threads: Threads,
    /// `None` only while a frame is being taken, and after a failure.
    parts: Option<Parts>,
    manifest: SnapshotManifest,
}

struct Parts {
    decoder: Decoder,
    receiver: Box<dyn StateReceiver>,
}

impl Receiving {
    pub(crate) async fn start<S: Store>(
        store: Arc<S>,
        threads: Threads,
        announced: &Announced,
    ) -> Result<Self, Error> {
        let receiver = blocking(threads, move || {
            store
                .receive()
                .map_err(|source| Error::Storage { doing: "preparing to receive a snapshot", source })
        })
        .await?;
        let parts = Parts { decoder: Decoder::new(&announced.begin), receiver };
        Ok(Self { threads, parts: Some(parts), manifest: announced.manifest.clone() })
    }

    /// Takes one frame.
    pub(crate) async fn frame(&mut self, frame: Frame) -> Result<Progress, Error> {
        let mut parts = self.take()?;
        let (parts, progress) = blocking(self.threads, move || {
            let Parts { decoder, receiver } = &mut parts;
            match decoder.frame(frame, &mut |key, value| receiver.put(key, value)) {
                Ok(progress) => Ok((parts, progress)),
                Err(frames::Error::Put(source)) => {
                    Err(Error::Storage { doing: "receiving a snapshot", source })
                }
                Err(refused) => Err(refused.into()),
            }
        })
        .await?;
        self.parts = Some(parts);
        Ok(progress)
    }

    /// Ends the stream and makes what arrived durable on the side.
    pub(crate) async fn finish(mut self) -> Result<ReceivedSnapshot, Error> {
        let Parts { decoder, receiver } = self.take()?;
        decoder.finish()?;
        let SnapshotManifest { meta, keys, digest, .. } = self.manifest;
        blocking(self.threads, move || {
            receiver.finish(meta, keys, digest).map_err(|source| match TotalsDiffer::of(&source) {
                // The sender's mistake, which must not stop this node.
                Some(differ) => Error::Malformed { what: "snapshot", reason: differ.to_string() },
                None => Error::Storage { doing: "completing a received snapshot", source },
            })
        })
        .await
    }

    fn take(&mut self) -> Result<Parts, Error> {
        self.parts
            .take()
            .ok_or(Error::Frames(frames::Error::Order { expected: "nothing more", found: "a frame" }))
    }
}

/// Runs `work` where it may block.
async fn blocking<T, F>(threads: Threads, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    match threads {
        Threads::Inline => work(),
        Threads::Real => tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            let source = std::io::Error::other(format!("blocking work did not finish: {error}"));
            Err(Error::Storage { doing: "receiving a snapshot", source })
        }),
    }
}
