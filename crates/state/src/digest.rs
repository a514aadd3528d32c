//! The digest of the state: one number that two replicas compare to find out whether they diverged.
//!
//! It is the sum (modulo 2^128) of a hash of every key-value pair but the header, so that its order does not matter
//! and a change costs only the pairs it touches. It finds divergence by accident (a bug, a flipped bit), not
//! tampering: the hash is not cryptographic, and a sum of hashes can be balanced on purpose.

use xxhash_rust::xxh3::xxh3_128;

/// A running digest, with the buffer that its hashing needs.
#[derive(Debug)]
pub(crate) struct Digest {
    sum: u128,
    scratch: Vec<u8>,
}

impl Digest {
    /// Goes on from a stored digest; all zeros is the digest of the empty state.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Digest { sum: u128::from_be_bytes(bytes), scratch: Vec::new() }
    }

    /// As it is stored.
    pub(crate) fn to_bytes(&self) -> [u8; 16] {
        self.sum.to_be_bytes()
    }

    /// A pair came to be.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.sum = self.sum.wrapping_add(self.hash(key, value));
    }

    /// A pair ceased to be.
    pub(crate) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.sum = self.sum.wrapping_sub(self.hash(key, value));
    }

    /// The length of the key comes first, so that no byte can move from key to value unseen.
    fn hash(&mut self, key: &[u8], value: &[u8]) -> u128 {
        self.scratch.clear();
        self.scratch.extend_from_slice(&(key.len() as u32).to_be_bytes());
        self.scratch.extend_from_slice(key);
        self.scratch.extend_from_slice(value);
        xxh3_128(&self.scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn order_does_not_matter_and_removal_undoes_addition() {
        let mut a = Digest::from_bytes([0; 16]);
        a.add(b"k1", b"v1");
        a.add(b"k2", b"v2");
        let mut b = Digest::from_bytes([0; 16]);
        b.add(b"k2", b"v2");
        b.add(b"k3", b"v3");
        b.add(b"k1", b"v1");
        assert_ne!(a.to_bytes(), b.to_bytes());
        b.remove(b"k3", b"v3");
        assert_eq!(a.to_bytes(), b.to_bytes());
    }

    #[test]
    fn a_byte_moved_from_key_to_value_changes_the_digest() {
        let mut a = Digest::from_bytes([0; 16]);
        a.add(b"ab", b"c");
        let mut b = Digest::from_bytes([0; 16]);
        b.add(b"a", b"bc");
        assert_ne!(a.to_bytes(), b.to_bytes());
    }
}
