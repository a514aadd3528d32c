//! Kubernetes' syntax rules for names and labels, with Kubernetes' own error texts.
//!
//! Ported from `k8s.io/apimachinery/pkg/util/validation`, so that a manifest that Kubernetes accepts is accepted here
//! and a user who is refused reads the sentence that is known from there. Each function returns every rule that the
//! value breaks, joined by "; ". Which field it was is left to the caller.

use crate::limits;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

// The two spaces are Kubernetes' own.
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const QUALIFIED_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
    an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// A DNS-1123 subdomain of at most 253 bytes: the names of secrets.
pub(crate) fn subdomain(value: &str) -> Result<(), String> {
    let mut broken = too_long(value, limits::NAME_BYTES_MAX);
    if !value.split('.').all(is_dns_label) {
        broken.push(SUBDOMAIN.to_owned());
    }
    verdict(broken)
}

/// A DNS-1123 label of at most 63 bytes: namespaces, tenants, regions, clusters.
pub(crate) fn label(value: &str) -> Result<(), String> {
    let mut broken = too_long(value, limits::NAMESPACE_BYTES_MAX);
    if !is_dns_label(value) {
        broken.push(LABEL.to_owned());
    }
    verdict(broken)
}

/// The key of a label or annotation: an optional DNS-1123 subdomain and `/`, then a name of at most 63 bytes.
pub(crate) fn qualified_name(value: &str) -> Result<(), String> {
    let mut parts = value.split('/');
    let (prefix, name) = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => (None, name),
        (Some(prefix), Some(name), None) => (Some(prefix), name),
        _ => {
            return Err(format!(
                "a qualified name {QUALIFIED_NAME} with an optional DNS subdomain prefix and '/' \
                 (e.g. 'example.com/MyName')"
            ));
        }
    };
    let mut broken = Vec::new();
    match prefix {
        None => {}
        Some("") => broken.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => broken.extend(subdomain(prefix).err().map(|why| format!("prefix part {why}"))),
    }
    if name.is_empty() {
        broken.push("name part must be non-empty".to_owned());
    }
    broken.extend(
        too_long(name, limits::LABEL_NAME_BYTES_MAX).into_iter().map(|why| format!("name part {why}")),
    );
    if !is_label_text(name) {
        broken.push(format!("name part {QUALIFIED_NAME}"));
    }
    verdict(broken)
}

/// The value of a label: empty, or at most 63 bytes of the name part's alphabet.
pub(crate) fn label_value(value: &str) -> Result<(), String> {
    let mut broken = too_long(value, limits::LABEL_VALUE_BYTES_MAX);
    if !value.is_empty() && !is_label_text(value) {
        broken.push(LABEL_VALUE.to_owned());
    }
    verdict(broken)
}

/// Kubernetes says characters and counts bytes; what passes the other rules is ASCII, where they are the same.
fn too_long(value: &str, bytes_max: usize) -> Vec<String> {
    if value.len() > bytes_max {
        vec![format!("must be no more than {bytes_max} characters")]
    } else {
        Vec::new()
    }
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
fn is_dns_label(value: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    is_enclosed(value, alphanumeric, |byte| alphanumeric(byte) || byte == b'-')
}

/// `([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]`
fn is_label_text(value: &str) -> bool {
    is_enclosed(
        value,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
    )
}

/// Not empty, the first and the last byte satisfy `edge`, every byte satisfies `inner`.
fn is_enclosed(value: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    match value.as_bytes() {
        [] => false,
        bytes @ [first, ..] => {
            edge(*first)
                && bytes.last().is_some_and(|last| edge(*last))
                && bytes.iter().all(|byte| inner(*byte))
        }
    }
}

fn verdict(broken: Vec<String>) -> Result<(), String> {
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ")) }
}
