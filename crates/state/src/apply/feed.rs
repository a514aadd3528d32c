//! The change feed: the last changes of each tenant's secrets, kept in the state so that every replica, and every
//! snapshot, tells the same history.
//!
//! It is bounded per tenant and not over all: how far back a tenant can look depends on its own changes only.

use pi_types::TenantId;
use pi_types::limits::FEED_EVENTS_PER_TENANT_MAX;

use super::Txn;
use crate::keys::{feed, tenant};
use crate::query::ChangeKind;
use crate::response::SecretMeta;
use crate::store::Fatal;

const _: () = assert!(FEED_EVENTS_PER_TENANT_MAX >= 2, "evicting the oldest event needs a next one");

impl Txn<'_> {
    /// Adds the change made at `revision`, and drops the tenant's oldest beyond the bound.
    pub(super) fn record_change(
        &mut self,
        tenant: &TenantId,
        revision: u64,
        kind: ChangeKind,
        secret: &SecretMeta,
    ) -> Result<(), Fatal> {
        self.overlay.write_known(feed::key(tenant, revision), None, Some(feed::encode(kind, secret)))?;
        let record = self.tenants.load(self.base, tenant)?;
        assert!(revision > record.feed_last, "changes come in the order of their revisions");
        record.feed_last = revision;
        record.feed_events += 1;
        if record.feed_events == 1 {
            record.feed_first = revision;
        }
        if record.feed_events > FEED_EVENTS_PER_TENANT_MAX {
            self.drop_oldest_change(tenant)?;
        }
        if !self.touched.contains(tenant) {
            self.touched.insert(tenant.clone());
        }
        Ok(())
    }

    fn drop_oldest_change(&mut self, tenant: &TenantId) -> Result<(), Fatal> {
        let first = self.tenants.load(self.base, tenant)?.feed_first;
        // The scan starts at the oldest event itself and needs no more than the one behind it.
        let mut found = self.overlay.scan(&feed::range_from(tenant, first), 2)?.into_iter();
        let (Some((key, value)), Some((next, _))) = (found.next(), found.next()) else {
            return Err(Fatal::corrupt(&tenant::key(tenant), "a tenant has fewer changes than it counts"));
        };
        if key != feed::key(tenant, first) {
            return Err(Fatal::corrupt(&key, "a tenant's oldest change is not where its record says"));
        }
        let (_, next) = feed::decode_key(&next)?;
        self.overlay.write_known(key, Some(value), None)?;
        let record = self.tenants.load(self.base, tenant)?;
        record.feed_events -= 1;
        record.feed_compacted = first;
        record.feed_first = next;
        assert!(record.feed_first <= record.feed_last, "the feed's bounds are in order");
        Ok(())
    }
}
