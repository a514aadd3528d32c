//! What can be read from a state. None of it reads more of the state than it answers, but for
//! [`list`] with a selector, which passes over what the selector does not match, and [`verify_digest`].
//!
//! A query of several steps wants a view that does not change meanwhile; see the storage contract in `pi-raft`.

use std::ops::ControlFlow;

use minicbor::{Decode, Encode};
use pi_types::{Namespace, PrincipalName, RequestId, SecretName, Selector, TenantId};

use crate::digest::Digest;
use crate::keys::header::{self, Header};
use crate::keys::tenant::Tenant;
use crate::keys::{self, Range, feed, payload, request, secret, tenant};
use crate::response::{Response, SecretMeta};
use crate::store::{Fatal, Read};

/// Which of a tenant's secrets to list.
#[derive(Clone, Debug)]
pub struct ListQuery<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// In this namespace; `None`: in all.
    pub namespace: Option<&'a Namespace>,
    /// Only those whose labels match.
    pub selector: &'a Selector,
    /// Only those behind this one in the order of namespace and name: the last one of the page before.
    pub after: Option<(Namespace, SecretName)>,
    /// At most so many.
    pub limit: usize,
}

/// How much of its quota a tenant uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Secrets of the tenant, over all namespaces.
    pub used: u32,
    /// How many it may have.
    pub quota: u32,
}

/// What happened to a secret. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ChangeKind {
    /// It was created.
    #[n(1)]
    Created,
    /// Its payload, labels or annotations changed.
    #[n(2)]
    Updated,
    /// It was deleted.
    #[n(3)]
    Deleted,
}

/// One change of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The region's revision of the change. Of a deletion it is greater than `secret.revision`.
    pub revision: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// The secret after the change; of a deletion, before it.
    pub secret: SecretMeta,
}

/// The changes after the revision that was asked for are not all remembered any more: list anew, then watch from
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes are remembered from revision {oldest} on only")]
pub struct TooOld {
    /// The least `after_revision` that can be answered.
    pub oldest: u64,
}

/// A secret without its payload.
pub fn get(
    state: &dyn Read,
    tenant: &TenantId,
    namespace: &Namespace,
    name: &SecretName,
) -> Result<Option<SecretMeta>, Fatal> {
    let key = secret::key(tenant, namespace, name);
    state.get(&key)?.map(|value| secret::decode(&key, &value)).transpose()
}

/// A secret with its sealed payload.
pub fn payload(
    state: &dyn Read,
    tenant: &TenantId,
    namespace: &Namespace,
    name: &SecretName,
) -> Result<Option<(SecretMeta, Vec<u8>)>, Fatal> {
    let Some(secret) = get(state, tenant, namespace, name)? else { return Ok(None) };
    let key = payload::key(tenant, namespace, name);
    let value = state.get(&key)?.ok_or_else(|| Fatal::corrupt(&key, "a secret has no payload"))?;
    let payload = payload::decode(&key, &value)?;
    if (payload.uid, payload.generation) != (secret.uid, secret.generation) {
        return Err(Fatal::corrupt(&key, "a payload is of another uid or generation than its secret"));
    }
    Ok(Some((secret, payload.sealed.to_vec())))
}

/// A page of a tenant's secrets in the order of namespace and name, and whether more follow.
pub fn list(state: &dyn Read, query: &ListQuery<'_>) -> Result<(Vec<SecretMeta>, bool), Fatal> {
    let Range { mut from, to } = secret::range(query.tenant, query.namespace);
    if let Some((namespace, name)) = &query.after {
        let mut behind = secret::key(query.tenant, namespace, name);
        behind.push(0x00);
        from = from.max(behind);
    }
    let mut page = Vec::new();
    let mut more = false;
    state.scan(&from, &to, &mut |key, value| {
        let secret = secret::decode(key, value)?;
        if !query.selector.matches(&secret.labels) {
            return Ok(ControlFlow::Continue(()));
        }
        if page.len() == query.limit {
            more = true;
            return Ok(ControlFlow::Break(()));
        }
        page.push(secret);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((page, more))
}

/// How much of its quota a tenant uses; a tenant that was never heard of uses nothing of the default.
pub fn usage(state: &dyn Read, tenant: &TenantId) -> Result<Usage, Fatal> {
    let record = read_tenant(state, tenant)?;
    Ok(Usage { used: record.used, quota: record.quota() })
}

/// The first `limit` changes of a tenant's secrets after a revision, in order. `TooOld` when some of them are gone, or
/// when the revision is of a life of the region before a restore, whose end this state may not have seen.
pub fn changes(
    state: &dyn Read,
    tenant: &TenantId,
    after_revision: u64,
    limit: usize,
) -> Result<Result<Vec<Change>, TooOld>, Fatal> {
    let record = read_tenant(state, tenant)?;
    let oldest = record.feed_compacted.max(Header::read(state)?.revision_base);
    if after_revision < oldest {
        return Ok(Err(TooOld { oldest }));
    }
    let mut changes = Vec::new();
    if after_revision >= record.feed_last || limit == 0 {
        return Ok(Ok(changes));
    }
    let Range { from, to } = feed::range_from(tenant, after_revision + 1);
    state.scan(&from, &to, &mut |key, value| {
        changes.push(feed::decode(key, value)?);
        Ok(if changes.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(Ok(changes))
}

/// The digest recomputed from every key, to compare with [`Header::digest`]. Reads the whole state.
pub fn verify_digest(state: &dyn Read) -> Result<[u8; 16], Fatal> {
    let mut digest = Digest::from_bytes([0; 16]);
    state.scan(keys::FIRST, keys::END, &mut |key, value| {
        if key != header::KEY {
            digest.add(key, value);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(digest.to_bytes())
}

/// The remembered answer to a request, marked as replayed.
pub fn stored_response(
    state: &dyn Read,
    tenant: &TenantId,
    principal: &PrincipalName,
    request_id: &RequestId,
) -> Result<Option<Response>, Fatal> {
    let key = request::key(tenant, request_id, principal);
    let Some(value) = state.get(&key)? else { return Ok(None) };
    let (_, response) = request::decode(&key, &value)?;
    Ok(Some(Response { replayed: true, ..response }))
}

fn read_tenant(state: &dyn Read, tenant: &TenantId) -> Result<Tenant, Fatal> {
    let key = tenant::key(tenant);
    Ok(state.get(&key)?.map(|value| Tenant::decode(&key, &value)).transpose()?.unwrap_or_default())
}
