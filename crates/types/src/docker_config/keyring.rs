//! Which credentials are for which image: a kubelet's rules, with its order and its surprises.
//!
//! Left to the kubelet: naming the image (short names become `docker.io/library/…`), and trying the credentials in
//! turn until a pull succeeds.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{go_url, read};
use crate::Invalid;

/// The index key under which credentials for Docker Hub stand when they are written in its own spelling.
const HUB_KEY: &str = "index.docker.io";

/// The credentials of some payloads, ready for look-ups by image.
///
/// It has no `Debug`, and what it holds is wiped when dropped.
#[derive(Default)]
pub struct Keyring {
    /// By index key in reverse order, so that `quay.io/coreos` comes before `quay.io` and that before `*.io`; under
    /// one key in the order of the payloads and of their entries.
    entries: BTreeMap<Reverse<String>, Vec<Entry>>,
}

/// One credential of a [`Keyring`].
pub struct Entry {
    /// The registry's address as it stands in the payload.
    pub registry_key: String,
    username: Zeroizing<String>,
    password: Zeroizing<String>,
}

impl Entry {
    /// The user's name at the registry.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password or token. Whoever asks answers for where it goes.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl Keyring {
    /// Reads payloads, the first one first. One malformed payload refuses all, as in a kubelet; entries whose address
    /// is none are passed over, as there.
    pub fn parse<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Invalid> {
        let mut keyring = Self::default();
        for payload in payloads {
            for raw in read::read(payload)?.entries.unwrap_or_default() {
                let Some(index_key) = index_key(&raw.key) else { continue };
                let entry = Entry {
                    registry_key: raw.key.as_str().to_owned(),
                    username: raw.username,
                    password: raw.password,
                };
                keyring.entries.entry(Reverse(index_key)).or_default().push(entry);
            }
        }
        Ok(keyring)
    }

    /// All credentials for `image`, the repository's name without tag and digest, in the order in which they are to
    /// be tried. None: pull anonymously.
    pub fn lookup(&self, image: &str) -> Vec<&Entry> {
        let found: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|(key, _)| matches(&key.0, image))
            .flat_map(|(_, entries)| entries)
            .collect();
        if found.is_empty() && is_hub(image) {
            return self.entries.get(&Reverse(HUB_KEY.to_owned())).into_iter().flatten().collect();
        }
        found
    }
}

/// The form of an address that is matched with images: without scheme, user, query, and the `/v1` or `/v2` of a
/// registry's API, which is dropped only where a slash follows.
pub(super) fn index_key(address: &str) -> Option<String> {
    let address =
        address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")).unwrap_or(address);
    let url = go_url::parse(address)?;
    let path = match url.path.as_str() {
        path if path.starts_with("/v1/") || path.starts_with("/v2/") => &path[3..],
        path => path,
    };
    Some(if path == "/" { url.host } else { url.host + path })
}

/// Ports textually equal, as many host labels on both sides, each matched as a glob, and the path of the key a raw
/// prefix of the image's: `team-a` is for `team-ab/image`, too.
fn matches(index_key: &str, image: &str) -> bool {
    let (Some(key), Some(image)) = (go_url::parse(index_key), go_url::parse(image)) else { return false };
    let (key_labels, key_port) = go_url::split_host(&key.host);
    let (image_labels, image_port) = go_url::split_host(&image.host);
    key_port == image_port
        && key_labels.len() == image_labels.len()
        && image.path.starts_with(&key.path)
        && key_labels.iter().zip(image_labels).all(|(pattern, label)| go_url::glob(pattern, label))
}

/// Whether an image is on Docker Hub: it names no registry, or the Hub.
fn is_hub(image: &str) -> bool {
    match image.split_once('/') {
        None => !image.is_empty(),
        Some(("docker.io" | HUB_KEY, _)) => true,
        Some((first, _)) => !first.is_empty() && !first.contains(['.', ':']),
    }
}
