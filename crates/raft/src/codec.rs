//! Log entries, commands, votes and snapshot metadata to and from `pi.raft.v1`: the same bytes on disk and on the wire.
//!
//! Decoding is total: every input yields a value or an [`Error`], never a panic, because the bytes come from a disk or
//! a peer. It checks form only; what a command may do is decided by apply.
//!
//! Evolution: an entry or command of another `format` is refused. A node that meets one stops ([`Error::Format`]), for
//! it cannot know what its newer peers did with it; upgrade every node before a command of a new format is proposed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, Bytes};
use pi_proto::raft::v1 as pb;
use pi_state::{Command, CommandKind, SealedPayload};
use pi_types::{
    Annotations, Invalid, Labels, Namespace, PrincipalName, RequestId, SecretName, TenantId, Uid,
};
use prost::Message;

use crate::types::{
    EncodedCommand, Entry, EntryPayload, LogId, Member, Membership, SnapshotMeta, StoredMembership, Vote,
};

/// The format of entries, commands and snapshot manifests that this build writes and reads.
pub const FORMAT: u32 = 1;

/// Why bytes are not what they should be. Never shows a payload.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a protobuf message of the expected type.
    #[error("not a valid {what}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What prost says.
        #[source]
        source: prost::DecodeError,
    },
    /// Another format than [`FORMAT`].
    #[error("{what} has format {found}; this build reads format {FORMAT}: upgrade this node")]
    Format {
        /// What it is.
        what: &'static str,
        /// The format it has.
        found: u32,
    },
    /// A field that must be there is not.
    #[error("{what} lacks {field}")]
    Missing {
        /// What it is.
        what: &'static str,
        /// The absent field.
        field: &'static str,
    },
    /// A field has a value that no encoder writes.
    #[error("{what}: {reason}")]
    Value {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

fn malformed(what: &'static str) -> impl FnOnce(prost::DecodeError) -> Error {
    move |source| Error::Malformed { what, source }
}

fn invalid(what: &'static str) -> impl Fn(Invalid) -> Error {
    move |invalid| Error::Value { what, reason: invalid.to_string() }
}

fn check_format(what: &'static str, found: u32) -> Result<(), Error> {
    if found == FORMAT { Ok(()) } else { Err(Error::Format { what, found }) }
}

fn bytes16(what: &'static str, bytes: &[u8]) -> Result<[u8; 16], Error> {
    bytes
        .try_into()
        .map_err(|_| Error::Value { what, reason: format!("{} bytes instead of 16", bytes.len()) })
}

// === Log positions and votes ===

/// To the wire.
pub fn log_id_to_proto(log_id: &LogId) -> pb::LogId {
    pb::LogId { term: *log_id.leader_id, index: log_id.index }
}

/// From the wire.
pub fn log_id_from_proto(log_id: &pb::LogId) -> LogId {
    LogId::new(log_id.term.into(), log_id.index)
}

/// To the wire.
pub fn vote_to_proto(vote: &Vote) -> pb::Vote {
    pb::Vote { term: vote.leader_id.term, node_id: vote.leader_id.voted_for, committed: vote.committed }
}

/// From the wire.
pub fn vote_from_proto(vote: &pb::Vote) -> Vote {
    if vote.committed {
        Vote::new_committed(vote.term, vote.node_id)
    } else {
        Vote::new(vote.term, vote.node_id)
    }
}

/// For the disk.
pub fn encode_vote(vote: &Vote) -> Bytes {
    vote_to_proto(vote).encode_to_vec().into()
}

/// From the disk.
pub fn decode_vote(bytes: &[u8]) -> Result<Vote, Error> {
    Ok(vote_from_proto(&pb::Vote::decode(bytes).map_err(malformed("vote"))?))
}

/// For the disk.
pub fn encode_log_id(log_id: &LogId) -> Bytes {
    log_id_to_proto(log_id).encode_to_vec().into()
}

/// From the disk.
pub fn decode_log_id(bytes: &[u8]) -> Result<LogId, Error> {
    Ok(log_id_from_proto(&pb::LogId::decode(bytes).map_err(malformed("log id"))?))
}

// === Membership ===

/// To the wire.
pub fn membership_to_proto(membership: &Membership) -> pb::Membership {
    let configs = membership
        .get_joint_config()
        .iter()
        .map(|voters| pb::VoterSet { node_ids: voters.iter().copied().collect() })
        .collect();
    let nodes = membership.nodes().map(|(id, member)| member_to_proto(*id, member)).collect();
    pb::Membership { configs, nodes }
}

/// One member to the wire.
pub fn member_to_proto(id: u64, member: &Member) -> pb::Node {
    pb::Node { id, raft_address: member.raft_address.clone(), client_address: member.client_address.clone() }
}

/// From the wire. Refuses a voter without an address, an empty voter set and a node named twice.
pub fn membership_from_proto(membership: &pb::Membership) -> Result<Membership, Error> {
    let refused = |reason: String| Error::Value { what: "membership", reason };
    let configs: Vec<BTreeSet<u64>> =
        membership.configs.iter().map(|voters| voters.node_ids.iter().copied().collect()).collect();
    let mut nodes = BTreeMap::new();
    for node in &membership.nodes {
        let member =
            Member { raft_address: node.raft_address.clone(), client_address: node.client_address.clone() };
        if nodes.insert(node.id, member).is_some() {
            return Err(refused(format!("node {} is named twice", node.id)));
        }
    }
    Membership::new(configs, nodes).map_err(|error| refused(error.to_string()))
}

/// To the wire.
pub fn stored_membership_to_proto(stored: &StoredMembership) -> pb::StoredMembership {
    pb::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_proto),
        membership: Some(membership_to_proto(stored.membership())),
    }
}

/// From the wire.
pub fn stored_membership_from_proto(stored: &pb::StoredMembership) -> Result<StoredMembership, Error> {
    let membership = stored
        .membership
        .as_ref()
        .ok_or(Error::Missing { what: "stored membership", field: "membership" })?;
    Ok(StoredMembership::new(
        stored.log_id.as_ref().map(log_id_from_proto),
        membership_from_proto(membership)?,
    ))
}

/// For the disk.
pub fn encode_stored_membership(stored: &StoredMembership) -> Bytes {
    stored_membership_to_proto(stored).encode_to_vec().into()
}

/// From the disk.
pub fn decode_stored_membership(bytes: &[u8]) -> Result<StoredMembership, Error> {
    stored_membership_from_proto(
        &pb::StoredMembership::decode(bytes).map_err(malformed("stored membership"))?,
    )
}

// === Snapshot metadata ===

/// What a snapshot's manifest says beyond openraft's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotManifest {
    /// The cluster it was taken in.
    pub cluster: String,
    /// The region it was taken in.
    pub region: String,
    /// What it covers.
    pub meta: SnapshotMeta,
    /// Names one transfer or one directory; means nothing else.
    pub snapshot_id: String,
    /// How many pairs it has.
    pub keys: u64,
    /// The state's digest.
    pub digest: [u8; 16],
}

/// To the wire.
pub fn snapshot_to_proto(manifest: &SnapshotManifest) -> pb::SnapshotMeta {
    pb::SnapshotMeta {
        format: FORMAT,
        cluster: manifest.cluster.clone(),
        region: manifest.region.clone(),
        last_applied: manifest.meta.last_log_id.as_ref().map(log_id_to_proto),
        membership: Some(stored_membership_to_proto(&manifest.meta.last_membership)),
        snapshot_id: manifest.snapshot_id.clone(),
        keys: manifest.keys,
        digest: Bytes::copy_from_slice(&manifest.digest),
    }
}

/// From the wire.
pub fn snapshot_from_proto(snapshot: &pb::SnapshotMeta) -> Result<SnapshotManifest, Error> {
    const WHAT: &str = "snapshot manifest";
    check_format(WHAT, snapshot.format)?;
    let membership =
        snapshot.membership.as_ref().ok_or(Error::Missing { what: WHAT, field: "membership" })?;
    Ok(SnapshotManifest {
        cluster: snapshot.cluster.clone(),
        region: snapshot.region.clone(),
        meta: SnapshotMeta {
            last_log_id: snapshot.last_applied.as_ref().map(log_id_from_proto),
            last_membership: stored_membership_from_proto(membership)?,
        },
        snapshot_id: snapshot.snapshot_id.clone(),
        keys: snapshot.keys,
        digest: bytes16("snapshot digest", &snapshot.digest)?,
    })
}

// === Entries ===

/// For the disk and the wire.
pub fn encode_entry(entry: &Entry) -> Bytes {
    let payload = match &entry.payload {
        EntryPayload::Blank => pb::entry::Payload::Blank(pb::Blank {}),
        EntryPayload::Normal(command) => pb::entry::Payload::Command(command.0.clone()),
        EntryPayload::Membership(membership) => {
            pb::entry::Payload::Membership(membership_to_proto(membership))
        }
    };
    let entry =
        pb::Entry { format: FORMAT, log_id: Some(log_id_to_proto(&entry.log_id)), payload: Some(payload) };
    entry.encode_to_vec().into()
}

/// From the disk or the wire. Given [`Bytes`], the command is a slice of them, not a copy; it is not decoded.
pub fn decode_entry(bytes: impl Buf) -> Result<Entry, Error> {
    const WHAT: &str = "log entry";
    let entry = pb::Entry::decode(bytes).map_err(malformed(WHAT))?;
    check_format(WHAT, entry.format)?;
    let log_id = entry.log_id.as_ref().ok_or(Error::Missing { what: WHAT, field: "log_id" })?;
    let payload = match entry.payload.ok_or(Error::Missing { what: WHAT, field: "payload" })? {
        pb::entry::Payload::Blank(pb::Blank {}) => EntryPayload::Blank,
        pb::entry::Payload::Command(command) => EntryPayload::Normal(EncodedCommand(command)),
        pb::entry::Payload::Membership(membership) => {
            EntryPayload::Membership(membership_from_proto(&membership)?)
        }
    };
    Ok(Entry { log_id: log_id_from_proto(log_id), payload })
}

// === Commands ===

/// An upper bound, in bytes, of an entry around its payload: tags, lengths, format and log id.
pub const ENTRY_OVERHEAD_BYTES_MAX: usize = 64;

/// Encodes a command for the log.
///
/// A wanted revision of 0 is written as the greatest revision: 0 means *none* on the wire, no secret has either, so
/// the precondition fails as it should instead of vanishing.
pub fn encode_command(command: &Command) -> EncodedCommand {
    let (tenant, kind) = match &command.kind {
        CommandKind::SetQuota { secrets_max } => {
            // An operator's command: the tenant is its object, not its author.
            let quota =
                pb::SetQuota { tenant: command.tenant.as_str().to_owned(), secrets_max: *secrets_max };
            (String::new(), pb::command::Kind::SetQuota(quota))
        }
        kind => (command.tenant.as_str().to_owned(), secret_kind_to_proto(kind)),
    };
    let encoded = pb::Command {
        format: FORMAT,
        time_ms: command.time_ms,
        tenant,
        principal: command.principal.as_str().to_owned(),
        request_id: Bytes::copy_from_slice(command.request_id.as_bytes()),
        kind: Some(kind),
    };
    EncodedCommand(encoded.encode_to_vec().into())
}

/// Decodes a command from the log.
pub fn decode_command(bytes: &[u8]) -> Result<Command, Error> {
    const WHAT: &str = "command";
    let command = pb::Command::decode(bytes).map_err(malformed(WHAT))?;
    check_format(WHAT, command.format)?;
    let kind = command.kind.ok_or(Error::Missing { what: WHAT, field: "kind" })?;
    let tenant = match &kind {
        pb::command::Kind::SetQuota(_) if !command.tenant.is_empty() => {
            return Err(Error::Value {
                what: WHAT,
                reason: "an operator's command names a tenant as author".into(),
            });
        }
        pb::command::Kind::SetQuota(quota) => quota.tenant.clone(),
        _ => command.tenant,
    };
    Ok(Command {
        time_ms: command.time_ms,
        tenant: TenantId::try_from(tenant).map_err(invalid(WHAT))?,
        principal: PrincipalName::try_from(command.principal).map_err(invalid(WHAT))?,
        request_id: RequestId::from_bytes(&command.request_id).map_err(invalid(WHAT))?,
        kind: kind_from_proto(kind)?,
    })
}

fn secret_kind_to_proto(kind: &CommandKind) -> pb::command::Kind {
    match kind {
        CommandKind::CreateSecret { namespace, name, labels, annotations, payload } => {
            pb::command::Kind::CreateSecret(pb::CreateSecret {
                namespace: namespace.as_str().to_owned(),
                name: name.as_str().to_owned(),
                labels: labels.as_map().clone(),
                annotations: annotations.as_map().clone(),
                payload: Some(payload_to_proto(payload)),
            })
        }
        CommandKind::UpdateSecret {
            namespace,
            name,
            payload,
            equal_to,
            labels,
            annotations,
            expect_uid,
            expect_revision,
        } => pb::command::Kind::UpdateSecret(pb::UpdateSecret {
            namespace: namespace.as_str().to_owned(),
            name: name.as_str().to_owned(),
            payload: payload.as_ref().map(payload_to_proto),
            labels: labels.as_ref().map(|labels| pb::StringMap { entries: labels.as_map().clone() }),
            annotations: annotations.as_ref().map(|map| pb::StringMap { entries: map.as_map().clone() }),
            expect_uid: expect_uid_to_proto(expect_uid.as_ref()),
            expect_revision: expect_revision_to_proto(*expect_revision),
            equal_to_uid: expect_uid_to_proto(equal_to.as_ref().map(|(uid, _)| uid)),
            equal_to_generation: equal_to.map_or(0, |(_, generation)| generation),
        }),
        CommandKind::DeleteSecret { namespace, name, expect_uid, expect_revision } => {
            pb::command::Kind::DeleteSecret(pb::DeleteSecret {
                namespace: namespace.as_str().to_owned(),
                name: name.as_str().to_owned(),
                expect_uid: expect_uid_to_proto(expect_uid.as_ref()),
                expect_revision: expect_revision_to_proto(*expect_revision),
            })
        }
        CommandKind::SetQuota { secrets_max } => {
            pb::command::Kind::SetQuota(pb::SetQuota { tenant: String::new(), secrets_max: *secrets_max })
        }
    }
}

fn kind_from_proto(kind: pb::command::Kind) -> Result<CommandKind, Error> {
    match kind {
        pb::command::Kind::CreateSecret(create) => {
            const WHAT: &str = "create command";
            let payload = create.payload.ok_or(Error::Missing { what: WHAT, field: "payload" })?;
            Ok(CommandKind::CreateSecret {
                namespace: Namespace::try_from(create.namespace).map_err(invalid(WHAT))?,
                name: SecretName::try_from(create.name).map_err(invalid(WHAT))?,
                labels: Labels::try_from(create.labels).map_err(invalid(WHAT))?,
                annotations: Annotations::try_from(create.annotations).map_err(invalid(WHAT))?,
                payload: payload_from_proto(payload)?,
            })
        }
        pb::command::Kind::UpdateSecret(update) => {
            const WHAT: &str = "update command";
            let labels = update.labels.map(|map| Labels::try_from(map.entries)).transpose();
            let annotations = update.annotations.map(|map| Annotations::try_from(map.entries)).transpose();
            Ok(CommandKind::UpdateSecret {
                namespace: Namespace::try_from(update.namespace).map_err(invalid(WHAT))?,
                name: SecretName::try_from(update.name).map_err(invalid(WHAT))?,
                payload: update.payload.map(payload_from_proto).transpose()?,
                equal_to: expect_uid_from_proto(&update.equal_to_uid)?
                    .map(|uid| (uid, update.equal_to_generation)),
                labels: labels.map_err(invalid(WHAT))?,
                annotations: annotations.map_err(invalid(WHAT))?,
                expect_uid: expect_uid_from_proto(&update.expect_uid)?,
                expect_revision: expect_revision_from_proto(update.expect_revision),
            })
        }
        pb::command::Kind::DeleteSecret(delete) => {
            const WHAT: &str = "delete command";
            Ok(CommandKind::DeleteSecret {
                namespace: Namespace::try_from(delete.namespace).map_err(invalid(WHAT))?,
                name: SecretName::try_from(delete.name).map_err(invalid(WHAT))?,
                expect_uid: expect_uid_from_proto(&delete.expect_uid)?,
                expect_revision: expect_revision_from_proto(delete.expect_revision),
            })
        }
        pb::command::Kind::SetQuota(quota) => Ok(CommandKind::SetQuota { secrets_max: quota.secrets_max }),
    }
}

fn payload_to_proto(payload: &SealedPayload) -> pb::SealedPayload {
    pb::SealedPayload {
        sealed: Bytes::copy_from_slice(&payload.sealed),
        plaintext_bytes: payload.plaintext_bytes,
        uid: Bytes::copy_from_slice(payload.uid.as_bytes()),
        generation: payload.generation,
    }
}

fn payload_from_proto(payload: pb::SealedPayload) -> Result<SealedPayload, Error> {
    Ok(SealedPayload {
        uid: Uid::from_bytes(bytes16("payload uid", &payload.uid)?),
        sealed: payload.sealed.into(),
        plaintext_bytes: payload.plaintext_bytes,
        generation: payload.generation,
    })
}

fn expect_uid_to_proto(uid: Option<&Uid>) -> Bytes {
    uid.map(|uid| Bytes::copy_from_slice(uid.as_bytes())).unwrap_or_default()
}

fn expect_uid_from_proto(bytes: &[u8]) -> Result<Option<Uid>, Error> {
    if bytes.is_empty() { Ok(None) } else { Ok(Some(Uid::from_bytes(bytes16("wanted uid", bytes)?))) }
}

fn expect_revision_to_proto(revision: Option<u64>) -> u64 {
    match revision {
        None => 0,
        Some(0) => u64::MAX,
        Some(revision) => revision,
    }
}

fn expect_revision_from_proto(revision: u64) -> Option<u64> {
    (revision != 0).then_some(revision)
}

#[cfg(test)]
mod tests;
