//! Tokens whose signature was verified, by their SHA-256: the token itself is not kept.
//!
//! Two generations stand for least-recently-used: what is used moves into the young one; when that is full it becomes the
//! old one, and the old one goes. Every step is O(1), and the size is at most twice the capacity.
//!
//! **Invariant:** only a token that its credential's key signed gets in, so nobody without a credential can push others
//! out.

use std::collections::HashMap;

use crate::{AccessKeyId, PublicKey};

/// SHA-256 of a token.
pub(super) type Hash = [u8; 32];

/// What was found out about a token for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) access_key_id: AccessKeyId,
    /// The key that verified it.
    pub(super) public_key: PublicKey,
    pub(super) issued_s: i64,
    pub(super) expires_s: i64,
}

pub(super) struct Cache {
    capacity: usize,
    young: HashMap<Hash, Proof>,
    old: HashMap<Hash, Proof>,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, young: HashMap::new(), old: HashMap::new() }
    }

    pub(super) fn get(&mut self, hash: &Hash) -> Option<Proof> {
        if let Some(proof) = self.young.get(hash) {
            return Some(proof.clone());
        }
        let proof = self.old.remove(hash)?;
        self.insert(*hash, proof.clone());
        Some(proof)
    }

    pub(super) fn insert(&mut self, hash: Hash, proof: Proof) {
        if self.capacity == 0 {
            return;
        }
        if self.young.len() >= self.capacity {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, proof);
        assert!(self.len() <= 2 * self.capacity, "the cache of tokens outgrew its bound");
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> Hash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash
    }

    fn proof(expires_s: i64) -> Proof {
        let access_key_id = "PIAKAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        Proof { access_key_id, public_key: PublicKey::from_bytes([1; 32]), issued_s: 0, expires_s }
    }

    #[test]
    fn what_is_used_stays_while_ten_times_the_capacity_passes_through() {
        let mut cache = Cache::new(8);
        cache.insert(hash(0), proof(7));
        for number in 1..=80 {
            cache.insert(hash(number), proof(1));
            assert_eq!(cache.get(&hash(0)), Some(proof(7)), "after {number}");
            assert!(cache.len() <= 16);
        }
        assert_eq!(cache.get(&hash(1)), None);
        assert_eq!(cache.get(&hash(80)), Some(proof(1)));
    }

    #[test]
    fn without_capacity_nothing_is_kept() {
        let mut cache = Cache::new(0);
        cache.insert(hash(0), proof(1));
        assert_eq!((cache.get(&hash(0)), cache.len()), (None, 0));
    }
}
