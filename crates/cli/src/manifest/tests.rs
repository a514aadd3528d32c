//! What manifests give and how they are refused: one table of each.

use zeroize::Zeroizing;

use super::*;

const PAYLOAD: &str = r#"{"auths":{"quay.io":{"auth":"Ym9iOnB3"}}}"#;
const BASE64: &str = "eyJhdXRocyI6eyJxdWF5LmlvIjp7ImF1dGgiOiJZbTlpT25CMyJ9fX0=";

fn read(text: &str) -> Result<Vec<SecretManifest>, String> {
    parse(&Source { name: "f.yaml".to_owned(), text: Zeroizing::new(text.as_bytes().to_vec()) })
}

fn refusal(text: &str) -> String {
    match read(text) {
        Ok(secrets) => panic!("accepted {} secrets", secrets.len()),
        Err(reason) => reason,
    }
}

/// A good manifest, with `{}` in its place.
fn manifest(metadata: &str, rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n{metadata}\ntype: kubernetes.io/dockerconfigjson\n{rest}\n"
    )
}

fn good(name: &str) -> String {
    manifest(&format!("  name: {name}"), &format!("data:\n  .dockerconfigjson: {BASE64}"))
}

#[test]
fn data_and_string_data_give_the_same_payload() {
    let text = manifest("  name: a", &format!("stringData:\n  .dockerconfigjson: '{PAYLOAD}'"));
    for text in [good("a"), text] {
        let secrets = read(&text).unwrap_or_else(|reason| panic!("{reason}"));
        assert_eq!(secrets[0].payload.expose(), PAYLOAD.as_bytes());
        assert_eq!(secrets[0].name.as_str(), "a");
        assert!(secrets[0].namespace.is_none() && secrets[0].labels.is_none());
    }
}

#[test]
fn base64_may_have_line_breaks_and_block_scalars_work() {
    let (first, second) = BASE64.split_at(20);
    let text = manifest("  name: a", &format!("data:\n  .dockerconfigjson: |\n    {first}\n    {second}"));
    assert_eq!(read(&text).map(|it| it[0].payload.expose().to_vec()).unwrap(), PAYLOAD.as_bytes());
}

#[test]
fn several_documents_lists_and_json_are_read() {
    let names = |text: &str| {
        let secrets = read(text).unwrap_or_else(|reason| panic!("{reason}"));
        secrets.iter().map(|it| format!("{} {}", it.name, it.place)).collect::<Vec<_>>()
    };
    let yaml = format!("# comment\n---\n{}---\n# nothing here\n---\n{}---\n", good("a"), good("b"));
    assert_eq!(names(&yaml), ["a f.yaml: document 1", "b f.yaml: document 3"]);
    let json = format!(
        r#"{{"kind":"Secret","apiVersion":"v1","metadata":{{"name":"c","creationTimestamp":null}},
            "type":"kubernetes.io/dockerconfigjson","data":{{".dockerconfigjson":"{BASE64}"}}}}"#
    );
    assert_eq!(names(&format!("{json}\n{json}")), ["c f.yaml: document 1", "c f.yaml: document 2"]);
    let list = format!(r#"{{"kind":"List","apiVersion":"v1","items":[{json}]}}"#);
    assert_eq!(names(&list), ["c f.yaml: document 1, item 1"]);
}

#[test]
fn what_a_server_writes_is_ignored_and_kubectls_copy_of_the_payload_left_out() {
    let metadata = format!(
        "  name: a\n  uid: x\n  resourceVersion: \"7\"\n  generation: 2\n  creationTimestamp: null\n  region: r\n  \
         annotations:\n    keep: me\n    {LAST_APPLIED}: '{{}}'"
    );
    let text = manifest(&metadata, &format!("data:\n  .dockerconfigjson: {BASE64}"));
    let secret = read(&text).map(|mut it| it.remove(0)).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(secret.annotations.unwrap().as_map().keys().collect::<Vec<_>>(), ["keep"]);
    assert_eq!(secret.warnings.len(), 1);
}

#[test]
fn refusals_name_file_document_and_field() {
    let data = format!("data:\n  .dockerconfigjson: {BASE64}");
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "f.yaml: no objects found"),
        ("- a\n".into(), "f.yaml: document 1: expected an object, found a list"),
        ("a: 1\n".into(), "f.yaml: document 1: kind: Required value"),
        ("kind: Secret\n".into(), "f.yaml: document 1: apiVersion: Required value"),
        (
            "kind: Pod\napiVersion: v1\n".into(),
            "f.yaml: document 1: kind: pods are not supported by this version of pi yet",
        ),
        (
            "kind: ConfigMap\napiVersion: v1\n".into(),
            "f.yaml: document 1: kind: \"ConfigMap\" is not supported",
        ),
        ("kind: Secret\napiVersion: v2\n".into(), "f.yaml: document 1: apiVersion: \"v2\" is not supported"),
        (
            format!("{}---\n{}", good("a"), good("b").replace("kubernetes.io/dockerconfigjson", "Opaque")),
            "f.yaml: document 2: type: \"Opaque\" is not supported; the only type is",
        ),
        (
            good("a").replace("type: kubernetes.io/dockerconfigjson", ""),
            "f.yaml: document 1: type: Required value",
        ),
        (
            manifest("  name: 7", &data),
            "f.yaml: document 1: metadata.name: expected a string, found a number",
        ),
        (manifest("  name: A_b", &data), "f.yaml: document 1: metadata.name: "),
        (manifest("  labels: {}", &data), "f.yaml: document 1: metadata.name: Required value"),
        (
            manifest("  name: a\n  labels:\n    x: true", &data),
            "f.yaml: document 1: metadata.labels[x]: expected a string, found a boolean",
        ),
        (
            manifest("  name: a\n  finalizers: [x]", &data),
            "f.yaml: document 1: metadata.finalizers: not supported",
        ),
        (manifest("  name: a", ""), "f.yaml: document 1: data[.dockerconfigjson]: Required value"),
        (
            manifest("  name: a", &format!("{data}\n  other: eA==")),
            "f.yaml: document 1: data[other]: only the key .dockerconfigjson is stored",
        ),
        (
            manifest("  name: a", "data:\n  .dockerconfigjson: '{}'"),
            "f.yaml: document 1: data[.dockerconfigjson]: not base64",
        ),
        (
            manifest("  name: a", "stringData:\n  .dockerconfigjson: '{}'"),
            "f.yaml: document 1: stringData[.dockerconfigjson]: ",
        ),
        (
            manifest("  name: a", &format!("{data}\nimmutable: true")),
            "f.yaml: document 1: immutable: not supported",
        ),
        (
            manifest("  name: a", &format!("{data}\nspec: {{}}")),
            "f.yaml: document 1: spec: unknown field of Secret",
        ),
    ];
    for (text, expected) in cases {
        let reason = refusal(&text);
        assert!(reason.starts_with(expected), "expected {expected:?}, got {reason:?}");
    }
}

#[test]
fn syntax_errors_name_the_line_in_the_file_and_no_value() {
    let text = format!("{}---\nkind: Secret\n  hunter2: [hunter2\n", good("a"));
    let reason = refusal(&text);
    assert!(reason.starts_with("f.yaml: document 2: line 10"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
    let reason = refusal("{\"kind\": \"hunter2\", oops");
    assert!(reason.starts_with("f.yaml: document 1: line 1"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
}

#[test]
fn a_key_given_twice_is_refused() {
    let twice = format!("{}metadata:\n  name: b\n", good("a"));
    assert!(refusal(&twice).contains("given twice"));
}
