//! Raft over tonic: how the nodes of one region's group reach each other. See `OVERVIEW.md`.
//!
//! - [`Network`] is openraft's way out: one [`network`] client per peer and purpose, on channels of their own.
//! - [`RaftService`] is the way in: the `pi.raft.v1.Raft` service around openraft's handle, served by [`serve`].
//! - [`frames`] turns a snapshot's pairs into checked frames and back, knowing nothing of transports.
//! - [`Identity`] says who a node is; every request names both ends, and a node refuses what is not meant for it.
//!
//! Left to others: what the messages decide (openraft), bytes of entries and votes (`pi_raft::codec`), where pairs
//! are kept (`pi_raft::store`), certificates (a later issue: `channel::connect` and [`listen`] are the two places).

mod append;
mod channel;
mod convert;
mod error;
pub mod frames;
mod identity;
mod network;
mod receive;
mod send;
mod server;
mod service;

pub use error::Error;
pub use identity::Identity;
pub use network::Network;
pub use server::{listen, serve};
pub use service::RaftService;

use pi_types::limits::{APPEND_BYTES_MAX, CLIENT_MESSAGE_BYTES_MAX, PEER_MESSAGE_BYTES_MAX};

/// Everything of an append request that is not entries: identity, votes, positions, and per entry a tag and a length.
const APPEND_OVERHEAD_BYTES_MAX: usize = 1024 * 1024;

/// The largest single entry that is sent; it travels alone when it exceeds [`APPEND_BYTES_MAX`].
pub(crate) const ENTRY_BYTES_MAX: usize = PEER_MESSAGE_BYTES_MAX - APPEND_OVERHEAD_BYTES_MAX;

// A message that a peer's decoder refuses would be retried for ever, so what is cut must fit with room to spare, and
// what a client may send must fit into one append.
const _: () = {
    assert!(APPEND_BYTES_MAX + APPEND_OVERHEAD_BYTES_MAX <= PEER_MESSAGE_BYTES_MAX);
    assert!(2 * CLIENT_MESSAGE_BYTES_MAX <= APPEND_BYTES_MAX);
    assert!(frames::CHUNK_BYTES_MAX + APPEND_OVERHEAD_BYTES_MAX <= PEER_MESSAGE_BYTES_MAX);
    // An entry costs a tag of 1 byte and a length of at most 5; the rest of the overhead is votes and names.
    assert!(append::ENTRIES_PER_REQUEST_MAX * 8 < APPEND_OVERHEAD_BYTES_MAX);
};
