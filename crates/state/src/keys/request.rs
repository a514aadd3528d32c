//! 0x05, tenant, request id, principal: a remembered request and the answer it got.
//!
//! The request id comes before the principal so that a tenant's requests are in order of age.

use minicbor::{Decode, Encode};
use pi_types::{Namespace, PrincipalName, RequestId, SecretName, TenantId};

use super::{Range, Reader, Writer, text_len};
use crate::codec;
use crate::command::CommandKind;
use crate::response::Response;
use crate::store::Fatal;

const ORDINAL: u8 = 0x05;

/// Who asked, under which id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestKey {
    pub(crate) tenant: TenantId,
    pub(crate) request_id: RequestId,
    pub(crate) principal: PrincipalName,
}

/// What may be asked. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Method {
    #[n(1)]
    CreateSecret,
    #[n(2)]
    UpdateSecret,
    #[n(3)]
    DeleteSecret,
    #[n(4)]
    SetQuota,
}

/// What a request id was used for: the same id for another target is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) method: Method,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Target<'a> {
    /// Payloads, labels and the like are no part of it: the ciphertexts of a retry differ.
    pub(crate) fn of(kind: &'a CommandKind) -> Target<'a> {
        let secret = |method, namespace: &'a Namespace, name: &'a SecretName| Target {
            method,
            namespace: namespace.as_str(),
            name: name.as_str(),
        };
        match kind {
            CommandKind::CreateSecret { namespace, name, .. } => {
                secret(Method::CreateSecret, namespace, name)
            }
            CommandKind::UpdateSecret { namespace, name, .. } => {
                secret(Method::UpdateSecret, namespace, name)
            }
            CommandKind::DeleteSecret { namespace, name, .. } => {
                secret(Method::DeleteSecret, namespace, name)
            }
            CommandKind::SetQuota { .. } => Target { method: Method::SetQuota, namespace: "", name: "" },
        }
    }
}

#[derive(Decode)]
struct Record<'a> {
    #[n(0)]
    method: Method,
    #[b(1)]
    namespace: &'a str,
    #[b(2)]
    name: &'a str,
    #[n(3)]
    response: Response,
}

/// The same record, borrowing the response.
#[derive(Encode)]
struct RecordRef<'a> {
    #[n(0)]
    method: Method,
    #[n(1)]
    namespace: &'a str,
    #[n(2)]
    name: &'a str,
    #[n(3)]
    response: &'a Response,
}

/// The key of a remembered request.
pub(crate) fn key(tenant: &TenantId, request_id: &RequestId, principal: &PrincipalName) -> Vec<u8> {
    let len = text_len(tenant.as_str()) + 16 + text_len(principal.as_str());
    Writer::new(ORDINAL, len)
        .text(tenant.as_str())
        .raw(request_id.as_bytes())
        .text(principal.as_str())
        .finish()
}

/// The parts of a key.
pub(crate) fn decode_key(key: &[u8]) -> Result<RequestKey, Fatal> {
    let mut reader = Reader::new(key, ORDINAL)?;
    let tenant = reader.text()?;
    let id = reader.raw::<16>()?;
    let request_id = RequestId::from_bytes(&id)
        .map_err(|_| Fatal::corrupt(key, "a request id in a key is not a UUIDv7"))?;
    let principal = reader.text()?;
    reader.finish()?;
    Ok(RequestKey { tenant, request_id, principal })
}

/// A tenant's remembered requests whose ids are not below `from`.
pub(crate) fn range_from(tenant: &TenantId, from: &[u8; 16]) -> Range {
    let Range { from: mut start, to } = range(tenant);
    start.extend_from_slice(from);
    Range { from: start, to }
}

/// A tenant's remembered requests.
pub(crate) fn range(tenant: &TenantId) -> Range {
    Writer::new(ORDINAL, text_len(tenant.as_str())).text(tenant.as_str()).prefix_range()
}

/// All remembered requests.
pub(crate) fn range_all() -> Range {
    Writer::new(ORDINAL, 0).prefix_range()
}

pub(crate) fn encode(target: Target<'_>, response: &Response) -> Vec<u8> {
    let Target { method, namespace, name } = target;
    codec::encode(&RecordRef { method, namespace, name, response }, 240)
}

/// The target and the answer of a remembered request.
pub(crate) fn decode<'b>(key: &[u8], value: &'b [u8]) -> Result<(Target<'b>, Response), Fatal> {
    let record: Record<'b> = codec::decode(key, value, "a remembered request does not decode")?;
    let Record { method, namespace, name, response } = record;
    Ok((Target { method, namespace, name }, response))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::arbitrary;
    use crate::response::{Outcome, Reject};

    fn outcome() -> impl Strategy<Value = Outcome> {
        let counts = any::<(u32, u32)>();
        prop_oneof![
            Just(Outcome::Blank),
            (arbitrary::secret(), counts).prop_map(|(secret, (used, quota))| Outcome::Created {
                secret,
                used,
                quota
            }),
            (arbitrary::secret(), any::<bool>())
                .prop_map(|(secret, changed)| Outcome::Updated { secret, changed }),
            (arbitrary::secret(), counts).prop_map(|(secret, (used, quota))| Outcome::Deleted {
                secret,
                used,
                quota
            }),
            counts.prop_map(|(used, quota)| Outcome::QuotaSet { used, quota }),
            (arbitrary::uid(), any::<u64>())
                .prop_map(|(uid, generation)| Outcome::Reseal { uid, generation }),
            reject().prop_map(Outcome::Rejected),
        ]
    }

    fn reject() -> impl Strategy<Value = Reject> {
        prop_oneof![
            Just(Reject::AlreadyExists),
            Just(Reject::NotFound),
            any::<(u32, u32)>().prop_map(|(used, quota)| Reject::QuotaExceeded { used, quota }),
            any::<u32>().prop_map(|bytes| Reject::PayloadTooLarge { bytes }),
            (arbitrary::uid(), any::<u64>())
                .prop_map(|(uid, revision)| Reject::PreconditionFailed { uid, revision }),
            any::<i64>().prop_map(|age_ms| Reject::RequestTooOld { age_ms }),
            any::<i64>().prop_map(|ahead_ms| Reject::RequestFromFuture { ahead_ms }),
            Just(Reject::RequestReused),
            Just(Reject::RequestTableFull),
            any::<(String, String)>().prop_map(|(field, reason)| Reject::Invalid { field, reason }),
        ]
    }

    fn request() -> impl Strategy<Value = RequestKey> {
        (arbitrary::tenant(), arbitrary::request_id(), arbitrary::principal())
            .prop_map(|(tenant, request_id, principal)| RequestKey { tenant, request_id, principal })
    }

    proptest! {
        #[test]
        fn keys_round_trip_and_sort_by_age(a in request(), b in request()) {
            let key_of = |request: &RequestKey| key(&request.tenant, &request.request_id, &request.principal);
            prop_assert_eq!(decode_key(&key_of(&a)).unwrap(), a.clone());
            let order = |request: &RequestKey| {
                (request.tenant.clone(), *request.request_id.as_bytes(), request.principal.clone())
            };
            prop_assert_eq!(key_of(&a).cmp(&key_of(&b)), order(&a).cmp(&order(&b)));
            prop_assert_eq!(range(&a.tenant).contains(&key_of(&b)), a.tenant == b.tenant);
            prop_assert!(range_from(&a.tenant, a.request_id.as_bytes()).contains(&key_of(&a)));
        }

        #[test]
        fn records_round_trip(revision in any::<u64>(), outcome in outcome(), place in arbitrary::place()) {
            let response = Response { revision, replayed: false, outcome };
            let (namespace, name) = (place.1.as_str(), place.2.as_str());
            for method in [Method::CreateSecret, Method::UpdateSecret, Method::DeleteSecret, Method::SetQuota] {
                let target = Target { method, namespace, name };
                let value = encode(target, &response);
                prop_assert_eq!(decode(b"k", &value).unwrap(), (target, response.clone()));
            }
        }
    }
}
