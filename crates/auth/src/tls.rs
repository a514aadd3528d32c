//! TLS: who may connect to whom, with certificates that are replaced without a restart.
//!
//! Responsible for the configurations that every listener and every connection of ours uses: TLS 1.3 alone, aws-lc-rs
//! alone, HTTP/2 by ALPN, no resumption (each connection is decided anew, by the authorities of that moment), no early data
//! (it can be replayed). Sockets are the caller's: give the configuration to `tokio_rustls::TlsAcceptor` or
//! `TlsConnector`, and put a deadline on the handshake.
//!
//! Between our processes both sides show a certificate of the cluster's authority with an identity ([`PeerIdentity`]),
//! and each side says whom it expects ([`Expected`]). A user verifies a gateway by its DNS name instead and shows no
//! certificate: its credential is a token ([`crate::jwt`]).
//!
//! Absent on purpose: revocation lists. A node or gateway whose key got lost is cut off by replacing the authority (load
//! the bundle of both, issue anew, load the new one alone), a node also by removing it from its group.

pub mod files;
mod identity;
mod material;
#[cfg(test)]
mod tests;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};

pub use identity::{Expected, IdentityError, PeerIdentity};
#[cfg(feature = "pki")]
pub(crate) use material::dates;
pub use material::{Material, Pair, Paths, Reload};

use verify::{NamedServers, PeerClients, PeerServers, Resolver};

/// What both sides speak.
const ALPN: &[u8] = b"h2";

/// Whose certificate a server asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Clients must show a certificate of an expected peer: listeners of nodes.
    Required(Expected),
    /// Clients may show none; who shows one must be an expected peer. [`PeerIdentity::of_connection`] tells which.
    Optional(Expected),
    /// Nobody is asked: a gateway's listener for users.
    None,
}

/// Whom a client accepts as its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAuth {
    /// This peer, by the identity in its certificate. The name given to the connector is not used: give
    /// [`peer_server_name`].
    Peer(Expected),
    /// Whoever has a certificate for the name or address given to the connector.
    Name,
}

/// TLS material cannot be used. Never quotes a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or others can read it.
    #[error(transparent)]
    File(#[from] files::Error),
    /// No PEM block of that kind, or a broken one.
    #[error("{path}: contains no readable PEM block of kind {what}")]
    NoPem {
        /// Which file.
        path: PathBuf,
        /// The kind.
        what: &'static str,
    },
    /// Certificate or key that rustls does not take.
    #[error("{path}: cannot be used")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The key is another certificate's.
    #[error("{certificate} and {key} do not belong together")]
    KeyMismatch {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The certificate expired.
    #[error("{path}: the certificate expired {ago_s} s ago: issue a new one")]
    Expired {
        /// Which file.
        path: PathBuf,
        /// Seconds since.
        ago_s: i64,
    },
    /// The certificate begins in the future.
    #[error("{path}: the certificate is valid in {ahead_s} s only: check this machine's clock")]
    NotYetValid {
        /// Which file.
        path: PathBuf,
        /// Seconds until.
        ahead_s: i64,
    },
    /// Its URIs contradict each other or cannot be read.
    #[error("{path}: the certificate names no peer")]
    Identity {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// A reload with the certificate of somebody else.
    #[error("{path}: the new certificate is another peer's; the old one stays in use until a restart")]
    IdentityChanged {
        /// Which file.
        path: PathBuf,
    },
    /// Own certificate and CA file do not fit: no peer would accept it.
    #[error("{path}: the certificate does not come from an authority in the CA file")]
    NotOfCa {
        /// Which file.
        path: PathBuf,
        /// What the check of the chain said.
        #[source]
        source: Option<rustls::Error>,
    },
    /// The configuration needs a file that is not configured.
    #[error("TLS needs {what}, and none is configured")]
    NotConfigured {
        /// What is missing.
        what: &'static str,
    },
    /// rustls refused the combination.
    #[error("TLS cannot be configured")]
    Config(#[source] rustls::Error),
}

/// The name to give to a connector for a peer. It is not sent and not checked; rustls wants one.
#[must_use]
pub fn peer_server_name() -> ServerName<'static> {
    ServerName::try_from("peer.pi.invalid").expect("a DNS name")
}

/// A server's configuration. It follows reloads of the material.
///
/// # Errors
/// [`Error::NotConfigured`] without a certificate, or without a CA when clients are asked for theirs.
pub fn server_config(material: &Arc<Material>, clients: ClientAuth) -> Result<Arc<ServerConfig>, Error> {
    need(material.current().own.is_some(), "a certificate and its key")?;
    let builder = ServerConfig::builder_with_provider(material.provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::Config)?;
    let (expected, mandatory) = match clients {
        ClientAuth::Required(expected) => (Some(expected), true),
        ClientAuth::Optional(expected) => (Some(expected), false),
        ClientAuth::None => (None, false),
    };
    let builder = match expected {
        Some(expected) => {
            need(material.current().trust.is_some(), "the certificate of a CA (ca)")?;
            let verifier = PeerClients { material: material.clone(), expected, mandatory };
            builder.with_client_cert_verifier(Arc::new(verifier))
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver(material.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A client's configuration. It follows reloads of the material.
///
/// # Errors
/// [`Error::NotConfigured`] without a CA, or without a certificate towards a peer.
pub fn client_config(material: &Arc<Material>, servers: ServerAuth) -> Result<Arc<ClientConfig>, Error> {
    need(material.current().trust.is_some(), "the certificate of a CA (ca)")?;
    let is_peer = matches!(servers, ServerAuth::Peer(_));
    need(!is_peer || material.current().own.is_some(), "a certificate and its key")?;
    let builder = ClientConfig::builder_with_provider(material.provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::Config)?
        .dangerous();
    let builder = match servers {
        ServerAuth::Peer(expected) => builder
            .with_custom_certificate_verifier(Arc::new(PeerServers { material: material.clone(), expected })),
        ServerAuth::Name => {
            builder.with_custom_certificate_verifier(Arc::new(NamedServers(material.clone())))
        }
    };
    let mut config = builder.with_client_cert_resolver(Arc::new(Resolver(material.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = !is_peer;
    Ok(Arc::new(config))
}

fn need(there: bool, what: &'static str) -> Result<(), Error> {
    if there { Ok(()) } else { Err(Error::NotConfigured { what }) }
}
