//! 0x04, tenant, namespace, name: a secret's sealed payload.
//!
//! The record repeats the uid and generation that the payload was sealed for; a reader compares them with the
//! secret's.

use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};
use pi_types::{Namespace, SecretName, TenantId, Uid};

use super::{Range, Reader, Writer, text_len};
use crate::codec;
use crate::command::SealedPayload;
use crate::store::Fatal;

const ORDINAL: u8 = 0x04;

/// A stored payload.
#[derive(Encode, Decode)]
pub(crate) struct Payload<'a> {
    #[n(0)]
    #[cbor(with = "crate::codec::uid")]
    pub(crate) uid: Uid,
    #[n(1)]
    pub(crate) generation: u64,
    #[b(2)]
    pub(crate) sealed: &'a ByteSlice,
}

/// The key of a secret's payload.
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

/// All payloads of all tenants.
pub(crate) fn range_all() -> Range {
    Writer::new(ORDINAL, 0).prefix_range()
}

pub(crate) fn encode(payload: &SealedPayload) -> Vec<u8> {
    let record = Payload {
        uid: payload.uid,
        generation: payload.generation,
        sealed: payload.sealed.as_slice().into(),
    };
    codec::encode(&record, payload.sealed.len() + 32)
}

pub(crate) fn decode<'b>(key: &[u8], value: &'b [u8]) -> Result<Payload<'b>, Fatal> {
    codec::decode(key, value, "a payload does not decode")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::arbitrary;

    proptest! {
        #[test]
        fn keys_round_trip(place in arbitrary::place()) {
            let key = key(&place.0, &place.1, &place.2);
            prop_assert!(range_all().contains(&key));
            prop_assert_eq!(decode_key(&key).unwrap(), place);
        }

        #[test]
        fn records_round_trip(
            uid in any::<[u8; 16]>(),
            generation in any::<u64>(),
            sealed in proptest::collection::vec(any::<u8>(), 0..5_000),
        ) {
            let uid = Uid::from_bytes(uid);
            let value = encode(&SealedPayload { sealed: sealed.clone(), plaintext_bytes: 1, uid, generation });
            let decoded = decode(b"k", &value).unwrap();
            prop_assert_eq!((decoded.uid, decoded.generation), (uid, generation));
            prop_assert_eq!(&decoded.sealed[..], &sealed[..]);
        }
    }
}
