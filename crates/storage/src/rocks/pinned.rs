//! A moment of the state that owns the database it pins.

#![expect(clippy::disallowed_methods, reason = "self_cell forgets a guard on success, which holds no secret")]

use std::io;
use std::sync::Arc;

use pi_state::Fatal;
use rocksdb::{ReadOptions, SnapshotWithThreadMode};

use crate::error::Result;
use crate::record::decode_meta;
use crate::rocks::database::{Database, Db, Family, scan};

/// What a view calls for each pair.
pub(crate) type VisitPair<'a> = dyn FnMut(&[u8], &[u8]) -> io::Result<()> + 'a;

/// What a view pins: a moment of the database, and the column families to read it from.
pub(crate) struct Pins<'a> {
    pub(crate) snapshot: SnapshotWithThreadMode<'a, Db>,
    pub(crate) state: Family<'a>,
    pub(crate) meta: Family<'a>,
}

self_cell::self_cell!(
    /// A moment of the state that owns its database.
    pub(crate) struct PinnedState {
        owner: Arc<Database>,
        #[covariant]
        dependent: Pins,
    }
);

impl PinnedState {
    /// A meta value as it was.
    pub(crate) fn meta(&self, key: &'static str) -> Result<Option<Vec<u8>>> {
        let Pins { snapshot, meta, .. } = self.borrow_dependent();
        let stored =
            snapshot.get_pinned_cf(meta, key).map_err(self.borrow_owner().rocks("read a meta value"))?;
        stored.map(|stored| Ok(decode_meta(key, &stored)?.to_vec())).transpose()
    }

    /// Calls `visit` for every pair, without filling the cache that readers live from.
    pub(crate) fn visit(&self, visit: &mut VisitPair<'_>) -> io::Result<()> {
        let Pins { snapshot, state, .. } = self.borrow_dependent();
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut pairs = snapshot.raw_iterator_cf_opt(state, options);
        pairs.seek_to_first();
        while let Some((key, value)) = pairs.item() {
            visit(key, value)?;
            pairs.next();
        }
        // An iterator also ends where it cannot read on.
        Ok(pairs.status().map_err(self.borrow_owner().rocks("read the state"))?)
    }
}

impl pi_state::Read for PinnedState {
    fn get(&self, key: &[u8]) -> std::result::Result<Option<Vec<u8>>, Fatal> {
        let Pins { snapshot, state, .. } = self.borrow_dependent();
        let value = snapshot.get_pinned_cf(state, key).map_err(|error| Fatal::Storage(Box::new(error)))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut pi_state::Visit<'_>,
    ) -> std::result::Result<(), Fatal> {
        let Pins { snapshot, state, .. } = self.borrow_dependent();
        scan(|options| snapshot.raw_iterator_cf_opt(state, options), from, to, visit)
    }
}
