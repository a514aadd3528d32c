//! What happens to one request of a client, whichever method it calls.
//!
//! Responsible for the door: which packages are public, which metadata goes on, how large a request may be, which region
//! it names. The forwarding itself is `forward.rs`'s. Health, reflection and ListRegions are answered here.
//!
//! **Invariant:** of a forwarded request nothing is decoded but field 1, and no message type is known: a new RPC needs
//! no change here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use pi_proto::fields::region_of;
use pi_proto::metadata::{AUTHORIZATION, REQUEST_ID};
use pi_proto::regions::v1 as regions;
use pi_runtime::backoff::Backoff;
use pi_runtime::shutdown::Shutdown;
use pi_types::limits::CLIENT_MESSAGE_BYTES_MAX;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::body::Body;
use crate::config::Config;
use crate::forward::{Call, Policy, forward};
use crate::region::Region;
use crate::{frame, refusal};

/// The deadline's header, which goes on only when the client set it.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const AUTHORIZATION_NAME: HeaderName = HeaderName::from_static(AUTHORIZATION);
const REQUEST_ID_NAME: HeaderName = HeaderName::from_static(REQUEST_ID);
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Packages whose methods are forwarded, and nothing else: `/pi.<audience>.v1.`.
const PUBLIC_PACKAGES: [&str; 5] =
    ["/pi.secrets.v1.", "/pi.pods.v1.", "/pi.nodes.v1.", "/pi.regions.v1.", "/pi.admin.v1."];
/// Answered by the gateway.
const LIST_REGIONS: &str = "/pi.regions.v1.Regions/ListRegions";
/// Answered by the gateway's own services.
const LOCAL_PACKAGES: [&str; 2] = ["/grpc.health.v1.", "/grpc.reflection."];

/// How much before a client's deadline the gateway answers at the latest.
const DEADLINE_LEAD: Duration = Duration::from_millis(100);

/// The headers of every request of the gateway.
pub(crate) fn grpc_headers() -> HeaderMap {
    // Room for the four that may come with a client's request.
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers
}

/// All that requests share.
pub(crate) struct Gateway {
    regions: BTreeMap<String, Arc<Region>>,
    /// Their names, for people.
    names: String,
    policy: Policy,
    deadline_default: Duration,
    deadline_max: Duration,
    /// All requests at once, and those of them that are large; with their limits, for the texts.
    requests: Semaphore,
    requests_max: usize,
    large: Semaphore,
    large_max: usize,
    /// Health and reflection.
    local: Routes,
}

impl Gateway {
    /// `shutdown` ends streams.
    pub(crate) fn new(
        regions: impl IntoIterator<Item = Arc<Region>>,
        config: &Config,
        local: Routes,
        shutdown: Shutdown,
    ) -> Self {
        let regions: BTreeMap<_, _> =
            regions.into_iter().map(|region| (region.name.clone(), region)).collect();
        let names: Vec<_> = regions.keys().map(String::as_str).collect();
        let patience = Duration::from_millis(config.nodes.unavailable_after_ms);
        Self {
            names: names.join(", "),
            policy: Policy { patience, backoff: Backoff::default(), shutdown },
            deadline_default: Duration::from_millis(config.limits.deadline_default_ms),
            deadline_max: Duration::from_millis(config.limits.deadline_max_ms),
            requests: Semaphore::new(config.limits.requests_max),
            requests_max: config.limits.requests_max,
            large: Semaphore::new(config.limits.large_requests_max),
            large_max: config.limits.large_requests_max,
            local,
            regions,
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path();
        if path == LIST_REGIONS {
            return Ok(self.list_regions());
        }
        if PUBLIC_PACKAGES.iter().any(|package| path.starts_with(package)) {
            let answer = self.forward(request).await;
            return Ok(answer.unwrap_or_else(|status| refusal::response(&status)));
        }
        if LOCAL_PACKAGES.iter().any(|package| path.starts_with(package)) {
            let answer = self.local.clone().oneshot(request).await;
            return answer.map(|response| response.map(Body::local));
        }
        Ok(refusal::response(&refusal::unknown_method(path)))
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>, Status> {
        check_grpc(&request)?;
        let too_many = |_| refusal::gateway_overloaded("requests", self.requests_max);
        let _room = self.requests.try_acquire().map_err(too_many)?;
        let (parts, body) = request.into_parts();
        let timeout = parts.headers.get(&GRPC_TIMEOUT).map(parse_timeout).transpose()?;
        // A little early, so that our answer, which knows more, comes before the client's own timer.
        let wait = timeout.map(|timeout| timeout - (timeout / 10).min(DEADLINE_LEAD));
        let now = Instant::now();
        // Only our own wait is bounded: a stream may last as long as its client wants.
        let deadline = now + wait.unwrap_or(self.deadline_default).min(self.deadline_max);
        let client_deadline = wait.and_then(|wait| now.checked_add(wait));
        let body = timeout_at(deadline, self.read_body(body)).await;
        let (body, _large) = body.map_err(|_| refusal::not_arrived())??;
        let region = self.region(&body)?;
        // Held until the answer's first message; then a stream counts as one.
        let _permit = region
            .requests
            .try_acquire()
            .map_err(|_| refusal::overloaded(&region.name, "requests", region.requests_max))?;
        let path = parts.uri.into_parts().path_and_query;
        let call = Call {
            path: path.ok_or_else(|| refusal::unknown_method(""))?,
            headers: pass_headers(parts.headers),
            body,
            deadline,
            client_deadline,
        };
        Ok(forward(region, &call, &self.policy).await)
    }

    /// The whole body, without copying when it came in one piece, as small requests do; and for one that did not, its
    /// place among the large ones.
    async fn read_body(&self, mut body: Incoming) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Status> {
        const LIMIT: usize = frame::PREFIX_BYTES + CLIENT_MESSAGE_BYTES_MAX;
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        let mut place = None;
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| Status::cancelled(format!("the request broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            // Clients end a request that fitted into one frame with an empty one.
            if data.is_empty() {
                continue;
            }
            if first.len() + all.len() + data.len() > LIMIT {
                return Err(refusal::too_large(CLIENT_MESSAGE_BYTES_MAX));
            }
            if first.is_empty() && all.is_empty() {
                first = data;
                continue;
            }
            if place.is_none() {
                let too_many = |_| refusal::gateway_overloaded("large requests", self.large_max);
                place = Some(self.large.try_acquire().map_err(too_many)?);
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
        Ok((if place.is_some() { all.freeze() } else { first }, place))
    }

    /// The region that a request's field 1 names.
    fn region(&self, body: &[u8]) -> Result<&Arc<Region>, Status> {
        let message = frame::message_of(body).map_err(|error| match error {
            frame::Error::Compressed => Status::unimplemented(error.to_string()),
            frame::Error::NotOneMessage => refusal::invalid("request", &error.to_string()),
        })?;
        let named = region_of(message).map_err(|error| refusal::invalid("request", &error.to_string()))?;
        let named = named.filter(|name| !name.is_empty());
        named
            .and_then(|name| self.regions.get(name))
            .ok_or_else(|| refusal::unknown_region(named, &self.names))
    }

    fn list_regions(&self) -> Response<Body> {
        let regions = self.regions.values();
        let regions = regions
            .map(|region| regions::Region { name: region.name.clone(), available: region.available() });
        let answer = regions::ListRegionsResponse { regions: regions.collect() };
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let data = Frame::data(frame::encode(&answer));
        let mut response = Response::new(Body::complete(Some(data), Some(Frame::trailers(trailers))));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

fn parse_timeout(value: &HeaderValue) -> Result<Duration, Status> {
    frame::parse_timeout(value.as_bytes())
        .ok_or_else(|| refusal::invalid("grpc-timeout", "expected up to 8 digits and one of H M S m u n"))
}

fn check_grpc(request: &Request<Incoming>) -> Result<(), Status> {
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    // "application/grpc+proto" and parameters are fine; "application/grpc-web" is another protocol.
    let plain = content_type.strip_prefix(b"application/grpc");
    if request.method() == Method::POST
        && plain.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    {
        return Ok(());
    }
    Err(refusal::invalid("content-type", "expected a POST with application/grpc"))
}

/// The headers for the node: ours, and of the client's the few that are allowed. `grpc-timeout` is added for each
/// attempt.
fn pass_headers(mut from: HeaderMap) -> HeaderMap {
    let mut headers = grpc_headers();
    if let Some(mut authorization) = from.remove(&AUTHORIZATION_NAME) {
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION_NAME, authorization);
    }
    let id = from.remove(&REQUEST_ID_NAME).unwrap_or_else(new_request_id);
    headers.insert(REQUEST_ID_NAME, id);
    if let Some(parent) = from.remove(&TRACEPARENT) {
        headers.insert(TRACEPARENT, parent);
    }
    headers
}

/// A UUIDv7. It names a request, it protects nothing, so that the thread's fast generator is random enough.
fn new_request_id() -> HeaderValue {
    thread_local! {
        static RNG: std::cell::RefCell<SmallRng> = std::cell::RefCell::new(SmallRng::from_os_rng());
    }
    let random: [u8; 10] = RNG.with_borrow_mut(|rng| rng.random());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let id = uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = id.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("a hyphenated UUID is visible ASCII")
}
