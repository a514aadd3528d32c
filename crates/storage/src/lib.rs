//! pi-storage.
