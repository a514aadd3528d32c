//! Supervised tasks: the parts of a process that must run as long as the process does.
//!
//! Responsible for noticing that one of them failed, panicked or ended early, stopping the others and reporting it.
//! Restarting is left to whoever started the process: a process that limps is worse than one that is restarted.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

use crate::shutdown::Shutdown;

/// Why the supervised tasks ended otherwise than by request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task returned an error.
    #[error("task {task} failed")]
    Failed {
        /// Its name.
        task: &'static str,
        /// What it returned.
        #[source]
        source: anyhow::Error,
    },
    /// A task panicked; the panic hook has logged where.
    #[error("task {task} panicked")]
    Panicked {
        /// Its name.
        task: &'static str,
    },
    /// A task ended although nobody had asked for it.
    #[error("task {task} ended although the process goes on")]
    EndedEarly {
        /// Its name.
        task: &'static str,
    },
    /// Tasks did not end within the drain time and were dropped.
    #[error("tasks did not end within {drain:?} after the request to stop: {tasks}")]
    Stuck {
        /// Their names, comma-separated.
        tasks: String,
        /// How long they were given.
        drain: Duration,
    },
}

/// Owns the tasks of a process.
#[derive(Debug)]
pub struct Supervisor {
    shutdown: Shutdown,
    tasks: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
}

impl Supervisor {
    /// Tasks are stopped through `shutdown`, which this also triggers when one of them fails.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, tasks: JoinSet::new(), names: HashMap::new() }
    }

    /// The token the tasks are to watch.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Starts a task that must run until shutdown is requested: that it ends before is a failure of the process. Work
    /// that ends by itself belongs into a plain `tokio::spawn`.
    pub fn spawn<E>(&mut self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: Into<anyhow::Error> + 'static,
    {
        let handle = self.tasks.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Waits until all tasks ended, and after the request to stop no longer than `drain`.
    ///
    /// # Errors
    /// The first failure; the process should end with a code other than 0.
    pub async fn run(mut self, drain: Duration) -> Result<(), Error> {
        let mut first_error = None;
        let requested = self.shutdown.requested();
        tokio::pin!(requested);
        loop {
            tokio::select! {
                biased;
                () = &mut requested => break,
                ended = self.tasks.join_next_with_id() => match ended {
                    None => return Ok(()),
                    Some(ended) => {
                        first_error = self.judge(ended);
                        self.shutdown.trigger();
                    }
                },
            }
        }
        let drained = tokio::time::timeout(drain, async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                let error = self.judge(ended);
                first_error = first_error.take().or(error);
            }
        });
        if drained.await.is_err() && first_error.is_none() {
            let mut tasks: Vec<_> = self.names.values().copied().collect();
            tasks.sort_unstable();
            first_error = Some(Error::Stuck { tasks: tasks.join(", "), drain });
        }
        first_error.map_or(Ok(()), Err)
    }

    /// What the end of a task means.
    fn judge(&mut self, ended: Result<(Id, anyhow::Result<()>), JoinError>) -> Option<Error> {
        let (id, result) = match ended {
            Ok((id, result)) => (id, Some(result)),
            Err(error) => (error.id(), None),
        };
        let task = self.names.remove(&id).unwrap_or("unnamed");
        let error = match result {
            None => Error::Panicked { task },
            Some(Err(source)) => Error::Failed { task, source },
            Some(Ok(())) if self.shutdown.is_requested() => return None,
            Some(Ok(())) => Error::EndedEarly { task },
        };
        tracing::error!(task, error = %error, "a supervised task ended the process");
        Some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_millis(200);

    fn until(shutdown: &Shutdown) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
        let requested = shutdown.requested();
        async move {
            requested.await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_request_to_stop_ends_without_error() {
        let mut supervisor = Supervisor::new(Shutdown::new());
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn("a", until(&shutdown));
        shutdown.trigger();
        supervisor.run(DRAIN).await.unwrap();
    }

    #[tokio::test]
    async fn a_failing_task_stops_the_others_and_is_reported() {
        let mut supervisor = Supervisor::new(Shutdown::new());
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn("good", until(&shutdown));
        supervisor.spawn("bad", async { Err(anyhow::anyhow!("disk gone")) });
        let error = supervisor.run(DRAIN).await.unwrap_err();
        assert!(matches!(error, Error::Failed { task: "bad", .. }), "{error}");
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_panic_and_an_early_end_are_failures() {
        let mut supervisor = Supervisor::new(Shutdown::new());
        supervisor.spawn("panics", async { if true { panic!("boom") } else { anyhow::Ok(()) } });
        assert!(matches!(supervisor.run(DRAIN).await, Err(Error::Panicked { task: "panics" })));
        let mut supervisor = Supervisor::new(Shutdown::new());
        supervisor.spawn("ends", async { anyhow::Ok(()) });
        assert!(matches!(supervisor.run(DRAIN).await, Err(Error::EndedEarly { task: "ends" })));
    }

    #[tokio::test]
    async fn a_task_that_ignores_the_request_is_named() {
        let mut supervisor = Supervisor::new(Shutdown::new());
        supervisor.spawn("deaf", std::future::pending::<anyhow::Result<()>>());
        supervisor.shutdown().trigger();
        let error = supervisor.run(Duration::from_millis(20)).await.unwrap_err();
        assert!(error.to_string().contains("deaf"), "{error}");
    }
}
