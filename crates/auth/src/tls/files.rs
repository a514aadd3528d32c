//! Files with keys: read only when nobody else can read them, written so that nobody ever could.
//!
//! Used for TLS keys; the CLI's configuration file, which holds secret keys, uses the same check.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// More than any chain, bundle or key; a device or a mistaken path is not read into memory.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Read and write for the owner alone.
const PRIVATE_MODE: u32 = 0o600;

/// A file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: cannot {action}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// read or write.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others can read it.
    #[error(
        "{path}: has mode {mode:04o}, and a file with keys must not be open to group or others: chmod 0600 {path}"
    )]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another user owns it and can open it to others.
    #[error("{path}: belongs to user {owner}, and this process runs as user {user}: chown {user} {path}")]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
        /// Ours.
        user: u32,
    },
    /// A directory, a device, or too long.
    #[error("{path}: must be a regular file of at most {FILE_BYTES_MAX} bytes")]
    NotRegular {
        /// Which file.
        path: PathBuf,
    },
    /// There is a file already. It may hold the only copy of a key.
    #[error("{path}: exists, and is never overwritten: move it away first")]
    Exists {
        /// Which file.
        path: PathBuf,
    },
}

/// Reads a file that anybody may read: certificates.
///
/// # Errors
/// See [`Error`].
pub fn read_public(path: &Path) -> Result<Vec<u8>, Error> {
    let (mut file, _) = open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|source| io_error(path, "read", source))?;
    Ok(bytes)
}

/// Reads a file that only this process's user (or root) may read: keys.
///
/// # Errors
/// See [`Error`].
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    // Checked on the open file, so that nothing is exchanged between check and use.
    let (mut file, metadata) = open(path)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::Open { path: path.to_owned(), mode });
    }
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user && owner != 0 {
        return Err(Error::Owner { path: path.to_owned(), owner, user });
    }
    // One byte more than it has, so that reading to the end never grows the buffer and leaves a copy.
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    file.read_to_end(&mut bytes).map_err(|source| io_error(path, "read", source))?;
    Ok(bytes)
}

/// Makes a file of mode 0600, whatever the umask, and syncs it.
///
/// # Errors
/// [`Error::Exists`] when there is one; it is not touched.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(PRIVATE_MODE).open(path).map_err(|source| {
            match source.kind() {
                io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
                _ => io_error(path, "create", source),
            }
        })?;
    // An odd umask takes bits away from the owner, too.
    file.set_permissions(PermissionsExt::from_mode(PRIVATE_MODE))
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .map_err(|source| {
            // Half a key is in nobody's way.
            _ = std::fs::remove_file(path);
            io_error(path, "write", source)
        })
}

fn open(path: &Path) -> Result<(File, std::fs::Metadata), Error> {
    let file = File::open(path).map_err(|source| io_error(path, "read", source))?;
    let metadata = file.metadata().map_err(|source| io_error(path, "read", source))?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(Error::NotRegular { path: path.to_owned() });
    }
    Ok((file, metadata))
}

pub(crate) fn io_error(path: &Path, action: &'static str, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_made_for_the_owner_alone_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create_private(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(matches!(create_private(&path, b"two"), Err(Error::Exists { .. })));
        assert_eq!(read_private(&path).unwrap().as_slice(), b"one");
    }

    #[test]
    fn a_private_file_that_others_can_read_is_refused_with_the_command_that_helps() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create_private(&path, b"one").unwrap();
        for mode in [0o640, 0o604, 0o660, 0o610, 0o644, 0o666] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let Err(error) = read_private(&path) else { panic!("mode {mode:o} was accepted") };
            let error = error.to_string();
            assert!(error.contains(&format!("{mode:04o}")) && error.contains("chmod 0600"), "{error}");
            assert!(read_public(&path).is_ok());
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
        assert!(read_private(&path).is_ok());
    }

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read_public(directory.path()), Err(Error::NotRegular { .. })));
        assert!(matches!(read_private(Path::new("/dev/null")), Err(Error::NotRegular { .. })));
        assert!(matches!(read_private(&directory.path().join("absent")), Err(Error::Io { .. })));
    }
}
