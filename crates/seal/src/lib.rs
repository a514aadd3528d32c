//! Envelope encryption of payloads: sealed before they are proposed, opened after they are read.
//!
//! A region has a *seed*, wrapped by a KMS and stored in its replicated state. Each node unwraps it at the start and
//! holds it in a [`Keyring`]; each write derives a key of its own from it. So log, state, snapshots, backups and peers
//! see ciphertext only, and a KMS is never asked for a payload. `OVERVIEW.md` is the longer story.
//!
//! - [`SealContext`]: what a payload belongs to; it opens nowhere else.
//! - [`Keyring`]: seals and opens. [`envelope`] is the format.
//! - [`kms`]: providers that wrap seeds, and the [`kms::monitor::Monitor`] that polls one.
//! - [`health`]: for how long a silent KMS is put up with. Pure.
//! - [`Config`]: the `[seal]` section.
//!
//! Which seeds a region has and which is active, when payloads are sealed anew, and who may access one, is decided by
//! the node and its state machine, not here.
//!
//! **Invariant:** only `pi-region` links this crate; no other binary can open a payload at rest.
//! **Invariant:** seeds and keys have no `Debug`, `Display` or `Serialize`, and are wiped when dropped; no error shows
//! one, nor any plaintext.

pub mod config;
pub mod context;
pub mod envelope;
pub mod health;
pub mod keyring;
pub mod kms;
pub mod random;
pub mod seed;

pub use config::Config;
pub use context::SealContext;
pub use envelope::{OpenError, SealError};
pub use keyring::{Keyring, seed_id_of};
pub use kms::Kms;
pub use random::{NoRandomness, Random, SystemRandom};
pub use seed::{Seed, SeedId, WrappedSeed};
