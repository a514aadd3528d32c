//! pi-dev.
