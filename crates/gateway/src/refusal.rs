//! The gateway's own errors.
//!
//! Responsible for code, reason and wording where the gateway itself answers. Nodes' errors pass through unchanged.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response};
use pi_proto::reason;
use pi_proto::status::{StatusBuilder, status};
use tonic::{Code, Status};

use crate::body::Body;

/// When to try an unavailable region again: about one election.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// When to try an overloaded one again.
const RETRY_AFTER_OVERLOAD: Duration = Duration::from_millis(100);

/// An answer that consists of a status only.
pub(crate) fn response(status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::complete(None, None));
    *response.headers_mut() = trailers(status);
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A status as trailers.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    if status.add_header(&mut headers).is_err() {
        // Cannot be: our texts are percent-encoded. A bare code is still an answer.
        headers.insert("grpc-status", HeaderValue::from(status.code() as i32));
    }
    headers
}

pub(crate) fn unknown_method(path: &str) -> Status {
    // The path is the caller's; a bounded part of it is enough to recognise it by.
    let path: String = path.chars().take(100).collect();
    Status::unimplemented(format!("{path}: no such method here"))
}

pub(crate) fn invalid(field: &str, description: &str) -> Status {
    status(Code::InvalidArgument, reason::INVALID_ARGUMENT, format!("{field}: {description}"), &[])
        .field_violation(field, description)
        .build()
}

pub(crate) fn too_large(limit: usize) -> Status {
    let text = format!("the request has more than {limit} bytes, the limit of one message");
    status(Code::InvalidArgument, reason::PAYLOAD_TOO_LARGE, text, &[("limit_bytes", limit.to_string())])
        .field_violation("request", format!("at most {limit} bytes"))
        .build()
}

/// `region` is `None` when field 1 is absent or empty.
pub(crate) fn unknown_region(region: Option<&str>, known: &str) -> Status {
    match region {
        None => {
            let description = format!("is required in field 1 of every request; regions here: {known}");
            status(Code::InvalidArgument, reason::INVALID_ARGUMENT, format!("region: {description}"), &[])
                .field_violation("region", description)
                .build()
        }
        Some(region) => {
            let region: String = region.chars().take(100).collect();
            let text = format!("unknown region \"{region}\"; regions here: {known}");
            status(Code::InvalidArgument, reason::UNKNOWN_REGION, text, &[("regions", known.to_owned())])
                .field_violation("region", format!("one of: {known}"))
                .build()
        }
    }
}

pub(crate) fn overloaded(region: &str, what: &str, limit: usize) -> Status {
    let text =
        format!("region {region}: {limit} {what} are open at this gateway, which is its limit; try again");
    in_region(Code::Unavailable, reason::OVERLOADED, text, region).retry_after(RETRY_AFTER_OVERLOAD).build()
}

/// The gateway as a whole has no room.
pub(crate) fn gateway_overloaded(what: &str, limit: usize) -> Status {
    let text = format!("{limit} {what} are open at this gateway, which is its limit; try again");
    status(Code::Unavailable, reason::OVERLOADED, text, &[]).retry_after(RETRY_AFTER_OVERLOAD).build()
}

/// Nothing of the request can have reached the region's log.
pub(crate) fn unavailable(region: &str, cause: &str) -> Status {
    let text = format!("region {region} is unavailable: {cause}; nothing changed, try again");
    in_region(Code::Unavailable, reason::REGION_UNAVAILABLE, text, region).retry_after(RETRY_AFTER).build()
}

/// The same, when the client's deadline came first.
pub(crate) fn deadline(region: &str, cause: &str) -> Status {
    let text =
        format!("region {region} did not answer within the deadline: {cause}; nothing changed, try again");
    in_region(Code::DeadlineExceeded, reason::REGION_UNAVAILABLE, text, region)
        .retry_after(RETRY_AFTER)
        .build()
}

/// The deadline came before the whole request did; no region has seen any of it.
pub(crate) fn not_arrived() -> Status {
    let text = "the request did not arrive within its deadline; nothing changed, try again";
    status(Code::DeadlineExceeded, reason::REGION_UNAVAILABLE, text, &[]).retry_after(RETRY_AFTER).build()
}

/// The request was sent and no answer came.
pub(crate) fn outcome_unknown(code: Code, region: &str, request_id: &str, cause: &str) -> Status {
    let text = format!(
        "region {region}: {cause}; a change may or may not have happened: retry with the same pi-request-id \
         {request_id} within 10 minutes"
    );
    let metadata = [("region", region.to_owned()), ("request_id", request_id.to_owned())];
    status(code, reason::OUTCOME_UNKNOWN, text, &metadata).retry_after(RETRY_AFTER).build()
}

/// After the first message, whether a unary answer or a stream was cut off is not known.
pub(crate) fn stream_broken(cause: &str) -> Status {
    let text =
        format!("the answer broke off: {cause}; resume the stream, or retry with the same pi-request-id");
    status(Code::Unavailable, reason::OUTCOME_UNKNOWN, text, &[]).build()
}

pub(crate) fn stream_ended_by_shutdown() -> Status {
    stream_broken("this gateway is stopping")
}

fn in_region(code: Code, reason: &'static str, text: String, region: &str) -> StatusBuilder {
    status(code, reason, text, &[("region", region.to_owned())])
}
