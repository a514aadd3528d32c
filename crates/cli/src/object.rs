//! A secret as a Kubernetes object: what tables, `-o json|yaml|name` and `describe` show of it. Pure.

use std::collections::BTreeMap;

use base64::Engine;
use pi_types::{Namespace, PAYLOAD_KEY, Payload, SECRET_TYPE, SecretName};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{self, Table};

/// Metadata of a secret, as a region answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretView {
    /// Its region.
    pub region: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The region's revision at which it last changed.
    pub revision: u64,
    /// Its generation.
    pub generation: u64,
    /// When it was created, in milliseconds since the Unix epoch.
    pub create_time_ms: i64,
    /// When it last changed, in milliseconds since the Unix epoch.
    pub update_time_ms: i64,
    /// Size of its payload in bytes.
    pub payload_bytes: u32,
}

/// A secret as JSON or YAML. Field order is that of Kubernetes' own types, which JSON keeps; YAML is sorted.
#[derive(Serialize)]
pub struct Object {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<BTreeMap<&'static str, String>>,
    r#type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    // `null` for an object that exists nowhere yet, as kubectl 1.32 writes it.
    creation_timestamp: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Object {
    /// An object that was not sent: byte for byte what `kubectl … --dry-run=client` prints.
    pub fn unsent(
        name: &SecretName,
        namespace: Option<&Namespace>,
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        payload: &Payload,
    ) -> Object {
        Object {
            kind: "Secret",
            api_version: "v1",
            metadata: Metadata {
                name: name.as_str().to_owned(),
                namespace: namespace.map(|it| it.as_str().to_owned()),
                region: None,
                uid: None,
                resource_version: None,
                generation: None,
                creation_timestamp: None,
                labels: labels.clone(),
                annotations: annotations.clone(),
            },
            data: Some(data(payload.expose())),
            r#type: SECRET_TYPE,
        }
    }

    /// An object as a region has it, with `data` only when the payload is given.
    pub fn existing(view: &SecretView, payload: Option<&[u8]>) -> Object {
        Object {
            kind: "Secret",
            api_version: "v1",
            metadata: Metadata {
                name: view.name.clone(),
                namespace: Some(view.namespace.clone()),
                region: Some(view.region.clone()),
                uid: Some(view.uid.clone()),
                resource_version: Some(view.revision.to_string()),
                generation: Some(view.generation),
                creation_timestamp: Some(output::timestamp(view.create_time_ms)),
                labels: view.labels.clone(),
                annotations: view.annotations.clone(),
            },
            data: payload.map(data),
            r#type: SECRET_TYPE,
        }
    }

    /// `secret/NAME`.
    pub fn reference(&self) -> String {
        format!("secret/{}", self.metadata.name)
    }

    /// As a JSON value, to be put into other documents.
    pub fn value(&self) -> Result<Value, Failure> {
        serde_json::to_value(self).map_err(|error| Failure::local(format!("cannot write JSON: {error}")))
    }

    /// As JSON text.
    pub fn json(&self) -> Result<String, Failure> {
        output::json(self)
    }

    /// As YAML text.
    pub fn yaml(&self) -> Result<String, Failure> {
        output::yaml(&output::sorted(self.value()?))
    }
}

fn data(payload: &[u8]) -> BTreeMap<&'static str, String> {
    BTreeMap::from([(PAYLOAD_KEY, base64::engine::general_purpose::STANDARD.encode(payload))])
}

/// Several objects as one `List`.
pub fn list(objects: &[Object]) -> Result<Value, Failure> {
    let items = objects.iter().map(Object::value).collect::<Result<Vec<Value>, Failure>>()?;
    Ok(
        serde_json::json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": ""}, "items": items}),
    )
}

/// Which columns a table of secrets has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Columns {
    /// REGION in front: several regions were asked.
    pub region: bool,
    /// NAMESPACE in front: several namespaces were asked.
    pub namespace: bool,
    /// What `-o wide` adds.
    pub wide: bool,
}

/// The table of `pi get secrets`.
pub fn table(views: &[SecretView], columns: Columns, now_ms: i64) -> Table {
    let mut header = Vec::new();
    header.extend(columns.region.then_some("REGION"));
    header.extend(columns.namespace.then_some("NAMESPACE"));
    header.extend(["NAME", "TYPE", "DATA", "AGE"]);
    if columns.wide {
        header.extend(["SIZE", "GENERATION", "REVISION", "UPDATED", "UID"]);
    }
    let mut table = Table::new(header);
    for view in views {
        let mut cells = Vec::new();
        cells.extend(columns.region.then(|| view.region.clone()));
        cells.extend(columns.namespace.then(|| view.namespace.clone()));
        let age = output::age(now_ms - view.create_time_ms);
        // DATA counts keys, as in Kubernetes; this type has one.
        cells.extend([view.name.clone(), SECRET_TYPE.to_owned(), "1".to_owned(), age]);
        if columns.wide {
            let updated = output::age(now_ms - view.update_time_ms);
            cells.extend([
                view.payload_bytes.to_string(),
                view.generation.to_string(),
                view.revision.to_string(),
            ]);
            cells.extend([updated, view.uid.clone()]);
        }
        table.row(cells);
    }
    table
}

/// The text of `pi describe secrets`, in kubectl's layout; with a line for the region when several were asked.
pub fn describe(view: &SecretView, show_region: bool) -> String {
    let mut text = String::new();
    let mut field = |name: &str, values: &[String]| {
        let none = ["<none>".to_owned()];
        let values = if values.is_empty() { &none } else { values };
        for (at, value) in values.iter().enumerate() {
            let name = if at == 0 { format!("{name}:") } else { String::new() };
            text.push_str(format!("{name:<14}{value}").trim_end());
            text.push('\n');
        }
    };
    field("Name", std::slice::from_ref(&view.name));
    field("Namespace", std::slice::from_ref(&view.namespace));
    if show_region {
        field("Region", std::slice::from_ref(&view.region));
    }
    field("Labels", &view.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>());
    field(
        "Annotations",
        &view.annotations.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>(),
    );
    text.push_str(&format!(
        "\nType:  {SECRET_TYPE}\n\nData\n====\n{PAYLOAD_KEY}:  {} bytes\n",
        view.payload_bytes
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> SecretView {
        SecretView {
            region: "us-central1".to_owned(),
            namespace: "default".to_owned(),
            name: "my-secret".to_owned(),
            uid: "0190a5c2-0000-4000-8000-000000000001".to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            revision: 17,
            generation: 2,
            create_time_ms: 1_764_000_000_000,
            update_time_ms: 1_764_000_060_000,
            payload_bytes: 94,
        }
    }

    #[test]
    fn describe_has_kubectls_layout() {
        assert_eq!(
            describe(&view(), false),
            "Name:         my-secret\nNamespace:    default\nLabels:       <none>\nAnnotations:  <none>\n\n\
             Type:  kubernetes.io/dockerconfigjson\n\nData\n====\n.dockerconfigjson:  94 bytes\n"
        );
        let mut labelled = view();
        labelled.labels = BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        labelled.annotations = BTreeMap::from([("note".into(), "x y".into())]);
        let text = describe(&labelled, true);
        assert!(text.contains("Region:       us-central1\nLabels:       a=1\n              b=2\n"), "{text}");
        assert!(text.contains("Annotations:  note: x y\n"), "{text}");
    }

    #[test]
    fn data_appears_only_with_the_payload() {
        let without = Object::existing(&view(), None).json().unwrap();
        assert!(!without.contains("\"data\""), "{without}");
        let with = Object::existing(&view(), Some(b"{}")).yaml().unwrap();
        assert!(with.contains("data:\n  .dockerconfigjson: e30=\n"), "{with}");
    }

    #[test]
    fn an_existing_object_shows_where_it_is_and_what_it_is_at() {
        assert_eq!(
            Object::existing(&view(), None).yaml().unwrap(),
            "apiVersion: v1\nkind: Secret\nmetadata:\n  creationTimestamp: \"2025-11-24T16:00:00Z\"\n  generation: 2\n  \
             name: my-secret\n  namespace: default\n  region: us-central1\n  resourceVersion: \"17\"\n  \
             uid: 0190a5c2-0000-4000-8000-000000000001\ntype: kubernetes.io/dockerconfigjson\n"
        );
    }

    #[test]
    fn tables_gain_columns_as_asked() {
        let now = 1_764_000_065_000;
        let plain = table(&[view()], Columns::default(), now).render();
        assert!(plain.ends_with("my-secret   kubernetes.io/dockerconfigjson   1      65s\n"), "{plain}");
        let all = Columns { region: true, namespace: true, wide: true };
        let wide = table(&[view()], all, now).render();
        assert!(wide.starts_with("REGION        NAMESPACE   NAME        TYPE"), "{wide}");
        assert!(wide.contains("94     2            17         5s        0190a5c2"), "{wide}");
    }
}
