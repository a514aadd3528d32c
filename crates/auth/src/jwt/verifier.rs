//! The region's side: from the `authorization` metadata to the credential's record.
//!
//! Order: size and form, algorithm, access key, signature, disabled, audience, times. What costs nothing comes before the
//! signature, and what tells the caller something after it. A verified token is remembered by its hash, so that a warm
//! request costs one SHA-256 and two look-ups; whether the credential still exists, is enabled and has the same key is
//! looked up every time, and so are the times.

use std::sync::Arc;

use parking_lot::Mutex;

use super::cache::{Cache, Proof};
use super::codec::{self, Claims};
use super::{Audience, Error, LIFETIME_S_MAX, SKEW_S_MAX, TOKEN_BYTES_MAX};
use crate::{AccessKeyId, CredentialRecord};

/// Where the verifier finds records: the region's replicated state, as far as this node applied it. Called on every
/// request, so it must be fast and must not block.
pub trait Credentials: Send + Sync + 'static {
    /// The record now, or `None` when there is none. Never an older one than was returned before.
    fn lookup(&self, access_key_id: &AccessKeyId) -> Option<Arc<CredentialRecord>>;
}

impl<C: Credentials + ?Sized> Credentials for Arc<C> {
    fn lookup(&self, access_key_id: &AccessKeyId) -> Option<Arc<CredentialRecord>> {
        (**self).lookup(access_key_id)
    }
}

/// A caller who proved a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The record at this moment. For writes, the state machine decides again with its own.
    pub record: Arc<CredentialRecord>,
    /// Until when the token is good, in seconds since 1970. A watch outlives it (it ends with the credential).
    pub expires_s: i64,
}

/// Verifies tokens for one region. Share it in an `Arc`.
pub struct Verifier<C> {
    here: Audience,
    credentials: C,
    pub(super) cache: Mutex<Cache>,
}

impl<C: Credentials> Verifier<C> {
    /// Tokens remembered when the caller does not choose: about 100 bytes each, twice over.
    pub const CACHED_TOKENS_DEFAULT: usize = 8_192;

    /// A verifier for this region, with records from there. It remembers between `cached_tokens` and twice as many
    /// tokens; 0 remembers none.
    #[must_use]
    pub fn new(here: Audience, credentials: C, cached_tokens: usize) -> Self {
        Self { here, credentials, cache: Mutex::new(Cache::new(cached_tokens)) }
    }

    /// Verifies the value of the `authorization` metadata.
    ///
    /// # Errors
    /// See [`Error`]; UNAUTHENTICATED in every case.
    pub fn verify(&self, header: Option<&str>, now_ms: i64) -> Result<Verified, Error> {
        let header = header.ok_or(Error::Missing)?;
        let token = crate::strip_bearer(header).map_err(|_| Error::Malformed)?;
        self.verify_token(token, now_ms)
    }

    /// The same for a token without its scheme.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn verify_token(&self, token: &str, now_ms: i64) -> Result<Verified, Error> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Error::TooLong);
        }
        let now_s = now_ms.div_euclid(1_000);
        let hash = hash(token);
        let seen = self.cache.lock().get(&hash);
        if let Some(proof) = seen
            && let Some(verified) = self.still_proven(&proof, now_s)?
        {
            return Ok(verified);
        }
        let (proof, record) = self.prove(token)?;
        check_times(proof.issued_s, proof.expires_s, now_s)?;
        let expires_s = proof.expires_s;
        self.cache.lock().insert(hash, proof);
        Ok(Verified { record, expires_s })
    }

    /// What must hold anew for a token whose signature was verified before. `None` when the credential has another key
    /// now, so that the signature proves nothing.
    fn still_proven(&self, proof: &Proof, now_s: i64) -> Result<Option<Verified>, Error> {
        let record = self.credentials.lookup(&proof.access_key_id).ok_or(Error::UnknownKey)?;
        if record.public_key != proof.public_key {
            return Ok(None);
        }
        if record.disabled {
            return Err(Error::Disabled);
        }
        check_times(proof.issued_s, proof.expires_s, now_s)?;
        Ok(Some(Verified { record, expires_s: proof.expires_s }))
    }

    /// Everything about a token but its times.
    fn prove(&self, token: &str) -> Result<(Proof, Arc<CredentialRecord>), Error> {
        let unverified = codec::parse(token)?;
        let record = self.credentials.lookup(&unverified.access_key_id).ok_or(Error::UnknownKey)?;
        if !record.public_key.verifies(unverified.message, &unverified.signature) {
            return Err(Error::BadSignature);
        }
        if record.disabled {
            return Err(Error::Disabled);
        }
        let Claims { audience, issued_s, expires_s } = unverified.claims()?;
        if audience != self.here {
            return Err(Error::WrongAudience {
                token: Box::new(audience),
                here: Box::new(self.here.clone()),
            });
        }
        let proof = Proof {
            access_key_id: unverified.access_key_id,
            public_key: record.public_key,
            issued_s,
            expires_s,
        };
        Ok((proof, record))
    }
}

/// Saturating, because the numbers are the caller's.
fn check_times(issued_s: i64, expires_s: i64, now_s: i64) -> Result<(), Error> {
    let lifetime_s = expires_s.saturating_sub(issued_s);
    if !(1..=LIFETIME_S_MAX).contains(&lifetime_s) {
        return Err(Error::WrongLifetime { lifetime_s });
    }
    let ahead_s = issued_s.saturating_sub(now_s);
    if ahead_s > SKEW_S_MAX {
        return Err(Error::NotYetValid { ahead_s });
    }
    let ago_s = now_s.saturating_sub(expires_s);
    if ago_s >= SKEW_S_MAX {
        return Err(Error::Expired { ago_s });
    }
    Ok(())
}

pub(super) fn hash(token: &str) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
