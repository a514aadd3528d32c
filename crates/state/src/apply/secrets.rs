//! Create, update and delete a secret: every check that must hold whatever races, and the change itself.
//!
//! The node checks most of this before it proposes, as a courtesy; what counts is what is decided here.

use pi_types::limits::{PAYLOAD_BYTES_MAX, SEAL_OVERHEAD_BYTES_MAX};
use pi_types::{Annotations, Labels, Namespace, SecretName, TenantId, Uid};

use super::Txn;
use crate::command::SealedPayload;
use crate::keys::{payload, secret, tenant};
use crate::query::ChangeKind;
use crate::response::{Outcome, Reject, SecretMeta};
use crate::store::Fatal;

/// Where a secret is.
#[derive(Clone, Copy)]
pub(super) struct Place<'c> {
    pub(super) tenant: &'c TenantId,
    pub(super) namespace: &'c Namespace,
    pub(super) name: &'c SecretName,
}

impl Place<'_> {
    fn key(&self) -> Vec<u8> {
        secret::key(self.tenant, self.namespace, self.name)
    }

    fn payload_key(&self) -> Vec<u8> {
        payload::key(self.tenant, self.namespace, self.name)
    }
}

/// Preconditions.
#[derive(Clone, Copy)]
pub(super) struct Expect {
    pub(super) uid: Option<Uid>,
    pub(super) revision: Option<u64>,
}

impl Expect {
    fn check(&self, present: &SecretMeta) -> Result<(), Reject> {
        let uid = self.uid.is_none_or(|uid| uid == present.uid);
        let revision = self.revision.is_none_or(|revision| revision == present.revision);
        if uid && revision {
            Ok(())
        } else {
            Err(Reject::PreconditionFailed { uid: present.uid, revision: present.revision })
        }
    }
}

/// What an update replaces.
#[derive(Clone, Copy)]
pub(super) struct Update<'c> {
    pub(super) payload: Option<&'c SealedPayload>,
    pub(super) equal_to: Option<(Uid, u64)>,
    pub(super) labels: Option<&'c Labels>,
    pub(super) annotations: Option<&'c Annotations>,
}

impl Txn<'_> {
    /// Creates a secret. The order of the checks is the order of what a user can do about them: a name that is taken
    /// stays so whatever the quota, and a payload that is too large never fits.
    pub(super) fn create_secret(
        &mut self,
        revision: u64,
        place: Place<'_>,
        labels: &Labels,
        annotations: &Annotations,
        payload: &SealedPayload,
    ) -> Result<Outcome, Fatal> {
        if self.overlay.get(place.key())?.is_some() {
            return Ok(Outcome::Rejected(Reject::AlreadyExists));
        }
        if let Err(reject) = check_payload(payload).and_then(|()| check_first_generation(payload)) {
            return Ok(Outcome::Rejected(reject));
        }
        let record = self.tenants.load(self.base, place.tenant)?;
        let quota = record.quota();
        if record.used >= quota {
            return Ok(Outcome::Rejected(Reject::QuotaExceeded { used: record.used, quota }));
        }
        record.used += 1;
        let used = record.used;
        assert!(used <= quota, "a create never exceeds the quota");
        let secret = SecretMeta {
            namespace: place.namespace.clone(),
            name: place.name.clone(),
            uid: payload.uid,
            labels: labels.clone(),
            annotations: annotations.clone(),
            revision,
            generation: payload.generation,
            create_time_ms: self.header.log_time_ms,
            update_time_ms: self.header.log_time_ms,
            payload_bytes: payload.plaintext_bytes,
        };
        self.overlay.write_known(place.key(), None, Some(secret::encode(&secret)))?;
        self.overlay.write_known(place.payload_key(), None, Some(payload::encode(payload)))?;
        self.record_change(place.tenant, revision, ChangeKind::Created, &secret)?;
        self.move_revision(revision);
        Ok(Outcome::Created { secret, used, quota })
    }

    /// Updates a secret. An update that finds everything as it asks changes nothing, not even the revision; one with a
    /// payload always counts as a change, because ciphertexts cannot be compared (the node compares plaintexts before
    /// it proposes).
    pub(super) fn update_secret(
        &mut self,
        revision: u64,
        place: Place<'_>,
        expect: Expect,
        update: Update<'_>,
    ) -> Result<Outcome, Fatal> {
        let Some(present) = self.present(place)? else {
            return Ok(Outcome::Rejected(Reject::NotFound));
        };
        if let Err(reject) = expect.check(&present) {
            return Ok(Outcome::Rejected(reject));
        }
        if let Some(payload) = update.payload {
            let next = present.generation.checked_add(1);
            if payload.uid != present.uid || Some(payload.generation) != next {
                return Ok(Outcome::Reseal { uid: present.uid, generation: present.generation });
            }
            if let Err(reject) = check_payload(payload) {
                return Ok(Outcome::Rejected(reject));
            }
        }
        if update.equal_to.is_some_and(|seen| seen != (present.uid, present.generation)) {
            return Ok(Outcome::Reseal { uid: present.uid, generation: present.generation });
        }
        let same_labels = update.labels.is_none_or(|labels| *labels == present.labels);
        let same_annotations =
            update.annotations.is_none_or(|annotations| *annotations == present.annotations);
        if update.payload.is_none() && same_labels && same_annotations {
            return Ok(Outcome::Updated { secret: present, changed: false });
        }
        assert!(revision > present.revision, "a secret's revision moves up");
        let mut secret = present;
        secret.revision = revision;
        secret.update_time_ms = self.header.log_time_ms;
        if let Some(labels) = update.labels {
            secret.labels = labels.clone();
        }
        if let Some(annotations) = update.annotations {
            secret.annotations = annotations.clone();
        }
        if let Some(payload) = update.payload {
            secret.generation = payload.generation;
            secret.payload_bytes = payload.plaintext_bytes;
            self.overlay.write(place.payload_key(), Some(payload::encode(payload)))?;
        }
        self.overlay.write(place.key(), Some(secret::encode(&secret)))?;
        self.record_change(place.tenant, revision, ChangeKind::Updated, &secret)?;
        self.move_revision(revision);
        Ok(Outcome::Updated { secret, changed: true })
    }

    /// Deletes a secret; its name is free at once.
    pub(super) fn delete_secret(
        &mut self,
        revision: u64,
        place: Place<'_>,
        expect: Expect,
    ) -> Result<Outcome, Fatal> {
        let Some(secret) = self.present(place)? else {
            return Ok(Outcome::Rejected(Reject::NotFound));
        };
        if let Err(reject) = expect.check(&secret) {
            return Ok(Outcome::Rejected(reject));
        }
        let record = self.tenants.load(self.base, place.tenant)?;
        record.used = record.used.checked_sub(1).ok_or_else(|| {
            Fatal::corrupt(&tenant::key(place.tenant), "a tenant has more secrets than it counts")
        })?;
        let (used, quota) = (record.used, record.quota());
        self.overlay.write(place.key(), None)?;
        self.overlay.write(place.payload_key(), None)?;
        self.record_change(place.tenant, revision, ChangeKind::Deleted, &secret)?;
        self.move_revision(revision);
        Ok(Outcome::Deleted { secret, used, quota })
    }

    fn present(&mut self, place: Place<'_>) -> Result<Option<SecretMeta>, Fatal> {
        match self.overlay.get(place.key())? {
            Some(value) => Ok(Some(secret::decode(&place.key(), value)?)),
            None => Ok(None),
        }
    }
}

/// The bounds of a payload, in the order: empty, too large, not what sealing makes of it.
fn check_payload(payload: &SealedPayload) -> Result<(), Reject> {
    let bytes = payload.plaintext_bytes;
    if bytes == 0 {
        return Err(invalid("payload", "is empty; at least 1 byte is required".to_owned()));
    }
    if bytes as usize > PAYLOAD_BYTES_MAX {
        return Err(Reject::PayloadTooLarge { bytes });
    }
    let sealed = payload.sealed.len();
    let sealed_max = bytes as usize + SEAL_OVERHEAD_BYTES_MAX;
    if sealed > sealed_max {
        let reason = format!(
            "is {sealed} bytes sealed, more than the {sealed_max} that sealing {bytes} bytes may take"
        );
        return Err(invalid("payload", reason));
    }
    Ok(())
}

fn check_first_generation(payload: &SealedPayload) -> Result<(), Reject> {
    if payload.generation == 1 {
        return Ok(());
    }
    let generation = payload.generation;
    Err(invalid("payload", format!("is sealed for generation {generation}; a new secret has generation 1")))
}

fn invalid(field: &str, reason: String) -> Reject {
    Reject::Invalid { field: field.to_owned(), reason }
}
