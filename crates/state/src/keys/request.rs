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
