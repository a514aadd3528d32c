//! What consensus means here: one Raft group per region, on openraft. See `OVERVIEW.md`.
//!
//! - [`Replica`] is what services use: propose, read linearizably, watch, form the group, report.
//! - [`types`] says which openraft types we use; no other file chooses one.
//! - [`store`] is the storage contract; [`log`] and [`machine`] are openraft's two storage halves over any of it.
//! - [`codec`] turns entries, commands and votes into the bytes on disk and wire.
//!
//! Left to others: the disk (`pi-storage`), the wire (`pi-transport`), what a command does (`pi-state`), who may ask
//! and what an error looks like to a client (`pi-region`).

pub mod codec;
mod fatal;
mod hub;
pub mod log;
pub mod machine;
mod options;
mod reads;
mod replica;
mod status;
pub mod store;
mod threads;
pub mod types;

pub use fatal::FatalSignal;
pub use machine::SnapshotSource;
pub use options::{COMMAND_BYTES_MAX, InvalidOptions, Options, Timing};
pub use reads::ReadError;
pub use replica::{BootstrapError, ProposeError, Replica, StartError};
pub use status::{Members, Role, Status};
pub use threads::Threads;
pub use types::{Member, NodeId};

/// openraft's handle on a region's group, for the transport.
pub type Group<S> = openraft::Raft<types::TypeConfig, machine::Machine<S>>;
