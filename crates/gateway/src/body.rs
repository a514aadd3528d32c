//! What a client receives: frames of a node passed on untouched, or the gateway's own.
//!
//! Responsible for ending every stream with gRPC trailers, also when the node's connection broke or the gateway stops,
//! so that a client never has to guess. Flow control goes end to end: a node's data is taken only as the client takes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use pi_runtime::shutdown::Shutdown;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use crate::forward::take_markers;
use crate::refusal;

/// The boxed wait for shutdown, made only once a stream idles.
type Stopping = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A response body.
pub(crate) struct Body {
    /// Frames that are already here; they come first, in this order.
    ready: [Option<Frame<Bytes>>; 2],
    rest: Rest,
}

enum Rest {
    Nothing,
    Node(Box<NodeStream>),
    /// Health and reflection.
    Local(tonic::body::Body),
}

/// The remainder of a node's answer.
struct NodeStream {
    frames: NodeFrames,
    shutdown: Shutdown,
    stopping: Option<Stopping>,
    /// Held while the stream lasts.
    _permit: OwnedSemaphorePermit,
}

impl Body {
    /// A complete answer: at most data and trailers.
    pub(crate) fn complete(data: Option<Frame<Bytes>>, trailers: Option<Frame<Bytes>>) -> Self {
        Self { ready: [data, trailers], rest: Rest::Nothing }
    }

    pub(crate) fn local(body: tonic::body::Body) -> Self {
        Self { ready: [None, None], rest: Rest::Local(body) }
    }

    /// A node's answer: what was received of it, then the rest.
    pub(crate) fn stream(
        received: [Option<Frame<Bytes>>; 2],
        frames: NodeFrames,
        shutdown: Shutdown,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let stream = NodeStream { frames, shutdown, stopping: None, _permit: permit };
        Self { ready: received, rest: Rest::Node(Box::new(stream)) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Some(frame) = this.ready.iter_mut().find_map(Option::take) {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut this.rest {
            Rest::Nothing => Poll::Ready(None),
            Rest::Local(body) => Pin::new(body).poll_frame(cx),
            Rest::Node(stream) => {
                let mut frame = ready!(stream.poll_frame(cx));
                if let Some(trailers) = frame.trailers_mut() {
                    // What is for gateways goes no further; before the first message, `forward.rs` acted on it.
                    let _ = take_markers(trailers);
                    this.rest = Rest::Nothing;
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.iter().all(Option::is_none)
            && match &self.rest {
                Rest::Nothing => true,
                Rest::Local(body) => body.is_end_stream(),
                Rest::Node(_) => false,
            }
    }
}

impl NodeStream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        if let Poll::Ready(frame) = self.frames.poll(cx) {
            return Poll::Ready(frame.unwrap_or_else(|broken| Frame::trailers(broken.trailers())));
        }
        let shutdown = &self.shutdown;
        let stopping = self.stopping.get_or_insert_with(|| Box::pin(shutdown.requested()));
        ready!(stopping.as_mut().poll(cx));
        Poll::Ready(Frame::trailers(refusal::trailers(&refusal::stream_ended_by_shutdown())))
    }
}

/// The frames of one answer as the node sends them.
pub(crate) struct NodeFrames {
    stream: h2::RecvStream,
    data_ended: bool,
}

/// A node's answer ended without trailers.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl Broken {
    fn trailers(&self) -> HeaderMap {
        refusal::trailers(&refusal::stream_broken(&self.0))
    }
}

impl NodeFrames {
    pub(crate) fn new(stream: h2::RecvStream) -> Self {
        Self { stream, data_ended: false }
    }

    /// The next data or the trailers, which are last.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame<Bytes>, Broken>> {
        while !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only for a stream that has ended, and then the window does not matter any more.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    if !data.is_empty() {
                        return Poll::Ready(Ok(Frame::data(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(Broken(error.to_string()))),
                None => self.data_ended = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Ok(Frame::trailers(trailers))),
            Ok(None) => Poll::Ready(Err(Broken("the answer ended without a status".to_owned()))),
            Err(error) => Poll::Ready(Err(Broken(error.to_string()))),
        }
    }

    /// The next frame, awaited.
    pub(crate) async fn next(&mut self) -> Result<Frame<Bytes>, Broken> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}
