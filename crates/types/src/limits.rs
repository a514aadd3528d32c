//! Every bound of the system, each with its reason, and the relations between them.
//!
//! A *limit* is fixed; the *quota* is a number that an operator may change per tenant and region, within the limit
//! here. `docs/reference/limits.md` lists the same values for users, with the error each one answers with; a test
//! compares the two.

/// A payload's size in bytes, inclusive: the decoded `.dockerconfigjson` value, never its base64, never the
/// surrounding request. It is the product's promise; CLI, node and state machine check the same number.
pub const PAYLOAD_BYTES_MAX: usize = 4_096;

/// Secrets a tenant may have in a region, over all namespaces, unless an operator sets another quota.
pub const SECRETS_QUOTA_DEFAULT: u32 = 8;

/// The largest quota that an operator can set: what one region is measured to hold for one tenant, and a guard
/// against a slip of the finger.
pub const SECRETS_QUOTA_MAX: u32 = 1_000_000;

/// A secret's name in bytes: Kubernetes' bound for a DNS-1123 subdomain.
pub const NAME_BYTES_MAX: usize = 253;

/// A namespace, tenant, region or cluster in bytes: Kubernetes' bound for a DNS-1123 label.
pub const NAMESPACE_BYTES_MAX: usize = 63;

/// A principal's name in bytes: it is part of the key of every remembered request.
pub const PRINCIPAL_BYTES_MAX: usize = 128;

/// Labels of a secret: more than any tool sets, few enough that a list stays cheap.
pub const LABELS_MAX: usize = 32;

/// The optional DNS prefix of a label or annotation key in bytes, as in Kubernetes.
pub const LABEL_PREFIX_BYTES_MAX: usize = NAME_BYTES_MAX;

/// The name part of a label or annotation key in bytes, as in Kubernetes.
pub const LABEL_NAME_BYTES_MAX: usize = 63;

/// A label's value in bytes, as in Kubernetes.
pub const LABEL_VALUE_BYTES_MAX: usize = 63;

/// Annotations of a secret.
pub const ANNOTATIONS_MAX: usize = 32;

/// Keys and values of a secret's annotations together, in bytes: as much as a payload. Kubernetes allows 256 KiB,
/// which would let metadata dwarf what it describes.
pub const ANNOTATIONS_BYTES_MAX: usize = 4_096;

/// A label selector in bytes. It is evaluated against every secret that a list or watch passes.
pub const SELECTOR_BYTES_MAX: usize = 4_096;

/// How far a request id may lie behind the log's time, in milliseconds. Until then its answer is remembered, so that
/// a retry is exactly once; after it the id is refused, so that forgetting is safe.
pub const REQUEST_AGE_MS_MAX: i64 = 600_000;

/// How far a request id may lie ahead of the log's time, in milliseconds: what badly kept clocks differ by. An id
/// from the future would be remembered for longer than the window.
pub const REQUEST_AHEAD_MS_MAX: i64 = 60_000;

/// Answers remembered for a tenant. Nothing younger than [`REQUEST_AGE_MS_MAX`] is evicted, so a tenant who fills the
/// table (109 mutations a second for ten minutes) is refused, and harms nobody else.
pub const REQUESTS_PER_TENANT_MAX: u32 = 65_536;

/// Events of a tenant's change feed that a region keeps. A watch that was away for longer starts from a list again.
pub const FEED_EVENTS_PER_TENANT_MAX: u64 = 128;

/// Secrets on a page of a list when the caller asks for no number.
pub const LIST_PAGE_DEFAULT: usize = 100;

/// Secrets on a page of a list at most; a larger wish is cut to this.
pub const LIST_PAGE_MAX: usize = 500;

/// A page of a list in bytes on the wire: the node ends a page early rather than pass it. gRPC clients refuse answers
/// over 4 MiB unless told otherwise, and 500 secrets with full metadata are twice that.
pub const LIST_PAGE_BYTES_MAX: usize = 2 * MIB;

/// A client's request in bytes: the largest valid one with room for evolution, checked before anything is decoded.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 256 * KIB;

/// The entries of one append request to a peer, in bytes. openraft counts entries, not bytes; without a cut a batch
/// of large entries would pass the peer's message bound and wedge replication for ever.
pub const APPEND_BYTES_MAX: usize = 4 * MIB;

/// A message between nodes in bytes: an append request with its envelope, or one frame of a snapshot.
pub const PEER_MESSAGE_BYTES_MAX: usize = 8 * MIB;

/// What sealing may add to a payload, in bytes: header, key id, nonce and tag.
pub const SEAL_OVERHEAD_BYTES_MAX: usize = 512;

/// The metadata of one secret in bytes at most, without what the wire or disk format adds per field.
pub const SECRET_META_BYTES_MAX: usize = NAME_BYTES_MAX
    + NAMESPACE_BYTES_MAX
    + LABELS_MAX * (LABEL_PREFIX_BYTES_MAX + 1 + LABEL_NAME_BYTES_MAX + LABEL_VALUE_BYTES_MAX)
    + ANNOTATIONS_BYTES_MAX
    + FIXED_FIELDS_BYTES_MAX;

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

/// Uid, revision, generation, times, size, region, type: all that has a fixed size, generously.
const FIXED_FIELDS_BYTES_MAX: usize = 512;

/// The largest command in the log: metadata, the sealed payload, tenant, principal, and as much again for framing
/// and evolution.
const COMMAND_BYTES_MAX: usize = 2
    * (SECRET_META_BYTES_MAX
        + PAYLOAD_BYTES_MAX
        + SEAL_OVERHEAD_BYTES_MAX
        + NAMESPACE_BYTES_MAX
        + PRINCIPAL_BYTES_MAX);

// What must hold between the bounds; a change that breaks one does not compile.
const _: () = {
    assert!(SECRETS_QUOTA_DEFAULT <= SECRETS_QUOTA_MAX, "the default quota can be set");
    assert!(NAMESPACE_BYTES_MAX <= NAME_BYTES_MAX, "a label is a subdomain");
    assert!(0 < LIST_PAGE_DEFAULT && LIST_PAGE_DEFAULT <= LIST_PAGE_MAX, "the default page is a page");
    assert!(2 * SECRET_META_BYTES_MAX <= LIST_PAGE_BYTES_MAX, "every page holds a secret, so that lists end");
    assert!(LIST_PAGE_BYTES_MAX < 4 * MIB, "a page fits gRPC's default bound for answers");
    assert!(COMMAND_BYTES_MAX <= CLIENT_MESSAGE_BYTES_MAX, "the largest valid request is accepted");
    assert!(COMMAND_BYTES_MAX <= APPEND_BYTES_MAX, "every entry fits an append request of its own");
    assert!(
        CLIENT_MESSAGE_BYTES_MAX <= APPEND_BYTES_MAX,
        "no accepted request makes an entry that cannot travel"
    );
    assert!(
        APPEND_BYTES_MAX + MIB <= PEER_MESSAGE_BYTES_MAX,
        "an append request with its envelope is accepted"
    );
    assert!(
        REQUEST_AHEAD_MS_MAX < REQUEST_AGE_MS_MAX,
        "an id from a fast clock is remembered for most of its window"
    );
    assert!(SECRETS_QUOTA_DEFAULT as u64 <= FEED_EVENTS_PER_TENANT_MAX, "a feed holds one event per secret");
    assert!(SECRETS_QUOTA_DEFAULT < REQUESTS_PER_TENANT_MAX, "a tenant can use its quota within the window");
};
