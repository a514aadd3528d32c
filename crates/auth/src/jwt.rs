//! Short-lived tokens: a client signs them with its secret key, a region verifies them with the public half.
//!
//! A token is a JWT (RFC 7519) signed with EdDSA over Ed25519 (RFC 8037). Header: `alg` EdDSA, `typ` JWT, `kid` the access
//! key. Claims: `aud` `<cluster>/<region>`, `iat`, `exp` at most 5 minutes later, `jti` optional. Nothing else is
//! accepted, so that no claim that a newer client means to restrict itself by is ignored.
//!
//! The codec is ours, on aws-lc-rs and serde_json, which the workspace has anyway: the crate `jsonwebtoken` would add
//! its own key and algorithm zoo and reads the system's clock, which tests and the simulation must set. The subset is
//! small because it is strict: one algorithm, one form of each claim.
//!
//! The token is what it proves for its life, not the connection nor a request: one that is stolen works until it
//! expires, in the one region that it names. That is why it is short-lived, travels in TLS alone, and is never logged.

mod cache;
mod codec;
mod error;
mod signer;
#[cfg(test)]
mod tests;
mod verifier;

use std::fmt;
use std::str::FromStr;

use pi_types::{ClusterName, RegionName};

pub use error::Error;
pub use signer::Signer;
pub use verifier::{Credentials, Verified, Verifier};

/// How long a token lives at most, in seconds.
pub const LIFETIME_S_MAX: i64 = 300;
/// How far the clocks of client and region may be apart, either way, in seconds.
pub const SKEW_S_MAX: i64 = 30;
/// Longer tokens are refused unread. Ours have about 350 bytes; the longest names make 450.
pub const TOKEN_BYTES_MAX: usize = 2_048;

/// Where a token is valid: one region of one cluster. Text: `<cluster>/<region>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience {
    /// The cluster.
    pub cluster: ClusterName,
    /// The region; a token for another one is refused.
    pub region: RegionName,
}

/// The text is no audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an audience is <cluster>/<region>")]
pub struct InvalidAudience;

impl FromStr for Audience {
    type Err = InvalidAudience;

    fn from_str(text: &str) -> Result<Self, InvalidAudience> {
        let (cluster, region) = text.split_once('/').ok_or(InvalidAudience)?;
        Ok(Self {
            cluster: cluster.parse().map_err(|_| InvalidAudience)?,
            region: region.parse().map_err(|_| InvalidAudience)?,
        })
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.region)
    }
}
