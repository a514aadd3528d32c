//! What the contract says about positions, votes and snapshots, checked the same way by both implementations.

use std::cmp::Ordering;

use pi_raft::store::{LogRecord, StateView};
use pi_raft::types::{LogId, SnapshotMeta, Vote};

use crate::error::{Error, Result};

/// A log position from its parts.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(term.into(), index)
}

/// The term of a log position.
pub(crate) fn term(id: &LogId) -> u64 {
    *id.leader_id
}

/// For messages: `term-index`, or `nothing`.
pub(crate) fn show(id: Option<&LogId>) -> String {
    id.map_or_else(|| "nothing".to_owned(), |id| format!("{}-{}", term(id), id.index))
}

/// Checks that `records` continue a log that ends at `last` (`None`: an empty one that never held anything, which may
/// start anywhere): indexes without a gap, terms that never fall.
pub(crate) fn check_follows(last: Option<&LogId>, records: &[LogRecord]) -> Result<()> {
    let mut before = last.copied();
    for record in records {
        if let Some(before) = &before {
            if record.index != before.index + 1 {
                return Err(Error::refused(format!(
                    "record {} would not follow {}",
                    record.index, before.index
                )));
            }
            if record.term < term(before) {
                return Err(Error::refused(format!(
                    "record {} of term {} would follow one of term {}",
                    record.index,
                    record.term,
                    term(before)
                )));
            }
        }
        before = Some(log_id(record.term, record.index));
    }
    Ok(())
}

/// Checks that `next` may replace `saved`: a lower vote, or another node's in the same term, would be a second vote.
pub(crate) fn check_vote(saved: Option<&Vote>, next: &Vote) -> Result<()> {
    // Votes are ordered in part only: two nodes' votes in one term are neither lower nor higher.
    let may_follow = |saved: &Vote| next.partial_cmp(saved).is_some_and(Ordering::is_ge);
    match saved {
        Some(saved) if !may_follow(saved) => {
            Err(Error::refused(format!("vote {next} would replace {saved}, which is not lower")))
        }
        _ => Ok(()),
    }
}

/// Checks that `from..to` lies within a log whose records are `first..=last`.
pub(crate) fn check_range(first: u64, last: Option<&LogId>, from: u64, to: u64) -> Result<()> {
    let end = last.map_or(first, |last| last.index + 1);
    if from < first || to > end {
        return Err(Error::refused(format!(
            "records {from}..{to} were asked for, the log holds {first}..{end}"
        )));
    }
    Ok(())
}

/// How far a log may be purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PurgeLimit {
    /// Never behind the applied position: what the contract says.
    #[default]
    Applied,
    /// Anywhere: for openraft's own storage suite, which purges what it never applied.
    Unchecked,
}

impl PurgeLimit {
    /// Refuses to purge what the state does not hold yet.
    pub(crate) fn check(self, applied: Option<&LogId>, upto: &LogId) -> Result<()> {
        if self == PurgeLimit::Applied && applied.is_none_or(|applied| applied < upto) {
            return Err(Error::refused(format!(
                "purge up to {} while only {} is applied",
                show(Some(upto)),
                show(applied)
            )));
        }
        Ok(())
    }
}

/// Checks that a commit moves the applied position forward: an entry is applied once.
pub(crate) fn check_advances(before: Option<&LogId>, applied: &LogId) -> Result<()> {
    if before.is_some_and(|before| before.index >= applied.index || term(before) > term(applied)) {
        return Err(Error::refused(format!("commit at {} behind {}", show(Some(applied)), show(before))));
    }
    Ok(())
}

/// Checks that a snapshot does not take the state back.
pub(crate) fn check_install(applied: Option<&LogId>, meta: &SnapshotMeta) -> Result<()> {
    let Some(covered) = &meta.last_log_id else {
        return Err(Error::refused("a snapshot that covers nothing"));
    };
    if applied.is_some_and(|applied| applied > covered) {
        return Err(Error::refused(format!("snapshot at {} behind {}", show(Some(covered)), show(applied))));
    }
    Ok(())
}

/// Whether a view may follow the current snapshot: an older one, frozen before an install, may not.
pub(crate) fn supersedes(current: Option<&dyn StateView>, view: &dyn StateView) -> bool {
    current.is_none_or(|current| current.meta().last_log_id <= view.meta().last_log_id)
}
