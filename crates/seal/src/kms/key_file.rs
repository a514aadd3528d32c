//! The provider without a KMS: keys in a file that only this program's user can read.
//!
//! ```text
//! # comments and empty lines
//! pi-secrets-keys-v1
//! <32 random bytes in base64>        the first key wraps
//! <32 random bytes in base64>        every key unwraps
//! ```
//!
//! A key's id is the start of its SHA-256. All nodes of a region need the same keys. To rotate: add the new key at the
//! end of every node's file, so that all can unwrap with it; move it to the front of every file; let the region wrap its
//! seeds again; take the old key out.
//!
//! The file protects stolen disks, snapshots and backups of the data directory as far as it is kept apart from them; it
//! does not protect from whoever can read it, and losing it loses every payload.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parking_lot::RwLock;
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::{Kms, Status, Wrapped};
use crate::context::associated_data;
use crate::random::{Random, SystemRandom};
use crate::seed::{SEED_BYTES, Seed, SeedId, WrappedSeed};

/// [`Kms::name`] of this provider.
pub const NAME: &str = "key-file";

/// The first line that is no comment.
const HEADER: &str = "pi-secrets-keys-v1";
/// What a wrapped seed's ciphertext begins with: AES-256-GCM with a random nonce. A key wraps a seed when one is made
/// or a key rotates, so 2^32 random nonces are out of reach.
const WRAP_VERSION: u8 = 1;
/// Separates what a file's key authenticates from everything else.
const DOMAIN: &[u8] = b"pi-secrets/wrapped-seed/v1";
const KEY_BYTES: usize = 32;
/// Keys a file may hold: rotations overlap by two; more are forgotten ones.
pub const KEYS_MAX: usize = 16;
/// Bytes a file may have: the keys, and room for comments.
pub const FILE_BYTES_MAX: usize = 16 * 1_024;

/// Why a key file cannot be used. Never shows what is in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error("cannot {action} the key file {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It exists: a key is never overwritten.
    #[error("the key file {} exists already; a new one would make what it sealed unreadable", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A directory, socket, pipe or device.
    #[error("the key file {} is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may read or write it.
    #[error("the key file {path} has mode {mode:04o}, others can reach it; run: chmod 600 {path}", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// The permission bits found.
        mode: u32,
    },
    /// Another user owns it, and could change it.
    #[error(
        "the key file {path} belongs to user {owner}, this program runs as user {user}; run: chown {user} {path}",
        path = path.display()
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
        /// The id this program runs as.
        user: u32,
    },
    /// Its content is not that of a key file.
    #[error("the key file {}, line {line}: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, without the line's content.
        why: &'static str,
    },
}

/// Makes a key file with one new key, readable by its owner only. Returns the key's id.
///
/// # Errors
/// [`Error::Exists`] when there is one already; [`Error::Io`].
pub fn create_key_file(path: &Path) -> Result<String, super::Error> {
    let (line, key_id) = new_key()?;
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX));
    text.push_str(
        "# Keys that wrap the seeds of a Pi Secrets region. Whoever reads this file can open the region's payloads;\n\
         # without it nobody can. Keep it the same on all nodes of the region, and a copy apart from their backups.\n\
         # The first key wraps, all unwrap. One key per line: 32 random bytes in base64.\n",
    );
    for line in [HEADER, &line] {
        text.push_str(line);
        text.push('\n');
    }
    let error = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::Io { action: "create", path: path.to_owned(), source },
    };
    // Never readable by others, not even until a chmod; synced, directory too, because payloads depend on it from now on.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| error(e.into()))?;
    let mut file = File::from(file);
    if let Err(source) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // Half a file would only be in the way of the next try. That it may stay is less than the error at hand.
        _ = std::fs::remove_file(path);
        return Err(error(source).into());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(error)?;
    Ok(key_id)
}

/// The line of a new key and the key's id.
fn new_key() -> Result<(Zeroizing<String>, String), super::Error> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    SystemRandom.fill(key.as_mut_slice())?;
    Ok((Zeroizing::new(BASE64.encode(key.as_slice())), key_id(&key)))
}

/// The id of a key: the first 8 bytes of its SHA-256 in hexadecimal.
fn key_id(key: &[u8; KEY_BYTES]) -> String {
    let digest = digest::digest(&digest::SHA256, key);
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Keys from a file. The file is read when it is opened and again at every [`Kms::status`], so a rotated key is taken
/// up without a restart, and a file that a restart would not find is noticed before.
pub struct KeyFile {
    path: PathBuf,
    keys: RwLock<Arc<Keys>>,
}

impl KeyFile {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let keys = Arc::new(Keys::read(path)?);
        Ok(Self { path: path.to_owned(), keys: RwLock::new(keys) })
    }

    fn keys(&self) -> Arc<Keys> {
        self.keys.read().clone()
    }

    /// Reads the file again, off the runtime's threads. What was loaded stays when that fails.
    async fn reload(&self) -> Result<Arc<Keys>, super::Error> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || Keys::read(&path)).await;
        let keys = read.map_err(|_| super::Error::Unavailable {
            provider: NAME,
            endpoint: self.path.display().to_string(),
            why: "this node is stopping".to_owned(),
        })??;
        let keys = Arc::new(keys);
        *self.keys.write() = keys.clone();
        Ok(keys)
    }
}

#[tonic::async_trait]
impl Kms for KeyFile {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn status(&self) -> Result<Status, super::Error> {
        let keys = self.reload().await?;
        Ok(Status { key_id: keys.first().0.clone(), version: HEADER.to_owned() })
    }

    async fn wrap(&self, seed: &Seed) -> Result<Wrapped, super::Error> {
        let keys = self.keys();
        let (key_id, key) = keys.first();
        let mut nonce = [0; NONCE_LEN];
        SystemRandom.fill(&mut nonce)?;
        let mut wrapped = Zeroizing::new(*seed.expose());
        let tag = aead(key)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(wrap_data(key_id, seed.id())),
                wrapped.as_mut_slice(),
            )
            .expect("AES-256-GCM seals 32 bytes");
        let ciphertext = [&[WRAP_VERSION][..], &nonce, wrapped.as_slice(), tag.as_ref()].concat();
        Ok(Wrapped { key_id: key_id.clone(), ciphertext, annotations: BTreeMap::new() })
    }

    async fn unwrap(&self, wrapped: &WrappedSeed) -> Result<Seed, super::Error> {
        let mut keys = self.keys();
        if keys.find(&wrapped.key_id).is_none() {
            // Another node may have rotated to a key that was put here since the last poll.
            keys = self.reload().await?;
        }
        let (seed_id, key_id) = (wrapped.seed_id, wrapped.key_id.clone());
        let Some(key) = keys.find(&key_id) else {
            let endpoint = self.path.display().to_string();
            return Err(super::Error::UnknownKey { seed_id, key_id, endpoint });
        };
        unwrap_with(key, wrapped).ok_or(super::Error::DoesNotUnwrap { seed_id, key_id })
    }
}

fn unwrap_with(key: &[u8; KEY_BYTES], wrapped: &WrappedSeed) -> Option<Seed> {
    let rest = wrapped.ciphertext.strip_prefix(&[WRAP_VERSION])?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
    if rest.len() != SEED_BYTES + AES_256_GCM.tag_len() {
        return None;
    }
    let mut buffer = Zeroizing::new(rest.to_vec());
    let data = Aad::from(wrap_data(&wrapped.key_id, wrapped.seed_id));
    let seed = aead(key).open_in_place(Nonce::assume_unique_for_key(*nonce), data, &mut buffer).ok()?;
    Seed::from_bytes(seed)
}

fn wrap_data(key_id: &str, seed_id: SeedId) -> Vec<u8> {
    associated_data(&[DOMAIN, key_id.as_bytes(), seed_id.as_bytes()])
}

fn aead(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of AES-256 has 32 bytes, as this one"))
}

/// A file's keys with their ids, in its order; at least one.
struct Keys(Vec<(String, Box<Zeroizing<[u8; KEY_BYTES]>>)>);

impl Keys {
    fn first(&self) -> (&String, &[u8; KEY_BYTES]) {
        let (id, key) = self.0.first().expect("a file without keys is refused when it is read");
        (id, key)
    }

    fn find(&self, key_id: &str) -> Option<&[u8; KEY_BYTES]> {
        self.0.iter().find(|(id, _)| id == key_id).map(|(_, key)| &***key)
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { action: "read", path: path.to_owned(), source };
        // Not blocking, so that a pipe in the file's place is an error and not a hang. Checked once it is open, so that
        // what was checked is what is read.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| io(e.into()))?;
        let file = File::from(file);
        check(path, &file.metadata().map_err(io)?)?;

        let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(io)?;
        Self::parse(&text).map_err(|(line, why)| Error::Content { path: path.to_owned(), line, why })
    }

    fn parse(text: &[u8]) -> Result<Self, (usize, &'static str)> {
        if text.len() > FILE_BYTES_MAX {
            return Err((1, "a key file has at most 16 KiB"));
        }
        let mut lines = text
            .split(|byte| *byte == b'\n')
            .map(|line| line.trim_ascii())
            .zip(1..)
            .filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"));
        match lines.next() {
            Some((line, _)) if line == HEADER.as_bytes() => {}
            Some((_, number)) => return Err((number, "expected pi-secrets-keys-v1 before the first key")),
            None => return Err((1, "expected pi-secrets-keys-v1 and at least one key, found nothing")),
        }
        let mut keys: Vec<(String, Box<Zeroizing<[u8; KEY_BYTES]>>)> = Vec::new();
        for (line, number) in lines {
            let mut key = Box::new(Zeroizing::new([0; KEY_BYTES]));
            // One byte more than a key, so that a longer one is not an overflow of the decoder but a wrong length.
            let mut decoded = Zeroizing::new([0; KEY_BYTES + 16]);
            let length = BASE64.decode_slice(line, decoded.as_mut_slice());
            if length != Ok(KEY_BYTES) {
                return Err((number, "expected a key: 32 bytes in base64 (44 characters)"));
            }
            key.copy_from_slice(&decoded[..KEY_BYTES]);
            let id = key_id(&key);
            if keys.iter().any(|(other, _)| *other == id) {
                return Err((number, "this key is in the file already"));
            }
            if keys.len() == KEYS_MAX {
                return Err((
                    number,
                    "a key file has at most 16 keys; take out those that no seed is wrapped with",
                ));
            }
            keys.push((id, key));
        }
        if keys.is_empty() {
            return Err((1, "no key; put 32 random bytes in base64 on a line after pi-secrets-keys-v1"));
        }
        Ok(Self(keys))
    }
}

/// Of the open file: regular, ours, and nobody else's to read.
fn check(path: &Path, found: &std::fs::Metadata) -> Result<(), Error> {
    let path = path.to_owned();
    if !found.is_file() {
        return Err(Error::NotAFile { path });
    }
    let user = rustix::process::geteuid().as_raw();
    if found.uid() != user {
        return Err(Error::Owner { path, owner: found.uid(), user });
    }
    // Execution by the owner and stricter modes (0400) are harmless; any bit of group or others is not.
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::Mode { path, mode });
    }
    Ok(())
}
