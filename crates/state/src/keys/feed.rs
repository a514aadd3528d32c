//! 0x07, tenant, revision: one change of one of the tenant's secrets.

use minicbor::{Decode, Encode};
use pi_types::TenantId;

use super::{Range, Reader, Writer, text_len};
use crate::codec;
use crate::query::{Change, ChangeKind};
use crate::response::SecretMeta;
use crate::store::Fatal;

const ORDINAL: u8 = 0x07;

#[derive(Decode)]
struct Record {
    #[n(0)]
    kind: ChangeKind,
    #[n(1)]
    secret: SecretMeta,
}

/// The same record, borrowing the secret.
#[derive(Encode)]
struct RecordRef<'a> {
    #[n(0)]
    kind: ChangeKind,
    #[n(1)]
    secret: &'a SecretMeta,
}

/// The key of a change.
pub(crate) fn key(tenant: &TenantId, revision: u64) -> Vec<u8> {
    Writer::new(ORDINAL, text_len(tenant.as_str()) + 8)
        .text(tenant.as_str())
        .raw(&revision.to_be_bytes())
        .finish()
}

/// The tenant and revision of a key.
pub(crate) fn decode_key(key: &[u8]) -> Result<(TenantId, u64), Fatal> {
    let mut reader = Reader::new(key, ORDINAL)?;
    let tenant = reader.text()?;
    let revision = u64::from_be_bytes(reader.raw()?);
    reader.finish()?;
    Ok((tenant, revision))
}

/// A tenant's changes from a revision on, that one included.
pub(crate) fn range_from(tenant: &TenantId, revision: u64) -> Range {
    let Range { to, .. } =
        Writer::new(ORDINAL, text_len(tenant.as_str())).text(tenant.as_str()).prefix_range();
    Range { from: key(tenant, revision), to }
}

/// All changes of all tenants.
pub(crate) fn range_all() -> Range {
    Writer::new(ORDINAL, 0).prefix_range()
}

pub(crate) fn encode(kind: ChangeKind, secret: &SecretMeta) -> Vec<u8> {
    codec::encode(&RecordRef { kind, secret }, 164)
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Change, Fatal> {
    let (_, revision) = decode_key(key)?;
    let record: Record = codec::decode(key, value, "a change does not decode")?;
    Ok(Change { revision, kind: record.kind, secret: record.secret })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::arbitrary;

    proptest! {
        #[test]
        fn keys_round_trip_and_sort_by_revision(
            a in (arbitrary::tenant(), any::<u64>()),
            b in (arbitrary::tenant(), any::<u64>()),
        ) {
            prop_assert_eq!(decode_key(&key(&a.0, a.1)).unwrap(), a.clone());
            prop_assert_eq!(key(&a.0, a.1).cmp(&key(&b.0, b.1)), a.cmp(&b));
            let within = a.0 == b.0 && b.1 >= a.1;
            prop_assert_eq!(range_from(&a.0, a.1).contains(&key(&b.0, b.1)), within);
        }

        #[test]
        fn records_round_trip(tenant in arbitrary::tenant(), revision in any::<u64>(), secret in arbitrary::secret()) {
            for kind in [ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted] {
                let change = Change { revision, kind, secret: secret.clone() };
                prop_assert_eq!(decode(&key(&tenant, revision), &encode(kind, &secret)).unwrap(), change);
            }
        }
    }
}
