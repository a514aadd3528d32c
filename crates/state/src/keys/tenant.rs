//! 0x02, tenant: what is counted per tenant.

use minicbor::{Decode, Encode};
use pi_types::TenantId;
use pi_types::limits::SECRETS_QUOTA_DEFAULT;

use super::{Range, Reader, Writer, text_len};
use crate::codec;
use crate::store::Fatal;

const ORDINAL: u8 = 0x02;

/// A tenant's counts. A tenant without a record has the default one, and a record equal to that is not stored.
///
/// - `used` is the number of its secrets, over all namespaces.
/// - `requests` is the number of its remembered requests.
/// - `feed_events` is the number of its events; they have the revisions `feed_first ..= feed_last`, and all of its
///   changes up to `feed_compacted` are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Tenant {
    /// `None`: the default quota, whatever that is in a later version.
    #[n(0)]
    pub(crate) quota_override: Option<u32>,
    #[n(1)]
    pub(crate) used: u32,
    #[n(2)]
    pub(crate) requests: u32,
    #[n(3)]
    pub(crate) feed_events: u64,
    #[n(4)]
    pub(crate) feed_first: u64,
    #[n(5)]
    pub(crate) feed_last: u64,
    #[n(6)]
    pub(crate) feed_compacted: u64,
}

impl Tenant {
    /// How many secrets the tenant may have.
    pub(crate) fn quota(&self) -> u32 {
        self.quota_override.unwrap_or(SECRETS_QUOTA_DEFAULT)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(self, 40)
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Tenant, Fatal> {
        codec::decode(key, value, "a tenant's record does not decode")
    }
}

/// The key of a tenant's record.
pub(crate) fn key(tenant: &TenantId) -> Vec<u8> {
    Writer::new(ORDINAL, text_len(tenant.as_str())).text(tenant.as_str()).finish()
}

/// The tenant of a key.
pub(crate) fn decode_key(key: &[u8]) -> Result<TenantId, Fatal> {
    let mut reader = Reader::new(key, ORDINAL)?;
    let tenant = reader.text()?;
    reader.finish()?;
    Ok(tenant)
}

/// All tenants.
pub(crate) fn range() -> Range {
    Writer::new(ORDINAL, 0).prefix_range()
}
