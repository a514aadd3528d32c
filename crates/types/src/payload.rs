//! A secret's payload in the clear: the only type through which plaintext moves.
//!
//! Sealing it, and who may see it, is decided elsewhere; here it is bounded, checked, never printed and wiped.

use zeroize::Zeroizing;

use crate::{Invalid, docker_config, limits};

/// The plaintext of a secret: a Docker configuration of 1 to 4,096 bytes that a kubelet can use.
///
/// It is wiped when dropped and has no `Debug`, `Display`, `Serialize` or `PartialEq`; [`Payload::same_as`] compares
/// in constant time.
pub struct Payload(Zeroizing<Vec<u8>>);

impl Payload {
    /// Checks the size and the format ([`docker_config::check`]); what is refused is wiped too.
    pub fn new(bytes: Vec<u8>) -> Result<Self, Invalid> {
        let bytes = Zeroizing::new(bytes);
        let bytes_max = limits::PAYLOAD_BYTES_MAX;
        if bytes.len() > bytes_max {
            return Err(Invalid::new(
                docker_config::FIELD,
                format!("has {} bytes, the limit is {bytes_max} bytes", bytes.len()),
            ));
        }
        docker_config::check(&bytes)?;
        Ok(Self(bytes))
    }

    /// The plaintext. The name is a reminder: whoever calls this answers for where the bytes go.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The size in bytes, 1 to 4,096.
    #[expect(clippy::len_without_is_empty, reason = "no payload is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether both hold the same bytes, in a time that depends on their sizes only.
    pub fn same_as(&self, other: &Payload) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.ct_eq(&other.0).into()
    }
}
