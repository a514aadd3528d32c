//! The format of a sealed payload, and the cryptography: one key per write, as Kubernetes' KMS v2 derives it.
//!
//! ```text
//! version 1 | seed id 16 | info 32 | nonce 12 | ciphertext, as long as the plaintext | tag 16
//! ```
//!
//! key = HKDF-SHA256-Expand(seed, info); AES-256-GCM over the plaintext with that key, the nonce and the associated
//! data of [`SealContext`]. Info and nonce are random. A key is used once, so no number of writes wears a seed out.
//! Nothing of the head is in the associated data: another info or seed is another key, another nonce does not open,
//! and the version is part of the associated data's domain tag.
//!
//! Which seed to use is the keyring's choice.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use pi_types::limits::SEAL_OVERHEAD_BYTES_MAX;
use zeroize::Zeroizing;

use crate::context::SealContext;
use crate::random::{NoRandomness, Random};
use crate::seed::{Seed, SeedId};

/// The first byte of every sealed payload. No release has used another; the `plain-v0` of development began with `p`.
pub const VERSION: u8 = 1;

pub(crate) const INFO_BYTES: usize = 32;
const SEED_ID_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// A sealed payload is exactly this much longer than its plaintext.
pub const OVERHEAD_BYTES: usize = 1 + SEED_ID_BYTES + INFO_BYTES + NONCE_LEN + TAG_BYTES;
const _: () = assert!(OVERHEAD_BYTES < 128 && OVERHEAD_BYTES <= SEAL_OVERHEAD_BYTES_MAX);

/// Why a payload was not sealed. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The keyring has no active seed: the node has not opened the region's yet.
    #[error("this node has no seed to seal with: it has not opened the region's seed yet")]
    NoActiveSeed,
    /// See [`NoRandomness`].
    #[error("cannot seal: {0}")]
    NoRandomness(#[from] NoRandomness),
}

/// Why a sealed payload did not open. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was changed, cut short, or sealed for another context. Which of these, nobody can tell.
    #[error("the stored payload does not belong to this secret, or was changed")]
    DoesNotOpen,
    /// Sealed with a seed that the keyring does not hold.
    #[error("the stored payload is sealed with seed {seed_id}, which this node has not opened")]
    UnknownSeed {
        /// The seed it names.
        seed_id: SeedId,
    },
    /// Not of this format: written by another version of this program, or not sealed at all.
    #[error("the stored payload has format {version}, which this version does not know; it knows {VERSION}")]
    UnknownVersion {
        /// Its first byte.
        version: u8,
    },
}

/// A sealed payload, taken apart; nothing in it is believed yet.
pub(crate) struct Parts<'a> {
    pub(crate) seed_id: SeedId,
    info: &'a [u8; INFO_BYTES],
    nonce: &'a [u8; NONCE_LEN],
    ciphertext_and_tag: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn of(sealed: &'a [u8]) -> Result<Self, OpenError> {
        let (&version, rest) = sealed.split_first().ok_or(OpenError::DoesNotOpen)?;
        if version != VERSION {
            return Err(OpenError::UnknownVersion { version });
        }
        let (seed_id, rest) = rest.split_first_chunk().ok_or(OpenError::DoesNotOpen)?;
        let (info, rest) = rest.split_first_chunk().ok_or(OpenError::DoesNotOpen)?;
        let (nonce, ciphertext_and_tag) = rest.split_first_chunk().ok_or(OpenError::DoesNotOpen)?;
        if ciphertext_and_tag.len() < TAG_BYTES {
            return Err(OpenError::DoesNotOpen);
        }
        Ok(Self { seed_id: SeedId::from_bytes(*seed_id), info, nonce, ciphertext_and_tag })
    }
}

/// Seals with a seed and its id, [`Seed::id`], which the caller has at hand.
pub(crate) fn seal(
    (seed_id, seed): (SeedId, &Seed),
    random: &dyn Random,
    context: &SealContext<'_>,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (mut info, mut nonce) = ([0; INFO_BYTES], [0; NONCE_LEN]);
    random.fill(&mut info)?;
    random.fill(&mut nonce)?;

    // At its final size at once: growing would leave plaintext behind in freed memory.
    let mut sealed = Vec::with_capacity(OVERHEAD_BYTES + plaintext.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(seed_id.as_bytes());
    sealed.extend_from_slice(&info);
    sealed.extend_from_slice(&nonce);
    let head = sealed.len();
    sealed.extend_from_slice(plaintext);
    let tag = key(seed, &info)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context.associated_data()),
            &mut sealed[head..],
        )
        .expect("AES-256-GCM seals anything below 64 GiB");
    sealed.extend_from_slice(tag.as_ref());
    debug_assert_eq!(sealed.len(), OVERHEAD_BYTES + plaintext.len(), "the overhead is constant");
    Ok(sealed)
}

/// Opens with the seed that the parts name.
pub(crate) fn open(
    seed: &Seed,
    context: &SealContext<'_>,
    parts: &Parts<'_>,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    // Deciphered in place, so wiped from the start: a failed open may leave half-made plaintext.
    let mut buffer = Zeroizing::new(parts.ciphertext_and_tag.to_vec());
    let bytes = key(seed, parts.info)
        .open_in_place(
            Nonce::assume_unique_for_key(*parts.nonce),
            Aad::from(context.associated_data()),
            &mut buffer,
        )
        .map_err(|_| OpenError::DoesNotOpen)?
        .len();
    buffer.truncate(bytes);
    Ok(buffer)
}

fn key(seed: &Seed, info: &[u8; INFO_BYTES]) -> LessSafeKey {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    seed.expand(info, key.as_mut_slice());
    LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("a key of AES-256 has 32 bytes, as this one"),
    )
}
