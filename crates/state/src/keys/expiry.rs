//! 0x06, request id, tenant, principal: remembered requests in order of age. The record is empty.

use pi_types::{PrincipalName, RequestId, TenantId};

use super::request::RequestKey;
use super::{Range, Reader, Writer, text_len};
use crate::store::Fatal;

const ORDINAL: u8 = 0x06;

/// The key of a remembered request in order of age.
pub(crate) fn key(request_id: &RequestId, tenant: &TenantId, principal: &PrincipalName) -> Vec<u8> {
    let len = 16 + text_len(tenant.as_str()) + text_len(principal.as_str());
    Writer::new(ORDINAL, len)
        .raw(request_id.as_bytes())
        .text(tenant.as_str())
        .text(principal.as_str())
        .finish()
}

/// The parts of a key.
pub(crate) fn decode_key(key: &[u8]) -> Result<RequestKey, Fatal> {
    let mut reader = Reader::new(key, ORDINAL)?;
    let id = reader.raw::<16>()?;
    let request_id = RequestId::from_bytes(&id)
        .map_err(|_| Fatal::corrupt(key, "a request id in a key is not a UUIDv7"))?;
    let (tenant, principal) = (reader.text()?, reader.text()?);
    reader.finish()?;
    Ok(RequestKey { tenant, request_id, principal })
}

/// The requests whose ids are not below `from`.
pub(crate) fn range_from(from: &[u8; 16]) -> Range {
    let Range { from: mut start, to } = range_all();
    start.extend_from_slice(from);
    Range { from: start, to }
}

/// All remembered requests.
pub(crate) fn range_all() -> Range {
    Writer::new(ORDINAL, 0).prefix_range()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::arbitrary;

    proptest! {
        #[test]
        fn keys_round_trip_and_sort_by_age(
            a in (arbitrary::request_id(), arbitrary::tenant(), arbitrary::principal()),
            b in (arbitrary::request_id(), arbitrary::tenant(), arbitrary::principal()),
        ) {
            let (key_a, key_b) = (key(&a.0, &a.1, &a.2), key(&b.0, &b.1, &b.2));
            prop_assert_eq!(key_a.cmp(&key_b), a.cmp(&b));
            prop_assert!(range_from(a.0.as_bytes()).contains(&key_a));
            prop_assert_eq!(range_from(a.0.as_bytes()).contains(&key_b), b.0 >= a.0);
            let (request_id, tenant, principal) = a;
            prop_assert_eq!(decode_key(&key_a).unwrap(), RequestKey { tenant, request_id, principal });
        }
    }
}
