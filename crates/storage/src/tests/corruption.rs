//! Damage on disk: an open or a read refuses it, and never answers something else than what was written.

use std::fs;
use std::path::Path;

use pi_raft::store::{LogBounds, Store};
use pi_raft::types::Vote;
use rocksdb::{DBWithThreadMode, MultiThreaded, Options};

use super::fixture::{Dir, try_open};
use crate::conformance::{append, commit, puts, record_of};
use crate::error::Error;
use crate::position::log_id;
use crate::record::{encode_log, log_key};
use crate::rocks::RocksStore;

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn fill(store: &RocksStore) {
    store.save_vote(&Vote::new_committed(2, 1)).unwrap();
    for index in 0..20 {
        store.append(&[record_of(1, index, 100)]).unwrap();
        if index > 0 {
            commit(store, index, &puts(&["a", "b", "c"], &index.to_string()));
        }
    }
    store.save_vote(&Vote::new_committed(3, 2)).unwrap();
}

/// Whether a store that opened has exactly what [`fill`] wrote, or says that it cannot read it.
fn is_right_or_refuses(store: &RocksStore) -> bool {
    let end = LogBounds { purged: None, last: Some(log_id(1, 19)) };
    let log = store.read_log(0, 20, usize::MAX).map_or(true, |records| {
        records.len() == 20
            && records.iter().all(|record| record.bytes == record_of(1, record.index, 100).bytes)
    });
    let state = ["a", "b", "c"]
        .iter()
        .all(|key| store.reader().get(key.as_bytes()).map_or(true, |value| value == Some(b"19".to_vec())));
    let applied = store.applied().unwrap().0 == Some(log_id(1, 19));
    store.log_bounds().unwrap() == end
        && log
        && state
        && applied
        && store.read_vote().unwrap() == Some(Vote::new_committed(3, 2))
}

#[test]
fn a_flipped_bit_in_the_write_ahead_log_is_never_a_wrong_answer() {
    let dir = Dir::formatted();
    let store = dir.open();
    fill(&store);
    let image = dir.copy();
    drop(store);
    let wal = image.files("log").pop().unwrap();
    let len = fs::metadata(&wal).unwrap().len() as usize;
    let (mut refused, mut flips) = (0, 0);
    for offset in (0..len).step_by(len / 120) {
        let damaged = image.copy();
        flip(&damaged.files("log").pop().unwrap(), offset);
        flips += 1;
        match try_open(damaged.path()) {
            Err(_) => refused += 1,
            Ok(store) => assert!(is_right_or_refuses(&store), "a bit flipped at {offset} of {len}"),
        }
    }
    assert_eq!(refused, flips, "every record is checked");
}

#[test]
fn a_flipped_bit_in_a_data_file_is_never_a_wrong_answer() {
    let dir = Dir::formatted();
    let store = dir.open();
    fill(&store);
    drop(store);
    // A second open flushes what the first left in the write-ahead log.
    drop(dir.open());
    let files = dir.files("sst");
    assert!(files.len() >= 3, "log, meta and state have a file each: {files:?}");
    let mut refused = 0;
    for (at, file) in files.iter().enumerate() {
        let len = fs::metadata(file).unwrap().len() as usize;
        for offset in (0..len).step_by(len / 30) {
            let damaged = dir.copy();
            flip(&damaged.files("sst")[at], offset);
            match try_open(damaged.path()) {
                Err(_) => refused += 1,
                Ok(store) => {
                    refused += usize::from(store.reader().get(b"b").is_err());
                    assert!(
                        is_right_or_refuses(&store),
                        "a bit flipped at {offset} of {len} in {}",
                        file.display()
                    );
                }
            }
        }
    }
    assert!(refused > 30, "{refused} refusals");
}

/// Opens the database behind the store's back.
fn meddle(dir: &Dir, work: impl FnOnce(&DBWithThreadMode<MultiThreaded>)) {
    let path = dir.path().join("db");
    let names = DBWithThreadMode::<MultiThreaded>::list_cf(&Options::default(), &path).unwrap();
    let db = DBWithThreadMode::<MultiThreaded>::open_cf(&Options::default(), &path, names).unwrap();
    work(&db);
}

fn refused_after(work: impl FnOnce(&DBWithThreadMode<MultiThreaded>)) -> String {
    let dir = Dir::formatted();
    let store = dir.open();
    append(&store, 1, 0..=9);
    commit(&store, 5, &puts(&["a"], "1"));
    drop(store);
    meddle(&dir, work);
    let error = try_open(dir.path()).err().expect("a damaged store is refused");
    assert!(matches!(error, Error::Corrupt { .. } | Error::BelowHighWater { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_hole_a_foreign_record_and_a_lost_tail_are_found_at_open() {
    let log = |db: &DBWithThreadMode<MultiThreaded>, index: u64| {
        db.delete_cf(&db.cf_handle("log").unwrap(), log_key(index))
    };
    let hole = refused_after(|db| log(db, 4).unwrap());
    assert!(hole.contains("log record 4") && hole.contains("missing"), "{hole}");
    let front = refused_after(|db| log(db, 0).unwrap());
    assert!(front.contains("log record 0"), "{front}");
    let tail = refused_after(|db| log(db, 9).unwrap());
    assert!(tail.contains("high-water"), "{tail}");
    let foreign = refused_after(|db| {
        let mut value = Vec::new();
        encode_log(&record_of(1, 4, 10), 12_345, &mut value);
        db.put_cf(&db.cf_handle("log").unwrap(), log_key(4), value).unwrap();
    });
    assert!(foreign.contains("log record 4") && foreign.contains("another record"), "{foreign}");
    let garbage = refused_after(|db| db.put_cf(&db.cf_handle("log").unwrap(), log_key(4), b"x").unwrap());
    assert!(garbage.contains("log record 4"), "{garbage}");
}

#[test]
fn damaged_meta_values_are_found() {
    for key in ["store", "state", "applied", "membership", "start"] {
        let message = refused_after(|db| {
            let meta = db.cf_handle("meta").unwrap();
            let mut value = db.get_cf(&meta, key).unwrap().unwrap();
            value[0] ^= 1;
            db.put_cf(&meta, key, value).unwrap();
        });
        assert!(message.contains(key), "{message}");
    }
    for key in ["store", "state"] {
        refused_after(|db| db.delete_cf(&db.cf_handle("meta").unwrap(), key).unwrap());
    }
}

#[test]
fn a_failed_write_is_the_last() {
    let dir = Dir::formatted();
    let store = dir.open();
    append(&store, 1, 0..=1);
    store.fail_next_writes();
    let message = store.append(&[record_of(1, 2, 10)]).unwrap_err().to_string();
    assert!(message.contains("restarted"), "{message}");
    store.save_vote(&Vote::new(1, 1)).unwrap_err();
    store.commit(&Default::default(), log_id(1, 1), &Default::default()).unwrap_err();
    assert_eq!(store.log_bounds().unwrap().last, Some(log_id(1, 1)));
    drop(store);
    assert_eq!(dir.open().log_bounds().unwrap().last, Some(log_id(1, 1)));
}
