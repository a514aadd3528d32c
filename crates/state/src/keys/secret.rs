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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::arbitrary;

    proptest! {
        #[test]
        fn keys_round_trip_and_sort_like_the_names(a in arbitrary::place(), b in arbitrary::place()) {
            let key_of = |place: &(TenantId, Namespace, SecretName)| key(&place.0, &place.1, &place.2);
            let len = 1 + a.0.as_str().len() + 1 + a.1.as_str().len() + 1 + a.2.as_str().len() + 1;
            prop_assert_eq!(key_of(&a).len(), len);
            prop_assert_eq!(decode_key(&key_of(&a)).unwrap(), a.clone());
            prop_assert_eq!(key_of(&a).cmp(&key_of(&b)), a.cmp(&b));
        }

        #[test]
        fn ranges_hold_their_own_keys_and_no_others(a in arbitrary::place(), b in arbitrary::place()) {
            let key_b = key(&b.0, &b.1, &b.2);
            prop_assert_eq!(range(&a.0, None).contains(&key_b), a.0 == b.0);
            prop_assert_eq!(range(&a.0, Some(&a.1)).contains(&key_b), (&a.0, &a.1) == (&b.0, &b.1));
            prop_assert!(range_all().contains(&key_b));
        }

        #[test]
        fn records_round_trip(secret in arbitrary::secret()) {
            prop_assert_eq!(decode(b"k", &encode(&secret)).unwrap(), secret);
        }
    }
}
