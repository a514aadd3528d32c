//! pi-region.
