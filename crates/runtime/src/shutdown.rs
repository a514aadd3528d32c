//! The wish to stop, as a token that every task can hold.
//!
//! Responsible for turning signals into that wish. What a task does to stop in order is its own business.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code when a second signal cuts the orderly shutdown short: 128 + SIGINT, as shells report it.
const EXIT_IMPATIENT: i32 = 130;

/// A cheap, cloneable token. All clones see one request; a request is never taken back.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A token that nobody has triggered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that follows this one but can be triggered on its own, for parts that stop at different moments.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Asks everyone to stop. Asking again does nothing.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// True once the request was made.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when the request is made; at once when it already was. Owned, so that it can move into a server.
    pub fn requested(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.clone().cancelled_owned()
    }
}

/// A token that SIGTERM and SIGINT trigger. A second signal ends the process at once with code 130.
///
/// Must be called within a runtime.
///
/// # Errors
/// The signal handlers could not be installed.
pub fn on_signals() -> std::io::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = Shutdown::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if token.is_requested() {
                tracing::warn!(signal = name, "second signal: ending at once");
                #[expect(
                    clippy::disallowed_methods,
                    reason = "whoever asks twice does not want to wait for an orderly end"
                )]
                std::process::exit(EXIT_IMPATIENT);
            }
            tracing::info!(signal = name, "shutting down");
            token.trigger();
        }
    });
    Ok(shutdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_request_and_a_child_does_not_pass_it_upwards() {
        let shutdown = Shutdown::new();
        let (clone, child) = (shutdown.clone(), shutdown.child());
        child.trigger();
        assert!(child.is_requested() && !shutdown.is_requested());
        shutdown.trigger();
        clone.requested().await;
        assert!(clone.is_requested());
    }
}
