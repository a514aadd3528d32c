//! The regions as the commands see them: their own few types in and out, `pi-client` underneath. The one file of this
//! crate that names wire messages; deadlines, request ids and retries are the client's.

use std::collections::BTreeMap;
use std::time::Duration;

use pi_auth::Token;
use pi_client::{CallOptions, Client, Error, reason, regions, secrets};
use pi_types::{Annotations, Labels, Namespace, Payload, RegionName, RequestId, SecretName};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::object::SecretView;
use crate::settings::Settings;

/// The largest page there is: listing everything takes the fewest requests.
const PAGE_SIZE: i32 = pi_types::limits::LIST_PAGE_MAX as i32;

/// A connection to the gateways, made when first used.
pub struct Service {
    client: Client,
    request_id: Option<RequestId>,
    read_timeout: Duration,
}

/// A secret to be created. Has no `Debug`: it holds a payload.
pub struct NewSecret {
    /// Where.
    pub namespace: Namespace,
    /// Its name.
    pub name: SecretName,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Annotations,
    /// Its payload.
    pub payload: Payload,
}

/// What a region answered to a creation.
#[derive(Debug)]
pub struct Created {
    /// The secret.
    pub secret: SecretView,
    /// How many secrets the tenant has now.
    pub quota_used: u32,
    /// How many it may have.
    pub quota_limit: u32,
    /// Allowed, but probably not meant.
    pub warnings: Vec<String>,
}

/// A change of an existing secret; what is `None` stays. Has no `Debug`: it may hold a payload.
pub struct Change<'a> {
    /// Where.
    pub namespace: &'a Namespace,
    /// Its name.
    pub name: &'a SecretName,
    /// The new payload.
    pub payload: Option<&'a Payload>,
    /// All labels it shall have.
    pub labels: Option<&'a Labels>,
    /// All annotations it shall have.
    pub annotations: Option<&'a Annotations>,
    /// Only this uid may be changed.
    pub expect_uid: Option<&'a str>,
    /// Only this revision may be changed.
    pub expect_revision: Option<u64>,
}

/// What a region answered to a change.
#[derive(Debug)]
pub struct Updated {
    /// The secret.
    pub secret: SecretView,
    /// False when it already was as asked.
    pub changed: bool,
    /// Allowed, but probably not meant.
    pub warnings: Vec<String>,
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Reflects every write acknowledged before.
    Linearizable,
    /// Any node's own state.
    Stale,
}

impl Freshness {
    /// `--stale` or not.
    pub fn of(stale: &bool) -> Freshness {
        if *stale { Freshness::Stale } else { Freshness::Linearizable }
    }

    fn wire(self) -> i32 {
        match self {
            Freshness::Linearizable => secrets::Consistency::Unspecified as i32,
            Freshness::Stale => secrets::Consistency::Stale as i32,
        }
    }
}

/// A region as the gateway lists it.
#[derive(Debug, Clone)]
pub struct RegionEntry {
    /// Its name.
    pub name: RegionName,
    /// Whether it can serve now, as far as the gateway knows.
    pub available: bool,
}

/// A region as it describes itself to a tenant.
#[derive(Debug, Clone)]
pub struct RegionInfo {
    /// Its name.
    pub region: String,
    /// The cluster it belongs to.
    pub cluster: String,
    /// The caller's tenant.
    pub tenant: String,
    /// How many secrets the tenant has.
    pub secrets_used: u32,
    /// How many it may have.
    pub secrets_quota: u32,
    /// Whether it has a leader and a majority.
    pub healthy: bool,
    /// Its revision.
    pub revision: u64,
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub enum Event {
    /// Part of the present state.
    Existing(SecretView),
    /// Created.
    Created(SecretView),
    /// Payload, labels or annotations changed.
    Updated(SecretView),
    /// Deleted.
    Deleted(SecretView),
    /// The present state is complete.
    Synced,
    /// Nothing happened.
    Progress,
}

/// A running watch of one region.
pub struct Watch(pi_client::Watch);

impl Watch {
    /// The next event; `None` at the end. After an error that `retryable` says can pass, asking again tries again.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        let answer = match self.0.next().await? {
            Ok(answer) => answer,
            Err(error) => return Some(Err(error)),
        };
        use secrets::watch_response::Kind;
        let kind = answer.kind();
        let Some(secret) = answer.secret.map(view) else {
            return Some(Ok(if kind == Kind::Synced { Event::Synced } else { Event::Progress }));
        };
        Some(Ok(match kind {
            Kind::Existing => Event::Existing(secret),
            Kind::Created => Event::Created(secret),
            Kind::Updated => Event::Updated(secret),
            Kind::Deleted => Event::Deleted(secret),
            Kind::Synced => Event::Synced,
            Kind::Unspecified | Kind::Progress => Event::Progress,
        }))
    }
}

impl Service {
    /// A client for the settings' server and credential; nothing is sent yet.
    pub fn new(settings: &Settings) -> Result<Service, Failure> {
        let token = Token::new(settings.token()?.expose().to_owned())
            .map_err(|invalid| Failure::local(format!("the configured token cannot be used: {invalid}")))?;
        Service::build(settings, Some(token))
    }

    /// The same without a credential, for what the gateway answers to anybody.
    pub fn anonymous(settings: &Settings) -> Result<Service, Failure> {
        Service::build(settings, None)
    }

    fn build(settings: &Settings, token: Option<Token>) -> Result<Service, Failure> {
        let mut builder =
            Client::builder().endpoints(settings.endpoints()?.to_vec()).deadline(settings.timeout());
        if let Some(token) = token {
            builder = builder.token(token);
        }
        let (request_id, read_timeout) = (settings.request_id(), settings.read_timeout());
        Ok(Service { client: builder.connect_lazy()?, request_id, read_timeout })
    }

    /// Options of a call that changes something; the client draws an id where the user named none.
    fn mutation(&self) -> CallOptions {
        CallOptions { request_id: self.request_id, ..CallOptions::default() }
    }

    /// Options of a call that changes nothing.
    fn read(&self) -> CallOptions {
        CallOptions { deadline: Some(self.read_timeout), ..CallOptions::default() }
    }

    /// All regions of the cluster, by name.
    pub async fn regions(&self) -> Result<Vec<RegionEntry>, Failure> {
        let listed = self.client.list_regions(self.read()).await?;
        listed
            .into_iter()
            .map(|region: regions::Region| {
                let name = region.name.parse().map_err(|invalid| {
                    Failure::local(format!("the gateway named a region {:?}: {invalid}", region.name))
                })?;
                Ok(RegionEntry { name, available: region.available })
            })
            .collect()
    }

    /// The caller's quota and use in a region, and how it is.
    pub async fn region(&self, region: &RegionName, freshness: Freshness) -> Result<RegionInfo, Failure> {
        let request =
            regions::GetRegionRequest { region: region.as_str().to_owned(), consistency: freshness.wire() };
        let answer = self.client.get_region(request, self.read()).await?;
        Ok(RegionInfo {
            region: answer.region,
            cluster: answer.cluster,
            tenant: answer.tenant,
            secrets_used: answer.secrets_used,
            secrets_quota: answer.secrets_quota,
            healthy: answer.healthy,
            revision: answer.revision,
        })
    }

    /// Creates a secret.
    pub async fn create(&self, region: &RegionName, secret: &NewSecret) -> Result<Created, Failure> {
        self.send_create(create_request(region, secret)).await
    }

    /// Has the region decide about a creation, without changing anything.
    pub async fn validate_create(&self, region: &RegionName, secret: &NewSecret) -> Result<Created, Failure> {
        let mut request = create_request(region, secret);
        request.validate_only = true;
        self.send_create(request).await
    }

    async fn send_create(&self, request: secrets::CreateRequest) -> Result<Created, Failure> {
        let answer = self.client.create(request, self.mutation()).await?;
        Ok(Created {
            secret: answered(answer.secret)?,
            quota_used: answer.quota_used,
            quota_limit: answer.quota_limit,
            warnings: answer.warnings,
        })
    }

    /// A secret's metadata.
    pub async fn get(
        &self,
        region: &RegionName,
        namespace: &Namespace,
        name: &SecretName,
        freshness: Freshness,
    ) -> Result<SecretView, Failure> {
        let request = secrets::GetRequest {
            region: region.as_str().to_owned(),
            namespace: namespace.as_str().to_owned(),
            name: name.as_str().to_owned(),
            consistency: freshness.wire(),
        };
        answered(self.client.get(request, self.read()).await?.secret)
    }

    /// A secret with its payload.
    pub async fn access(
        &self,
        region: &RegionName,
        namespace: &str,
        name: &str,
    ) -> Result<(SecretView, Zeroizing<Vec<u8>>), Failure> {
        let request = secrets::AccessRequest {
            region: region.as_str().to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let answer = self.client.access(request, self.read()).await?;
        let payload = Zeroizing::new(answer.payload);
        Ok((answered(answer.secret)?, payload))
    }

    /// Every secret of a namespace (`None`: of all) that a selector selects, ordered by namespace and name.
    pub async fn list(
        &self,
        region: &RegionName,
        namespace: Option<&Namespace>,
        selector: &str,
        freshness: Freshness,
    ) -> Result<Vec<SecretView>, Failure> {
        let mut views = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = secrets::ListRequest {
                region: region.as_str().to_owned(),
                namespace: namespace.map_or(String::new(), |it| it.as_str().to_owned()),
                label_selector: selector.to_owned(),
                page_size: PAGE_SIZE,
                page_token: page_token.clone(),
                consistency: freshness.wire(),
            };
            let answer = self.client.list(request, self.read()).await?;
            views.extend(answer.secrets.into_iter().map(view));
            if answer.next_page_token.is_empty() {
                return Ok(views);
            }
            page_token = answer.next_page_token;
        }
    }

    /// Changes a secret.
    pub async fn update(&self, region: &RegionName, change: &Change<'_>) -> Result<Updated, Failure> {
        self.send_update(update_request(region, change)).await
    }

    /// Has the region decide about a change, without changing anything.
    pub async fn validate_update(
        &self,
        region: &RegionName,
        change: &Change<'_>,
    ) -> Result<Updated, Failure> {
        let mut request = update_request(region, change);
        request.validate_only = true;
        self.send_update(request).await
    }

    async fn send_update(&self, request: secrets::UpdateRequest) -> Result<Updated, Failure> {
        let answer = self.client.update(request, self.mutation()).await?;
        let secret = answered(answer.secret)?;
        Ok(Updated { secret, changed: answer.changed, warnings: answer.warnings })
    }

    /// Deletes a secret; what it was.
    pub async fn delete(
        &self,
        region: &RegionName,
        namespace: &str,
        name: &str,
    ) -> Result<SecretView, Failure> {
        let request = secrets::DeleteRequest {
            region: region.as_str().to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            expect_uid: String::new(),
            expect_revision: 0,
        };
        answered(self.client.delete(request, self.mutation()).await?.secret)
    }

    /// Watches a region.
    pub fn watch(
        &self,
        region: &RegionName,
        namespace: Option<&Namespace>,
        name: Option<&SecretName>,
        selector: &str,
    ) -> Result<Watch, Failure> {
        let request = secrets::WatchRequest {
            region: region.as_str().to_owned(),
            namespace: namespace.map_or(String::new(), |it| it.as_str().to_owned()),
            name: name.map_or(String::new(), |it| it.as_str().to_owned()),
            label_selector: selector.to_owned(),
            resume_token: String::new(),
        };
        Ok(Watch(self.client.watch(request, CallOptions::default())?))
    }
}

impl Failure {
    /// True when the service said that there is no such secret.
    pub fn is_not_found(&self) -> bool {
        self.has_reason(reason::SECRET_NOT_FOUND)
    }

    /// True when the service said that there already is such a secret.
    pub fn is_exists(&self) -> bool {
        self.has_reason(reason::SECRET_EXISTS)
    }

    fn has_reason(&self, wanted: &str) -> bool {
        matches!(self, Failure::Service { source, .. } if source.reason() == Some(wanted))
    }
}

fn create_request(region: &RegionName, secret: &NewSecret) -> secrets::CreateRequest {
    secrets::CreateRequest {
        region: region.as_str().to_owned(),
        namespace: secret.namespace.as_str().to_owned(),
        name: secret.name.as_str().to_owned(),
        r#type: pi_types::SECRET_TYPE.to_owned(),
        labels: secret.labels.as_map().clone(),
        annotations: secret.annotations.as_map().clone(),
        payload: secret.payload.expose().to_vec(),
        validate_only: false,
    }
}

fn update_request(region: &RegionName, change: &Change<'_>) -> secrets::UpdateRequest {
    let wire_map = |map: &BTreeMap<String, String>| secrets::StringMap { entries: map.clone() };
    secrets::UpdateRequest {
        region: region.as_str().to_owned(),
        namespace: change.namespace.as_str().to_owned(),
        name: change.name.as_str().to_owned(),
        payload: change.payload.map(|it| it.expose().to_vec()),
        labels: change.labels.map(|it| wire_map(it.as_map())),
        annotations: change.annotations.map(|it| wire_map(it.as_map())),
        expect_uid: change.expect_uid.unwrap_or_default().to_owned(),
        expect_revision: change.expect_revision.unwrap_or_default(),
        validate_only: false,
    }
}

fn answered(secret: Option<secrets::Secret>) -> Result<SecretView, Failure> {
    secret
        .map(view)
        .ok_or_else(|| Failure::local("the region answered without the secret: its version does not fit"))
}

fn view(secret: secrets::Secret) -> SecretView {
    SecretView {
        region: secret.region,
        namespace: secret.namespace,
        name: secret.name,
        uid: secret.uid,
        labels: secret.labels.into_iter().collect(),
        annotations: secret.annotations.into_iter().collect(),
        revision: secret.revision,
        generation: secret.generation,
        create_time_ms: secret.create_time_ms,
        update_time_ms: secret.update_time_ms,
        payload_bytes: secret.payload_bytes,
    }
}
