//! A power cut loses what was written and not synced. Simulated: the write-ahead log is cut at every length between
//! its last synced end and its full length, and everything durable must be there, and what is there must be a prefix.

use std::fs;

use pi_raft::store::Store;
use pi_raft::types::Vote;

use super::fixture::Dir;
use crate::conformance::{append, commit, live, puts, read, send, text};
use crate::memory::MemoryStore;
use crate::position::log_id;

fn wal_len(dir: &Dir) -> u64 {
    fs::metadata(dir.files("log").last().unwrap()).unwrap().len()
}

#[test]
fn a_cut_anywhere_behind_the_last_sync_leaves_a_prefix() {
    let dir = Dir::formatted();
    let store = dir.open();
    append(&store, 1, 0..=5);
    store.save_vote(&Vote::new(2, 1)).unwrap();
    let synced = wal_len(&dir);
    commit(&store, 2, &puts(&["a", "b"], "1"));
    commit(&store, 3, &puts(&["a", "c"], "2"));
    store.save_committed(Some(log_id(1, 3))).unwrap();
    store.purge(log_id(1, 2)).unwrap();
    let full = wal_len(&dir);
    assert!(full > synced + 100);
    let image = dir.copy();
    drop(store);

    let states = [vec![], text(&[("a", "1"), ("b", "1")]), text(&[("a", "2"), ("b", "1"), ("c", "2")])];
    let mut seen = [0; 4];
    for len in synced..=full {
        let cut = image.copy();
        let wal = cut.files("log").pop().unwrap();
        fs::File::options().write(true).open(&wal).unwrap().set_len(len).unwrap();
        let store = cut.open();
        assert_eq!(store.read_vote().unwrap(), Some(Vote::new(2, 1)), "cut at {len}");
        let applied = store.applied().unwrap().0.map_or(0, |applied| applied.index);
        let which = states.iter().position(|state| *state == live(&store)).expect("whole commits only");
        assert_eq!(applied, [0, 2, 3][which], "cut at {len}");
        let bounds = store.log_bounds().unwrap();
        assert_eq!(bounds.last, Some(log_id(1, 5)));
        let first = bounds.purged.map_or(0, |purged| purged.index + 1);
        assert_eq!(read(&store, first, 6).len() as u64, 6 - first);
        if let Some(purged) = bounds.purged {
            assert!(applied >= purged.index, "purged entries are applied");
            assert_eq!(store.current().unwrap().unwrap().meta().last_log_id, Some(log_id(1, 3)));
            seen[3] += 1;
        }
        seen[which] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "every outcome was met: {seen:?}");
}

/// After a snapshot that reaches beyond the log, the purge moves the log's end. An orderly close records that end in
/// the high-water file, so the purge itself must be durable by then: otherwise a power cut behind the close leaves a
/// node that says it lost what it acknowledged, and never starts again.
#[test]
fn a_close_after_a_purge_beyond_the_log_records_no_more_than_is_durable() {
    let sender = MemoryStore::new();
    commit(&sender, 20, &puts(&["a"], "1"));
    let dir = Dir::formatted();
    let store = dir.open();
    append(&store, 1, 0..=5);
    let snapshot = send(&*sender.freeze().unwrap(), &store).unwrap();
    store.install(snapshot).unwrap();
    let (synced, syncs) = (wal_len(&dir), store.wal_syncs());
    store.purge(log_id(1, 20)).unwrap();
    let durable = if store.wal_syncs() > syncs { wal_len(&dir) } else { synced };
    drop(store);

    let wal = dir.files("log").pop().unwrap();
    fs::File::options().write(true).open(&wal).unwrap().set_len(durable).unwrap();
    let bounds = dir.open().log_bounds().unwrap();
    assert_eq!((bounds.purged, bounds.last), (Some(log_id(1, 20)), Some(log_id(1, 20))));
}
