//! The seam where a payload is sealed before it is proposed and opened after it is read.
//!
//! The state machine, the log, snapshots and peers see sealed bytes only. In this issue the one [`Sealer`] is
//! [`PlainV0`], which frames and binds the payload but does **not** encrypt it, and says so in its name on disk;
//! issue 3 puts envelope encryption here. Callers already hand over everything that associated data will bind.

use pi_types::limits::SEAL_OVERHEAD_BYTES_MAX;
use pi_types::{ClusterName, Namespace, RegionName, SecretName, TenantId, Uid};
use zeroize::Zeroizing;

/// What a sealed payload belongs to. It opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The cluster.
    pub cluster: &'a ClusterName,
    /// The region.
    pub region: &'a RegionName,
    /// The owner.
    pub tenant: &'a TenantId,
    /// The secret's namespace.
    pub namespace: &'a Namespace,
    /// The secret's name.
    pub name: &'a SecretName,
    /// The secret's uid.
    pub uid: Uid,
    /// The generation whose payload it is.
    pub generation: u64,
}

/// Why a payload could not be sealed or opened. Never shows any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The stored bytes are of no format this node knows.
    #[error("the stored payload has a format this version does not know")]
    UnknownFormat,
    /// The stored bytes were sealed for something else, or were changed.
    #[error("the stored payload does not belong to this secret, or was changed")]
    DoesNotOpen,
}

/// Seals and opens payloads. Implementations are deterministic in what they accept, not in what they produce.
pub trait Sealer: Send + Sync + 'static {
    /// The format's name as an operator sees it.
    fn format(&self) -> &'static str;
    /// Seals a payload; the result is at most [`SEAL_OVERHEAD_BYTES_MAX`] longer.
    fn seal(&self, binding: &Binding<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error>;
    /// Opens what [`Sealer::seal`] made for the same binding.
    fn open(&self, binding: &Binding<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error>;
}

/// `plain-v0`: framed, bound to uid and generation, **not encrypted**.
///
/// Layout: the magic, 16 bytes of uid, 8 bytes of generation (big endian), the payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainV0;

const MAGIC: &[u8; 11] = b"pi:plain-v0";
const HEAD_BYTES: usize = MAGIC.len() + 16 + 8;
const _: () = assert!(HEAD_BYTES <= SEAL_OVERHEAD_BYTES_MAX);

impl Sealer for PlainV0 {
    fn format(&self) -> &'static str {
        "plain-v0 (not encrypted)"
    }

    fn seal(&self, binding: &Binding<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let mut sealed = Vec::with_capacity(HEAD_BYTES + plaintext.len());
        sealed.extend_from_slice(MAGIC);
        sealed.extend_from_slice(binding.uid.as_bytes());
        sealed.extend_from_slice(&binding.generation.to_be_bytes());
        sealed.extend_from_slice(plaintext);
        Ok(sealed)
    }

    fn open(&self, binding: &Binding<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let rest = sealed.strip_prefix(MAGIC).ok_or(Error::UnknownFormat)?;
        let (uid, rest) = rest.split_at_checked(16).ok_or(Error::DoesNotOpen)?;
        let (generation, payload) = rest.split_at_checked(8).ok_or(Error::DoesNotOpen)?;
        if uid != binding.uid.as_bytes() || generation != binding.generation.to_be_bytes() {
            return Err(Error::DoesNotOpen);
        }
        Ok(Zeroizing::new(payload.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Names {
        cluster: ClusterName,
        region: RegionName,
        tenant: TenantId,
        namespace: Namespace,
        name: SecretName,
    }

    fn names() -> Names {
        Names {
            cluster: "pi".parse().unwrap(),
            region: "us-central1".parse().unwrap(),
            tenant: "acme".parse().unwrap(),
            namespace: Namespace::default(),
            name: "a".parse().unwrap(),
        }
    }

    fn binding(n: &Names, uid: u8, generation: u64) -> Binding<'_> {
        Binding {
            cluster: &n.cluster,
            region: &n.region,
            tenant: &n.tenant,
            namespace: &n.namespace,
            name: &n.name,
            uid: Uid::from_bytes([uid; 16]),
            generation,
        }
    }

    #[test]
    fn opens_to_the_same_bytes_and_only_under_its_own_uid_and_generation() {
        let n = names();
        let sealed = PlainV0.seal(&binding(&n, 1, 1), b"payload").unwrap();
        assert_eq!(PlainV0.open(&binding(&n, 1, 1), &sealed).unwrap().as_slice(), b"payload");
        assert_eq!(PlainV0.open(&binding(&n, 2, 1), &sealed).unwrap_err(), Error::DoesNotOpen);
        assert_eq!(PlainV0.open(&binding(&n, 1, 2), &sealed).unwrap_err(), Error::DoesNotOpen);
    }

    #[test]
    fn truncated_and_foreign_bytes_are_errors_at_every_length() {
        let n = names();
        let sealed = PlainV0.seal(&binding(&n, 1, 1), b"").unwrap();
        for length in 0..sealed.len() {
            assert!(PlainV0.open(&binding(&n, 1, 1), &sealed[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(PlainV0.open(&binding(&n, 1, 1), b"pi:seal-v1....").unwrap_err(), Error::UnknownFormat);
    }
}
