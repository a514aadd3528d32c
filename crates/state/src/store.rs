//! The ordered key-value view the state machine reads, and the batch of writes it produces.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Something that must stop the node: the state cannot be read or does not make sense.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The storage below failed.
    #[error("state storage failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored record does not decode, or contradicts another.
    #[error("corrupt state at key {key}: {why}")]
    Corrupt {
        /// The key in hex.
        key: String,
        /// What is wrong, without the record's content.
        why: &'static str,
    },
    /// A committed command does not decode.
    #[error("corrupt command at log index {index}: {why}")]
    Command {
        /// The log index.
        index: u64,
        /// What is wrong.
        why: String,
    },
}

impl Fatal {
    /// A record at `key` does not decode or contradicts another. Keys hold names, never payloads.
    pub(crate) fn corrupt(key: &[u8], why: &'static str) -> Fatal {
        use std::fmt::Write as _;
        let mut hex = String::with_capacity(2 * key.len());
        for byte in key {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Fatal::Corrupt { key: hex, why }
    }
}

/// What a scan calls for each pair; `Break` ends the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fatal> + 'a;

/// An ordered key-value view.
pub trait Read {
    /// The value at `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal>;
    /// Visits the pairs with `from <= key < to` in key order until `visit` breaks.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), Fatal>;
}

/// The writes of one transaction in key order: a value to put, or `None` to delete.
pub type Ops = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
