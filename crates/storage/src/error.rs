//! The errors of this crate, and how they cross the contract, which speaks `io::Error`.
//!
//! None of them is retried: the caller stops the process, for all but [`Error::Totals`] ([`pi_raft::store`], rule 4). Messages name the place, what
//! is wrong and what to do; the cause below is in `source()` and printed once, at the edge.

use std::io;
use std::path::PathBuf;

use pi_raft::store::TotalsDiffer;

/// Short for a result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("{path}: cannot {action}")]
    File {
        /// What was tried, an infinitive without "to".
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// RocksDB refused or failed.
    #[cfg(feature = "rocksdb")]
    #[error("{path}: RocksDB cannot {action}")]
    Rocks {
        /// What was tried, an infinitive without "to".
        action: &'static str,
        /// The database's directory.
        path: PathBuf,
        /// What RocksDB said.
        #[source]
        source: rocksdb::Error,
    },
    /// Stored data does not make sense. A node must not go on with it, nor start again under its id.
    #[error(
        "{place} is damaged: {why}; this node's data cannot be trusted: keep the directory for inspection, and put a \
         node with an id never used before in its place (`pi-region init` with another node_id and an empty data_dir; \
         adding it to the region comes with a later version)"
    )]
    Corrupt {
        /// Where: a file, a key, a log index.
        place: String,
        /// What is wrong, without any content.
        why: String,
    },
    /// The database came back older than what this node had acknowledged.
    #[error(
        "{path} records {recorded}, but the database comes back with {found}: acknowledged data is lost, and voting on \
         could lose the region's; keep the directory, and put a node with an id never used before in its place \
         (`pi-region init` with another node_id and an empty data_dir; adding it to the region comes with a later \
         version)"
    )]
    BelowHighWater {
        /// The high-water file.
        path: PathBuf,
        /// What had been acknowledged.
        recorded: String,
        /// What the database holds.
        found: String,
    },
    /// The call would break a promise of the contract; nothing was changed.
    #[error("refused: {0}")]
    Refused(String),
    /// What the sender of a snapshot announced does not hold. Becomes itself as an [`io::Error`], for callers to find.
    #[error(transparent)]
    Totals(#[from] TotalsDiffer),
    /// An earlier write failed, so nothing more is written.
    #[error("a write failed earlier; this node writes nothing more and must be restarted")]
    Poisoned,
    /// The data directory is not what was expected.
    #[cfg(feature = "rocksdb")]
    #[error(transparent)]
    Marker(#[from] crate::marker::Error),
    /// Another process has the directory open.
    #[cfg(feature = "rocksdb")]
    #[error(
        "{path} is locked: another process uses this data directory; stop it first (`fuser {path}` names it)"
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
}

impl Error {
    /// A refused call.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Error::Refused(why.into())
    }

    /// Damaged data.
    pub(crate) fn corrupt(place: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Corrupt { place: place.into(), why: why.into() }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::Totals(differ) => return (*differ).into(),
            Error::File { source, .. } => source.kind(),
            #[cfg(feature = "rocksdb")]
            Error::Rocks { source, .. } if source.kind() == rocksdb::ErrorKind::Corruption => {
                io::ErrorKind::InvalidData
            }
            #[cfg(feature = "rocksdb")]
            Error::Rocks { .. } => io::ErrorKind::Other,
            Error::Corrupt { .. } | Error::BelowHighWater { .. } => io::ErrorKind::InvalidData,
            Error::Refused(_) => io::ErrorKind::InvalidInput,
            Error::Poisoned => io::ErrorKind::Other,
            #[cfg(feature = "rocksdb")]
            Error::Marker(_) => io::ErrorKind::InvalidInput,
            #[cfg(feature = "rocksdb")]
            Error::Locked { .. } => io::ErrorKind::ResourceBusy,
        };
        io::Error::new(kind, error)
    }
}
