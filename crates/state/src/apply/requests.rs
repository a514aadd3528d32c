//! Idempotency: which requests may run, what was answered before, and how long that is remembered.
//!
//! A request id carries its own time (UUIDv7), and the rules depend on that time and the log's only:
//! - The time to judge by is the log's or the proposer's, whichever is later.
//! - Older than [`REQUEST_AGE_MS_MAX`] or further ahead than [`REQUEST_AHEAD_MS_MAX`]: refused, whatever is remembered.
//!   So a request that was forgotten can never run a second time. Such a command changes nothing, the log's time
//!   included: a proposer's clock counts only when the request's own time confirms it.
//! - Within: remembered, and never evicted before it is too old.
//!
//! Eviction is bounded work per entry and faster than growth: an entry adds at most one request and may remove
//! [`EVICTED_PER_ENTRY`]. It goes over all tenants in order of age, so that also the requests of tenants that never
//! come back go away. A tenant whose table is full gets its own old requests evicted first, so that its answer does
//! not depend on how far the eviction over all tenants has come.

use pi_types::limits::{REQUEST_AGE_MS_MAX, REQUEST_AHEAD_MS_MAX, REQUESTS_PER_TENANT_MAX};

use super::Txn;
use crate::command::Command;
use crate::keys::request::{self, RequestKey, Target};
use crate::keys::{Range, expiry, tenant};
use crate::response::{Reject, Response};
use crate::store::Fatal;

/// How many old requests one entry evicts at most: more than the one it may add, few enough to cost little.
const EVICTED_PER_ENTRY: usize = 8;

/// How much too old the oldest request must be before eviction starts, in milliseconds. On a busy region a lot is then
/// old at once, so that it looks once for every [`EVICTED_PER_ENTRY`] it evicts and not for each.
const EVICTION_SLACK_MS: i64 = 1_000;

/// No remembered request has this id: a UUIDv7 is never all ones.
const NOTHING_REMEMBERED: [u8; 16] = [u8::MAX; 16];

const _: () = assert!(EVICTED_PER_ENTRY > 1, "the table must shrink faster than it grows");

/// What the request table says to a command.
pub(super) enum Admission {
    /// The request is new and may run.
    New,
    /// It ran before; this was the answer.
    Answered(Response),
    /// It may not run; not remembered.
    Refused(Reject),
}

impl Txn<'_> {
    /// Moves the log's time on to the command's, unless the request lies outside the window under that time: then
    /// returns why, and nothing has moved. So one proposer's clock that is far ahead refuses what goes through it, and
    /// leaves no mark for the proposers after it.
    pub(super) fn keep_time(&mut self, command: &Command) -> Option<Reject> {
        let time_ms = self.header.log_time_ms.max(command.time_ms);
        let age_ms = age_ms(time_ms, command.request_id.as_bytes());
        if age_ms > REQUEST_AGE_MS_MAX {
            return Some(Reject::RequestTooOld { age_ms });
        }
        if age_ms < -REQUEST_AHEAD_MS_MAX {
            return Some(Reject::RequestFromFuture { ahead_ms: age_ms.saturating_neg() });
        }
        self.header.log_time_ms = time_ms;
        None
    }

    /// Evicts requests that are too old, oldest first, once some of them have been so for a while.
    pub(super) fn evict_requests(&mut self) -> Result<(), Fatal> {
        if age_ms(self.header.log_time_ms, &self.header.requests_from)
            <= REQUEST_AGE_MS_MAX + EVICTION_SLACK_MS
        {
            return Ok(());
        }
        let found =
            self.overlay.scan(&expiry::range_from(&self.header.requests_from), EVICTED_PER_ENTRY + 1)?;
        let mut first_kept = NOTHING_REMEMBERED;
        for (position, (key, _)) in found.iter().enumerate() {
            let request = expiry::decode_key(key)?;
            let id = request.request_id.as_bytes();
            if position == EVICTED_PER_ENTRY || !self.is_too_old(id) {
                first_kept = *id;
                break;
            }
            self.forget(&request)?;
        }
        assert!(first_kept >= self.header.requests_from, "nothing is remembered below where eviction starts");
        self.header.requests_from = first_kept;
        Ok(())
    }

    /// Decides whether a request inside the window may run.
    pub(super) fn admit(&mut self, command: &Command) -> Result<Admission, Fatal> {
        let Command { tenant, principal, request_id, .. } = command;
        let key = request::key(tenant, request_id, principal);
        if let Some(value) = self.overlay.get(key)? {
            // The key again: the lookup took the first one.
            let key = request::key(tenant, request_id, principal);
            let (target, response) = request::decode(&key, value)?;
            return Ok(if target == Target::of(&command.kind) {
                Admission::Answered(Response { replayed: true, ..response })
            } else {
                Admission::Refused(Reject::RequestReused)
            });
        }
        if self.tenants.load(self.base, tenant)?.requests >= REQUESTS_PER_TENANT_MAX {
            self.evict_requests_of(command)?;
            if self.tenants.load(self.base, tenant)?.requests >= REQUESTS_PER_TENANT_MAX {
                return Ok(Admission::Refused(Reject::RequestTableFull));
            }
        }
        Ok(Admission::New)
    }

    /// Remembers the answer to a command that was admitted as new.
    pub(super) fn remember(&mut self, command: &Command, response: &Response) -> Result<(), Fatal> {
        let Command { tenant, principal, request_id, .. } = command;
        let value = request::encode(Target::of(&command.kind), response);
        self.overlay.write_known(request::key(tenant, request_id, principal), None, Some(value))?;
        self.overlay.write_known(expiry::key(request_id, tenant, principal), None, Some(Vec::new()))?;
        let record = self.tenants.load(self.base, tenant)?;
        record.requests += 1;
        assert!(record.requests <= REQUESTS_PER_TENANT_MAX, "a full table admits nothing");
        let from = &mut self.header.requests_from;
        *from = (*from).min(*request_id.as_bytes());
        Ok(())
    }

    /// Evicts old requests of the command's tenant only.
    fn evict_requests_of(&mut self, command: &Command) -> Result<(), Fatal> {
        let range: Range = request::range_from(&command.tenant, &self.header.requests_from);
        for (key, _) in self.overlay.scan(&range, EVICTED_PER_ENTRY)? {
            let request = request::decode_key(&key)?;
            if !self.is_too_old(request.request_id.as_bytes()) {
                break;
            }
            self.forget(&request)?;
        }
        Ok(())
    }

    fn forget(&mut self, request: &RequestKey) -> Result<(), Fatal> {
        let RequestKey { tenant, request_id, principal } = request;
        let record = self.tenants.load(self.base, tenant)?;
        record.requests = record.requests.checked_sub(1).ok_or_else(|| {
            Fatal::corrupt(&tenant::key(tenant), "a tenant has more remembered requests than it counts")
        })?;
        self.overlay.write(request::key(tenant, request_id, principal), None)?;
        self.overlay.write_known(expiry::key(request_id, tenant, principal), Some(Vec::new()), None)
    }

    /// Whether a request with this id would be refused as too old.
    fn is_too_old(&self, id: &[u8; 16]) -> bool {
        age_ms(self.header.log_time_ms, id) > REQUEST_AGE_MS_MAX
    }
}

/// How far a request id lies behind `time_ms`, in milliseconds; negative when ahead.
fn age_ms(time_ms: i64, id: &[u8; 16]) -> i64 {
    let [a, b, c, d, e, f, ..] = *id;
    time_ms.saturating_sub(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}
