//! Holds a state against its invariants: for tests, for the simulation, and for whoever doubts a disk.
//!
//! One pass over each kind of key, looking up what it must agree with; in memory are only counts, those of one tenant
//! at a time.

use std::ops::ControlFlow;

use pi_types::limits::{FEED_EVENTS_PER_TENANT_MAX, PAYLOAD_BYTES_MAX, REQUESTS_PER_TENANT_MAX};

use crate::keys::header::{self, Header};
use crate::keys::tenant::Tenant;
use crate::keys::{self, Range, expiry, feed, payload, request, secret, tenant};
use crate::query::verify_digest;
use crate::store::{Fatal, Read};

/// How many keys of each kind a state has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Tenants with a record.
    pub tenants: u64,
    /// Secrets, each with one payload.
    pub secrets: u64,
    /// Remembered requests.
    pub requests: u64,
    /// Changes in the feeds.
    pub changes: u64,
}

/// Checks every invariant of a state and counts its keys. Reads the whole state several times.
///
/// - The header's digest is that of the keys, and its revision not below its base; no change is newer than its revision or its log time.
/// - A tenant's counts are those of its keys, and its feed's bounds those of its events.
/// - Every secret has a payload of its uid and generation; there is no payload without a secret.
/// - Every remembered request is in the order of age and the other way round, none below where eviction starts.
/// - There is no key of any other kind.
pub fn check(state: &dyn Read) -> Result<Census, Fatal> {
    let header = Header::read(state)?;
    ensure(verify_digest(state)? == header.digest, header::KEY, "the digest is not that of the keys")?;
    ensure(header.revision >= header.revision_base, header::KEY, "the revision is below its base")?;
    let counted = check_tenants(state)?;
    let census = Census {
        tenants: counted.tenants,
        secrets: check_secrets(state, &header)?,
        requests: check_requests(state, &header)?,
        changes: check_changes(state, &header)?,
    };
    ensure(census == counted, header::KEY, "there are keys of tenants that do not count them")?;
    ensure(count(state, &payload::range_all())? == census.secrets, header::KEY, "a payload has no secret")?;
    ensure(count(state, &expiry::range_all())? == census.requests, header::KEY, "an expiry has no request")?;
    let all = count(state, &Range { from: keys::FIRST.to_vec(), to: keys::END.to_vec() })?;
    let header_keys = u64::from(state.get(header::KEY)?.is_some());
    let known = header_keys + census.tenants + 2 * census.secrets + 2 * census.requests + census.changes;
    ensure(all == known, header::KEY, "there are keys of no known kind")?;
    Ok(census)
}

fn check_tenants(state: &dyn Read) -> Result<Census, Fatal> {
    let mut sum = Census::default();
    each(state, &tenant::range(), |key, value| {
        let id = tenant::decode_key(key)?;
        let record = Tenant::decode(key, value)?;
        ensure(record != Tenant::default(), key, "a tenant has a record that says nothing")?;
        let secrets = count(state, &secret::range(&id, None))?;
        ensure(secrets == u64::from(record.used), key, "a tenant's secrets are not counted right")?;
        let requests = count(state, &request::range(&id))?;
        ensure(requests == u64::from(record.requests), key, "a tenant's requests are not counted right")?;
        ensure(record.requests <= REQUESTS_PER_TENANT_MAX, key, "a tenant has too many remembered requests")?;
        let mut revisions = Vec::new();
        each(state, &feed::range_from(&id, 0), |key, _| {
            revisions.push(feed::decode_key(key)?.1);
            Ok(())
        })?;
        ensure(
            revisions.len() as u64 == record.feed_events,
            key,
            "a tenant's changes are not counted right",
        )?;
        ensure(record.feed_events <= FEED_EVENTS_PER_TENANT_MAX, key, "a tenant has too many changes")?;
        ensure(revisions.first().copied().unwrap_or(0) == record.feed_first, key, "feed_first is wrong")?;
        ensure(revisions.last().copied().unwrap_or(0) == record.feed_last, key, "feed_last is wrong")?;
        ensure(record.feed_compacted <= record.feed_first, key, "feed_compacted is wrong")?;
        sum.tenants += 1;
        sum.secrets += secrets;
        sum.requests += requests;
        sum.changes += record.feed_events;
        Ok(())
    })?;
    Ok(sum)
}

fn check_secrets(state: &dyn Read, header: &Header) -> Result<u64, Fatal> {
    let mut secrets = 0;
    each(state, &secret::range_all(), |key, value| {
        let (tenant, namespace, name) = secret::decode_key(key)?;
        let secret = secret::decode(key, value)?;
        let place = secret.namespace == namespace && secret.name == name;
        ensure(place, key, "a secret is not where it says")?;
        ensure(secret.revision <= header.revision, key, "a secret is newer than the state")?;
        ensure(secret.generation >= 1, key, "a secret has no generation")?;
        ensure(
            secret.create_time_ms <= secret.update_time_ms,
            key,
            "a secret was updated before its creation",
        )?;
        ensure(secret.update_time_ms <= header.log_time_ms, key, "a secret is newer than the log's time")?;
        let size = secret.payload_bytes as usize;
        ensure((1..=PAYLOAD_BYTES_MAX).contains(&size), key, "a payload's size is out of bounds")?;
        let payload_key = payload::key(&tenant, &namespace, &name);
        let value = state.get(&payload_key)?.ok_or_else(|| Fatal::corrupt(key, "a secret has no payload"))?;
        let payload = payload::decode(&payload_key, &value)?;
        let same = (payload.uid, payload.generation) == (secret.uid, secret.generation);
        ensure(same, key, "a payload is of another uid or generation than its secret")?;
        secrets += 1;
        Ok(())
    })?;
    each(state, &payload::range_all(), |key, _| {
        let (tenant, namespace, name) = payload::decode_key(key)?;
        ensure(state.get(&secret::key(&tenant, &namespace, &name))?.is_some(), key, "a payload has no secret")
    })?;
    Ok(secrets)
}

fn check_requests(state: &dyn Read, header: &Header) -> Result<u64, Fatal> {
    let mut requests = 0;
    each(state, &request::range_all(), |key, value| {
        let id = request::decode_key(key)?;
        request::decode(key, value)?;
        let expiry = expiry::key(&id.request_id, &id.tenant, &id.principal);
        ensure(expiry::decode_key(&expiry)? == id, key, "a request's two keys disagree")?;
        ensure(state.get(&expiry)?.is_some_and(|value| value.is_empty()), key, "a request never expires")?;
        ensure(
            *id.request_id.as_bytes() >= header.requests_from,
            key,
            "a request is below eviction's start",
        )?;
        requests += 1;
        Ok(())
    })?;
    Ok(requests)
}

fn check_changes(state: &dyn Read, header: &Header) -> Result<u64, Fatal> {
    let mut changes = 0;
    each(state, &feed::range_all(), |key, value| {
        let change = feed::decode(key, value)?;
        ensure(change.revision <= header.revision, key, "a change is newer than the state")?;
        ensure(change.secret.revision <= change.revision, key, "a change tells of a later secret")?;
        changes += 1;
        Ok(())
    })?;
    Ok(changes)
}

fn count(state: &dyn Read, range: &Range) -> Result<u64, Fatal> {
    let mut keys = 0;
    each(state, range, |_, _| {
        keys += 1;
        Ok(())
    })?;
    Ok(keys)
}

fn each(
    state: &dyn Read,
    range: &Range,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Fatal>,
) -> Result<(), Fatal> {
    state.scan(&range.from, &range.to, &mut |key, value| {
        visit(key, value)?;
        Ok(ControlFlow::Continue(()))
    })
}

fn ensure(holds: bool, key: &[u8], why: &'static str) -> Result<(), Fatal> {
    if holds { Ok(()) } else { Err(Fatal::corrupt(key, why)) }
}
