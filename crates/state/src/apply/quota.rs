//! The quota of a tenant, set by an operator.

use pi_types::TenantId;
use pi_types::limits::SECRETS_QUOTA_MAX;

use super::Txn;
use crate::response::{Outcome, Reject};
use crate::store::Fatal;

impl Txn<'_> {
    /// Sets a tenant's quota. Lowered below use nothing is deleted, and creates are refused until use is below it.
    ///
    /// A user sees its quota, so a different one moves the revision; it is no change of a secret, so it is not in the
    /// feed.
    pub(super) fn set_quota(
        &mut self,
        revision: u64,
        tenant: &TenantId,
        secrets_max: u32,
    ) -> Result<Outcome, Fatal> {
        if secrets_max > SECRETS_QUOTA_MAX {
            return Ok(Outcome::Rejected(Reject::Invalid {
                field: "secrets_max".to_owned(),
                reason: format!("{secrets_max} is more than {SECRETS_QUOTA_MAX}, the most a quota can be"),
            }));
        }
        let record = self.tenants.load(self.base, tenant)?;
        let moved = record.quota() != secrets_max;
        record.quota_override = Some(secrets_max);
        let outcome = Outcome::QuotaSet { used: record.used, quota: secrets_max };
        if moved {
            self.move_revision(revision);
        }
        Ok(outcome)
    }
}
