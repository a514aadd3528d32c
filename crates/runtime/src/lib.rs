//! Plumbing without business meaning: configuration sources, logs, signals, supervised tasks, backoff.
//!
//! Responsible for doing each of these in one way for every binary. What a setting means, what is retried and what is
//! logged is left to the crates that use this one.
//!
//! **Invariant:** nothing here reads a process global except at the edge functions that say so (`config::load`,
//! `telemetry::init`, `shutdown::on_signals`); everything below them takes its sources as arguments.

pub mod backoff;
pub mod config;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;

/// Builds the Tokio runtime of a process.
///
/// `worker_threads` of `Some(1)` gives the current-thread scheduler, which measured best on small machines (no
/// cross-thread wake-ups); `None` gives one worker per core.
///
/// # Errors
/// The operating system refused threads or an event queue.
pub fn build(worker_threads: Option<usize>) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match worker_threads {
        Some(0 | 1) => tokio::runtime::Builder::new_current_thread(),
        Some(count) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(count);
            builder
        }
        None => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}
