//! From wire requests to domain values, with every field that does not hold reported at once.
//!
//! Rules and texts are `pi-types`' (Kubernetes' own); here is only which field they apply to. The state machine checks
//! again, and its word counts.

use std::collections::BTreeMap;

use pi_proto::secrets::v1 as wire;
use pi_types::limits::{LIST_PAGE_DEFAULT, LIST_PAGE_MAX, PAYLOAD_BYTES_MAX};
use pi_types::{
    Annotations, Invalid, Labels, Namespace, Payload, SECRET_TYPE, SecretName, Selector, Uid, docker_config,
};
use zeroize::Zeroizing;

use crate::failure::{Failure, Violation};
use crate::status::too_large;

/// Collects what does not hold, so that a caller learns all of it from one answer.
#[derive(Debug, Default)]
pub struct Fields {
    violations: Vec<Violation>,
}

impl Fields {
    /// Takes one field's result; `None` when it does not hold.
    pub fn take<T>(&mut self, result: Result<T, Invalid>) -> Option<T> {
        result.map_err(|invalid| self.violations.push(invalid.into())).ok()
    }

    /// Notes a violation found here.
    pub fn refuse(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.violations.push(Violation::new(field, description));
    }

    /// Fails when anything was refused.
    pub fn finish(self) -> Result<(), Failure> {
        if self.violations.is_empty() { Ok(()) } else { Err(Failure::Invalid(self.violations)) }
    }

    /// Ends the collection with all its results. Every `None` among them left a violation behind.
    fn complete<T>(self, all: Option<T>) -> Result<T, Failure> {
        self.finish()?;
        all.ok_or_else(|| Failure::invalid("request", "a field does not hold"))
    }

    fn namespace(&mut self, text: &str) -> Option<Namespace> {
        if text.is_empty() { Some(Namespace::default()) } else { self.take(text.parse()) }
    }

    /// Absent means all namespaces.
    fn namespace_filter(&mut self, text: &str) -> Option<Option<Namespace>> {
        if text.is_empty() { Some(None) } else { self.take(text.parse()).map(Some) }
    }

    fn name(&mut self, text: &str) -> Option<SecretName> {
        self.take(text.parse())
    }

    fn selector(&mut self, text: &str) -> Option<Selector> {
        self.take(text.parse().map_err(|invalid: Invalid| Invalid::new("label_selector", invalid.reason)))
    }

    fn secret_type(&mut self, text: &str) -> Option<()> {
        if text.is_empty() || text == SECRET_TYPE {
            return Some(());
        }
        let description =
            format!("Unsupported value: only registry secrets of type \"{SECRET_TYPE}\" can be stored");
        self.refuse("type", description);
        None
    }

    /// The payload and what is legal but probably not meant about it.
    fn payload(&mut self, bytes: Vec<u8>) -> Option<(Payload, Vec<String>)> {
        let bytes = Zeroizing::new(bytes);
        if bytes.is_empty() {
            self.refuse(
                "payload",
                "Required value: 1 to 4,096 bytes of JSON, the value of .dockerconfigjson",
            );
            return None;
        }
        if bytes.len() > PAYLOAD_BYTES_MAX {
            self.violations.push(too_large(bytes.len() as u64));
            return None;
        }
        let warnings = self.take(docker_config::check(&bytes))?;
        let payload = self.take(Payload::new(bytes.to_vec()))?;
        Some((payload, warnings))
    }

    fn expect_uid(&mut self, text: &str) -> Option<Option<Uid>> {
        if text.is_empty() {
            return Some(None);
        }
        self.take(text.parse().map_err(|invalid: Invalid| Invalid::new("expect_uid", invalid.reason)))
            .map(Some)
    }

    fn labels(&mut self, map: BTreeMap<String, String>) -> Option<Labels> {
        self.take(Labels::from_map(map))
    }

    fn annotations(&mut self, map: BTreeMap<String, String>) -> Option<Annotations> {
        self.take(Annotations::from_map(map))
    }
}

/// Which secret.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: SecretName,
}

impl Target {
    /// Reads the fields `namespace` and `name`.
    pub fn read(namespace: &str, name: &str) -> Result<Self, Failure> {
        let mut fields = Fields::default();
        let target = Self::take(&mut fields, namespace, name);
        fields.complete(target)
    }

    fn take(fields: &mut Fields, namespace: &str, name: &str) -> Option<Self> {
        let (namespace, name) = (fields.namespace(namespace), fields.name(name));
        Some(Self { namespace: namespace?, name: name? })
    }
}

/// Preconditions of update and delete.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// Only if the uid is this.
    pub uid: Option<Uid>,
    /// Only if the secret's revision is this.
    pub revision: Option<u64>,
}

impl Expect {
    fn take(fields: &mut Fields, uid: &str, revision: u64) -> Option<Self> {
        Some(Self { uid: fields.expect_uid(uid)?, revision: (revision != 0).then_some(revision) })
    }
}

/// A valid CreateRequest.
pub struct Create {
    /// Which secret.
    pub target: Target,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Annotations,
    /// Its payload.
    pub payload: Payload,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
    /// Change nothing.
    pub validate_only: bool,
}

impl TryFrom<wire::CreateRequest> for Create {
    type Error = Failure;

    fn try_from(request: wire::CreateRequest) -> Result<Self, Failure> {
        let mut fields = Fields::default();
        let target = Target::take(&mut fields, &request.namespace, &request.name);
        let known_type = fields.secret_type(&request.r#type);
        let labels = fields.labels(request.labels);
        let annotations = fields.annotations(request.annotations);
        let payload = fields.payload(request.payload);
        let all = (|| Some((target?, known_type?, labels?, annotations?, payload?)))();
        let (target, (), labels, annotations, (payload, warnings)) = fields.complete(all)?;
        let validate_only = request.validate_only;
        Ok(Self { target, labels, annotations, payload, warnings, validate_only })
    }
}

/// A valid UpdateRequest.
pub struct Update {
    /// Which secret.
    pub target: Target,
    /// Its new payload, unless it stays.
    pub payload: Option<Payload>,
    /// Its new labels, unless they stay.
    pub labels: Option<Labels>,
    /// Its new annotations, unless they stay.
    pub annotations: Option<Annotations>,
    /// Preconditions.
    pub expect: Expect,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
    /// Change nothing.
    pub validate_only: bool,
}

impl TryFrom<wire::UpdateRequest> for Update {
    type Error = Failure;

    fn try_from(request: wire::UpdateRequest) -> Result<Self, Failure> {
        let mut fields = Fields::default();
        let target = Target::take(&mut fields, &request.namespace, &request.name);
        let payload = request.payload.map(|bytes| fields.payload(bytes));
        let labels = request.labels.map(|map| fields.labels(map.entries));
        let annotations = request.annotations.map(|map| fields.annotations(map.entries));
        let expect = Expect::take(&mut fields, &request.expect_uid, request.expect_revision);
        if payload.is_none() && labels.is_none() && annotations.is_none() {
            fields.refuse(
                "payload",
                "Required value: an update names at least one of payload, labels, annotations",
            );
        }
        let (target, expect) = fields.complete(target.zip(expect))?;
        // Whatever was present holds now: `complete` would have failed otherwise.
        let (payload, warnings) = payload.flatten().unzip();
        Ok(Self {
            target,
            payload,
            labels: labels.flatten(),
            annotations: annotations.flatten(),
            expect,
            warnings: warnings.unwrap_or_default(),
            validate_only: request.validate_only,
        })
    }
}

/// A valid DeleteRequest.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Which secret.
    pub target: Target,
    /// Preconditions.
    pub expect: Expect,
}

impl TryFrom<wire::DeleteRequest> for Delete {
    type Error = Failure;

    fn try_from(request: wire::DeleteRequest) -> Result<Self, Failure> {
        let mut fields = Fields::default();
        let target = Target::take(&mut fields, &request.namespace, &request.name);
        let expect = Expect::take(&mut fields, &request.expect_uid, request.expect_revision);
        let (target, expect) = fields.complete(target.zip(expect))?;
        Ok(Self { target, expect })
    }
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// After ReadIndex.
    Linearizable,
    /// The node's own state.
    Stale,
}

impl Freshness {
    /// Reads the field `consistency`.
    pub fn read(value: i32) -> Result<Self, Failure> {
        match wire::Consistency::try_from(value) {
            Ok(wire::Consistency::Unspecified | wire::Consistency::Linearizable) => Ok(Self::Linearizable),
            Ok(wire::Consistency::Stale) => Ok(Self::Stale),
            Err(_) => Err(Failure::invalid(
                "consistency",
                format!(
                    "Unsupported value: {value}: must be CONSISTENCY_LINEARIZABLE (1) or CONSISTENCY_STALE (2)"
                ),
            )),
        }
    }

    /// What the answer's field `stale` says.
    pub fn is_stale(self) -> bool {
        self == Self::Stale
    }
}

/// A valid ListRequest but for its token, which can only be read with the tenant at hand.
#[derive(Clone, Debug)]
pub struct List {
    /// Only this namespace.
    pub namespace: Option<Namespace>,
    /// Only what this selects.
    pub selector: Selector,
    /// How many at most, 1 to [`LIST_PAGE_MAX`].
    pub page_size: usize,
    /// How fresh.
    pub freshness: Freshness,
}

impl List {
    /// Reads everything but `page_token`.
    pub fn read(request: &wire::ListRequest) -> Result<Self, Failure> {
        let mut fields = Fields::default();
        let namespace = fields.namespace_filter(&request.namespace);
        let selector = fields.selector(&request.label_selector);
        let page_size = match usize::try_from(request.page_size) {
            Ok(0) => LIST_PAGE_DEFAULT,
            Ok(size) => size.min(LIST_PAGE_MAX),
            Err(_) => {
                let found = request.page_size;
                fields.refuse("page_size", format!("Invalid value: {found}: must be 0 (for 100) or more"));
                0
            }
        };
        let freshness = match Freshness::read(request.consistency) {
            Ok(freshness) => Some(freshness),
            Err(Failure::Invalid(violations)) => {
                fields.violations.extend(violations);
                None
            }
            Err(other) => return Err(other),
        };
        let all = (|| Some((namespace?, selector?, freshness?)))();
        let (namespace, selector, freshness) = fields.complete(all)?;
        Ok(Self { namespace, selector, page_size, freshness })
    }
}

/// A valid WatchRequest but for its token.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Only this namespace.
    pub namespace: Option<Namespace>,
    /// Only this name.
    pub name: Option<SecretName>,
    /// Only what this selects.
    pub selector: Selector,
    /// Whether the selector can change its mind about an object.
    pub selects_by_label: bool,
}

impl Watch {
    /// Reads everything but `resume_token`.
    pub fn read(request: &wire::WatchRequest) -> Result<Self, Failure> {
        let mut fields = Fields::default();
        let namespace = fields.namespace_filter(&request.namespace);
        let name = if request.name.is_empty() { Some(None) } else { fields.name(&request.name).map(Some) };
        let selector = fields.selector(&request.label_selector);
        let all = (|| Some((namespace?, name?, selector?)))();
        let (namespace, name, selector) = fields.complete(all)?;
        let selects_by_label = !request.label_selector.trim().is_empty();
        Ok(Self { namespace, name, selector, selects_by_label })
    }
}
