//! 0x01: the header, the one record that every transaction writes.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use crate::codec;
use crate::store::{Fatal, Read};

/// The only key of its kind.
pub(crate) const KEY: &[u8] = &[0x01];

/// What holds for the whole state.
///
/// - `revision` and `log_time_ms` never decrease.
/// - `revision >= revision_base`: a restore moves both to the new base at once, so that a list after it gives a
///   revision to watch from.
/// - `digest` covers every key of the state machine but the header's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `revision_base` + the log index of the last entry that changed something a user sees; 0 before the first.
    pub revision: u64,
    /// Added to log indexes to make revisions; moves up when the region is restored into a new group.
    pub revision_base: u64,
    /// The greatest proposer's clock seen so far, milliseconds since the Unix epoch.
    pub log_time_ms: i64,
    /// The digest of the state; it finds divergence, not tampering.
    pub digest: [u8; 16],
    /// No remembered request has an id below this one. Where eviction starts to look, so that it neither looks when
    /// nothing can be old nor wades through what it deleted before.
    pub(crate) requests_from: [u8; 16],
}

impl Default for Header {
    fn default() -> Self {
        Header {
            revision: 0,
            revision_base: 0,
            log_time_ms: 0,
            digest: [0; 16],
            requests_from: [u8::MAX; 16],
        }
    }
}

#[derive(Encode, Decode)]
struct Record {
    #[n(0)]
    revision: u64,
    #[n(1)]
    revision_base: u64,
    #[n(2)]
    log_time_ms: i64,
    #[n(3)]
    digest: ByteArray<16>,
    #[n(4)]
    requests_from: ByteArray<16>,
}

impl Header {
    /// The header of a state; that of the empty state when there is none.
    pub fn read(state: &dyn Read) -> Result<Header, Fatal> {
        match state.get(KEY)? {
            Some(value) => Header::decode(&value),
            None => Ok(Header::default()),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let record = Record {
            revision: self.revision,
            revision_base: self.revision_base,
            log_time_ms: self.log_time_ms,
            digest: self.digest.into(),
            requests_from: self.requests_from.into(),
        };
        codec::encode(&record, 64)
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Header, Fatal> {
        let record: Record = codec::decode(KEY, value, "the header does not decode")?;
        Ok(Header {
            revision: record.revision,
            revision_base: record.revision_base,
            log_time_ms: record.log_time_ms,
            digest: record.digest.into(),
            requests_from: record.requests_from.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(
            numbers in any::<(u64, u64, i64)>(),
            digest in any::<[u8; 16]>(),
            requests_from in any::<[u8; 16]>(),
        ) {
            let (revision, revision_base, log_time_ms) = numbers;
            let header = Header { revision, revision_base, log_time_ms, digest, requests_from };
            prop_assert_eq!(Header::decode(&header.encode()).unwrap(), header);
        }
    }
}
