//! `Debug` of the messages that carry a payload: sizes in place of bytes, so that no log line, panic or error text
//! can hold one. Sealed payloads are treated like plain ones: what is not needed in a log has no place there.

use std::fmt;

use crate::{raft, secrets};

/// Prints as `[N bytes]`.
struct Hidden(usize);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0)
    }
}

impl fmt::Debug for secrets::v1::CreateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateRequest")
            .field("region", &self.region)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("type", &self.r#type)
            .field("labels", &self.labels)
            .field("annotations", &self.annotations)
            .field("payload", &Hidden(self.payload.len()))
            .field("validate_only", &self.validate_only)
            .finish()
    }
}

impl fmt::Debug for secrets::v1::UpdateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateRequest")
            .field("region", &self.region)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("payload", &self.payload.as_ref().map(|payload| Hidden(payload.len())))
            .field("labels", &self.labels)
            .field("annotations", &self.annotations)
            .field("expect_uid", &self.expect_uid)
            .field("expect_revision", &self.expect_revision)
            .field("validate_only", &self.validate_only)
            .finish()
    }
}

impl fmt::Debug for secrets::v1::AccessResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessResponse")
            .field("secret", &self.secret)
            .field("payload", &Hidden(self.payload.len()))
            .field("revision", &self.revision)
            .finish()
    }
}

impl fmt::Debug for raft::v1::SealedPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedPayload")
            .field("sealed", &Hidden(self.sealed.len()))
            .field("plaintext_bytes", &self.plaintext_bytes)
            .field("uid", &Hidden(self.uid.len()))
            .field("generation", &self.generation)
            .finish()
    }
}

impl fmt::Debug for raft::v1::Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("format", &self.format)
            .field("log_id", &self.log_id)
            .field("payload", &self.payload)
            .finish()
    }
}

impl fmt::Debug for raft::v1::entry::Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank(_) => f.write_str("Blank"),
            Self::Command(bytes) => f.debug_tuple("Command").field(&Hidden(bytes.len())).finish(),
            Self::Membership(membership) => f.debug_tuple("Membership").field(membership).finish(),
        }
    }
}

impl fmt::Debug for raft::v1::AppendRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.entries.iter().map(|entry| entry.len()).sum();
        f.debug_struct("AppendRequest")
            .field("peer", &self.peer)
            .field("vote", &self.vote)
            .field("prev_log_id", &self.prev_log_id)
            .field("entries", &format_args!("{} in {:?}", self.entries.len(), Hidden(bytes)))
            .field("leader_commit", &self.leader_commit)
            .finish()
    }
}

impl fmt::Debug for raft::v1::snapshot_frame::Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("sequence", &self.sequence)
            .field("data", &Hidden(self.data.len()))
            .field("crc32c", &self.crc32c)
            .finish()
    }
}
