//! The state in an ordered map: for tests, simulation and the memory store.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::store::{Fatal, Ops, Read, Visit};

/// A state in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState(BTreeMap<Vec<u8>, Vec<u8>>);

impl MemoryState {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Carries out a transaction's writes.
    pub fn apply_ops(&mut self, ops: &Ops) {
        for (key, value) in ops {
            match value {
                Some(value) => self.0.insert(key.clone(), value.clone()),
                None => self.0.remove(key),
            };
        }
    }

    /// Carries out a transaction's writes without copying them.
    pub fn absorb(&mut self, ops: Ops) {
        for (key, value) in ops {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    /// All pairs in key order.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

impl FromIterator<(Vec<u8>, Vec<u8>)> for MemoryState {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(pairs: I) -> Self {
        MemoryState(pairs.into_iter().collect())
    }
}

impl Read for MemoryState {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), Fatal> {
        if from >= to {
            return Ok(());
        }
        for (key, value) in
            self.0.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Excluded(to)))
        {
            if let ControlFlow::Break(()) = visit(key, value)? {
                break;
            }
        }
        Ok(())
    }
}
