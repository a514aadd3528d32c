//! For how long a KMS may be silent: a pure tracker of its polls.
//!
//! Opened seeds stay in memory, so a silent KMS stops nothing at once; but what it revoked must not be used for ever.
//! Writes end first: data sealed under a key that is gone may never open again. Time is passed in; polling is the
//! monitor's (`kms::monitor`).

use std::fmt;
use std::time::{Duration, Instant};

use crate::kms::{Error, Status};

/// How often a KMS is polled, and for how long its last good status counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Between polls while it is well.
    pub poll: Duration,
    /// Between polls while it is not.
    pub poll_failing: Duration,
    /// Writes end this long after the last good status.
    pub write: Duration,
    /// Reads end this long after the last good status.
    pub read: Duration,
}

/// Kubernetes' polling and write window; a day to mend a KMS before pods stop starting.
impl Default for Windows {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(60),
            poll_failing: Duration::from_secs(10),
            write: Duration::from_secs(3 * 60),
            read: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What a KMS's last answers allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The last poll was good: everything goes on.
    Healthy,
    /// The last poll was not good, but a good one is recent: everything goes on.
    Failing,
    /// No good poll within the write window: payloads are opened, none is sealed.
    ReadOnly,
    /// No good poll within the read window, or none ever: payloads are neither sealed nor opened.
    Stopped,
}

impl State {
    /// As metrics and status pages show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::ReadOnly => "read-only",
            Self::Stopped => "stopped",
        }
    }
}

/// Refused, because the KMS has not been well for longer than the window. Tells cause, limit and remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Sealing.
    #[error("payloads are not sealed at present: {0}")]
    Write(Cause),
    /// Opening.
    #[error("payloads are not opened at present: {0}")]
    Read(Cause),
}

/// Why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// How long ago the last good status was; `None` when there was none since the start.
    pub silent_for: Option<Duration>,
    /// The window that ended.
    pub window: Duration,
    /// What the last poll met.
    pub reason: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = seconds(self.window);
        match self.silent_for {
            Some(silent) => write!(
                f,
                "the KMS was last well {} ago, the limit is {window}; {}; mend the KMS, it is tried again by itself",
                seconds(silent),
                self.reason
            ),
            None => write!(
                f,
                "the KMS was not well since this node started; {}; mend the KMS, it is tried again by itself",
                self.reason
            ),
        }
    }
}

/// The provider rotated its key: the region's seeds are to be wrapped again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The key before; `None` at the first good status.
    pub from: Option<String>,
    /// The key that wraps now.
    pub to: String,
}

/// What a KMS's polls have shown.
#[derive(Clone, Debug)]
pub struct Health {
    windows: Windows,
    polled: Option<Instant>,
    good: Option<Instant>,
    /// Why the last poll was not good.
    failure: Option<String>,
    key_id: Option<String>,
}

impl Health {
    /// Of a KMS not polled yet: nothing is allowed.
    pub fn new(windows: Windows) -> Self {
        Self { windows, polled: None, good: None, failure: None, key_id: None }
    }

    /// Notes what a poll that ended `now` met. Tells when the key is another than at the last good poll.
    pub fn record(&mut self, now: Instant, poll: &Result<Status, Error>) -> Option<KeyChange> {
        self.polled = Some(now);
        match poll {
            Ok(status) => {
                self.good = Some(now);
                self.failure = None;
                let to = status.key_id.clone();
                let from = self.key_id.replace(to.clone());
                (from.as_ref() != Some(&to)).then_some(KeyChange { from, to })
            }
            Err(error) => {
                self.failure = Some(error.to_string());
                None
            }
        }
    }

    /// How long to wait, from `now`, before the next poll.
    pub fn next_poll(&self, now: Instant) -> Duration {
        let interval = if self.failure.is_none() { self.windows.poll } else { self.windows.poll_failing };
        self.polled.map_or(Duration::ZERO, |polled| (polled + interval).saturating_duration_since(now))
    }

    /// Whether payloads may be sealed.
    ///
    /// # Errors
    /// [`Unavailable::Write`].
    pub fn may_write(&self, now: Instant) -> Result<(), Unavailable> {
        self.within(now, self.windows.write).map_err(Unavailable::Write)
    }

    /// Whether payloads may be opened.
    ///
    /// # Errors
    /// [`Unavailable::Read`].
    pub fn may_read(&self, now: Instant) -> Result<(), Unavailable> {
        self.within(now, self.windows.read).map_err(Unavailable::Read)
    }

    /// What is allowed now.
    pub fn state(&self, now: Instant) -> State {
        match (self.may_read(now), self.may_write(now), &self.failure) {
            (Err(_), _, _) => State::Stopped,
            (Ok(()), Err(_), _) => State::ReadOnly,
            (Ok(()), Ok(()), Some(_)) => State::Failing,
            (Ok(()), Ok(()), None) => State::Healthy,
        }
    }

    /// One line for readiness, with the reason and what ends when. Liveness must not look here: a restart mends no KMS,
    /// and a node that restarts meanwhile cannot open its seeds.
    pub fn describe(&self, now: Instant) -> String {
        let reason = self.reason();
        let left =
            |window: Duration| seconds(window.saturating_sub(self.silent_for(now).unwrap_or_default()));
        match self.state(now) {
            State::Healthy => format!("KMS healthy, key {}", self.key_id.as_deref().unwrap_or("unknown")),
            State::Failing => format!(
                "KMS failing; writes end in {}, reads in {}: {reason}",
                left(self.windows.write),
                left(self.windows.read)
            ),
            State::ReadOnly => {
                format!("KMS failing; writes have ended, reads end in {}: {reason}", left(self.windows.read))
            }
            State::Stopped => format!("KMS failing; reads and writes have ended: {reason}"),
        }
    }

    /// The provider's key at the last good poll.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    fn within(&self, now: Instant, window: Duration) -> Result<(), Cause> {
        match self.silent_for(now) {
            Some(silent) if silent < window => Ok(()),
            silent_for => Err(Cause { silent_for, window, reason: self.reason() }),
        }
    }

    fn silent_for(&self, now: Instant) -> Option<Duration> {
        self.good.map(|good| now.saturating_duration_since(good))
    }

    fn reason(&self) -> String {
        match (&self.failure, self.polled) {
            (Some(failure), _) => failure.clone(),
            (None, Some(_)) => "it is not being polled".to_owned(),
            (None, None) => "it was not polled yet".to_owned(),
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}
