//! One unary call: region, metadata, deadline, and the loop of attempts.
//!
//! Responsible for judging how an attempt ended and for repeating only what cannot be done twice. Mutations carry a
//! request id, by which the region recognises a repetition, so that they are as safe to repeat as reads.

use std::error::Error as _;
use std::time::{Duration, Instant};

use pi_proto::status::{Details, decode};
use pi_proto::{metadata, reason};
use pi_types::RequestId;
use pi_types::limits::CLIENT_MESSAGE_BYTES_MAX;
use prost::Message;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::{CallOptions, Client, Error};

/// A fresh id for one mutation, for callers that want to know it before the call.
#[must_use]
pub fn new_request_id() -> RequestId {
    RequestId::from_bytes(uuid::Uuid::now_v7().as_bytes())
        .expect("now_v7 makes a UUIDv7, which is all it asks for")
}

/// A request whose field 1 says where it goes.
pub(crate) trait Routed {
    /// `None` for calls that the gateway answers itself.
    fn region_mut(&mut self) -> Option<&mut String>;
}

/// What is called.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) title: &'static str,
    mutates: bool,
}

impl Operation {
    pub(crate) fn read(title: &'static str) -> Self {
        Self { title, mutates: false }
    }

    pub(crate) fn mutation(title: &'static str) -> Self {
        Self { title, mutates: true }
    }
}

/// How an attempt ended that did not succeed.
pub(crate) enum Ended {
    /// Decided; do not repeat.
    Refused(Box<Details>),
    /// Not decided; repeat while there is time.
    Again {
        /// In words.
        cause: String,
        /// False only when the attempt certainly did not reach the log.
        may_have_happened: bool,
        /// The least time to wait.
        after: Option<Duration>,
    },
}

/// What is known after the attempts so far.
struct Attempts {
    operation: Operation,
    region: String,
    request_id: Option<RequestId>,
    started: Instant,
    count: u32,
    may_have_happened: bool,
    cause: String,
    retry_after: Option<Duration>,
}

impl Attempts {
    fn give_up(self) -> Error {
        match self.request_id {
            Some(request_id) if self.may_have_happened => Error::Unknown {
                request_id,
                operation: self.operation.title,
                region: self.region,
                cause: self.cause,
            },
            _ => Error::Unavailable {
                operation: self.operation.title,
                region: self.region,
                cause: self.cause,
                attempts: self.count,
                elapsed: self.started.elapsed(),
                retry_after: self.retry_after,
            },
        }
    }

    /// A refusal after an attempt that may have happened is the answer to that attempt too, unless it was made before
    /// looking at the request id.
    fn refused(mut self, details: Box<Details>) -> Error {
        let undecided = matches!(
            details.reason.as_deref(),
            None | Some(reason::UNAUTHENTICATED | reason::PERMISSION_DENIED | reason::REQUEST_TOO_OLD)
        );
        if self.may_have_happened && undecided && self.request_id.is_some() {
            self.cause = details.message;
            return self.give_up();
        }
        Error::Refused(details)
    }
}

impl Client {
    /// Runs a call to its end: an answer, a refusal, or the deadline.
    pub(crate) async fn call<Req, Res, F, Fut>(
        &self,
        operation: Operation,
        mut request: Req,
        options: CallOptions,
        send: F,
    ) -> Result<Res, Error>
    where
        Req: Routed + Message + Clone,
        F: Fn(Channel, Request<Req>) -> Fut,
        Fut: Future<Output = Result<Response<Res>, Status>>,
    {
        let region = self.fill_region(&mut request, &options)?;
        check_size(&request)?;
        let started = Instant::now();
        let deadline = started + options.deadline.unwrap_or(self.inner.deadline);
        let request_id = operation.mutates.then(|| options.request_id.unwrap_or_else(new_request_id));
        let mut attempts = Attempts {
            operation,
            region,
            request_id,
            started,
            count: 0,
            may_have_happened: false,
            cause: "the deadline had passed before the first attempt".to_owned(),
            retry_after: None,
        };
        let mut delays = self.inner.backoff.iter(SmallRng::from_os_rng());
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(attempts.give_up());
            }
            attempts.count += 1;
            let attempt = send(self.channel(), self.prepare(request.clone(), request_id, Some(remaining)));
            let ended = match tokio::time::timeout(remaining, attempt).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => judge(&status),
                Err(_) => Ended::Again {
                    cause: format!("no answer within {:.1} s", started.elapsed().as_secs_f64()),
                    may_have_happened: true,
                    after: None,
                },
            };
            match ended {
                Ended::Refused(details) => return Err(attempts.refused(details)),
                Ended::Again { cause, may_have_happened, after } => {
                    attempts.may_have_happened |= may_have_happened;
                    attempts.cause = cause;
                    attempts.retry_after = after;
                    let delay = delays.next_delay().max(after.unwrap_or_default());
                    if Instant::now() + delay >= deadline {
                        return Err(attempts.give_up());
                    }
                    tracing::debug!(operation = operation.title, cause = %attempts.cause, ?delay, "trying again");
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    /// Fills an empty field 1 and returns the region; empty for calls that have none.
    pub(crate) fn fill_region(
        &self,
        request: &mut impl Routed,
        options: &CallOptions,
    ) -> Result<String, Error> {
        let Some(field) = request.region_mut() else { return Ok(String::new()) };
        if field.is_empty() {
            let region = options.region.as_ref().or(self.inner.region.as_ref());
            let region = region
                .ok_or_else(|| Error::invalid("no region: give `--region NAME`; see `pi region list`"))?;
            region.as_str().clone_into(field);
        }
        Ok(field.clone())
    }

    /// Puts metadata around a request.
    pub(crate) fn prepare<T>(
        &self,
        message: T,
        id: Option<RequestId>,
        timeout: Option<Duration>,
    ) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.inner.authorization {
            request.metadata_mut().insert(metadata::AUTHORIZATION, authorization.clone());
        }
        if let Some(id) = id {
            let value = AsciiMetadataValue::try_from(id.to_string()).expect("a hyphenated UUID is ASCII");
            request.metadata_mut().insert(metadata::REQUEST_ID, value);
        }
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        request
    }
}

fn check_size(request: &impl Message) -> Result<(), Error> {
    let bytes = request.encoded_len();
    if bytes > CLIENT_MESSAGE_BYTES_MAX {
        let limit = CLIENT_MESSAGE_BYTES_MAX;
        return Err(Error::invalid(format!("the request has {bytes} bytes, at most {limit} are accepted")));
    }
    Ok(())
}

/// What a status means. Ours carry a reason and mean what they say. The others come from the transport below: tonic
/// reports a broken connection as INTERNAL, CANCELLED or UNKNOWN as well as UNAVAILABLE.
pub(crate) fn judge(status: &Status) -> Ended {
    let details = decode(status);
    let again = |may_have_happened| Ended::Again {
        cause: cause_of(status),
        may_have_happened,
        after: details.retry_after,
    };
    match (details.reason.as_deref(), details.code) {
        (Some(reason::OUTCOME_UNKNOWN), _) => again(true),
        (Some(reason::OVERLOADED | reason::REGION_UNAVAILABLE | reason::NO_LEADER), _)
        | (Some(_), Code::Unavailable) => again(false),
        (Some(_), Code::DeadlineExceeded | Code::Cancelled | Code::Unknown) => again(true),
        (Some(_), _) => Ended::Refused(Box::new(details)),
        (None, _) if find::<tonic::ConnectError>(status).is_some() => again(false),
        (
            None,
            Code::Unavailable | Code::Internal | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded,
        ) => again(true),
        (None, _) if status.source().is_some() => again(true),
        (None, _) => Ended::Refused(Box::new(details)),
    }
}

/// The status's own words and the innermost cause beneath, such as "Connection refused".
fn cause_of(status: &Status) -> String {
    let mut innermost = status.source();
    while let Some(below) = innermost.and_then(std::error::Error::source) {
        innermost = Some(below);
    }
    match innermost.map(ToString::to_string) {
        Some(cause) if cause != status.message() => format!("{}: {cause}", status.message()),
        _ => status.message().to_owned(),
    }
}

fn find<E: std::error::Error + 'static>(status: &Status) -> Option<&E> {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}
