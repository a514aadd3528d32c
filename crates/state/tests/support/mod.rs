//! What the tests of the state machine share: ids that are numbers, commands with defaults, answers as text.
#![expect(dead_code, reason = "every test binary compiles this file and uses a part of it")]

use pi_state::query::{Change, ChangeKind};
use pi_state::{Command, CommandKind, Outcome, Reject, Response, SealedPayload, SecretMeta};
use pi_types::{Labels, PrincipalName, RequestId, TenantId, Uid};

/// The time that scripts count from.
pub const EPOCH_MS: i64 = 1_700_000_000_000;

/// A request id of a time and a number.
pub fn request_id(time_ms: i64, number: u64) -> RequestId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] = 0x80;
    RequestId::from_bytes(&bytes).expect("a UUIDv7")
}

/// The uid that is a number.
pub fn uid(number: u64) -> Uid {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Uid::from_bytes(bytes)
}

/// The number that a uid is.
pub fn uid_number(uid: Uid) -> u64 {
    let (_, low) = uid.as_bytes().split_last_chunk::<8>().expect("16 bytes");
    u64::from_be_bytes(*low)
}

/// A payload of a size, "sealed" by appending a tag.
pub fn payload(uid: Uid, generation: u64, plaintext_bytes: u32, sealed_bytes: usize) -> SealedPayload {
    let fill = (uid_number(uid) as u8) ^ (generation as u8);
    SealedPayload { sealed: vec![fill; sealed_bytes], plaintext_bytes, uid, generation }
}

pub fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not valid: {text:?}"))
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    let map = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Labels::from_map(map).expect("valid labels")
}

/// A command of `acme`'s `alice`, or of others.
pub fn command(
    time_ms: i64,
    tenant: &str,
    principal: &str,
    request_id: RequestId,
    kind: CommandKind,
) -> Command {
    let (tenant, principal): (TenantId, PrincipalName) = (parse(tenant), parse(principal));
    Command { time_ms, tenant, principal, request_id, kind }
}

/// An answer on one line.
pub fn show(response: &Response) -> String {
    let replayed = if response.replayed { " (replayed)" } else { "" };
    format!("@{} {}{replayed}", response.revision, show_outcome(&response.outcome))
}

fn show_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Blank => "blank".to_owned(),
        Outcome::Created { secret, used, quota } => {
            format!("created {} used={used}/{quota}", show_secret(secret))
        }
        Outcome::Updated { secret, changed: true } => format!("updated {}", show_secret(secret)),
        Outcome::Updated { secret, changed: false } => format!("unchanged {}", show_secret(secret)),
        Outcome::Deleted { secret, used, quota } => {
            format!("deleted {} used={used}/{quota}", show_secret(secret))
        }
        Outcome::QuotaSet { used, quota } => format!("quota set used={used}/{quota}"),
        Outcome::Reseal { uid, generation } => {
            format!("reseal uid={} generation={generation}", uid_number(*uid))
        }
        Outcome::Rejected(reject) => format!("refused: {}", show_reject(reject)),
    }
}

fn show_reject(reject: &Reject) -> String {
    match reject {
        Reject::PreconditionFailed { uid, revision } => {
            format!("PreconditionFailed uid={} revision={revision}", uid_number(*uid))
        }
        other => format!("{other:?}"),
    }
}

/// A secret on one line; times are relative to the epoch of the scripts.
pub fn show_secret(secret: &SecretMeta) -> String {
    let mut text = format!(
        "{}/{} uid={} revision={} generation={} bytes={} times={}..{}",
        secret.namespace,
        secret.name,
        uid_number(secret.uid),
        secret.revision,
        secret.generation,
        secret.payload_bytes,
        secret.create_time_ms - EPOCH_MS,
        secret.update_time_ms - EPOCH_MS,
    );
    for (kind, map) in [("labels", secret.labels.as_map()), ("annotations", secret.annotations.as_map())] {
        if !map.is_empty() {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{value}")).collect();
            text += &format!(" {kind}={}", pairs.join(","));
        }
    }
    text
}

/// A change on one line.
pub fn show_change(change: &Change) -> String {
    let kind = match change.kind {
        ChangeKind::Created => "created",
        ChangeKind::Updated => "updated",
        ChangeKind::Deleted => "deleted",
    };
    format!("@{} {kind} {}", change.revision, show_secret(&change.secret))
}
