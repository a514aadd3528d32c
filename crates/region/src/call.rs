//! The first steps of every request, in one order: deadline, region, credential, permission.
//!
//! A [`Call`] is what is known after them. Validation of the request's own fields follows in [`crate::validate`].

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pi_auth::{InsecurePolicy, Principal};
use pi_proto::metadata;
use pi_raft::NodeId;
use pi_types::{Namespace, PrincipalName, RegionName, RequestId, SecretName, TenantId};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::authorize::{Action, authorize};
use crate::config::Limits;
use crate::failure::{Failure, Lateness, Scene};
use crate::status::to_status;

/// The node answers this much before the caller's deadline, so that "outcome unknown, repeat with this id" reaches the
/// caller instead of the transport's bare timeout.
const ANSWER_MARGIN: Duration = Duration::from_millis(10);

/// What a handler is given to decide by. Cheap to make.
pub struct Gate<'a> {
    /// This node's region.
    pub region: &'a RegionName,
    /// Which tokens are accepted.
    pub policy: &'a InsecurePolicy,
    /// Deadlines.
    pub limits: &'a Limits,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
}

/// A request whose caller is known and may do what it asks.
#[derive(Clone, Debug)]
pub struct Call {
    /// When to answer at the latest.
    pub deadline: Instant,
    /// When a Watch ends: the deadline the caller named, whatever `limits.deadline_max_ms` says; `None` without one. Its
    /// start keeps to `deadline`.
    pub watch_until: Option<Instant>,
    /// The mutation's name, the caller's or one of our own.
    pub request_id: RequestId,
    /// Who asks.
    pub principal: Principal,
    scene: Scene,
}

impl Gate<'_> {
    /// Takes a request through the first steps. `region` is its field 1.
    pub fn admit<T>(&self, request: &Request<T>, region: &str, action: Action) -> Result<Call, Status> {
        let (region_name, leader) = (self.region.to_string(), self.leader);
        let mut scene = Scene { region: region_name, leader, peer: peer(request), ..Scene::default() };
        self.enter(request, region, action, &mut scene).map_err(|failure| to_status(&failure, &scene))
    }

    fn enter<T>(
        &self,
        request: &Request<T>,
        region: &str,
        action: Action,
        scene: &mut Scene,
    ) -> Result<Call, Failure> {
        let named = deadline_of(request)?;
        let granted = named.unwrap_or(self.limits.deadline_default()).min(self.limits.deadline_max());
        let now = Instant::now();
        let deadline = now + granted.saturating_sub(ANSWER_MARGIN);
        // A deadline beyond what the clock can show is none.
        let watch_until = named.and_then(|named| now.checked_add(named.saturating_sub(ANSWER_MARGIN)));
        self.check_region(region)?;
        let header = request.metadata().get(metadata::AUTHORIZATION).map(|value| value.to_str());
        // A value that is not ASCII is no token of ours.
        let header = header.transpose().map_err(|_| pi_auth::Error::Malformed)?;
        let principal = pi_auth::verify(header, scene.peer, self.policy)?;
        if let Principal::Tenant { tenant, .. } = &principal {
            scene.tenant = Some(tenant.to_string());
        }
        if authorize(&principal, action).is_err() {
            return Err(Failure::Denied { principal, action });
        }
        let request_id = request_id_of(request)?;
        scene.request_id = Some(request_id.to_string());
        Ok(Call { deadline, watch_until, request_id, principal, scene: scene.clone() })
    }

    /// The request's region must be this node's: the gateway may have been told wrong.
    pub fn check_region(&self, region: &str) -> Result<(), Failure> {
        if region == self.region.as_str() {
            Ok(())
        } else {
            // Not the caller's text: it may be anything, of any length.
            Err(Failure::WrongRegion {
                asked: if region.is_empty() { String::new() } else { "another".into() },
            })
        }
    }
}

impl Call {
    /// The caller's tenant. `authorize` lets no operator as far as a handler that asks for it.
    pub fn tenant(&self) -> Result<&TenantId, Failure> {
        match &self.principal {
            Principal::Tenant { tenant, .. } => Ok(tenant),
            Principal::Operator { .. } => {
                Err(Failure::Denied { principal: self.principal.clone(), action: Action::GetSecret })
            }
        }
    }

    /// The caller's own name.
    pub fn principal_name(&self) -> &PrincipalName {
        match &self.principal {
            Principal::Tenant { name, .. } | Principal::Operator { name } => name,
        }
    }

    /// Remembers which secret the request is about, for error texts.
    pub fn about(&mut self, namespace: &Namespace, name: &SecretName) {
        self.scene.secret = Some((namespace.clone(), name.clone()));
    }

    /// Turns a failure into what the caller is sent, and logs it when an operator must look.
    pub fn refuse(&self, failure: &Failure) -> Status {
        let mut scene = self.scene.clone();
        scene.late = if Instant::now() >= self.deadline { Lateness::Late } else { Lateness::InTime };
        let status = to_status(failure, &scene);
        if failure.is_alarming() {
            let cause = std::error::Error::source(failure).map(ToString::to_string).unwrap_or_default();
            tracing::error!(request_id = %self.request_id, %failure, cause, "request failed");
        } else {
            tracing::debug!(request_id = %self.request_id, code = ?status.code(), %failure, "request refused");
        }
        status
    }
}

/// The address the connection comes from; through a gateway, the gateway's.
fn peer<T>(request: &Request<T>) -> Option<IpAddr> {
    request.remote_addr().map(|address| address.ip())
}

fn request_id_of<T>(request: &Request<T>) -> Result<RequestId, Failure> {
    let Some(value) = request.metadata().get(metadata::REQUEST_ID) else {
        return Ok(new_request_id());
    };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        Failure::invalid(
            metadata::REQUEST_ID,
            "must be a UUIDv7 in hyphenated form, new for each mutation and the same for its retries",
        )
    })
}

fn new_request_id() -> RequestId {
    RequestId::from_bytes(Uuid::now_v7().as_bytes()).expect("a UUIDv7 is one: made on the line above")
}

/// Reads `grpc-timeout`: at most 8 digits and a unit.
fn deadline_of<T>(request: &Request<T>) -> Result<Option<Duration>, Failure> {
    let Some(value) = request.metadata().get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(parse_timeout);
    parsed.map(Some).ok_or_else(|| {
        Failure::invalid("grpc-timeout", "must be 1 to 8 digits and a unit (H, M, S, m, u, n)")
    })
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(amount * 3_600)),
        'M' => Some(Duration::from_secs(amount * 60)),
        'S' => Some(Duration::from_secs(amount)),
        'm' => Some(Duration::from_millis(amount)),
        'u' => Some(Duration::from_micros(amount)),
        'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read_in_every_unit_and_nothing_else_is() {
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("1H"), Some(Duration::from_secs(3_600)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for text in ["", "S", "5", "5s", "-1S", "123456789S", "1.5S", "5S ", "５S"] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
    }
}
