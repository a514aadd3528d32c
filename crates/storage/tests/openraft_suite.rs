//! openraft's own storage suite over `pi-raft`'s adaptors on RocksDB.

use std::sync::{Arc, Mutex};

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use pi_raft::log::{LogStore, WriterEnded};
use pi_raft::machine::Machine;
use pi_raft::types::TypeConfig;
use pi_raft::{FatalSignal, Threads};
use pi_storage::PurgeLimit;
use pi_storage::marker::{Expect, Marker};
use pi_storage::rocks::{Options, RocksStore};

const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Keeps the ends of all log writers, which close the databases on their own threads: the process may not end before
/// them, or RocksDB's globals go first ("pthread lock: Invalid argument").
struct Builder(Arc<Mutex<Vec<WriterEnded>>>);

type Built = (tempfile::TempDir, LogStore<RocksStore>, Machine<RocksStore>);

impl StoreBuilder<TypeConfig, LogStore<RocksStore>, Machine<RocksStore>, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<Built, StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (cluster, region) = ("c1".parse().unwrap(), "eu-west1".parse().unwrap());
        RocksStore::format(dir.path(), &Marker::new(&cluster, &region, 1)).unwrap();
        // The suite purges what was never applied.
        let options = Options { purge_limit: PurgeLimit::Unchecked, ..Options::default() };
        let store =
            Arc::new(RocksStore::open(dir.path(), &Expect::new(&cluster, &region, 1), options).unwrap());
        let fatal = FatalSignal::default();
        let (log, ended) =
            LogStore::open(Arc::clone(&store), fatal.clone(), Threads::Real, APPEND_BYTES_MAX).unwrap();
        self.0.lock().unwrap().push(ended);
        Ok((dir, log, Machine::open(store, fatal, Threads::Real).unwrap()))
    }
}

#[test]
fn openrafts_suite_passes_on_rocksdb() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    TypeConfig::run(async {
        Suite::test_all(Builder(Arc::clone(&ends))).await.unwrap();
        let ends = std::mem::take(&mut *ends.lock().unwrap());
        assert!(!ends.is_empty(), "the suite built stores");
        for ended in ends {
            ended.wait().await;
        }
    });
}
