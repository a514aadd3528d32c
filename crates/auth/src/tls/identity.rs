//! Who a peer is, as its certificate says: one URI among the subject alternative names.
//!
//! Responsible for reading that URI and for holding it against what was expected. That the certificate is genuine, the
//! verifiers check first.

use std::fmt;
use std::str::FromStr;

use pi_types::{ClusterName, PrincipalName, RegionName};
use rustls::pki_types::CertificateDer;

/// How our URIs begin. Others may stand beside ours (SPIFFE ids, say) and mean nothing here.
const SCHEME: &str = "pi://";
/// As for members of a group: 1 to 2^63-1.
const NODE_ID_MAX: u64 = i64::MAX as u64;

/// A peer: `pi://<cluster>/region/<region>/node/<id>` or `pi://<cluster>/gateway/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerIdentity {
    /// A node of a region's group.
    Node {
        /// The cluster.
        cluster: ClusterName,
        /// The region.
        region: RegionName,
        /// 1 to 2^63-1.
        id: u64,
    },
    /// A gateway.
    Gateway {
        /// The cluster.
        cluster: ClusterName,
        /// Letters, digits, `.`, `_` and `-`.
        name: PrincipalName,
    },
}

/// The certificate names no peer, or several.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The URI is not of ours.
    #[error(
        "a peer's URI is pi://<cluster>/region/<region>/node/<id> or pi://<cluster>/gateway/<name>, and this is neither"
    )]
    Malformed,
    /// No URI of ours: a certificate for something else, a user-facing listener say.
    #[error("the certificate has no subject alternative name URI:pi://…: it is not one of a node or gateway")]
    None,
    /// More than one.
    #[error("the certificate has more than one subject alternative name URI:pi://…")]
    Several,
    /// Not a certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// Another peer than expected. `wanted` and `got` in words.
    #[error("expected {wanted}, but the peer is {got}")]
    Other {
        /// What was expected.
        wanted: String,
        /// What came.
        got: String,
    },
}

impl PeerIdentity {
    /// Reads the identity out of a certificate whose chain was verified.
    ///
    /// # Errors
    /// Not exactly one URI of ours.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|_| IdentityError::Unreadable)?;
        let mut ours = parsed.valid_uri_names().filter(|uri| uri.starts_with(SCHEME));
        let uri = ours.next().ok_or(IdentityError::None)?;
        if ours.next().is_some() {
            return Err(IdentityError::Several);
        }
        uri.parse()
    }

    /// The identity of the other side of a finished handshake; `None` when it showed no certificate or one without
    /// identity. With a config that requires peers, it is always there, and verified.
    #[must_use]
    pub fn of_connection(connection: &rustls::CommonState) -> Option<Self> {
        Self::of_certificate(connection.peer_certificates()?.first()?).ok()
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterName {
        match self {
            Self::Node { cluster, .. } | Self::Gateway { cluster, .. } => cluster,
        }
    }

    /// Whether this is that very node; for checking the ids inside each RPC against the connection.
    ///
    /// # Errors
    /// [`IdentityError::Other`], naming both.
    pub fn expect_node(
        &self,
        cluster: &ClusterName,
        region: &RegionName,
        id: u64,
    ) -> Result<(), IdentityError> {
        Expected::node(cluster, region, id).check(self)
    }
}

impl FromStr for PeerIdentity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let path = uri.strip_prefix(SCHEME).ok_or(IdentityError::Malformed)?;
        let mut parts = path.split('/');
        let mut next = || parts.next().ok_or(IdentityError::Malformed);
        let cluster = next()?.parse().map_err(|_| IdentityError::Malformed)?;
        let identity = match next()? {
            "region" => {
                let region = next()?.parse().map_err(|_| IdentityError::Malformed)?;
                if next()? != "node" {
                    return Err(IdentityError::Malformed);
                }
                Self::Node { cluster, region, id: parse_id(next()?)? }
            }
            "gateway" => Self::Gateway { cluster, name: parse_name(next()?)? },
            _ => return Err(IdentityError::Malformed),
        };
        if parts.next().is_some() { Err(IdentityError::Malformed) } else { Ok(identity) }
    }
}

/// One form for each id, so that equal identities are equal texts.
fn parse_id(text: &str) -> Result<u64, IdentityError> {
    let canonical = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().map_err(|_| IdentityError::Malformed)?;
    if canonical && id <= NODE_ID_MAX { Ok(id) } else { Err(IdentityError::Malformed) }
}

/// A subset of principal names that needs no escapes in a URI.
fn parse_name(text: &str) -> Result<PrincipalName, IdentityError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !plain {
        return Err(IdentityError::Malformed);
    }
    text.parse().map_err(|_| IdentityError::Malformed)
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { cluster, region, id } => write!(f, "{SCHEME}{cluster}/region/{region}/node/{id}"),
            Self::Gateway { cluster, name } => write!(f, "{SCHEME}{cluster}/gateway/{name}"),
        }
    }
}

/// Which peers are accepted, besides having a certificate of the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This node: for connections to a member of a group.
    Node {
        /// The cluster.
        cluster: ClusterName,
        /// The region.
        region: RegionName,
        /// The node.
        id: u64,
    },
    /// Any node of one region: a Raft listener, and a gateway that knows a seed address only.
    NodeOf {
        /// The cluster.
        cluster: ClusterName,
        /// The region.
        region: RegionName,
    },
    /// Any gateway of the cluster: a node's listener for clients.
    Gateway {
        /// The cluster.
        cluster: ClusterName,
    },
    /// Any gateway of the cluster or node of the region: a listener that serves both.
    GatewayOrNodeOf {
        /// The cluster.
        cluster: ClusterName,
        /// The region.
        region: RegionName,
    },
}

impl Expected {
    /// [`Self::Node`].
    #[must_use]
    pub fn node(cluster: &ClusterName, region: &RegionName, id: u64) -> Self {
        Self::Node { cluster: cluster.clone(), region: region.clone(), id }
    }

    /// [`Self::NodeOf`].
    #[must_use]
    pub fn node_of(cluster: &ClusterName, region: &RegionName) -> Self {
        Self::NodeOf { cluster: cluster.clone(), region: region.clone() }
    }

    /// [`Self::Gateway`].
    #[must_use]
    pub fn gateway(cluster: &ClusterName) -> Self {
        Self::Gateway { cluster: cluster.clone() }
    }

    /// Holds a peer against this.
    ///
    /// # Errors
    /// [`IdentityError::Other`], naming both.
    pub fn check(&self, peer: &PeerIdentity) -> Result<(), IdentityError> {
        let accepted = match (self, peer) {
            (Self::Node { cluster, region, id }, PeerIdentity::Node { cluster: c, region: r, id: i }) => {
                (cluster, region, id) == (c, r, i)
            }
            (
                Self::NodeOf { cluster, region } | Self::GatewayOrNodeOf { cluster, region },
                PeerIdentity::Node { cluster: c, region: r, .. },
            ) => (cluster, region) == (c, r),
            (
                Self::Gateway { cluster } | Self::GatewayOrNodeOf { cluster, .. },
                PeerIdentity::Gateway { cluster: c, .. },
            ) => cluster == c,
            (Self::Node { .. } | Self::NodeOf { .. }, PeerIdentity::Gateway { .. })
            | (Self::Gateway { .. }, PeerIdentity::Node { .. }) => false,
        };
        if accepted {
            Ok(())
        } else {
            Err(IdentityError::Other { wanted: self.to_string(), got: peer.to_string() })
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { cluster, region, id } => write!(f, "{SCHEME}{cluster}/region/{region}/node/{id}"),
            Self::NodeOf { cluster, region } => write!(f, "{SCHEME}{cluster}/region/{region}/node/<any>"),
            Self::Gateway { cluster } => write!(f, "{SCHEME}{cluster}/gateway/<any>"),
            Self::GatewayOrNodeOf { cluster, region } => {
                write!(f, "{SCHEME}{cluster}/gateway/<any> or …/region/{region}/node/<any>")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: &str = "pi://prod/region/us-central1/node/2";
    const GATEWAY: &str = "pi://prod/gateway/gw-1";

    #[test]
    fn identities_survive_their_text() {
        for uri in [NODE, GATEWAY, "pi://a/region/b/node/9223372036854775807"] {
            assert_eq!(uri.parse::<PeerIdentity>().unwrap().to_string(), uri);
        }
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for uri in [
            "",
            "pi://",
            "pi://prod",
            "pi://prod/",
            "pi://prod/node/1",
            "pi://prod/region/us/node",
            "pi://prod/region/us/node/",
            "pi://prod/region/us/node/0",
            "pi://prod/region/us/node/01",
            "pi://prod/region/us/node/+1",
            "pi://prod/region/us/node/9223372036854775808",
            "pi://prod/region/us/node/1/",
            "pi://prod/region/us/node/1/gateway/x",
            "pi://prod/region/us/nodes/1",
            "pi://prod/region/US/node/1",
            "pi:///region/us/node/1",
            "pi://prod/region//node/1",
            "pi://prod/gateway/",
            "pi://prod/gateway/a%2fb",
            "pi://prod/gateway/a/b",
            "PI://prod/gateway/a",
            "spiffe://prod/region/us/node/1",
            " pi://prod/gateway/a",
        ] {
            assert_eq!(uri.parse::<PeerIdentity>(), Err(IdentityError::Malformed), "{uri}");
        }
    }

    #[test]
    fn each_expectation_accepts_exactly_its_peers() {
        let cluster: ClusterName = "prod".parse().unwrap();
        let region: RegionName = "us-central1".parse().unwrap();
        let expectations = [
            Expected::node(&cluster, &region, 2),
            Expected::node_of(&cluster, &region),
            Expected::gateway(&cluster),
            Expected::GatewayOrNodeOf { cluster, region },
        ];
        let table = [
            (NODE, "y y - y"),
            ("pi://prod/region/us-central1/node/3", "- y - y"),
            ("pi://prod/region/eu-west1/node/2", "- - - -"),
            ("pi://test/region/us-central1/node/2", "- - - -"),
            (GATEWAY, "- - y y"),
            ("pi://test/gateway/gw-1", "- - - -"),
        ];
        for (uri, row) in table {
            let peer: PeerIdentity = uri.parse().unwrap();
            let got = expectations.each_ref().map(|expected| match expected.check(&peer) {
                Ok(()) => "y",
                Err(IdentityError::Other { got, wanted }) => {
                    assert_eq!((got.as_str(), wanted), (uri, expected.to_string()));
                    "-"
                }
                Err(error) => panic!("{error}"),
            });
            assert_eq!(got.join(" "), row, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn no_uri_and_no_certificate_makes_the_reader_panic(
            uri in "pi://[a-z/0-9%.]{0,40}|.*",
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(identity) = uri.parse::<PeerIdentity>() {
                prop_assert_eq!(identity.to_string(), uri);
            }
            prop_assert!(PeerIdentity::of_certificate(&CertificateDer::from(bytes)).is_err());
        }
    }
}
