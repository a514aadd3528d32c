//! The one mapping from [`Failure`] to what a caller sees: code, reason, details and text.
//!
//! Texts say what went wrong, the value and the limit, and what to do next. None shows a payload, a token, or anything
//! of another tenant. `docs/reference/errors.md` has a row for every reason; a test holds the two together.

use std::time::Duration;

use pi_proto::status::{Quota, StatusBuilder, status};
use pi_proto::{metadata, reason};
use pi_raft::{NodeId, ProposeError, ReadError};
use pi_state::Reject;
use pi_types::limits::{
    PAYLOAD_BYTES_MAX, REQUEST_AGE_MS_MAX, REQUEST_AHEAD_MS_MAX, REQUESTS_PER_TENANT_MAX,
};
use tonic::{Code, Status};

use crate::failure::{Failure, Lateness, Scene, Violation};

/// When a caller should try again after "no leader": about one election.
pub const RETRY_NO_LEADER: Duration = Duration::from_millis(200);
/// When a caller should try again after "overloaded".
pub const RETRY_OVERLOADED: Duration = Duration::from_millis(500);

/// Turns a failure into the status that is sent.
pub fn to_status(failure: &Failure, scene: &Scene) -> Status {
    match failure {
        Failure::WrongRegion { asked } => wrong_region(asked, scene),
        Failure::Unauthenticated(error) => {
            error_at(scene, Code::Unauthenticated, reason::UNAUTHENTICATED, error.to_string()).build()
        }
        Failure::Denied { principal, action } => denied(principal, *action, scene),
        Failure::Invalid(violations) => invalid(violations, scene),
        Failure::Rejected(reject) => rejected(reject, scene),
        Failure::Propose(error) => propose(error, scene),
        Failure::Read(error) => read(error, scene),
        Failure::Unsettled => unsettled(scene),
        Failure::NotBootstrapped | Failure::AlreadyBootstrapped => bootstrap(failure, scene),
        Failure::WatchTooOld { .. }
        | Failure::TenantWatches { .. }
        | Failure::NodeWatches { .. }
        | Failure::SlowWatcher
        | Failure::WatchDeadline => watch(failure, scene),
        Failure::ShuttingDown => shutting_down(scene),
        Failure::Status(_) => status_unreadable(scene),
        Failure::Sealing(_) | Failure::Fatal(_) | Failure::UnexpectedOutcome => internal(failure, scene),
    }
}

/// What the client listener answers when it has no room for a request. Never reached the log. `leader` as far as this
/// node knows.
pub fn overloaded(region: &str, requests_max: usize, leader: Option<NodeId>) -> Status {
    let text = format!(
        "overloaded: this node of region {region} already works on {requests_max} requests, its limit; \
         try again with backoff"
    );
    status(Code::Unavailable, reason::OVERLOADED, text, &[("region", region.to_owned())])
        .retry_after(RETRY_OVERLOADED)
        .not_proposed(leader)
        .build()
}

/// What the client listener answers for a message that the gRPC layer itself refused.
pub fn unreadable_message(region: &str, text: String) -> Status {
    status(Code::InvalidArgument, reason::INVALID_ARGUMENT, text, &[("region", region.to_owned())]).build()
}

fn error_at(scene: &Scene, code: Code, reason: &'static str, text: String) -> StatusBuilder {
    error_with(scene, code, reason, text, [])
}

/// [`error_at`] with more `ErrorInfo.metadata`.
fn error_with<const N: usize>(
    scene: &Scene,
    code: Code,
    reason: &'static str,
    text: String,
    more: [(&str, String); N],
) -> StatusBuilder {
    let mut metadata = vec![("region", scene.region.clone())];
    if let Some(request_id) = &scene.request_id {
        metadata.push(("request_id", request_id.clone()));
    }
    metadata.extend(more);
    status(code, reason, text, &metadata)
}

fn wrong_region(asked: &str, scene: &Scene) -> Status {
    let here = &scene.region;
    let text = if asked.is_empty() {
        format!("region: Required value: this node serves region {here}")
    } else {
        format!(
            "this node serves region {here}, the request names another; list the regions with \"pi region list\""
        )
    };
    error_at(scene, Code::InvalidArgument, reason::WRONG_REGION, text)
        .field_violation("region", format!("must be {here} on this node"))
        .build()
}

fn denied(principal: &pi_auth::Principal, action: crate::authorize::Action, scene: &Scene) -> Status {
    let who = match principal {
        pi_auth::Principal::Tenant { tenant, name } => format!("{name} of tenant {tenant}"),
        pi_auth::Principal::Operator { name } => format!("operator {name}"),
    };
    let text = format!(
        "{who} may not {} in region {}; use a credential that may (\"pi --context NAME\")",
        action.words(),
        scene.region
    );
    error_at(scene, Code::PermissionDenied, reason::PERMISSION_DENIED, text).build()
}

fn invalid(violations: &[Violation], scene: &Scene) -> Status {
    // One reason stands for all; a telling one wins over the general one.
    let telling = violations.iter().map(|v| v.reason).find(|r| *r != reason::INVALID_ARGUMENT);
    let lines: Vec<_> = violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
    let text = format!("invalid request: {}", lines.join("; "));
    let reason = telling.unwrap_or(reason::INVALID_ARGUMENT);
    let mut builder = error_at(scene, Code::InvalidArgument, reason, text);
    for violation in violations {
        builder = builder.field_violation(&violation.field, &violation.description);
    }
    builder.build()
}

fn secret_words(scene: &Scene) -> (String, String) {
    match &scene.secret {
        Some((namespace, name)) => (name.to_string(), namespace.to_string()),
        None => ("?".to_owned(), "?".to_owned()),
    }
}

fn rejected(reject: &Reject, scene: &Scene) -> Status {
    let region = &scene.region;
    let (name, namespace) = secret_words(scene);
    match reject {
        Reject::AlreadyExists => {
            let text = format!(
                "secrets \"{name}\" already exists in namespace {namespace} of region {region}; change it with \
                 \"pi secret update {name}\" or remove it with \"pi secret delete {name}\""
            );
            error_at(scene, Code::AlreadyExists, reason::SECRET_EXISTS, text).build()
        }
        Reject::NotFound => {
            let text = format!(
                "secrets \"{name}\" not found in namespace {namespace} of region {region}; list what there is with \
                 \"pi secret list -n {namespace}\""
            );
            error_at(scene, Code::NotFound, reason::SECRET_NOT_FOUND, text).build()
        }
        Reject::QuotaExceeded { used, quota } => quota_exceeded(*used, *quota, scene, &name),
        Reject::PayloadTooLarge { bytes } => {
            let violation = Violation { reason: reason::PAYLOAD_TOO_LARGE, ..too_large(u64::from(*bytes)) };
            invalid(&[violation], scene)
        }
        Reject::PreconditionFailed { uid, revision } => {
            let text = format!(
                "secrets \"{name}\" in namespace {namespace} is not as expected: it has uid {uid} and revision \
                 {revision}; read it again (\"pi secret get {name}\") and repeat with what you find"
            );
            let now = [("uid", uid.to_string()), ("revision", revision.to_string())];
            error_with(scene, Code::Aborted, reason::PRECONDITION_FAILED, text, now).build()
        }
        Reject::Invalid { field, reason } => invalid(&[Violation::new(field.clone(), reason.clone())], scene),
        Reject::RequestTooOld { .. }
        | Reject::RequestFromFuture { .. }
        | Reject::RequestReused
        | Reject::RequestTableFull => request_id(reject, scene),
    }
}

/// The violation of the payload limit; the same words wherever it is found.
pub fn too_large(bytes: u64) -> Violation {
    Violation {
        field: "payload".to_owned(),
        description: format!(
            "Too long: must have at most {PAYLOAD_BYTES_MAX} bytes, has {bytes} (the decoded value of \
             .dockerconfigjson counts)"
        ),
        reason: reason::PAYLOAD_TOO_LARGE,
    }
}

fn quota_of(scene: &Scene, metric: &str, limit: u64, description: String) -> Quota {
    let tenant = scene.tenant.as_deref().unwrap_or("?");
    Quota {
        subject: format!("tenant:{tenant} region:{}", scene.region),
        metric: metric.to_owned(),
        limit,
        description,
    }
}

/// Begins as Kubernetes' own refusal does.
fn quota_exceeded(used: u32, quota: u32, scene: &Scene, name: &str) -> Status {
    let region = &scene.region;
    let tenant = scene.tenant.as_deref().unwrap_or("?");
    let text = format!(
        "secrets \"{name}\" is forbidden: exceeded quota: tenant {tenant} has {used} of {quota} secrets in region {region} (all namespaces \
         count); delete one with \"pi secret delete NAME\" or ask an operator for a higher quota"
    );
    let description = format!("{used} of {quota} secrets in use, all namespaces together");
    let counts = [("used", used.to_string()), ("quota", quota.to_string())];
    error_with(scene, Code::ResourceExhausted, reason::QUOTA_EXCEEDED, text, counts)
        .quota(quota_of(scene, "secrets", quota.into(), description))
        .build()
}

fn request_id(reject: &Reject, scene: &Scene) -> Status {
    let region = &scene.region;
    match reject {
        Reject::RequestTooOld { age_ms } => {
            let text = format!(
                "{}: made {age_ms} ms ago, the limit is {REQUEST_AGE_MS_MAX} ms; whether an earlier try happened is \
                 no longer known: look first (\"pi secret get\"), then repeat with a new id",
                metadata::REQUEST_ID
            );
            error_at(scene, Code::InvalidArgument, reason::REQUEST_TOO_OLD, text).build()
        }
        Reject::RequestFromFuture { ahead_ms } => {
            let text = format!(
                "{}: {ahead_ms} ms ahead of region {region}'s clock, the limit is {REQUEST_AHEAD_MS_MAX} ms; set this \
                 machine's clock",
                metadata::REQUEST_ID
            );
            error_at(scene, Code::InvalidArgument, reason::REQUEST_FROM_FUTURE, text).build()
        }
        Reject::RequestReused => {
            let text = format!(
                "{}: this id was used for another method or name; use a new UUIDv7 for each mutation",
                metadata::REQUEST_ID
            );
            error_at(scene, Code::InvalidArgument, reason::REQUEST_REUSED, text).build()
        }
        _ => {
            let tenant = scene.tenant.as_deref().unwrap_or("?");
            let text = format!(
                "tenant {tenant} made {REQUESTS_PER_TENANT_MAX} changes in region {region} within 10 minutes, the \
                 limit; wait and repeat with the same id"
            );
            error_at(scene, Code::ResourceExhausted, reason::REQUEST_TABLE_FULL, text)
                .quota(quota_of(
                    scene,
                    "remembered_requests",
                    REQUESTS_PER_TENANT_MAX.into(),
                    format!("{REQUESTS_PER_TENANT_MAX} changes in 10 minutes"),
                ))
                .retry_after(Duration::from_secs(10))
                .build()
        }
    }
}

fn no_leader(leader: Option<NodeId>, scene: &Scene) -> Status {
    let region = &scene.region;
    let text = match leader {
        Some(id) => {
            format!("this node does not lead region {region}, node {id} does; ask that one or a gateway")
        }
        None => format!(
            "region {region} has no leader that this node knows of: an election is running or a majority of its \
             nodes is down; nothing was changed, try again"
        ),
    };
    error_at(scene, Code::Unavailable, reason::NO_LEADER, text)
        .retry_after(RETRY_NO_LEADER)
        .not_proposed(leader)
        .build()
}

fn propose(error: &ProposeError, scene: &Scene) -> Status {
    match error {
        ProposeError::NotLeader { leader } => no_leader(*leader, scene),
        ProposeError::Overloaded if scene.late == Lateness::Late => {
            let text = format!(
                "the deadline passed before this change was proposed in region {}; nothing was changed, try again \
                 with a longer deadline",
                scene.region
            );
            too_much(scene, Code::DeadlineExceeded, text)
        }
        ProposeError::Overloaded => {
            let text = format!(
                "overloaded: the log of region {} has as many changes waiting as it may; nothing was changed, try \
                 again with backoff",
                scene.region
            );
            too_much(scene, Code::Unavailable, text)
        }
        ProposeError::Unknown(_) => outcome_unknown("it was proposed, but its commit was not seen", scene),
        ProposeError::Stopped => shutting_down(scene),
    }
}

/// More than this node takes on, or than fits into the deadline; never reached the log. Names the leader, so that a
/// gateway does not take the refusal for a loss of leadership.
fn too_much(scene: &Scene, code: Code, text: String) -> Status {
    error_at(scene, code, reason::OVERLOADED, text)
        .retry_after(RETRY_OVERLOADED)
        .not_proposed(scene.leader)
        .build()
}

fn outcome_unknown(cause: &str, scene: &Scene) -> Status {
    let id = scene.request_id.as_deref().unwrap_or("?");
    let text = format!(
        "the outcome of this change in region {} is unknown: {cause}; repeat it with {} {id} within 10 minutes: it \
         then happens once, or its stored answer is returned",
        scene.region,
        metadata::REQUEST_ID
    );
    let code = match scene.late {
        Lateness::Late => Code::DeadlineExceeded,
        Lateness::InTime => Code::Unavailable,
    };
    error_at(scene, code, reason::OUTCOME_UNKNOWN, text).retry_after(RETRY_NO_LEADER).build()
}

fn unsettled(scene: &Scene) -> Status {
    let (name, namespace) = secret_words(scene);
    let text = format!(
        "secrets \"{name}\" in namespace {namespace} was changed by others each time this update was prepared, until \
         the deadline; nothing was changed, try again"
    );
    too_much(scene, Code::DeadlineExceeded, text)
}

fn read(error: &ReadError, scene: &Scene) -> Status {
    match error {
        ReadError::NotLeader { leader } => no_leader(*leader, scene),
        ReadError::Timeout => {
            let text = format!(
                "the leader of region {} could not confirm before the deadline that it still leads: a majority of \
                 its nodes is slow or down; try again, or read with consistency STALE",
                scene.region
            );
            let code = match scene.late {
                Lateness::Late => Code::DeadlineExceeded,
                Lateness::InTime => Code::Unavailable,
            };
            error_at(scene, code, reason::REGION_UNAVAILABLE, text)
                .retry_after(RETRY_NO_LEADER)
                .not_proposed(None)
                .build()
        }
        ReadError::Overloaded => {
            let text = format!(
                "overloaded: as many reads wait for the leader of region {} as may; try again with backoff, or read \
                 with consistency STALE",
                scene.region
            );
            too_much(scene, Code::Unavailable, text)
        }
        ReadError::Stopped => shutting_down(scene),
    }
}

fn shutting_down(scene: &Scene) -> Status {
    let text = format!("this node of region {} is stopping; ask another one", scene.region);
    error_at(scene, Code::Unavailable, reason::SHUTTING_DOWN, text)
        .retry_after(RETRY_NO_LEADER)
        .not_proposed(None)
        .build()
}

fn status_unreadable(scene: &Scene) -> Status {
    let text = format!(
        "this node of region {} could not read its state while it was changing; try again, and if it lasts look at \
         the node's log",
        scene.region
    );
    error_at(scene, Code::Unavailable, reason::REGION_UNAVAILABLE, text).retry_after(RETRY_NO_LEADER).build()
}

fn bootstrap(failure: &Failure, scene: &Scene) -> Status {
    let region = &scene.region;
    match failure {
        Failure::AlreadyBootstrapped => {
            let text = format!(
                "region {region} was formed before, as far as this node knows; nothing is left to do: its nodes and \
                 leader are in the answer of pi.regions.v1.Regions/GetRegion"
            );
            error_at(scene, Code::FailedPrecondition, reason::ALREADY_BOOTSTRAPPED, text).build()
        }
        // A node that has not joined yet looks the same as a region that was never formed: the caller should try
        // the region's other nodes, hence UNAVAILABLE.
        _ => {
            let text = format!(
                "this node is no member of region {region} yet; if no node is, an operator forms the region with \
                 pi.admin.v1.Admin/Bootstrap"
            );
            error_at(scene, Code::Unavailable, reason::NOT_BOOTSTRAPPED, text)
                .retry_after(RETRY_OVERLOADED)
                .not_proposed(None)
                .build()
        }
    }
}

fn watch(failure: &Failure, scene: &Scene) -> Status {
    let region = &scene.region;
    match failure {
        Failure::WatchTooOld { revision, oldest } => {
            let text = format!(
                "the changes behind revision {revision} are no longer kept, the oldest revision to continue behind is \
                 {oldest}; watch again without a resume_token"
            );
            error_at(scene, Code::OutOfRange, reason::WATCH_TOO_OLD, text).build()
        }
        Failure::TenantWatches { limit } => {
            let tenant = scene.tenant.as_deref().unwrap_or("?");
            let text = format!(
                "tenant {tenant} has {limit} watches on this node of region {region}, the limit; end one, or watch \
                 more with one watch (without a name)"
            );
            error_at(scene, Code::ResourceExhausted, reason::OVERLOADED, text)
                .quota(quota_of(scene, "watches", *limit as u64, format!("{limit} watches a node")))
                .build()
        }
        Failure::NodeWatches { limit } => {
            let text = format!(
                "this node of region {region} has {limit} watches, the limit; try again with backoff"
            );
            too_much(scene, Code::Unavailable, text)
        }
        Failure::SlowWatcher => {
            let text = "the present state was not read in time; watch again and read faster".to_owned();
            error_at(scene, Code::Unavailable, reason::OVERLOADED, text).retry_after(RETRY_OVERLOADED).build()
        }
        _ => {
            let text = "the watch reached its deadline; watch again with the last resume_token".to_owned();
            error_at(scene, Code::DeadlineExceeded, reason::REGION_UNAVAILABLE, text).build()
        }
    }
}

/// What only an operator can mend. The cause goes to the log, not to the caller.
fn internal(failure: &Failure, scene: &Scene) -> Status {
    let region = &scene.region;
    match failure {
        Failure::Sealing(error) => {
            let (name, namespace) = secret_words(scene);
            let text = format!(
                "the payload of secrets \"{name}\" in namespace {namespace} cannot be opened: {error}; write it anew \
                 with \"pi secret update {name}\", and tell an operator"
            );
            error_at(scene, Code::DataLoss, reason::PAYLOAD_UNREADABLE, text).build()
        }
        _ => {
            let text = format!(
                "this node of region {region} found its state unreadable and stops; try again: other nodes take \
                 over, and tell an operator"
            );
            let answer = error_at(scene, Code::Unavailable, reason::REGION_UNAVAILABLE, text)
                .retry_after(RETRY_OVERLOADED);
            match failure {
                // Met while reading: nothing was proposed, and another node's state may be whole.
                Failure::Fatal(_) => answer.not_proposed(None).build(),
                _ => answer.build(),
            }
        }
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
