//! The bytes of a token.
//!
//! Responsible for form alone: three parts of strict base64url, JSON objects with exactly our members. Whether the
//! signature is right and the claims hold, the verifier decides.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Audience, Error, TOKEN_BYTES_MAX};
use crate::AccessKeyId;

/// The one algorithm.
pub(super) const ALGORITHM: &str = "EdDSA";
/// Of Ed25519.
const SIGNATURE_BYTES: usize = 64;
/// Enough for a UUID or 32 bytes in base64.
const JTI_BYTES_MAX: usize = 64;

/// `deny_unknown_fields` refuses `crit`, `jwk`, `x5c` and whatever else would have to be understood; serde refuses
/// members that come twice.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    typ: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kid: Cow<'a, str>,
}

/// What a token says. `iat` and `exp` in seconds since 1970.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClaims<'a> {
    #[serde(borrow)]
    aud: Cow<'a, str>,
    iat: i64,
    exp: i64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    jti: Option<Cow<'a, str>>,
}

/// The claims that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) audience: Audience,
    pub(super) issued_s: i64,
    pub(super) expires_s: i64,
}

/// A token of the right form, of which nothing is proven yet.
pub(super) struct Unverified<'a> {
    pub(super) access_key_id: AccessKeyId,
    /// What was signed: header and claims as they came.
    pub(super) message: &'a [u8],
    pub(super) signature: [u8; SIGNATURE_BYTES],
    claims: &'a str,
}

/// Header and claims in base64url with the dot between them: what is to be signed.
pub(super) fn message(access_key_id: &AccessKeyId, claims: &Claims) -> String {
    let header =
        Header { alg: ALGORITHM.into(), typ: Some("JWT".into()), kid: access_key_id.as_str().into() };
    let claims = RawClaims {
        aud: claims.audience.to_string().into(),
        iat: claims.issued_s,
        exp: claims.expires_s,
        jti: None,
    };
    format!("{}.{}", encode(&header), encode(&claims))
}

/// Appends the signature.
pub(super) fn finish(mut message: String, signature: &[u8]) -> String {
    message.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut message);
    message
}

/// Reads form, algorithm and access key.
///
/// # Errors
/// `TooLong`, `Malformed`, `WrongAlgorithm`.
pub(super) fn parse(token: &str) -> Result<Unverified<'_>, Error> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Error::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Error::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(Error::Malformed)?;
    let header = decode(header)?;
    // The algorithm first and alone: a token of another one has other members, and its sender deserves to learn why.
    let algorithm: Algorithm = serde_json::from_slice(&header).map_err(|_| Error::Malformed)?;
    if algorithm.alg != ALGORITHM {
        return Err(Error::WrongAlgorithm);
    }
    let header: Header = serde_json::from_slice(&header).map_err(|_| Error::Malformed)?;
    if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(Error::Malformed);
    }
    Ok(Unverified {
        access_key_id: header.kid.parse().map_err(|_| Error::Malformed)?,
        message: message.as_bytes(),
        signature: decode(signature)?.try_into().map_err(|_| Error::Malformed)?,
        claims,
    })
}

#[derive(Deserialize)]
struct Algorithm<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
}

impl Unverified<'_> {
    /// Reads the claims; to be called when the signature is proven.
    ///
    /// # Errors
    /// `Malformed`.
    pub(super) fn claims(&self) -> Result<Claims, Error> {
        let bytes = decode(self.claims)?;
        let raw: RawClaims = serde_json::from_slice(&bytes).map_err(|_| Error::Malformed)?;
        if raw.jti.is_some_and(|jti| jti.len() > JTI_BYTES_MAX) {
            return Err(Error::Malformed);
        }
        Ok(Claims {
            audience: raw.aud.parse().map_err(|_| Error::Malformed)?,
            issued_s: raw.iat,
            expires_s: raw.exp,
        })
    }
}

fn encode(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("strings and numbers are JSON"))
}

/// Strict: no padding, no whitespace, no stray bits in the last character.
fn decode(part: &str) -> Result<Vec<u8>, Error> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Malformed)
}
