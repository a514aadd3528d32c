//! The digest of a snapshot's pairs: sender and receiver compute it over the same stream and compare.
//!
//! Unlike the digest in the state's header it covers the header too and depends on the order; it finds damage between
//! disk and disk (a flipped bit, a lost or repeated pair), not tampering.

use pi_raft::store::TotalsDiffer;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// A running digest and count of pairs in key order.
pub(crate) struct PairsDigest {
    hash: Xxh3,
    keys: u64,
}

impl PairsDigest {
    pub(crate) fn new() -> Self {
        PairsDigest { hash: Xxh3::new(), keys: 0 }
    }

    /// Takes the next pair. Lengths go in first, so that no byte can move from key to value unseen.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.hash.update(&(key.len() as u64).to_be_bytes());
        self.hash.update(&(value.len() as u64).to_be_bytes());
        self.hash.update(key);
        self.hash.update(value);
        self.keys += 1;
    }

    /// How many pairs there were, and their digest.
    pub(crate) fn totals(&self) -> (u64, [u8; 16]) {
        (self.keys, self.hash.digest128().to_be_bytes())
    }
}

/// Checks a snapshot's stream as it comes: ascending keys, then count and digest.
pub(crate) struct StreamCheck {
    digest: PairsDigest,
    last_key: Option<Vec<u8>>,
}

impl StreamCheck {
    pub(crate) fn new() -> Self {
        StreamCheck { digest: PairsDigest::new(), last_key: None }
    }

    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.last_key.as_deref().is_some_and(|last| last >= key) {
            return Err(Error::refused("a snapshot's keys must ascend"));
        }
        self.digest.add(key, value);
        let last = self.last_key.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        Ok(())
    }

    pub(crate) fn finish(&self, keys: u64, digest: [u8; 16]) -> Result<()> {
        let (found_keys, found_digest) = self.digest.totals();
        if found_keys != keys {
            return Err(TotalsDiffer::Keys { announced: keys, received: found_keys }.into());
        }
        if found_digest != digest {
            return Err(TotalsDiffer::Digest.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::PairsDigest;

    fn of(pairs: &[(&[u8], &[u8])]) -> (u64, [u8; 16]) {
        let mut digest = PairsDigest::new();
        pairs.iter().for_each(|(key, value)| digest.add(key, value));
        digest.totals()
    }

    #[test]
    fn every_byte_its_place_and_the_order_count() {
        let whole = of(&[(b"ab", b"c"), (b"d", b"e")]);
        assert_eq!(whole, of(&[(b"ab", b"c"), (b"d", b"e")]));
        assert_ne!(whole, of(&[(b"a", b"bc"), (b"d", b"e")]));
        assert_ne!(whole, of(&[(b"d", b"e"), (b"ab", b"c")]));
        assert_ne!(whole, of(&[(b"ab", b"c"), (b"d", b"f")]));
        assert_ne!(whole, of(&[(b"ab", b"c")]));
        assert_eq!(of(&[]).0, 0);
    }
}
