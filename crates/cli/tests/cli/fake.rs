//! A gateway with regions in memory: just enough of the service to show what `pi` makes of its answers. What the real
//! one decides is tested end to end elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use pi_proto::reason;
use pi_proto::regions::v1 as regions;
use pi_proto::regions::v1::regions_server::{Regions, RegionsServer};
use pi_proto::secrets::v1 as secrets;
use pi_proto::secrets::v1::secrets_server::{Secrets, SecretsServer};
use pi_proto::secrets::v1::watch_response::Kind;
use pi_proto::status::{Quota, status};
use tonic::{Code, Request, Response, Status};

const QUOTA: usize = 8;
/// Now and then for ages in tables: an hour ago by the clock of the test.
const HOUR_MS: i64 = 3_600_000;

type Stored = (secrets::Secret, Vec<u8>);
/// Region → (namespace, name) → secret. A region that is not in it is down.
type State = BTreeMap<String, BTreeMap<(String, String), Stored>>;

#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    revision: Arc<Mutex<u64>>,
    names: Vec<String>,
    pub address: SocketAddr,
}

impl Fake {
    /// Serves regions on a free port, from a thread of its own that ends with the process; those in `down` answer that
    /// they have no leader.
    pub fn start(names: &[&str], down: &[&str]) -> Fake {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let up = names.iter().filter(|it| !down.contains(it));
        let fake = Fake {
            state: Arc::new(Mutex::new(up.map(|it| ((*it).to_owned(), BTreeMap::new())).collect())),
            revision: Arc::new(Mutex::new(0)),
            names: names.iter().map(|it| (*it).to_owned()).collect(),
            address: listener.local_addr().unwrap(),
        };
        let served = fake.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
                let server = tonic::transport::Server::builder()
                    .add_service(SecretsServer::new(served.clone()))
                    .add_service(RegionsServer::new(served));
                server.serve_with_incoming(incoming).await.unwrap();
            });
        });
        fake
    }

    /// Does something with a region's secrets, after the checks that every call goes through.
    fn with<T>(
        &self,
        authorization: &tonic::metadata::MetadataMap,
        region: &str,
        work: impl FnOnce(&mut BTreeMap<(String, String), Stored>) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        if authorization.get("authorization").is_none_or(|it| it != "Bearer insecure:acme") {
            return Err(status(Code::Unauthenticated, reason::UNAUTHENTICATED, "no credential", &[]).build());
        }
        if !self.names.iter().any(|it| it == region) {
            return Err(status(Code::InvalidArgument, reason::UNKNOWN_REGION, "unknown region", &[]).build());
        }
        match self.state.lock().unwrap().get_mut(region) {
            Some(secrets) => work(secrets).map(Response::new),
            None => {
                Err(status(Code::Unavailable, reason::NO_LEADER, "no leader", &[]).not_proposed(None).build())
            }
        }
    }

    fn next_revision(&self) -> u64 {
        let mut revision = self.revision.lock().unwrap();
        *revision += 1;
        *revision
    }
}

fn key(namespace: &str, name: &str) -> (String, String) {
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    (namespace.to_owned(), name.to_owned())
}

fn not_found(name: &str) -> Status {
    status(Code::NotFound, reason::SECRET_NOT_FOUND, format!("secrets {name:?} not found"), &[]).build()
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

#[tonic::async_trait]
impl Secrets for Fake {
    type WatchStream = tokio_stream::Iter<std::vec::IntoIter<Result<secrets::WatchResponse, Status>>>;

    async fn create(
        &self,
        request: Request<secrets::CreateRequest>,
    ) -> Result<Response<secrets::CreateResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let revision = if request.validate_only { 0 } else { self.next_revision() };
        if request.name == "refused" {
            let id = metadata.get("pi-request-id").and_then(|it| it.to_str().ok()).unwrap_or("none");
            return Err(status(Code::InvalidArgument, reason::REQUEST_REUSED, id, &[]).build());
        }
        self.with(&metadata, &request.region, |stored| {
            let key = key(&request.namespace, &request.name);
            if stored.contains_key(&key) {
                let text = format!("secrets {:?} already exists", request.name);
                return Err(status(Code::AlreadyExists, reason::SECRET_EXISTS, &text, &[]).build());
            }
            if stored.len() >= QUOTA {
                let quota = Quota {
                    subject: format!("tenant:acme region:{}", request.region),
                    metric: "secrets".to_owned(),
                    limit: QUOTA as u64,
                    description: String::new(),
                };
                let refused =
                    status(Code::ResourceExhausted, reason::QUOTA_EXCEEDED, "quota exceeded: 8 of 8", &[]);
                return Err(refused.quota(quota).build());
            }
            let secret = secrets::Secret {
                name: key.1.clone(),
                namespace: key.0.clone(),
                region: request.region.clone(),
                uid: "0190a5c2-0000-4000-8000-000000000001".to_owned(),
                r#type: request.r#type,
                labels: request.labels,
                annotations: request.annotations,
                revision,
                generation: 1,
                create_time_ms: now_ms() - HOUR_MS,
                update_time_ms: now_ms() - HOUR_MS,
                payload_bytes: request.payload.len() as u32,
            };
            if !request.validate_only {
                stored.insert(key, (secret.clone(), request.payload.to_vec()));
            }
            let quota_used = stored.len() as u32 + u32::from(request.validate_only);
            let warnings =
                if secret.name == "odd" { vec!["odd, but allowed".to_owned()] } else { Vec::new() };
            Ok(secrets::CreateResponse {
                secret: Some(secret),
                quota_used,
                quota_limit: QUOTA as u32,
                warnings,
            })
        })
    }

    async fn get(
        &self,
        request: Request<secrets::GetRequest>,
    ) -> Result<Response<secrets::GetResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let stale = request.consistency == secrets::Consistency::Stale as i32;
        self.with(&metadata, &request.region, |stored| {
            let found = stored
                .get(&key(&request.namespace, &request.name))
                .ok_or_else(|| not_found(&request.name))?;
            Ok(secrets::GetResponse { secret: Some(found.0.clone()), revision: 1, stale })
        })
    }

    async fn access(
        &self,
        request: Request<secrets::AccessRequest>,
    ) -> Result<Response<secrets::AccessResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.with(&metadata, &request.region, |stored| {
            let found = stored
                .get(&key(&request.namespace, &request.name))
                .ok_or_else(|| not_found(&request.name))?;
            Ok(secrets::AccessResponse {
                secret: Some(found.0.clone()),
                payload: found.1.clone(),
                revision: 1,
            })
        })
    }

    /// Pages of two, so that a listing takes several; selects by the one label `team`.
    async fn list(
        &self,
        request: Request<secrets::ListRequest>,
    ) -> Result<Response<secrets::ListResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.with(&metadata, &request.region, |stored| {
            let wanted = request.label_selector.strip_prefix("team=");
            let mut matching = stored.values().map(|it| it.0.clone()).filter(|it| {
                (request.namespace.is_empty() || it.namespace == request.namespace)
                    && wanted.is_none_or(|team| it.labels.get("team").is_some_and(|it| it == team))
            });
            let after: usize = request.page_token.parse().unwrap_or(0);
            let page: Vec<_> = matching.by_ref().skip(after).take(2).collect();
            let more = matching.next().is_some();
            let next_page_token = if more { (after + 2).to_string() } else { String::new() };
            Ok(secrets::ListResponse { secrets: page, next_page_token, revision: 1, stale: false })
        })
    }

    async fn update(
        &self,
        request: Request<secrets::UpdateRequest>,
    ) -> Result<Response<secrets::UpdateResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let revision = self.next_revision();
        self.with(&metadata, &request.region, |stored| {
            let found = stored
                .get_mut(&key(&request.namespace, &request.name))
                .ok_or_else(|| not_found(&request.name))?;
            if request.expect_revision != 0 && request.expect_revision != found.0.revision {
                return Err(
                    status(Code::Aborted, reason::PRECONDITION_FAILED, "at another revision", &[]).build()
                );
            }
            let mut after = found.clone();
            if let Some(payload) = request.payload {
                after.1 = payload.to_vec();
            }
            if let Some(labels) = request.labels {
                after.0.labels = labels.entries;
            }
            if let Some(annotations) = request.annotations {
                after.0.annotations = annotations.entries;
            }
            let changed = after != *found;
            if changed {
                after.0.revision = revision;
                after.0.generation += u64::from(after.1 != found.1);
            }
            if !request.validate_only {
                *found = after.clone();
            }
            Ok(secrets::UpdateResponse { secret: Some(after.0), changed, warnings: Vec::new() })
        })
    }

    async fn delete(
        &self,
        request: Request<secrets::DeleteRequest>,
    ) -> Result<Response<secrets::DeleteResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.with(&metadata, &request.region, |stored| {
            let gone = stored
                .remove(&key(&request.namespace, &request.name))
                .ok_or_else(|| not_found(&request.name))?;
            let quota_used = stored.len() as u32;
            Ok(secrets::DeleteResponse {
                secret: Some(gone.0),
                revision: 1,
                quota_used,
                quota_limit: QUOTA as u32,
            })
        })
    }

    /// The present state and its end; then the stream ends, as when a node stops.
    async fn watch(
        &self,
        request: Request<secrets::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.with(&metadata, &request.region, |stored| {
            let mut answers: Vec<_> = stored
                .values()
                .map(|it| secrets::WatchResponse {
                    kind: Kind::Existing as i32,
                    secret: Some(it.0.clone()),
                    revision: it.0.revision,
                    resume_token: String::new(),
                })
                .map(Ok)
                .collect();
            answers.push(Ok(secrets::WatchResponse {
                kind: Kind::Synced as i32,
                secret: None,
                revision: 1,
                resume_token: "1".to_owned(),
            }));
            Ok(tokio_stream::iter(answers))
        })
    }
}

#[tonic::async_trait]
impl Regions for Fake {
    async fn list_regions(
        &self,
        _: Request<regions::ListRegionsRequest>,
    ) -> Result<Response<regions::ListRegionsResponse>, Status> {
        let state = self.state.lock().unwrap();
        let entry =
            |name: &String| regions::Region { name: name.clone(), available: state.contains_key(name) };
        Ok(Response::new(regions::ListRegionsResponse { regions: self.names.iter().map(entry).collect() }))
    }

    async fn get_region(
        &self,
        request: Request<regions::GetRegionRequest>,
    ) -> Result<Response<regions::GetRegionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.with(&metadata, &request.region, |stored| {
            Ok(regions::GetRegionResponse {
                region: request.region.clone(),
                cluster: "dev".to_owned(),
                tenant: "acme".to_owned(),
                secrets_used: stored.len() as u32,
                secrets_quota: QUOTA as u32,
                healthy: true,
                ..regions::GetRegionResponse::default()
            })
        })
    }
}
