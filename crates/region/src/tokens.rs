//! The opaque tokens handed to callers: page tokens of List and resume tokens of Watch.
//!
//! Both carry a format byte and a fingerprint of the arguments they were made for, so that a token used with other
//! arguments is refused instead of skipping or repeating results. They are not secret and not signed: a forged one
//! shows its maker nothing but other pages of his own tenant.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pi_types::{Namespace, RegionName, SecretName};
use xxhash_rust::xxh3::Xxh3;

/// A token that does not decode, or belongs to another request. The text completes "page_token: …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not one of ours.
    #[error("is not a token this service handed out; start again without one")]
    Malformed,
    /// Made for other arguments.
    #[error("was handed out for other arguments; repeat them unchanged or start again without a token")]
    OtherArguments,
    /// Made in another region.
    #[error("was handed out by another region; start again without a token")]
    OtherRegion,
}

const FORMAT: u8 = 1;
/// Longer input is refused before it is decoded.
const TOKEN_CHARS_MAX: usize = 1_024;

/// A fingerprint of the arguments a token is bound to. Stable across nodes and versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Fingerprints a list of arguments; each is length-prefixed, so that no two lists collide by concatenation.
    pub fn of(arguments: &[&[u8]]) -> Self {
        let mut hash = Xxh3::new();
        for argument in arguments {
            hash.update(&(argument.len() as u64).to_be_bytes());
            hash.update(argument);
        }
        Self(hash.digest())
    }
}

/// Where a list goes on: behind this secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// The last namespace delivered.
    pub namespace: Namespace,
    /// The last name delivered.
    pub name: SecretName,
}

impl PageToken {
    /// Encodes for a request with these arguments.
    pub fn encode(&self, arguments: Fingerprint) -> String {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&arguments.0.to_be_bytes());
        push_short(&mut bytes, self.namespace.as_str());
        push_short(&mut bytes, self.name.as_str());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes, and checks that the arguments are the same.
    pub fn decode(token: &str, arguments: Fingerprint) -> Result<Self, Error> {
        let bytes = decode_base64(token)?;
        let mut reader = Reader(&bytes);
        reader.format()?;
        let made_for = Fingerprint(reader.u64()?);
        let namespace = reader.short()?.parse().map_err(|_| Error::Malformed)?;
        let name = reader.short()?.parse().map_err(|_| Error::Malformed)?;
        reader.end()?;
        if made_for != arguments {
            return Err(Error::OtherArguments);
        }
        Ok(Self { namespace, name })
    }
}

/// Where a watch goes on: behind this revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeToken {
    /// Everything up to here was delivered.
    pub revision: u64,
    /// The region it was handed out by.
    pub region: RegionName,
    /// The life of the region's group (a restore begins a new one); empty until groups have ids.
    pub group_id: String,
}

impl ResumeToken {
    /// Encodes for a watch with these arguments.
    pub fn encode(&self, arguments: Fingerprint) -> String {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&arguments.0.to_be_bytes());
        bytes.extend_from_slice(&self.revision.to_be_bytes());
        push_short(&mut bytes, self.region.as_str());
        push_short(&mut bytes, &self.group_id);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes, and checks that it was made in `region` for the same arguments.
    pub fn decode(token: &str, region: &RegionName, arguments: Fingerprint) -> Result<Self, Error> {
        let bytes = decode_base64(token)?;
        let mut reader = Reader(&bytes);
        reader.format()?;
        let made_for = Fingerprint(reader.u64()?);
        let revision = reader.u64()?;
        let made_in: RegionName = reader.short()?.parse().map_err(|_| Error::Malformed)?;
        let group_id = reader.short()?.to_owned();
        reader.end()?;
        if made_in != *region {
            return Err(Error::OtherRegion);
        }
        if made_for != arguments {
            return Err(Error::OtherArguments);
        }
        Ok(Self { revision, region: made_in, group_id })
    }
}

/// Appends a string of at most 255 bytes; every name we have is shorter.
fn push_short(bytes: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).expect("names are at most 253 bytes, checked by their types");
    bytes.push(length);
    bytes.extend_from_slice(text.as_bytes());
}

fn decode_base64(token: &str) -> Result<Vec<u8>, Error> {
    if token.len() > TOKEN_CHARS_MAX {
        return Err(Error::Malformed);
    }
    URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::Malformed)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(Error::Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    fn format(&mut self) -> Result<(), Error> {
        if self.take(1)? == [FORMAT] { Ok(()) } else { Err(Error::Malformed) }
    }

    fn u64(&mut self) -> Result<u64, Error> {
        let bytes = self.take(8)?.try_into().map_err(|_| Error::Malformed)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn short(&mut self) -> Result<&'a str, Error> {
        let length = usize::from(self.take(1)?[0]);
        std::str::from_utf8(self.take(length)?).map_err(|_| Error::Malformed)
    }

    fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_comes_back_only_for_the_same_arguments() {
        let token = PageToken { namespace: "default".parse().unwrap(), name: "b".parse().unwrap() };
        let arguments = Fingerprint::of(&[b"acme", b"default", b"a=b"]);
        let text = token.encode(arguments);
        assert_eq!(PageToken::decode(&text, arguments), Ok(token));
        let others = Fingerprint::of(&[b"acme", b"default", b"a=c"]);
        assert_eq!(PageToken::decode(&text, others), Err(Error::OtherArguments));
    }

    #[test]
    fn arguments_are_not_confused_by_moving_bytes_between_them() {
        assert_ne!(Fingerprint::of(&[b"ab", b"c"]), Fingerprint::of(&[b"a", b"bc"]));
    }

    #[test]
    fn a_resume_token_of_another_region_is_refused() {
        let here: RegionName = "eu-west1".parse().unwrap();
        let there: RegionName = "us-central1".parse().unwrap();
        let arguments = Fingerprint::of(&[]);
        let token = ResumeToken { revision: 7, region: there.clone(), group_id: String::new() };
        let text = token.encode(arguments);
        assert_eq!(ResumeToken::decode(&text, &there, arguments), Ok(token));
        assert_eq!(ResumeToken::decode(&text, &here, arguments), Err(Error::OtherRegion));
    }

    #[test]
    fn every_truncation_and_any_garbage_is_malformed() {
        let region: RegionName = "eu-west1".parse().unwrap();
        let arguments = Fingerprint::of(&[]);
        let text =
            ResumeToken { revision: 7, region: region.clone(), group_id: "g".into() }.encode(arguments);
        for length in 0..text.len() {
            assert_eq!(ResumeToken::decode(&text[..length], &region, arguments), Err(Error::Malformed));
        }
        let huge = "A".repeat(100_000);
        for garbage in ["!", "AAAA", "\u{1F980}", huge.as_str()] {
            assert_eq!(ResumeToken::decode(garbage, &region, arguments), Err(Error::Malformed));
            assert_eq!(PageToken::decode(garbage, arguments), Err(Error::Malformed));
        }
    }
}
