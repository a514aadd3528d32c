//! Where things lie in a data directory, the lock that keeps a second process out, and durable file operations.
//!
//! | path | is |
//! |---|---|
//! | `LOCK` | held while a process uses the directory |
//! | `marker.json` | whose data it is ([`crate::marker`]) |
//! | `FORMATTING` | there only while `format` has not finished |
//! | `high-water` | what was acknowledged ([`crate::high_water`]) |
//! | `db/` | the RocksDB database |
//! | `incoming/` | snapshots being received; emptied at open |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The paths of one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) lock: PathBuf,
    pub(crate) marker: PathBuf,
    pub(crate) formatting: PathBuf,
    pub(crate) high_water: PathBuf,
    pub(crate) db: PathBuf,
    pub(crate) incoming: PathBuf,
}

impl Layout {
    pub(crate) fn of(root: &Path) -> Self {
        Layout {
            root: root.to_owned(),
            lock: root.join("LOCK"),
            marker: root.join("marker.json"),
            formatting: root.join("FORMATTING"),
            high_water: root.join("high-water"),
            db: root.join("db"),
            incoming: root.join("incoming"),
        }
    }
}

/// Attaches what was tried, and on what, to an error of the system.
pub(crate) fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::File { action, path: path.to_owned(), source }
}

/// Takes the directory's lock, or says who should have it. It is freed when the file is dropped or the process dies.
pub(crate) fn lock(layout: &Layout) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&layout.lock)
        .map_err(at("open the lock file", &layout.lock))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: layout.lock.clone() }),
        Err(TryLockError::Error(source)) => Err(at("lock", &layout.lock)(source)),
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at("sync the directory", dir))
}

/// Makes a file's content durable.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(at("sync", path))
}

/// Writes a file so that after a crash it is there whole or not at all: temporary name, sync, rename, sync.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(at("create", &temporary))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(at("write", &temporary))?;
    fs::rename(&temporary, path).map_err(at("rename into place", path))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Removes a directory and what is in it; fine when it is not there.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(at("remove", dir)(source)),
        _ => Ok(()),
    }
}

/// Removes a file; fine when it is not there.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(source)),
        _ => Ok(()),
    }
}

/// Bytes an unprivileged process may still write to the file system that holds `dir`.
pub(crate) fn free_bytes(dir: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(dir).map_err(|errno| at("ask for free space", dir)(errno.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
