//! A small certificate authority: for `pi-dev`, and for `pi-region cert` where an organisation has none.
//!
//! Responsible for a CA in a directory and for certificates with the identities that [`crate::tls`] expects. Everything
//! is ECDSA P-256, made here, written with mode 0600 and never overwritten. Any other CA serves as well, as long as
//! the leaf has the right URI among its subject alternative names.
//!
//! The CA's key is what the whole cluster's TLS rests on: whoever has it is any node and any gateway. Take `ca.key` off
//! the machines that run nodes, once their certificates are issued.

use std::fs::DirBuilder;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pi_types::ClusterName;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use zeroize::{Zeroize, Zeroizing};

use crate::tls::{Pair, PeerIdentity, dates, files};

/// The CA's certificate, to be given to every process.
pub const CA_CERTIFICATE_FILE: &str = "ca.crt";
/// The CA's key.
pub const CA_KEY_FILE: &str = "ca.key";
/// Ten years: replacing an authority is work on every machine.
const CA_DAYS: u32 = 3_650;
/// Certificates begin this much in the past, for machines whose clocks are late.
const BACKDATED: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The CA could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written, or is there already.
    #[error(transparent)]
    File(#[from] files::Error),
    /// Its files do not hold a CA of ours.
    #[error("{path}: holds no certificate authority made by `pi-region cert` or `pi-dev`")]
    NotOurs {
        /// Which file.
        path: PathBuf,
    },
    /// A certificate for another cluster.
    #[error("this authority is of cluster {ca}: it issues nothing for cluster {wanted}")]
    OtherCluster {
        /// Whose it is.
        ca: ClusterName,
        /// What was asked for.
        wanted: ClusterName,
    },
    /// Neither a DNS name nor an IP address.
    #[error("{name:?} is neither a DNS name nor an IP address (no port, no scheme)")]
    Name {
        /// What was given.
        name: String,
    },
    /// Ends before it begins, or outlives what can be written.
    #[error("a certificate must end after it begins, and before the year 9999")]
    Validity,
    /// It would still be valid when its issuer no longer is.
    #[error("the certificate would outlive its authority {path}: choose fewer days, or make a new authority")]
    Outlives {
        /// The authority's certificate.
        path: PathBuf,
    },
    /// Making keys or signing failed.
    #[error("the certificate could not be made")]
    Crypto(#[source] rcgen::Error),
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: SystemTime,
    /// Last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// So many days from now; it begins an hour ago.
    #[must_use]
    pub fn days(now: SystemTime, days: u32) -> Self {
        Self { not_before: now - BACKDATED, not_after: now + DAY * days }
    }

    fn apply(self, params: &mut CertificateParams) -> Result<(), Error> {
        let far = SystemTime::UNIX_EPOCH + DAY * 365 * 8_000;
        if self.not_before >= self.not_after || self.not_after > far {
            return Err(Error::Validity);
        }
        params.not_before = self.not_before.into();
        params.not_after = self.not_after.into();
        Ok(())
    }
}

/// A CA, opened. No `Debug`.
pub struct Ca {
    cluster: ClusterName,
    certificate: CertificateDer<'static>,
    path: PathBuf,
    issuer: Issuer<'static, Key>,
}

/// Wipes rcgen's copy of the key in the end.
struct Key(KeyPair);

/// A new certificate and its key.
pub struct Issued {
    /// One certificate, PEM.
    pub certificate_pem: String,
    /// PKCS#8, PEM.
    pub key_pem: Zeroizing<String>,
}

/// Makes a CA for a cluster: `ca.crt` and `ca.key` in `dir`, which is made when absent (mode 0700).
///
/// # Errors
/// One of the files exists, or cannot be written; nothing is left behind then.
pub fn create_ca(dir: &Path, cluster: &ClusterName, now: SystemTime) -> Result<Ca, Error> {
    let key = Key::generate()?;
    let mut params = ca_params(cluster, &key)?;
    Validity::days(now, CA_DAYS).apply(&mut params)?;
    let certificate = params.self_signed(&key).map_err(Error::Crypto)?;
    let issued = Issued { certificate_pem: certificate.pem(), key_pem: key.to_pem() };
    issued.write_as(dir, CA_CERTIFICATE_FILE, CA_KEY_FILE)?;
    Ca::open(dir)
}

impl Ca {
    /// Opens the CA in `dir`.
    ///
    /// # Errors
    /// Its files are missing, open to others, or not of a CA made here.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(CA_CERTIFICATE_FILE);
        let not_ours = || Error::NotOurs { path: path.clone() };
        let pem = files::read_public(&path)?;
        let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_| not_ours())?;
        let cluster = cluster_of(&certificate).ok_or_else(not_ours)?;
        let key_path = dir.join(CA_KEY_FILE);
        let key_pem = files::read_private(&key_path)?;
        let key_text = str::from_utf8(&key_pem).map_err(|_| Error::NotOurs { path: key_path.clone() })?;
        let key = KeyPair::from_pem(key_text).map_err(|_| Error::NotOurs { path: key_path })?;
        let key = Key(key);
        let issuer = Issuer::new(ca_params(&cluster, &key)?, key);
        Ok(Self { cluster, certificate, path, issuer })
    }

    /// The cluster whose peers it vouches for.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Its certificate's file.
    #[must_use]
    pub fn certificate_path(&self) -> &Path {
        &self.path
    }
}

/// Issues a certificate for a node or a gateway, for use as server and as client. `names`, DNS names (`*.` in front is
/// possible) and IP addresses, matter to users of a gateway alone: peers look at the identity.
///
/// # Errors
/// An identity of another cluster, a name that is none, a validity that is none; or `ca.crt` and `ca.key` do not belong
/// together.
pub fn issue(
    ca: &Ca,
    identity: &PeerIdentity,
    names: &[String],
    validity: Validity,
) -> Result<Issued, Error> {
    if identity.cluster() != &ca.cluster {
        return Err(Error::OtherCluster { ca: ca.cluster.clone(), wanted: identity.cluster().clone() });
    }
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name(identity));
    params.subject_alt_names = vec![uri(&identity.to_string())?];
    for name in names {
        params.subject_alt_names.push(subject_alt_name(name)?);
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    validity.apply(&mut params)?;
    let key = Key::generate()?;
    let certificate = params.signed_by(&key, &ca.issuer).map_err(Error::Crypto)?;
    check(ca, certificate.der(), validity)?;
    Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.to_pem() })
}

impl Issued {
    /// Writes `<stem>.crt` and `<stem>.key` into `dir`, which is made when absent (mode 0700).
    ///
    /// # Errors
    /// One of the files exists, or cannot be written; nothing is left behind then.
    pub fn write(&self, dir: &Path, stem: &str) -> Result<Pair, Error> {
        self.write_as(dir, &format!("{stem}.crt"), &format!("{stem}.key"))
    }

    fn write_as(&self, dir: &Path, certificate: &str, key: &str) -> Result<Pair, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| files::io_error(dir, "create", source))?;
        let pair = Pair { certificate: dir.join(certificate), key: dir.join(key) };
        files::create_private(&pair.certificate, self.certificate_pem.as_bytes())?;
        if let Err(error) = files::create_private(&pair.key, self.key_pem.as_bytes()) {
            // Ours, made a moment ago, and worth nothing without its key.
            _ = std::fs::remove_file(&pair.certificate);
            return Err(error.into());
        }
        Ok(pair)
    }
}

impl Key {
    fn generate() -> Result<Self, Error> {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map(Self).map_err(Error::Crypto)
    }

    fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl rcgen::PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

/// Follows from cluster and key, so that [`Ca::open`] finds the issuer's name again; and names no other CA, so that one
/// is not taken for its successor.
fn ca_params(cluster: &ClusterName, key: &Key) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Pi Secrets");
    params.distinguished_name.push(DnType::OrganizationalUnitName, cluster.as_str());
    let public = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.0.public_key_raw());
    let start = public.as_ref().first_chunk::<8>().expect("SHA-256 has 32 bytes");
    let name = format!("Pi Secrets CA {:016x}", u64::from_be_bytes(*start));
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![uri(&format!("pi://{cluster}/ca"))?];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// For people: at most 64 characters, which is X.509's bound.
fn common_name(identity: &PeerIdentity) -> String {
    let name = match identity {
        PeerIdentity::Node { region, id, .. } => format!("node {id} of {region}"),
        PeerIdentity::Gateway { name, .. } => format!("gateway {name}"),
    };
    name.chars().take(64).collect()
}

fn uri(text: &str) -> Result<SanType, Error> {
    Ok(SanType::URI(text.try_into().map_err(Error::Crypto)?))
}

fn subject_alt_name(name: &str) -> Result<SanType, Error> {
    let invalid = || Error::Name { name: name.to_owned() };
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    match ServerName::try_from(name.strip_prefix("*.").unwrap_or(name)) {
        Ok(ServerName::DnsName(_)) => Ok(SanType::DnsName(name.try_into().map_err(|_| invalid())?)),
        Ok(_) | Err(_) => Err(invalid()),
    }
}

fn cluster_of(certificate: &CertificateDer<'_>) -> Option<ClusterName> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut uris = parsed.valid_uri_names();
    uris.find_map(|uri| uri.strip_prefix("pi://")?.strip_suffix("/ca")?.parse().ok())
}

/// That peers will accept it: a key of another CA would be found out here.
fn check(ca: &Ca, leaf: &CertificateDer<'_>, validity: Validity) -> Result<(), Error> {
    let not_ours = || Error::NotOurs { path: ca.path.clone() };
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate.clone()).map_err(|_| not_ours())?;
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let parsed = rustls::server::ParsedCertificate::try_from(leaf).map_err(|_| not_ours())?;
    let last = validity.not_after.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| Error::Validity)?;
    // The check of a chain looks at no authority's dates.
    let (_, ca_not_after_ms) = dates(&ca.certificate).ok_or_else(not_ours)?;
    if last.as_millis() > u128::try_from(ca_not_after_ms).unwrap_or_default() {
        return Err(Error::Outlives { path: ca.path.clone() });
    }
    let last = UnixTime::since_unix_epoch(last);
    rustls::client::verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], last, algorithms.all)
        .map_err(|_| not_ours())
}

#[cfg(test)]
mod tests;
