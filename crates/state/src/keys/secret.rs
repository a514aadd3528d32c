//! 0x03, tenant, namespace, name: a secret without its payload, so that lists never read payloads.

use pi_types::{Namespace, SecretName, TenantId};

use super::{Range, Reader, Writer, text_len};
use crate::codec;
use crate::response::SecretMeta;
use crate::store::Fatal;

const ORDINAL: u8 = 0x03;

/// The key of a secret.
pub(crate) fn key(tenant: &TenantId, namespace: &Namespace, name: &SecretName) -> Vec<u8> {
    let len = text_len(tenant.as_str()) + text_len(namespace.as_str()) + text_len(name.as_str());
    Writer::new(ORDINAL, len).text(tenant.as_str()).text(namespace.as_str()).text(name.as_str()).finish()
}

/// The tenant, namespace and name of a key.
pub(crate) fn decode_key(key: &[u8]) -> Result<(TenantId, Namespace, SecretName), Fatal> {
    let mut reader = Reader::new(key, ORDINAL)?;
    let parts = (reader.text()?, reader.text()?, reader.text()?);
    reader.finish()?;
    Ok(parts)
}

/// A tenant's secrets, in all namespaces or in one.
pub(crate) fn range(tenant: &TenantId, namespace: Option<&Namespace>) -> Range {
    let len = text_len(tenant.as_str()) + namespace.map_or(0, |namespace| text_len(namespace.as_str()));
    let writer = Writer::new(ORDINAL, len).text(tenant.as_str());
    match namespace {
        Some(namespace) => writer.text(namespace.as_str()).prefix_range(),
        None => writer.prefix_range(),
    }
}

/// All secrets of all tenants.
pub(crate) fn range_all() -> Range {
    Writer::new(ORDINAL, 0).prefix_range()
}

pub(crate) fn encode(secret: &SecretMeta) -> Vec<u8> {
    codec::encode(secret, 160)
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<SecretMeta, Fatal> {
    codec::decode(key, value, "a secret does not decode")
}
