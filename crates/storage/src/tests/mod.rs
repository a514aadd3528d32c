//! Tests that need more than one file: the suite on both stores, both side by side, restarts, crashes, corruption.

#[cfg(feature = "rocksdb")]
mod corruption;
#[cfg(feature = "rocksdb")]
mod crash;
#[cfg(feature = "rocksdb")]
mod differential;
#[cfg(feature = "rocksdb")]
mod power_cut;
#[cfg(feature = "rocksdb")]
mod reopen;

use crate::conformance;
use crate::memory::MemoryStore;

#[test]
fn the_memory_store_keeps_the_contract() {
    conformance::run(&MemoryStore::new);
}

#[cfg(feature = "rocksdb")]
#[test]
fn the_rocksdb_store_keeps_the_contract() {
    let directories = std::cell::RefCell::new(Vec::new());
    conformance::run(&|| {
        let dir = fixture::Dir::formatted();
        let store = dir.open();
        directories.borrow_mut().push(dir);
        store
    });
}

/// A formatted directory and how to open it.
#[cfg(feature = "rocksdb")]
mod fixture {
    use std::path::{Path, PathBuf};

    use crate::error::Result;
    use crate::marker::{Expect, Marker};
    use crate::rocks::{Options, RocksStore, Statistics};

    pub(super) struct Dir {
        dir: tempfile::TempDir,
    }

    pub(super) fn expect() -> Expect {
        Expect { cluster: "c1".parse().unwrap(), region: "eu-west1".parse().unwrap(), node_id: 3 }
    }

    pub(super) fn marker() -> Marker {
        let Expect { cluster, region, node_id } = expect();
        Marker::new(&cluster, &region, node_id)
    }

    pub(super) fn options() -> Options {
        Options { statistics: Statistics::On, ..Options::default() }
    }

    pub(super) fn try_open(path: &Path) -> Result<RocksStore> {
        RocksStore::open(path, &expect(), options())
    }

    impl Dir {
        pub(super) fn formatted() -> Self {
            let dir = tempfile::tempdir().unwrap();
            RocksStore::format(dir.path(), &marker()).unwrap();
            Dir { dir }
        }

        pub(super) fn open(&self) -> RocksStore {
            try_open(self.path()).unwrap()
        }

        pub(super) fn path(&self) -> &Path {
            self.dir.path()
        }

        /// A copy of the directory as a crash of the process now would leave it.
        pub(super) fn copy(&self) -> Dir {
            let dir = tempfile::tempdir().unwrap();
            copy_tree(self.path(), dir.path());
            Dir { dir }
        }

        /// The write-ahead logs and data files of the database, in order of their numbers.
        pub(super) fn files(&self, extension: &str) -> Vec<PathBuf> {
            let entries = std::fs::read_dir(self.path().join("db")).unwrap();
            let mut files: Vec<PathBuf> = entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|found| found == extension))
                .collect();
            files.sort();
            files
        }
    }

    fn copy_tree(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy_tree(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}
