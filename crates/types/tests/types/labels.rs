//! Labels and annotations, with Kubernetes' rules and texts.

use std::collections::BTreeMap;

use pi_types::{Annotations, Invalid, Labels};

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn refusal<const N: usize>(pairs: [(&str, &str); N]) -> Invalid {
    Labels::from_map(map(pairs)).unwrap_err()
}

const QUALIFIED_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

#[test]
fn valid_labels_are_kept_in_the_order_of_their_keys() {
    let key_of_63 = format!("example.com/{}", "k".repeat(63));
    let value_of_63 = "v".repeat(63);
    let labels = Labels::from_map(map([
        ("b", ""),
        ("app.kubernetes.io/Name", "My_value.1"),
        (&key_of_63, &value_of_63),
    ]))
    .unwrap();
    assert_eq!(
        labels.iter().collect::<Vec<_>>(),
        [("app.kubernetes.io/Name", "My_value.1"), ("b", ""), (&key_of_63, &value_of_63)]
    );
    assert_eq!((labels.get("b"), labels.get("c"), labels.len()), (Some(""), None, 3));
}

#[test]
fn bad_label_keys_are_refused_in_kubernetes_words() {
    let long = "k".repeat(64);
    for (key, why) in [
        ("_a", format!("name part {QUALIFIED_NAME}")),
        ("a b", format!("name part {QUALIFIED_NAME}")),
        ("", format!("name part must be non-empty; name part {QUALIFIED_NAME}")),
        ("example.com/", format!("name part must be non-empty; name part {QUALIFIED_NAME}")),
        ("/a", "prefix part must be non-empty".to_owned()),
        ("Example.com/a", "prefix part a lowercase RFC 1123 subdomain must consist of".to_owned()),
        (
            "a/b/c",
            format!(
                "a qualified name {QUALIFIED_NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ),
        ),
        (&long, "name part must be no more than 63 characters".to_owned()),
    ] {
        let Invalid { field, reason } = refusal([(key, "")]);
        assert_eq!(field, "labels");
        assert!(reason.contains(&format!(": {why}")), "{key:?}: {reason}");
    }
}

#[test]
fn bad_label_values_are_refused_in_kubernetes_words() {
    for value in ["_v", "a b", "a/b", "ä", "-"] {
        assert_eq!(
            refusal([("x", value)]).to_string(),
            format!(
                "labels[\"x\"]: Invalid value: {value:?}: a valid label must be an empty string or consist of \
                 alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
                 (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                 '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            )
        );
    }
    let reason = refusal([("x", &"v".repeat(64))]).reason;
    assert!(reason.ends_with("must be no more than 63 characters"), "{reason}");
}

#[test]
fn the_33rd_label_or_annotation_is_refused_with_the_limit() {
    let of = |count: usize| -> BTreeMap<String, String> {
        (0..count).map(|at| (format!("k{at}"), String::new())).collect()
    };
    assert!(Labels::from_map(of(32)).is_ok() && Annotations::from_map(of(32)).is_ok());
    assert_eq!(
        Labels::from_map(of(33)).unwrap_err().to_string(),
        "labels: there are 33 labels, the limit is 32"
    );
    assert_eq!(
        Annotations::from_map(of(33)).unwrap_err().to_string(),
        "annotations: there are 33 annotations, the limit is 32"
    );
}

#[test]
fn annotations_hold_free_text_of_4096_bytes_together_with_their_keys() {
    let of = |bytes: usize| {
        Annotations::from_map(map([("example.com/note", "any <text>\n"), ("k", &"v".repeat(bytes))]))
    };
    let others = "example.com/note".len() + "any <text>\n".len() + 1;
    assert!(of(4_096 - others).is_ok());
    assert_eq!(
        of(4_097 - others).unwrap_err().to_string(),
        "annotations: keys and values have 4097 bytes together, the limit is 4096 bytes"
    );
}

#[test]
fn bad_annotation_keys_are_refused_without_showing_values() {
    let error = Annotations::try_from(map([("bad key", "hunter2")])).unwrap_err().to_string();
    assert!(error.contains("\"bad key\"") && !error.contains("hunter2"), "{error}");
}
