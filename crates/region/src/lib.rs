//! A node of a region: its services, its wiring, its command line.
//!
//! What holds across the crate:
//!
//! - **Invariant:** whose secrets a request is about comes from the credential alone ([`call`]).
//! - **Invariant:** plaintext meets the disk, the log and other nodes only sealed ([`sealing`]).
//! - **Invariant:** existence, quota, size, preconditions and retries are decided by the state machine; what is decided
//!   here is courtesy, or needs the plaintext ([`services::write`]).
//! - **Invariant:** what a caller sees of an error is made in one place ([`status`]).
//!
//! Left to others: the state machine (`pi-state`), consensus (`pi-raft`), the disk (`pi-storage`), peers
//! (`pi-transport`), routing between regions (the gateway).

pub mod address;
pub mod authorize;
pub mod call;
pub mod cli;
pub mod config;
pub mod failure;
pub mod node;
pub mod sealing;
pub mod server;
pub mod services;
pub mod status;
pub mod tokens;
pub mod validate;
pub mod wire;
