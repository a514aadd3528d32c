//! The client's side: tokens signed when needed, used again while they are fresh.

use std::collections::HashMap;

use aws_lc_rs::signature::Ed25519KeyPair;
use http::HeaderValue;
use parking_lot::Mutex;

use super::codec::{self, Claims};
use super::{Audience, LIFETIME_S_MAX};
use crate::{AccessKeyId, SecretKey, Token, bearer};

/// A token is used for this long, in seconds: 60 % of its life, so that one is never near its end when a request that
/// waits or retries arrives.
const RENEW_AFTER_S: i64 = LIFETIME_S_MAX * 60 / 100;
/// A client speaks to a handful of regions; more tokens than this are not kept.
const AUDIENCES_MAX: usize = 64;

/// Holds one credential and makes its tokens. No `Debug`. Share it in an `Arc`.
pub struct Signer {
    access_key_id: AccessKeyId,
    pair: Ed25519KeyPair,
    tokens: Mutex<HashMap<Audience, Fresh>>,
}

struct Fresh {
    value: HeaderValue,
    issued_s: i64,
}

impl Signer {
    /// Takes over a credential.
    #[must_use]
    pub fn new(access_key_id: AccessKeyId, secret_key: &SecretKey) -> Self {
        Self { access_key_id, pair: secret_key.key_pair(), tokens: Mutex::default() }
    }

    /// Whose tokens these are.
    #[must_use]
    pub const fn access_key_id(&self) -> &AccessKeyId {
        &self.access_key_id
    }

    /// The value of the `authorization` metadata for a request to this region, marked sensitive. Signed at most once in
    /// 3 minutes for each region; otherwise the cost is a look-up and the clone of a shared buffer.
    #[must_use]
    pub fn authorization(&self, audience: &Audience, now_ms: i64) -> HeaderValue {
        let now_s = now_ms.div_euclid(1_000);
        let mut tokens = self.tokens.lock();
        if let Some(fresh) = tokens.get(audience) {
            // A clock that was set back makes a token one from the future, which regions refuse.
            let age_s = now_s - fresh.issued_s;
            if (0..RENEW_AFTER_S).contains(&age_s) {
                return fresh.value.clone();
            }
        }
        let value = bearer(&self.sign(audience, now_ms));
        if tokens.len() >= AUDIENCES_MAX {
            tokens.clear();
        }
        tokens.insert(audience.clone(), Fresh { value: value.clone(), issued_s: now_s });
        value
    }

    /// A new token, of the longest life, not kept.
    #[must_use]
    pub fn sign(&self, audience: &Audience, now_ms: i64) -> Token {
        let issued_s = now_ms.div_euclid(1_000);
        let expires_s = issued_s + LIFETIME_S_MAX;
        let claims = Claims { audience: audience.clone(), issued_s, expires_s };
        let message = codec::message(&self.access_key_id, &claims);
        let signature = self.pair.sign(message.as_bytes());
        let token = codec::finish(message, signature.as_ref());
        Token::new(token).expect("base64url and dots are visible ASCII, and names are bounded")
    }

    /// Forgets the tokens that are kept, so that the next one is signed anew: for a client that was told its token is
    /// not accepted.
    pub fn forget(&self) {
        self.tokens.lock().clear();
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.tokens.lock().len()
    }
}
