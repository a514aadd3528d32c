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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::arbitrary;

    proptest! {
        #[test]
        fn keys_round_trip_and_sort_like_the_names(a in arbitrary::tenant(), b in arbitrary::tenant()) {
            prop_assert_eq!(decode_key(&key(&a)).unwrap(), a.clone());
            prop_assert_eq!(key(&a).len(), 1 + a.as_str().len() + 1);
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
            prop_assert!(range().contains(&key(&a)));
        }

        #[test]
        fn records_round_trip(quota in any::<Option<u32>>(), counts in any::<(u32, u32, u64, u64, u64, u64)>()) {
            let (used, requests, feed_events, feed_first, feed_last, feed_compacted) = counts;
            let record =
                Tenant { quota_override: quota, used, requests, feed_events, feed_first, feed_last, feed_compacted };
            prop_assert_eq!(Tenant::decode(b"k", &record.encode()).unwrap(), record);
        }
    }
}
