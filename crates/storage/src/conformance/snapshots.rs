//! What the contract says about snapshots.

use std::time::{Duration, Instant};

use pi_raft::store::{ReceivedSnapshot, Store};
use pi_raft::types::{SnapshotMeta, Vote};

use super::{Case, append, commit, live, membership, pairs, puts, read, send, text};
use crate::position::log_id;

/// What the contract allows a freeze to take.
const FREEZE_MAX: Duration = Duration::from_millis(50);

pub(super) fn cases<S: Store>() -> Vec<Case<S>> {
    vec![
        ("a frozen view stays as it was while commits go on", freeze),
        ("a freeze is quick however much is unflushed", freeze_is_quick),
        ("totals count and digest what is visited", totals),
        ("an error of the visitor ends the visit", visitor_error),
        ("the published view is the current snapshot, and the next replaces it", publish),
        ("an older view does not replace a newer snapshot", publish_older),
        ("a received snapshot is invisible before it is installed", invisible),
        ("an installed snapshot replaces the state and leaves vote and log", install),
        ("an installed snapshot is the current one", install_current),
        ("readers and views survive an install", install_under_readers),
        ("commits, purges and a second install follow an install", install_and_go_on),
        ("an empty state can be sent and installed", install_empty),
        ("an older snapshot, or one of nothing, is refused", install_older),
        ("a missing, extra, changed or repeated pair is refused", damaged_streams),
        ("a receiver or a received snapshot that is dropped leaves nothing", dropped),
        ("two snapshots can be received at once", two_at_once),
    ]
}

fn freeze<S: Store>(store: &S) {
    let members = membership(log_id(1, 1), 1);
    store.commit(&puts(&["a", "b"], "1"), log_id(1, 2), &members).unwrap();
    let view = store.freeze().unwrap();
    store.commit(&puts(&["b", "c"], "2"), log_id(2, 3), &membership(log_id(2, 3), 2)).unwrap();
    assert_eq!(*view.meta(), SnapshotMeta { last_log_id: Some(log_id(1, 2)), last_membership: members });
    assert_eq!(pairs(&*view), text(&[("a", "1"), ("b", "1")]));
    assert_eq!(live(store), text(&[("a", "1"), ("b", "2"), ("c", "2")]));
}

fn freeze_is_quick<S: Store>(store: &S) {
    let value = "x".repeat(1_000);
    for index in 1..=20 {
        let keys: Vec<String> = (0..400).map(|key| format!("{index}-{key}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        commit(store, index, &puts(&keys, &value));
    }
    let begun = Instant::now();
    let view = store.freeze().unwrap();
    let took = begun.elapsed();
    eprintln!("conformance: froze 8,000 keys (8 MB) in {took:?}");
    assert!(took < FREEZE_MAX, "{took:?}");
    assert_eq!(view.totals().unwrap().0, 8_000);
}

fn totals<S: Store>(store: &S) {
    let empty = store.freeze().unwrap().totals().unwrap();
    assert_eq!(empty.0, 0);
    commit(store, 1, &puts(&["a", "b"], "1"));
    let one = store.freeze().unwrap().totals().unwrap();
    commit(store, 2, &puts(&["b"], "2"));
    let two = store.freeze().unwrap().totals().unwrap();
    commit(store, 3, &puts(&["b"], "1"));
    let again = store.freeze().unwrap().totals().unwrap();
    assert_eq!((one.0, two.0), (2, 2));
    assert_ne!(one.1, two.1);
    assert_eq!(one, again);
}

fn visitor_error<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a", "b"], "1"));
    let mut visited = 0;
    let result = store.freeze().unwrap().visit(&mut |_, _| {
        visited += 1;
        Err(std::io::Error::other("enough"))
    });
    assert_eq!((result.unwrap_err().to_string().as_str(), visited), ("enough", 1));
}

fn publish<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a"], "1"));
    store.publish(store.freeze().unwrap()).unwrap();
    commit(store, 2, &puts(&["a"], "2"));
    let first = store.current().unwrap().unwrap();
    assert_eq!(first.meta().last_log_id, Some(log_id(1, 1)));
    store.publish(store.freeze().unwrap()).unwrap();
    let second = store.current().unwrap().unwrap();
    assert_eq!(second.meta().last_log_id, Some(log_id(1, 2)));
    // Who is still sending the first one is not disturbed.
    assert_eq!(pairs(&*first), text(&[("a", "1")]));
    assert_eq!(pairs(&*second), text(&[("a", "2")]));
}

fn publish_older<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a"], "1"));
    let older = store.freeze().unwrap();
    commit(store, 2, &puts(&["a"], "2"));
    store.publish(store.freeze().unwrap()).unwrap();
    store.publish(older).unwrap();
    assert_eq!(store.current().unwrap().unwrap().meta().last_log_id, Some(log_id(1, 2)));
}

/// A complete snapshot of `entries` at a position, as another node would have sent it.
fn snapshot<S: Store>(store: &S, at: (u64, u64), entries: &[(&str, &str)]) -> ReceivedSnapshot {
    let at = log_id(at.0, at.1);
    let meta = SnapshotMeta { last_log_id: Some(at), last_membership: membership(at, 7) };
    let scratch = Scratch { meta, entries };
    let (keys, digest) = scratch.totals();
    let mut receiver = store.receive().unwrap();
    for (key, value) in entries {
        receiver.put(key.as_bytes(), value.as_bytes()).unwrap();
    }
    receiver.finish(scratch.meta, keys, digest).unwrap()
}

/// What another node would announce for these pairs.
struct Scratch<'a> {
    meta: SnapshotMeta,
    entries: &'a [(&'a str, &'a str)],
}

impl Scratch<'_> {
    fn totals(&self) -> (u64, [u8; 16]) {
        let mut digest = crate::digest::PairsDigest::new();
        self.entries.iter().for_each(|(key, value)| digest.add(key.as_bytes(), value.as_bytes()));
        digest.totals()
    }
}

fn invisible<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a"], "1"));
    let received = snapshot(store, (1, 5), &[("b", "2")]);
    assert_eq!(live(store), text(&[("a", "1")]));
    assert_eq!(store.applied().unwrap().0, Some(log_id(1, 1)));
    commit(store, 2, &puts(&["a"], "2"));
    drop(received);
    assert_eq!(live(store), text(&[("a", "2")]));
}

fn install<S: Store>(store: &S) {
    append(store, 1, 0..=4);
    store.save_vote(&Vote::new_committed(3, 2)).unwrap();
    store.save_committed(Some(log_id(1, 2))).unwrap();
    commit(store, 2, &puts(&["a", "b"], "1"));
    store.install(snapshot(store, (2, 9), &[("b", "x"), ("c", "y")])).unwrap();
    assert_eq!(live(store), text(&[("b", "x"), ("c", "y")]));
    assert_eq!(store.applied().unwrap(), (Some(log_id(2, 9)), membership(log_id(2, 9), 7)));
    assert_eq!(read(store, 0, 5).len(), 5);
    assert_eq!(store.log_bounds().unwrap().purged, None);
    assert_eq!(store.read_vote().unwrap(), Some(Vote::new_committed(3, 2)));
    assert_eq!(store.read_committed().unwrap(), Some(log_id(1, 2)));
}

fn install_current<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a"], "1"));
    let older = store.freeze().unwrap();
    store.publish(store.freeze().unwrap()).unwrap();
    store.install(snapshot(store, (1, 5), &[("b", "2")])).unwrap();
    let current = store.current().unwrap().unwrap();
    assert_eq!(current.meta().last_log_id, Some(log_id(1, 5)));
    assert_eq!(pairs(&*current), text(&[("b", "2")]));
    // A view that was being built when the snapshot came.
    store.publish(older).unwrap();
    assert_eq!(store.current().unwrap().unwrap().meta().last_log_id, Some(log_id(1, 5)));
}

fn install_under_readers<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a"], "1"));
    let (reader, frozen) = (store.reader(), store.snapshot_reader().unwrap());
    let view = store.freeze().unwrap();
    store.install(snapshot(store, (1, 5), &[("b", "2")])).unwrap();
    assert_eq!((reader.get(b"a").unwrap(), reader.get(b"b").unwrap()), (None, Some(b"2".to_vec())));
    assert_eq!((frozen.get(b"a").unwrap(), frozen.get(b"b").unwrap()), (Some(b"1".to_vec()), None));
    assert_eq!(pairs(&*view), text(&[("a", "1")]));
    assert_eq!(view.totals().unwrap().0, 1);
}

fn install_and_go_on<S: Store>(store: &S) {
    append(store, 1, 0..=4);
    store.install(snapshot(store, (2, 9), &[("b", "x")])).unwrap();
    store.purge(log_id(2, 9)).unwrap();
    append(store, 2, 10..=11);
    store.commit(&puts(&["c"], "y"), log_id(2, 10), &Default::default()).unwrap();
    assert_eq!(live(store), text(&[("b", "x"), ("c", "y")]));
    store.install(snapshot(store, (3, 20), &[("d", "z")])).unwrap();
    assert_eq!(live(store), text(&[("d", "z")]));
    assert_eq!(read(store, 10, 12), [(2, 10), (2, 11)]);
    store.install(send(&*store.freeze().unwrap(), store).unwrap()).unwrap();
    assert_eq!(live(store), text(&[("d", "z")]));
}

fn install_empty<S: Store>(store: &S) {
    commit(store, 1, &puts(&["a"], "1"));
    store.install(snapshot(store, (1, 5), &[])).unwrap();
    assert!(live(store).is_empty());
    assert_eq!(store.applied().unwrap().0, Some(log_id(1, 5)));
    commit(store, 6, &puts(&["a"], "2"));
    assert_eq!(live(store), text(&[("a", "2")]));
}

fn install_older<S: Store>(store: &S) {
    commit(store, 5, &puts(&["a"], "1"));
    store.install(snapshot(store, (1, 4), &[("b", "2")])).unwrap_err();
    let nothing = store.receive().unwrap();
    let (keys, digest) = Scratch { meta: SnapshotMeta::default(), entries: &[] }.totals();
    store.install(nothing.finish(SnapshotMeta::default(), keys, digest).unwrap()).unwrap_err();
    assert_eq!(live(store), text(&[("a", "1")]));
    assert_eq!(store.applied().unwrap().0, Some(log_id(1, 5)));
    commit(store, 6, &puts(&["a"], "2"));
}

fn damaged_streams<S: Store>(store: &S) {
    let sent = [("a", "1"), ("b", "2"), ("c", "3")];
    let meta = SnapshotMeta { last_log_id: Some(log_id(1, 5)), ..SnapshotMeta::default() };
    let (keys, digest) = Scratch { meta: meta.clone(), entries: &sent }.totals();
    let arrived: [&[(&str, &str)]; 5] = [
        &[],
        &sent[..2],
        &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")],
        &[("a", "1"), ("b", "2"), ("c", "4")],
        &[("a", "1"), ("b2", ""), ("c", "3")],
    ];
    for pairs in arrived {
        let mut receiver = store.receive().unwrap();
        pairs.iter().for_each(|(key, value)| receiver.put(key.as_bytes(), value.as_bytes()).unwrap());
        receiver.finish(meta.clone(), keys, digest).unwrap_err();
    }
    for second in ["a", "b"] {
        let mut receiver = store.receive().unwrap();
        receiver.put(b"b", b"").unwrap();
        receiver.put(second.as_bytes(), b"").unwrap_err();
    }
    assert!(live(store).is_empty());
    assert_eq!(store.applied().unwrap(), Default::default());
}

fn dropped<S: Store>(store: &S) {
    let mut receiver = store.receive().unwrap();
    receiver.put(b"a", b"1").unwrap();
    drop(receiver);
    let received = snapshot(store, (1, 5), &[("b", "2")]);
    let dir = received.dir.clone();
    assert!(dir.as_ref().is_none_or(|dir| dir.is_dir()));
    drop(received);
    assert!(dir.as_ref().is_none_or(|dir| !dir.exists()));
    let incoming = dir.as_deref().and_then(|dir| dir.parent());
    assert!(incoming.is_none_or(|incoming| std::fs::read_dir(incoming).unwrap().count() == 0));
    let received = snapshot(store, (1, 5), &[("b", "2")]);
    let dir = received.dir.clone();
    store.install(received).unwrap();
    assert!(dir.is_none_or(|dir| !dir.exists()));
}

fn two_at_once<S: Store>(store: &S) {
    let meta = |index| SnapshotMeta { last_log_id: Some(log_id(1, index)), ..SnapshotMeta::default() };
    let (mut first, mut second) = (store.receive().unwrap(), store.receive().unwrap());
    first.put(b"a", b"1").unwrap();
    second.put(b"b", b"2").unwrap();
    let finish = |receiver: Box<dyn pi_raft::store::StateReceiver>, index, entries: &[(&str, &str)]| {
        let (keys, digest) = Scratch { meta: meta(index), entries }.totals();
        receiver.finish(meta(index), keys, digest).unwrap()
    };
    let first = finish(first, 5, &[("a", "1")]);
    let second = finish(second, 6, &[("b", "2")]);
    store.install(first).unwrap();
    assert_eq!(live(store), text(&[("a", "1")]));
    store.install(second).unwrap();
    assert_eq!(live(store), text(&[("b", "2")]));
}
