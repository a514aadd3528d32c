//! Who is calling, and what they may do: credentials and the tokens they sign, TLS between processes, and the table of
//! authorization.
//!
//! A user has a [`credential`]: an access key and an Ed25519 secret key. Its client signs a short-lived token for the
//! region it talks to ([`jwt`]); the region verifies it with the public half that it stores. Processes of the cluster know
//! each other by the identity in their TLS certificates ([`tls`]; the feature `pki` makes some). Either way a caller comes
//! out, and [`authorize`] decides. Where credentials are stored, who listens where and what is audited is the caller's.
//!
//! Tokens that only claim ([`InsecurePolicy`]) are for development on one machine.
//!
//! **Invariant:** identity comes from the credential alone, never from a field of a request.
//! **Invariant:** a [`Token`] and a [`SecretKey`] have no `Debug`, `Display` or `Serialize` and are wiped from memory when
//! dropped; no error of this crate quotes one.

pub mod authorize;
pub mod credential;
pub mod jwt;
#[cfg(feature = "pki")]
pub mod pki;
mod roles;

pub mod tls;
mod token;

use std::net::IpAddr;

use pi_types::{PrincipalName, TenantId};
use serde::{Deserialize, Serialize};

pub use credential::{AccessKeyId, CredentialRecord, Grant, NodeName, PublicKey, SecretKey};
pub use roles::{InvalidRoles, Role, Roles};
pub use token::{Token, bearer};

/// Prefix of an insecure token for a tenant: `insecure:<tenant>`.
const INSECURE_TENANT: &str = "insecure:";
/// Prefix of an insecure token for an operator: `insecure-operator:<name>`.
const INSECURE_OPERATOR: &str = "insecure-operator:";
/// The principal's name behind every insecure tenant token.
const INSECURE_NAME: &str = "insecure";

/// Who a verified credential belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A user of one tenant.
    Tenant {
        /// Owns the secrets.
        tenant: TenantId,
        /// Which of the tenant's credentials this is.
        name: PrincipalName,
    },
    /// Runs the region; owns no secrets and reads none.
    Operator {
        /// Which operator.
        name: PrincipalName,
    },
}

/// Whether tokens that prove nothing are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InsecurePolicy {
    /// Never. The default.
    #[default]
    Refuse,
    /// Only on connections from a loopback address; for development on one machine.
    LoopbackOnly,
}

/// Why a caller could not be identified. Every case is UNAUTHENTICATED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No `authorization` metadata.
    #[error("no credential: send the metadata `authorization: Bearer <token>`")]
    Missing,
    /// Not `Bearer <token>`, or a token of no known kind.
    #[error("malformed credential: expected `authorization: Bearer <token>` with a token this region knows")]
    Malformed,
    /// An insecure token where the configuration does not allow them.
    #[error(
        "insecure tokens are not accepted: set insecure_tokens = \"loopback-only\" on the node (development only)"
    )]
    InsecureRefused,
    /// An insecure token from another machine.
    #[error("insecure tokens are accepted on loopback connections only")]
    NotLoopback,
}

/// Identifies a caller from the value of its `authorization` metadata and the address its connection comes from.
///
/// The peer of a request that came through a gateway is the gateway. An unknown peer (`None`) is not loopback.
///
/// # Errors
/// See [`Error`].
pub fn verify(
    header: Option<&str>,
    peer: Option<IpAddr>,
    policy: &InsecurePolicy,
) -> Result<Principal, Error> {
    let token = strip_bearer(header.ok_or(Error::Missing)?)?;
    // The operator's prefix is not a case of the tenant's: a tenant cannot name itself into an operator.
    let principal = if let Some(name) = token.strip_prefix(INSECURE_OPERATOR) {
        Principal::Operator { name: name.parse().map_err(|_| Error::Malformed)? }
    } else if let Some(tenant) = token.strip_prefix(INSECURE_TENANT) {
        Principal::Tenant {
            tenant: tenant.parse().map_err(|_| Error::Malformed)?,
            name: INSECURE_NAME.parse().map_err(|_| Error::Malformed)?,
        }
    } else {
        return Err(Error::Malformed);
    };
    match policy {
        InsecurePolicy::Refuse => Err(Error::InsecureRefused),
        InsecurePolicy::LoopbackOnly if peer.is_some_and(is_loopback) => Ok(principal),
        InsecurePolicy::LoopbackOnly => Err(Error::NotLoopback),
    }
}

/// The scheme is case-insensitive (RFC 9110, section 11.1).
fn strip_bearer(header: &str) -> Result<&str, Error> {
    let (scheme, token) = header.split_once(' ').ok_or(Error::Malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim_start()) } else { Err(Error::Malformed) }
}

/// A dual-stack listener reports IPv4 peers as `::ffff:127.0.0.1`.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn on_loopback(header: &str) -> Result<Principal, Error> {
        verify(Some(header), LOCAL, &InsecurePolicy::LoopbackOnly)
    }

    #[test]
    fn insecure_tokens_name_a_tenant_or_an_operator() {
        let tenant = on_loopback("Bearer insecure:acme").unwrap();
        assert!(matches!(&tenant, Principal::Tenant { tenant, name }
            if tenant.as_str() == "acme" && name.as_str() == "insecure"));
        let operator = on_loopback("bearer insecure-operator:ops").unwrap();
        assert!(matches!(&operator, Principal::Operator { name } if name.as_str() == "ops"));
    }

    #[test]
    fn insecure_tokens_are_refused_by_default_and_from_other_machines() {
        let header = Some("Bearer insecure:acme");
        assert_eq!(verify(header, LOCAL, &InsecurePolicy::default()), Err(Error::InsecureRefused));
        let policy = InsecurePolicy::LoopbackOnly;
        assert_eq!(verify(header, Some([192, 0, 2, 1].into()), &policy), Err(Error::NotLoopback));
        assert_eq!(verify(header, None, &policy), Err(Error::NotLoopback));
        assert!(verify(header, Some("::ffff:127.0.0.1".parse().unwrap()), &policy).is_ok());
        assert!(verify(header, Some("::1".parse().unwrap()), &policy).is_ok());
    }

    #[test]
    fn missing_and_malformed_credentials_are_told_apart() {
        assert_eq!(verify(None, LOCAL, &InsecurePolicy::LoopbackOnly), Err(Error::Missing));
        for header in
            ["", "Bearer", "Basic insecure:acme", "Bearer x", "Bearer insecure:", "Bearer insecure:UPPER"]
        {
            assert_eq!(on_loopback(header), Err(Error::Malformed), "{header}");
        }
    }
}
