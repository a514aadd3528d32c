//! What a log record and a meta value look like on disk.
//!
//! A log record is stored under its index, big-endian, as
//!
//! | bytes | |
//! |--:|---|
//! | 1 | format, 1 |
//! | 8 | term |
//! | 4 | checksum of the record before it (the *chain*) |
//! | 4 | its own CRC-32C, over index, format, term, chain and entry |
//! | … | the encoded entry |
//!
//! RocksDB checks its own blocks; this finds what lies above and below them: a record under a wrong key, one from
//! another history, one that was lost between two others, a bit flipped in memory before RocksDB saw it.
//!
//! A meta value is followed by the CRC-32C of its key and itself.

use bytes::Bytes;
use pi_raft::store::LogRecord;

use crate::error::{Error, Result};

/// The stored format of a log record.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + 8 + 4 + 4;
const CRC_BYTES: usize = 4;

/// The chain value before the first record of a log that starts from nothing.
pub(crate) const CHAIN_START: u32 = 0;

/// The key of a log record.
pub(crate) fn log_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// A record read back.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) record: LogRecord,
    /// The checksum of the record before it.
    pub(crate) chain: u32,
    /// Its own checksum.
    pub(crate) crc: u32,
}

/// Writes a record into `out`, replacing what is there; returns its checksum, the chain value for the next.
pub(crate) fn encode_log(record: &LogRecord, chain: u32, out: &mut Vec<u8>) -> u32 {
    let crc = checksum(record.index, record.term, chain, &record.bytes);
    out.clear();
    out.push(FORMAT);
    out.extend_from_slice(&record.term.to_be_bytes());
    out.extend_from_slice(&chain.to_be_bytes());
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(&record.bytes);
    crc
}

/// Reads the record stored under `key`, which must be `index`.
pub(crate) fn decode_log(index: u64, key: &[u8], value: &[u8]) -> Result<Stored> {
    let damaged = |why: String| Error::corrupt(format!("log record {index}"), why);
    if key != log_key(index) {
        return Err(damaged(format!("it is missing; the next key is {}", hex(key))));
    }
    let Some((header, entry)) = value.split_at_checked(HEADER_BYTES) else {
        return Err(damaged(format!("{} bytes are too few", value.len())));
    };
    if header[0] != FORMAT {
        return Err(damaged(format!("format {}, this build reads {FORMAT}", header[0])));
    }
    let term = u64::from_be_bytes(header[1..9].try_into().expect("eight bytes"));
    let chain = u32::from_be_bytes(header[9..13].try_into().expect("four bytes"));
    let crc = u32::from_be_bytes(header[13..17].try_into().expect("four bytes"));
    if checksum(index, term, chain, entry) != crc {
        return Err(damaged("its checksum does not match".to_owned()));
    }
    Ok(Stored { record: LogRecord { index, term, bytes: Bytes::copy_from_slice(entry) }, chain, crc })
}

/// Checks that `stored` was written behind a record with checksum `before`.
pub(crate) fn check_chain(before: u32, stored: &Stored) -> Result<()> {
    if stored.chain == before {
        return Ok(());
    }
    Err(Error::corrupt(
        format!("log record {}", stored.record.index),
        "it was written behind another record than the one before it",
    ))
}

fn checksum(index: u64, term: u64, chain: u32, entry: &[u8]) -> u32 {
    let mut head = [0; 8 + 1 + 8 + 4];
    head[..8].copy_from_slice(&index.to_be_bytes());
    head[8] = FORMAT;
    head[9..17].copy_from_slice(&term.to_be_bytes());
    head[17..].copy_from_slice(&chain.to_be_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), entry)
}

/// A meta value with its checksum.
pub(crate) fn encode_meta(key: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + CRC_BYTES);
    out.extend_from_slice(value);
    out.extend_from_slice(&meta_checksum(key, value).to_be_bytes());
    out
}

/// The meta value in `stored`, checked.
pub(crate) fn decode_meta<'a>(key: &str, stored: &'a [u8]) -> Result<&'a [u8]> {
    let damaged = |why: &str| Error::corrupt(format!("meta record {key}"), why);
    let at = stored.len().checked_sub(CRC_BYTES).ok_or_else(|| damaged("too short"))?;
    let (value, crc) = stored.split_at(at);
    if meta_checksum(key, value).to_be_bytes() != *crc {
        return Err(damaged("its checksum does not match"));
    }
    Ok(value)
}

/// A number in a meta value.
pub(crate) fn decode_u64(key: &str, value: &[u8]) -> Result<u64> {
    let bytes = value.try_into().map_err(|_| Error::corrupt(format!("meta record {key}"), "not a number"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn meta_checksum(key: &str, value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(index: u64) -> LogRecord {
        LogRecord { index, term: 3, bytes: Bytes::from_static(b"an entry") }
    }

    #[test]
    fn a_record_comes_back_as_it_went() {
        let mut out = Vec::new();
        let crc = encode_log(&record(7), 42, &mut out);
        let stored = decode_log(7, &log_key(7), &out).unwrap();
        assert_eq!((stored.record.index, stored.record.term, stored.chain, stored.crc), (7, 3, 42, crc));
        assert_eq!(stored.record.bytes, record(7).bytes);
        check_chain(42, &stored).unwrap();
        assert!(check_chain(43, &stored).is_err());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut out = Vec::new();
        encode_log(&record(7), 42, &mut out);
        for bit in 0..out.len() * 8 {
            let mut flipped = out.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_log(7, &log_key(7), &flipped).is_err(), "bit {bit}");
        }
        for len in 0..out.len() {
            assert!(decode_log(7, &log_key(7), &out[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_record_under_another_key_is_found() {
        let mut out = Vec::new();
        encode_log(&record(7), 42, &mut out);
        assert!(decode_log(8, &log_key(8), &out).is_err());
        assert!(decode_log(7, &log_key(8), &out).is_err());
    }

    #[test]
    fn a_meta_value_belongs_to_its_key() {
        let stored = encode_meta("vote", b"x");
        assert_eq!(decode_meta("vote", &stored).unwrap(), b"x");
        assert!(decode_meta("applied", &stored).is_err());
        assert!(decode_meta("vote", &stored[..3]).is_err());
    }
}
