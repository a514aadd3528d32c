//! Names: what a user may call secrets, namespaces, tenants, regions, clusters and principals.
//!
//! The rules themselves are in [`crate::kubernetes`]; here is which one binds which name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{DEFAULT_NAMESPACE, Invalid, kubernetes, limits};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $field:literal, $rule:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn validate(value: &str) -> Result<(), Invalid> {
                if value.is_empty() {
                    return Err(Invalid::new($field, "Required value"));
                }
                $rule(value).map_err(|reason| Invalid::value($field, value, &reason))
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(value: &str) -> Result<Self, Invalid> {
                Self::validate(value)?;
                Ok(Self(value.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(value: String) -> Result<Self, Invalid> {
                Self::validate(&value)?;
                Ok(Self(value.into()))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// A secret's name: a DNS-1123 subdomain of 1 to 253 bytes, unique in its namespace.
    SecretName, "name", kubernetes::subdomain
}

name! {
    /// A namespace: a DNS-1123 label of 1 to 63 bytes. It groups a tenant's secrets in a region and needs no creation.
    Namespace, "namespace", kubernetes::label
}

name! {
    /// A tenant, the account that owns secrets: a DNS-1123 label of 1 to 63 bytes.
    TenantId, "tenant", kubernetes::label
}

name! {
    /// A region: a DNS-1123 label of 1 to 63 bytes.
    RegionName, "region", kubernetes::label
}

name! {
    /// A cluster, all the regions behind one set of gateways: a DNS-1123 label of 1 to 63 bytes.
    ClusterName, "cluster", kubernetes::label
}

name! {
    /// Who asks, within a tenant or among the operators: 1 to 128 printable ASCII characters without spaces.
    PrincipalName, "principal", printable
}

impl Default for Namespace {
    fn default() -> Self {
        Self(DEFAULT_NAMESPACE.into())
    }
}

fn printable(value: &str) -> Result<(), String> {
    let bytes_max = limits::PRINCIPAL_BYTES_MAX;
    if value.len() > bytes_max {
        return Err(format!("must be no more than {bytes_max} characters"));
    }
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must consist of printable ASCII characters without spaces".to_owned());
    }
    Ok(())
}
