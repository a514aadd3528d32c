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
