//! What is there after an orderly close, and what an open refuses.

use std::fs;

use pi_raft::store::{LogBounds, Store};
use pi_raft::types::Vote;

use super::fixture::{Dir, expect, marker, options, try_open};
use crate::conformance::{append, commit, live, pairs, puts, read, send, text};
use crate::error::Error;
use crate::marker;
use crate::marker::Expect;
use crate::position::log_id;
use crate::rocks::{Options, RocksStore};

#[test]
fn everything_is_there_again() {
    let dir = Dir::formatted();
    let store = dir.open();
    append(&store, 1, 0..=9);
    commit(&store, 5, &puts(&["a", "b"], "1"));
    store.purge(log_id(1, 3)).unwrap();
    store.truncate_after(Some(log_id(1, 7))).unwrap();
    store.save_vote(&Vote::new_committed(4, 2)).unwrap();
    store.save_committed(Some(log_id(1, 6))).unwrap();
    let applied = store.applied().unwrap();
    drop(store);
    let store = dir.open();
    assert_eq!(
        store.log_bounds().unwrap(),
        LogBounds { purged: Some(log_id(1, 3)), last: Some(log_id(1, 7)) }
    );
    assert_eq!(read(&store, 4, 8).len(), 4);
    assert_eq!(live(&store), text(&[("a", "1"), ("b", "1")]));
    assert_eq!(store.applied().unwrap(), applied);
    assert_eq!(store.read_vote().unwrap(), Some(Vote::new_committed(4, 2)));
    assert_eq!(store.read_committed().unwrap(), Some(log_id(1, 6)));
    append(&store, 4, 8..=8);
    drop(store);
    assert_eq!(read(&dir.open(), 4, 9).len(), 5);
}

#[test]
fn a_log_that_starts_behind_nothing_or_was_moved_is_there_again() {
    let dir = Dir::formatted();
    let store = dir.open();
    append(&store, 1, 4..=6);
    drop(store);
    let store = dir.open();
    assert_eq!(read(&store, 4, 7).len(), 3);
    commit(&store, 20, &Default::default());
    store.purge(log_id(1, 20)).unwrap();
    drop(store);
    let store = dir.open();
    append(&store, 2, 21..=22);
    drop(store);
    assert_eq!(read(&dir.open(), 21, 23), [(2, 21), (2, 22)]);
}

#[test]
fn after_a_restart_the_state_is_the_current_snapshot_and_covers_the_purged_log() {
    let dir = Dir::formatted();
    let store = dir.open();
    append(&store, 1, 0..=5);
    commit(&store, 3, &puts(&["a"], "1"));
    store.publish(store.freeze().unwrap()).unwrap();
    store.purge(log_id(1, 3)).unwrap();
    commit(&store, 4, &puts(&["a"], "2"));
    drop(store);
    let store = dir.open();
    let current = store.current().unwrap().unwrap();
    assert_eq!(current.meta().last_log_id, Some(log_id(1, 4)));
    commit(&store, 5, &puts(&["a"], "3"));
    assert_eq!(pairs(&*current), text(&[("a", "2")]));
}

#[test]
fn an_installed_state_is_there_again_and_the_old_one_is_gone() {
    let source = Dir::formatted();
    let sender = source.open();
    commit(&sender, 9, &puts(&["b", "c"], "x"));
    let dir = Dir::formatted();
    let store = dir.open();
    append(&store, 1, 0..=2);
    commit(&store, 1, &puts(&["a"], "1"));
    let small = send(&*sender.freeze().unwrap(), &store).unwrap();
    store.install(small).unwrap();
    drop(store);
    let store = dir.open();
    assert_eq!(live(&store), text(&[("b", "x"), ("c", "x")]));
    assert_eq!(store.applied().unwrap(), sender.applied().unwrap());
    assert_eq!(read(&store, 0, 3).len(), 3);
    drop(store);
    let names = rocksdb::DB::list_cf(&rocksdb::Options::default(), dir.path().join("db")).unwrap();
    assert_eq!(names, ["default", "log", "meta", "state-2"]);
}

#[test]
fn a_large_snapshot_goes_through_several_files() {
    let (source, target) = (Dir::formatted(), Dir::formatted());
    let sender = source.open();
    let options = Options { snapshot_file_bytes: 10_000, ..options() };
    let store = RocksStore::open(target.path(), &expect(), options).unwrap();
    let keys: Vec<String> = (0..1_000).map(|key| format!("{key:05}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    commit(&sender, 1, &puts(&keys, &"x".repeat(100)));
    let received = send(&*sender.freeze().unwrap(), &store).unwrap();
    let files = fs::read_dir(received.dir.as_ref().unwrap()).unwrap().count();
    assert!((9..=12).contains(&files), "{files} files");
    store.install(received).unwrap();
    assert_eq!(store.freeze().unwrap().totals().unwrap(), sender.freeze().unwrap().totals().unwrap());
}

#[test]
fn a_second_process_is_kept_out_until_the_last_view_is_gone() {
    let dir = Dir::formatted();
    let store = dir.open();
    let message = try_open(dir.path()).err().unwrap();
    assert!(matches!(&message, Error::Locked { .. }), "{message}");
    let reader = store.reader();
    drop(store);
    assert!(matches!(try_open(dir.path()), Err(Error::Locked { .. })));
    assert_eq!(reader.get(b"a").unwrap(), None);
    drop(reader);
    dir.open();
}

#[test]
fn another_nodes_directory_a_wiped_one_and_a_full_one_are_refused() {
    let dir = Dir::formatted();
    let other = Expect { node_id: 4, ..expect() };
    let refused = RocksStore::open(dir.path(), &other, options()).err().unwrap();
    assert!(matches!(refused, Error::Marker(marker::Error::Mismatch { .. })));
    assert!(matches!(
        RocksStore::format(dir.path(), &marker()),
        Err(Error::Marker(marker::Error::NotEmpty { .. }))
    ));
    let wiped = tempfile::tempdir().unwrap();
    assert!(matches!(try_open(wiped.path()), Err(Error::Marker(marker::Error::Missing { .. }))));
    assert_eq!(fs::read_dir(wiped.path()).unwrap().count(), 0, "a refused directory is left as it was");
    fs::write(wiped.path().join("precious"), "").unwrap();
    let refused = RocksStore::format(wiped.path(), &marker()).err().unwrap().to_string();
    assert!(refused.contains("precious"), "{refused}");
    assert_eq!(fs::read_dir(wiped.path()).unwrap().count(), 1);
}

#[test]
fn the_database_of_another_store_or_none_is_refused() {
    let (dir, other) = (Dir::formatted(), Dir::formatted());
    let db = dir.path().join("db");
    fs::remove_dir_all(&db).unwrap();
    assert!(matches!(try_open(dir.path()), Err(Error::Rocks { .. })));
    assert!(!db.join("CURRENT").exists(), "an open never makes a database");
    let _ = fs::remove_dir_all(&db);
    fs::rename(other.path().join("db"), &db).unwrap();
    assert!(matches!(try_open(dir.path()), Err(Error::Marker(marker::Error::Mixed { .. }))));
}

#[test]
fn a_database_that_comes_back_older_is_refused() {
    let dir = Dir::formatted();
    let store = dir.open();
    store.save_vote(&Vote::new(3, 1)).unwrap();
    append(&store, 3, 0..=9);
    drop(store);
    let old = dir.copy();
    let store = dir.open();
    store.save_vote(&Vote::new(4, 2)).unwrap();
    drop(store);
    put_back(&old, &dir);
    let refused = try_open(dir.path()).err().unwrap();
    assert!(matches!(&refused, Error::BelowHighWater { .. }), "{refused}");
    let message = refused.to_string();
    assert!(message.contains("high-water") && message.contains("in its place"), "{message}");

    let dir = old.copy();
    let store = dir.open();
    append(&store, 3, 10..=12);
    drop(store);
    put_back(&old, &dir);
    assert!(matches!(try_open(dir.path()), Err(Error::BelowHighWater { .. })));
}

/// Replaces a directory's database, and only it, by an older one.
fn put_back(old: &Dir, dir: &Dir) {
    let copy = old.copy();
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    fs::rename(copy.path().join("db"), dir.path().join("db")).unwrap();
}

#[test]
fn truncations_and_moves_never_trip_the_high_water_check() {
    let dir = Dir::formatted();
    let store = dir.open();
    append(&store, 1, 0..=5_000);
    store.truncate_after(Some(log_id(1, 10))).unwrap();
    drop(store);
    let store = dir.open();
    append(&store, 2, 11..=5_000);
    store.commit(&Default::default(), log_id(3, 50), &Default::default()).unwrap();
    store.purge(log_id(3, 50)).unwrap();
    drop(store);
    let store = dir.open();
    assert_eq!(store.log_bounds().unwrap().last, Some(log_id(3, 50)));
    append(&store, 3, 51..=52);
    store.truncate_after(None).unwrap();
    drop(store);
    assert_eq!(dir.open().log_bounds().unwrap().last, Some(log_id(3, 50)));
}

#[test]
fn what_is_durable_syncs_and_what_is_not_does_not() {
    let dir = Dir::formatted();
    let store = dir.open();
    let syncs = |work: &dyn Fn()| {
        let before = store.wal_syncs().unwrap();
        work();
        store.wal_syncs().unwrap() - before
    };
    assert_eq!(syncs(&|| append(&store, 1, 0..=9)), 1, "append");
    assert_eq!(syncs(&|| store.save_vote(&Vote::new(1, 1)).unwrap()), 1, "vote");
    assert_eq!(syncs(&|| store.truncate_after(Some(log_id(1, 8))).unwrap()), 1, "truncate");
    assert_eq!(syncs(&|| commit(&store, 5, &puts(&["a"], "1"))), 0, "commit");
    assert_eq!(syncs(&|| store.save_committed(Some(log_id(1, 5))).unwrap()), 0, "committed");
    assert_eq!(syncs(&|| store.purge(log_id(1, 3)).unwrap()), 0, "purge");
    assert_eq!(syncs(&|| store.publish(store.freeze().unwrap()).unwrap()), 1, "publish");
    assert!(
        syncs(&|| store.install(send(&*store.freeze().unwrap(), &store).unwrap()).unwrap()) >= 1,
        "install"
    );
}

#[test]
fn stats_tell_what_is_pinned_and_stored() {
    let dir = Dir::formatted();
    let store = dir.open();
    let before = store.stats().unwrap();
    commit(&store, 1, &puts(&["a"], &"x".repeat(100_000)));
    let view = store.freeze().unwrap();
    let during = store.stats().unwrap();
    assert_eq!(during.pinned_views, before.pinned_views + 1);
    assert!(during.memtable_bytes >= before.memtable_bytes + 100_000, "{before:?} {during:?}");
    drop(view);
    assert_eq!(store.stats().unwrap().pinned_views, before.pinned_views);
}
