//! Logs to stderr, and what a panic leaves behind.
//!
//! Responsible for the form of log lines. What is logged is the callers' business; payloads and tokens never are, and
//! because a panic message may quote any value, the panic hook writes the place and never the message.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// The environment variable with the filter, in the syntax of `tracing_subscriber::EnvFilter`; the default is [`DEFAULT_FILTER`].
pub const FILTER_ENV: &str = "PI_LOG";
/// What is logged unless `PI_LOG` says otherwise. openraft tells its inner life at `info`; what an operator needs of it
/// (leaders, terms, snapshots) our own crates say. Of a peer that is away it warns at every try, hundreds of times a
/// second under load; `pi-transport` says it once.
pub const DEFAULT_FILTER: &str = "info,openraft=warn,openraft::core::heartbeat=error,openraft::replication=error,\
                                  openraft::engine::handler::replication_handler=error";

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not parse.
    #[error(
        "{FILTER_ENV}: found `{found}`, expected a filter such as `info` or `warn,pi_raft=debug`: {reason}"
    )]
    Filter {
        /// What the variable holds.
        found: String,
        /// What the parser says.
        reason: String,
    },
    /// Somebody else has set up logging in this process.
    #[error("logging is already set up in this process")]
    AlreadySet,
}

/// Starts logging to stderr and installs the panic hook. Once per process, first thing in `main`.
///
/// # Errors
/// `PI_LOG` does not parse, or logging is already set up.
pub fn init(service: &'static str, format: Format) -> Result<(), Error> {
    let filter = filter(std::env::var(FILTER_ENV).ok())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let set = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|_| Error::AlreadySet)?;
    install_panic_hook(service);
    tracing::info!(service, version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "starting");
    Ok(())
}

fn filter(found: Option<String>) -> Result<EnvFilter, Error> {
    let found = found.filter(|filter| !filter.is_empty()).unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    EnvFilter::try_new(&found).map_err(|error| Error::Filter { found, reason: error.to_string() })
}

/// Replaces the default hook, which prints the panic's message, and ends the process: a node that lost a task to a
/// panic must not go on half alive, in development builds (which unwind) no more than in release builds.
fn install_panic_hook(service: &'static str) {
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(service, place, thread, %backtrace, "panic; its message is withheld, it may quote a secret");
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_parse_is_quoted_with_the_expected_form() {
        let error = filter(Some("pi_raft=verbose".to_owned())).unwrap_err().to_string();
        assert!(error.contains("PI_LOG: found `pi_raft=verbose`, expected"), "{error}");
        assert!(filter(None).is_ok() && filter(Some(String::new())).is_ok());
    }
}
