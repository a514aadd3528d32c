//! The deterministic state machine of a region. See `OVERVIEW.md`.
//!
//! Pure: no IO, no clock, no randomness, no wire types. One sequence of commands, one state, on every replica.

mod command;
mod response;
mod store;

pub use command::{Command, CommandKind, SealedPayload};
pub use response::{Outcome, Reject, Response, SecretMeta};
pub use store::{Fatal, Ops, Read};
