//! The one place that decides whether work runs on threads of its own.
//!
//! Production uses real threads for what blocks: the log writer, building and installing snapshots. A simulation runs
//! everything on its single thread, so that one seed gives one schedule; then the log writer is a task and blocking
//! work runs in place. Nothing else in this crate starts a thread.

use std::io;

/// Where blocking work runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// On threads of its own.
    #[default]
    Real,
    /// On the caller's runtime, in place: deterministic on a current-thread runtime.
    Inline,
}

impl Threads {
    /// Runs `work` to its end without blocking the runtime's workers (unless [`Threads::Inline`]).
    pub(crate) async fn blocking<T, F>(self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        match self {
            Self::Inline => work(),
            Self::Real => match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(error) => Err(io::Error::other(format!("blocking work did not finish: {error}"))),
            },
        }
    }
}
