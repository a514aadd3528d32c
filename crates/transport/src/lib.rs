//! pi-transport.
