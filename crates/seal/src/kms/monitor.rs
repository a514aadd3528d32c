//! Polls a provider and keeps its [`Health`] for whoever seals and opens.
//!
//! What follows from a rotated key (wrapping the seeds again) is the node's business; it is told through
//! [`Monitor::key_ids`].

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Error, Kms, Status};
use crate::health::{Health, State, Unavailable, Windows};

/// A provider and what its polls have shown. Shared by reference; time is tokio's, so a paused clock governs it.
pub struct Monitor {
    kms: Arc<dyn Kms>,
    health: Mutex<Health>,
    key_ids: watch::Sender<Option<String>>,
}

impl Monitor {
    /// For this provider, not polled yet.
    pub fn new(kms: Arc<dyn Kms>, windows: Windows) -> Self {
        Self { kms, health: Mutex::new(Health::new(windows)), key_ids: watch::Sender::new(None) }
    }

    /// The provider, for wrapping and unwrapping.
    pub fn kms(&self) -> &dyn Kms {
        self.kms.as_ref()
    }

    /// Polls once, now. A node does so before it opens its seeds at the start.
    ///
    /// # Errors
    /// See [`Error`]; the failure is noted before it is returned.
    pub async fn poll(&self) -> Result<Status, Error> {
        let status = self.kms.status().await;
        let change = self.health.lock().record(now(), &status);
        if let Some(change) = change {
            self.key_ids.send_replace(Some(change.to));
        }
        status
    }

    /// Polls whenever it is time. Never returns; drop it to end it.
    ///
    /// `report` is called after a poll that changed the state, with the state and a line for the log.
    pub async fn run(&self, mut report: impl FnMut(State, &str)) {
        let mut reported = None;
        loop {
            let wait = self.health.lock().next_poll(now());
            tokio::time::sleep(wait).await;
            // The failure, if any, is in the description.
            _ = self.poll().await;
            let (state, line) = self.describe();
            if reported != Some(state) {
                report(state, &line);
                reported = Some(state);
            }
        }
    }

    /// See [`Health::may_write`].
    ///
    /// # Errors
    /// [`Unavailable::Write`].
    pub fn may_write(&self) -> Result<(), Unavailable> {
        self.health.lock().may_write(now())
    }

    /// See [`Health::may_read`].
    ///
    /// # Errors
    /// [`Unavailable::Read`].
    pub fn may_read(&self) -> Result<(), Unavailable> {
        self.health.lock().may_read(now())
    }

    /// The state and its line for readiness, [`Health::describe`].
    pub fn describe(&self) -> (State, String) {
        let (health, now) = (self.health.lock(), now());
        (health.state(now), health.describe(now))
    }

    /// The provider's key: `None` before the first good poll, then changing with each rotation.
    pub fn key_ids(&self) -> watch::Receiver<Option<String>> {
        self.key_ids.subscribe()
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
