//! Seeds: the secret that every payload's key is derived from, its id, and its wrapped form.
//!
//! How a seed is wrapped is a provider's business (`kms`); what is derived from it for a payload is `envelope`'s.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

use crate::random::{NoRandomness, Random};

/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;

/// What an id is derived with. No payload's key is: their info has 32 bytes, this has not.
const ID_INFO: &[u8] = b"pi-secrets/seed-id/v1";
const _: () = assert!(ID_INFO.len() != crate::envelope::INFO_BYTES);

/// A region's seed in the clear: 32 random bytes. Whoever has it opens every payload sealed with it.
///
/// It is on the heap so that moving it leaves no copies, wiped when dropped, and has no `Debug`, `Clone` or `PartialEq`.
pub struct Seed(Box<Zeroizing<[u8; SEED_BYTES]>>);

impl Seed {
    /// Draws a new seed.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate(random: &dyn Random) -> Result<Self, NoRandomness> {
        let mut seed = Box::new(Zeroizing::new([0; SEED_BYTES]));
        random.fill(seed.as_mut_slice())?;
        Ok(Self(seed))
    }

    /// The seed with these bytes; `None` unless there are exactly 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut seed = Box::new(Zeroizing::new([0; SEED_BYTES]));
        if bytes.len() != SEED_BYTES {
            return None;
        }
        seed.copy_from_slice(bytes);
        Some(Self(seed))
    }

    /// The bytes. The name is a reminder: only a KMS provider, to wrap them, has a reason to call this.
    pub fn expose(&self) -> &[u8; SEED_BYTES] {
        &self.0
    }

    /// The id, which is a function of the seed: a provider that answers with another seed is found out, and two seeds
    /// cannot share an id.
    pub fn id(&self) -> SeedId {
        let mut id = [0; 16];
        self.expand(ID_INFO, &mut id);
        SeedId(id)
    }

    /// HKDF-SHA256-Expand(seed, info). There is no extract step: a seed is uniformly random already.
    pub(crate) fn expand(&self, info: &[u8], out: &mut [u8]) {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, self.expose())
            .expand(&[info], Length(out.len()))
            .and_then(|derived| derived.fill(out))
            .expect("keys and ids are far shorter than the 8,160 bytes HKDF-SHA256 can give");
    }
}

/// Names a seed, in the clear, in front of every payload sealed with it. Derived from the seed; reveals nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeedId([u8; 16]);

impl SeedId {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// 32 lower-case hexadecimal digits.
impl fmt::Display for SeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeedId({self})")
    }
}

/// Bytes of a wrapped seed's ciphertext, at most (KMS v2).
pub const CIPHERTEXT_BYTES_MAX: usize = 1_024;
/// Bytes of a KMS key's id, at most (KMS v2).
pub const KEY_ID_BYTES_MAX: usize = 1_024;
/// Bytes of the keys and values of a wrapped seed's annotations together, at most (KMS v2).
pub const ANNOTATIONS_BYTES_MAX: usize = 32 * 1_024;

/// A seed as the replicated state stores it: wrapped by a KMS, so in logs, snapshots and backups it opens nothing.
///
/// Within [`CIPHERTEXT_BYTES_MAX`], [`KEY_ID_BYTES_MAX`] and [`ANNOTATIONS_BYTES_MAX`] as the providers here make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedSeed {
    /// Of the seed within; checked when it is unwrapped.
    pub seed_id: SeedId,
    /// The provider that wrapped it, [`crate::kms::Kms::name`]. No other can unwrap it.
    pub provider: String,
    /// The provider's key that wrapped it. Another than the provider's present one means: wrap again.
    pub key_id: String,
    /// The wrapped seed.
    pub ciphertext: Vec<u8>,
    /// What the provider wants back with the ciphertext; in the clear.
    pub annotations: BTreeMap<String, Vec<u8>>,
    /// When the seed was drawn, in milliseconds since 1970; for operators.
    pub created_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_function_of_the_seed_and_shows_nothing_of_it() {
        let one = Seed::from_bytes(&[1; 32]).unwrap();
        assert_eq!(one.id(), Seed::from_bytes(&[1; 32]).unwrap().id());
        assert_ne!(one.id(), Seed::from_bytes(&[2; 32]).unwrap().id());
        assert_ne!(one.id().as_bytes()[..], one.expose()[..16]);
    }

    /// RFC 5869 has no vector for Expand alone with 32 bytes of info; its test case 1 gives PRK, info and OKM.
    #[test]
    fn derivation_is_hkdf_sha256_expand_of_rfc_5869() {
        let prk = hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
        let mut okm = [0; 42];
        Seed::from_bytes(&prk).unwrap().expand(&hex("f0f1f2f3f4f5f6f7f8f9"), &mut okm);
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(okm[..], hex(expected));
    }

    #[test]
    fn a_seed_has_32_bytes() {
        for bytes in [0, 31, 33] {
            assert!(Seed::from_bytes(&vec![1; bytes]).is_none(), "{bytes}");
        }
    }

    fn hex(digits: &str) -> Vec<u8> {
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }
}
