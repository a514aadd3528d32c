//! Random calls on both stores: the same answers, the same refusals, the same content, restarts included.

use std::collections::BTreeSet;

use pi_raft::store::{LogRecord, ReceivedSnapshot, StateView, Store};
use pi_raft::types::Vote;
use pi_state::Ops;
use proptest::prelude::*;

use super::fixture::Dir;
use crate::conformance::{membership, record_of, send};
use crate::memory::MemoryStore;
use crate::position::log_id;
use crate::rocks::RocksStore;

/// One call. Positions are drawn from a small range, so that many are refused.
#[derive(Clone, Debug)]
enum Call {
    Append { term: u64, ahead: u64, count: u64, bytes: usize },
    Truncate { at: Option<(u64, u64)> },
    Purge { term: u64, index: u64 },
    Read { from: u64, count: u64, bytes_max: usize },
    Vote { term: u64, node: u64, committed: bool },
    Committed { at: Option<(u64, u64)> },
    Commit { term: u64, ahead: u64, keys: BTreeSet<u8>, value: Option<u8> },
    Freeze,
    Publish,
    Transfer { term: u64, ahead: u64 },
    Reopen,
}

fn position() -> impl Strategy<Value = (u64, u64)> {
    (0..4_u64, 0..24_u64)
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => (0..4_u64, prop_oneof![9 => Just(0_u64), 1 => 0..3_u64], 0..5_u64, 0..60_usize)
            .prop_map(|(term, ahead, count, bytes)| Call::Append { term, ahead, count, bytes }),
        2 => proptest::option::of(position()).prop_map(|at| Call::Truncate { at }),
        2 => position().prop_map(|(term, index)| Call::Purge { term, index }),
        4 => (0..24_u64, 0..9_u64, 0..300_usize)
            .prop_map(|(from, count, bytes_max)| Call::Read { from, count, bytes_max }),
        2 => (0..6_u64, 1..4_u64, any::<bool>())
            .prop_map(|(term, node, committed)| Call::Vote { term, node, committed }),
        1 => proptest::option::of(position()).prop_map(|at| Call::Committed { at }),
        6 => (0..4_u64, 0..4_u64, proptest::collection::btree_set(0..12_u8, 0..4), proptest::option::of(any::<u8>()))
            .prop_map(|(term, ahead, keys, value)| Call::Commit { term, ahead, keys, value }),
        1 => Just(Call::Freeze),
        1 => Just(Call::Publish),
        1 => (0..4_u64, 0..4_u64).prop_map(|(term, ahead)| Call::Transfer { term, ahead }),
        1 => Just(Call::Reopen),
    ]
}

fn ops(keys: &BTreeSet<u8>, value: Option<u8>) -> Ops {
    keys.iter().map(|key| (vec![*key], value.map(|value| vec![value; 3]))).collect()
}

/// A snapshot of a scratch state ahead of the store's own, received by the store.
fn transfer<S: Store>(store: &S, term: u64, index: u64) -> std::io::Result<ReceivedSnapshot> {
    let scratch = MemoryStore::new();
    let at = log_id(term, index);
    scratch.commit(&ops(&[1, 5].into(), Some(index as u8)), at, &membership(at, 2))?;
    send(&*scratch.freeze()?, store)
}

/// Carries out a call; what it answered, for comparison. Errors compare as refusals only: their texts may differ.
fn answer<S: Store>(store: &S, call: &Call, views: &mut Vec<Box<dyn StateView>>) -> Result<String, ()> {
    let last = store.log_bounds().unwrap().last.map_or(0, |last| last.index + 1);
    let applied = store.applied().unwrap().0.map_or(0, |applied| applied.index);
    let done = match call.clone() {
        Call::Append { term, ahead, count, bytes } => {
            let first = last + ahead;
            let records: Vec<LogRecord> =
                (first..first + count).map(|index| record_of(term, index, bytes)).collect();
            store.append(&records).map(|()| String::new())
        }
        Call::Truncate { at } => {
            store.truncate_after(at.map(|(term, index)| log_id(term, index))).map(|()| String::new())
        }
        Call::Purge { term, index } => store.purge(log_id(term, index)).map(|()| String::new()),
        Call::Read { from, count, bytes_max } => {
            store.read_log(from, from + count, bytes_max).map(|records| format!("{records:?}"))
        }
        Call::Vote { term, node, committed } => {
            let vote = if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) };
            store.save_vote(&vote).map(|()| String::new())
        }
        Call::Committed { at } => {
            store.save_committed(at.map(|(term, index)| log_id(term, index))).map(|()| String::new())
        }
        Call::Commit { term, ahead, keys, value } => {
            let at = log_id(term, applied + ahead);
            store.commit(&ops(&keys, value), at, &membership(at, term + 1)).map(|()| String::new())
        }
        Call::Freeze => store.freeze().map(|view| {
            views.push(view);
            String::new()
        }),
        Call::Publish => match views.pop() {
            Some(view) => store.publish(view).map(|()| String::new()),
            None => Ok(String::new()),
        },
        Call::Transfer { term, ahead } => transfer(store, term, applied + ahead)
            .and_then(|received| store.install(received))
            .map(|()| String::new()),
        Call::Reopen => Ok(String::new()),
    };
    done.map_err(|_| ())
}

/// Everything that can be seen of a store.
fn content<S: Store>(store: &S) -> String {
    let bounds = store.log_bounds().unwrap();
    let first = bounds.purged.map_or(0, |purged| purged.index + 1);
    let end = bounds.last.map_or(first, |last| last.index + 1);
    let log =
        (first..end).map(|index| store.read_log(index, index + 1, 0).map_err(|_| ())).collect::<Vec<_>>();
    let view = store.freeze().unwrap();
    format!(
        "{bounds:?} {log:?} {:?} {:?} {:?} {:?} {:?}",
        store.read_vote().unwrap(),
        store.read_committed().unwrap(),
        store.applied().unwrap(),
        view.meta(),
        view.totals().unwrap(),
    )
}

fn compare(calls: &[Call]) {
    let dir = Dir::formatted();
    let memory = MemoryStore::new();
    let mut rocks: Option<RocksStore> = Some(dir.open());
    let (mut memory_views, mut rocks_views) = (Vec::new(), Vec::new());
    for (at, call) in calls.iter().enumerate() {
        if let Call::Reopen = call {
            // A restart keeps everything but views and the exact position of the current snapshot.
            memory_views.clear();
            rocks_views.clear();
            rocks = None;
        }
        let store = rocks.get_or_insert_with(|| dir.open());
        let expected = answer(&memory, call, &mut memory_views);
        let found = answer(store, call, &mut rocks_views);
        assert_eq!(found, expected, "call {at}, {call:?}");
        assert_eq!(content(store), content(&memory), "after call {at}, {call:?}");
        let covers =
            |view: Option<std::sync::Arc<dyn StateView>>| view.and_then(|view| view.meta().last_log_id);
        let (found, expected) = (covers(store.current().unwrap()), covers(memory.current().unwrap()));
        assert!(found >= expected, "the current snapshot is {found:?}, at least {expected:?} was published");
    }
}

/// How many runs: few, because each opens a database; more by `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_answer_alike(calls in proptest::collection::vec(call(), 1..60)) {
        compare(&calls);
    }
}
