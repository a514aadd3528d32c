//! One node: a few HTTP/2 connections to it, and sending one request over one of them.
//!
//! Responsible for connections (made when needed, tested by pings, replaced when gone) and for saying precisely how far
//! a failed request got. Which node is asked, and whether again, is `forward.rs`'s business.
//!
//! This speaks h2 itself instead of going through a tonic channel: a channel costs a hop to its worker task, a spawned
//! task and several allocations per request, and reports a broken connection as any of four codes. Here a request is
//! written by the task that serves the client, and *not sent* and *sent but unanswered* are different types.
//!
//! **Invariant:** [`Failure::NotSent`] means that the node cannot have seen the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::body::NodeFrames;

/// Receive windows for a node's answers: enough that a full page of a list never waits for a window update.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// A node's headers are few; more is an error of the node.
const ANSWER_HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Requests given up by clients whose answers may still arrive; what is remembered of them costs little, and what is
/// not looks like a fault of the node.
const CANCELLED_MAX: usize = 1_024;
/// After a failed attempt to connect, how long others take its failure as theirs instead of trying too.
const FAILURE_SHARED: Duration = Duration::from_millis(50);

/// How far a request got that has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The node cannot have seen it.
    NotSent(String),
    /// The node may have seen and done it.
    Broken(String),
}

/// What a connection needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkOptions {
    pub(crate) connections: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Duration,
}

/// A node's client listener.
pub(crate) struct Node {
    /// 0 for a seed whose id is not known yet; node ids start at 1.
    pub(crate) id: u64,
    pub(crate) address: String,
    authority: Authority,
    links: Box<[Arc<Link>]>,
    next: AtomicUsize,
}

impl Node {
    /// `None` when the address is not `host:port`.
    pub(crate) fn new(id: u64, address: &str, options: LinkOptions) -> Option<Self> {
        let links = (0..options.connections).map(|_| Arc::new(Link::new(address.to_owned(), options)));
        Some(Self {
            id,
            address: address.to_owned(),
            authority: address.parse().ok()?,
            links: links.collect(),
            next: AtomicUsize::new(0),
        })
    }

    /// Sends one request and waits for the head of its answer. `body` is a complete gRPC body.
    ///
    /// This is the seam for batching: a backend that gathers what waits for one node into one internal RPC takes the
    /// place of this function and nothing else changes.
    pub(crate) async fn forward_unary(
        &self,
        path: &PathAndQuery,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<NodeFrames>, Failure> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let sender = self.links[turn % self.links.len()].sender().await.map_err(Failure::NotSent)?;
        // Waits while the node's limit of concurrent streams is reached.
        let mut sender = sender.ready().await.map_err(|error| Failure::NotSent(error.to_string()))?;
        let request = self.head(path, headers)?;
        let (answer, mut stream) =
            sender.send_request(request, false).map_err(|error| Failure::NotSent(error.to_string()))?;
        let broken = |error: h2::Error| match error.reason() {
            // The one reset that promises that nothing was processed (RFC 9113, section 8.7).
            Some(h2::Reason::REFUSED_STREAM) => Failure::NotSent(error.to_string()),
            _ => Failure::Broken(error.to_string()),
        };
        // A request is at most 256 KiB, so it is simply handed over; h2 sends it as the window allows.
        stream.send_data(body, true).map_err(broken)?;
        Ok(answer.await.map_err(broken)?.map(NodeFrames::new))
    }

    fn head(&self, path: &PathAndQuery, headers: HeaderMap) -> Result<Request<()>, Failure> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path.clone());
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| Failure::NotSent(error.to_string()))?;
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// One connection, made when first needed.
struct Link {
    address: String,
    options: LinkOptions,
    current: Mutex<Current>,
    /// Held while connecting, so that one request connects and the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    sender: Option<SendRequest<Bytes>>,
    /// Tells the ends of earlier connections from that of the current one.
    generation: u64,
    failed: Option<(Instant, String)>,
}

impl Link {
    fn new(address: String, options: LinkOptions) -> Self {
        Self { address, options, current: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    async fn sender(self: &Arc<Self>) -> Result<SendRequest<Bytes>, String> {
        if let Some(sender) = self.open() {
            return Ok(sender);
        }
        let _connecting = self.connecting.lock().await;
        // Another request may have connected, or failed to, while this one waited.
        if let Some(sender) = self.open() {
            return Ok(sender);
        }
        if let Some((when, cause)) = &self.current.lock().failed
            && when.elapsed() < FAILURE_SHARED
        {
            return Err(cause.clone());
        }
        let connected = match tokio::time::timeout(self.options.connect_timeout, self.connect()).await {
            Ok(result) => result.map_err(|error| format!("{}: {error}", self.address)),
            Err(_) => {
                Err(format!("{}: no connection within {:?}", self.address, self.options.connect_timeout))
            }
        };
        if let Err(cause) = &connected {
            self.current.lock().failed = Some((Instant::now(), cause.clone()));
        }
        connected
    }

    fn open(&self) -> Option<SendRequest<Bytes>> {
        self.current.lock().sender.clone()
    }

    async fn connect(self: &Arc<Self>) -> anyhow::Result<SendRequest<Bytes>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(ANSWER_HEADER_BYTES_MAX)
            .enable_push(false)
            .max_concurrent_reset_streams(CANCELLED_MAX)
            .handshake::<_, Bytes>(stream)
            .await?;
        let pings = connection.ping_pong();
        let generation = {
            let mut current = self.current.lock();
            current.generation += 1;
            current.sender = Some(sender.clone());
            current.failed = None;
            current.generation
        };
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let cause = tokio::select! {
                result = connection => result.err().map_or_else(|| "closed".to_owned(), |error| error.to_string()),
                () = until_silent(pings, link.options.keepalive) => "no answer to a ping".to_owned(),
            };
            // Dropping the connection ends every request on it with an error.
            tracing::debug!(node = link.address, cause, "connection ended");
            let mut current = link.current.lock();
            if current.generation == generation {
                current.sender = None;
            }
        });
        Ok(sender)
    }
}

/// Resolves when a ping remains unanswered.
async fn until_silent(pings: Option<h2::PingPong>, keepalive: Duration) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        tokio::time::sleep(keepalive).await;
        match tokio::time::timeout(keepalive, pings.ping(h2::Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection itself reports that it ended.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}
