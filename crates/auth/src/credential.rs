//! What an API credential is: an access key (public), a secret key (its holder's alone), and the record that a region
//! keeps of it.
//!
//! Responsible for their forms, for drawing them, and for keeping the secret half out of sight. Where records are stored
//! and how they change is the state machine's; what a grant allows is [`crate::authorize`]'s.
//!
//! **Invariant:** a [`SecretKey`] has no `Debug`, `Display`, `Serialize` or `==`, and is wiped when dropped; no error
//! quotes one. The region never has it: it stores the public half.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pi_types::{PrincipalName, RegionName, TenantId};
use zeroize::Zeroizing;

use crate::Roles;

/// How an access key begins.
const ACCESS_PREFIX: &str = "PIAK";
/// Base32 characters after it: 100 bits, so that one drawn at random is new.
const ACCESS_RANDOM_CHARS: usize = 20;
const ACCESS_CHARS: usize = ACCESS_PREFIX.len() + ACCESS_RANDOM_CHARS;
/// RFC 4648: no 0, 1 or 8, which are read as letters.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// How a secret key begins, so that scanners of repositories and logs can find one that got lost.
const SECRET_PREFIX: &str = "pisk_";
const KEY_BYTES: usize = 32;

/// Names a credential: `PIAK` and 20 characters of base32. Not secret; logs and audits show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessKeyId([u8; ACCESS_CHARS]);

/// The text is no access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an access key is {ACCESS_PREFIX} followed by {ACCESS_RANDOM_CHARS} of the characters A-Z and 2-7")]
pub struct InvalidAccessKeyId;

impl AccessKeyId {
    /// The access key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("the constructors take ASCII only")
    }

    fn generate() -> Result<Self, NoRandomness> {
        let mut random = [0_u8; ACCESS_RANDOM_CHARS];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandomness)?;
        let mut chars = [0_u8; ACCESS_CHARS];
        let (prefix, rest) = chars.split_at_mut(ACCESS_PREFIX.len());
        prefix.copy_from_slice(ACCESS_PREFIX.as_bytes());
        // 32 divides 256: every character is equally likely.
        rest.iter_mut().zip(random).for_each(|(char, byte)| *char = BASE32[usize::from(byte % 32)]);
        Ok(Self(chars))
    }
}

impl FromStr for AccessKeyId {
    type Err = InvalidAccessKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidAccessKeyId> {
        let chars: [u8; ACCESS_CHARS] = text.as_bytes().try_into().map_err(|_| InvalidAccessKeyId)?;
        let random = chars.strip_prefix(ACCESS_PREFIX.as_bytes()).ok_or(InvalidAccessKeyId)?;
        if random.iter().all(|char| BASE32.contains(char)) {
            Ok(Self(chars))
        } else {
            Err(InvalidAccessKeyId)
        }
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An Ed25519 private key: `pisk_` and the 32-byte seed in base64url without padding. Never shown again after it was
/// made.
#[derive(Clone)]
pub struct SecretKey(Box<Zeroizing<[u8; KEY_BYTES]>>);

/// The text is no secret key. It is not quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret key is {SECRET_PREFIX} followed by 43 characters of base64url, as `pi credential create` printed it"
)]
pub struct InvalidSecretKey;

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

impl SecretKey {
    /// Reads the text form.
    ///
    /// # Errors
    /// Another prefix, length or alphabet, or a last character with bits that mean nothing.
    pub fn parse(text: &str) -> Result<Self, InvalidSecretKey> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(InvalidSecretKey)?;
        let mut seed = Box::new(Zeroizing::new([0_u8; KEY_BYTES]));
        match URL_SAFE_NO_PAD.decode_slice(encoded, seed.as_mut_slice()) {
            Ok(KEY_BYTES) => Ok(Self(seed)),
            Ok(_) | Err(_) => Err(InvalidSecretKey),
        }
    }

    /// The text form, to show once and to write into a file of mode 0600; do not log it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // Sized before, so that growing leaves no copies behind.
        let mut text = Zeroizing::new(String::with_capacity(SECRET_PREFIX.len() + 44));
        text.push_str(SECRET_PREFIX);
        URL_SAFE_NO_PAD.encode_string(self.0.as_slice(), &mut text);
        text
    }

    /// The half that a region stores.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let pair = self.key_pair();
        let bytes = pair.public_key().as_ref().try_into();
        PublicKey(bytes.expect("an Ed25519 public key has 32 bytes"))
    }

    /// The pair that signs; it keeps its own copy of the key, which aws-lc wipes when the pair is dropped.
    pub(crate) fn key_pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(self.0.as_slice()).expect("any 32 bytes are a seed of Ed25519")
    }

    fn generate() -> Result<Self, NoRandomness> {
        let mut seed = Box::new(Zeroizing::new([0_u8; KEY_BYTES]));
        aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(Self(seed))
    }
}

/// Draws a credential: a new access key and its secret key.
///
/// # Errors
/// [`NoRandomness`].
pub fn generate() -> Result<(AccessKeyId, SecretKey), NoRandomness> {
    Ok((AccessKeyId::generate()?, SecretKey::generate()?))
}

/// An Ed25519 public key, 32 bytes; text form base64url without padding. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

/// Not 32 bytes in base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key is 32 bytes, in text 43 characters of base64url")]
pub struct InvalidPublicKey;

impl PublicKey {
    /// Takes any 32 bytes: one that is no point of the curve verifies nothing.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, as stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Whether this key's other half signed the message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let mut bytes = [0_u8; KEY_BYTES];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(KEY_BYTES) => Ok(Self(bytes)),
            Ok(_) | Err(_) => Err(InvalidPublicKey),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a credential is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Grant {
    /// A user of one tenant, in every region.
    Tenant {
        /// Owns the secrets.
        tenant: TenantId,
        /// What of the tenant's it may do.
        roles: Roles,
    },
    /// The kubelet of one machine, in one region.
    Kubelet {
        /// The machine.
        node_name: NodeName,
        /// The only region that serves it.
        region: RegionName,
    },
    /// Runs regions; owns no secrets and reads none.
    Operator,
}

/// What a region keeps of a credential: everything but the secret key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CredentialRecord {
    /// Names it.
    pub access_key_id: AccessKeyId,
    /// Proves it.
    pub public_key: PublicKey,
    /// Who its holder is, within the tenant or among the operators.
    pub principal: PrincipalName,
    /// What it is for.
    pub grant: Grant,
    /// Refused, but kept: its name stays taken and it can be enabled again.
    pub disabled: bool,
    /// When it was made, in milliseconds since 1970, by the region's clock.
    pub created_ms: i64,
}

/// The name of a machine that runs pods: a DNS-1123 subdomain of 1 to 253 bytes, as in Kubernetes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(pi_types::SecretName);

/// The text is no name of a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node name: {reason}")]
pub struct InvalidNodeName {
    reason: String,
}

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for NodeName {
    type Err = InvalidNodeName;

    fn from_str(text: &str) -> Result<Self, InvalidNodeName> {
        // The same rule as for secrets; the newtype keeps the two apart.
        text.parse()
            .map(Self)
            .map_err(|invalid: pi_types::Invalid| InvalidNodeName { reason: invalid.reason })
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_drawn_credential_survives_its_text_forms_and_no_two_are_equal() {
        let (access, secret) = generate().unwrap();
        assert_eq!(access.to_string().parse(), Ok(access));
        let text = secret.to_text();
        assert_eq!((text.len(), text.capacity()), (48, 49), "growing would have left a copy");
        assert_eq!(SecretKey::parse(&text).unwrap().public_key(), secret.public_key());
        assert_eq!(secret.public_key().to_string().parse(), Ok(secret.public_key()));
        let (other_access, other_secret) = generate().unwrap();
        assert_ne!(access, other_access);
        assert_ne!(secret.public_key(), other_secret.public_key());
    }

    #[test]
    fn the_public_half_is_that_of_rfc_8032() {
        // Section 7.1, test 1: 9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60.
        let secret = SecretKey::parse("pisk_nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let public = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".parse().unwrap();
        assert_eq!(secret.public_key(), public);
    }

    #[test]
    fn texts_that_are_no_keys_are_refused_without_being_quoted() {
        let body = "A".repeat(43);
        let secrets = [
            String::new(),
            "pisk_".to_owned(),
            body.clone(),
            format!("PISK_{body}"),
            format!("pisk_{body}="),
            format!("pisk_{}", "A".repeat(42)),
            format!("pisk_{}", "A".repeat(44)),
            format!("pisk_{}B", "A".repeat(42)),
            format!("pisk_{}+", "A".repeat(42)),
            format!(" pisk_{body}"),
        ];
        for text in secrets {
            let error = SecretKey::parse(&text).err().expect(&text);
            assert!(!error.to_string().contains("AAAA"));
        }
        for text in ["", "PIAK", "PIAKAAAAAAAAAAAAAAAAAAA", "PIAKAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(text.parse::<AccessKeyId>(), Err(InvalidAccessKeyId), "{text}");
        }
        for last in ["0", "1", "8", "a", "=", " "] {
            let text = format!("PIAK{}{last}", "A".repeat(19));
            assert_eq!(text.parse::<AccessKeyId>(), Err(InvalidAccessKeyId), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic_and_what_is_read_is_written_back(text in "(PIAK|pisk_)?[A-Za-z2-7_=\u{e9}-]{0,60}|.*") {
            if let Ok(access) = text.parse::<AccessKeyId>() {
                prop_assert_eq!(access.as_str(), &text);
            }
            if let Ok(secret) = SecretKey::parse(&text) {
                prop_assert!(*secret.to_text() == text);
            }
            if let Ok(public) = text.parse::<PublicKey>() {
                prop_assert_eq!(public.to_string(), text.clone());
            }
            let _ = text.parse::<NodeName>();
            let _ = text.parse::<Roles>();
        }
    }
}
