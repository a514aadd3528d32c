//! The client listener: which services, under which bounds, and what the gRPC layer's own errors turn into.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pi_proto::admin::v1::admin_server::AdminServer;
use pi_proto::raft::v1::routing_server::RoutingServer;
use pi_proto::regions::v1::regions_server::RegionsServer;
use pi_proto::secrets::v1::secrets_server::SecretsServer;
use pi_raft::NodeId;
use pi_raft::store::Store;
use pi_runtime::shutdown::Shutdown;
use pi_types::limits::CLIENT_MESSAGE_BYTES_MAX;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::Service;

use crate::config::Limits;
use crate::services::Node;
use crate::services::admin::AdminService;
use crate::services::regions::RegionsService;
use crate::services::routing::RoutingService;
use crate::services::secrets::SecretsService;
use crate::status;

/// The health service's name for "can serve linearizable requests now".
pub const HEALTH_SECRETS: &str = "pi.secrets.v1.Secrets";
/// A node's answers: a full page of a list, with room.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A connection that shows no sign of life for this long is asked for one, and closed without it.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams a client reset before the node took them up; more is taken for an attack.
const PENDING_RESETS_MAX: usize = 64;

/// What a handler's longest deadline is given on top before the request is cut off.
const BODY_GRACE: Duration = Duration::from_secs(1);

/// Why the listener could not be set up or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not this machine's.
    #[error(
        "client_listen {address} cannot be bound; is another pi-region running, or the address not this machine's?"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The built-in descriptors do not load.
    #[error("gRPC reflection cannot be set up")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The server ended with an error.
    #[error("the client listener failed")]
    Serve(#[source] tonic::transport::Error),
}

/// Binds the listener, apart from serving, so that a taken address fails before anything else starts.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Bind { address, source })
}

/// A health reporter with every service not serving but the process itself, and the service that answers from it.
pub async fn health() -> (HealthReporter, impl Fn(Routes) -> Routes) {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status(HEALTH_SECRETS, ServingStatus::NotServing).await;
    (reporter, move |routes: Routes| routes.add_service(service.clone()))
}

/// All services of a node behind their bounds.
pub fn routes<S: Store>(
    node: &Arc<Node<S>>,
    reflection: bool,
    health: impl Fn(Routes) -> Routes,
) -> Result<Routes, Error> {
    let limits = &node.limits;
    let secrets = SecretsServer::new(SecretsService(Arc::clone(node)))
        .max_decoding_message_size(CLIENT_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let regions = RegionsServer::new(RegionsService(Arc::clone(node)))
        .max_decoding_message_size(CLIENT_MESSAGE_BYTES_MAX);
    let admin =
        AdminServer::new(AdminService(Arc::clone(node))).max_decoding_message_size(CLIENT_MESSAGE_BYTES_MAX);
    let routing = RoutingServer::new(RoutingService(Arc::clone(node)))
        .max_decoding_message_size(CLIENT_MESSAGE_BYTES_MAX);

    // Health and routing stay outside the bound: they must answer when the node is overloaded.
    let replica = node.replica.clone();
    let bound = Bound::new(node.identity.region.as_str(), limits, Arc::new(move || replica.leader()));
    let mut routes = Routes::new(bound.around(secrets))
        .add_service(bound.around(regions))
        .add_service(bound.around(admin))
        .add_service(bound.lifted().around(routing));
    if reflection {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pi_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        routes = routes.add_service(reflection.build_v1().map_err(Error::Reflection)?);
    }
    Ok(health(routes))
}

/// Serves until `stop` is requested; requests under way then have `limits.drain_ms` to end.
pub async fn serve(
    listener: TcpListener,
    limits: Limits,
    routes: Routes,
    stop: Shutdown,
) -> Result<(), Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE_EVERY));
    let server = Server::builder()
        .max_concurrent_streams(limits.streams_per_connection_max)
        .http2_max_header_list_size(limits.header_bytes_max)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        // Handlers keep their own, shorter deadlines; this one ends requests whose body never arrives.
        .timeout(limits.deadline_max() + BODY_GRACE)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.requested());
    let drained = async {
        stop.requested().await;
        tokio::time::sleep(Duration::from_millis(limits.drain_ms)).await;
    };
    tokio::select! {
        ended = server => ended.map_err(Error::Serve),
        () = drained => {
            tracing::warn!(drain_ms = limits.drain_ms, "requests under way did not end in time and are cut off");
            Ok(())
        }
    }
}

/// How many requests are worked on at once, and what the rest is told. A watch counts until its stream begins; its
/// stream has bounds of its own.
#[derive(Clone)]
struct Bound {
    region: Arc<str>,
    requests_max: usize,
    /// `None`: as many as come.
    permits: Option<Arc<Semaphore>>,
    /// Who leads, as far as this node knows.
    leader: LeaderNow,
}

type LeaderNow = Arc<dyn Fn() -> Option<NodeId> + Send + Sync>;

impl Bound {
    fn new(region: &str, limits: &Limits, leader: LeaderNow) -> Self {
        let requests_max = limits.requests_max;
        let permits = Some(Arc::new(Semaphore::new(requests_max)));
        Self { region: region.into(), requests_max, permits, leader }
    }

    /// The same without the bound: errors are translated, nothing is refused.
    fn lifted(&self) -> Self {
        Self { permits: None, ..self.clone() }
    }

    /// Wraps a service: at most `requests_max` requests, shared with the other wrapped services.
    fn around<T>(&self, service: T) -> Bounded<T> {
        Bounded { bound: self.clone(), service }
    }

    /// tonic refuses what does not decode by itself, as OUT_OF_RANGE (too large) or INTERNAL (not protobuf), without
    /// details. Both are the caller's mistake, and callers of ours expect an `ErrorInfo` on every error.
    fn translate(&self, response: Response<Body>) -> Response<Body> {
        let headers = response.headers();
        if !headers.contains_key(Status::GRPC_STATUS) || headers.contains_key("grpc-status-details-bin") {
            return response;
        }
        let Some(status) = Status::from_header_map(headers) else { return response };
        let text = match status.code() {
            Code::OutOfRange => {
                format!(
                    "the request is too large: the limit is {CLIENT_MESSAGE_BYTES_MAX} bytes as one message"
                )
            }
            Code::Internal => "the request is not a valid protobuf message of this method".to_owned(),
            _ => return response,
        };
        status::unreadable_message(&self.region, text).into_http()
    }
}

/// A service behind a [`Bound`]: what is too much is refused at once, and errors of the gRPC layer become ours.
#[derive(Clone)]
struct Bounded<T> {
    bound: Bound,
    service: T,
}

impl<T: NamedService> NamedService for Bounded<T> {
    const NAME: &'static str = T::NAME;
}

impl<T> Service<Request<Body>> for Bounded<T>
where
    T: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    T::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let bound = self.bound.clone();
        let permit = bound.permits.clone().map(Semaphore::try_acquire_owned).transpose();
        let Ok(permit) = permit else {
            let status = status::overloaded(&bound.region, bound.requests_max, (bound.leader)());
            return Box::pin(ready(Ok(status.into_http())));
        };
        let answer = self.service.call(request);
        Box::pin(async move {
            let response = answer.await?;
            drop(permit);
            Ok(bound.translate(response))
        })
    }
}
