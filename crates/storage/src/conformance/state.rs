//! What the contract says about commits and readers.

use std::ops::ControlFlow;

use pi_raft::store::Store;
use pi_state::{Ops, Read};

use super::{Case, commit, live, membership, puts, text};
use crate::position::log_id;

pub(super) fn cases<S: Store>() -> Vec<Case<S>> {
    vec![
        ("a commit changes state, position and membership together", commit_is_one),
        ("a commit deletes and overwrites", commit_deletes),
        ("a position that does not advance is refused and changes nothing", commit_once),
        ("a reader sees each commit at once", live_reader),
        ("a scan visits the range in order and ends when told", scan),
        ("a visitor may read again", nested_read),
        ("a snapshot reader sees one moment", snapshot_reader),
        ("the applied position is never behind what a reader shows", applied_keeps_up),
        ("log and state do not touch each other", apart),
    ]
}

fn commit_is_one<S: Store>(store: &S) {
    let (position, members) = (log_id(3, 7), membership(log_id(3, 6), 2));
    store.commit(&puts(&["a", "b"], "1"), position, &members).unwrap();
    assert_eq!(store.applied().unwrap(), (Some(position), members));
    assert_eq!(live(store), text(&[("a", "1"), ("b", "1")]));
    let (position, members) = (log_id(3, 8), membership(log_id(3, 8), 4));
    store.commit(&Ops::new(), position, &members).unwrap();
    assert_eq!(store.applied().unwrap(), (Some(position), members));
    assert_eq!(live(store), text(&[("a", "1"), ("b", "1")]));
}

fn commit_deletes<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a", "b", "c"], "1"));
    let mut ops = puts(&["b"], "2");
    ops.insert(b"a".to_vec(), None);
    ops.insert(b"never there".to_vec(), None);
    commit(store, 2, &ops);
    assert_eq!(live(store), text(&[("b", "2"), ("c", "1")]));
    assert_eq!(store.reader().get(b"a").unwrap(), None);
}

fn commit_once<S: Store>(store: &S) {
    commit(store, 5, &puts(&["a"], "1"));
    for at in [log_id(1, 5), log_id(1, 4), log_id(2, 5), log_id(0, 6)] {
        store.commit(&puts(&["a"], "2"), at, &Default::default()).unwrap_err();
    }
    assert_eq!(live(store), text(&[("a", "1")]));
    assert_eq!(store.applied().unwrap().0, Some(log_id(1, 5)));
}

fn live_reader<S: Store>(store: &S) {
    let reader = store.reader();
    assert_eq!(reader.get(b"a").unwrap(), None);
    for (index, value) in [(1, "x"), (2, "y")] {
        commit(store, index, &puts(&["a"], value));
        assert_eq!(reader.get(b"a").unwrap().as_deref(), Some(value.as_bytes()));
    }
}

fn keys(reader: &dyn Read, from: &str, to: &str, limit: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        keys.push(String::from_utf8(key.to_vec()).unwrap());
        Ok(if keys.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    reader.scan(from.as_bytes(), to.as_bytes(), &mut visit).unwrap();
    keys
}

fn scan<S: Store>(store: &S) {
    commit(store, 1, &puts(&["b", "a", "d", "c", "ab"], "1"));
    let frozen = store.snapshot_reader().unwrap();
    let live = store.reader();
    for reader in [&*live as &dyn Read, &*frozen] {
        assert_eq!(keys(reader, "a", "d", 9), ["a", "ab", "b", "c"]);
        assert_eq!(keys(reader, "aa", "zz", 2), ["ab", "b"]);
        assert!(keys(reader, "d", "d", 9).is_empty());
        assert!(keys(reader, "d", "a", 9).is_empty());
        assert!(keys(reader, "e", "z", 9).is_empty());
    }
}

fn nested_read<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a", "b"], "1"));
    let reader = store.reader();
    let mut found = 0;
    let mut visit = |key: &[u8], _: &[u8]| {
        found += usize::from(reader.get(key)?.is_some());
        Ok(ControlFlow::Continue(()))
    };
    reader.scan(b"a", b"z", &mut visit).unwrap();
    assert_eq!(found, 2);
}

fn snapshot_reader<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a", "b"], "1"));
    let reader = store.snapshot_reader().unwrap();
    commit(store, 2, &puts(&["a", "c"], "2"));
    assert_eq!(reader.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(keys(&*reader, "a", "z", 9), ["a", "b"]);
}

/// Between the same position twice, a reader shows exactly the state of that position, whatever is committed meanwhile:
/// how a node tells its state's digest and the index it belongs to.
fn applied_keeps_up<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a"], "1"));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for index in 2..=1_000_u64 {
                commit(store, index, &puts(&["a"], &index.to_string()));
            }
        });
        while !writer.is_finished() {
            let before = store.applied().unwrap().0;
            let shown = store.snapshot_reader().unwrap().get(b"a").unwrap();
            let after = store.applied().unwrap().0;
            if before == after {
                let index = after.expect("something was committed").index.to_string();
                assert_eq!(shown.as_deref(), Some(index.as_bytes()));
            }
        }
    });
}

fn apart<S: Store>(store: &S) {
    super::append(store, 1, 0..=4);
    commit(store, 3, &puts(&["a"], "1"));
    store.truncate_after(Some(log_id(1, 3))).unwrap();
    assert_eq!(live(store), text(&[("a", "1")]));
    store.purge(log_id(1, 2)).unwrap();
    assert_eq!(live(store), text(&[("a", "1")]));
    assert_eq!(super::read(store, 3, 4), [(1, 3)]);
}
