//! Certificates, keys and authorities: read from PEM files, checked, and replaced while connections go on.
//!
//! Responsible for having material that belongs together at every moment. A reload that fails leaves what there was.
//! When to look is the caller's: [`Material::poll`] costs three `stat` calls, so once in some seconds is right.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};
use x509_cert::der::Decode;
use zeroize::Zeroize;

use super::{Error, PeerIdentity, files};

/// Where the PEM files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Certificates of the authorities that other sides' certificates must come from. Needed to verify anybody.
    pub ca: Option<PathBuf>,
    /// What this side shows. Needed by servers, and by clients of servers that ask for it.
    pub pair: Option<Pair>,
}

/// A certificate chain and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key: PKCS#8, SEC1 or PKCS#1; mode 0600.
    pub key: PathBuf,
}

impl Paths {
    /// The three files of a peer.
    #[must_use]
    pub fn peer(ca: &Path, certificate: &Path, key: &Path) -> Self {
        let pair = Pair { certificate: certificate.to_owned(), key: key.to_owned() };
        Self { ca: Some(ca.to_owned()), pair: Some(pair) }
    }

    fn all(&self) -> impl Iterator<Item = &Path> {
        let pair = self.pair.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        self.ca.iter().chain(pair).map(PathBuf::as_path)
    }
}

/// What [`Material::poll`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// No file changed.
    Unchanged,
    /// The new files are in use, for new connections; worth a line in the log.
    Reloaded,
}

/// Loaded material. The configurations made from it follow its reloads. No `Debug`.
pub struct Material {
    paths: Paths,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Loaded>,
    /// Of the files that `current` came from; also keeps two reloads apart.
    stamps: Mutex<Vec<Stamp>>,
}

/// Replaced as a whole.
pub(super) struct Loaded {
    pub(super) trust: Option<Trust>,
    pub(super) own: Option<Own>,
}

/// The authorities, in the forms in which rustls asks for them.
pub(super) struct Trust {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    pub(super) servers: Arc<WebPkiServerVerifier>,
    not_after_ms: i64,
}

/// What this side shows.
pub(super) struct Own {
    pub(super) key: Arc<CertifiedKey>,
    identity: Option<PeerIdentity>,
    not_after_ms: i64,
}

/// What changes when a file is written in place, renamed over, or a symbolic link is turned (as Kubernetes does).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Material {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// See [`Error`]; each names the file.
    pub fn load(paths: Paths) -> Result<Arc<Self>, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // Before reading: a change in between is then seen by the next poll.
        let stamps = stamps(&paths)?;
        let loaded = load(&paths, &provider)?;
        Ok(Arc::new(Self {
            paths,
            provider,
            current: ArcSwap::from_pointee(loaded),
            stamps: Mutex::new(stamps),
        }))
    }

    /// Looks whether a file changed, and takes over the new material for new connections. Blocks on the file system,
    /// briefly.
    ///
    /// # Errors
    /// The new files cannot be used, half-written for instance; what was loaded before stays in use, and the next poll
    /// tries again. A certificate with another identity is refused: that takes a restart.
    pub fn poll(&self) -> Result<Reload, Error> {
        let mut seen = self.stamps.lock();
        let now = stamps(&self.paths)?;
        if *seen == now {
            return Ok(Reload::Unchanged);
        }
        let loaded = load(&self.paths, &self.provider)?;
        let identity = loaded.own.as_ref().and_then(|own| own.identity.clone());
        if identity != self.identity() {
            let path = self.paths.pair.as_ref().map(|pair| pair.certificate.clone()).unwrap_or_default();
            return Err(Error::IdentityChanged { path });
        }
        self.current.store(Arc::new(loaded));
        *seen = now;
        Ok(Reload::Reloaded)
    }

    /// Who this side is to its peers; `None` without a certificate, or with one that names no peer.
    #[must_use]
    pub fn identity(&self) -> Option<PeerIdentity> {
        self.current.load().own.as_ref()?.identity.clone()
    }

    /// When this side's certificate expires, in milliseconds since 1970.
    #[must_use]
    pub fn not_after_ms(&self) -> Option<i64> {
        self.current.load().own.as_ref().map(|own| own.not_after_ms)
    }

    /// When the first of the authorities expires, in milliseconds since 1970.
    #[must_use]
    pub fn ca_not_after_ms(&self) -> Option<i64> {
        self.current.load().trust.as_ref().map(|trust| trust.not_after_ms)
    }

    pub(super) fn current(&self) -> arc_swap::Guard<Arc<Loaded>> {
        self.current.load()
    }

    pub(super) const fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }
}

fn stamps(paths: &Paths) -> Result<Vec<Stamp>, Error> {
    paths.all().map(stamp).collect()
}

fn stamp(path: &Path) -> Result<Stamp, Error> {
    let metadata = std::fs::metadata(path).map_err(|source| files::io_error(path, "read", source))?;
    Ok(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

fn load(paths: &Paths, provider: &Arc<CryptoProvider>) -> Result<Loaded, Error> {
    let trust = paths.ca.as_deref().map(|path| load_trust(path, provider)).transpose()?;
    let own = paths.pair.as_ref().map(|pair| load_own(pair, provider)).transpose()?;
    if let (Some(trust), Some(own), Some(pair)) = (&trust, &own, &paths.pair) {
        check_issuer(trust, own, &pair.certificate, provider)?;
    }
    Ok(Loaded { trust, own })
}

/// webpki does not look at the dates of authorities, so expired ones are left out here; a bundle may hold some.
fn load_trust(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Trust, Error> {
    let mut roots = RootCertStore::empty();
    let mut not_after_ms = i64::MAX;
    let mut expired = None;
    for certificate in read_certificates(path)? {
        match check_dates(path, &certificate) {
            Ok(end_ms) => not_after_ms = not_after_ms.min(end_ms),
            Err(error @ (Error::Expired { .. } | Error::NotYetValid { .. })) => {
                expired = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        }
        roots.add(certificate).map_err(|source| unusable(path, source))?;
    }
    if let (true, Some(error)) = (roots.is_empty(), expired) {
        return Err(error);
    }
    let roots = Arc::new(roots);
    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|source| unusable(path, rustls::Error::General(source.to_string())))?;
    let servers = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|source| unusable(path, rustls::Error::General(source.to_string())))?;
    Ok(Trust { roots, clients, servers, not_after_ms })
}

fn load_own(pair: &Pair, provider: &Arc<CryptoProvider>) -> Result<Own, Error> {
    let chain = read_certificates(&pair.certificate)?;
    let leaf =
        chain.first().ok_or_else(|| Error::NoPem { path: pair.certificate.clone(), what: "CERTIFICATE" })?;
    let not_after_ms = check_dates(&pair.certificate, leaf)?;
    let identity = match PeerIdentity::of_certificate(leaf) {
        Ok(identity) => Some(identity),
        Err(super::IdentityError::None) => None,
        Err(source) => return Err(Error::Identity { path: pair.certificate.clone(), source }),
    };
    let pem = files::read_private(&pair.key)?;
    let mut der = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| Error::NoPem { path: pair.key.clone(), what: "PRIVATE KEY" })?;
    let signing = provider.key_provider.load_private_key(der.clone_key());
    der.zeroize();
    let key = CertifiedKey::new(chain, signing.map_err(|source| unusable(&pair.key, source))?);
    key.keys_match()
        .map_err(|_| Error::KeyMismatch { certificate: pair.certificate.clone(), key: pair.key.clone() })?;
    Ok(Own { key: Arc::new(key), identity, not_after_ms })
}

/// That this side's certificate comes from the authority it expects of others: better found out here than by every peer.
fn check_issuer(trust: &Trust, own: &Own, path: &Path, provider: &CryptoProvider) -> Result<(), Error> {
    let (leaf, intermediates) = own.key.cert.split_first().expect("load_own refuses an empty chain");
    let now = UnixTime::now();
    let parsed =
        rustls::server::ParsedCertificate::try_from(leaf).map_err(|source| unusable(path, source))?;
    let as_server = rustls::client::verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &trust.roots,
        intermediates,
        now,
        provider.signature_verification_algorithms.all,
    );
    // A certificate may be for clients alone.
    if as_server.is_ok() || trust.clients.verify_client_cert(leaf, intermediates, now).is_ok() {
        return Ok(());
    }
    Err(Error::NotOfCa { path: path.to_owned(), source: as_server.err() })
}

fn check_dates(path: &Path, certificate: &CertificateDer<'_>) -> Result<i64, Error> {
    let (not_before_ms, not_after_ms) =
        dates(certificate).ok_or_else(|| unusable(path, CertificateError::BadEncoding.into()))?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis);
    if now_ms > not_after_ms {
        return Err(Error::Expired { path: path.to_owned(), ago_s: (now_ms - not_after_ms) / 1_000 });
    }
    if now_ms < not_before_ms {
        return Err(Error::NotYetValid { path: path.to_owned(), ahead_s: (not_before_ms - now_ms) / 1_000 });
    }
    Ok(not_after_ms)
}

/// First and last moment of a certificate, in milliseconds since 1970. `None` for what is no certificate.
pub(crate) fn dates(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    let validity = parsed.tbs_certificate().validity();
    Some((millis(validity.not_before.to_unix_duration()), millis(validity.not_after.to_unix_duration())))
}

fn millis(since_epoch: Duration) -> i64 {
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = files::read_public(path)?;
    let none = || Error::NoPem { path: path.to_owned(), what: "CERTIFICATE" };
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| none())?;
    if certificates.is_empty() { Err(none()) } else { Ok(certificates) }
}

fn unusable(path: &Path, source: rustls::Error) -> Error {
    Error::Unusable { path: path.to_owned(), source }
}
