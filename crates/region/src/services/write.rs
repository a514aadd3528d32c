//! Create, Update and Delete: seal, propose, answer.
//!
//! Existence, quota, preconditions and retries are decided by the state machine alone. What is decided here is only
//! what it cannot see: the plaintext. How Update keeps exactly-once and the generation honest:
//!
//! - It reads the present secret (linearizable) and compares plaintexts. An equal payload is left out of the command,
//!   so that the generation moves only when the payload changes.
//! - It proposes in any case, also when nothing differs: the answer `changed = false` is then the state machine's, is
//!   remembered under the request id, and holds at the command's place in the log. The price is one log entry for an
//!   update that changes nothing; `validate_only` asks the same for free.
//! - A payload is sealed for (uid, generation + 1). When another update came first, the state machine answers
//!   `Reseal`, remembers nothing, and this goes round again under the same request id until the deadline.
//!
//! - A payload left out as equal names the (uid, generation) it equals; another one there by then is `Reseal` as well.

use std::time::Instant;

use pi_proto::secrets::v1 as wire;
use pi_raft::store::Store;
use pi_state::{CommandKind, Outcome, Reject, SealedPayload, SecretMeta, query};
use pi_types::{Payload, TenantId, Uid};
use uuid::Uuid;

use super::{Node, View};
use crate::call::Call;
use crate::failure::Failure;
use crate::sealing::Binding;
use crate::validate::{Create, Delete, Expect, Target, Update};
use crate::wire::secret;

/// The generation of a new secret.
const FIRST_GENERATION: u64 = 1;

/// What an update's command says of the payload.
enum Prepared {
    /// The request has none.
    Stays,
    /// It equals that of this uid and generation.
    Equal(Uid, u64),
    /// It is another one, sealed for the next generation.
    Replaces(SealedPayload),
}

impl<S: Store> Node<S> {
    /// `Secrets/Create`.
    pub async fn create(
        &self,
        call: &mut Call,
        request: wire::CreateRequest,
    ) -> Result<wire::CreateResponse, Failure> {
        let create = Create::try_from(request)?;
        call.about(&create.target.namespace, &create.target.name);
        if create.validate_only {
            return self.validate_create(call, create).await;
        }
        let tenant = call.tenant()?.clone();
        let payload = self.seal(&tenant, &create.target, new_uid(), FIRST_GENERATION, &create.payload)?;
        let kind = CommandKind::CreateSecret {
            namespace: create.target.namespace,
            name: create.target.name,
            labels: create.labels,
            annotations: create.annotations,
            payload,
        };
        let response = self.propose(call, self.command(call, &tenant, kind)).await?;
        let Outcome::Created { secret: meta, used, quota } = response.outcome else {
            return Err(Failure::UnexpectedOutcome);
        };
        Ok(wire::CreateResponse {
            secret: Some(secret(meta, &self.identity.region)),
            quota_used: used,
            quota_limit: quota,
            warnings: create.warnings,
        })
    }

    /// Create without creating: the same checks in the same order against the present state. The answered secret has
    /// no uid, revision or times yet; `quota_used` is the present use.
    async fn validate_create(&self, call: &Call, create: Create) -> Result<wire::CreateResponse, Failure> {
        let tenant = call.tenant()?;
        let view = self.view(call.deadline).await?;
        let Target { namespace, name } = create.target;
        if self.found(query::get(&*view, tenant, &namespace, &name))?.is_some() {
            return Err(Failure::Rejected(Reject::AlreadyExists));
        }
        let query::Usage { used, quota } = self.found(query::usage(&*view, tenant))?;
        if used >= quota {
            return Err(Failure::Rejected(Reject::QuotaExceeded { used, quota }));
        }
        let meta = SecretMeta {
            namespace,
            name,
            uid: Uid::from_bytes([0; 16]),
            labels: create.labels,
            annotations: create.annotations,
            revision: 0,
            generation: FIRST_GENERATION,
            create_time_ms: 0,
            update_time_ms: 0,
            payload_bytes: bytes_of(&create.payload),
        };
        let mut secret = secret(meta, &self.identity.region);
        secret.uid.clear();
        Ok(wire::CreateResponse {
            secret: Some(secret),
            quota_used: used,
            quota_limit: quota,
            warnings: create.warnings,
        })
    }

    /// `Secrets/Update`.
    pub async fn update(
        &self,
        call: &mut Call,
        request: wire::UpdateRequest,
    ) -> Result<wire::UpdateResponse, Failure> {
        let update = Update::try_from(request)?;
        call.about(&update.target.namespace, &update.target.name);
        if update.validate_only {
            return self.validate_update(call, update).await;
        }
        let tenant = call.tenant()?.clone();
        loop {
            let (payload, equal_to) = match self.prepare(call, &tenant, &update).await? {
                Prepared::Stays => (None, None),
                Prepared::Equal(uid, generation) => (None, Some((uid, generation))),
                Prepared::Replaces(payload) => (Some(payload), None),
            };
            let kind = CommandKind::UpdateSecret {
                namespace: update.target.namespace.clone(),
                name: update.target.name.clone(),
                payload,
                equal_to,
                labels: update.labels.clone(),
                annotations: update.annotations.clone(),
                expect_uid: update.expect.uid,
                expect_revision: update.expect.revision,
            };
            let response = self.propose(call, self.command(call, &tenant, kind)).await?;
            match response.outcome {
                Outcome::Updated { secret: meta, changed } => {
                    let secret = Some(secret(meta, &self.identity.region));
                    return Ok(wire::UpdateResponse { secret, changed, warnings: update.warnings });
                }
                // Nothing changed and nothing is remembered: the payload is prepared anew for what is there now.
                Outcome::Reseal { .. } if Instant::now() < call.deadline => {}
                Outcome::Reseal { .. } => return Err(Failure::Unsettled),
                _ => return Err(Failure::UnexpectedOutcome),
            }
        }
    }

    /// What an update's command says of the payload.
    async fn prepare(&self, call: &Call, tenant: &TenantId, update: &Update) -> Result<Prepared, Failure> {
        let Some(payload) = &update.payload else { return Ok(Prepared::Stays) };
        let view = self.view(call.deadline).await?;
        let target = &update.target;
        let present = self.found(query::payload(&*view, tenant, &target.namespace, &target.name))?;
        let Some((meta, sealed)) = present else {
            // Proposed all the same: a retry of an update whose secret was deleted since must find its stored answer.
            // The uid is nobody's, so a secret that appears meanwhile makes this come back as `Reseal`.
            return self.seal(tenant, target, new_uid(), FIRST_GENERATION, payload).map(Prepared::Replaces);
        };
        if self.holds(tenant, &meta, &sealed, payload) {
            return Ok(Prepared::Equal(meta.uid, meta.generation));
        }
        let next = meta.generation.saturating_add(1);
        self.seal(tenant, target, meta.uid, next, payload).map(Prepared::Replaces)
    }

    async fn validate_update(&self, call: &Call, update: Update) -> Result<wire::UpdateResponse, Failure> {
        let tenant = call.tenant()?;
        let view = self.view(call.deadline).await?;
        let (mut meta, sealed) = self.present(&view, tenant, &update.target)?;
        check_expect(&update.expect, &meta)?;
        let mut changed = false;
        if let Some(labels) = update.labels.filter(|labels| *labels != meta.labels) {
            (meta.labels, changed) = (labels, true);
        }
        if let Some(annotations) = update.annotations.filter(|new| *new != meta.annotations) {
            (meta.annotations, changed) = (annotations, true);
        }
        if let Some(payload) = update.payload.filter(|new| !self.holds(tenant, &meta, &sealed, new)) {
            (meta.payload_bytes, changed) = (bytes_of(&payload), true);
        }
        let secret = Some(secret(meta, &self.identity.region));
        Ok(wire::UpdateResponse { secret, changed, warnings: update.warnings })
    }

    /// `Secrets/Delete`.
    pub async fn delete(
        &self,
        call: &mut Call,
        request: wire::DeleteRequest,
    ) -> Result<wire::DeleteResponse, Failure> {
        let Delete { target, expect } = Delete::try_from(request)?;
        call.about(&target.namespace, &target.name);
        let tenant = call.tenant()?.clone();
        let kind = CommandKind::DeleteSecret {
            namespace: target.namespace,
            name: target.name,
            expect_uid: expect.uid,
            expect_revision: expect.revision,
        };
        let response = self.propose(call, self.command(call, &tenant, kind)).await?;
        let Outcome::Deleted { secret: meta, used, quota } = response.outcome else {
            return Err(Failure::UnexpectedOutcome);
        };
        Ok(wire::DeleteResponse {
            secret: Some(secret(meta, &self.identity.region)),
            revision: response.revision,
            quota_used: used,
            quota_limit: quota,
        })
    }

    /// A secret with its sealed payload, which must be there.
    pub(super) fn present(
        &self,
        view: &View,
        tenant: &TenantId,
        target: &Target,
    ) -> Result<(SecretMeta, Vec<u8>), Failure> {
        self.found(query::payload(&**view, tenant, &target.namespace, &target.name))?
            .ok_or(Failure::Rejected(Reject::NotFound))
    }

    fn seal(
        &self,
        tenant: &TenantId,
        target: &Target,
        uid: Uid,
        generation: u64,
        payload: &Payload,
    ) -> Result<SealedPayload, Failure> {
        let binding = Binding {
            cluster: &self.identity.cluster,
            region: &self.identity.region,
            tenant,
            namespace: &target.namespace,
            name: &target.name,
            uid,
            generation,
        };
        let sealed = self.sealer.seal(&binding, payload.expose())?;
        Ok(SealedPayload { sealed, plaintext_bytes: bytes_of(payload), uid, generation })
    }

    /// Whether a stored payload is this one. One that does not open is another: writing it anew is the way to mend it.
    fn holds(&self, tenant: &TenantId, meta: &SecretMeta, sealed: &[u8], payload: &Payload) -> bool {
        self.sealer
            .open(&self.binding(tenant, meta), sealed)
            .ok()
            .and_then(|plaintext| Payload::new(plaintext.to_vec()).ok())
            .is_some_and(|present| present.same_as(payload))
    }

    /// What the payload of a stored secret is bound to.
    pub(super) fn binding<'a>(&'a self, tenant: &'a TenantId, meta: &'a SecretMeta) -> Binding<'a> {
        Binding {
            cluster: &self.identity.cluster,
            region: &self.identity.region,
            tenant,
            namespace: &meta.namespace,
            name: &meta.name,
            uid: meta.uid,
            generation: meta.generation,
        }
    }
}

fn check_expect(expect: &Expect, present: &SecretMeta) -> Result<(), Failure> {
    let holds = expect.uid.is_none_or(|uid| uid == present.uid)
        && expect.revision.is_none_or(|revision| revision == present.revision);
    if holds {
        return Ok(());
    }
    let (uid, revision) = (present.uid, present.revision);
    Err(Failure::Rejected(Reject::PreconditionFailed { uid, revision }))
}

fn bytes_of(payload: &Payload) -> u32 {
    u32::try_from(payload.len()).expect("a Payload has at most 4,096 bytes: its constructor checked")
}

/// A uid that no other secret has.
fn new_uid() -> Uid {
    Uid::from_bytes(*Uuid::new_v4().as_bytes())
}
