//! What rustls asks in a handshake: which certificate to show, and whether the other side's is good. Everything looks at
//! the material as it is at that moment, so that a reload needs no new configuration.
//!
//! A peer is verified in two steps: webpki checks the chain up to our authority, dates and purpose; then the URI in
//! the certificate is held against the peer that was expected. DNS names and addresses of peers mean nothing: they
//! change, and whoever controls a name must not become a node.

use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::material::{Material, Trust};
use super::{Expected, IdentityError, PeerIdentity};

/// Shows the certificate that is loaded now, as a server or as a client.
pub(super) struct Resolver(pub(super) Arc<Material>);

impl Resolver {
    fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.0.current().own.as_ref().map(|own| own.key.clone())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key()
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.key()
    }

    fn has_certs(&self) -> bool {
        self.0.current().own.is_some()
    }
}

/// Verifies clients that are peers.
pub(super) struct PeerClients {
    pub(super) material: Arc<Material>,
    pub(super) expected: Expected,
    pub(super) mandatory: bool,
}

impl ClientCertVerifier for PeerClients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None, because they change with a reload; a peer has one certificate and shows it.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let material = self.material.current();
        let verified = trust(&material.trust)?.clients.verify_client_cert(end_entity, intermediates, now)?;
        check_identity(end_entity, &self.expected)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.material, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes(&self.material)
    }
}

/// Verifies servers that are peers.
pub(super) struct PeerServers {
    pub(super) material: Arc<Material>,
    pub(super) expected: Expected,
}

impl ServerCertVerifier for PeerServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let material = self.material.current();
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &trust(&material.trust)?.roots,
            intermediates,
            now,
            self.material.provider().signature_verification_algorithms.all,
        )?;
        check_identity(end_entity, &self.expected)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.material, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes(&self.material)
    }
}

/// Verifies servers by their DNS name or address, as browsers do: what users do with a gateway.
pub(super) struct NamedServers(pub(super) Arc<Material>);

impl ServerCertVerifier for NamedServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let material = self.0.current();
        trust(&material.trust)?.servers.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.0, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes(&self.0)
    }
}

/// The constructors of configurations refuse material without a CA, and a reload has the same files; deny all the same.
fn trust(trust: &Option<Trust>) -> Result<&Trust, Error> {
    trust.as_ref().ok_or_else(|| CertificateError::UnknownIssuer.into())
}

/// The error travels to the log of the side that refuses; the other side sees an alert alone.
fn check_identity(certificate: &CertificateDer<'_>, expected: &Expected) -> Result<(), Error> {
    PeerIdentity::of_certificate(certificate)
        .and_then(|identity| expected.check(&identity))
        .map_err(|error| CertificateError::Other(OtherError(Arc::new(Readable(error)))).into())
}

/// rustls prints the `Debug` of what it does not know; this one is for people.
struct Readable(IdentityError);

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Readable {}

fn verify_signature(
    material: &Material,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = &material.provider().signature_verification_algorithms;
    rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
}

fn schemes(material: &Material) -> Vec<SignatureScheme> {
    material.provider().signature_verification_algorithms.supported_schemes()
}

/// Never reached: the configurations speak TLS 1.3 alone.
fn too_old() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

macro_rules! debug_by_name {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

// rustls wants it; there is nothing in them to show, and keys to hide.
debug_by_name!(Resolver, PeerClients, PeerServers, NamedServers);
