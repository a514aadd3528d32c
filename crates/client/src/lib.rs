//! The one typed client of Pi Secrets: the CLI, the tests and the kubelet call the service through it.
//!
//! Responsible for what every caller needs and nobody should write twice: the region of a call, deadlines, request ids,
//! retries that cannot do a thing twice, the three outcomes *done*, *refused* and *unknown*, and errors that say what to
//! do next. It speaks to gateways; given a node's address it speaks to the node just as well.
//!
//! **Invariant:** every attempt of one mutation carries the same request id.
//! **Invariant:** an outcome is *unavailable* only if no attempt can have reached the log; else it is *unknown*.
//! **Invariant:** no error, log line or `Debug` of this crate shows a payload or a token.

mod builder;
mod call;
mod error;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pi_proto::admin::v1::admin_client::AdminClient;
use pi_proto::regions::v1::regions_client::RegionsClient;
use pi_proto::secrets::v1::secrets_client::SecretsClient;
use pi_runtime::backoff::Backoff;
use pi_types::{RegionName, RequestId};
use tonic::transport::Channel;

pub use builder::Builder;
pub use call::new_request_id;
pub use error::Error;
/// The messages of the service, for callers (`cli`, `dev`, `kubelet`) that do not depend on `pi-proto` themselves.
pub use pi_proto::{admin::v1 as admin, reason, regions::v1 as regions, secrets::v1 as secrets};
pub use watch::Watch;

use call::{Operation, Routed};

/// The largest answer taken: a full page of the largest secrets with room to spare.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What one call may say beside its request. Everything left `None` comes from the client.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Where to; used when the request's own `region` is empty.
    pub region: Option<RegionName>,
    /// Names the mutation; give the one of an [`Error::Unknown`] to learn its outcome. Reads ignore it.
    pub request_id: Option<RequestId>,
    /// How long to try in all.
    pub deadline: Option<Duration>,
}

/// A cheap, cloneable handle. Connections are made when first needed and mended in the background.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    /// One or several connections to every endpoint, used in turn.
    channels: Vec<Channel>,
    endpoints: Vec<String>,
    next: AtomicUsize,
    authorization: Option<tonic::metadata::AsciiMetadataValue>,
    region: Option<RegionName>,
    deadline: Duration,
    backoff: Backoff,
}

/// Hides the credential.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &self.inner.endpoints)
            .field("region", &self.inner.region)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Starts a client.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The region used where neither request nor options name one.
    #[must_use]
    pub fn region(&self) -> Option<&RegionName> {
        self.inner.region.as_ref()
    }

    /// The next connection in turn.
    fn channel(&self) -> Channel {
        let turn = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.inner.channels[turn % self.inner.channels.len()].clone()
    }
}

/// Implements [`Routed`] for requests and a method of [`Client`] for each RPC.
macro_rules! calls {
    ($($(#[$doc:meta])* $kind:ident $name:ident = $title:literal,
        $service:ident.$method:ident($request:ty) -> $answer:ty;)*) => {
        impl Client {
            $($(#[$doc])*
            ///
            /// # Errors
            /// See [`Error`].
            pub async fn $name(&self, request: $request, options: CallOptions) -> Result<$answer, Error> {
                let operation = Operation::$kind($title);
                self.call(operation, request, options, |channel, request| async move {
                    let mut client = $service::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
                    client.$method(request).await
                })
                .await
            })*
        }
        $(impl Routed for $request {
            fn region_mut(&mut self) -> Option<&mut String> {
                Some(&mut self.region)
            }
        })*
    };
}

calls! {
    /// Creates a secret.
    mutation create = "create secret", SecretsClient.create(secrets::CreateRequest) -> secrets::CreateResponse;
    /// Reads a secret's metadata.
    read get = "get secret", SecretsClient.get(secrets::GetRequest) -> secrets::GetResponse;
    /// Reads a secret's payload.
    read access = "access secret", SecretsClient.access(secrets::AccessRequest) -> secrets::AccessResponse;
    /// Lists one page of secrets.
    read list = "list secrets", SecretsClient.list(secrets::ListRequest) -> secrets::ListResponse;
    /// Replaces payload, labels or annotations.
    mutation update = "update secret", SecretsClient.update(secrets::UpdateRequest) -> secrets::UpdateResponse;
    /// Deletes a secret.
    mutation delete = "delete secret", SecretsClient.delete(secrets::DeleteRequest) -> secrets::DeleteResponse;
    /// Reads the caller's quota and use in a region, and the region's nodes.
    read get_region = "get region", RegionsClient.get_region(regions::GetRegionRequest) -> regions::GetRegionResponse;
    /// Operators: forms a region's group.
    mutation bootstrap = "bootstrap region", AdminClient.bootstrap(admin::BootstrapRequest) -> admin::BootstrapResponse;
    /// Operators: sets how many secrets a tenant may have.
    mutation set_quota = "set quota", AdminClient.set_quota(admin::SetQuotaRequest) -> admin::SetQuotaResponse;
    /// Operators: what one node knows of itself and its group.
    read status = "get status", AdminClient.status(admin::StatusRequest) -> admin::StatusResponse;
}

impl Routed for regions::ListRegionsRequest {
    fn region_mut(&mut self) -> Option<&mut String> {
        None
    }
}

impl Routed for secrets::WatchRequest {
    fn region_mut(&mut self) -> Option<&mut String> {
        Some(&mut self.region)
    }
}

impl Client {
    /// All regions the gateway serves. Needs no credential; a node does not answer it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_regions(&self, options: CallOptions) -> Result<Vec<regions::Region>, Error> {
        let operation = Operation::read("list regions");
        let request = regions::ListRegionsRequest {};
        let answer = self.call(operation, request, options, |channel, request| async move {
            RegionsClient::new(channel).list_regions(request).await
        });
        Ok(answer.await?.regions)
    }

    /// Watches secrets: the present state, then every change. The stream resumes by itself where it broke off; see
    /// [`Watch::next`]. `options.deadline` bounds one attempt to connect and its retries, not the stream.
    ///
    /// # Errors
    /// The request names no region.
    pub fn watch(&self, request: secrets::WatchRequest, options: CallOptions) -> Result<Watch, Error> {
        Watch::new(self.clone(), request, options)
    }
}
