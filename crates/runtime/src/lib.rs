//! pi-runtime.
