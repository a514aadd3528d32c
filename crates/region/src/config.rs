//! The configuration of a node: its fields, their defaults, and what must hold between them.
//!
//! Where values come from (file, environment, `--set`) is `pi-runtime`'s business.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pi_auth::InsecurePolicy;
use pi_runtime::telemetry;
use pi_types::{ClusterName, RegionName};
use serde::{Deserialize, Serialize};

use crate::address;

/// Prefix of environment variables that override the file: `PI_REGION_RAFT__HEARTBEAT_MS=200`.
pub const ENV_PREFIX: &str = "PI_REGION";

/// One node of one region. Every field without a default must be given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The cluster's name; the same on every node and gateway.
    pub cluster: ClusterName,
    /// The region this node belongs to.
    pub region: RegionName,
    /// This node's id: 1 to 2^63-1, given out once per region and never again, not even after the disk was wiped.
    pub node_id: u64,
    /// Directory of everything durable; made by `pi-region init`.
    pub data_dir: PathBuf,
    /// Where clients and gateways connect: `IP:port`.
    pub client_listen: String,
    /// Where the region's other nodes connect: `IP:port`.
    pub raft_listen: String,
    /// `host:port` under which gateways reach `client_listen`. Default: `client_listen`, unless that is a wildcard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    /// `host:port` under which the other nodes reach `raft_listen`. Default: `raft_listen`, unless that is a wildcard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raft_address: Option<String>,
    /// Threads that serve requests; 1 runs everything on one. Default: as many as the machine has cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_threads: Option<usize>,
    /// Whether tokens that prove nothing are accepted: "refuse" or "loopback-only" (development on one machine).
    #[serde(default)]
    pub insecure_tokens: InsecurePolicy,
    /// Whether gRPC reflection answers on the client listener.
    #[serde(default = "yes")]
    pub reflection: bool,
    /// Timing and log retention of the Raft group.
    #[serde(default)]
    pub raft: Raft,
    /// Bounds of the client listener.
    #[serde(default)]
    pub limits: Limits,
    /// The process's log.
    #[serde(default)]
    pub log: Log,
}

/// Timing and log retention of the Raft group; the same on every node of a region.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Raft {
    /// How often a leader shows that it is there, in milliseconds.
    pub heartbeat_ms: u64,
    /// A follower that heard nothing this long (and a random part up to `election_max_ms`) asks for votes.
    pub election_min_ms: u64,
    /// See `election_min_ms`.
    pub election_max_ms: u64,
    /// A snapshot is taken after this many entries.
    pub snapshot_every: u64,
    /// This many entries behind the snapshot stay in the log for followers that are briefly away.
    pub keep_logs: u64,
}

impl Default for Raft {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 300,
            election_max_ms: 600,
            snapshot_every: 200_000,
            keep_logs: 20_000,
        }
    }
}

/// Bounds of the client listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests worked on at once; more are answered UNAVAILABLE/OVERLOADED.
    pub requests_max: usize,
    /// Streams (requests) one connection may have open at once.
    pub streams_per_connection_max: u32,
    /// Bytes of metadata of one request.
    pub header_bytes_max: u32,
    /// The deadline of a request that names none, in milliseconds.
    pub deadline_default_ms: u64,
    /// The longest deadline granted to a request other than Watch, in milliseconds.
    pub deadline_max_ms: u64,
    /// Watches on this node.
    pub watches_max: usize,
    /// Watches of one tenant on this node.
    pub watches_per_tenant_max: usize,
    /// How often a watch without changes is told so, in milliseconds.
    pub watch_progress_ms: u64,
    /// How long requests under way may take to end after the node was asked to stop, in milliseconds.
    pub drain_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_max: 4_096,
            streams_per_connection_max: 1_024,
            header_bytes_max: 16 * 1024,
            deadline_default_ms: 10_000,
            deadline_max_ms: 60_000,
            watches_max: 4_096,
            watches_per_tenant_max: 64,
            watch_progress_ms: 10_000,
            drain_ms: 5_000,
        }
    }
}

/// The process's log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// "text" or "json". What is logged is chosen by the environment variable `PI_LOG` (default "info", less of openraft).
    pub format: telemetry::Format,
}

fn yes() -> bool {
    true
}

/// A configuration in which everything holds that must.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The cluster.
    pub cluster: ClusterName,
    /// The region.
    pub region: RegionName,
    /// This node.
    pub node_id: u64,
    /// Where everything durable is.
    pub data_dir: PathBuf,
    /// Bind address of the client listener.
    pub client_listen: SocketAddr,
    /// Bind address of the Raft listener.
    pub raft_listen: SocketAddr,
    /// What gateways are told.
    pub client_address: String,
    /// What the other nodes are told.
    pub raft_address: String,
    /// The rest, which has no form of its own.
    pub plain: Config,
}

/// What does not hold. Names the key, what was found, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration key `{key}`: found `{found}`, {expected}")]
pub struct Error {
    key: &'static str,
    found: String,
    expected: String,
}

fn error(key: &'static str, found: impl ToString, expected: impl Into<String>) -> Error {
    Error { key, found: found.to_string(), expected: expected.into() }
}

impl Config {
    /// Checks every field and the relations between them.
    pub fn check(self) -> Result<Checked, Error> {
        if self.node_id == 0 || self.node_id > i64::MAX as u64 {
            return Err(error(
                "node_id",
                self.node_id,
                "expected 1 to 2^63-1, never used before in this region",
            ));
        }
        if !self.data_dir.is_absolute() {
            let found = self.data_dir.display();
            return Err(error("data_dir", found, "expected an absolute path, such as /var/lib/pi-region"));
        }
        let client_listen = listen("client_listen", &self.client_listen)?;
        let raft_listen = listen("raft_listen", &self.raft_listen)?;
        let client_address = advertised("client_address", self.client_address.as_deref(), client_listen)?;
        let raft_address = advertised("raft_address", self.raft_address.as_deref(), raft_listen)?;
        if client_address == raft_address {
            return Err(error(
                "raft_address",
                raft_address,
                "expected another address than client_address: the two listeners are apart",
            ));
        }
        self.raft.check()?;
        self.limits.check()?;
        if self.worker_threads.is_some_and(|threads| threads == 0 || threads > 1_024) {
            let found = self.worker_threads.unwrap_or_default();
            return Err(error("worker_threads", found, "expected 1 to 1,024"));
        }
        Ok(Checked {
            cluster: self.cluster.clone(),
            region: self.region.clone(),
            node_id: self.node_id,
            data_dir: self.data_dir.clone(),
            client_listen,
            raft_listen,
            client_address,
            raft_address,
            plain: self,
        })
    }

    /// The directory of everything durable.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

impl Raft {
    fn check(&self) -> Result<(), Error> {
        if !(10..=10_000).contains(&self.heartbeat_ms) {
            return Err(error("raft.heartbeat_ms", self.heartbeat_ms, "expected 10 to 10000"));
        }
        // Two heartbeats may be lost without an election.
        if self.election_min_ms < self.heartbeat_ms.saturating_mul(3) {
            return Err(error(
                "raft.election_min_ms",
                self.election_min_ms,
                format!("expected at least 3 times raft.heartbeat_ms ({})", self.heartbeat_ms),
            ));
        }
        if self.election_max_ms <= self.election_min_ms || self.election_max_ms > 600_000 {
            return Err(error(
                "raft.election_max_ms",
                self.election_max_ms,
                format!("expected more than raft.election_min_ms ({}), at most 600000", self.election_min_ms),
            ));
        }
        if self.snapshot_every == 0 {
            return Err(error("raft.snapshot_every", 0, "expected at least 1"));
        }
        Ok(())
    }
}

impl Limits {
    fn check(&self) -> Result<(), Error> {
        let within = |key, found: u64, min: u64, max: u64| {
            if (min..=max).contains(&found) {
                Ok(())
            } else {
                Err(error(key, found, format!("expected {min} to {max}")))
            }
        };
        within("limits.requests_max", self.requests_max as u64, 1, 1_000_000)?;
        within("limits.streams_per_connection_max", self.streams_per_connection_max.into(), 1, 1_000_000)?;
        within("limits.header_bytes_max", self.header_bytes_max.into(), 1_024, 1_048_576)?;
        within("limits.deadline_max_ms", self.deadline_max_ms, 100, 600_000)?;
        within("limits.deadline_default_ms", self.deadline_default_ms, 100, self.deadline_max_ms)?;
        within("limits.watches_max", self.watches_max as u64, 1, 1_000_000)?;
        within("limits.watches_per_tenant_max", self.watches_per_tenant_max as u64, 1, 1_000_000)?;
        within("limits.watch_progress_ms", self.watch_progress_ms, 100, 600_000)?;
        within("limits.drain_ms", self.drain_ms, 0, 600_000)
    }

    /// See [`Limits::deadline_default_ms`].
    pub fn deadline_default(&self) -> Duration {
        Duration::from_millis(self.deadline_default_ms)
    }

    /// See [`Limits::deadline_max_ms`].
    pub fn deadline_max(&self) -> Duration {
        Duration::from_millis(self.deadline_max_ms)
    }
}

/// A listener's address. While only credentials exist that prove nothing, and peers are not authenticated, both
/// listeners stay on this machine.
fn listen(key: &'static str, text: &str) -> Result<SocketAddr, Error> {
    let address: SocketAddr =
        text.parse().map_err(|_| error(key, text, "expected IP:port, such as 127.0.0.1:7101"))?;
    if !address.ip().to_canonical().is_loopback() {
        return Err(error(
            key,
            text,
            "expected a loopback address: this version authenticates neither users nor peers over a network, so \
             other machines must not reach it",
        ));
    }
    Ok(address)
}

/// What others are told to connect to: `host:port` with a host that means the same to them.
fn advertised(key: &'static str, text: Option<&str>, listen: SocketAddr) -> Result<String, Error> {
    const EXPECTED: &str =
        "expected host:port under which others reach this node (no wildcard, port 1 to 65535)";
    let text = text.map_or_else(|| listen.to_string(), str::to_owned);
    if address::is_reachable(&text) { Ok(text) } else { Err(error(key, text, EXPECTED)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        cluster = "pi"
        region = "us-central1"
        node_id = 1
        data_dir = "/var/lib/pi-region"
        client_listen = "127.0.0.1:7101"
        raft_listen = "127.0.0.1:7102"
    "#;

    fn load(overrides: &[(&str, &str)]) -> Result<Checked, String> {
        let overrides: Vec<_> = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let file = Some((Path::new("node.toml"), MINIMAL));
        pi_runtime::config::from_sources::<Config>(file, ENV_PREFIX, std::iter::empty(), &overrides)
            .map_err(|e| e.to_string())?
            .check()
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_minimal_file_is_enough_and_advertises_the_listeners() {
        let checked = load(&[]).unwrap();
        assert_eq!(checked.client_address, "127.0.0.1:7101");
        assert_eq!(checked.raft_address, "127.0.0.1:7102");
        assert_eq!(checked.plain.insecure_tokens, InsecurePolicy::Refuse);
    }

    #[test]
    fn what_does_not_hold_is_refused_by_key() {
        for (key, value, telling) in [
            ("node_id", "0", "never used before"),
            ("data_dir", "data", "absolute"),
            ("cluster", "Upper", "lower case"),
            ("client_listen", "0.0.0.0:7101", "loopback"),
            ("client_listen", "192.0.2.1:7101", "loopback"),
            ("raft_listen", "localhost", "IP:port"),
            ("raft_address", "0.0.0.0:7102", "no wildcard"),
            ("raft_address", "127.0.0.1:7101", "another address"),
            ("raft_address", "host:0", "port 1 to 65535"),
            ("client_address", "http://host:80", "host:port"),
            ("worker_threads", "0", "1 to 1,024"),
            ("raft.election_min_ms", "150", "3 times"),
            ("raft.election_max_ms", "300", "more than"),
            ("limits.deadline_default_ms", "99999999", "expected 100 to"),
            ("limits.requests_max", "0", "expected 1 to"),
        ] {
            let message = load(&[(key, value)]).unwrap_err();
            assert!(message.contains(key), "{key}={value}: {message}");
            assert!(message.contains(telling), "{key}={value}: {message}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let message = load(&[("limits.request_max", "5")]).unwrap_err();
        assert!(message.contains("request_max"), "{message}");
    }

    #[test]
    fn the_dump_loads_again() {
        let dump = pi_runtime::config::dump(&load(&[("worker_threads", "2")]).unwrap().plain);
        let file = Some((Path::new("dump.toml"), dump.as_str()));
        let again: Config =
            pi_runtime::config::from_sources(file, ENV_PREFIX, std::iter::empty(), &[]).unwrap();
        assert_eq!(again.worker_threads, Some(2));
    }
}
