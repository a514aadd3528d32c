//! What a call can end with beside success, in words that say what to do next.
//!
//! Responsible for the three outcomes and their texts. Whether an attempt is repeated is decided in `call.rs`.

use std::time::Duration;

use pi_proto::reason;
use pi_proto::status::Details;
use pi_types::RequestId;
use tonic::Code;

/// How a call ended when it did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service decided against it; nothing changed. Trying the same again gives the same answer.
    #[error("{}", refused(.0))]
    Refused(Box<Details>),
    /// The mutation may or may not have happened.
    #[error(
        "{operation}{}: the outcome is unknown: {}; it may or may not have happened. Retry with the same request \
         id within 10 minutes to learn and complete it: {request_id}",
        in_region(.region), without_promise(.cause)
    )]
    Unknown {
        /// Retrying with it cannot do the thing twice.
        request_id: RequestId,
        /// What was tried.
        operation: &'static str,
        /// Where; empty when the call has no region.
        region: String,
        /// What the last attempt ended with.
        cause: String,
    },
    /// Nobody who could decide answered in time; nothing changed.
    #[error(
        "{operation}{}: unavailable: {cause} (attempts: {attempts}, in {:.1} s). Nothing changed; see `pi region list`",
        in_region(.region), .elapsed.as_secs_f64()
    )]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// Where; empty when the call has no region.
        region: String,
        /// What the last attempt ended with.
        cause: String,
        /// How often it was tried.
        attempts: u32,
        /// For how long.
        elapsed: Duration,
        /// When the service said that trying again makes sense.
        retry_after: Option<Duration>,
    },
    /// The call cannot be made as asked; nothing was sent.
    #[error("{reason}")]
    Invalid {
        /// What was found and what is expected.
        reason: String,
    },
}

impl Error {
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    /// What was refused, when it was refused.
    #[must_use]
    pub fn details(&self) -> Option<&Details> {
        match self {
            Self::Refused(details) => Some(details),
            Self::Unknown { .. } | Self::Unavailable { .. } | Self::Invalid { .. } => None,
        }
    }

    /// One of `pi_proto::reason`, when the service gave one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.details().and_then(|details| details.reason.as_deref())
    }

    /// The gRPC code that says the same.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(details) => details.code,
            Self::Unknown { .. } => Code::DeadlineExceeded,
            Self::Unavailable { .. } => Code::Unavailable,
            Self::Invalid { .. } => Code::InvalidArgument,
        }
    }

    /// True when the same call may succeed later. With [`Error::Unknown`] only under the same request id.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::Unavailable { .. } => true,
            Self::Refused(_) | Self::Invalid { .. } => false,
        }
    }
}

fn in_region(region: &str) -> String {
    if region.is_empty() { String::new() } else { format!(" in region {region}") }
}

/// The cause without its "nothing changed, try again": true of the last attempt alone, and of an outcome that is
/// unknown because of an earlier one it would say the opposite.
fn without_promise(cause: &str) -> &str {
    match cause.rsplit_once("; nothing changed") {
        // Only at the end: what follows another clause is not the last word.
        Some((before, rest)) if !rest.contains(';') => before,
        _ => cause,
    }
}

/// The service's own words, completed by the details they leave out.
fn refused(details: &Details) -> String {
    let mut text = match &details.reason {
        _ if details.message.is_empty() => format!("refused with {:?}", details.code),
        Some(_) => details.message.clone(),
        None => format!("{:?}: {}", details.code, details.message),
    };
    for violation in &details.violations {
        if !text.contains(&violation.description) {
            text.push_str(&format!("; {}: {}", violation.field, violation.description));
        }
    }
    for quota in &details.quotas {
        if !text.contains(&quota.limit.to_string()) {
            text.push_str(&format!("; limit {} {} for {}", quota.limit, quota.metric, quota.subject));
        }
    }
    // Where the service already names a command, ours would only repeat it.
    let names_a_command = text.contains('`') || text.contains("\"pi ");
    if let (false, Some(hint)) = (names_a_command, hint(details.reason.as_deref())) {
        text.push_str("; ");
        text.push_str(hint);
    }
    text
}

/// The command that helps, for refusals that a command can help with.
fn hint(reason: Option<&str>) -> Option<&'static str> {
    Some(match reason? {
        reason::SECRET_EXISTS => "change it with `pi secret update`",
        reason::SECRET_NOT_FOUND => "see `pi secret list`",
        reason::QUOTA_EXCEEDED => {
            "delete one with `pi secret delete` or ask an operator for a higher quota; see `pi info`"
        }
        reason::PRECONDITION_FAILED => "read it again with `pi secret get`",
        reason::UNKNOWN_REGION => "see `pi region list`",
        reason::WATCH_TOO_OLD => "watch again without a resume token",
        reason::UNAUTHENTICATED => "give a credential; see `pi config view`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use pi_proto::status::{Quota, decode, status};

    use super::*;

    #[test]
    fn a_refusal_tells_cause_limit_and_next_command() {
        let quota = Quota {
            subject: "tenant:acme region:eu".to_owned(),
            metric: "secrets".to_owned(),
            limit: 8,
            description: String::new(),
        };
        let status =
            status(Code::ResourceExhausted, reason::QUOTA_EXCEEDED, "no more secrets", &[]).quota(quota);
        let error = Error::Refused(Box::new(decode(&status.build())));
        let text = error.to_string();
        assert!(
            text.starts_with("no more secrets; limit 8 secrets for tenant:acme region:eu; delete one"),
            "{text}"
        );
        assert!(text.contains("`pi secret delete`"), "{text}");
        assert_eq!((error.code(), error.reason()), (Code::ResourceExhausted, Some("QUOTA_EXCEEDED")));
    }

    #[test]
    fn an_unknown_outcome_does_not_claim_that_nothing_changed() {
        assert_eq!(
            without_promise("region eu is unavailable: x; nothing changed, try again"),
            "region eu is unavailable: x"
        );
        assert_eq!(without_promise("x; nothing changed"), "x");
        assert_eq!(without_promise("x; nothing changed; y"), "x; nothing changed; y");
        assert_eq!(without_promise("x"), "x");
        let text = Error::Unknown {
            request_id: "01936f4e-7c00-7abc-8def-0123456789ab".parse().unwrap(),
            operation: "create",
            region: "eu".to_owned(),
            cause: "no leader; nothing changed, try again".to_owned(),
        }
        .to_string();
        assert!(
            text.contains("unknown: no leader; it may or may not") && !text.contains("nothing changed"),
            "{text}"
        );
    }

    #[test]
    fn field_violations_are_told_once() {
        let build = |message: &str| {
            let built = status(Code::InvalidArgument, reason::INVALID_ARGUMENT, message, &[])
                .field_violation("name", "must be lower case")
                .build();
            Error::Refused(Box::new(decode(&built))).to_string()
        };
        assert_eq!(build("bad request"), "bad request; name: must be lower case");
        assert_eq!(build("name: must be lower case"), "name: must be lower case");
    }
}
