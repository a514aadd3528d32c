//! What can be asked of the state machine.

use pi_types::{Annotations, Labels, Namespace, PrincipalName, RequestId, SecretName, TenantId, Uid};

/// One proposal. Everything that is not a function of the state was stamped by the proposer.
#[derive(Clone, Debug)]
pub struct Command {
    /// The proposer's clock, milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Whose secrets it changes, or, for an operator's command, whose quota.
    pub tenant: TenantId,
    /// Who asked.
    pub principal: PrincipalName,
    /// Names the mutation; see idempotency in `OVERVIEW.md`.
    pub request_id: RequestId,
    /// The change itself.
    pub kind: CommandKind,
}

/// The change itself.
#[derive(Clone, Debug)]
pub enum CommandKind {
    /// Creates a secret; its uid is `payload.uid`, `payload.generation` is 1.
    CreateSecret {
        /// Where.
        namespace: Namespace,
        /// Its name.
        name: SecretName,
        /// Labels.
        labels: Labels,
        /// Annotations.
        annotations: Annotations,
        /// The sealed payload.
        payload: SealedPayload,
    },
    /// Replaces what is `Some`.
    UpdateSecret {
        /// Where.
        namespace: Namespace,
        /// Its name.
        name: SecretName,
        /// Sealed for the present uid and the present generation + 1.
        payload: Option<SealedPayload>,
        /// Without a `payload`: the payload asked for equals that of this uid and generation, so it need not travel.
        /// Where another is there now, the answer is `Outcome::Reseal`.
        equal_to: Option<(Uid, u64)>,
        /// New labels.
        labels: Option<Labels>,
        /// New annotations.
        annotations: Option<Annotations>,
        /// Only if the uid is this.
        expect_uid: Option<Uid>,
        /// Only if the revision is this.
        expect_revision: Option<u64>,
    },
    /// Deletes a secret.
    DeleteSecret {
        /// Where.
        namespace: Namespace,
        /// Its name.
        name: SecretName,
        /// Only if the uid is this.
        expect_uid: Option<Uid>,
        /// Only if the revision is this.
        expect_revision: Option<u64>,
    },
    /// Sets the quota of `Command::tenant`.
    SetQuota {
        /// How many secrets the tenant may have.
        secrets_max: u32,
    },
}

/// A payload as it is stored: sealed by the proposer for exactly this uid and generation.
#[derive(Clone)]
pub struct SealedPayload {
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// Size of the plaintext in bytes.
    pub plaintext_bytes: u32,
    /// The secret's uid.
    pub uid: Uid,
    /// The secret's generation.
    pub generation: u64,
}

impl std::fmt::Debug for SealedPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedPayload")
            .field("sealed", &format_args!("[{} bytes]", self.sealed.len()))
            .field("plaintext_bytes", &self.plaintext_bytes)
            .field("uid", &self.uid)
            .field("generation", &self.generation)
            .finish()
    }
}
