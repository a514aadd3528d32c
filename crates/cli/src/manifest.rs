//! Manifests: YAML or JSON with one or several documents → the secrets they describe. Everything is read and checked
//! before anything is sent. Errors name file, document and field, and never show a value: values are credentials.

mod node;
mod source;

use std::collections::BTreeMap;

use base64::Engine;
use pi_types::{Annotations, Labels, Namespace, PAYLOAD_KEY, Payload, SECRET_TYPE, SecretName};
use zeroize::Zeroizing;

pub use node::Node;
pub use source::{Source, collect};

/// kubectl's own annotation: it holds a copy of what was applied, credential included, so it is never passed on.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Fields of `metadata` that a server writes and a client may send back; they say nothing about what is wanted.
const METADATA_IGNORED: [&str; 7] =
    ["creationTimestamp", "generation", "managedFields", "region", "resourceVersion", "selfLink", "uid"];

/// A secret as a manifest describes it. Has no `Debug`: it holds a payload.
pub struct SecretManifest {
    /// File and document, for messages.
    pub place: String,
    /// `metadata.name`.
    pub name: SecretName,
    /// `metadata.namespace`, when given.
    pub namespace: Option<Namespace>,
    /// `metadata.labels`; `None` when the field is absent.
    pub labels: Option<Labels>,
    /// `metadata.annotations`; `None` when the field is absent.
    pub annotations: Option<Annotations>,
    /// The decoded payload.
    pub payload: Payload,
    /// What was left out or is probably not meant.
    pub warnings: Vec<String>,
}

/// Why a document was refused: the field (empty for the document as a whole) and the reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    field: String,
    reason: String,
}

impl Refused {
    fn new(field: impl Into<String>, reason: impl Into<String>) -> Refused {
        Refused { field: field.into(), reason: reason.into() }
    }

    /// `PLACE: FIELD: REASON`.
    fn at(&self, place: &str) -> String {
        if self.field.is_empty() {
            format!("{place}: {}", self.reason)
        } else {
            format!("{place}: {}: {}", self.field, self.reason)
        }
    }
}

/// Reads every secret of a source. Documents are counted from 1 and items of a `List` too; empty documents count but
/// say nothing.
pub fn parse(source: &Source) -> Result<Vec<SecretManifest>, String> {
    let documents = source.documents()?;
    let mut secrets = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let place = format!("{}: document {}", source.name, index + 1);
        read_document(document, &place, &mut secrets)?;
    }
    if secrets.is_empty() {
        return Err(format!("{}: no objects found", source.name));
    }
    Ok(secrets)
}

fn read_document(document: &Node, place: &str, into: &mut Vec<SecretManifest>) -> Result<(), String> {
    let refused = |it: Refused| it.at(place);
    match document {
        Node::Null => return Ok(()),
        Node::Map(_) => {}
        other => {
            return Err(refused(Refused::new("", format!("expected an object, found {}", other.kind()))));
        }
    }
    let kind = required_string(document, "kind", "kind").map_err(refused)?;
    if matches!(kind, "List" | "SecretList") {
        let items = match document.get("items") {
            Some(Node::Seq(items)) => items.as_slice(),
            Some(Node::Null) | None => &[],
            Some(other) => {
                return Err(refused(Refused::new(
                    "items",
                    format!("expected a list, found {}", other.kind()),
                )));
            }
        };
        for (index, item) in items.iter().enumerate() {
            read_document(item, &format!("{place}, item {}", index + 1), into)?;
        }
        return Ok(());
    }
    into.push(read_secret(document, kind, place).map_err(refused)?);
    Ok(())
}

fn read_secret(document: &Node, kind: &str, place: &str) -> Result<SecretManifest, Refused> {
    let version = required_string(document, "apiVersion", "apiVersion")?;
    match kind {
        "Secret" => {}
        "Pod" => {
            return Err(Refused::new(
                "kind",
                "pods are not supported by this version of pi yet; it accepts Secret",
            ));
        }
        other => return Err(Refused::new("kind", format!("{other:?} is not supported; pi accepts Secret"))),
    }
    if version != "v1" {
        return Err(Refused::new(
            "apiVersion",
            format!("{version:?} is not supported for Secret; expected \"v1\""),
        ));
    }
    for field in document.keys() {
        match field {
            "apiVersion" | "kind" | "metadata" | "type" | "data" | "stringData" | "status" => {}
            "immutable" => return Err(Refused::new("immutable", "not supported: remove the field")),
            other => return Err(Refused::new(other, "unknown field of Secret")),
        }
    }
    check_type(document)?;
    let metadata = match document.get("metadata") {
        Some(metadata @ Node::Map(_)) => metadata,
        Some(Node::Null) | None => return Err(Refused::new("metadata.name", "Required value")),
        Some(other) => {
            return Err(Refused::new("metadata", format!("expected an object, found {}", other.kind())));
        }
    };
    let mut warnings = Vec::new();
    check_metadata_fields(metadata)?;
    let name = required_string(metadata, "name", "metadata.name")?;
    let name = name.parse::<SecretName>().map_err(|it| Refused::new("metadata.name", it.reason))?;
    let namespace = optional_string(metadata, "namespace", "metadata.namespace")?
        .filter(|it| !it.is_empty())
        .map(|it| it.parse::<Namespace>().map_err(|it| Refused::new("metadata.namespace", it.reason)))
        .transpose()?;
    let labels = string_map(metadata, "labels", "metadata.labels")?
        .map(|it| Labels::try_from(it).map_err(|it| Refused::new("metadata.labels", it.to_string())))
        .transpose()?;
    let annotations = string_map(metadata, "annotations", "metadata.annotations")?
        .map(|mut it| {
            if it.remove(LAST_APPLIED).is_some() {
                warnings.push(format!(
                    "{place}: annotation {LAST_APPLIED} left out: it holds a copy of the payload"
                ));
            }
            Annotations::try_from(it).map_err(|it| Refused::new("metadata.annotations", it.to_string()))
        })
        .transpose()?;
    let payload = read_payload(document)?;
    Ok(SecretManifest { place: place.to_owned(), name, namespace, labels, annotations, payload, warnings })
}

fn check_type(document: &Node) -> Result<(), Refused> {
    match optional_string(document, "type", "type")? {
        Some(SECRET_TYPE) => Ok(()),
        Some(other) => {
            Err(Refused::new("type", format!("{other:?} is not supported; the only type is {SECRET_TYPE:?}")))
        }
        // Kubernetes would take it for `Opaque`.
        None => Err(Refused::new("type", format!("Required value: the only type is {SECRET_TYPE:?}"))),
    }
}

fn check_metadata_fields(metadata: &Node) -> Result<(), Refused> {
    for field in metadata.keys() {
        match field {
            "name" | "namespace" | "labels" | "annotations" => {}
            ignored if METADATA_IGNORED.contains(&ignored) => {}
            "generateName" => {
                return Err(Refused::new("metadata.generateName", "not supported: give metadata.name"));
            }
            other => {
                return Err(Refused::new(format!("metadata.{other}"), "not supported: remove the field"));
            }
        }
    }
    Ok(())
}

/// The payload from `stringData` (which wins, as in Kubernetes) or `data`.
fn read_payload(document: &Node) -> Result<Payload, Refused> {
    let mut bytes: Option<(String, Zeroizing<Vec<u8>>)> = None;
    for section in ["data", "stringData"] {
        let Some(entries) = document.get(section) else { continue };
        match entries {
            Node::Null => continue,
            Node::Map(_) => {}
            other => {
                return Err(Refused::new(section, format!("expected an object, found {}", other.kind())));
            }
        }
        for key in entries.keys() {
            let field = format!("{section}[{key}]");
            if key != PAYLOAD_KEY {
                return Err(Refused::new(
                    field,
                    format!("only the key {PAYLOAD_KEY} is stored: remove this one"),
                ));
            }
            let value = required_string(entries, key, &field)?;
            let decoded = if section == "data" { decode(value, &field)? } else { value.as_bytes().to_vec() };
            bytes = Some((field, Zeroizing::new(decoded)));
        }
    }
    let Some((field, mut bytes)) = bytes else {
        let reason = "Required value ('pi get -o yaml' writes it only with --reveal)";
        return Err(Refused::new(format!("data[{PAYLOAD_KEY}]"), reason));
    };
    Payload::new(std::mem::take(&mut *bytes)).map_err(|it| Refused::new(field, it.reason))
}

/// Standard base64 as Kubernetes reads it: padded, line breaks allowed.
fn decode(text: &str, field: &str) -> Result<Vec<u8>, Refused> {
    let compact: Zeroizing<String> =
        Zeroizing::new(text.chars().filter(|it| !matches!(it, '\n' | '\r')).collect());
    base64::engine::general_purpose::STANDARD.decode(compact.as_bytes()).map_err(|_| {
        Refused::new(field, "not base64 (padded, standard alphabet); plain text goes into stringData instead")
    })
}

fn required_string<'a>(node: &'a Node, key: &str, field: &str) -> Result<&'a str, Refused> {
    optional_string(node, key, field)?.ok_or_else(|| Refused::new(field, "Required value"))
}

fn optional_string<'a>(node: &'a Node, key: &str, field: &str) -> Result<Option<&'a str>, Refused> {
    match node.get(key) {
        None | Some(Node::Null) => Ok(None),
        Some(Node::String(text)) => Ok(Some(text)),
        Some(other) => {
            Err(Refused::new(field, format!("expected a string, found {}: put it in quotes", other.kind())))
        }
    }
}

fn string_map(node: &Node, key: &str, field: &str) -> Result<Option<BTreeMap<String, String>>, Refused> {
    let entries = match node.get(key) {
        None | Some(Node::Null) => return Ok(None),
        Some(entries @ Node::Map(_)) => entries,
        Some(other) => {
            return Err(Refused::new(field, format!("expected an object, found {}", other.kind())));
        }
    };
    let mut map = BTreeMap::new();
    for key in entries.keys() {
        let value = required_string(entries, key, &format!("{field}[{key}]"))?;
        map.insert(key.to_owned(), value.to_owned());
    }
    Ok(Some(map))
}

#[cfg(test)]
mod tests;
