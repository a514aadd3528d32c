//! The writer: bytes equal to kubectl's, so that a secret made here and one made there are the same secret.
//!
//! kubectl marshals a Go struct: compact, fields in the order username, password, email, auth, empty ones left out,
//! no newline at the end, and strings escaped as Go's `encoding/json` does it for HTML's sake. `serde_json` escapes
//! otherwise, hence the writer of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A credential for one registry, as a user gives it.
///
/// It has no `Debug`: the password must not be printed by accident.
pub struct Credential {
    /// The registry as the key of the entry, verbatim; [`crate::DEFAULT_SERVER`] where the user named none.
    pub server: String,
    /// The user's name at the registry. One with a colon is written as kubectl writes it, and every reader then
    /// takes what follows the colon for the password; [`super::check`] warns of it.
    pub username: String,
    /// The password or token.
    pub password: Zeroizing<String>,
    /// Kept for compatibility; no registry looks at it.
    pub email: Option<String>,
}

/// The payload that `kubectl create secret docker-registry` makes of this credential, byte for byte.
pub fn write(credential: &Credential) -> Zeroizing<Vec<u8>> {
    let auth = auth(credential);
    let email = credential.email.as_deref().unwrap_or_default();
    document(
        &credential.server,
        &[
            ("username", &credential.username),
            ("password", &credential.password),
            ("email", email),
            ("auth", &auth),
        ],
    )
}

/// The shorter payload `{"auths":{"<server>":{"auth":"…"}}}`, which means the same to every reader: for credentials
/// that exceed the limit when written twice, such as the tokens of Amazon ECR.
pub fn write_auth_only(credential: &Credential) -> Zeroizing<Vec<u8>> {
    document(&credential.server, &[("auth", &auth(credential))])
}

/// Padded base64 of `username:password`.
fn auth(credential: &Credential) -> Zeroizing<String> {
    let (username, password) = (&credential.username, &credential.password);
    let mut joined = Zeroizing::new(String::with_capacity(username.len() + 1 + password.len()));
    joined.push_str(username);
    joined.push(':');
    joined.push_str(password);
    Zeroizing::new(STANDARD.encode(joined.as_bytes()))
}

fn document(server: &str, fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    // Enough for the worst escaping, because growing would leave a copy behind that nobody wipes.
    let bytes_max = 6 * server.len()
        + 64
        + fields.iter().map(|(name, value)| name.len() + 6 * value.len() + 8).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(bytes_max));
    out.extend_from_slice(br#"{"auths":{"#);
    write_string(server, &mut out);
    out.extend_from_slice(b":{");
    let mut separator: &[u8] = b"";
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        out.extend_from_slice(separator);
        write_string(name, &mut out);
        out.push(b':');
        write_string(value, &mut out);
        separator = b",";
    }
    out.extend_from_slice(b"}}}");
    assert!(out.len() <= bytes_max, "the buffer was never grown");
    out
}

/// A JSON string with the escapes of Go's `encoding/json`.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(br#"\""#),
            '\\' => out.extend_from_slice(br"\\"),
            '\u{8}' => out.extend_from_slice(br"\b"),
            '\u{c}' => out.extend_from_slice(br"\f"),
            '\n' => out.extend_from_slice(br"\n"),
            '\r' => out.extend_from_slice(br"\r"),
            '\t' => out.extend_from_slice(br"\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
            }
            _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
