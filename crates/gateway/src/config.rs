//! What an operator can set, with defaults that are right for most.
//!
//! Responsible for meaning, bounds and documentation of the settings; how they are read is `pi_runtime::config`'s.
//! `pi-gateway --dump-config` prints the effective ones.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use pi_runtime::telemetry::Format;
use pi_types::RegionName;
use serde::{Deserialize, Serialize};

/// Prefix of environment variables: `PI_GATEWAY_LISTEN`, `PI_GATEWAY_LIMITS__CONNECTIONS_MAX`.
pub const ENV_PREFIX: &str = "PI_GATEWAY";

/// The whole configuration file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address for clients. Loopback only: without TLS (which comes with the security work) anyone on the network
    /// could read secrets.
    pub listen: SocketAddr,
    /// Worker threads; 1 is the current-thread runtime, which did best on small machines. Default 1.
    #[serde(default = "one")]
    pub worker_threads: usize,
    /// Whether gRPC reflection tells the public API to tools such as grpcurl. Default on.
    #[serde(default)]
    pub reflection: Reflection,
    /// The regions served here.
    pub regions: Vec<Region>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// How nodes are reached.
    #[serde(default)]
    pub nodes: Nodes,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

/// One region.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name, which clients put into field 1 of every request.
    pub name: RegionName,
    /// `host:port` of the client listeners of some of its nodes, to find the others by. Membership itself is never
    /// configured here: the region is asked for it.
    pub seeds: Vec<String>,
}

/// Bounds on what clients can make the gateway hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Client connections at once; more are closed at once. Default 1,024.
    pub connections_max: usize,
    /// Requests and streams at once on one client connection. Default 1,024.
    pub streams_per_connection_max: u32,
    /// Bytes of all headers of one request. Default 16 KiB.
    pub header_bytes_max: u32,
    /// Requests at once over all connections and regions, those still arriving included; more are refused with
    /// UNAVAILABLE/OVERLOADED. Default 16,384.
    pub requests_max: usize,
    /// Of these, requests that do not arrive in one HTTP/2 frame (16 KiB) and take up to 256 KiB of memory each; more
    /// are refused with UNAVAILABLE/OVERLOADED. Default 256.
    pub large_requests_max: usize,
    /// Requests waiting for one region's first answer; more are refused with UNAVAILABLE/OVERLOADED. Default 4,096.
    pub requests_per_region_max: usize,
    /// Streams (watches) that last, per region; more are refused with UNAVAILABLE/OVERLOADED. Default 4,096.
    pub streams_per_region_max: usize,
    /// Milliseconds until the first answer where a client set no deadline. Default 10,000.
    pub deadline_default_ms: u64,
    /// The longest wait for the first answer whatever a client asks. Streams last longer. Default 60,000.
    pub deadline_max_ms: u64,
    /// Milliseconds that open requests are given to end after the request to stop. Default 10,000.
    pub drain_ms: u64,
}

/// How nodes are reached and when they are given up.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nodes {
    /// HTTP/2 connections to each node, 1 to 16. Default 2.
    pub connections: usize,
    /// Milliseconds for making a connection. Default 1,000.
    pub connect_timeout_ms: u64,
    /// Milliseconds after which a request that found no leader, or nobody, is answered UNAVAILABLE. Longer than an
    /// election (up to 600 ms and a second round). Default 2,000.
    pub unavailable_after_ms: u64,
    /// Milliseconds between looks at membership and leader while all is well. Default 1,000.
    pub refresh_ms: u64,
    /// The same while no leader is known. Default 100.
    pub refresh_without_leader_ms: u64,
    /// Milliseconds of silence after which a connection is tested by a ping, and after which an unanswered ping means
    /// that it is gone. Default 5,000.
    pub keepalive_ms: u64,
}

/// See [`Config::reflection`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reflection {
    /// Answer.
    #[default]
    On,
    /// UNIMPLEMENTED.
    Off,
}

/// See [`Config::log`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`. Default `text`. What is logged is in the environment variable `PI_LOG`.
    pub format: Format,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            streams_per_connection_max: 1_024,
            header_bytes_max: 16 * 1024,
            requests_max: 16_384,
            large_requests_max: 256,
            requests_per_region_max: 4_096,
            streams_per_region_max: 4_096,
            deadline_default_ms: 10_000,
            deadline_max_ms: 60_000,
            drain_ms: 10_000,
        }
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            connections: 2,
            connect_timeout_ms: 1_000,
            unavailable_after_ms: 2_000,
            refresh_ms: 1_000,
            refresh_without_leader_ms: 100,
            keepalive_ms: 5_000,
        }
    }
}

fn one() -> usize {
    1
}

/// A setting that parses but cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("key `{key}`: found {found}, expected {expected}")]
pub struct Invalid {
    key: String,
    found: String,
    expected: &'static str,
}

impl Config {
    /// Checks what types alone do not say.
    ///
    /// # Errors
    /// The first setting out of its bounds.
    pub fn check(&self) -> Result<(), Invalid> {
        let fail = |key: &str, found: String, expected| Err(Invalid { key: key.to_owned(), found, expected });
        if !self.listen.ip().is_loopback() {
            return fail(
                "listen",
                self.listen.to_string(),
                "a loopback address (127.0.0.1 or ::1) until TLS is there",
            );
        }
        if self.regions.is_empty() {
            return fail("regions", "none".to_owned(), "at least one [[regions]] with name and seeds");
        }
        let mut names = BTreeSet::new();
        for region in &self.regions {
            if !names.insert(&region.name) {
                return fail("regions.name", format!("`{}` twice", region.name), "each region once");
            }
            if region.seeds.is_empty() {
                return fail(
                    "regions.seeds",
                    format!("none for `{}`", region.name),
                    "at least one \"host:port\"",
                );
            }
            for seed in &region.seeds {
                if !is_host_port(seed) {
                    return fail("regions.seeds", format!("`{seed}`"), "\"host:port\"");
                }
            }
        }
        let positive = [
            ("worker_threads", self.worker_threads as u64),
            ("limits.connections_max", self.limits.connections_max as u64),
            ("limits.streams_per_connection_max", self.limits.streams_per_connection_max.into()),
            ("limits.requests_max", self.limits.requests_max as u64),
            ("limits.large_requests_max", self.limits.large_requests_max as u64),
            ("limits.requests_per_region_max", self.limits.requests_per_region_max as u64),
            ("limits.streams_per_region_max", self.limits.streams_per_region_max as u64),
            ("limits.deadline_default_ms", self.limits.deadline_default_ms),
            ("limits.deadline_max_ms", self.limits.deadline_max_ms),
            ("nodes.connect_timeout_ms", self.nodes.connect_timeout_ms),
            ("nodes.unavailable_after_ms", self.nodes.unavailable_after_ms),
            ("nodes.refresh_ms", self.nodes.refresh_ms),
            ("nodes.refresh_without_leader_ms", self.nodes.refresh_without_leader_ms),
            ("nodes.keepalive_ms", self.nodes.keepalive_ms),
        ];
        for (key, value) in positive {
            // The upper bound keeps durations and semaphores far from overflow.
            if !(1..=100_000_000).contains(&value) {
                return fail(key, value.to_string(), "1 to 100,000,000");
            }
        }
        if !(1..=16).contains(&self.nodes.connections) {
            return fail("nodes.connections", self.nodes.connections.to_string(), "1 to 16");
        }
        if !(4_096..=1_048_576).contains(&self.limits.header_bytes_max) {
            return fail(
                "limits.header_bytes_max",
                self.limits.header_bytes_max.to_string(),
                "4,096 to 1,048,576",
            );
        }
        Ok(())
    }
}

fn is_host_port(text: &str) -> bool {
    text.parse::<http::uri::Authority>().is_ok_and(|authority| authority.port_u16().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(overrides: &[(&str, &str)]) -> Result<Config, String> {
        let text = "listen = '127.0.0.1:7000'\n[[regions]]\nname = 'eu'\nseeds = ['localhost:1']\n";
        let flags: Vec<_> = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let file = Some((std::path::Path::new("gateway.toml"), text));
        let config: Config = pi_runtime::config::from_sources(file, ENV_PREFIX, std::iter::empty(), &flags)
            .map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn the_least_configuration_is_listen_and_one_region() {
        let config = config(&[]).unwrap();
        assert_eq!((config.worker_threads, config.nodes.connections), (1, 2));
    }

    #[test]
    fn values_out_of_bounds_are_named_with_what_was_expected() {
        for (key, value, told) in [
            ("listen", "0.0.0.0:7000", "key `listen`: found 0.0.0.0:7000, expected a loopback address"),
            ("regions", "[]", "key `regions`: found none"),
            (
                "regions",
                r#"[{name="eu", seeds=["host"]}]"#,
                "key `regions.seeds`: found `host`, expected \"host:port\"",
            ),
            ("nodes.connections", "0", "key `nodes.connections`: found 0, expected 1 to 16"),
            ("limits.deadline_max_ms", "0", "key `limits.deadline_max_ms`: found 0"),
            ("limits.unknown", "1", "unknown field"),
        ] {
            let error = config(&[(key, value)]).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
