//! What the state machine answers.

use pi_types::{Annotations, Labels, Namespace, SecretName, Uid};

/// The answer to one log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The region's revision after the entry.
    pub revision: u64,
    /// True when this is the stored answer of an earlier entry with the same request id.
    pub replayed: bool,
    /// What happened.
    pub outcome: Outcome,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not a command: a blank or membership entry.
    Blank,
    /// The secret was created.
    Created {
        /// As it is now.
        secret: SecretMeta,
        /// Secrets of the tenant after it.
        used: u32,
        /// The tenant's quota.
        quota: u32,
    },
    /// The secret was updated, or already was as asked.
    Updated {
        /// As it is now.
        secret: SecretMeta,
        /// False when it already was as asked: no revision moved.
        changed: bool,
    },
    /// The secret was deleted.
    Deleted {
        /// As it was.
        secret: SecretMeta,
        /// Secrets of the tenant after it.
        used: u32,
        /// The tenant's quota.
        quota: u32,
    },
    /// The quota was set.
    QuotaSet {
        /// Secrets of the tenant.
        used: u32,
        /// The tenant's quota.
        quota: u32,
    },
    /// A domain refusal; nothing changed.
    Rejected(Reject),
    /// The payload was sealed for another uid or generation than the present one. Not stored as the request's answer:
    /// the node re-reads, re-seals and proposes again under the same request id.
    Reseal {
        /// The present uid.
        uid: Uid,
        /// The present generation.
        generation: u64,
    },
}

/// A domain refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The name is taken in this namespace.
    AlreadyExists,
    /// There is no such secret.
    NotFound,
    /// The tenant has as many secrets as it may.
    QuotaExceeded {
        /// Secrets of the tenant.
        used: u32,
        /// The tenant's quota.
        quota: u32,
    },
    /// The payload is larger than the limit.
    PayloadTooLarge {
        /// Its size.
        bytes: u32,
    },
    /// `expect_uid` or `expect_revision` does not hold.
    PreconditionFailed {
        /// The present uid.
        uid: Uid,
        /// The present revision of the secret.
        revision: u64,
    },
    /// The request id's time is too far behind the log's.
    RequestTooOld {
        /// How old, in milliseconds.
        age_ms: i64,
    },
    /// The request id's time is too far ahead of the log's.
    RequestFromFuture {
        /// How far ahead, in milliseconds.
        ahead_ms: i64,
    },
    /// The request id was used for another method or name.
    RequestReused,
    /// The tenant's table of remembered requests is full.
    RequestTableFull,
    /// A bound that the node should have checked does not hold.
    Invalid {
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A secret without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMeta {
    /// Where.
    pub namespace: Namespace,
    /// Its name.
    pub name: SecretName,
    /// Fixed from create to delete.
    pub uid: Uid,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Annotations,
    /// The region's revision at its last change.
    pub revision: u64,
    /// +1 only when the payload changes.
    pub generation: u64,
    /// The log's time at creation, milliseconds since the Unix epoch.
    pub create_time_ms: i64,
    /// The log's time at the last change.
    pub update_time_ms: i64,
    /// Size of the plaintext in bytes.
    pub payload_bytes: u32,
}
