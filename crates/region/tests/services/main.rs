//! The services of a node over real gRPC on loopback: one node, real openraft, the memory store, the node's own wiring.
//!
//! One binary for all of it, because linking is what takes the time.

mod binary;
mod group;
mod harness;
mod list;
mod malformed;
mod node;
mod refusals;
mod retries;
mod secrets;
mod watch;
