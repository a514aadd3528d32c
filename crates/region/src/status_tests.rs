//! Every failure's code, reason and text; and that the reference page knows every reason.

use std::collections::BTreeSet;

use pi_proto::status::{Details, decode};
use pi_types::Uid;

use super::*;
use crate::authorize::Action;
use crate::sealing;

fn scene() -> Scene {
    Scene {
        region: "us-central1".into(),
        tenant: Some("acme".into()),
        request_id: Some("0190163d-8694-739b-aea5-966c26f8ad91".into()),
        secret: Some(("default".parse().unwrap(), "db".parse().unwrap())),
        leader: Some(7),
        ..Scene::default()
    }
}

fn shown(failure: Failure) -> Details {
    decode(&to_status(&failure, &scene()))
}

/// (failure, code, reason, parts of the text, certainly not proposed)
type Row = (Failure, Code, &'static str, &'static [&'static str], bool);

fn rejections() -> Vec<Row> {
    let uid = Uid::from_bytes([7; 16]);
    let reject = Failure::Rejected;
    vec![
        (
            reject(Reject::AlreadyExists),
            Code::AlreadyExists,
            reason::SECRET_EXISTS,
            &[
                "secrets \"db\" already exists",
                "namespace default",
                "region us-central1",
                "pi secret update db",
            ],
            false,
        ),
        (
            reject(Reject::NotFound),
            Code::NotFound,
            reason::SECRET_NOT_FOUND,
            &["secrets \"db\" not found", "region us-central1", "pi secret list -n default"],
            false,
        ),
        (
            reject(Reject::QuotaExceeded { used: 8, quota: 8 }),
            Code::ResourceExhausted,
            reason::QUOTA_EXCEEDED,
            &[
                "secrets \"db\" is forbidden: exceeded quota: tenant acme has 8 of 8 secrets in region us-central1 (all namespaces count); \
            delete one with \"pi secret delete NAME\" or ask an operator for a higher quota",
            ],
            false,
        ),
        (
            reject(Reject::PayloadTooLarge { bytes: 4_097 }),
            Code::InvalidArgument,
            reason::PAYLOAD_TOO_LARGE,
            &["4096 bytes", "has 4097"],
            false,
        ),
        (
            reject(Reject::PreconditionFailed { uid, revision: 9 }),
            Code::Aborted,
            reason::PRECONDITION_FAILED,
            &["07070707-0707", "revision 9", "pi secret get db"],
            false,
        ),
        (
            reject(Reject::RequestTooOld { age_ms: 600_001 }),
            Code::InvalidArgument,
            reason::REQUEST_TOO_OLD,
            &["pi-request-id", "600001 ms", "600000 ms", "new id"],
            false,
        ),
        (
            reject(Reject::RequestFromFuture { ahead_ms: 60_001 }),
            Code::InvalidArgument,
            reason::REQUEST_FROM_FUTURE,
            &["60001 ms", "60000 ms", "clock"],
            false,
        ),
        (
            reject(Reject::RequestReused),
            Code::InvalidArgument,
            reason::REQUEST_REUSED,
            &["another method or name", "new UUIDv7"],
            false,
        ),
        (
            reject(Reject::RequestTableFull),
            Code::ResourceExhausted,
            reason::REQUEST_TABLE_FULL,
            &["tenant acme", "65536", "10 minutes", "same id"],
            false,
        ),
        (
            reject(Reject::Invalid { field: "labels".into(), reason: "no".into() }),
            Code::InvalidArgument,
            reason::INVALID_ARGUMENT,
            &["labels: no"],
            false,
        ),
    ]
}

fn outcomes() -> Vec<Row> {
    vec![
        (
            ProposeError::NotLeader { leader: Some(2) }.into(),
            Code::Unavailable,
            reason::NO_LEADER,
            &["node 2 does"],
            true,
        ),
        (
            ProposeError::NotLeader { leader: None }.into(),
            Code::Unavailable,
            reason::NO_LEADER,
            &["has no leader", "nothing was changed"],
            true,
        ),
        (
            ProposeError::Overloaded.into(),
            Code::Unavailable,
            reason::OVERLOADED,
            &["nothing was changed"],
            true,
        ),
        (
            ProposeError::Unknown("x".into()).into(),
            Code::Unavailable,
            reason::OUTCOME_UNKNOWN,
            &["unknown", "pi-request-id 0190163d-8694-739b-aea5-966c26f8ad91", "10 minutes"],
            false,
        ),
        (ProposeError::Stopped.into(), Code::Unavailable, reason::SHUTTING_DOWN, &["stopping"], true),
        (
            ReadError::NotLeader { leader: Some(3) }.into(),
            Code::Unavailable,
            reason::NO_LEADER,
            &["node 3 does"],
            true,
        ),
        (
            ReadError::Timeout.into(),
            Code::Unavailable,
            reason::REGION_UNAVAILABLE,
            &["majority", "STALE"],
            true,
        ),
        (
            ReadError::Overloaded.into(),
            Code::Unavailable,
            reason::OVERLOADED,
            &["as many reads wait", "STALE"],
            true,
        ),
        (ReadError::Stopped.into(), Code::Unavailable, reason::SHUTTING_DOWN, &["stopping"], true),
        (Failure::Unsettled, Code::DeadlineExceeded, reason::OVERLOADED, &["nothing was changed"], true),
        (Failure::ShuttingDown, Code::Unavailable, reason::SHUTTING_DOWN, &["ask another one"], true),
        (
            Failure::NotBootstrapped,
            Code::Unavailable,
            reason::NOT_BOOTSTRAPPED,
            &["no member of region us-central1", "pi.admin.v1.Admin/Bootstrap"],
            true,
        ),
        (
            Failure::AlreadyBootstrapped,
            Code::FailedPrecondition,
            reason::ALREADY_BOOTSTRAPPED,
            &["was formed before", "pi.regions.v1.Regions/GetRegion"],
            false,
        ),
        (
            Failure::Status(std::io::Error::other("x")),
            Code::Unavailable,
            reason::REGION_UNAVAILABLE,
            &["try again"],
            false,
        ),
    ]
}

fn the_rest() -> Vec<Row> {
    let principal = pi_auth::Principal::Operator { name: "root".parse().unwrap() };
    let action = Action::AccessSecret;
    vec![
        (
            Failure::WrongRegion { asked: "another".into() },
            Code::InvalidArgument,
            reason::WRONG_REGION,
            &["serves region us-central1", "pi region list"],
            false,
        ),
        (
            Failure::WrongRegion { asked: String::new() },
            Code::InvalidArgument,
            reason::WRONG_REGION,
            &["region: Required value"],
            false,
        ),
        (
            pi_auth::Error::Missing.into(),
            Code::Unauthenticated,
            reason::UNAUTHENTICATED,
            &["authorization: Bearer"],
            false,
        ),
        (
            Failure::Denied { principal, action },
            Code::PermissionDenied,
            reason::PERMISSION_DENIED,
            &["operator root may not access the payload"],
            false,
        ),
        (
            Failure::invalid("name", "Required value"),
            Code::InvalidArgument,
            reason::INVALID_ARGUMENT,
            &["invalid request: name: Required value"],
            false,
        ),
        (
            Failure::WatchTooOld { revision: 3, oldest: 5 },
            Code::OutOfRange,
            reason::WATCH_TOO_OLD,
            &["revision 3", "5", "without a resume_token"],
            false,
        ),
        (
            Failure::TenantWatches { limit: 64 },
            Code::ResourceExhausted,
            reason::OVERLOADED,
            &["tenant acme has 64 watches"],
            false,
        ),
        (Failure::NodeWatches { limit: 9 }, Code::Unavailable, reason::OVERLOADED, &["9 watches"], true),
        (Failure::SlowWatcher, Code::Unavailable, reason::OVERLOADED, &["read faster"], false),
        (
            Failure::WatchDeadline,
            Code::DeadlineExceeded,
            reason::REGION_UNAVAILABLE,
            &["resume_token"],
            false,
        ),
        (
            sealing::Error::DoesNotOpen.into(),
            Code::DataLoss,
            reason::PAYLOAD_UNREADABLE,
            &["secrets \"db\"", "cannot be opened", "pi secret update db"],
            false,
        ),
        (
            pi_state::Fatal::Corrupt { key: "00".into(), why: "x" }.into(),
            Code::Unavailable,
            reason::REGION_UNAVAILABLE,
            &["try again"],
            true,
        ),
        (Failure::UnexpectedOutcome, Code::Unavailable, reason::REGION_UNAVAILABLE, &["try again"], false),
    ]
}

#[test]
fn every_failure_has_its_code_reason_and_text() {
    for (failure, code, reason, parts, not_proposed) in
        rejections().into_iter().chain(outcomes()).chain(the_rest())
    {
        let name = format!("{failure:?}");
        let details = shown(failure);
        assert_eq!(details.code, code, "{name}");
        assert_eq!(details.reason.as_deref(), Some(reason), "{name}");
        assert_eq!(details.not_proposed, not_proposed, "{name}");
        assert_eq!(details.metadata.get("region").map(String::as_str), Some("us-central1"), "{name}");
        for part in parts {
            assert!(details.message.contains(part), "{name}: {} does not say {part:?}", details.message);
        }
    }
}

#[test]
fn only_an_unknown_outcome_after_the_deadline_is_deadline_exceeded() {
    let late = Scene { late: Lateness::Late, ..scene() };
    let unknown = Failure::Propose(ProposeError::Unknown("x".into()));
    let details = decode(&to_status(&unknown, &late));
    assert_eq!(details.code, Code::DeadlineExceeded);
    assert_eq!(details.metadata["request_id"], "0190163d-8694-739b-aea5-966c26f8ad91");
    assert!(!details.not_proposed, "an unknown outcome is never marked not-proposed");
    let refused = Failure::Propose(ProposeError::NotLeader { leader: None });
    assert_eq!(decode(&to_status(&refused, &late)).code, Code::Unavailable);
}

#[test]
fn a_deadline_that_passed_before_proposing_is_deadline_exceeded_and_nothing_was_proposed() {
    let late = Scene { late: Lateness::Late, ..scene() };
    let details = decode(&to_status(&Failure::Propose(ProposeError::Overloaded), &late));
    assert_eq!((details.code, details.not_proposed), (Code::DeadlineExceeded, true));
    assert!(details.message.contains("the deadline passed"), "{}", details.message);
}

#[test]
fn a_refusal_for_overload_names_the_leader_so_that_a_gateway_keeps_it() {
    for failure in [
        ProposeError::Overloaded.into(),
        ReadError::Overloaded.into(),
        Failure::NodeWatches { limit: 9 },
        Failure::Unsettled,
    ] {
        let details = shown(failure);
        assert_eq!(details.reason.as_deref(), Some(reason::OVERLOADED));
        assert_eq!((details.not_proposed, details.leader), (true, Some(7)));
    }
}

#[test]
fn no_text_names_a_command_that_this_version_lacks() {
    for (failure, ..) in rejections().into_iter().chain(outcomes()).chain(the_rest()) {
        let message = shown(failure).message;
        assert!(!message.contains("pi cluster"), "{message}");
    }
}

#[test]
fn details_carry_the_quota_the_fields_and_the_leader() {
    let details = shown(Failure::Rejected(Reject::QuotaExceeded { used: 9, quota: 8 }));
    assert_eq!(details.quotas[0].subject, "tenant:acme region:us-central1");
    assert_eq!((details.quotas[0].metric.as_str(), details.quotas[0].limit), ("secrets", 8));
    assert_eq!((details.metadata["used"].as_str(), details.metadata["quota"].as_str()), ("9", "8"));

    let details = shown(Failure::Invalid(vec![Violation::new("name", "a"), too_large(4_097)]));
    assert_eq!(details.reason.as_deref(), Some(reason::PAYLOAD_TOO_LARGE), "the telling reason wins");
    let fields: Vec<_> = details.violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["name", "payload"]);

    let details = shown(ProposeError::NotLeader { leader: Some(2) }.into());
    assert_eq!((details.leader, details.retry_after), (Some(2), Some(RETRY_NO_LEADER)));
}

#[test]
fn a_full_listener_says_so_and_that_nothing_was_proposed() {
    let details = decode(&overloaded("us-central1", 4_096, Some(2)));
    assert_eq!((details.code, details.reason.as_deref()), (Code::Unavailable, Some(reason::OVERLOADED)));
    assert!(details.not_proposed && details.retry_after.is_some());
    assert_eq!(details.leader, Some(2));
    assert!(details.message.contains("4096 requests"));
}

#[test]
fn the_reference_page_has_a_row_for_every_reason_and_no_other() {
    let code = include_str!("../../proto/src/reason.rs");
    let reasons: BTreeSet<_> = code
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
        .filter(|name| *name != "DOMAIN")
        .collect();
    let page = include_str!("../../../docs/reference/errors.md");
    let rows: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let listed: BTreeSet<_> = rows.iter().copied().collect();
    assert_eq!(rows.len(), listed.len(), "a reason has one row");
    assert_eq!(listed, reasons);
}
