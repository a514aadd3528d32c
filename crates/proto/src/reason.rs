//! Reasons of `google.rpc.ErrorInfo`: stable names that programs may match on. A reason is never renamed or reused.

/// `ErrorInfo.domain` of every error of ours.
pub const DOMAIN: &str = "secrets.pi";

/// The name is taken.
pub const SECRET_EXISTS: &str = "SECRET_EXISTS";
/// There is no such secret.
pub const SECRET_NOT_FOUND: &str = "SECRET_NOT_FOUND";
/// The tenant has as many secrets in this region as it may.
pub const QUOTA_EXCEEDED: &str = "QUOTA_EXCEEDED";
/// A field is malformed or out of bounds.
pub const INVALID_ARGUMENT: &str = "INVALID_ARGUMENT";
/// The payload has more bytes than a secret may have.
pub const PAYLOAD_TOO_LARGE: &str = "PAYLOAD_TOO_LARGE";
/// `expect_uid` or `expect_revision` does not hold.
pub const PRECONDITION_FAILED: &str = "PRECONDITION_FAILED";
/// The request id is older than the window in which retries are recognised.
pub const REQUEST_TOO_OLD: &str = "REQUEST_TOO_OLD";
/// The request id is further ahead of the region's time than clocks may differ.
pub const REQUEST_FROM_FUTURE: &str = "REQUEST_FROM_FUTURE";
/// The request id was used before, for another method or name.
pub const REQUEST_REUSED: &str = "REQUEST_REUSED";
/// The tenant has more mutations within the window than are remembered.
pub const REQUEST_TABLE_FULL: &str = "REQUEST_TABLE_FULL";
/// No such region is served here.
pub const UNKNOWN_REGION: &str = "UNKNOWN_REGION";
/// The request reached a node of another region.
pub const WRONG_REGION: &str = "WRONG_REGION";
/// The answering node is not the leader, or there is none now.
pub const NO_LEADER: &str = "NO_LEADER";
/// No node of the region answers.
pub const REGION_UNAVAILABLE: &str = "REGION_UNAVAILABLE";
/// The mutation may or may not have happened.
pub const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
/// More is waiting than may wait.
pub const OVERLOADED: &str = "OVERLOADED";
/// The history behind the resume token is no longer kept.
pub const WATCH_TOO_OLD: &str = "WATCH_TOO_OLD";
/// There is no credential, or a bad one.
pub const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
/// The credential does not allow this.
pub const PERMISSION_DENIED: &str = "PERMISSION_DENIED";
/// The region's group was formed before.
pub const ALREADY_BOOTSTRAPPED: &str = "ALREADY_BOOTSTRAPPED";
/// The region's group was not formed yet.
pub const NOT_BOOTSTRAPPED: &str = "NOT_BOOTSTRAPPED";
/// The node is stopping.
pub const SHUTTING_DOWN: &str = "SHUTTING_DOWN";
/// The node's disk has too little room for writes.
pub const STORAGE_FULL: &str = "STORAGE_FULL";
/// The stored payload cannot be opened.
pub const PAYLOAD_UNREADABLE: &str = "PAYLOAD_UNREADABLE";
/// Between nodes: the request was meant for another cluster, region or node.
pub const WRONG_PEER: &str = "WRONG_PEER";
