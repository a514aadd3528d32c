//! pi-gateway.
