//! End-to-end tests: real binaries, real sockets, real RocksDB.
//!
//! Responsible for what several such suites need: clusters that end with their test ([`TestCluster`], [`shared`]), a
//! load whose every outcome is known ([`Load`]), `pi` as a process ([`Pi`]), and gRPC without a gRPC library ([`raw`]),
//! for input that no library would send. The tests themselves are in `tests/e2e`.
//!
//! The binaries are taken from `PI_BIN_DIR`, else from beside the test: `cargo build --workspace --bins` first.

mod cluster;
mod load;
mod pi;
pub mod raw;
mod replicas;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use cluster::{EU, Shared, TestCluster, US, one_region, shared, small_snapshots};
pub use load::{History, Load};
pub use pi::{Pi, Ran};
pub use replicas::{await_caught_up, await_equal_replicas, check_logs_are_small};

/// How long a condition is awaited before a test fails. Far longer than anything takes on an idle machine: two busy
/// cores are the least the suite must pass on.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition; the error names it. `look` answers `None` while it does not hold.
///
/// # Errors
/// It does not hold within [`PATIENCE`].
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Option<T>>,
{
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if Instant::now() >= until {
            bail!("{what}: not within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A payload that every kubelet could use, told from others by its password.
#[must_use]
pub fn payload(password: &str) -> Vec<u8> {
    let entry = serde_json::json!({"username": "bob", "password": password});
    serde_json::json!({"auths": {"registry.example.com": entry}}).to_string().into_bytes()
}

/// Such a payload of exactly `bytes` bytes.
///
/// # Panics
/// Fewer bytes than the smallest payload has.
#[must_use]
pub fn payload_of(bytes: usize) -> Vec<u8> {
    let empty = payload("").len();
    payload(&"x".repeat(bytes.checked_sub(empty).expect("more bytes than an empty password leaves")))
}

/// A tenant that no other test uses.
#[must_use]
pub fn tenant(of: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{of}-{}", &id[..8])
}
