//! Why a token was refused.
//!
//! Two audiences: `Display` is the answer to the caller, who may be an attacker; [`Error::cause`] is for audit, logs and
//! metrics. The answer is precise only where the caller has proven that it holds the key (times, audience, disabled), or
//! where it can see the matter itself (form, algorithm). Whether a key is unknown or the signature wrong, it learns not.

use super::{Audience, LIFETIME_S_MAX, SKEW_S_MAX, TOKEN_BYTES_MAX};

/// Why a token was refused. Every case is UNAUTHENTICATED. None quotes the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No `authorization` metadata.
    #[error(
        "no credential: configure one with `pi config set-credentials`, or send `authorization: Bearer <token>`"
    )]
    Missing,
    /// Not `Bearer <token>`, or not a token as [`super`] describes it.
    #[error(
        "malformed credential: expected `authorization: Bearer <token>` with a token signed for this region"
    )]
    Malformed,
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// A token of another algorithm, `none` among them.
    #[error("the token's algorithm is not accepted: sign it with EdDSA (Ed25519)")]
    WrongAlgorithm,
    /// No credential has this access key.
    #[error("the credential is not accepted here: check access key and secret key (`pi config view`)")]
    UnknownKey,
    /// Not signed by the credential's secret key.
    // The same words as for an unknown key, so that nobody can try out which access keys exist.
    #[error("the credential is not accepted here: check access key and secret key (`pi config view`)")]
    BadSignature,
    /// Well signed, but the credential was disabled.
    #[error("this credential is disabled: ask an operator, or use another one (`pi config set-credentials`)")]
    Disabled,
    /// For another region.
    #[error("the token is for {token}, but this is {here}: sign one for this region (`--region`)")]
    WrongAudience {
        /// Where it is valid.
        token: Box<Audience>,
        /// Where it was shown.
        here: Box<Audience>,
    },
    /// Lives too long, or ends before it begins.
    #[error("the token lives {lifetime_s} s, allowed are 1 to {LIFETIME_S_MAX} s: sign short-lived ones")]
    WrongLifetime {
        /// From `iat` to `exp`.
        lifetime_s: i64,
    },
    /// Expired, beyond what clocks may differ.
    #[error(
        "the token expired {ago_s} s ago ({SKEW_S_MAX} s of difference between clocks are allowed): check the clock"
    )]
    Expired {
        /// Seconds since `exp`.
        ago_s: i64,
    },
    /// Issued in the future, beyond what clocks may differ.
    #[error(
        "the token begins in {ahead_s} s ({SKEW_S_MAX} s of difference between clocks are allowed): check the clock"
    )]
    NotYetValid {
        /// Seconds until `iat`.
        ahead_s: i64,
    },
}

impl Error {
    /// One stable word for audit, logs and metrics; not for the caller.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Disabled => "disabled",
            Self::WrongAudience { .. } => "wrong_audience",
            Self::WrongLifetime { .. } => "wrong_lifetime",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
        }
    }
}
