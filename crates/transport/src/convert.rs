//! openraft's messages to and from `pi.raft.v1`, beyond what `pi_raft::codec` does.
//!
//! What arrives is checked for everything that openraft takes for granted (it asserts some of it and would stop the
//! node): a leader's message has a committed vote of its sender, a candidate's an uncommitted one; entries follow
//! `prev_log_id` without a gap, with terms that never fall nor exceed the vote's.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use pi_proto::raft::v1 as pb;
use pi_raft::codec::{decode_entry, log_id_from_proto, log_id_to_proto, vote_from_proto, vote_to_proto};
use pi_raft::types::{Entry, LogId, NodeId, TypeConfig, Vote};

use crate::Error;

fn malformed(what: &'static str, reason: impl Into<String>) -> Error {
    Error::Malformed { what, reason: reason.into() }
}

fn optional_log_id(log_id: Option<&pb::LogId>) -> Option<LogId> {
    log_id.map(log_id_from_proto)
}

fn term(log_id: Option<&LogId>) -> u64 {
    log_id.map_or(0, |log_id| *log_id.leader_id)
}

/// A leader's vote: committed, and its sender's own.
pub(crate) fn leader_vote(what: &'static str, vote: Option<&pb::Vote>, from: NodeId) -> Result<Vote, Error> {
    let vote = own_vote(what, vote, from)?;
    if !vote.committed {
        return Err(malformed(what, "its vote is not a leader's"));
    }
    Ok(vote)
}

fn own_vote(what: &'static str, vote: Option<&pb::Vote>, from: NodeId) -> Result<Vote, Error> {
    let vote = vote.ok_or_else(|| malformed(what, "it has no vote"))?;
    if vote.node_id != from {
        return Err(malformed(what, format!("node {from} sends it with the vote of node {}", vote.node_id)));
    }
    Ok(vote_from_proto(vote))
}

/// An append that arrived from `from`.
pub(crate) fn append_from_proto(
    request: pb::AppendRequest,
    from: NodeId,
) -> Result<AppendEntriesRequest<TypeConfig>, Error> {
    const WHAT: &str = "append";
    let vote = leader_vote(WHAT, request.vote.as_ref(), from)?;
    let prev_log_id = optional_log_id(request.prev_log_id.as_ref());
    let entries = request.entries.into_iter().map(decode_entry).collect::<Result<Vec<Entry>, _>>()?;

    let mut index = match &prev_log_id {
        None => Some(0),
        Some(prev) => prev.index.checked_add(1),
    };
    let mut last_term = term(prev_log_id.as_ref());
    for entry in &entries {
        if Some(entry.log_id.index) != index {
            return Err(malformed(WHAT, "its entries do not follow prev_log_id without a gap"));
        }
        let entry_term = term(Some(&entry.log_id));
        if entry_term < last_term {
            return Err(malformed(WHAT, "the terms of its entries fall"));
        }
        last_term = entry_term;
        index = entry.log_id.index.checked_add(1);
    }
    if last_term > vote.leader_id.term {
        return Err(malformed(WHAT, "it has an entry of a later term than its leader's"));
    }
    let leader_commit = optional_log_id(request.leader_commit.as_ref());
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

/// The answer to one request of a stream.
pub(crate) fn stream_result_to_proto(result: &StreamAppendResult<TypeConfig>) -> pb::AppendResponse {
    use pb::append_response::{Conflict, Result as Wire, Success};
    let result = match result {
        Ok(matching) => Wire::Success(Success { matching: matching.as_ref().map(log_id_to_proto) }),
        Err(StreamAppendError::Conflict(_)) => Wire::Conflict(Conflict {}),
        Err(StreamAppendError::HigherVote(vote)) => Wire::HigherVote(vote_to_proto(vote)),
    };
    pb::AppendResponse { result: Some(result) }
}

/// The answer to one append whose last log id was `last`.
pub(crate) fn append_response_to_proto(
    response: &AppendEntriesResponse<TypeConfig>,
    last: Option<&LogId>,
) -> pb::AppendResponse {
    use pb::append_response::{Conflict, Result as Wire, Success};
    let result = match response {
        AppendEntriesResponse::Success => Wire::Success(Success { matching: last.map(log_id_to_proto) }),
        AppendEntriesResponse::PartialSuccess(Some(matching)) => {
            Wire::PartialSuccess(log_id_to_proto(matching))
        }
        // Nothing was stored, so nothing is known to match: the same as a conflict, from which the leader probes.
        AppendEntriesResponse::PartialSuccess(None) => Wire::Conflict(Conflict {}),
        AppendEntriesResponse::Conflict => Wire::Conflict(Conflict {}),
        AppendEntriesResponse::HigherVote(vote) => Wire::HigherVote(vote_to_proto(vote)),
    };
    pb::AppendResponse { result: Some(result) }
}

/// A vote or pre-vote request to a peer.
pub(crate) fn vote_request_to_proto(request: &VoteRequest<TypeConfig>, peer: pb::Peer) -> pb::VoteRequest {
    pb::VoteRequest {
        peer: Some(peer),
        vote: Some(vote_to_proto(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_proto),
        leader_transfer: request.leadership_transfer,
    }
}

/// A vote or pre-vote request that arrived from `from`.
pub(crate) fn vote_request_from_proto(
    request: &pb::VoteRequest,
    from: NodeId,
) -> Result<VoteRequest<TypeConfig>, Error> {
    const WHAT: &str = "vote request";
    let vote = own_vote(WHAT, request.vote.as_ref(), from)?;
    if vote.committed {
        return Err(malformed(WHAT, "its vote is a leader's, not a candidate's"));
    }
    let last_log_id = optional_log_id(request.last_log_id.as_ref());
    if term(last_log_id.as_ref()) > vote.leader_id.term {
        return Err(malformed(WHAT, "its last log id is of a later term than its vote"));
    }
    let mut converted = VoteRequest::new(vote, last_log_id);
    converted.leadership_transfer = request.leader_transfer;
    Ok(converted)
}

/// The answer to a vote request.
pub(crate) fn vote_response_to_proto(response: &VoteResponse<TypeConfig>) -> pb::VoteResponse {
    pb::VoteResponse {
        vote: Some(vote_to_proto(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(log_id_to_proto),
    }
}

/// A peer's answer to a vote request; `None` when it lacks a vote.
pub(crate) fn vote_response_from_proto(response: &pb::VoteResponse) -> Option<VoteResponse<TypeConfig>> {
    let vote = vote_from_proto(response.vote.as_ref()?);
    Some(VoteResponse::new(vote, optional_log_id(response.last_log_id.as_ref()), response.granted))
}

/// A leader transfer to a peer.
pub(crate) fn transfer_to_proto(
    request: &TransferLeaderRequest<TypeConfig>,
    peer: pb::Peer,
) -> pb::TransferLeaderRequest {
    pb::TransferLeaderRequest {
        peer: Some(peer),
        from_leader: Some(vote_to_proto(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().map(log_id_to_proto),
    }
}

/// A leader transfer that arrived from `from`.
pub(crate) fn transfer_from_proto(
    request: &pb::TransferLeaderRequest,
    from: NodeId,
) -> Result<TransferLeaderRequest<TypeConfig>, Error> {
    let vote = leader_vote("leader transfer", request.from_leader.as_ref(), from)?;
    Ok(TransferLeaderRequest::new(vote, request.to_node_id, optional_log_id(request.last_log_id.as_ref())))
}

/// The answer to a leader transfer.
pub(crate) fn transfer_response_to_proto(
    response: &TransferLeaderResponse<TypeConfig>,
) -> pb::TransferLeaderResponse {
    use pb::transfer_leader_response::{LogNotFlushed, Refusal, VoteChanged};
    let refusal = match response {
        Ok(()) => None,
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            Some(Refusal::VoteChanged(VoteChanged {
                expected: Some(vote_to_proto(expected)),
                actual: Some(vote_to_proto(actual)),
            }))
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            Some(Refusal::LogNotFlushed(LogNotFlushed {
                expected: expected.as_ref().map(log_id_to_proto),
                actual: actual.as_ref().map(log_id_to_proto),
            }))
        }
    };
    pb::TransferLeaderResponse { refusal }
}

/// A peer's answer to a leader transfer; `None` when a refusal lacks its votes.
pub(crate) fn transfer_response_from_proto(
    response: &pb::TransferLeaderResponse,
) -> Option<TransferLeaderResponse<TypeConfig>> {
    use pb::transfer_leader_response::Refusal;
    Some(match &response.refusal {
        None => Ok(()),
        Some(Refusal::VoteChanged(changed)) => Err(TransferLeaderError::VoteChanged {
            expected: vote_from_proto(changed.expected.as_ref()?),
            actual: vote_from_proto(changed.actual.as_ref()?),
        }),
        Some(Refusal::LogNotFlushed(behind)) => Err(TransferLeaderError::LogNotFlushed {
            expected: optional_log_id(behind.expected.as_ref()),
            actual: optional_log_id(behind.actual.as_ref()),
        }),
    })
}

/// The bytes of an entry, as on disk.
pub(crate) fn entry_to_proto(entry: &Entry) -> Bytes {
    pi_raft::codec::encode_entry(entry)
}
