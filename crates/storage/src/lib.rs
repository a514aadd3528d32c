//! What a node keeps: vote, log, replicated state and snapshots. See `OVERVIEW.md`.
//!
//! Two implementations of [`pi_raft::store::Store`], held to one suite: [`rocks::RocksStore`] on disk and
//! [`memory::MemoryStore`] for tests and simulation. [`marker`] says whose directory it is and refuses every other.
//! What a log entry or a pair of the state means is left to `pi-raft` and `pi-state`; nothing here looks inside.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod digest;
mod error;
#[cfg(feature = "rocksdb")]
mod failpoint;
#[cfg(feature = "rocksdb")]
mod files;
#[cfg(feature = "rocksdb")]
mod high_water;
#[cfg(feature = "rocksdb")]
pub mod marker;
pub mod memory;
mod position;
#[cfg(feature = "rocksdb")]
mod record;
#[cfg(feature = "rocksdb")]
pub mod rocks;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use position::PurgeLimit;
