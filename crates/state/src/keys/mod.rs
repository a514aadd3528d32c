//! The schema of the state: every kind of key, one file each, with its record.
//!
//! A key starts with the ordinal of its kind. Ordinals are stored on disk: never change or reuse one. Those from
//! 0x01 to 0x7f belong to the state machine; the bytes outside are free for whoever stores the state, and neither the
//! digest nor the state machine looks at them.
//!
//! | ordinal | kind | key after the ordinal | record |
//! |--:|---|---|---|
//! | 0x01 | [`header`] | – | revision, base, log time, digest |
//! | 0x02 | [`tenant`] | tenant | quota, counts, bounds of the feed |
//! | 0x03 | [`secret`] | tenant, namespace, name | a secret without its payload |
//! | 0x04 | [`payload`] | tenant, namespace, name | the sealed payload |
//! | 0x05 | [`request`] | tenant, request id, principal | a remembered request and its answer |
//! | 0x06 | [`expiry`] | request id, tenant, principal | nothing: orders remembered requests by age |
//! | 0x07 | [`feed`] | tenant, revision | one change |
//!
//! Strings end with 0x00, which no name contains: keys of `a` never mix with those of `ab`, and byte order is the order
//! of the names. Numbers are big-endian and request ids start with their time, so their byte order is the order of
//! age.

#[cfg(test)]
pub(crate) mod arbitrary;
pub(crate) mod expiry;
pub(crate) mod feed;
pub(crate) mod header;
pub(crate) mod payload;
pub(crate) mod request;
pub(crate) mod secret;
pub(crate) mod tenant;

use std::str::FromStr;

use crate::store::Fatal;

/// The first key of the state machine.
pub(crate) const FIRST: &[u8] = &[0x01];
/// Behind the last key of the state machine.
pub(crate) const END: &[u8] = &[0x80];

const TERMINATOR: u8 = 0x00;

/// A half-open range of keys.
pub(crate) struct Range {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
}

#[cfg(test)]
impl Range {
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.from.as_slice() <= key && key < self.to.as_slice()
    }
}

/// Writes a key of exactly the length it was made for.
struct Writer {
    bytes: Vec<u8>,
    len: usize,
}

impl Writer {
    /// `len` counts what follows the ordinal.
    fn new(ordinal: u8, len: usize) -> Self {
        let mut bytes = Vec::with_capacity(1 + len);
        bytes.push(ordinal);
        Writer { bytes, len: 1 + len }
    }

    fn text(mut self, text: &str) -> Self {
        debug_assert!(!text.as_bytes().contains(&TERMINATOR), "a name in a key contains no 0x00");
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(TERMINATOR);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn finish(self) -> Vec<u8> {
        debug_assert_eq!(self.bytes.len(), self.len, "a key has the length it was made for");
        self.bytes
    }

    /// All keys that start with what was written: its last byte is a terminator or an ordinal, so adding one to it
    /// makes the bound behind them.
    fn prefix_range(self) -> Range {
        let from = self.finish();
        let mut to = from.clone();
        let last = to.last_mut().expect("a key has at least its ordinal");
        debug_assert!(*last < u8::MAX, "a prefix ends with a terminator or an ordinal");
        *last += 1;
        Range { from, to }
    }
}

/// The length of a string in a key.
fn text_len(text: &str) -> usize {
    text.len() + 1
}

/// Reads a key front to back; whatever does not fit is corrupt.
struct Reader<'a> {
    key: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(key: &'a [u8], ordinal: u8) -> Result<Self, Fatal> {
        match key.split_first() {
            Some((first, rest)) if *first == ordinal => Ok(Reader { key, rest }),
            _ => Err(Fatal::corrupt(key, "a key of another kind")),
        }
    }

    fn text<T: FromStr>(&mut self) -> Result<T, Fatal> {
        let end = self.rest.iter().position(|byte| *byte == TERMINATOR);
        let end = end.ok_or_else(|| self.corrupt("a string in a key does not end"))?;
        let text = std::str::from_utf8(&self.rest[..end])
            .map_err(|_| self.corrupt("a string in a key is not UTF-8"))?;
        let value = text.parse().map_err(|_| self.corrupt("a string in a key is not a valid name"))?;
        self.rest = &self.rest[end + 1..];
        Ok(value)
    }

    fn raw<const N: usize>(&mut self) -> Result<[u8; N], Fatal> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| self.corrupt("a key ends early"))?;
        self.rest = rest;
        Ok(*head)
    }

    fn finish(self) -> Result<(), Fatal> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.corrupt("a key goes on behind its end")) }
    }

    fn corrupt(&self, why: &'static str) -> Fatal {
        Fatal::corrupt(self.key, why)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pi_types::{Namespace, TenantId};

    use super::*;

    /// The first bytes are on disk: this test fails when one changes or two are the same.
    #[test]
    fn ordinals_are_what_they_always_were() {
        let ordinals = [
            header::KEY[0],
            tenant::range().from[0],
            secret::range_all().from[0],
            payload::range_all().from[0],
            request::range_all().from[0],
            expiry::range_all().from[0],
            feed::range_all().from[0],
        ];
        assert_eq!(ordinals, [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07]);
        assert_eq!(ordinals.iter().collect::<BTreeSet<_>>().len(), ordinals.len());
        assert!(ordinals.iter().all(|ordinal| [*ordinal].as_slice() >= FIRST && [*ordinal].as_slice() < END));
    }

    #[test]
    fn a_key_cut_short_or_gone_on_is_corrupt() {
        let tenant: TenantId = "acme".parse().unwrap();
        let namespace: Namespace = "default".parse().unwrap();
        let key = secret::key(&tenant, &namespace, &"registry".parse().unwrap());
        assert!(secret::decode_key(&key).is_ok());
        for len in 0..key.len() {
            assert!(secret::decode_key(&key[..len]).is_err(), "{len} bytes");
        }
        let longer = [key.as_slice(), &[0x00]].concat();
        assert!(secret::decode_key(&longer).is_err());
        assert!(payload::decode_key(&key).is_err(), "a key of another kind");
        let feed_key = feed::key(&tenant, 7);
        assert!(feed::decode_key(&feed_key[..feed_key.len() - 1]).is_err());
    }
}
