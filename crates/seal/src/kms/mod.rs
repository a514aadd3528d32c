//! Key management: what wraps a region's seeds, and unwraps them on each node.
//!
//! Two providers: [`key_file`], a file on the node, and [`plugin`], a Kubernetes KMS v2 plugin over a unix socket. A
//! provider is asked when a node starts, when the region's seeds change, and once a minute for its status; never for a
//! payload. How long its last good answer counts is `health`'s question.
//!
//! **Invariant:** no error of this module shows a seed or a key.

#[cfg(any(test, feature = "testing"))]
pub mod fake;
pub mod key_file;
pub mod monitor;
pub mod plugin;
mod wire;

use std::collections::BTreeMap;

use crate::random::{NoRandomness, Random};
use crate::seed::{Seed, SeedId, WrappedSeed};

/// A provider that answered as it should, and is well. An unwell one is an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The key that wraps now. A change means that the key was rotated: seeds are then to be wrapped again.
    pub key_id: String,
    /// The protocol's version, for operators.
    pub version: String,
}

/// What a provider makes of a seed. See [`WrappedSeed`], which the fields become part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The key that wrapped.
    pub key_id: String,
    /// The wrapped seed.
    pub ciphertext: Vec<u8>,
    /// What the provider wants back with the ciphertext.
    pub annotations: BTreeMap<String, Vec<u8>>,
}

/// Wraps and unwraps seeds. An implementation bounds its own time.
#[tonic::async_trait]
pub trait Kms: Send + Sync + 'static {
    /// Names the kind of provider, in configuration and in what it wrapped: "key-file".
    fn name(&self) -> &'static str;

    /// Whether it can serve, and with which key.
    async fn status(&self) -> Result<Status, Error>;

    /// Wraps a seed with the present key.
    async fn wrap(&self, seed: &Seed) -> Result<Wrapped, Error>;

    /// Unwraps what this kind of provider wrapped, with whichever key. Call [`unwrap_seed`] instead, which checks the
    /// answer.
    async fn unwrap(&self, wrapped: &WrappedSeed) -> Result<Seed, Error>;
}

/// Why a provider did not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be reached, or gave no answer in time. Worth trying again.
    #[error("KMS `{provider}` at {endpoint} does not answer: {why}")]
    Unavailable {
        /// [`Kms::name`].
        provider: &'static str,
        /// The socket or file.
        endpoint: String,
        /// What happened.
        why: String,
    },
    /// It answered that it cannot serve. Worth trying again.
    #[error("KMS `{provider}` at {endpoint} reports that it is not healthy: {why}")]
    Unhealthy {
        /// [`Kms::name`].
        provider: &'static str,
        /// The socket or file.
        endpoint: String,
        /// Its own words.
        why: String,
    },
    /// It answered against the protocol. Nothing of the answer was used.
    #[error("KMS `{provider}` at {endpoint} gave an answer that KMS v2 does not allow: {why}")]
    Invalid {
        /// [`Kms::name`].
        provider: &'static str,
        /// The socket or file.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The seed was wrapped by another kind of provider than this node is configured with.
    #[error(
        "seed {seed_id} was wrapped by KMS `{wrapped_by}`, but this node is configured with `{configured}`: set \
         seal.provider = \"{wrapped_by}\""
    )]
    WrongProvider {
        /// The seed.
        seed_id: SeedId,
        /// Who wrapped it.
        wrapped_by: String,
        /// Who was asked.
        configured: &'static str,
    },
    /// The key that wrapped the seed is not at hand.
    #[error(
        "seed {seed_id} was wrapped with key {key_id}, which {endpoint} does not hold: put that key back (a rotated key \
         must stay until no seed is wrapped with it)"
    )]
    UnknownKey {
        /// The seed.
        seed_id: SeedId,
        /// The key that wrapped it.
        key_id: String,
        /// The socket or file.
        endpoint: String,
    },
    /// What came out is not the seed that went in: the wrapped seed was changed, or the provider is not the one.
    #[error(
        "seed {seed_id} does not unwrap with key {key_id}: the wrapped seed was changed, or the key is another"
    )]
    DoesNotUnwrap {
        /// The seed.
        seed_id: SeedId,
        /// The key that should have unwrapped it.
        key_id: String,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] key_file::Error),
    /// The configured endpoint is none.
    #[error("seal.endpoint {endpoint:?} {why}; expected unix:///absolute/path/of/the/socket")]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Draws a seed and wraps it: what a region does at its birth and when it rotates its seed.
///
/// `created_ms` is the time now. The wrapped seed is unwrapped again before it is handed out: once payloads are sealed
/// with a seed that no one can unwrap, they are lost.
///
/// # Errors
/// See [`Error`].
pub async fn new_seed(
    kms: &dyn Kms,
    random: &dyn Random,
    created_ms: i64,
) -> Result<(Seed, WrappedSeed), Error> {
    let seed = Seed::generate(random)?;
    let wrapped = wrap_seed(kms, &seed, created_ms).await?;
    Ok((seed, wrapped))
}

/// Wraps a seed with the provider's present key, and makes sure that it unwraps: for a new seed, and again for an old
/// one when the provider rotated its key.
///
/// # Errors
/// See [`Error`].
pub async fn wrap_seed(kms: &dyn Kms, seed: &Seed, created_ms: i64) -> Result<WrappedSeed, Error> {
    let Wrapped { key_id, ciphertext, annotations } = kms.wrap(seed).await?;
    let provider = kms.name().to_owned();
    let wrapped = WrappedSeed { seed_id: seed.id(), provider, key_id, ciphertext, annotations, created_ms };
    unwrap_seed(kms, &wrapped).await?;
    Ok(wrapped)
}

/// Unwraps a seed and checks that it is the one.
///
/// # Errors
/// See [`Error`]. What the provider answered is never used when it is another seed: payloads sealed with it would open
/// nowhere else.
pub async fn unwrap_seed(kms: &dyn Kms, wrapped: &WrappedSeed) -> Result<Seed, Error> {
    if wrapped.provider != kms.name() {
        return Err(Error::WrongProvider {
            seed_id: wrapped.seed_id,
            wrapped_by: wrapped.provider.clone(),
            configured: kms.name(),
        });
    }
    let seed = kms.unwrap(wrapped).await?;
    if seed.id() != wrapped.seed_id {
        return Err(Error::DoesNotUnwrap { seed_id: wrapped.seed_id, key_id: wrapped.key_id.clone() });
    }
    Ok(seed)
}
