//! Random names, ids and secrets for the round-trip tests. Names are short and of few letters, so that some are equal
//! and some are prefixes of others.

use pi_types::{Annotations, Labels, Namespace, PrincipalName, RequestId, SecretName, TenantId, Uid};
use proptest::prelude::*;

use crate::response::SecretMeta;

fn name<T: std::str::FromStr + std::fmt::Debug>(pattern: &'static str) -> impl Strategy<Value = T> {
    pattern.prop_map(|name| name.parse().unwrap_or_else(|_| panic!("a valid name: {name}")))
}

pub(crate) fn tenant() -> impl Strategy<Value = TenantId> {
    name("[ab]{1,3}(-[ab]{1,2})?")
}

pub(crate) fn principal() -> impl Strategy<Value = PrincipalName> {
    name("[ab]{1,3}(-[ab]{1,2})?")
}

pub(crate) fn place() -> impl Strategy<Value = (TenantId, Namespace, SecretName)> {
    (tenant(), name("[ab]{1,2}"), name("[ab]{1,3}([-.][ab]{1,2})?"))
}

pub(crate) fn uid() -> impl Strategy<Value = Uid> {
    any::<[u8; 16]>().prop_map(Uid::from_bytes)
}

pub(crate) fn request_id() -> impl Strategy<Value = RequestId> {
    any::<[u8; 16]>().prop_map(|mut bytes| {
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        RequestId::from_bytes(&bytes).unwrap()
    })
}

pub(crate) fn secret() -> impl Strategy<Value = SecretMeta> {
    let map = || proptest::collection::btree_map("[a-z]{1,8}", "[a-z0-9]{0,8}", 0..4);
    (place(), uid(), map(), map(), any::<(u64, u64, i64, i64, u32)>()).prop_map(
        |((_, namespace, name), uid, labels, annotations, numbers)| {
            let (revision, generation, create_time_ms, update_time_ms, payload_bytes) = numbers;
            SecretMeta {
                namespace,
                name,
                uid,
                labels: Labels::from_map(labels).unwrap(),
                annotations: Annotations::from_map(annotations).unwrap(),
                revision,
                generation,
                create_time_ms,
                update_time_ms,
                payload_bytes,
            }
        },
    )
}
