//! One request on its way to its region: whom to ask, what an answer means, and when to ask again.
//!
//! Responsible for retries within the deadline. Repeating is safe because every request carries a request id by which
//! the region recognises a mutation it has already decided; a stream is repeated only before its first message.
//!
//! **Invariant:** an answer that says *nothing changed* is given only if no attempt was [`Failure::Broken`].
//! **Invariant:** a client never sees `pi-not-proposed` or `pi-leader`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use pi_proto::metadata::{LEADER, NOT_PROPOSED, NOT_PROPOSED_YES};
use pi_runtime::backoff::Backoff;
use pi_runtime::shutdown::Shutdown;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::time::{Instant, timeout_at};
use tonic::Code;

use crate::body::{Body, NodeFrames};
use crate::frame;
use crate::node::{Failure, Node};
use crate::refusal;
use crate::region::Region;
use crate::service::GRPC_TIMEOUT;

/// While an attempt has no answer, how often to look whether another node has become leader.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What is to be forwarded.
pub(crate) struct Call {
    pub(crate) path: PathAndQuery,
    /// For the node, without `grpc-timeout`.
    pub(crate) headers: HeaderMap,
    /// A complete gRPC body.
    pub(crate) body: Bytes,
    pub(crate) deadline: Instant,
    /// Whether the client set the deadline; then the node learns of it.
    pub(crate) timeout: Timeout,
}

/// Who set the deadline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timeout {
    Client,
    Default,
}

/// Settings of all requests.
#[derive(Clone)]
pub(crate) struct Policy {
    /// How long to look for somebody who can decide.
    pub(crate) patience: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) shutdown: Shutdown,
}

/// How an attempt ended.
enum Attempt {
    /// To be passed on.
    Answer(Response<Body>),
    /// The node cannot decide, and says so; its answer, in case there is no better one.
    NotProposed(Option<u64>, Response<Body>),
    NotSent(String),
    Broken(String),
    /// The deadline passed.
    Late,
}

/// What is known after the attempts so far.
#[derive(Default)]
struct Attempts {
    /// Addresses that failed since the last pause.
    avoid: Vec<String>,
    /// The last attempt that may have been done without our learning of it.
    broken: Option<String>,
    not_proposed: Option<Response<Body>>,
    cause: String,
}

/// Forwards a request until there is an answer, nobody who could decide, or no time.
pub(crate) async fn forward(region: &Arc<Region>, call: &Call, policy: &Policy) -> Response<Body> {
    let mut attempts = Attempts::default();
    let give_up_at = call.deadline.min(Instant::now() + policy.patience);
    // Made only when something went wrong.
    let mut delays = None;
    loop {
        if !region.reachable() {
            attempts.cause = "none of its nodes answers".to_owned();
            return attempts.give_up(region, call, Code::Unavailable);
        }
        let Some(node) = region.pick(&attempts.avoid) else {
            let delays = delays.get_or_insert_with(|| policy.backoff.iter(SmallRng::from_os_rng()));
            let delay = delays.next_delay();
            if Instant::now() + delay >= give_up_at {
                return attempts.give_up(region, call, Code::Unavailable);
            }
            tokio::time::sleep(delay).await;
            attempts.avoid.clear();
            continue;
        };
        match attempt(region, &node, call, policy).await {
            Attempt::Answer(answer) => return answer,
            Attempt::NotProposed(leader, answer) => {
                region.not_leader(&node, leader);
                attempts.not_proposed = Some(answer);
            }
            Attempt::NotSent(cause) => {
                region.doubt(&node);
                attempts.cause = cause;
            }
            Attempt::Broken(cause) => {
                region.doubt(&node);
                tracing::debug!(region = region.name, node = node.address, cause, "attempt broke off");
                attempts.broken = Some(cause);
            }
            Attempt::Late => {
                attempts.broken = Some("no answer within the deadline".to_owned());
                return attempts.give_up(region, call, Code::DeadlineExceeded);
            }
        }
        if Instant::now() >= give_up_at {
            return attempts.give_up(region, call, Code::Unavailable);
        }
        attempts.avoid.push(node.address.clone());
    }
}

impl Attempts {
    fn give_up(self, region: &Region, call: &Call, code: Code) -> Response<Body> {
        let name = &region.name;
        if let Some(cause) = self.broken {
            let id = call.headers.get(pi_proto::metadata::REQUEST_ID).and_then(|id| id.to_str().ok());
            return refusal::response(&refusal::outcome_unknown(code, name, id.unwrap_or_default(), &cause));
        }
        match self.not_proposed {
            // The node's own words: no leader, or stopping.
            Some(answer) => answer,
            None if Instant::now() >= call.deadline => {
                refusal::response(&refusal::deadline(name, &self.cause))
            }
            None => refusal::response(&refusal::unavailable(name, &self.cause)),
        }
    }
}

async fn attempt(region: &Arc<Region>, node: &Node, call: &Call, policy: &Policy) -> Attempt {
    let mut headers = call.headers.clone();
    if call.timeout == Timeout::Client {
        let remaining = call.deadline.saturating_duration_since(Instant::now());
        if let Ok(value) = HeaderValue::try_from(frame::format_timeout(remaining)) {
            headers.insert(GRPC_TIMEOUT, value);
        }
    }
    let answering = first_frames(region, node, call, headers, policy);
    tokio::pin!(answering);
    loop {
        let look_at = call.deadline.min(Instant::now() + LOOK_INTERVAL);
        match timeout_at(look_at, &mut answering).await {
            Ok(Ok(attempt)) => return attempt,
            Ok(Err(Failure::NotSent(cause))) => return Attempt::NotSent(cause),
            Ok(Err(Failure::Broken(cause))) => return Attempt::Broken(cause),
            Err(_) if Instant::now() >= call.deadline => return Attempt::Late,
            Err(_) => {}
        }
        let leader = region.leader();
        if leader != 0 && leader != node.id {
            return Attempt::Broken(format!("node {} took longer than it led", node.address));
        }
        if !region.reachable() {
            return Attempt::Broken("none of its nodes answers".to_owned());
        }
    }
}

/// Sends the request and waits until the answer shows what it is: refused, or going to the client.
async fn first_frames(
    region: &Arc<Region>,
    node: &Node,
    call: &Call,
    headers: HeaderMap,
    policy: &Policy,
) -> Result<Attempt, Failure> {
    let answer = node.forward_unary(&call.path, headers, call.body.clone()).await?;
    let (mut head, mut frames) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(Failure::Broken(format!("{}: HTTP status {}", node.address, head.status)));
    }
    if head.headers.contains_key("grpc-status") {
        let not_proposed = take_markers(&mut head.headers);
        return Ok(judge(not_proposed, Response::from_parts(head, Body::complete(None, None))));
    }
    let first = frames.next().await.map_err(|broken| Failure::Broken(broken.0))?;
    match first.into_trailers() {
        Ok(mut trailers) => {
            let not_proposed = take_markers(&mut trailers);
            let body = Body::complete(None, Some(Frame::trailers(trailers)));
            Ok(judge(not_proposed, Response::from_parts(head, body)))
        }
        Err(data) => Ok(Attempt::Answer(pass_on(region, head, data, frames, policy))),
    }
}

fn judge(not_proposed: Option<Option<u64>>, answer: Response<Body>) -> Attempt {
    match not_proposed {
        Some(leader) => Attempt::NotProposed(leader, answer),
        None => Attempt::Answer(answer),
    }
}

/// The answer from its first message on. A unary answer usually has its trailers here already; what has not is taken for
/// a stream and counted as one.
fn pass_on(
    region: &Arc<Region>,
    head: http::response::Parts,
    first: Frame<Bytes>,
    mut frames: NodeFrames,
    policy: &Policy,
) -> Response<Body> {
    let second = match frames.next().now_or_never() {
        Some(Ok(frame)) if frame.is_trailers() => {
            return Response::from_parts(head, Body::complete(Some(first), Some(frame)));
        }
        Some(Ok(data)) => Some(data),
        Some(Err(broken)) => {
            let trailers = refusal::trailers(&refusal::stream_broken(&broken.0));
            return Response::from_parts(head, Body::complete(Some(first), Some(Frame::trailers(trailers))));
        }
        None => None,
    };
    match Arc::clone(&region.streams).try_acquire_owned() {
        Ok(permit) => {
            let body = Body::stream([Some(first), second], frames, policy.shutdown.clone(), permit);
            Response::from_parts(head, body)
        }
        // Nothing is lost: the client has seen nothing of the stream yet.
        Err(_) => refusal::response(&refusal::overloaded(&region.name, "streams", region.streams_max)),
    }
}

/// Takes away what is for gateways. `Some` when the request was not proposed; inside, the leader if the node knows it.
pub(crate) fn take_markers(headers: &mut HeaderMap) -> Option<Option<u64>> {
    let leader = headers.remove(LEADER).and_then(|id| id.to_str().ok()?.parse().ok());
    let marked = headers.remove(NOT_PROPOSED)?;
    (marked == NOT_PROPOSED_YES).then_some(leader)
}
