//! What a replica can be told: timing, bounds, and the openraft configuration they become.
//!
//! What may not be chosen is fixed here with its reason: Pre-Vote on, leadership never restored without an election,
//! log reversion refused. Reads are never served by lease, which is no option at all (`reads.rs`).

use openraft::{Config, SnapshotPolicy};
use pi_types::limits::{APPEND_BYTES_MAX, CLIENT_MESSAGE_BYTES_MAX, PEER_MESSAGE_BYTES_MAX};

use crate::codec::ENTRY_OVERHEAD_BYTES_MAX;
use crate::threads::Threads;

/// A command's size in the log at most, in bytes: what a client may send is the larger of what becomes one.
pub const COMMAND_BYTES_MAX: usize = CLIENT_MESSAGE_BYTES_MAX;

// openraft has no byte cap and repeats a message that a peer refuses for ever: what a read for replication returns, one
// entry over the cut included, must fit into a message between peers.
const _: () = {
    assert!(
        COMMAND_BYTES_MAX + ENTRY_OVERHEAD_BYTES_MAX <= APPEND_BYTES_MAX,
        "an entry fits an append request"
    );
    assert!(
        APPEND_BYTES_MAX + COMMAND_BYTES_MAX + ENTRY_OVERHEAD_BYTES_MAX < PEER_MESSAGE_BYTES_MAX,
        "an append request, cut after the entry that exceeds the limit, fits a message between peers"
    );
};

/// When nodes send heartbeats and call elections, in milliseconds.
///
/// A follower that hears nothing elects itself after `election_max` + a random time of `election_min..election_max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats; also the deadline of each. Must exceed a peer's round trip and fsync at their p99.9.
    pub heartbeat_ms: u64,
    /// Lower bound of the random election timeout; more than two heartbeats.
    pub election_min_ms: u64,
    /// Upper bound of it, and the leader's lease.
    pub election_max_ms: u64,
    /// For sending and installing one whole snapshot.
    pub snapshot_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_min_ms: 300, election_max_ms: 600, snapshot_ms: 600_000 }
    }
}

/// What a replica can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Heartbeats and elections.
    pub timing: Timing,
    /// Entries after which a snapshot is taken.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot, for followers that are a little behind.
    pub keep_logs: u64,
    /// Entries of one append request at most; it is also cut by bytes.
    pub append_entries_max: u64,
    /// Proposals that wait for their answer at most; more are refused as overload.
    pub proposals_max: usize,
    /// Bytes of them at most.
    pub proposal_bytes_max: usize,
    /// Reads that wait for a confirmation of leadership at most; more are refused at once.
    pub reads_max: usize,
    /// Whether to use threads; a simulation does not.
    pub threads: Threads,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timing: Timing::default(),
            // A snapshot costs a flush; the log of this many small entries is about 100 MB.
            snapshot_every: 200_000,
            keep_logs: 20_000,
            append_entries_max: 1_024,
            proposals_max: 8_192,
            proposal_bytes_max: 64 * 1024 * 1024,
            reads_max: 16_384,
            threads: Threads::Real,
        }
    }
}

/// Why options cannot work.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOptions {
    /// Two times contradict each other, or a bound is zero.
    #[error("raft options: {0}")]
    Bound(&'static str),
    /// openraft refuses the configuration.
    #[error("raft options are refused")]
    Openraft(#[source] openraft::ConfigError),
}

impl Options {
    /// Checks them and turns them into openraft's configuration.
    pub(crate) fn config(&self, group: &str) -> Result<Config, InvalidOptions> {
        let Timing { heartbeat_ms, election_min_ms, election_max_ms, snapshot_ms } = self.timing;
        let bounds = [
            (heartbeat_ms > 0, "heartbeat_ms must be at least 1"),
            (election_min_ms > 2 * heartbeat_ms, "election_min_ms must be more than two heartbeats"),
            (election_max_ms > election_min_ms, "election_max_ms must be more than election_min_ms"),
            (snapshot_ms > 0, "snapshot_ms must be at least 1"),
            (self.snapshot_every > 0, "snapshot_every must be at least 1"),
            (self.append_entries_max > 0, "append_entries_max must be at least 1"),
            (self.proposals_max > 0, "proposals_max must be at least 1"),
            (
                self.proposal_bytes_max >= COMMAND_BYTES_MAX,
                "proposal_bytes_max must hold the largest command",
            ),
            (self.proposal_bytes_max <= u32::MAX as usize, "proposal_bytes_max must be below 4 GiB"),
            (self.reads_max > 0, "reads_max must be at least 1"),
        ];
        if let Some((_, why)) = bounds.into_iter().find(|(holds, _)| !holds) {
            return Err(InvalidOptions::Bound(why));
        }
        let config = Config {
            cluster_name: group.to_owned(),
            heartbeat_interval: heartbeat_ms,
            election_timeout_min: election_min_ms,
            election_timeout_max: election_max_ms,
            install_snapshot_timeout: snapshot_ms,
            max_payload_entries: self.append_entries_max,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep_logs,
            // A follower that is further behind than this gets a snapshot even while its log still exists.
            replication_lag_threshold: self.snapshot_every.saturating_add(self.keep_logs).saturating_mul(2),
            // One purge a batch, not one an entry: each is a write of its own.
            purge_batch_size: 1_024.min(self.snapshot_every),
            // A node that was cut off must not force an election when it comes back.
            enable_pre_vote: Some(true),
            // A leader whose messages get out but whose answers do not come back must fall silent, so that the others
            // can elect; the least that openraft allows.
            quorum_loss_probe_interval: Some(2 * election_max_ms),
            // A restarted leader stands for election like everyone.
            enable_leader_restore: Some(false),
            // A follower whose log went backwards lost data it acknowledged; it must never count again.
            allow_log_reversion: Some(false),
            ..Config::default()
        };
        config.validate().map_err(InvalidOptions::Openraft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_fix_what_may_not_be_chosen() {
        let config = Options::default().config("c/r").unwrap();
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.allow_log_reversion, Some(false));
        assert_eq!(config.quorum_loss_probe_interval, Some(1_200));
    }

    #[test]
    fn contradictory_options_are_refused_by_name() {
        let timing = Timing { election_min_ms: 150, ..Timing::default() };
        let error = Options { timing, ..Options::default() }.config("c/r").unwrap_err();
        assert_eq!(error.to_string(), "raft options: election_min_ms must be more than two heartbeats");
        let error = Options { proposals_max: 0, ..Options::default() }.config("c/r").unwrap_err();
        assert_eq!(error.to_string(), "raft options: proposals_max must be at least 1");
    }
}
