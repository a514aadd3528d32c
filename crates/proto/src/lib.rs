//! pi-proto.
