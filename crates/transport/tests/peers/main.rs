//! Nodes over real sockets, in one process: a whole group, single requests, streams and snapshots.

mod group;
mod streams;
mod support;
mod wire;
