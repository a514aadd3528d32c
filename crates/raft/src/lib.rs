//! What consensus means here. See `OVERVIEW.md`.

pub mod store;
pub mod types;
