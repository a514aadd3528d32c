//! Connections to peers: one per peer and purpose, made when first needed, dropped when they fail.
//!
//! A purpose has a connection of its own so that a heartbeat never waits behind a 4 MiB append or a snapshot. A
//! pooled connection to a peer that is gone must not outlive the failure that shows it (it would make a restarted
//! follower a perpetual candidate), so an error drops it, and HTTP/2 keepalive finds silent death within three seconds.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use pi_raft::types::NodeId;
use tonic::transport::{Channel, Endpoint};

use crate::Error;

/// Longest wait for a TCP connection; the calls that wait for it have deadlines of their own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// An idle or stuck connection is probed this often …
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// … and given up when the probe is unanswered this long.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// So many deadlines in a row drop a connection that reports no error: one is a slow disk over there, several may be
/// a black hole. Faster than keepalive at heartbeat pace.
const TIMEOUTS_IN_A_ROW_MAX: u32 = 5;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Appends, votes, leader transfer.
    Append,
    /// Heartbeats.
    Heartbeat,
    /// Snapshots.
    Snapshot,
}

/// The one place where a connection to a peer is made.
fn connect(address: &str) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|source| Error::Address { address: address.to_owned(), source })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_lazy())
}

/// The open connections of this node.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<(NodeId, Purpose), Open>,
    opened: u64,
    /// Whose connection for what failed and has not worked since. Said once each, where openraft would say every try.
    away: HashSet<(NodeId, Purpose)>,
}

#[derive(Debug)]
struct Open {
    /// Tells this connection from later ones to the same peer.
    number: u64,
    address: String,
    channel: Channel,
    timeouts_in_a_row: u32,
}

/// A connection in use. Reports go by its number, so a late one cannot drop a newer connection.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) channel: Channel,
    key: (NodeId, Purpose),
    number: u64,
}

impl Channels {
    /// The connection to `peer` for `purpose`; a new one when there is none or the peer's address changed.
    pub(crate) fn lease(&self, peer: NodeId, purpose: Purpose, address: &str) -> Result<Lease, Error> {
        let key = (peer, purpose);
        let mut state = self.state.lock();
        if let Some(open) = state.open.get(&key)
            && open.address == address
        {
            return Ok(Lease { channel: open.channel.clone(), key, number: open.number });
        }
        let channel = connect(address)?;
        state.opened += 1;
        let number = state.opened;
        let open =
            Open { number, address: address.to_owned(), channel: channel.clone(), timeouts_in_a_row: 0 };
        state.open.insert(key, open);
        Ok(Lease { channel, key, number })
    }

    /// The call got an answer.
    pub(crate) fn worked(&self, lease: &Lease) {
        self.with(lease, |open| {
            open.timeouts_in_a_row = 0;
            Keep::Yes
        });
    }

    /// The connection broke or could not be made.
    pub(crate) fn failed(&self, lease: &Lease) {
        self.with(lease, |_| Keep::No);
    }

    /// The call met its deadline.
    pub(crate) fn timed_out(&self, lease: &Lease) {
        self.with(lease, |open| {
            open.timeouts_in_a_row += 1;
            if open.timeouts_in_a_row < TIMEOUTS_IN_A_ROW_MAX { Keep::Yes } else { Keep::No }
        });
    }

    fn with(&self, lease: &Lease, decide: impl FnOnce(&mut Open) -> Keep) {
        let mut state = self.state.lock();
        let Some(open) = state.open.get_mut(&lease.key).filter(|open| open.number == lease.number) else {
            return;
        };
        let (peer, purpose) = lease.key;
        match decide(open) {
            Keep::Yes if open.timeouts_in_a_row == 0 => {
                if !state.away.is_empty() && state.away.remove(&lease.key) {
                    tracing::info!(peer, ?purpose, "peer reached again");
                }
            }
            Keep::Yes => {}
            Keep::No => {
                let address = open.address.clone();
                state.open.remove(&lease.key);
                if state.away.insert(lease.key) {
                    tracing::warn!(peer, ?purpose, address, "peer not reached; trying on");
                }
            }
        }
    }
}

enum Keep {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_shared_until_it_fails_and_each_purpose_has_its_own() {
        let channels = Channels::default();
        let lease = |purpose| channels.lease(1, purpose, "127.0.0.1:1").unwrap();
        let first = lease(Purpose::Append);
        assert_eq!(lease(Purpose::Append).number, first.number);
        assert_ne!(lease(Purpose::Heartbeat).number, first.number);
        assert_ne!(lease(Purpose::Snapshot).number, lease(Purpose::Heartbeat).number);

        channels.failed(&first);
        let second = lease(Purpose::Append);
        assert_ne!(second.number, first.number);
        channels.failed(&first);
        assert_eq!(
            lease(Purpose::Append).number,
            second.number,
            "a late report drops only its own connection"
        );
    }

    #[tokio::test]
    async fn a_peer_is_away_from_its_first_failure_to_its_next_answer() {
        let channels = Channels::default();
        let lease = || channels.lease(1, Purpose::Append, "127.0.0.1:1").unwrap();
        let away = || channels.state.lock().away.len();
        for _ in 0..3 {
            channels.failed(&lease());
            assert_eq!(away(), 1);
        }
        channels.timed_out(&lease());
        assert_eq!(away(), 1, "a deadline is no answer");
        channels.worked(&lease());
        assert_eq!(away(), 0);
    }

    #[tokio::test]
    async fn only_deadlines_in_a_row_drop_a_connection() {
        let channels = Channels::default();
        let lease = || channels.lease(1, Purpose::Heartbeat, "127.0.0.1:1").unwrap();
        let first = lease();
        for _ in 0..TIMEOUTS_IN_A_ROW_MAX - 1 {
            channels.timed_out(&first);
        }
        channels.worked(&first);
        channels.timed_out(&first);
        assert_eq!(lease().number, first.number);
        for _ in 1..TIMEOUTS_IN_A_ROW_MAX {
            channels.timed_out(&first);
        }
        assert_ne!(lease().number, first.number);
    }

    #[tokio::test]
    async fn a_new_address_is_a_new_connection_and_a_bad_one_an_error() {
        let channels = Channels::default();
        let first = channels.lease(1, Purpose::Append, "127.0.0.1:1").unwrap();
        assert_ne!(channels.lease(1, Purpose::Append, "127.0.0.1:2").unwrap().number, first.number);
        let error = channels.lease(2, Purpose::Append, "not an address").unwrap_err();
        assert!(error.to_string().contains("raft_address"), "{error}");
    }
}
