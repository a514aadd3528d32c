//! The deterministic state machine of a region. See `OVERVIEW.md`.
//!
//! Pure: no IO, no clock, no randomness, no wire types. One sequence of commands, one state, on every replica.
//!
//! - What can be asked: [`Command`]. What is answered: [`Response`]; a refusal is a value, [`Fatal`] stops the node.
//! - [`Txn`] applies committed entries to a [`Read`] view and yields [`Ops`] for the storage to commit.
//! - [`query`] reads the same view; [`check`] holds it against its invariants.
//! - The schema is in `keys/mod.rs`.

mod apply;
pub mod check;
mod codec;
mod command;
mod digest;
mod keys;
pub mod memory;
mod overlay;
pub mod query;
mod response;
mod store;

pub use apply::{Applied, Txn};
pub use command::{Command, CommandKind, SealedPayload};
pub use keys::header::Header;
pub use response::{Outcome, Reject, Response, SecretMeta};
pub use store::{Fatal, Ops, Read, Visit};
