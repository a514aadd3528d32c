//! The judge before the store: refuses payloads that no kubelet could use, warns of those that never match.
//!
//! Both would otherwise be found hours later, as an image that cannot be pulled. A refusal is an error; a warning
//! leaves the decision with the user, who may have a reader with other rules than a kubelet's.

use super::FIELD;
use super::go_url::{self, GoUrl};
use super::read::{self, RawEntry};
use crate::{DEFAULT_SERVER, Invalid};

/// Hosts of Docker Hub that serve its API or website; images on the Hub are named by `docker.io` or by no host.
const HUB_ALIASES: [&str; 4] =
    ["registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com", "registry.docker.io"];

/// Checks a payload's format (not its size): returns warnings, each a sentence with the right spelling.
///
/// Refused are: what is not a JSON object; the same key twice; no or empty `auths`; an `auth` that does not decode to
/// `username:password`; an entry without credential, be it that a credential store holds it.
pub fn check(bytes: &[u8]) -> Result<Vec<String>, Invalid> {
    let document = read::read(bytes)?;
    let hint = if document.has_helpers {
        "; the credentials are in a credential store on the machine that wrote this file: use \
         'pi secret create NAME --from-docker-config', which asks it"
    } else {
        ""
    };
    let Some(entries) = document.entries else {
        return Err(Invalid::new(format!("{FIELD}.auths"), format!("Required value{hint}")));
    };
    if entries.is_empty() {
        return Err(Invalid::new(format!("{FIELD}.auths"), format!("must have at least one entry{hint}")));
    }
    let mut warnings = Vec::new();
    for entry in &entries {
        if entry.username.is_empty() && entry.password.is_empty() {
            let token =
                if entry.has_token { " (kubelets ignore identitytoken and registrytoken)" } else { "" };
            let reason = format!("has no credential: set auth, or username and password{token}{hint}");
            return Err(Invalid::new(entry.path.clone(), reason));
        }
        warnings.extend(credential_warnings(entry));
        warnings.extend(key_warning(entry));
    }
    Ok(warnings)
}

fn credential_warnings(entry: &RawEntry) -> Vec<String> {
    let path = &entry.path;
    let mut warnings = Vec::new();
    if entry.contradicts_auth {
        warnings.push(format!(
            "{path}: username and password differ from auth, which is the one that counts; a username with a ':' in \
             it is the usual cause"
        ));
    }
    if entry.username.is_empty() {
        warnings.push(format!("{path}: the username is empty"));
    }
    if entry.password.is_empty() {
        let token = if entry.has_token { "; kubelets ignore identitytoken and registrytoken" } else { "" };
        warnings.push(format!("{path}: the password is empty{token}"));
    }
    warnings
}

/// At most one warning for an entry's address: what keeps it from matching images, and how to write it.
fn key_warning(entry: &RawEntry) -> Option<String> {
    let path = &entry.path;
    let key = entry.key.as_str();
    if key.contains(['@', '?', '#']) {
        return Some(format!(
            "{path}: kubelets ignore a user, '?' and '#' in the address: write the registry's host, such as \"quay.io\""
        ));
    }
    let scheme = ["https://", "http://"].into_iter().find(|scheme| key.starts_with(scheme)).unwrap_or("");
    let Some(url) = go_url::parse(&key[scheme.len()..]).filter(|url| !url.host.is_empty()) else {
        return Some(format!(
            "{path}: matches no image, because it is no address: write the registry's host, such as \"quay.io\""
        ));
    };
    let Misspelled { why, right } = misspelled(scheme, &url)?;
    let advice = if read::is_address(&right) { format!(": write {right:?}") } else { String::new() };
    Some(format!("{path}: matches no image under its usual name, because {why}{advice}"))
}

struct Misspelled {
    why: String,
    right: String,
}

/// What is wrong with an address that parses, if anything is.
fn misspelled(scheme: &str, url: &GoUrl) -> Option<Misspelled> {
    let host = url.host.to_ascii_lowercase();
    let (name, port) = host.rsplit_once(':').unwrap_or((&host, ""));
    let has_api_path = matches!(url.path.as_str(), "/v1" | "/v2");
    if HUB_ALIASES.contains(&name) {
        let why = format!("images of Docker Hub are never named by the host {name}");
        return Some(Misspelled { why, right: DEFAULT_SERVER.to_owned() });
    }
    let mut why = Vec::new();
    if host != url.host {
        why.push("capitals in the host must stand in the image's name too".to_owned());
    }
    let is_default_port = port == "443" || (port == "80" && scheme == "http://");
    if is_default_port {
        why.push(format!("the port :{port} must stand in the image's name too"));
    }
    let repository = url.path.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if has_api_path {
        why.push(
            "without a slash at the end the path is taken for the beginning of the image's name".to_owned(),
        );
    } else if repository != url.path {
        why.push(
            "the path is compared with the image's repository, which has neither tag nor capitals".to_owned(),
        );
    }
    if why.is_empty() {
        return None;
    }
    let host = if is_default_port { name } else { &host };
    let slash = if has_api_path { "/" } else { "" };
    let is_hub = matches!(host, "docker.io" | "index.docker.io") && (has_api_path || repository.is_empty());
    let right = if is_hub { DEFAULT_SERVER.to_owned() } else { format!("{scheme}{host}{repository}{slash}") };
    Some(Misspelled { why: why.join("; "), right })
}
