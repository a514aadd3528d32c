//! pi-client.
