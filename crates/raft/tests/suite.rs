//! openraft's own storage suite over [`LogStore`] and [`Machine`] on the store in memory, and what it does not ask.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use common::store::TestStore;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{StorageError, type_config::TypeConfigExt};
use pi_raft::log::LogStore;
use pi_raft::machine::Machine;
use pi_raft::store::Store;
use pi_raft::types::{EncodedCommand, Entry, EntryPayload, LogId, TypeConfig, Vote};
use pi_raft::{FatalSignal, Threads};
use pi_storage::PurgeLimit;
use pi_storage::memory::MemoryStore;

const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;

struct Builder(Threads);

impl StoreBuilder<TypeConfig, LogStore<TestStore>, Machine<TestStore>> for Builder {
    async fn build(&self) -> Result<((), LogStore<TestStore>, Machine<TestStore>), StorageError<TypeConfig>> {
        // The suite purges what was never applied.
        let store = Arc::new(TestStore::over(MemoryStore::with_purge_limit(PurgeLimit::Unchecked)));
        let fatal = FatalSignal::default();
        let (log, _) = LogStore::open(Arc::clone(&store), fatal.clone(), self.0, APPEND_BYTES_MAX).unwrap();
        Ok(((), log, Machine::open(store, fatal, self.0).unwrap()))
    }
}

#[test]
fn openrafts_suite_passes_with_a_writer_thread() {
    TypeConfig::run(async { Suite::test_all(Builder(Threads::Real)).await.unwrap() });
}

#[test]
fn openrafts_suite_passes_on_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Suite::test_all(Builder(Threads::Inline)).await.unwrap() });
}

fn open(store: &Arc<TestStore>) -> (LogStore<TestStore>, FatalSignal) {
    let fatal = FatalSignal::default();
    (LogStore::open(Arc::clone(store), fatal.clone(), Threads::Real, APPEND_BYTES_MAX).unwrap().0, fatal)
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let payload = EntryPayload::Normal(EncodedCommand(Bytes::from(vec![index as u8; bytes])));
    Entry { log_id: LogId::new(term.into(), index), payload }
}

async fn append(log: &mut LogStore<TestStore>, entries: Vec<Entry>) -> std::io::Result<()> {
    let (sender, receiver) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await?;
    receiver.await.unwrap()
}

#[tokio::test]
async fn entries_are_readable_when_append_returns_and_without_the_store() {
    let store = Arc::new(TestStore::default());
    store.sync_ms.store(200, Ordering::SeqCst);
    let (mut log, _) = open(&store);
    let mut reader = log.get_log_reader().await;
    let (sender, receiver) = TypeConfig::oneshot();
    log.append((0..10).map(|index| entry(1, index, 10)), IOFlushed::signal(sender)).await.unwrap();
    assert_eq!(store.entries.load(Ordering::SeqCst), 0, "nothing is durable yet");
    assert_eq!(reader.try_get_log_entries(3..20).await.unwrap().len(), 7);
    receiver.await.unwrap().unwrap();
    assert_eq!(
        reader.try_get_log_entries(3..20).await.unwrap(),
        (3..10).map(|i| entry(1, i, 10)).collect::<Vec<_>>()
    );
    assert_eq!(store.log_reads.load(Ordering::SeqCst), 0, "fresh entries are served from memory");
}

#[tokio::test]
async fn what_queues_during_a_sync_goes_into_one_append() {
    let store = Arc::new(TestStore::default());
    store.sync_ms.store(100, Ordering::SeqCst);
    let (mut log, _) = open(&store);
    let mut waiting = Vec::new();
    for index in 0..100 {
        let (sender, receiver) = TypeConfig::oneshot();
        log.append([entry(1, index, 10)], IOFlushed::signal(sender)).await.unwrap();
        waiting.push(receiver);
    }
    for receiver in waiting {
        receiver.await.unwrap().unwrap();
    }
    assert_eq!(store.entries.load(Ordering::SeqCst), 100);
    assert!(store.appends.load(Ordering::SeqCst) <= 3, "{:?} appends", store.appends);
}

#[tokio::test]
async fn a_reopened_log_reads_from_the_store_what_it_wrote() {
    let store = Arc::new(TestStore::default());
    let (mut log, _) = open(&store);
    log.save_vote(&Vote::new_committed(1, 7)).await.unwrap();
    append(&mut log, (0..1_000).map(|index| entry(1, index, 100)).collect()).await.unwrap();
    log.save_committed(Some(LogId::new(1.into(), 900))).await.unwrap();
    log.truncate_after(Some(LogId::new(1.into(), 949))).await.unwrap();
    append(&mut log, vec![entry(2, 950, 100)]).await.unwrap();

    let (mut log, _) = open(&store);
    assert_eq!(log.read_committed().await.unwrap(), Some(LogId::new(1.into(), 900)));
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(LogId::new(2.into(), 950)));
    let mut reader = log.get_log_reader().await;
    assert_eq!(reader.read_vote().await.unwrap(), Some(Vote::new_committed(1, 7)));
    // Part from the store, part from memory.
    append(&mut log, vec![entry(2, 951, 100)]).await.unwrap();
    let entries = reader.try_get_log_entries(0..=951).await.unwrap();
    let expected = (0..950).map(|index| entry(1, index, 100)).chain([entry(2, 950, 100), entry(2, 951, 100)]);
    assert!(entries.into_iter().eq(expected));
}

#[tokio::test]
async fn a_read_for_replication_is_cut_by_bytes_and_never_empty() {
    let store = Arc::new(TestStore::default());
    let (mut log, _) = open(&store);
    let large = APPEND_BYTES_MAX / 4;
    append(&mut log, (0..20).map(|index| entry(1, index, large)).collect()).await.unwrap();
    append(&mut log, vec![entry(1, 20, 2 * APPEND_BYTES_MAX)]).await.unwrap();
    for mut reader in [log.get_log_reader().await, open(&store).0.get_log_reader().await] {
        let entries = reader.limited_get_log_entries(2, 21).await.unwrap();
        assert_eq!(entries[0].log_id.index, 2);
        assert!((2..=5).contains(&entries.len()), "{} entries of a quarter each", entries.len());
        assert_eq!(
            reader.limited_get_log_entries(20, 21).await.unwrap().len(),
            1,
            "a larger entry travels alone"
        );
    }
}

#[tokio::test]
async fn memory_keeps_a_bounded_tail_and_reads_go_on_to_the_store() {
    let store = Arc::new(TestStore::default());
    let (mut log, _) = open(&store);
    let mut reader = log.get_log_reader().await;
    for chunk in 0..64 {
        append(&mut log, (0..1_024).map(|index| entry(1, chunk * 1_024 + index, 8)).collect()).await.unwrap();
    }
    let entries = reader.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries.len(), 64 * 1_024);
    assert!(store.log_reads.load(Ordering::SeqCst) > 0, "the oldest are no longer in memory");
    assert!(entries.iter().zip(0..).all(|(entry, index)| entry.log_id.index == index));
}

#[tokio::test]
async fn purged_entries_are_absent_at_the_front_only() {
    let store = Arc::new(TestStore::over(MemoryStore::with_purge_limit(PurgeLimit::Unchecked)));
    let (mut log, _) = open(&store);
    append(&mut log, (0..100).map(|index| entry(1, index, 8)).collect()).await.unwrap();
    log.purge(LogId::new(1.into(), 49)).await.unwrap();
    let mut reader = log.get_log_reader().await;
    let entries = reader.try_get_log_entries(0..200).await.unwrap();
    assert_eq!((entries.len(), entries[0].log_id.index), (50, 50));
}

#[tokio::test]
async fn a_hole_is_refused() {
    let (mut log, _) = open(&Arc::new(TestStore::default()));
    append(&mut log, vec![entry(1, 0, 8)]).await.unwrap();
    assert!(append(&mut log, vec![entry(1, 2, 8)]).await.is_err());
}

#[tokio::test]
async fn the_first_storage_error_is_final() {
    let store = Arc::new(TestStore::default());
    let (mut log, fatal) = open(&store);
    append(&mut log, vec![entry(1, 0, 8)]).await.unwrap();
    store.broken.store(true, Ordering::SeqCst);
    assert!(append(&mut log, vec![entry(1, 1, 8)]).await.is_err());
    assert!(fatal.wait().await.contains("injected failure"));
    // The disk seems to work again; what was lost is not known, so nothing more is written.
    store.broken.store(false, Ordering::SeqCst);
    assert!(append(&mut log, vec![entry(1, 2, 8)]).await.is_err());
    assert!(log.save_vote(&Vote::new(9, 1)).await.is_err());
    assert_eq!(store.entries.load(Ordering::SeqCst), 1);
}

/// A committed command at an index from 1 (0 is the first membership), as openraft hands it over.
fn command(index: u64, owner: &str) -> Entry {
    let payload = EntryPayload::Normal(pi_raft::codec::encode_command(&common::set_quota(owner, 5)));
    Entry { log_id: LogId::new(1.into(), index), payload }
}

async fn apply(
    machine: &mut Machine<TestStore>,
    entries: impl IntoIterator<Item = Entry>,
) -> std::io::Result<()> {
    let items: Vec<_> = entries.into_iter().map(|entry| Ok((entry, None))).collect();
    machine.apply(futures::stream::iter(items)).await
}

#[tokio::test]
async fn a_snapshot_holds_exactly_the_state_at_the_position_it_names() {
    let store = Arc::new(TestStore::default());
    let mut machine = Machine::open(Arc::clone(&store), FatalSignal::default(), Threads::Real).unwrap();
    apply(&mut machine, (1..=10).map(|index| command(index, "before"))).await.unwrap();
    let frozen = store.freeze().unwrap().totals().unwrap();

    // openraft builds in another task, while apply goes on.
    let mut builder = machine.try_create_snapshot_builder(true).await.unwrap();
    apply(&mut machine, (11..20).map(|index| command(index, "after"))).await.unwrap();
    let snapshot = builder.build_snapshot().await.unwrap();

    assert_eq!(snapshot.meta.last_log_id, Some(LogId::new(1.into(), 10)));
    let view = store.current().unwrap().unwrap();
    assert_eq!((view.meta(), view.totals().unwrap()), (&snapshot.meta, frozen));
}

#[tokio::test]
async fn ready_entries_share_commits_and_the_position_is_in_the_same_commit() {
    let store = Arc::new(TestStore::default());
    let mut machine = Machine::open(Arc::clone(&store), FatalSignal::default(), Threads::Real).unwrap();
    let count = 10 * pi_raft::machine::APPLY_ENTRIES_MAX as u64;
    apply(&mut machine, (1..=count).map(|index| command(index, "acme"))).await.unwrap();
    assert_eq!(store.commits.load(Ordering::SeqCst), 10);
    assert_eq!(store.applied().unwrap().0, Some(LogId::new(1.into(), count)));
}

#[tokio::test]
async fn an_entry_that_cannot_be_decoded_stops_the_node_before_anything_of_its_batch_is_committed() {
    let store = Arc::new(TestStore::default());
    let fatal = FatalSignal::default();
    let mut machine = Machine::open(Arc::clone(&store), fatal.clone(), Threads::Real).unwrap();
    apply(&mut machine, [command(1, "acme"), entry(1, 2, 8)]).await.unwrap_err();
    assert!(fatal.wait().await.contains("corrupt command at log index 2"), "{:?}", fatal.tripped());
    assert_eq!(store.applied().unwrap().0, None);
}

/// Purges the log the first time it is read, as if the purge had overtaken the reader.
#[tokio::test]
async fn a_read_that_a_purge_overtakes_starts_over() {
    let store = Arc::new(TestStore::over(MemoryStore::with_purge_limit(PurgeLimit::Unchecked)));
    append(&mut open(&store).0, (0..100).map(|index| entry(1, index, 8)).collect()).await.unwrap();
    // Reopened, so that nothing is in memory.
    let (log, _) = open(&store);
    let log = Arc::new(tokio::sync::Mutex::new(log));
    let mut reader = log.lock().await.get_log_reader().await;
    let purge = Arc::clone(&log);
    let handle = tokio::runtime::Handle::current();
    store.before_read(move || {
        let purge = Arc::clone(&purge);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                handle.block_on(async { purge.lock().await.purge(LogId::new(1.into(), 49)).await }).unwrap()
            });
        });
        // The writer has done it as well.
        std::thread::sleep(std::time::Duration::from_millis(100));
    });
    let entries = reader.try_get_log_entries(10..100).await.unwrap();
    assert_eq!((entries[0].log_id.index, entries.len()), (50, 50));
}
