//! What the contract says about log and vote.

use pi_raft::store::{LogBounds, Store};
use pi_raft::types::Vote;

use super::{Case, append, commit, read, record, record_of};
use crate::position::log_id;

pub(super) fn cases<S: Store>() -> Vec<Case<S>> {
    vec![
        ("an empty store has nothing", empty),
        ("what was appended is read back", append_and_read),
        ("an append of nothing is fine", append_nothing),
        ("a gap is refused and changes nothing", no_gap),
        ("a repeated index is refused", no_repetition),
        ("a falling term is refused", no_falling_term),
        ("a read beyond the log is an error, not a shorter answer", read_outside),
        ("a read stops behind the byte limit, after at least one record", read_cap),
        ("truncation removes what is behind, and the log goes on there", truncate),
        ("truncation to nothing empties the log", truncate_all),
        ("truncation behind the end does nothing", truncate_beyond),
        ("truncation at an unknown position is refused", truncate_unknown),
        ("truncation keeps what was purged", truncate_to_purged),
        ("a purge removes the front and is remembered", purge),
        ("a purge of everything leaves bounds and the next index", purge_all),
        ("a purge behind the applied position is refused", purge_unapplied),
        ("a purge that was done is done", purge_again),
        ("a purge beyond the end moves the log", purge_beyond),
        ("a purge at another history's entry removes all of this one", purge_other_history),
        ("a vote is saved", vote),
        ("a lower vote, or a second one in a term, is refused", vote_monotone),
        ("the committed position is saved, and may be unset", committed),
    ]
}

fn empty<S: Store>(store: &S) {
    assert_eq!(store.log_bounds().unwrap(), LogBounds::default());
    assert_eq!(store.read_vote().unwrap(), None);
    assert_eq!(store.read_committed().unwrap(), None);
    assert_eq!(store.applied().unwrap(), Default::default());
    assert!(store.current().unwrap().is_none());
    assert!(store.read_log(0, 0, 1).unwrap().is_empty());
    assert!(store.free_bytes().unwrap() > 0);
}

fn append_and_read<S: Store>(store: &S) {
    append(store, 1, 0..=2);
    append(store, 2, 3..=4);
    assert_eq!(store.log_bounds().unwrap(), LogBounds { purged: None, last: Some(log_id(2, 4)) });
    assert_eq!(read(store, 0, 5), [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4)]);
    assert_eq!(read(store, 2, 4), [(1, 2), (2, 3)]);
    assert_eq!(store.read_log(3, 4, 0).unwrap()[0].bytes, record(2, 3).bytes);
}

fn append_nothing<S: Store>(store: &S) {
    store.append(&[]).unwrap();
    append(store, 1, 0..=1);
    store.append(&[]).unwrap();
    assert_eq!(read(store, 0, 2).len(), 2);
}

fn no_gap<S: Store>(store: &S) {
    append(store, 1, 0..=2);
    store.append(&[record(1, 4)]).unwrap_err();
    store.append(&[record(1, 3), record(1, 5)]).unwrap_err();
    assert_eq!(store.log_bounds().unwrap().last, Some(log_id(1, 2)));
    append(store, 1, 3..=3);
    assert_eq!(read(store, 0, 4).len(), 4);
}

fn no_repetition<S: Store>(store: &S) {
    append(store, 1, 0..=2);
    store.append(&[record(1, 2)]).unwrap_err();
    store.append(&[record(1, 3), record(1, 3)]).unwrap_err();
    assert_eq!(store.log_bounds().unwrap().last, Some(log_id(1, 2)));
}

fn no_falling_term<S: Store>(store: &S) {
    append(store, 2, 0..=2);
    store.append(&[record(1, 3)]).unwrap_err();
}

fn read_outside<S: Store>(store: &S) {
    store.read_log(0, 1, 1).unwrap_err();
    append(store, 1, 0..=5);
    commit(store, 5, &Default::default());
    store.purge(log_id(1, 2)).unwrap();
    store.read_log(2, 4, 1_000).unwrap_err();
    store.read_log(3, 7, 1_000).unwrap_err();
    assert_eq!(read(store, 3, 6).len(), 3);
    assert!(read(store, 9, 3).is_empty());
}

fn read_cap<S: Store>(store: &S) {
    let records: Vec<_> = (0..4).map(|index| record_of(1, index, 100)).collect();
    store.append(&records).unwrap();
    let count = |bytes_max| store.read_log(0, 4, bytes_max).unwrap().len();
    assert_eq!([0, 1, 99, 100, 199, 200, 399, 400].map(count), [1, 1, 1, 1, 1, 2, 3, 4]);
}

fn truncate<S: Store>(store: &S) {
    append(store, 1, 0..=5);
    store.truncate_after(Some(log_id(1, 2))).unwrap();
    assert_eq!(store.log_bounds().unwrap().last, Some(log_id(1, 2)));
    store.read_log(0, 4, 1_000).unwrap_err();
    append(store, 3, 3..=4);
    assert_eq!(read(store, 0, 5), [(1, 0), (1, 1), (1, 2), (3, 3), (3, 4)]);
}

fn truncate_all<S: Store>(store: &S) {
    store.truncate_after(None).unwrap();
    append(store, 1, 0..=5);
    store.truncate_after(None).unwrap();
    assert_eq!(store.log_bounds().unwrap(), LogBounds::default());
    append(store, 2, 0..=1);
    assert_eq!(read(store, 0, 2), [(2, 0), (2, 1)]);
}

fn truncate_beyond<S: Store>(store: &S) {
    append(store, 1, 0..=3);
    store.truncate_after(Some(log_id(1, 3))).unwrap();
    store.truncate_after(Some(log_id(1, 9))).unwrap();
    assert_eq!(read(store, 0, 4).len(), 4);
}

fn truncate_unknown<S: Store>(store: &S) {
    append(store, 2, 0..=5);
    store.truncate_after(Some(log_id(1, 3))).unwrap_err();
    commit(store, 1, &Default::default());
    store.commit(&Default::default(), log_id(2, 4), &Default::default()).unwrap();
    store.purge(log_id(2, 3)).unwrap();
    store.truncate_after(Some(log_id(2, 2))).unwrap_err();
    assert_eq!(read(store, 4, 6).len(), 2);
}

fn truncate_to_purged<S: Store>(store: &S) {
    append(store, 1, 0..=5);
    commit(store, 3, &Default::default());
    store.purge(log_id(1, 2)).unwrap();
    store.truncate_after(Some(log_id(1, 2))).unwrap();
    assert_eq!(
        store.log_bounds().unwrap(),
        LogBounds { purged: Some(log_id(1, 2)), last: Some(log_id(1, 2)) }
    );
    append(store, 2, 3..=4);
    store.truncate_after(None).unwrap();
    assert_eq!(store.log_bounds().unwrap().last, Some(log_id(1, 2)));
    append(store, 3, 3..=3);
    assert_eq!(read(store, 3, 4), [(3, 3)]);
}

fn purge<S: Store>(store: &S) {
    append(store, 1, 0..=5);
    commit(store, 4, &Default::default());
    store.purge(log_id(1, 1)).unwrap();
    store.purge(log_id(1, 3)).unwrap();
    assert_eq!(
        store.log_bounds().unwrap(),
        LogBounds { purged: Some(log_id(1, 3)), last: Some(log_id(1, 5)) }
    );
    assert_eq!(read(store, 4, 6), [(1, 4), (1, 5)]);
    append(store, 1, 6..=6);
    assert_eq!(read(store, 4, 7).len(), 3);
}

fn purge_all<S: Store>(store: &S) {
    append(store, 1, 0..=5);
    commit(store, 5, &Default::default());
    store.purge(log_id(1, 5)).unwrap();
    let everything = Some(log_id(1, 5));
    assert_eq!(store.log_bounds().unwrap(), LogBounds { purged: everything, last: everything });
    store.append(&[record(1, 5)]).unwrap_err();
    store.append(&[record(1, 7)]).unwrap_err();
    append(store, 1, 6..=7);
    assert_eq!(read(store, 6, 8), [(1, 6), (1, 7)]);
}

fn purge_unapplied<S: Store>(store: &S) {
    append(store, 1, 0..=5);
    store.purge(log_id(1, 0)).unwrap_err();
    commit(store, 3, &Default::default());
    store.purge(log_id(1, 4)).unwrap_err();
    assert_eq!(store.log_bounds().unwrap().purged, None);
    assert_eq!(read(store, 0, 6).len(), 6);
    store.purge(log_id(1, 3)).unwrap();
}

fn purge_again<S: Store>(store: &S) {
    append(store, 1, 0..=5);
    commit(store, 5, &Default::default());
    store.purge(log_id(1, 3)).unwrap();
    store.purge(log_id(1, 3)).unwrap();
    store.purge(log_id(1, 2)).unwrap();
    assert_eq!(store.log_bounds().unwrap().purged, Some(log_id(1, 3)));
    assert_eq!(read(store, 4, 6).len(), 2);
}

fn purge_beyond<S: Store>(store: &S) {
    append(store, 1, 0..=5);
    commit(store, 9, &Default::default());
    store.purge(log_id(1, 9)).unwrap();
    let moved = Some(log_id(1, 9));
    assert_eq!(store.log_bounds().unwrap(), LogBounds { purged: moved, last: moved });
    append(store, 2, 10..=11);
    assert_eq!(read(store, 10, 12), [(2, 10), (2, 11)]);
}

fn purge_other_history<S: Store>(store: &S) {
    append(store, 1, 0..=9);
    store.commit(&Default::default(), log_id(2, 5), &Default::default()).unwrap();
    store.purge(log_id(2, 5)).unwrap();
    let moved = Some(log_id(2, 5));
    assert_eq!(store.log_bounds().unwrap(), LogBounds { purged: moved, last: moved });
    append(store, 2, 6..=7);
    assert_eq!(read(store, 6, 8), [(2, 6), (2, 7)]);
}

fn vote<S: Store>(store: &S) {
    for vote in [Vote::new(1, 1), Vote::new_committed(1, 1), Vote::new(2, 3), Vote::new(2, 3)] {
        store.save_vote(&vote).unwrap();
        assert_eq!(store.read_vote().unwrap(), Some(vote));
    }
}

fn vote_monotone<S: Store>(store: &S) {
    store.save_vote(&Vote::new_committed(5, 2)).unwrap();
    for lower in
        [Vote::new(4, 3), Vote::new_committed(4, 3), Vote::new(5, 2), Vote::new(5, 3), Vote::new(5, 1)]
    {
        store.save_vote(&lower).unwrap_err();
    }
    assert_eq!(store.read_vote().unwrap(), Some(Vote::new_committed(5, 2)));
    store.save_vote(&Vote::new(6, 1)).unwrap();
    store.save_vote(&Vote::new(6, 2)).unwrap_err();
}

fn committed<S: Store>(store: &S) {
    store.save_committed(Some(log_id(1, 4))).unwrap();
    assert_eq!(store.read_committed().unwrap(), Some(log_id(1, 4)));
    store.save_committed(Some(log_id(2, 5))).unwrap();
    assert_eq!(store.read_committed().unwrap(), Some(log_id(2, 5)));
    store.save_committed(None).unwrap();
    assert_eq!(store.read_committed().unwrap(), None);
}
