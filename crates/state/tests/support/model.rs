//! A second, naive implementation of what the state machine promises: plain maps, nothing incremental, nothing evicted
//! but by looking at everything. It shares the answers' types with the real one and no logic.

use std::collections::{BTreeMap, VecDeque};

use pi_state::query::{Change, ChangeKind};
use pi_state::{Command, CommandKind, Outcome, Reject, Response, SealedPayload, SecretMeta};
use pi_types::{Namespace, RequestId, SecretName};

type Name = (Namespace, SecretName);

/// One tenant of the model.
#[derive(Default)]
pub struct Tenant {
    pub secrets: BTreeMap<Name, (SecretMeta, Vec<u8>)>,
    pub quota: Option<u32>,
    pub feed: VecDeque<Change>,
    /// The revision of the last change that fell out of the feed.
    pub forgotten: u64,
    /// By request and principal: what was asked, and the answer.
    pub requests: BTreeMap<(RequestId, String), (String, Response)>,
}

impl Tenant {
    pub fn quota(&self) -> u32 {
        self.quota.unwrap_or(8)
    }

    fn used(&self) -> u32 {
        self.secrets.len() as u32
    }
}

/// The whole region.
#[derive(Default)]
pub struct Model {
    pub tenants: BTreeMap<String, Tenant>,
    pub revision: u64,
    pub time_ms: i64,
}

impl Model {
    pub fn tenant(&mut self, tenant: &str) -> &mut Tenant {
        self.tenants.entry(tenant.to_owned()).or_default()
    }

    pub fn apply(&mut self, index: u64, command: &Command) -> Response {
        let time_ms = self.time_ms.max(command.time_ms);
        let age_ms = time_ms - command.request_id.time_ms();
        if age_ms > 600_000 {
            return self.refuse(Reject::RequestTooOld { age_ms });
        }
        if age_ms < -60_000 {
            return self.refuse(Reject::RequestFromFuture { ahead_ms: -age_ms });
        }
        self.time_ms = time_ms;
        let asked = asked(&command.kind);
        let request = (command.request_id, command.principal.to_string());
        if let Some((before, answer)) = self.tenant(command.tenant.as_str()).requests.get(&request) {
            if *before == asked {
                return Response { replayed: true, ..answer.clone() };
            }
            return self.refuse(Reject::RequestReused);
        }
        let outcome = self.decide(index, command);
        let response = Response { revision: self.revision, replayed: false, outcome };
        if !matches!(response.outcome, Outcome::Reseal { .. }) {
            self.tenant(command.tenant.as_str()).requests.insert(request, (asked, response.clone()));
        }
        response
    }

    fn refuse(&self, reject: Reject) -> Response {
        Response { revision: self.revision, replayed: false, outcome: Outcome::Rejected(reject) }
    }

    fn decide(&mut self, index: u64, command: &Command) -> Outcome {
        let time_ms = self.time_ms;
        let tenant = self.tenants.entry(command.tenant.to_string()).or_default();
        let (used, quota) = (tenant.used(), tenant.quota());
        let (outcome, changed) = match &command.kind {
            CommandKind::CreateSecret { namespace, name, labels, annotations, payload } => {
                let place = (namespace.clone(), name.clone());
                if tenant.secrets.contains_key(&place) {
                    return Outcome::Rejected(Reject::AlreadyExists);
                }
                if let Some(reject) = refuse_payload(payload) {
                    return Outcome::Rejected(reject);
                }
                if used >= quota {
                    return Outcome::Rejected(Reject::QuotaExceeded { used, quota });
                }
                let secret = SecretMeta {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    uid: payload.uid,
                    labels: labels.clone(),
                    annotations: annotations.clone(),
                    revision: index,
                    generation: 1,
                    create_time_ms: time_ms,
                    update_time_ms: time_ms,
                    payload_bytes: payload.plaintext_bytes,
                };
                tenant.secrets.insert(place, (secret.clone(), payload.sealed.clone()));
                (Outcome::Created { secret, used: used + 1, quota }, true)
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
            } => {
                let Some((secret, sealed)) = tenant.secrets.get_mut(&(namespace.clone(), name.clone()))
                else {
                    return Outcome::Rejected(Reject::NotFound);
                };
                if expect_uid.is_some_and(|uid| uid != secret.uid)
                    || expect_revision.is_some_and(|revision| revision != secret.revision)
                {
                    return Outcome::Rejected(Reject::PreconditionFailed {
                        uid: secret.uid,
                        revision: secret.revision,
                    });
                }
                if let Some(payload) = payload {
                    if (payload.uid, payload.generation) != (secret.uid, secret.generation + 1) {
                        return Outcome::Reseal { uid: secret.uid, generation: secret.generation };
                    }
                    if let Some(reject) = refuse_payload(payload) {
                        return Outcome::Rejected(reject);
                    }
                }
                if equal_to.is_some_and(|seen| seen != (secret.uid, secret.generation)) {
                    return Outcome::Reseal { uid: secret.uid, generation: secret.generation };
                }
                let before = secret.clone();
                if let Some(labels) = labels {
                    secret.labels = labels.clone();
                }
                if let Some(annotations) = annotations {
                    secret.annotations = annotations.clone();
                }
                if let Some(payload) = payload {
                    secret.generation += 1;
                    secret.payload_bytes = payload.plaintext_bytes;
                    *sealed = payload.sealed.clone();
                }
                let changed = *secret != before || payload.is_some();
                if changed {
                    secret.revision = index;
                    secret.update_time_ms = time_ms;
                }
                (Outcome::Updated { secret: secret.clone(), changed }, changed)
            }
            CommandKind::DeleteSecret { namespace, name, expect_uid, expect_revision } => {
                let place = (namespace.clone(), name.clone());
                let Some((secret, _)) = tenant.secrets.get(&place) else {
                    return Outcome::Rejected(Reject::NotFound);
                };
                let (uid, revision) = (secret.uid, secret.revision);
                if expect_uid.is_some_and(|expected| expected != uid)
                    || expect_revision.is_some_and(|expected| expected != revision)
                {
                    return Outcome::Rejected(Reject::PreconditionFailed { uid, revision });
                }
                let (secret, _) = tenant.secrets.remove(&place).expect("it was there");
                (Outcome::Deleted { secret, used: used - 1, quota }, true)
            }
            CommandKind::SetQuota { secrets_max } => {
                if *secrets_max > 1_000_000 {
                    let reason = format!("{secrets_max} is more than 1000000, the most a quota can be");
                    return Outcome::Rejected(Reject::Invalid { field: "secrets_max".to_owned(), reason });
                }
                tenant.quota = Some(*secrets_max);
                (Outcome::QuotaSet { used, quota: *secrets_max }, *secrets_max != quota)
            }
        };
        if changed {
            self.revision = index;
            remember_change(tenant, index, &outcome);
        }
        outcome
    }
}

fn remember_change(tenant: &mut Tenant, revision: u64, outcome: &Outcome) {
    let (kind, secret) = match outcome {
        Outcome::Created { secret, .. } => (ChangeKind::Created, secret),
        Outcome::Updated { secret, .. } => (ChangeKind::Updated, secret),
        Outcome::Deleted { secret, .. } => (ChangeKind::Deleted, secret),
        _ => return,
    };
    tenant.feed.push_back(Change { revision, kind, secret: secret.clone() });
    if tenant.feed.len() > 128 {
        tenant.forgotten = tenant.feed.pop_front().expect("129 changes").revision;
    }
}

fn refuse_payload(payload: &SealedPayload) -> Option<Reject> {
    let bytes = payload.plaintext_bytes;
    // The commands of the test have no other bad payload than one that is too large.
    assert!(bytes > 0 && payload.sealed.len() <= bytes as usize + 512);
    (bytes > 4_096).then_some(Reject::PayloadTooLarge { bytes })
}

fn asked(kind: &CommandKind) -> String {
    match kind {
        CommandKind::CreateSecret { namespace, name, .. } => format!("create {namespace}/{name}"),
        CommandKind::UpdateSecret { namespace, name, .. } => format!("update {namespace}/{name}"),
        CommandKind::DeleteSecret { namespace, name, .. } => format!("delete {namespace}/{name}"),
        CommandKind::SetQuota { .. } => "quota".to_owned(),
    }
}
