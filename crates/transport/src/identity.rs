//! Who speaks to whom. Every request names cluster, region, sender and receiver; a node acts only on what is meant for
//! it. Certificates will say the same once there are some; this check stays, because an address list can be wrong with
//! valid certificates too.

use pi_proto::raft::v1 as pb;
use pi_raft::types::NodeId;
use pi_types::{ClusterName, RegionName};

use crate::Error;

/// This node's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterName,
    /// The region, which is one Raft group.
    pub region: RegionName,
    /// The node within the region.
    pub node_id: NodeId,
}

impl Identity {
    /// What a request from this node to `target` carries.
    pub(crate) fn to(&self, target: NodeId) -> pb::Peer {
        pb::Peer {
            cluster: self.cluster.as_str().to_owned(),
            region: self.region.as_str().to_owned(),
            from: self.node_id,
            to: target,
        }
    }

    /// Who sent a request, if it is meant for this node.
    pub(crate) fn check(&self, peer: Option<&pb::Peer>) -> Result<NodeId, Error> {
        let Some(peer) = peer else {
            return Err(Error::WrongPeer("the request does not say who sends it".to_owned()));
        };
        let (cluster, region, me) = (self.cluster.as_str(), self.region.as_str(), self.node_id);
        if peer.cluster != cluster || peer.region != region {
            return Err(Error::WrongPeer(format!(
                "this is cluster {cluster:?}, region {region:?}; the request is for cluster {:?}, region {:?}. Check \
                 the raft_address of the members there: one leads here",
                Shown(&peer.cluster),
                Shown(&peer.region)
            )));
        }
        if peer.from == me {
            return Err(Error::WrongPeer(format!(
                "node {me} is wired to itself: the raft_address of node {} leads to node {me}",
                peer.to
            )));
        }
        if peer.to != me {
            return Err(Error::WrongPeer(format!(
                "this is node {me}; the request is for node {}. Correct the raft_address of node {}",
                peer.to, peer.to
            )));
        }
        Ok(peer.from)
    }
}

/// A name from a stranger, cut to what fits a log line.
struct Shown<'a>(&'a str);

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const CHARS_MAX: usize = 64;
        match self.0.char_indices().nth(CHARS_MAX) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: NodeId) -> Identity {
        Identity { cluster: "c".parse().unwrap(), region: "r".parse().unwrap(), node_id: id }
    }

    #[test]
    fn only_what_is_meant_for_this_node_is_accepted() {
        let refused = |peer: pb::Peer| node(2).check(Some(&peer)).unwrap_err().to_string();
        let good = node(1).to(2);
        assert_eq!(node(2).check(Some(&good)).unwrap(), 1);
        assert!(node(2).check(None).unwrap_err().to_string().contains("does not say"));
        assert!(refused(pb::Peer { cluster: "d".into(), ..good.clone() }).contains("cluster \"d\""));
        assert!(refused(pb::Peer { region: "s".into(), ..good.clone() }).contains("region \"s\""));
        assert!(refused(pb::Peer { to: 3, ..good.clone() }).contains("Correct the raft_address of node 3"));
        assert!(refused(pb::Peer { from: 2, to: 3, ..good.clone() }).contains("wired to itself"));
        let long = pb::Peer { region: "é".repeat(10_000), ..good };
        assert!(refused(long).len() < 500);
    }
}
