//! The writes of a transaction over the state they will be added to: reads see the writes before them, and what was
//! read once is not read again.
//!
//! It knows keys and values only; what they mean is the business of `apply`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Bound, ControlFlow};

use crate::digest::Digest;
use crate::keys::Range;
use crate::store::{Fatal, Ops, Read};

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// A key that was read or written.
struct Slot {
    /// What a read sees.
    now: Option<Vec<u8>>,
    before: Before,
}

/// What the state below has at the key.
enum Before {
    /// The same as `now`: nothing was written.
    Same,
    /// This; the key was written.
    Was(Option<Vec<u8>>),
}

impl Slot {
    fn write(&mut self, value: Option<Vec<u8>>) {
        let old = std::mem::replace(&mut self.now, value);
        if let Before::Same = self.before {
            self.before = Before::Was(old);
        }
    }
}

/// The overlay of one transaction.
///
/// Invariant: a key with a slot is answered from the slot, never from `base`.
pub(crate) struct Overlay<'a> {
    base: &'a dyn Read,
    slots: BTreeMap<Vec<u8>, Slot>,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(base: &'a dyn Read) -> Self {
        Overlay { base, slots: BTreeMap::new() }
    }

    /// The value at `key`.
    pub(crate) fn get(&mut self, key: Vec<u8>) -> Result<Option<&[u8]>, Fatal> {
        Ok(self.slot(key)?.now.as_deref())
    }

    /// Writes a value, or deletes with `None`, whatever was there before.
    pub(crate) fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), Fatal> {
        self.slot(key)?.write(value);
        Ok(())
    }

    /// Writes a value, or deletes with `None`, at a key whose present value the caller knows, which saves the read.
    pub(crate) fn write_known(
        &mut self,
        key: Vec<u8>,
        present: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) -> Result<(), Fatal> {
        match self.slots.entry(key) {
            Entry::Occupied(slot) => {
                debug_assert!(slot.get().now == present, "the caller knows the present value");
                slot.into_mut().write(value);
            }
            Entry::Vacant(vacant) => {
                if cfg!(debug_assertions) {
                    assert!(
                        self.base.get(vacant.key())? == present,
                        "the caller knows the present value below"
                    );
                }
                vacant.insert(Slot { now: value, before: Before::Was(present) });
            }
        }
        Ok(())
    }

    /// The first `limit` pairs of a range in key order. For small limits: it copies them.
    pub(crate) fn scan(&self, range: &Range, limit: usize) -> Result<Vec<Pair>, Fatal> {
        let Range { from, to } = range;
        let mut pairs = Vec::new();
        if limit == 0 || from >= to {
            return Ok(pairs);
        }
        self.base.scan(from, to, &mut |key, value| {
            if !self.slots.contains_key(key) {
                pairs.push((key.to_vec(), value.to_vec()));
            }
            Ok(if pairs.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let bounds = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
        let live =
            self.slots.range::<[u8], _>(bounds).filter_map(|(key, slot)| Some((key, slot.now.as_ref()?)));
        pairs.extend(live.take(limit).map(|(key, value)| (key.clone(), value.clone())));
        // Each half holds its own first `limit` pairs, so together they hold the first `limit` of both.
        pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        pairs.truncate(limit);
        Ok(pairs)
    }

    /// Ends the overlay: what it wrote, with the digest moved accordingly.
    pub(crate) fn finish(self, digest: &mut Digest) -> Ops {
        // Collected in key order, which builds the map in one go.
        let written = self.slots.into_iter().filter_map(|(key, Slot { now, before })| {
            let Before::Was(old) = before else { return None };
            if old == now {
                return None;
            }
            if let Some(old) = &old {
                digest.remove(&key, old);
            }
            if let Some(new) = &now {
                digest.add(&key, new);
            }
            Some((key, now))
        });
        written.collect()
    }

    fn slot(&mut self, key: Vec<u8>) -> Result<&mut Slot, Fatal> {
        Ok(match self.slots.entry(key) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(vacant) => {
                let now = self.base.get(vacant.key())?;
                vacant.insert(Slot { now, before: Before::Same })
            }
        })
    }
}
