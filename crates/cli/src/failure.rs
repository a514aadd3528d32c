//! What can go wrong in a run of `pi`, the exit code of each case and the one place that prints errors.
//! What a service refused is worded by `pi-client` and the region; this file only adds what the command adds.

use std::fmt;

/// Exit code: everything asked for was done.
pub const EXIT_OK: u8 = 0;
/// Exit code: nothing asked for was done.
pub const EXIT_ERROR: u8 = 1;
/// Exit code: the command line is wrong; nothing was tried.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: some of it was done (some regions, names or documents), some was not.
pub const EXIT_PARTIAL: u8 = 3;

/// Why a command, or its part in one region, did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// Something on this side: a file, a helper, the configuration. Cause, value and remedy are in the text.
    #[error("{0}")]
    Local(String),
    /// The service answered with an error, or did not answer.
    #[error("{}", service_text(context, source))]
    Service {
        /// What was tried, with a trailing space, or empty; for example `failed to create secret `. Shown with refusals.
        context: &'static str,
        /// The client's error, which tells cause, limit and next command.
        #[source]
        source: Box<pi_client::Error>,
    },
    /// Standard output or error could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] std::io::Error),
    /// Each failure was printed where it happened; only the exit code is left to give.
    #[error("{failed} of {} failed", failed + done)]
    Counted {
        /// How many parts (regions, names, documents) were done.
        done: usize,
        /// How many were not.
        failed: usize,
    },
}

impl Failure {
    /// A wrong command line.
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure::Usage(text.into())
    }

    /// A failure on this side of the connection.
    pub fn local(text: impl Into<String>) -> Failure {
        Failure::Local(text.into())
    }

    /// The same, saying what was tried: `failed to create secret `, for example, with its trailing space.
    pub fn in_context(self, context: &'static str) -> Failure {
        match self {
            Failure::Service { source, .. } => Failure::Service { context, source },
            other => other,
        }
    }

    /// The exit code of a run that ended with this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => EXIT_USAGE,
            Failure::Local(_) | Failure::Service { .. } | Failure::Output(_) => EXIT_ERROR,
            Failure::Counted { done: 0, .. } => EXIT_ERROR,
            Failure::Counted { .. } => EXIT_PARTIAL,
        }
    }

    /// True when nothing more is to be printed: it was printed already, or the reader of our output went away.
    pub fn silent(&self) -> bool {
        match self {
            Failure::Counted { .. } => true,
            Failure::Output(cause) => cause.kind() == std::io::ErrorKind::BrokenPipe,
            Failure::Usage(_) | Failure::Local(_) | Failure::Service { .. } => false,
        }
    }
}

impl From<pi_client::Error> for Failure {
    fn from(source: pi_client::Error) -> Failure {
        Failure::Service { context: "", source: Box::new(source) }
    }
}

/// A refusal with what was tried in front, as kubectl words it; a server that cannot be reached in the published words.
/// The client's other texts already say what was tried.
fn service_text(context: &str, error: &pi_client::Error) -> String {
    match error {
        pi_client::Error::Refused(_) | pi_client::Error::Invalid { .. } => format!("{context}{error}"),
        pi_client::Error::Unavailable { cause, attempts, elapsed, .. }
            if cause.contains("connect error") || cause.contains("dns error") =>
        {
            format!(
                "Unable to connect to the server: {cause} (tried {attempts} times in {:.1} s; nothing changed). Is the \
             address right? It comes from --server, PI_SERVER or the configuration ('pi config view')",
                elapsed.as_secs_f64()
            )
        }
        pi_client::Error::Unknown { request_id, region, .. } if region.is_empty() => {
            format!("{error} ('pi … --request-id {request_id}')")
        }
        // With the region: of several asked, the others must not be asked again under the same id.
        pi_client::Error::Unknown { request_id, region, .. } => {
            format!("{error} ('pi … -r {region} --request-id {request_id}')")
        }
        pi_client::Error::Unavailable { .. } => error.to_string(),
    }
}

/// How many parts of a command were done and how many failed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Parts done.
    pub done: usize,
    /// Parts failed (and printed).
    pub failed: usize,
}

impl Tally {
    /// The outcome of the whole: an error of exit code 1 when all failed, 3 when some did.
    pub fn outcome(self) -> Result<(), Failure> {
        if self.failed == 0 { Ok(()) } else { Err(Failure::Counted { done: self.done, failed: self.failed }) }
    }
}

/// The text of one error line: `error: …`, with the region it came from when several were asked.
pub fn error_line(region: Option<&str>, failure: &dyn fmt::Display) -> String {
    match region {
        Some(region) => format!("error: {region}: {failure}"),
        None => format!("error: {failure}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_failed_is_partial_and_all_failed_is_an_error() {
        assert!(Tally { done: 2, failed: 0 }.outcome().is_ok());
        let code = |done, failed| Tally { done, failed }.outcome().unwrap_err().exit_code();
        assert_eq!(code(1, 1), EXIT_PARTIAL);
        assert_eq!(code(0, 2), EXIT_ERROR);
    }

    #[test]
    fn an_unknown_outcome_names_region_and_request_id() {
        let request_id: pi_types::RequestId = "01936f4e-7c00-7abc-8def-0123456789ab".parse().unwrap();
        let (operation, region) = ("create", "eu".to_owned());
        let cause = "no answer".to_owned();
        let text = service_text("", &pi_client::Error::Unknown { request_id, operation, region, cause });
        assert!(text.ends_with(&format!("('pi … -r eu --request-id {request_id}')")), "{text}");
    }

    #[test]
    fn a_server_whose_name_does_not_resolve_cannot_be_reached() {
        let error = pi_client::Error::Unavailable {
            operation: "list",
            region: "eu".to_owned(),
            cause: "dns error: failed to lookup address information".to_owned(),
            attempts: 3,
            elapsed: std::time::Duration::from_secs(5),
            retry_after: None,
        };
        let text = service_text("", &error);
        assert!(text.starts_with("Unable to connect to the server: dns error"), "{text}");
    }

    #[test]
    fn usage_errors_have_their_own_code() {
        assert_eq!(Failure::usage("x").exit_code(), EXIT_USAGE);
        assert_eq!(Failure::local("x").exit_code(), EXIT_ERROR);
    }
}
