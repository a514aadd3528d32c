//! Wakes watchers: one channel per tenant that somebody watches, carrying the region's latest revision for it.
//!
//! Channels come into being with their first watcher and go when the last one left: at the tenant's next change, or
//! when enough new ones have come to make a sweep worth it. Bounded by the number of live watchers, which the services
//! bound. What changed is read from the state; nothing here carries it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;
use pi_types::TenantId;
use tokio::sync::watch;

/// Locks to spread tenants over; publishing happens on one thread, subscribing on all.
const SHARDS: usize = 16;
/// A shard is swept when it has grown to this many channels, or to twice what the last sweep left.
const SWEEP_MIN: usize = 64;

/// See the module.
pub(crate) struct Hub {
    shards: Vec<Mutex<Shard>>,
}

#[derive(Default)]
struct Shard {
    channels: BTreeMap<TenantId, watch::Sender<u64>>,
    sweep_at: usize,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect() }
    }

    /// A receiver that changes after each batch that changed something of `tenant`. Its first value is 0 or an earlier
    /// revision: read the state after calling this, then wait for changes, and none is missed.
    pub(crate) fn subscribe(&self, tenant: &TenantId) -> watch::Receiver<u64> {
        let mut shard = self.shard(tenant).lock();
        if let Some(sender) = shard.channels.get(tenant) {
            return sender.subscribe();
        }
        shard.sweep();
        let (sender, receiver) = watch::channel(0);
        shard.channels.insert(tenant.clone(), sender);
        receiver
    }

    /// Wakes who watches one of `tenants`. Called after the change can be read.
    pub(crate) fn publish(&self, tenants: &[TenantId], revision: u64) {
        for tenant in tenants {
            let mut shard = self.shard(tenant).lock();
            let Some(sender) = shard.channels.get(tenant) else { continue };
            // Fails when nobody watches any more.
            if sender.send(revision).is_err() {
                shard.channels.remove(tenant);
            }
        }
    }

    /// Wakes everyone: the whole state was replaced.
    pub(crate) fn publish_all(&self, revision: u64) {
        for shard in &self.shards {
            shard.lock().channels.retain(|_, sender| sender.send(revision).is_ok());
        }
    }

    fn shard(&self, tenant: &TenantId) -> &Mutex<Shard> {
        // Not `RandomState`: the same tenant lands in the same shard in every run of a simulation.
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        &self.shards[hasher.finish() as usize % SHARDS]
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().channels.len()).sum()
    }
}

impl Shard {
    fn sweep(&mut self) {
        if self.channels.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.channels.retain(|_, sender| sender.receiver_count() > 0);
            self.sweep_at = self.channels.len() * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: usize) -> TenantId {
        format!("tenant-{number}").parse().unwrap()
    }

    #[test]
    fn a_change_wakes_the_tenants_watchers_and_no_others() {
        let hub = Hub::new();
        let (mut one, mut two) = (hub.subscribe(&tenant(1)), hub.subscribe(&tenant(2)));
        hub.publish(&[tenant(1)], 7);
        assert!(one.has_changed().unwrap());
        assert_eq!(*one.borrow_and_update(), 7);
        assert!(!two.has_changed().unwrap());
        hub.publish_all(9);
        assert_eq!((*one.borrow_and_update(), *two.borrow_and_update()), (9, 9));
    }

    #[test]
    fn a_second_watcher_shares_the_channel_and_starts_unchanged() {
        let hub = Hub::new();
        let _first = hub.subscribe(&tenant(1));
        hub.publish(&[tenant(1)], 3);
        let second = hub.subscribe(&tenant(1));
        assert_eq!(*second.borrow(), 3);
        assert!(!second.has_changed().unwrap());
        assert_eq!(hub.len(), 1);
    }

    #[test]
    fn unwatched_channels_are_freed() {
        let hub = Hub::new();
        drop(hub.subscribe(&tenant(1)));
        hub.publish(&[tenant(1)], 1);
        assert_eq!(hub.len(), 0, "freed by the next change");

        for number in 0..10_000 {
            drop(hub.subscribe(&tenant(number)));
        }
        assert!(hub.len() <= SHARDS * SWEEP_MIN, "freed by sweeps: {}", hub.len());
    }

    #[test]
    fn a_sweep_spares_the_watched() {
        let hub = Hub::new();
        let watched: Vec<_> = (0..2_000).map(|number| hub.subscribe(&tenant(number))).collect();
        for number in 2_000..10_000 {
            drop(hub.subscribe(&tenant(number)));
        }
        for number in 0..2_000 {
            hub.publish(&[tenant(number)], 5);
        }
        assert!(watched.iter().all(|receiver| *receiver.borrow() == 5));
    }
}
