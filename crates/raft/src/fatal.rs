//! The signal that this node must stop: tripped once, never reset.
//!
//! A storage error is never retried (a failed fsync may have dropped the pages it reports) and never survived: whoever
//! meets one trips this signal, and the process ends with a non-zero exit code. Ending it is left to the binary, which
//! waits on [`crate::Replica::fatal`].

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Why the node must stop; cheap to clone, all clones are one signal.
#[derive(Clone)]
pub struct FatalSignal {
    reason: watch::Sender<Option<Arc<str>>>,
}

impl Default for FatalSignal {
    fn default() -> Self {
        Self { reason: watch::Sender::new(None) }
    }
}

impl fmt::Debug for FatalSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FatalSignal").field(&self.tripped()).finish()
    }
}

impl FatalSignal {
    /// Trips the signal. The first reason stays.
    pub fn trip(&self, reason: impl fmt::Display) {
        let mut first = false;
        self.reason.send_if_modified(|current| {
            first = current.is_none();
            if first {
                *current = Some(reason.to_string().into());
            }
            first
        });
        if first {
            tracing::error!(%reason, "this node must stop");
        }
    }

    /// The reason, when tripped.
    pub fn tripped(&self) -> Option<Arc<str>> {
        self.reason.borrow().clone()
    }

    /// Whether it was tripped.
    pub fn is_tripped(&self) -> bool {
        self.reason.borrow().is_some()
    }

    /// Waits until tripped.
    pub async fn wait(&self) -> Arc<str> {
        let mut receiver = self.reason.subscribe();
        loop {
            if let Some(reason) = receiver.borrow_and_update().clone() {
                return reason;
            }
            // `self` holds a sender, so this cannot report a closed channel.
            let _ = receiver.changed().await;
        }
    }
}

/// An error and everything it came from, on one line, for a log line or a stop reason.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
