//! The one mapping between our errors and gRPC statuses with google.rpc details.
//!
//! Responsible for the form: every error of ours carries `ErrorInfo{reason, domain, metadata}`, and where it applies
//! `QuotaFailure`, `BadRequest` and `RetryInfo`. Which code and reason a situation gets is decided where it arises (the
//! services and the gateway); what a client does about it, in the client.
//!
//! **Invariant:** a status without our `ErrorInfo` did not come from a node or gateway of ours: it is the transport's.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, QuotaViolation, StatusExt};

use crate::{metadata, reason};

/// A quota that a request met: `QuotaFailure` with the fields we use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Whose: for example `tenant:acme region:us-central1`.
    pub subject: String,
    /// What is counted: for example `secrets`.
    pub metric: String,
    /// The quota.
    pub limit: u64,
    /// For people.
    pub description: String,
}

/// One malformed field: `BadRequest.FieldViolation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path in the request.
    pub field: String,
    /// What was found and what is expected; never a payload.
    pub description: String,
}

/// Starts a status of ours. `message` is for people: cause, value, limit, next command.
pub fn status(
    code: Code,
    reason: &'static str,
    message: impl Into<String>,
    metadata: &[(&str, String)],
) -> StatusBuilder {
    let info: HashMap<_, _> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, reason::DOMAIN, info);
    StatusBuilder { code, message: message.into(), details, not_proposed: None }
}

/// See [`status`].
#[must_use]
pub struct StatusBuilder {
    code: Code,
    message: String,
    details: ErrorDetails,
    /// Set: certainly not proposed; inside, the leader's node id where it is known.
    not_proposed: Option<Option<u64>>,
}

impl StatusBuilder {
    /// Adds the quota that was met.
    pub fn quota(mut self, quota: Quota) -> Self {
        let mut violation = QuotaViolation::new(quota.subject, quota.description);
        violation.quota_metric = quota.metric;
        violation.quota_value = i64::try_from(quota.limit).unwrap_or(i64::MAX);
        let mut violations = self.details.quota_failure().map(|f| f.violations.clone()).unwrap_or_default();
        violations.push(violation);
        self.details.set_quota_failure(violations);
        self
    }

    /// Adds one malformed field.
    pub fn field_violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut violations =
            self.details.bad_request().map(|b| b.field_violations.clone()).unwrap_or_default();
        violations.push(FieldViolation::new(field, description));
        self.details.set_bad_request(violations);
        self
    }

    /// Says when trying again makes sense.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    /// Marks that the request certainly never reached the log, and where the leader is as far as the node knows. For
    /// gateways, which act on both and strip them.
    pub fn not_proposed(mut self, leader: Option<u64>) -> Self {
        self.not_proposed = Some(leader);
        self
    }

    /// The finished status.
    #[must_use]
    pub fn build(self) -> Status {
        let mut status = Status::with_error_details(self.code, self.message, self.details);
        if let Some(leader) = self.not_proposed {
            let headers = status.metadata_mut();
            headers.insert(metadata::NOT_PROPOSED, MetadataValue::from_static(metadata::NOT_PROPOSED_YES));
            if let Some(leader) = leader {
                headers.insert(metadata::LEADER, MetadataValue::from(leader));
            }
        }
        status
    }
}

/// The same as `builder.build()`, for `?` and `return Err(….into())`.
impl From<StatusBuilder> for Status {
    fn from(builder: StatusBuilder) -> Status {
        builder.build()
    }
}

/// What a received status says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The gRPC code.
    pub code: Code,
    /// One of [`crate::reason`]; `None` when the status is not ours but the transport's or a proxy's.
    pub reason: Option<String>,
    /// For people.
    pub message: String,
    /// `ErrorInfo.metadata`.
    pub metadata: BTreeMap<String, String>,
    /// Quotas that were met.
    pub quotas: Vec<Quota>,
    /// Malformed fields.
    pub violations: Vec<Violation>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// True when the request certainly never reached the log. A gateway strips this.
    pub not_proposed: bool,
    /// The leader's node id, from a node that is not it. A gateway strips this.
    pub leader: Option<u64>,
}

/// Reads what [`status`] wrote. Total on statuses of any origin.
#[must_use]
pub fn decode(status: &Status) -> Details {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.domain == reason::DOMAIN);
    let header = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
    Details {
        code: status.code(),
        reason: info.map(|info| info.reason.clone()),
        message: status.message().to_owned(),
        metadata: info.map(|info| info.metadata.clone().into_iter().collect()).unwrap_or_default(),
        quotas: details.quota_failure().into_iter().flat_map(|f| &f.violations).map(quota_from).collect(),
        violations: details
            .bad_request()
            .into_iter()
            .flat_map(|bad| &bad.field_violations)
            .map(|v| Violation { field: v.field.clone(), description: v.description.clone() })
            .collect(),
        retry_after: details.retry_info().and_then(|info| info.retry_delay),
        not_proposed: header(metadata::NOT_PROPOSED) == Some(metadata::NOT_PROPOSED_YES),
        leader: header(metadata::LEADER).and_then(|id| id.parse().ok()),
    }
}

fn quota_from(violation: &QuotaViolation) -> Quota {
    Quota {
        subject: violation.subject.clone(),
        metric: violation.quota_metric.clone(),
        limit: u64::try_from(violation.quota_value).unwrap_or(0),
        description: violation.description.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_written_is_read_back() {
        let quota = Quota {
            subject: "tenant:acme region:eu".to_owned(),
            metric: "secrets".to_owned(),
            limit: 8,
            description: "8 of 8 used".to_owned(),
        };
        let built =
            status(Code::ResourceExhausted, reason::QUOTA_EXCEEDED, "full", &[("used", "8".to_owned())])
                .quota(quota.clone())
                .field_violation("name", "taken")
                .field_violation("payload", "too large")
                .retry_after(Duration::from_millis(250))
                .not_proposed(Some(3))
                .build();
        let details = decode(&built);
        assert_eq!(details.code, Code::ResourceExhausted);
        assert_eq!(details.reason.as_deref(), Some(reason::QUOTA_EXCEEDED));
        assert_eq!(details.message, "full");
        assert_eq!(details.metadata["used"], "8");
        assert_eq!(details.quotas, [quota]);
        assert_eq!(details.violations.len(), 2);
        assert_eq!(details.retry_after, Some(Duration::from_millis(250)));
        assert!(details.not_proposed);
        assert_eq!(details.leader, Some(3));
    }

    #[test]
    fn a_foreign_status_has_no_reason() {
        let foreign = decode(&Status::internal("h2 protocol error"));
        assert_eq!((foreign.reason, foreign.not_proposed, foreign.leader), (None, false, None));
        let other = ErrorDetails::with_error_info("QUOTA_EXCEEDED", "example.com", HashMap::new());
        assert_eq!(decode(&Status::with_error_details(Code::Internal, "", other)).reason, None);
        let garbage = Status::with_details(Code::Internal, "", b"\xff\xff\xff".to_vec().into());
        assert_eq!(decode(&garbage).reason, None);
    }
}
