//! pi-auth.
