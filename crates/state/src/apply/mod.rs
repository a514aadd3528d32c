//! Applies committed entries: the only place where the state changes.
//!
//! A [`Txn`] takes any number of entries in log order, each of which sees the ones before it, and ends as one batch of
//! writes. What an entry does is a function of the state and the entry, and so is the answer; how entries are grouped
//! into transactions makes no difference to either.
//!
//! The way of a command, and what each step leaves to the next:
//! 1. `enter`: the index moves on.
//! 2. [`requests`]: refuse what is too old or from the future; then the log's time moves on, what is old is evicted, and
//!    it is decided whether the request may run or was answered before.
//! 3. [`secrets`] or [`quota`]: the change itself, or why not.
//! 4. [`requests`] again: remember the answer.

mod feed;
mod quota;
mod requests;
mod secrets;
mod tenants;

use std::collections::BTreeSet;

use pi_types::TenantId;

use crate::command::{Command, CommandKind};
use crate::digest::Digest;
use crate::keys::header::{self, Header};
use crate::overlay::Overlay;
use crate::response::{Outcome, Response};
use crate::store::{Fatal, Ops, Read};
use requests::Admission;
use tenants::Tenants;

/// A batch of committed entries on its way into the state.
pub struct Txn<'a> {
    base: &'a dyn Read,
    overlay: Overlay<'a>,
    tenants: Tenants,
    header: Header,
    header_before: Header,
    /// The last index that was applied or skipped here.
    last_index: Option<u64>,
    touched: BTreeSet<TenantId>,
}

/// The end of a transaction.
#[derive(Debug)]
pub struct Applied {
    /// The writes, the header among them.
    pub ops: Ops,
    /// Tenants whose feeds have new events, each once, in order.
    pub touched: Vec<TenantId>,
    /// The header as the writes leave it.
    pub header: Header,
}

impl<'a> Txn<'a> {
    /// Begins a transaction on a state that must not change until its writes are committed.
    pub fn begin(base: &'a dyn Read) -> Result<Txn<'a>, Fatal> {
        let header = Header::read(base)?;
        Ok(Txn {
            base,
            overlay: Overlay::new(base),
            tenants: Tenants::default(),
            header_before: header.clone(),
            header,
            last_index: None,
            touched: BTreeSet::new(),
        })
    }

    /// Applies the command at a log index. A command that is refused is an answer; an error means that this replica
    /// must stop, and that the transaction must not be committed.
    pub fn apply(&mut self, index: u64, command: &Command) -> Result<Response, Fatal> {
        let revision = self.enter(index)?;
        if revision == self.header.revision {
            return Err(Fatal::Command { index, why: "it was applied before".to_owned() });
        }
        if let Some(reject) = self.keep_time(command) {
            return Ok(self.respond(Outcome::Rejected(reject)));
        }
        self.evict_requests()?;
        match self.admit(command)? {
            Admission::Answered(response) => Ok(response),
            Admission::Refused(reject) => Ok(self.respond(Outcome::Rejected(reject))),
            Admission::New => {
                let outcome = self.decide(revision, command)?;
                let remember = !matches!(outcome, Outcome::Reseal { .. });
                let response = self.respond(outcome);
                if remember {
                    self.remember(command, &response)?;
                }
                Ok(response)
            }
        }
    }

    /// Passes over an entry that is no command (a blank or a membership) and changes nothing here.
    pub fn skip(&mut self, index: u64) -> Result<Response, Fatal> {
        self.enter(index)?;
        Ok(self.respond(Outcome::Blank))
    }

    /// The region's revision after the entries so far.
    pub fn revision(&self) -> u64 {
        self.header.revision
    }

    /// Ends the transaction.
    pub fn finish(mut self) -> Result<Applied, Fatal> {
        self.tenants.flush(&mut self.overlay)?;
        let mut digest = Digest::from_bytes(self.header.digest);
        let mut ops = self.overlay.finish(&mut digest);
        self.header.digest = digest.to_bytes();
        if self.header != self.header_before {
            ops.insert(header::KEY.to_vec(), Some(self.header.encode()));
        }
        Ok(Applied { ops, touched: self.touched.into_iter().collect(), header: self.header })
    }

    /// Moves on to the entry at `index` and returns the revision it will have if it changes something.
    ///
    /// An entry from before the last change was applied before, or the log was exchanged under the state: applying it
    /// would break every promise made with a revision.
    fn enter(&mut self, index: u64) -> Result<u64, Fatal> {
        let error = |why: &str| Fatal::Command { index, why: why.to_owned() };
        if self.last_index.is_some_and(|last| index <= last) {
            return Err(error("its index is not above the one before it"));
        }
        let revision = self.header.revision_base.checked_add(index);
        let revision = revision.ok_or_else(|| error("its revision exceeds 64 bits"))?;
        if revision < self.header.revision {
            return Err(error("its revision is below the state's"));
        }
        self.last_index = Some(index);
        Ok(revision)
    }

    fn decide(&mut self, revision: u64, command: &Command) -> Result<Outcome, Fatal> {
        match &command.kind {
            CommandKind::CreateSecret { namespace, name, labels, annotations, payload } => {
                let place = secrets::Place { tenant: &command.tenant, namespace, name };
                self.create_secret(revision, place, labels, annotations, payload)
            }
            CommandKind::UpdateSecret {
                namespace,
                name,
                payload,
                equal_to,
                labels,
                annotations,
                expect_uid,
                expect_revision,
            } => {
                let place = secrets::Place { tenant: &command.tenant, namespace, name };
                let expect = secrets::Expect { uid: *expect_uid, revision: *expect_revision };
                let change = secrets::Update {
                    payload: payload.as_ref(),
                    equal_to: *equal_to,
                    labels: labels.as_ref(),
                    annotations: annotations.as_ref(),
                };
                self.update_secret(revision, place, expect, change)
            }
            CommandKind::DeleteSecret { namespace, name, expect_uid, expect_revision } => {
                let place = secrets::Place { tenant: &command.tenant, namespace, name };
                let expect = secrets::Expect { uid: *expect_uid, revision: *expect_revision };
                self.delete_secret(revision, place, expect)
            }
            CommandKind::SetQuota { secrets_max } => self.set_quota(revision, &command.tenant, *secrets_max),
        }
    }

    /// Marks that this entry changed something a user sees.
    fn move_revision(&mut self, revision: u64) {
        assert!(revision > self.header.revision, "the revision only moves up");
        self.header.revision = revision;
    }

    fn respond(&self, outcome: Outcome) -> Response {
        Response { revision: self.header.revision, replayed: false, outcome }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryState;
    use crate::query::{self, TooOld};

    /// A restored region counts log indexes from the start again and revisions from its base: they go on upwards, and
    /// a watch from before must list anew.
    #[test]
    fn a_base_lifts_revisions_above_those_of_an_earlier_life() {
        let base = Header { revision: 1_000, revision_base: 1_000, ..Header::default() };
        let state: MemoryState = [(header::KEY.to_vec(), base.encode())].into_iter().collect();
        let tenant: TenantId = "acme".parse().unwrap();
        let mut txn = Txn::begin(&state).unwrap();
        assert_eq!(txn.skip(0).unwrap().revision, 1_000);
        let mut id = [0; 16];
        (id[6], id[8]) = (0x70, 0x80);
        let set_quota = Command {
            time_ms: 0,
            tenant: tenant.clone(),
            principal: "olga".parse().unwrap(),
            request_id: pi_types::RequestId::from_bytes(&id).unwrap(),
            kind: CommandKind::SetQuota { secrets_max: 3 },
        };
        assert_eq!(txn.apply(1, &set_quota).unwrap().revision, 1_001);
        assert_eq!(txn.finish().unwrap().header.revision, 1_001);
        assert_eq!(query::changes(&state, &tenant, 70, 10).unwrap(), Err(TooOld { oldest: 1_000 }));
        assert_eq!(query::changes(&state, &tenant, 1_000, 10).unwrap(), Ok(vec![]));
    }

    #[test]
    fn a_revision_beyond_64_bits_stops_the_node() {
        let base = Header { revision_base: u64::MAX, ..Header::default() };
        let state: MemoryState = [(header::KEY.to_vec(), base.encode())].into_iter().collect();
        assert!(matches!(Txn::begin(&state).unwrap().skip(1), Err(Fatal::Command { index: 1, .. })));
    }
}
