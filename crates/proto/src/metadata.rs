//! Keys of gRPC metadata that our processes set or read.

/// Request: `Bearer <token>`. Marked sensitive wherever it is set.
pub const AUTHORIZATION: &str = "authorization";
/// Request: names one mutation, a UUIDv7 in its hyphenated form.
pub const REQUEST_ID: &str = "pi-request-id";
/// Answer with an error: [`NOT_PROPOSED_YES`] when the mutation certainly never reached the log, so that trying it
/// elsewhere is safe even without a request id.
pub const NOT_PROPOSED: &str = "pi-not-proposed";
/// The only value of [`NOT_PROPOSED`].
pub const NOT_PROPOSED_YES: &str = "1";
/// Answer with an error: the leader's node id in decimal; absent when unknown. For gateways, which strip it.
pub const LEADER: &str = "pi-leader";
