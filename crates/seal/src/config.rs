//! The configuration of sealing: its fields, their defaults, and what must hold between them.
//!
//! Where values come from (file, environment, `--set`) is `pi-runtime`'s business.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::Windows;
use crate::kms::key_file::KeyFile;
use crate::kms::plugin::Plugin;
use crate::kms::{self, Kms};

/// How this node seals payloads: the `[seal]` section of a node's configuration. The same provider, and for a key file
/// the same keys, on every node of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What wraps the region's seeds: "key-file" or "kms-v2".
    pub provider: Provider,
    /// The key file of provider "key-file". Its owner is the user the node runs as, its mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The socket of provider "kms-v2": `unix:///absolute/path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How long a call of provider "kms-v2" may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// How often the provider's status is asked for while it is well, in milliseconds.
    #[serde(default = "poll_ms")]
    pub poll_ms: u64,
    /// How often while it is not, in milliseconds.
    #[serde(default = "poll_failing_ms")]
    pub poll_failing_ms: u64,
    /// Payloads are sealed for so long after the provider's last good status, in milliseconds; then writes fail.
    #[serde(default = "write_window_ms")]
    pub write_window_ms: u64,
    /// Payloads are opened for so long after the provider's last good status, in milliseconds; then accesses fail.
    #[serde(default = "read_window_ms")]
    pub read_window_ms: u64,
}

/// Kinds of providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Keys in a file on the node.
    KeyFile,
    /// A Kubernetes KMS v2 plugin on a unix socket.
    KmsV2,
}

/// A field that cannot be as it is, below the section's own key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key `seal.{key}`: {why}")]
pub struct Invalid {
    /// The field.
    pub key: &'static str,
    /// What was found and what is expected.
    pub why: String,
}

/// Why the configured provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// The provider refused.
    #[error(transparent)]
    Kms(#[from] kms::Error),
}

impl Config {
    /// With a key file, everything else by default.
    pub fn key_file(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::of(Provider::KeyFile) }
    }

    /// With a KMS v2 plugin, everything else by default.
    pub fn kms_v2(endpoint: impl Into<String>) -> Self {
        Self { endpoint: Some(endpoint.into()), ..Self::of(Provider::KmsV2) }
    }

    fn of(provider: Provider) -> Self {
        Self {
            provider,
            path: None,
            endpoint: None,
            timeout_ms: timeout_ms(),
            poll_ms: poll_ms(),
            poll_failing_ms: poll_failing_ms(),
            write_window_ms: write_window_ms(),
            read_window_ms: read_window_ms(),
        }
    }

    /// Checks what can be checked without the provider.
    ///
    /// # Errors
    /// The first field that cannot be as it is.
    pub fn check(&self) -> Result<(), Invalid> {
        let wrong = |key, why: &str| Err(Invalid { key, why: why.to_owned() });
        match (self.provider, &self.path, &self.endpoint) {
            (Provider::KeyFile, None, _) => {
                return wrong("path", "missing; provider \"key-file\" needs the path of a key file");
            }
            (Provider::KmsV2, _, None) => {
                return wrong("endpoint", "missing; provider \"kms-v2\" needs unix:///path/of/the/socket");
            }
            (Provider::KeyFile, _, Some(_)) => {
                return wrong("endpoint", "given, but provider \"key-file\" has none; remove it");
            }
            (Provider::KmsV2, Some(_), _) => {
                return wrong("path", "given, but provider \"kms-v2\" has none; remove it");
            }
            (Provider::KeyFile, Some(_), None) | (Provider::KmsV2, None, Some(_)) => {}
        }
        let positive = [
            ("timeout_ms", self.timeout_ms),
            ("poll_ms", self.poll_ms),
            ("poll_failing_ms", self.poll_failing_ms),
            ("write_window_ms", self.write_window_ms),
            ("read_window_ms", self.read_window_ms),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return wrong(key, "found 0, expected at least 1");
        }
        // Else a healthy provider would run out of its window between two polls.
        if self.write_window_ms <= self.poll_ms.saturating_add(self.timeout_ms) {
            let least = self.poll_ms.saturating_add(self.timeout_ms);
            return wrong(
                "write_window_ms",
                &format!("found {}, expected more than poll_ms + timeout_ms = {least}", self.write_window_ms),
            );
        }
        if self.read_window_ms < self.write_window_ms {
            return wrong(
                "read_window_ms",
                &format!(
                    "found {}, expected at least write_window_ms = {}",
                    self.read_window_ms, self.write_window_ms
                ),
            );
        }
        Ok(())
    }

    /// How often the provider is polled, and for how long its last good status counts.
    pub fn windows(&self) -> Windows {
        Windows {
            poll: Duration::from_millis(self.poll_ms),
            poll_failing: Duration::from_millis(self.poll_failing_ms),
            write: Duration::from_millis(self.write_window_ms),
            read: Duration::from_millis(self.read_window_ms),
        }
    }

    /// Opens the provider: reads and checks the key file; a plugin is first connected when it is called. Needs a tokio
    /// runtime, and blocks for as long as reading a small file takes.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self) -> Result<Arc<dyn Kms>, OpenError> {
        self.check()?;
        match (self.provider, &self.path, &self.endpoint) {
            (Provider::KeyFile, Some(path), _) => {
                Ok(Arc::new(KeyFile::open(path).map_err(kms::Error::from)?))
            }
            (Provider::KmsV2, _, Some(endpoint)) => {
                Ok(Arc::new(Plugin::new(endpoint, Duration::from_millis(self.timeout_ms))?))
            }
            (Provider::KeyFile | Provider::KmsV2, _, _) => unreachable!("checked above"),
        }
    }
}

fn timeout_ms() -> u64 {
    3_000
}

fn poll_ms() -> u64 {
    60_000
}

fn poll_failing_ms() -> u64 {
    10_000
}

fn write_window_ms() -> u64 {
    180_000
}

fn read_window_ms() -> u64 {
    86_400_000
}
