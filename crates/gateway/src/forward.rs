//! One request on its way to its region: whom to ask, what an answer means, and when to ask again.
//!
//! Responsible for retries within the deadline. Repeating is safe because every request carries a request id by which
//! the region recognises a mutation it has already decided; a stream is repeated only before its first message.
//!
//! **Invariant:** an answer that says *nothing changed* is given only if no attempt was [`Failure::Broken`]. After one,
//! a refusal that does not come from the region's state machine but from a node's door (UNAVAILABLE, UNAUTHENTICATED,
//! PERMISSION_DENIED: credentials and permissions may have changed meanwhile) becomes OUTCOME_UNKNOWN. Any other error
//! passes: the state machine knows the request id, and would have given the earlier attempt's answer.
//! **Invariant:** a client never sees `pi-not-proposed` or `pi-leader`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use pi_proto::metadata::{LEADER, NOT_PROPOSED, NOT_PROPOSED_YES};
use pi_proto::reason;
use pi_proto::status::decode;
use pi_runtime::backoff::Backoff;
use pi_runtime::shutdown::Shutdown;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

use crate::body::{Body, Broken, NodeFrames};
use crate::frame;
use crate::node::{Failure, Node};
use crate::refusal;
use crate::region::Region;
use crate::service::GRPC_TIMEOUT;

/// While an attempt has no answer, how often to look whether another node has become leader.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Without room for streams, how long an answer that began may remain unfinished. A node sends the trailers of a unary
/// answer together with its message; a quiet stream should not hold a place among requests for long.
const TRAILERS_WAIT: Duration = Duration::from_secs(2);
/// Without room for streams, the longest answer held: one receive window, which holds a full page of a list.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What is to be forwarded.
pub(crate) struct Call {
    pub(crate) path: PathAndQuery,
    /// For the node, without `grpc-timeout`.
    pub(crate) headers: HeaderMap,
    /// A complete gRPC body.
    pub(crate) body: Bytes,
    /// When the gateway itself gives up waiting for the first message.
    pub(crate) deadline: Instant,
    /// The client's own deadline, which may be later; of this one the node learns. `None` when it set none.
    pub(crate) client_deadline: Option<Instant>,
}

impl Call {
    /// Empty when it is not text.
    fn request_id(&self) -> &str {
        let id = self.headers.get(pi_proto::metadata::REQUEST_ID).and_then(|id| id.to_str().ok());
        id.unwrap_or_default()
    }
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
    /// An error that is not marked as not proposed; to be passed on if nothing is unknown.
    Refused(Code, Response<Body>),
    /// The node cannot decide, and says so; its answer, in case there is no better one.
    NotProposed(Hint, Response<Body>),
    NotSent(String),
    Broken(String),
    /// The deadline passed.
    Late,
}

/// What a node that did not propose says besides.
struct Hint {
    /// The leader, if the node knows it.
    leader: Option<u64>,
    overloaded: bool,
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
    let mut pause = false;
    loop {
        if !region.reachable() {
            attempts.cause = "none of its nodes answers".to_owned();
            return attempts.give_up(region, call, Code::Unavailable);
        }
        let picked = if pause { None } else { region.pick(&attempts.avoid) };
        let Some(node) = picked else {
            let delays = delays.get_or_insert_with(|| policy.backoff.iter(SmallRng::from_os_rng()));
            let delay = delays.next_delay();
            if Instant::now() + delay >= give_up_at {
                return attempts.give_up(region, call, Code::Unavailable);
            }
            tokio::time::sleep(delay).await;
            attempts.avoid.clear();
            pause = false;
            continue;
        };
        match attempt(region, &node, call, policy).await {
            Attempt::Answer(answer) => return answer,
            Attempt::Refused(code, answer) => return attempts.refused(region, call, code, answer),
            Attempt::NotProposed(hint, answer) => {
                attempts.not_proposed = Some(answer);
                if region.same_again(&node, hint.leader, hint.overloaded) {
                    // Others could only send us back here.
                    pause = true;
                } else {
                    region.not_leader(&node, hint.leader);
                }
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
    /// A refusal at a node's door says nothing of an earlier attempt that may have passed it.
    fn refused(mut self, region: &Region, call: &Call, code: Code, answer: Response<Body>) -> Response<Body> {
        let at_the_door = matches!(code, Code::Unavailable | Code::Unauthenticated | Code::PermissionDenied);
        match &mut self.broken {
            Some(cause) if at_the_door => {
                cause.push_str(&format!(", and the attempt after it was refused with {code:?}"));
                self.give_up(region, call, Code::Unavailable)
            }
            _ => answer,
        }
    }

    fn give_up(self, region: &Region, call: &Call, code: Code) -> Response<Body> {
        let name = &region.name;
        if let Some(cause) = self.broken {
            return refusal::response(&refusal::outcome_unknown(code, name, call.request_id(), &cause));
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
    if let Some(deadline) = call.client_deadline {
        let remaining = deadline.saturating_duration_since(Instant::now());
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
        let found = judge(&mut head.headers);
        return Ok(found.attempt(Response::from_parts(head, Body::complete(None, None))));
    }
    let first = frames.next().await.map_err(|broken| Failure::Broken(broken.0))?;
    match first.into_trailers() {
        Ok(mut trailers) => {
            let found = judge(&mut trailers);
            let body = Body::complete(None, Some(Frame::trailers(trailers)));
            Ok(found.attempt(Response::from_parts(head, body)))
        }
        Err(data) => Ok(Attempt::Answer(pass_on(region, head, data, frames, call, policy).await)),
    }
}

/// What a status without a message is.
enum Found {
    Ok,
    Refused(Code),
    NotProposed(Hint),
}

impl Found {
    fn attempt(self, answer: Response<Body>) -> Attempt {
        match self {
            Self::Ok => Attempt::Answer(answer),
            Self::Refused(code) => Attempt::Refused(code, answer),
            Self::NotProposed(hint) => Attempt::NotProposed(hint, answer),
        }
    }
}

/// Reads a status, and takes away what is for gateways.
fn judge(trailers: &mut HeaderMap) -> Found {
    let marked = take_markers(trailers);
    let status = Status::from_header_map(trailers);
    let code = status.as_ref().map_or(Code::Unknown, Status::code);
    match marked {
        Some(leader) => {
            let reason = status.and_then(|status| decode(&status).reason);
            Found::NotProposed(Hint { leader, overloaded: reason.as_deref() == Some(reason::OVERLOADED) })
        }
        None if code == Code::Ok => Found::Ok,
        None => Found::Refused(code),
    }
}

/// The answer from its first message on. A unary answer usually has its trailers here already; what has not is taken for
/// a stream and counted as one, if there is room for one. If there is none, the next frames tell whether it is one: only
/// then may it be refused, since behind a unary answer stands a change that happened.
async fn pass_on(
    region: &Arc<Region>,
    head: http::response::Parts,
    first: Frame<Bytes>,
    mut frames: NodeFrames,
    call: &Call,
    policy: &Policy,
) -> Response<Body> {
    let second = match frames.next().now_or_never() {
        Some(Ok(frame)) if frame.is_trailers() => return unary(head, first, frame),
        Some(Ok(data)) => Some(data),
        Some(Err(broken)) => return unary(head, first, broken_trailers(&broken)),
        None => None,
    };
    if let Ok(permit) = Arc::clone(&region.streams).try_acquire_owned() {
        let body = Body::stream([Some(first), second], frames, policy.shutdown.clone(), permit);
        return Response::from_parts(head, body);
    }
    let wait_until = call.deadline.min(Instant::now() + TRAILERS_WAIT);
    let whole = match timeout_at(wait_until, whole_answer(first, second, &mut frames)).await {
        Ok(whole) => whole,
        Err(_) => Whole::Unclear("its answer began and did not end"),
    };
    match whole {
        Whole::Unary(message, trailers) => unary(head, message, trailers),
        // Nothing is lost: the client has seen nothing of the stream yet.
        Whole::Stream => refusal::response(&refusal::overloaded(&region.name, "streams", region.streams_max)),
        Whole::Unclear(cause) => refusal::response(&refusal::outcome_unknown(
            Code::Unavailable,
            &region.name,
            call.request_id(),
            cause,
        )),
    }
}

fn unary(head: http::response::Parts, message: Frame<Bytes>, mut trailers: Frame<Bytes>) -> Response<Body> {
    if let Some(trailers) = trailers.trailers_mut() {
        let _ = take_markers(trailers);
    }
    Response::from_parts(head, Body::complete(Some(message), Some(trailers)))
}

fn broken_trailers(broken: &Broken) -> Frame<Bytes> {
    Frame::trailers(refusal::trailers(&refusal::stream_broken(&broken.0)))
}

/// What an answer without room for a stream turned out to be.
enum Whole {
    /// One message and its trailers.
    Unary(Frame<Bytes>, Frame<Bytes>),
    /// A second message began.
    Stream,
    /// Neither can be told.
    Unclear(&'static str),
}

/// Receives until the answer shows whether it has more than one message. A message may take several frames.
async fn whole_answer(first: Frame<Bytes>, second: Option<Frame<Bytes>>, frames: &mut NodeFrames) -> Whole {
    let mut received = BytesMut::new();
    let mut next = Some(first);
    let mut after = second;
    loop {
        let frame = match next.take().or_else(|| after.take()) {
            Some(frame) => Ok(frame),
            None => frames.next().await,
        };
        let trailers = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                received.extend_from_slice(&data);
                match frame::first_message_end(&received) {
                    Some(end) if received.len() > end => return Whole::Stream,
                    Some(end) if end > ANSWER_BYTES_MAX => {
                        return Whole::Unclear("its answer is too long to hold");
                    }
                    _ => continue,
                }
            }
            Ok(Err(trailers)) => trailers,
            Err(broken) => broken_trailers(&broken),
        };
        return Whole::Unary(Frame::data(received.freeze()), trailers);
    }
}

/// Takes away what is for gateways. `Some` when the request was not proposed; inside, the leader if the node knows it.
pub(crate) fn take_markers(headers: &mut HeaderMap) -> Option<Option<u64>> {
    let leader = headers.remove(LEADER).and_then(|id| id.to_str().ok()?.parse().ok());
    let marked = headers.remove(NOT_PROPOSED)?;
    (marked == NOT_PROPOSED_YES).then_some(leader)
}
