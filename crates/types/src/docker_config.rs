//! The format of a payload: a Docker configuration file with registry credentials (`.dockerconfigjson`).
//!
//! - [`write`] and [`write_auth_only`] make one from a [`Credential`]: the first with exactly the bytes that
//!   `kubectl create secret docker-registry` makes.
//! - [`check`] judges one before it is stored. A kubelet drops *all* pull secrets of a pod when one of them is
//!   malformed, and says nothing about one that never matches; both are found here, when the user can still act.
//! - [`Keyring`] finds the credentials for an image as a kubelet does.
//!
//! Nothing here prints a credential: errors name the field by the registry's address at most. Copies made here are
//! wiped when dropped; those that `serde_json` keeps for a moment while it unescapes a string are not.

mod go_url;
mod keyring;
mod lint;
mod read;
mod write;

pub use keyring::{Entry, Keyring};
pub use lint::check;
pub use write::{Credential, write, write_auth_only};

/// What errors about a payload call it: the field's name in the API.
pub(crate) const FIELD: &str = "payload";
