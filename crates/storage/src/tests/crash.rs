//! The process is killed at each durable step and the store opened again: nothing acknowledged is lost, there is no
//! hole, the state is a whole commit, and leftovers are gone.
//!
//! The test runs its own binary as a child, which does a fixed run of calls and says on stdout which came back; the
//! environment names the step at which it dies.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pi_raft::store::Store;
use pi_raft::types::Vote;

use super::fixture::{marker, try_open};
use crate::conformance::{append, commit, live, membership, pairs, puts, read, send, text};
use crate::failpoint::CRASH_AT;
use crate::memory::MemoryStore;
use crate::position::log_id;
use crate::rocks::RocksStore;

const CHILD_DIR: &str = "PI_STORAGE_CRASH_DIR";

/// Says that a call came back: what it did must survive.
fn acknowledge(what: &str) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ack {what}").unwrap();
    stdout.flush().unwrap();
}

/// What the child does. Not a test of its own: it runs only when a parent names a directory.
#[test]
#[ignore = "run by the other tests of this file in a process of its own"]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    let store = try_open(&dir).unwrap();
    append(&store, 1, 0..=4);
    acknowledge("append 4");
    store.save_vote(&Vote::new(2, 1)).unwrap();
    acknowledge("vote 2");
    append(&store, 1, 5..=9);
    acknowledge("append 9");
    commit(&store, 4, &puts(&["a", "b"], "4"));
    acknowledge("commit 4");
    store.truncate_after(Some(log_id(1, 7))).unwrap();
    acknowledge("truncate 7");
    commit(&store, 6, &puts(&["b", "c"], "6"));
    acknowledge("commit 6");
    store.publish(store.freeze().unwrap()).unwrap();
    acknowledge("publish 6");
    store.purge(log_id(1, 3)).unwrap();
    acknowledge("purge 3");
    store.save_vote(&Vote::new(3, 2)).unwrap();
    acknowledge("vote 3");

    let other = MemoryStore::new();
    let at = log_id(3, 20);
    other.commit(&puts(&["x", "y"], "20"), at, &membership(at, 2)).unwrap();
    let received = send(&*other.freeze().unwrap(), &store).unwrap();
    acknowledge("received");
    store.install(received).unwrap();
    acknowledge("install 20");
    store.purge(log_id(3, 20)).unwrap();
    append(&store, 3, 21..=22);
    acknowledge("append 22");
}

struct Outcome {
    acknowledged: Vec<String>,
    crashed: bool,
}

impl Outcome {
    fn has(&self, what: &str) -> bool {
        self.acknowledged.iter().any(|found| found == what)
    }
}

/// Runs the child on `dir` and lets it die at `step`.
fn run_child(dir: &Path, step: &str) -> Outcome {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CRASH_AT, step)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let acknowledged =
        stdout.lines().filter_map(|line| line.split_once("ack ")).map(|(_, what)| what.to_owned());
    Outcome { acknowledged: acknowledged.collect(), crashed: !output.status.success() }
}

fn applied_index(store: &RocksStore) -> u64 {
    store.applied().unwrap().0.map_or(0, |applied| applied.index)
}

/// Opens what the child left and holds it against what was acknowledged.
fn check(dir: &Path, outcome: &Outcome) -> String {
    let store = try_open(dir).unwrap();
    let mut found = String::new();
    let vote = store.read_vote().unwrap().map_or(0, |vote| vote.leader_id.term);
    assert!(
        vote >= if outcome.has("vote 3") {
            3
        } else if outcome.has("vote 2") {
            2
        } else {
            0
        },
        "vote {vote}"
    );

    let bounds = store.log_bounds().unwrap();
    let last = bounds.last.map_or(0, |last| last.index);
    let first = bounds.purged.map_or(0, |purged| purged.index + 1);
    let end = bounds.last.map_or(0, |last| last.index + 1);
    assert_eq!(read(&store, first, end).len() as u64, end - first, "no hole");
    let acknowledged_end = [("append 22", 22), ("truncate 7", 7), ("append 9", 7), ("append 4", 4)];
    let at_least = acknowledged_end.iter().find(|(what, _)| outcome.has(what)).map_or(0, |(_, end)| *end);
    assert!(last >= at_least, "the log ends at {last}, {at_least} was acknowledged");
    if outcome.has("truncate 7") && !outcome.has("install 20") && applied_index(&store) < 20 {
        assert_eq!(last, 7, "what was truncated stays truncated");
    }

    // A killed process loses nothing that it wrote, synced or not.
    let applied = applied_index(&store);
    let commits = [("install 20", 20), ("commit 6", 6), ("commit 4", 4)];
    let committed = commits.iter().find(|(what, _)| outcome.has(what)).map_or(0, |(_, index)| *index);
    assert!(applied >= committed, "applied {applied}, {committed} was acknowledged");
    let expected = match applied {
        0 => vec![],
        4 => text(&[("a", "4"), ("b", "4")]),
        6 => text(&[("a", "4"), ("b", "6"), ("c", "6")]),
        20 => text(&[("x", "20"), ("y", "20")]),
        other => panic!("never committed: {other}"),
    };
    assert_eq!(live(&store), expected, "data, position and membership are of one commit");
    assert!(bounds.purged.is_none_or(|purged| purged.index <= applied), "purged only what is applied");
    if applied > 0 {
        assert_eq!(pairs(&*store.current().unwrap().unwrap()), expected);
    }
    assert!(!dir.join("incoming").exists(), "received snapshots are removed");
    write!(found, "vote {vote}, log {first}..{end}, applied {applied}").unwrap();

    // It goes on: the same node, the same directory.
    store.append(&[crate::conformance::record(9, end)]).unwrap();
    store.save_vote(&Vote::new(10, 1)).unwrap();
    store.commit(&Default::default(), log_id(9, applied + 1), &Default::default()).unwrap();
    drop(store);
    let names = rocksdb::DB::list_cf(&rocksdb::Options::default(), dir.join("db")).unwrap();
    assert_eq!(
        names.iter().filter(|name| name.starts_with("state-")).count(),
        1,
        "leftover states: {names:?}"
    );
    drop(try_open(dir).unwrap());
    found
}

const STEPS: [&str; 26] = [
    "append.before:1",
    "append.synced:1",
    "append.before:2",
    "append.synced:2",
    "vote.before:1",
    "vote.synced:1",
    "vote.recorded:1",
    "vote.synced:2",
    "commit.before:1",
    "commit.written:1",
    "commit.before:2",
    "commit.written:2",
    "truncate.before:1",
    "truncate.synced:1",
    "publish.before:1",
    "publish.synced:1",
    "purge.before:1",
    "purge.written:1",
    "install.before:1",
    "install.created:1",
    "install.ingested:1",
    "install.switched:1",
    "install.dropped:1",
    "purge.before:2",
    "purge.written:2",
    "append.synced:3",
];

#[test]
fn killed_at_each_step_nothing_acknowledged_is_lost() {
    for step in STEPS {
        let dir = tempfile::tempdir().unwrap();
        RocksStore::format(dir.path(), &marker()).unwrap();
        let outcome = run_child(dir.path(), step);
        assert!(outcome.crashed, "{step} was not reached; acknowledged: {:?}", outcome.acknowledged);
        let found = check(dir.path(), &outcome);
        eprintln!("{step}: {} acknowledged; {found}", outcome.acknowledged.len());
    }
}

#[test]
fn without_a_crash_the_run_ends() {
    let dir = tempfile::tempdir().unwrap();
    RocksStore::format(dir.path(), &marker()).unwrap();
    let outcome = run_child(dir.path(), "never");
    assert!(!outcome.crashed && outcome.has("append 22"), "{:?}", outcome.acknowledged);
    check(dir.path(), &outcome);
}

/// Formats; not a test of its own.
#[test]
#[ignore = "run by the other tests of this file in a process of its own"]
fn formatting_child() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    RocksStore::format(&dir, &marker()).unwrap();
}

#[test]
fn a_format_that_was_killed_may_be_repeated_and_never_looks_whole() {
    for step in ["format.begun", "format.filled", "format.marked"] {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::formatting_child", "--ignored", "--test-threads=1"])
            .env(CHILD_DIR, dir.path())
            .env(CRASH_AT, step)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "{step}");
        let whole = step == "format.marked";
        assert_eq!(try_open(dir.path()).is_ok(), whole, "{step}");
        assert_eq!(RocksStore::format(dir.path(), &marker()).is_err(), whole, "{step}");
        try_open(dir.path()).unwrap();
    }
}
