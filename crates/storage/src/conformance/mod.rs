//! The contract of [`pi_raft::store`], as tests that every implementation passes.
//!
//! Each case states one promise and gets a fresh store. What a crash leaves is not here: it needs a store that can be
//! opened again.

mod log;
mod snapshots;
mod state;

use std::collections::BTreeMap;

use bytes::Bytes;
use pi_raft::store::{LogRecord, ReceivedSnapshot, StateView, Store};
use pi_raft::types::{LogId, Member, Membership, StoredMembership};
use pi_state::Ops;

use crate::position::log_id;

type Case<S> = (&'static str, fn(&S));

/// Runs every case, each on a store from `make`. Panics at the first broken promise, after naming the case.
pub fn run<S: Store>(make: &dyn Fn() -> S) {
    let cases: Vec<Case<S>> = [log::cases(), state::cases(), snapshots::cases()].concat();
    for (name, case) in cases {
        eprintln!("conformance: {name}");
        case(&make());
    }
}

/// A log record whose entry is recognisable and `bytes` long.
pub(crate) fn record_of(term: u64, index: u64, bytes: usize) -> LogRecord {
    LogRecord { index, term, bytes: Bytes::from(vec![index as u8; bytes]) }
}

pub(crate) fn record(term: u64, index: u64) -> LogRecord {
    record_of(term, index, 10)
}

/// Appends records of `term` at `indexes`.
pub(crate) fn append<S: Store>(store: &S, term: u64, indexes: std::ops::RangeInclusive<u64>) {
    let records: Vec<LogRecord> = indexes.map(|index| record(term, index)).collect();
    store.append(&records).unwrap();
}

/// The indexes and terms of a read.
pub(crate) fn read<S: Store>(store: &S, from: u64, to: u64) -> Vec<(u64, u64)> {
    let records = store.read_log(from, to, usize::MAX).unwrap();
    records.iter().map(|record| (record.term, record.index)).collect()
}

/// Writes that put `value` under each of `keys`.
pub(crate) fn puts(keys: &[&str], value: &str) -> Ops {
    keys.iter().map(|key| (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))).collect()
}

/// A membership of one voter that was set at `at`.
pub(crate) fn membership(at: LogId, voter: u64) -> StoredMembership {
    let member = Member { raft_address: format!("node{voter}:1"), client_address: format!("node{voter}:2") };
    let nodes = BTreeMap::from([(voter, member)]);
    let membership = Membership::new(vec![[voter].into()], nodes).expect("the voter is among the nodes");
    StoredMembership::new(Some(at), membership)
}

/// Commits `ops` at a position of term 1.
pub(crate) fn commit<S: Store>(store: &S, index: u64, ops: &Ops) {
    store.commit(ops, log_id(1, index), &membership(log_id(1, 1), 1)).unwrap();
}

/// All pairs of a view, as text.
pub(crate) fn pairs(view: &dyn StateView) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the suite writes text");
    let mut pairs = Vec::new();
    view.visit(&mut |key, value| {
        pairs.push((text(key), text(value)));
        Ok(())
    })
    .unwrap();
    pairs
}

/// The store's live pairs.
pub(crate) fn live<S: Store>(store: &S) -> Vec<(String, String)> {
    pairs(&*store.freeze().unwrap())
}

pub(crate) fn text(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Sends a view to a store, as two nodes would.
pub(crate) fn send<S: Store>(view: &dyn StateView, to: &S) -> std::io::Result<ReceivedSnapshot> {
    let (keys, digest) = view.totals()?;
    let mut receiver = to.receive()?;
    view.visit(&mut |key, value| receiver.put(key, value))?;
    receiver.finish(view.meta().clone(), keys, digest)
}
