//! The vocabulary of Pi Secrets: domain types, their validation, every limit, and the `.dockerconfigjson` format.
//!
//! Pure: no IO, clock, randomness, async or wire types, so that the state machine, every service and every client
//! agree on what a name, a label or a payload is. A value of a type in this crate is valid: each has private fields
//! and one fallible constructor, and what it refuses it explains in an [`Invalid`].
//!
//! - [`limits`]: every bound, with its reason. `docs/reference/limits.md` is the table for users.
//! - Names ([`SecretName`], [`Namespace`], [`TenantId`], [`RegionName`], [`ClusterName`], [`PrincipalName`]) and ids
//!   ([`Uid`], [`RequestId`]).
//! - [`Labels`], [`Annotations`] and the [`Selector`] that chooses by labels.
//! - [`Payload`] and [`docker_config`]: what a secret holds, and which of its credentials fits which image.
//!
//! Left to others: drawing uids and request ids (the proposer, the client), existence and quota (`pi-state`), sealing
//! (`pi-seal`), error codes on the wire (`pi-region`).

pub mod docker_config;
pub mod limits;

mod id;
mod invalid;
mod kubernetes;
mod labels;
mod name;
mod payload;
mod selector;

pub use id::{RequestId, Uid};
pub use invalid::Invalid;
pub use labels::{Annotations, Labels};
pub use name::{ClusterName, Namespace, PrincipalName, RegionName, SecretName, TenantId};
pub use payload::Payload;
pub use selector::Selector;

/// The only type of secret there is: a Docker configuration with registry credentials.
pub const SECRET_TYPE: &str = "kubernetes.io/dockerconfigjson";

/// The key of a Kubernetes secret's `data` under which the payload stands.
pub const PAYLOAD_KEY: &str = ".dockerconfigjson";

/// The registry that is meant when a user names none: Docker Hub, in the spelling every kubelet understands.
pub const DEFAULT_SERVER: &str = "https://index.docker.io/v1/";

/// The namespace that is meant when a user names none.
pub const DEFAULT_NAMESPACE: &str = "default";
