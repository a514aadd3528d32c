//! What the state machine answers.
//!
//! These types are also stored (a remembered answer, a secret, a change), hence the field numbers: append-only, see
//! `codec.rs`.

use minicbor::{Decode, Encode};
use pi_types::{Annotations, Labels, Namespace, SecretName, Uid};

/// The answer to one log entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Response {
    /// The region's revision after the entry.
    #[n(0)]
    pub revision: u64,
    /// True when this is the stored answer of an earlier entry with the same request id.
    #[cbor(skip)]
    pub replayed: bool,
    /// What happened.
    #[n(1)]
    pub outcome: Outcome,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// Not a command: a blank or membership entry.
    #[n(0)]
    Blank,
    /// The secret was created.
    #[n(1)]
    Created {
        /// As it is now.
        #[n(0)]
        secret: SecretMeta,
        /// Secrets of the tenant after it.
        #[n(1)]
        used: u32,
        /// The tenant's quota.
        #[n(2)]
        quota: u32,
    },
    /// The secret was updated, or already was as asked.
    #[n(2)]
    Updated {
        /// As it is now.
        #[n(0)]
        secret: SecretMeta,
        /// False when it already was as asked: no revision moved.
        #[n(1)]
        changed: bool,
    },
    /// The secret was deleted.
    #[n(3)]
    Deleted {
        /// As it was.
        #[n(0)]
        secret: SecretMeta,
        /// Secrets of the tenant after it.
        #[n(1)]
        used: u32,
        /// The tenant's quota.
        #[n(2)]
        quota: u32,
    },
    /// The quota was set.
    #[n(4)]
    QuotaSet {
        /// Secrets of the tenant.
        #[n(0)]
        used: u32,
        /// The tenant's quota.
        #[n(1)]
        quota: u32,
    },
    /// A domain refusal; nothing changed.
    #[n(5)]
    Rejected(#[n(0)] Reject),
    /// The payload was sealed for another uid or generation than the present one. Not stored as the request's answer:
    /// the node re-reads, re-seals and proposes again under the same request id.
    #[n(6)]
    Reseal {
        /// The present uid.
        #[n(0)]
        #[cbor(with = "crate::codec::uid")]
        uid: Uid,
        /// The present generation.
        #[n(1)]
        generation: u64,
    },
}

/// A domain refusal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Reject {
    /// The name is taken in this namespace.
    #[n(0)]
    AlreadyExists,
    /// There is no such secret.
    #[n(1)]
    NotFound,
    /// The tenant has as many secrets as it may.
    #[n(2)]
    QuotaExceeded {
        /// Secrets of the tenant.
        #[n(0)]
        used: u32,
        /// The tenant's quota.
        #[n(1)]
        quota: u32,
    },
    /// The payload is larger than the limit.
    #[n(3)]
    PayloadTooLarge {
        /// Its size.
        #[n(0)]
        bytes: u32,
    },
    /// `expect_uid` or `expect_revision` does not hold.
    #[n(4)]
    PreconditionFailed {
        /// The present uid.
        #[n(0)]
        #[cbor(with = "crate::codec::uid")]
        uid: Uid,
        /// The present revision of the secret.
        #[n(1)]
        revision: u64,
    },
    /// The request id's time is too far behind the log's.
    #[n(5)]
    RequestTooOld {
        /// How old, in milliseconds.
        #[n(0)]
        age_ms: i64,
    },
    /// The request id's time is too far ahead of the log's.
    #[n(6)]
    RequestFromFuture {
        /// How far ahead, in milliseconds.
        #[n(0)]
        ahead_ms: i64,
    },
    /// The request id was used for another method or name.
    #[n(7)]
    RequestReused,
    /// The tenant's table of remembered requests is full.
    #[n(8)]
    RequestTableFull,
    /// A bound that the node should have checked does not hold.
    #[n(9)]
    Invalid {
        /// The field.
        #[n(0)]
        field: String,
        /// What is wrong with it.
        #[n(1)]
        reason: String,
    },
}

/// A secret without its payload.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SecretMeta {
    /// Where.
    #[n(0)]
    #[cbor(with = "crate::codec::text")]
    pub namespace: Namespace,
    /// Its name.
    #[n(1)]
    #[cbor(with = "crate::codec::text")]
    pub name: SecretName,
    /// Fixed from create to delete.
    #[n(2)]
    #[cbor(with = "crate::codec::uid")]
    pub uid: Uid,
    /// Labels.
    #[n(3)]
    #[cbor(with = "crate::codec::labels")]
    pub labels: Labels,
    /// Annotations.
    #[n(4)]
    #[cbor(with = "crate::codec::annotations")]
    pub annotations: Annotations,
    /// The region's revision at its last change.
    #[n(5)]
    pub revision: u64,
    /// +1 only when the payload changes.
    #[n(6)]
    pub generation: u64,
    /// The log's time at creation, milliseconds since the Unix epoch.
    #[n(7)]
    pub create_time_ms: i64,
    /// The log's time at the last change.
    #[n(8)]
    pub update_time_ms: i64,
    /// Size of the plaintext in bytes.
    #[n(9)]
    pub payload_bytes: u32,
}
