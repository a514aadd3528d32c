//! The marker: a small file that says whose data a directory holds.
//!
//! `format` writes it last and durably, `open` reads it before anything else. A node never formats by itself: a wiped
//! disk under an old node id would vote again in terms it has voted in, and could make the region forget what it
//! acknowledged. So a missing or foreign marker is an error that names the way out, which is always a new node.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pi_types::{ClusterName, RegionName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Result as StorageResult;
use crate::files::{Layout, write_atomically};

/// The layout of the data directory that this build writes and reads.
pub const FORMAT: u32 = 1;

/// Why a directory is not opened or formatted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No marker: never formatted, wiped, or the wrong path.
    #[error(
        "{path} is missing: this directory holds no node's data. A new node: `pi-region init --config FILE`. A node that \
         ran before and lost its disk must not come back under its id: add it as a new node with a new node_id"
    )]
    Missing {
        /// The marker file.
        path: PathBuf,
    },
    /// The marker cannot be read.
    #[error("{path} cannot be read ({why}); check the path and its permissions, and do not format over it")]
    Unreadable {
        /// The marker file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The marker is another's.
    #[error(
        "{path}: {field} is {found}, the configuration says {expected}; point data_dir at this node's own directory, or \
         `pi-region init --config FILE` an empty one for a new node"
    )]
    Mismatch {
        /// The marker file.
        path: PathBuf,
        /// Which of its fields.
        field: &'static str,
        /// What the marker says.
        found: String,
        /// What the configuration says.
        expected: String,
    },
    /// A data directory of another format version.
    #[error(
        "{path}: format version {found}, this build reads {FORMAT}; use the build that wrote it, or upgrade this one"
    )]
    Format {
        /// The marker file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// `format` was given a directory with something in it.
    #[error("{path} is not empty (it holds {entry}); give an empty directory to `pi-region init`")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// The first thing found in it.
        entry: String,
    },
    /// Something beside the marker belongs to another store.
    #[error(
        "{path} belongs to store {found}, the marker names {expected}: files of two data directories are mixed; put a \
         node with an id never used before in its place (`pi-region init` with another node_id and an empty data_dir; \
         adding it to the region comes with a later version)"
    )]
    Mixed {
        /// What belongs elsewhere.
        path: PathBuf,
        /// The store it names.
        found: String,
        /// The marker's store.
        expected: String,
    },
}

/// Whose data a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The layout's version, [`FORMAT`].
    pub format: u32,
    /// The cluster.
    pub cluster: ClusterName,
    /// The region.
    pub region: RegionName,
    /// The node, an id that is never used twice.
    pub node_id: u64,
    /// Drawn at `format`: tells two lives of one directory apart, and files that do not belong together.
    pub store_uuid: Uuid,
}

/// What a configuration says the directory must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The cluster.
    pub cluster: ClusterName,
    /// The region.
    pub region: RegionName,
    /// The node.
    pub node_id: u64,
}

impl Expect {
    /// What a configuration says.
    pub fn new(cluster: &ClusterName, region: &RegionName, node_id: u64) -> Self {
        Expect { cluster: cluster.clone(), region: region.clone(), node_id }
    }
}

/// The marker as it is written: JSON, for a person to read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    cluster: String,
    region: String,
    node_id: u64,
    store_uuid: String,
}

/// Only the version, to refuse a newer format by name rather than for an unknown field.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Marker {
    /// The marker of a new store, with a fresh store id.
    pub fn new(cluster: &ClusterName, region: &RegionName, node_id: u64) -> Self {
        let (cluster, region) = (cluster.clone(), region.clone());
        Marker { format: FORMAT, cluster, region, node_id, store_uuid: Uuid::new_v4() }
    }

    /// Reads a directory's marker without locking it.
    pub fn read(data_dir: &Path) -> Result<Marker, Error> {
        let path = Layout::of(data_dir).marker;
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Missing { path }),
            Err(error) => return Err(Error::Unreadable { path, why: error.to_string() }),
        };
        let unreadable = |why: String| Error::Unreadable { path: path.clone(), why };
        let version: Version =
            serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if version.format != FORMAT {
            return Err(Error::Format { path, found: version.format });
        }
        let written: Written =
            serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        Ok(Marker {
            format: written.format,
            cluster: written.cluster.parse().map_err(|error| unreadable(format!("cluster: {error}")))?,
            region: written.region.parse().map_err(|error| unreadable(format!("region: {error}")))?,
            node_id: written.node_id,
            store_uuid: written
                .store_uuid
                .parse()
                .map_err(|error| unreadable(format!("store_uuid: {error}")))?,
        })
    }

    /// Reads a directory's marker and compares it with what the configuration says.
    pub fn check(data_dir: &Path, expect: &Expect) -> Result<Marker, Error> {
        let marker = Marker::read(data_dir)?;
        let mismatch = |field, found: String, expected: String| {
            Err(Error::Mismatch { path: Layout::of(data_dir).marker, field, found, expected })
        };
        if marker.cluster != expect.cluster {
            return mismatch("cluster", marker.cluster.to_string(), expect.cluster.to_string());
        }
        if marker.region != expect.region {
            return mismatch("region", marker.region.to_string(), expect.region.to_string());
        }
        if marker.node_id != expect.node_id {
            return mismatch("node_id", marker.node_id.to_string(), expect.node_id.to_string());
        }
        Ok(marker)
    }

    /// Writes the marker durably.
    pub(crate) fn write(&self, layout: &Layout) -> StorageResult<()> {
        let written = Written {
            format: self.format,
            cluster: self.cluster.to_string(),
            region: self.region.to_string(),
            node_id: self.node_id,
            store_uuid: self.store_uuid.to_string(),
        };
        let text = serde_json::to_vec_pretty(&written).expect("strings and numbers always serialize");
        write_atomically(&layout.marker, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(node_id: u64) -> Expect {
        Expect { cluster: "c1".parse().unwrap(), region: "eu-west1".parse().unwrap(), node_id }
    }

    fn marker(node_id: u64) -> Marker {
        let Expect { cluster, region, node_id } = expect(node_id);
        Marker::new(&cluster, &region, node_id)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let marker = marker(3);
        marker.write(&Layout::of(dir.path())).unwrap();
        assert_eq!(Marker::check(dir.path(), &expect(3)).unwrap(), marker);
    }

    #[test]
    fn another_nodes_marker_is_refused_with_file_found_expected_and_remedy() {
        let dir = tempfile::tempdir().unwrap();
        marker(3).write(&Layout::of(dir.path())).unwrap();
        let message = Marker::check(dir.path(), &expect(4)).unwrap_err().to_string();
        for part in ["marker.json", "node_id is 3", "says 4", "pi-region init"] {
            assert!(message.contains(part), "{message} lacks {part}");
        }
        let other = Expect { region: "us-central1".parse().unwrap(), ..expect(3) };
        assert!(matches!(Marker::check(dir.path(), &other), Err(Error::Mismatch { field: "region", .. })));
        let other = Expect { cluster: "c2".parse().unwrap(), ..expect(3) };
        assert!(matches!(Marker::check(dir.path(), &other), Err(Error::Mismatch { field: "cluster", .. })));
    }

    #[test]
    fn a_missing_marker_is_never_an_invitation_to_format() {
        let dir = tempfile::tempdir().unwrap();
        let message = Marker::read(dir.path()).unwrap_err().to_string();
        assert!(message.contains("pi-region init") && message.contains("new node"), "{message}");
    }

    #[test]
    fn newer_formats_unknown_fields_and_garbage_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = Layout::of(dir.path()).marker;
        fs::write(&path, r#"{"format":2,"group":"x"}"#).unwrap();
        assert!(matches!(Marker::read(dir.path()), Err(Error::Format { found: 2, .. })));
        fs::write(&path, r#"{"format":1,"cluster":"c1","region":"r1","node_id":1,"store_uuid":"67e55044-10b1-426f-9247-bb680e5fe0c8","x":1}"#).unwrap();
        assert!(matches!(Marker::read(dir.path()), Err(Error::Unreadable { .. })));
        fs::write(&path, "").unwrap();
        assert!(matches!(Marker::read(dir.path()), Err(Error::Unreadable { .. })));
    }
}
