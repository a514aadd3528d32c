//! What one operation is, in each system's API. Both sides use the same generated client stack (tonic), the same
//! payload, keys of the same length, one deadline header and no retry, so that only the servers differ.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use pi_proto::metadata;
use pi_proto::secrets::v1::secrets_client::SecretsClient;
use pi_proto::secrets::v1::{AccessRequest, CreateRequest};
use pi_types::docker_config::{self, Credential};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use zeroize::Zeroizing;

use crate::args::Load;
use crate::etcd::pb;

/// Tenants that the secrets belong to, in turn.
pub const TENANTS: usize = 1_000;
/// Secrets that exist before the clock starts, for accesses.
pub const PREPARED: usize = 10_000;
/// Bytes of every payload.
pub const PAYLOAD_BYTES: usize = 256;
/// HTTP/2 connections that the clients share.
pub const CONNECTIONS: usize = 4;
/// The region under test.
pub const REGION: &str = "bench";
/// The deadline of one operation.
const DEADLINE: Duration = Duration::from_secs(10);

/// The name of a tenant.
pub fn tenant(number: usize) -> String {
    format!("tenant-{:04}", number % TENANTS)
}

/// A secret's name in words: who made it, and which of its secrets it is.
pub struct Name {
    pub tenant: usize,
    pub name: String,
}

impl Name {
    /// One of the secrets that exist before the clock starts.
    pub fn prepared(number: usize) -> Self {
        Self { tenant: number % TENANTS, name: format!("prepared-{number:06}-00000000") }
    }

    /// A secret that nobody else makes.
    pub fn new(serial: u32, client: usize, number: usize) -> Self {
        // The prime spreads the clients, which all count from 0, over the tenants.
        Self {
            tenant: (client * 7_919 + number) % TENANTS,
            name: format!("s{serial:04}-c{client:04}-{number:012}"),
        }
    }
}

/// A system under load.
pub trait Target {
    /// Creates a secret that does not exist; one that does is a failure.
    fn create(&self, connection: usize, name: Name) -> impl Future<Output = Result<()>>;
    /// Reads a payload linearizably; one that differs from what was written is a failure.
    fn access(&self, connection: usize, name: Name) -> impl Future<Output = Result<()>>;
}

/// Pi Secrets through its gateway, as any gRPC client sees it.
pub struct Pi {
    clients: Vec<SecretsClient<Channel>>,
    authorizations: Vec<MetadataValue<tonic::metadata::Ascii>>,
    payload: Vec<u8>,
}

impl Pi {
    pub async fn connect(load: &Load) -> Result<Self> {
        let authorizations = (0..TENANTS)
            .map(|number| Ok(MetadataValue::try_from(format!("Bearer insecure:{}", tenant(number)))?))
            .collect::<Result<_>>()?;
        Ok(Self {
            clients: channels(load).await?.into_iter().map(SecretsClient::new).collect(),
            authorizations,
            payload: payload()?,
        })
    }

    fn request<T>(&self, tenant: usize, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(DEADLINE);
        request.metadata_mut().insert(metadata::AUTHORIZATION, self.authorizations[tenant].clone());
        request
    }
}

impl Target for Pi {
    async fn create(&self, connection: usize, name: Name) -> Result<()> {
        let message = CreateRequest {
            region: REGION.to_owned(),
            name: name.name,
            payload: self.payload.clone(),
            ..CreateRequest::default()
        };
        let mut request = self.request(name.tenant, message);
        let id = uuid::Uuid::now_v7().to_string();
        request.metadata_mut().insert(metadata::REQUEST_ID, MetadataValue::try_from(id)?);
        self.clients[connection].clone().create(request).await?;
        Ok(())
    }

    async fn access(&self, connection: usize, name: Name) -> Result<()> {
        let message =
            AccessRequest { region: REGION.to_owned(), name: name.name, ..AccessRequest::default() };
        let request = self.request(name.tenant, message);
        let answer = self.clients[connection].clone().access(request).await?;
        if answer.get_ref().payload != self.payload {
            bail!("the payload read is not the one written");
        }
        Ok(())
    }
}

/// etcd, spoken to directly: it has no gateway.
pub struct Etcd {
    clients: Vec<pb::kv_client::KvClient<Channel>>,
    payload: Vec<u8>,
}

impl Etcd {
    pub async fn connect(load: &Load) -> Result<Self> {
        let clients = channels(load).await?.into_iter().map(pb::kv_client::KvClient::new).collect();
        Ok(Self { clients, payload: payload()? })
    }

    fn request<T>(message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(DEADLINE);
        request
    }

    fn key(name: &Name) -> Vec<u8> {
        format!("/{}/default/{}", tenant(name.tenant), name.name).into_bytes()
    }
}

impl Target for Etcd {
    async fn create(&self, connection: usize, name: Name) -> Result<()> {
        let key = Self::key(&name);
        let absent = pb::Compare {
            result: pb::compare::CompareResult::Equal.into(),
            target: pb::compare::CompareTarget::Create.into(),
            key: key.clone(),
            target_union: Some(pb::compare::TargetUnion::CreateRevision(0)),
        };
        let put = pb::PutRequest { key, value: self.payload.clone() };
        let put = pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) };
        let request =
            Self::request(pb::TxnRequest { compare: vec![absent], success: vec![put], failure: vec![] });
        let answer = self.clients[connection].clone().txn(request).await?;
        if !answer.get_ref().succeeded {
            bail!("the key exists");
        }
        Ok(())
    }

    async fn access(&self, connection: usize, name: Name) -> Result<()> {
        let request = Self::request(pb::RangeRequest { key: Self::key(&name), serializable: false });
        let answer = self.clients[connection].clone().range(request).await?;
        match answer.get_ref().kvs.as_slice() {
            [only] if only.value == self.payload => Ok(()),
            [_] => bail!("the value read is not the one written"),
            _ => bail!("the key is not there"),
        }
    }
}

/// [`CONNECTIONS`] connections, spread over the servers. Which server gets one more changes with the serial number.
async fn channels(load: &Load) -> Result<Vec<Channel>> {
    let mut channels = Vec::with_capacity(CONNECTIONS);
    for connection in 0..CONNECTIONS {
        let endpoint = &load.endpoints[(connection + load.serial as usize) % load.endpoints.len()];
        let channel = Endpoint::from_shared(format!("http://{endpoint}"))?
            .tcp_nodelay(true)
            .connect_timeout(DEADLINE)
            .connect()
            .await
            .with_context(|| format!("cannot connect to {endpoint}"))?;
        channels.push(channel);
    }
    Ok(channels)
}

/// A valid docker configuration of exactly [`PAYLOAD_BYTES`].
fn payload() -> Result<Vec<u8>> {
    let write = |email: usize| {
        docker_config::write(&Credential {
            server: "https://registry.example.com/v1/".to_owned(),
            username: "benchmark".to_owned(),
            password: Zeroizing::new("correct-horse-battery-staple".to_owned()),
            email: Some(format!("{}@example.com", "b".repeat(email))),
        })
    };
    let missing = PAYLOAD_BYTES.checked_sub(write(1).len()).context("the payload is too long")?;
    let payload = write(1 + missing).to_vec();
    docker_config::check(&payload)?;
    anyhow::ensure!(payload.len() == PAYLOAD_BYTES, "the payload has {} bytes", payload.len());
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_valid_and_has_its_size() {
        assert_eq!(payload().expect("a payload").len(), PAYLOAD_BYTES);
    }

    #[test]
    fn names_are_valid_unique_and_of_one_length() {
        let all =
            [Name::prepared(0), Name::prepared(9_999), Name::new(1, 0, 0), Name::new(9_999, 255, 1_000_000)];
        for name in &all {
            assert!(name.name.parse::<pi_types::SecretName>().is_ok(), "{}", name.name);
            assert!(tenant(name.tenant).parse::<pi_types::TenantId>().is_ok());
            assert_eq!(name.name.len(), all[0].name.len(), "{}", name.name);
        }
    }
}
