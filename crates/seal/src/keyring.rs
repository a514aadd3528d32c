//! The opened seeds of a node: one seals, all open.
//!
//! Where seeds come from, and when they change, is the node's business; a keyring is a value that it replaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::context::SealContext;
use crate::envelope::{self, OpenError, Parts, SealError};
use crate::random::{Random, SystemRandom};
use crate::seed::{Seed, SeedId};

/// Opened seeds by id, one of them active. Cloning is cheap and copies no seed, so that a node changes a copy and swaps
/// it in while others seal and open with the old one.
///
/// - The active seed is in the keyring.
/// - A seed's id is computed from it, so none is filed under another's.
#[derive(Clone)]
pub struct Keyring {
    seeds: BTreeMap<SeedId, Arc<Seed>>,
    active: Option<SeedId>,
    random: Arc<dyn Random>,
}

impl Keyring {
    /// Without seeds, with this randomness.
    pub fn new(random: Arc<dyn Random>) -> Self {
        Self { seeds: BTreeMap::new(), active: None, random }
    }

    /// Without seeds, with the randomness of production.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemRandom))
    }

    /// Adds a seed, for opening; sealing stays with the active one. The id is the seed's.
    pub fn insert(&mut self, seed: Seed) -> SeedId {
        let id = seed.id();
        self.seeds.entry(id).or_insert_with(|| Arc::new(seed));
        id
    }

    /// Seals with this seed from now on.
    ///
    /// # Errors
    /// [`OpenError::UnknownSeed`] when it was not inserted; the active seed is then the same as before.
    pub fn activate(&mut self, seed_id: SeedId) -> Result<(), OpenError> {
        if !self.seeds.contains_key(&seed_id) {
            return Err(OpenError::UnknownSeed { seed_id });
        }
        self.active = Some(seed_id);
        Ok(())
    }

    /// Forgets a seed: what is sealed with it does not open any more. Forgetting the active one leaves none active.
    pub fn remove(&mut self, seed_id: SeedId) {
        self.seeds.remove(&seed_id);
        if self.active == Some(seed_id) {
            self.active = None;
        }
    }

    /// The seed that seals.
    pub fn active(&self) -> Option<SeedId> {
        self.active
    }

    /// Whether payloads of this seed open.
    pub fn contains(&self, seed_id: SeedId) -> bool {
        self.seeds.contains_key(&seed_id)
    }

    /// The seeds held, in the order of their ids.
    pub fn seed_ids(&self) -> impl Iterator<Item = SeedId> {
        self.seeds.keys().copied()
    }

    /// Seals a payload for one context with the active seed; [`envelope::OVERHEAD_BYTES`] longer than the plaintext.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(&self, context: &SealContext<'_>, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let active = self.active.and_then(|id| self.seeds.get(&id).map(|seed| (id, seed)));
        let (id, seed) = active.ok_or(SealError::NoActiveSeed)?;
        envelope::seal((id, seed), self.random.as_ref(), context, plaintext)
    }

    /// Opens what [`Keyring::seal`] made for the same context, with whichever seed of this keyring it names.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, context: &SealContext<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let parts = Parts::of(sealed)?;
        let seed_id = parts.seed_id;
        let seed = self.seeds.get(&seed_id).ok_or(OpenError::UnknownSeed { seed_id })?;
        envelope::open(seed, context, &parts)
    }
}

/// The seed that a sealed payload names: what a re-seal compares. The payload may still not open.
///
/// # Errors
/// [`OpenError::UnknownVersion`], or [`OpenError::DoesNotOpen`] when it is too short to be one.
pub fn seed_id_of(sealed: &[u8]) -> Result<SeedId, OpenError> {
    Parts::of(sealed).map(|parts| parts.seed_id)
}
