//! The tenants' records that a transaction met, decoded once and written back once. They bypass the overlay until
//! then: nothing else touches their keys.

use std::collections::BTreeMap;

use pi_types::TenantId;

use crate::keys::tenant::{self, Tenant};
use crate::overlay::Overlay;
use crate::store::{Fatal, Read};

/// A tenant's record: as the state has it, decoded and not, and as it is now.
struct Loaded {
    stored: Option<Vec<u8>>,
    before: Tenant,
    now: Tenant,
}

/// The records met so far.
#[derive(Default)]
pub(super) struct Tenants(BTreeMap<TenantId, Loaded>);

impl Tenants {
    /// A tenant's record, to be changed in place.
    pub(super) fn load(&mut self, base: &dyn Read, tenant: &TenantId) -> Result<&mut Tenant, Fatal> {
        // Looked up twice when absent, so that a tenant's name is copied only the first time it is met.
        if !self.0.contains_key(tenant) {
            let key = tenant::key(tenant);
            let stored = base.get(&key)?;
            let before = match &stored {
                Some(value) => Tenant::decode(&key, value)?,
                None => Tenant::default(),
            };
            self.0.insert(tenant.clone(), Loaded { stored, before, now: before });
        }
        let loaded = self.0.get_mut(tenant).expect("the record was inserted just now");
        Ok(&mut loaded.now)
    }

    /// Writes the changed records; one that is the default again is removed.
    pub(super) fn flush(self, overlay: &mut Overlay<'_>) -> Result<(), Fatal> {
        for (tenant, Loaded { stored, before, now }) in self.0 {
            if now == before {
                continue;
            }
            let value = (now != Tenant::default()).then(|| now.encode());
            overlay.write_known(tenant::key(&tenant), stored, value)?;
        }
        Ok(())
    }
}
