//! The strict reader: from bytes to entries, as a kubelet reads them, refusing what is malformed or ambiguous.
//!
//! A kubelet decodes with Go's `encoding/json`, which takes the last of two equal keys and field names in any case.
//! Two readers of such a document could see two credentials, so this one refuses both. Whether an entry is of any
//! use is left to [`super::lint`].

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::FIELD;
use crate::{Invalid, limits};

/// What was read.
pub(super) struct Document {
    /// In the order of the document; `None` where there is no `auths`.
    pub(super) entries: Option<Vec<RawEntry>>,
    /// `credsStore` or `credHelpers` is there: the credentials are somewhere on the user's machine.
    pub(super) has_helpers: bool,
}

/// One entry of `auths`.
pub(super) struct RawEntry {
    /// The registry's address as written.
    pub(super) key: Zeroizing<String>,
    /// Where the entry stands, for errors and warnings.
    pub(super) path: String,
    /// What a kubelet sends: from `auth` where there is one, else from the fields.
    pub(super) username: Zeroizing<String>,
    /// What a kubelet sends.
    pub(super) password: Zeroizing<String>,
    /// `username` and `password` are set and say something else than `auth`, which wins.
    pub(super) contradicts_auth: bool,
    /// `identitytoken` or `registrytoken` is set, which kubelets ignore.
    pub(super) has_token: bool,
}

/// Reads a document; the error names the first place that is wrong and never shows what stands there.
pub(super) fn read(bytes: &[u8]) -> Result<Document, Invalid> {
    let node: Node = serde_json::from_slice(bytes).map_err(|error| {
        // Not the error's own text, which may quote the input.
        let reason = format!("is not valid JSON, at line {} column {}", error.line(), error.column());
        Invalid::new(FIELD, reason)
    })?;
    let Node::Object(fields) = node else {
        return Err(Invalid::new(FIELD, format!("must be a JSON object, but is {}", node.kind())));
    };
    let fields = Fields::new(FIELD, &fields, &["auths", "HttpHeaders"])?;
    check_headers(&fields)?;
    let entries = match fields.get("auths") {
        None | Some(Node::Null) => None,
        Some(Node::Object(auths)) => Some(read_auths(auths)?),
        Some(other) => return Err(fields.wrong_kind("auths", "a JSON object", other)),
    };
    let has_helpers = fields.get("credsStore").or(fields.get("credHelpers")).is_some();
    Ok(Document { entries, has_helpers })
}

fn read_auths(auths: &[(Key, Node)]) -> Result<Vec<RawEntry>, Invalid> {
    let auths_path = format!("{FIELD}.auths");
    check_duplicates(&auths_path, auths)?;
    auths
        .iter()
        .enumerate()
        .map(|(at, (key, node))| {
            let path = format!("{auths_path}[{}]", shown_key(key, at));
            match node {
                Node::Object(fields) => read_entry(key, path, fields),
                Node::Null => read_entry(key, path, &[]),
                other => Err(Invalid::new(path, format!("must be a JSON object, but is {}", other.kind()))),
            }
        })
        .collect()
}

fn read_entry(key: &Key, path: String, fields: &[(Key, Node)]) -> Result<RawEntry, Invalid> {
    let fields = Fields::new(&path, fields, &["username", "password", "email", "auth"])?;
    let username = fields.text("username")?;
    let password = fields.text("password")?;
    fields.text("email")?;
    let auth = fields.text("auth")?;
    let has_token = ["identitytoken", "registrytoken"].iter().any(|name| fields.get(name).is_some());
    let mut entry = RawEntry {
        key: key.clone(),
        username: Zeroizing::new(username.to_owned()),
        password: Zeroizing::new(password.to_owned()),
        contradicts_auth: false,
        has_token,
        path: path.clone(),
    };
    if !auth.is_empty() {
        let (auth_username, auth_password) =
            decode_auth(auth).map_err(|reason| Invalid::new(format!("{path}.auth"), reason))?;
        entry.contradicts_auth = (!username.is_empty() && username != auth_username.as_str())
            || (!password.is_empty() && password != auth_password.as_str());
        (entry.username, entry.password) = (auth_username, auth_password);
    }
    Ok(entry)
}

type Text = Zeroizing<String>;

/// Go's decoder: padded or not, as the end of the text says; line breaks ignored; stray bits at the end too.
fn decode_auth(auth: &str) -> Result<(Text, Text), &'static str> {
    const PADDED: GeneralPurpose = decoder(DecodePaddingMode::RequireCanonical);
    const UNPADDED: GeneralPurpose = decoder(DecodePaddingMode::RequireNone);
    // Both buffers are as large as they can get, because growing one would leave a copy behind that nobody wipes.
    let mut compact = Zeroizing::new(Vec::with_capacity(auth.len()));
    compact.extend(auth.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(compact.len())]);
    let decoder = if auth.trim().ends_with('=') { PADDED } else { UNPADDED };
    let bytes = decoder.decode_slice(&compact, &mut decoded).map_err(
        |_| "unable to parse auth field, must be formatted as base64(username:password): it is not base64",
    )?;
    decoded.truncate(bytes);
    let text = std::str::from_utf8(&decoded).map_err(
        |_| "unable to parse auth field, the decoded text is not UTF-8, which no container runtime accepts",
    )?;
    let (username, password) = text.split_once(':').ok_or(
        "unable to parse auth field, must be formatted as base64(username:password): there is no ':' in it",
    )?;
    Ok((Zeroizing::new(username.to_owned()), Zeroizing::new(password.to_owned())))
}

const fn decoder(padding: DecodePaddingMode) -> GeneralPurpose {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(padding).with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&base64::alphabet::STANDARD, config)
}

/// A kubelet decodes `HttpHeaders` into a map of texts and gives up on the document when it is none.
fn check_headers(fields: &Fields<'_>) -> Result<(), Invalid> {
    match fields.get("HttpHeaders") {
        None | Some(Node::Null) => Ok(()),
        Some(Node::Object(headers)) => {
            match headers.iter().find(|(_, value)| !matches!(value, Node::Text(_) | Node::Null)) {
                None => Ok(()),
                Some((_, value)) => Err(fields.wrong_kind("HttpHeaders", "an object of strings", value)),
            }
        }
        Some(other) => Err(fields.wrong_kind("HttpHeaders", "an object of strings", other)),
    }
}

/// The fields of one object, known to be unambiguous.
struct Fields<'a> {
    path: &'a str,
    fields: &'a [(Key, Node)],
}

impl<'a> Fields<'a> {
    /// Refuses duplicates, and names that differ from a known one in case only: a kubelet would take them for it.
    fn new(path: &'a str, fields: &'a [(Key, Node)], known: &[&str]) -> Result<Self, Invalid> {
        check_duplicates(path, fields)?;
        for (key, _) in fields {
            if let Some(name) =
                known.iter().find(|name| key.as_str() != **name && folded(key) == folded(name))
            {
                let reason = format!("is spelled with other capitals: write {name:?}");
                return Err(Invalid::new(format!("{path}.{name}"), reason));
            }
        }
        Ok(Self { path, fields })
    }

    fn get(&self, name: &str) -> Option<&'a Node> {
        self.fields.iter().find(|(key, _)| key.as_str() == name).map(|(_, node)| node)
    }

    /// A string; empty where it is missing or null, as in Go.
    fn text(&self, name: &str) -> Result<&'a str, Invalid> {
        match self.get(name) {
            None | Some(Node::Null) => Ok(""),
            Some(Node::Text(text)) => Ok(text),
            Some(other) => Err(self.wrong_kind(name, "a string", other)),
        }
    }

    fn wrong_kind(&self, name: &str, expected: &str, found: &Node) -> Invalid {
        let path = format!("{}.{name}", self.path);
        Invalid::new(path, format!("must be {expected}, but is or contains {}", found.kind()))
    }
}

/// Equal for names that Go's `encoding/json` takes for the same: it folds simple Unicode case, such as `ſ` to `s`.
fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

fn check_duplicates(path: &str, fields: &[(Key, Node)]) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    match fields.iter().position(|(key, _)| !seen.insert(key.as_str())) {
        None => Ok(()),
        Some(at) => Err(Invalid::new(
            path,
            format!(
                "has the same key twice ({}); readers disagree on which one counts",
                shown_key(&fields[at].0, at)
            ),
        )),
    }
}

/// How errors name a key: itself where it looks like a registry's address or a field name, else by its position, for
/// a user may have put anything there, even a URL with a password.
fn shown_key(key: &str, at: usize) -> String {
    const FIELDS: [&str; 9] = [
        "auths",
        "HttpHeaders",
        "credsStore",
        "credHelpers",
        "username",
        "password",
        "email",
        "auth",
        "identitytoken",
    ];
    if is_address(key) || FIELDS.contains(&key) { format!("{key:?}") } else { format!("entry {}", at + 1) }
}

/// Whether a text looks like a registry's address, so that it may be shown: dotted labels of a host, or a port, and
/// no text beside them in which a user name, password or token could stand.
pub(super) fn is_address(key: &str) -> bool {
    let address = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = address.split('/').next().unwrap_or_default();
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    key.len() <= limits::NAME_BYTES_MAX
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/*".contains(&byte))
        && (name.contains('.') || name == "localhost" || port.is_some())
        && name.split('.').all(|label| (1..=HOST_LABEL_BYTES_MAX).contains(&label.len()))
        && port.is_none_or(|port| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The domain name system's bound; the parts of a signed token, which are dotted too, are longer.
const HOST_LABEL_BYTES_MAX: usize = 63;

/// JSON text that is wiped when dropped.
type Key = Zeroizing<String>;

/// As much of a JSON document as matters here, with duplicate keys kept.
enum Node {
    Null,
    Text(Key),
    Object(Vec<(Key, Node)>),
    Array,
    Number,
    Bool,
}

impl Node {
    fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Text(_) => "a string",
            Node::Object(_) => "an object",
            Node::Array => "an array",
            Node::Number => "a number",
            Node::Bool => "true or false",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Bool)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, node)) = map.next_entry::<String, Node>()? {
            fields.push((Zeroizing::new(key), node));
        }
        Ok(Node::Object(fields))
    }
}
