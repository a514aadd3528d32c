//! Credentials that `docker login` left on this machine: `~/.docker/config.json` and the credential helpers it names.
//! A config that keeps its credentials in a helper has empty entries, which no kubelet can use; so the helper is asked
//! (`docker-credential-NAME get`), with the server on its standard input and nothing secret on any command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use pi_types::docker_config::Credential;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::hidden::Hidden;
use crate::host::{Host, SECRET_INPUT_BYTES_MAX, read_file};

/// How long a helper may take; it may have to unlock a keychain, which asks the user.
const HELPER_TIMEOUT: Duration = Duration::from_secs(60);
/// The user name by which a helper says that the secret is an identity token.
const IDENTITY_TOKEN_USER: &str = "<token>";
/// Docker Hub's key, and the names people use for it.
const HUB: &str = pi_types::DEFAULT_SERVER;
const HUB_HOSTS: [&str; 4] =
    ["index.docker.io", "docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// Padded or not: docker writes it padded, other tools do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What we read of `config.json`. Has no `Debug`: it holds credentials.
#[derive(Default, Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credsStore")]
    creds_store: String,
    #[serde(default, rename = "credHelpers")]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: Hidden,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: Hidden,
    #[serde(default)]
    email: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: Hidden,
}

/// What a helper answers to `get`.
#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: Hidden,
}

/// What was found, and what was not and why.
pub struct Found {
    /// Usable credentials, ordered by server; at least one.
    pub credentials: Vec<Credential>,
    /// Registries that have an entry but no usable credential, each with the reason.
    pub notes: Vec<String>,
}

/// Reads the credential of `server`, or all there are. Not finding any is an error that says where was looked.
pub async fn read(host: &Host, server: Option<&str>) -> Result<Found, Failure> {
    let path = config_path(host)?;
    if !path.exists() {
        return Err(Failure::local(format!(
            "no Docker configuration at {}: run 'docker login' first, or set DOCKER_CONFIG to its directory",
            path.display()
        )));
    }
    let bytes = read_file(&path, 1024 * 1024)?;
    let config: DockerConfig = serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::local(format!(
            "{}: not a Docker configuration (line {line}, column {column})",
            path.display()
        ))
    })?;
    let helpers = Helpers { path: host.var("PATH").map(str::to_owned) };
    let wanted = match server {
        Some(server) => vec![Wanted::one(server, &config)],
        None => Wanted::all(&config, &helpers).await?,
    };
    let mut found = Found { credentials: Vec::new(), notes: Vec::new() };
    for registry in &wanted {
        match registry.resolve(&config, &helpers).await {
            Ok(credential) => found.credentials.push(credential),
            Err(reason) => found.notes.push(format!("{}: {reason}", registry.server)),
        }
    }
    if found.credentials.is_empty() {
        return Err(nothing_usable(&path, &config, &found.notes));
    }
    Ok(found)
}

fn config_path(host: &Host) -> Result<PathBuf, Failure> {
    let directory = match (host.var("DOCKER_CONFIG"), host.home()) {
        (Some(directory), _) => PathBuf::from(directory),
        (None, Some(home)) => home.join(".docker"),
        (None, None) => {
            return Err(Failure::local("cannot tell where ~/.docker is: set HOME or DOCKER_CONFIG"));
        }
    };
    Ok(directory.join("config.json"))
}

fn nothing_usable(path: &Path, config: &DockerConfig, notes: &[String]) -> Failure {
    let mut text = format!("nothing usable in {}", path.display());
    for note in notes {
        text.push_str(&format!("\n  {note}"));
    }
    let known: BTreeSet<&str> =
        config.auths.keys().chain(config.cred_helpers.keys()).map(String::as_str).collect();
    let known =
        if known.is_empty() { "none".to_owned() } else { known.into_iter().collect::<Vec<_>>().join(", ") };
    text.push_str(&format!("\n  registries it has entries for: {known}"));
    text.push_str("\n  run 'docker login SERVER', or give --docker-username and --docker-password-stdin");
    Failure::local(text)
}

/// A registry whose credential is wanted.
struct Wanted {
    /// The key it gets in the payload.
    server: String,
    /// The key of its entry in `auths`, when it has one.
    entry: Option<String>,
    /// The helper to ask, when one is configured.
    helper: Option<String>,
}

impl Wanted {
    /// The registry that the user names; spelled as in the configuration when it has it.
    fn one(server: &str, config: &DockerConfig) -> Wanted {
        let same = |key: &&String| host_of(key) == host_of(server);
        let entry = config
            .auths
            .keys()
            .find(|key| key.as_str() == server)
            .or(config.auths.keys().find(same))
            .cloned();
        let helper =
            config.cred_helpers.iter().find(|it| host_of(it.0) == host_of(server)).map(|it| it.1.clone());
        let store = Some(config.creds_store.clone()).filter(|it| !it.is_empty());
        // Hub has one key that kubelets find, whatever the user called it.
        let server = if is_hub(server) { HUB.to_owned() } else { server.to_owned() };
        Wanted { server, entry, helper: helper.or(store) }
    }

    /// Every registry with an entry, a helper of its own or, when there are neither, whatever the store lists.
    async fn all(config: &DockerConfig, helpers: &Helpers) -> Result<Vec<Wanted>, Failure> {
        let mut servers: BTreeSet<String> =
            config.auths.keys().chain(config.cred_helpers.keys()).cloned().collect();
        if servers.is_empty() && !config.creds_store.is_empty() {
            servers = helpers.list(&config.creds_store).await.map_err(Failure::Local)?;
        }
        let mut hosts = BTreeSet::new();
        let unique = servers.into_iter().filter(|server| hosts.insert(host_of(server)));
        Ok(unique.map(|server| Wanted::one(&server, config)).collect())
    }

    /// Its credential, or why there is none.
    async fn resolve(&self, config: &DockerConfig, helpers: &Helpers) -> Result<Credential, String> {
        let entry = self.entry.as_ref().and_then(|key| config.auths.get(key));
        if let Some(helper) = &self.helper {
            let mut reason = String::new();
            for url in self.spellings() {
                match helpers.get(helper, &url).await {
                    Ok(answer) if answer.username == IDENTITY_TOKEN_USER => {
                        return Err(IDENTITY_TOKEN.to_owned());
                    }
                    Ok(answer) => return self.credential(answer.username, answer.secret, entry),
                    Err(HelperFailure::NotFound(text)) => reason = text,
                    Err(HelperFailure::Broken(text)) => return Err(text),
                }
            }
            if entry.is_none_or(Auth::is_empty) {
                return Err(reason);
            }
        }
        let Some(entry) = entry else {
            return Err("no entry and no credential helper".to_owned());
        };
        if !entry.auth.is_empty() {
            let (username, password) = split_auth(entry.auth.expose())?;
            return self.credential(username, password, Some(entry));
        }
        if !entry.username.is_empty() && !entry.password.is_empty() {
            return self.credential(entry.username.clone(), entry.password.clone(), Some(entry));
        }
        match entry.identity_token.is_empty() {
            true => Err("its entry is empty and no credential helper is configured".to_owned()),
            false => Err(IDENTITY_TOKEN.to_owned()),
        }
    }

    fn credential(
        &self,
        username: String,
        password: Hidden,
        entry: Option<&Auth>,
    ) -> Result<Credential, String> {
        if username.is_empty() || password.is_empty() {
            return Err("its user name or password is empty".to_owned());
        }
        let email = entry.map(|it| it.email.clone()).filter(|it| !it.is_empty());
        let password = Zeroizing::new(password.expose().to_owned());
        Ok(Credential { server: self.server.clone(), username, password, email })
    }

    /// The forms in which a helper may know the server: as in the configuration, as asked for, host only, with scheme.
    fn spellings(&self) -> Vec<String> {
        let host = host_of(&self.server);
        let mut spellings = Vec::new();
        let hub = is_hub(&self.server).then(|| HUB.to_owned());
        let forms = [hub, self.entry.clone(), Some(self.server.clone()), Some(host.clone())];
        for form in forms.into_iter().flatten().chain([format!("https://{host}")]) {
            if !spellings.contains(&form) {
                spellings.push(form);
            }
        }
        spellings
    }
}

const IDENTITY_TOKEN: &str = "it holds an identity token, which kubelets cannot use: log in with a user name and a password or access token";

impl Auth {
    fn is_empty(&self) -> bool {
        self.auth.is_empty() && self.username.is_empty() && self.password.is_empty()
    }
}

/// `host[:port]` of a key of `auths`, with Docker Hub under one name.
fn host_of(server: &str) -> String {
    let rest = server.strip_prefix("https://").or(server.strip_prefix("http://")).unwrap_or(server);
    let host = rest.split('/').next().unwrap_or(rest);
    if HUB_HOSTS.contains(&host) { HUB_HOSTS[0].to_owned() } else { host.to_owned() }
}

fn is_hub(server: &str) -> bool {
    host_of(server) == HUB_HOSTS[0]
}

fn split_auth(auth: &str) -> Result<(String, Hidden), String> {
    let malformed = || "its auth field is not base64 of username:password".to_owned();
    let bytes = Zeroizing::new(BASE64.decode(auth.trim()).map_err(|_| malformed())?);
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
    // Old versions of docker end the password with NUL characters.
    let (username, password) = text.trim_end_matches('\0').split_once(':').ok_or_else(malformed)?;
    Ok((username.to_owned(), Hidden::new(password)))
}

enum HelperFailure {
    /// It works, and has nothing for this server.
    NotFound(String),
    /// It cannot be run or fails in another way.
    Broken(String),
}

/// The credential helpers of this machine.
struct Helpers {
    path: Option<String>,
}

impl Helpers {
    /// The credential a helper has for a server.
    async fn get(&self, name: &str, server: &str) -> Result<HelperAnswer, HelperFailure> {
        let answer = self.run(name, "get", server).await?;
        serde_json::from_slice(&answer).map_err(|_| {
            HelperFailure::Broken(format!(
                "docker-credential-{name} get answered something that is no credential"
            ))
        })
    }

    /// The servers a helper has credentials for.
    async fn list(&self, name: &str) -> Result<BTreeSet<String>, String> {
        let answer = self.run(name, "list", "unused").await.map_err(|failure| match failure {
            HelperFailure::NotFound(text) | HelperFailure::Broken(text) => text,
        })?;
        let servers: BTreeMap<String, String> = serde_json::from_slice(&answer).map_err(|_| {
            format!("docker-credential-{name} list answered something that is no list of servers")
        })?;
        Ok(servers.into_keys().collect())
    }

    async fn run(&self, name: &str, verb: &str, input: &str) -> Result<Zeroizing<Vec<u8>>, HelperFailure> {
        // The name comes from a file; it must not lead to a program outside of PATH.
        let plain = name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.'));
        if name.is_empty() || !plain {
            return Err(HelperFailure::Broken(format!("{name:?} is not the name of a credential helper")));
        }
        let program = format!("docker-credential-{name}");
        let mut command = tokio::process::Command::new(&program);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|cause| {
            let cause = crate::host::cause_text(&cause);
            HelperFailure::Broken(format!(
                "the credential helper {program} cannot be run ({cause}): is it in PATH?"
            ))
        })?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let talk = async {
            if let Some(mut stdin) = stdin {
                // A helper that does not read its input is no failure; its answer decides.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
            let mut output = Zeroizing::new(Vec::with_capacity(16 * 1024));
            if let Some(stdout) = stdout {
                stdout.take(SECRET_INPUT_BYTES_MAX).read_to_end(&mut output).await?;
            }
            Ok::<_, std::io::Error>((child.wait().await?, output))
        };
        let (status, output) = match tokio::time::timeout(HELPER_TIMEOUT, talk).await {
            Ok(Ok(finished)) => finished,
            Ok(Err(cause)) => return Err(HelperFailure::Broken(format!("{program} {verb} failed: {cause}"))),
            Err(_) => {
                let seconds = HELPER_TIMEOUT.as_secs();
                return Err(HelperFailure::Broken(format!(
                    "{program} {verb} did not answer within {seconds} s"
                )));
            }
        };
        if status.success() {
            return Ok(output);
        }
        // Helpers say what is wrong on standard output. Only the known sentence is repeated: the rest is not ours to
        // judge free of secrets.
        match String::from_utf8_lossy(&output).trim() {
            known @ "credentials not found in native keychain" => {
                Err(HelperFailure::NotFound(format!("{program} says: {known}")))
            }
            known @ ("no credentials server URL" | "no credentials username") => {
                Err(HelperFailure::Broken(format!("{program} says: {known}")))
            }
            _ => Err(HelperFailure::Broken(format!(
                "{program} {verb} failed ({status}): run 'echo SERVER | {program} {verb}' to see why"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> DockerConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_server_is_found_however_it_is_spelled() {
        let config = config(
            r#"{"auths":{"https://index.docker.io/v1/":{},"quay.io":{}},"credsStore":"store","credHelpers":{"gcr.io":"gcr"}}"#,
        );
        let one = |server| Wanted::one(server, &config);
        assert_eq!(one("docker.io").server, HUB);
        assert_eq!(one("docker.io").entry.as_deref(), Some(HUB));
        assert_eq!(one("https://quay.io").entry.as_deref(), Some("quay.io"));
        assert_eq!(one("quay.io").helper.as_deref(), Some("store"));
        assert_eq!(one("https://gcr.io").helper.as_deref(), Some("gcr"));
        assert_eq!(one("r.example.com:5000").entry, None);
        assert_eq!(one("quay.io").spellings(), ["quay.io", "https://quay.io"]);
        assert_eq!(one("docker.io").spellings()[0], HUB);
    }

    #[test]
    fn auth_fields_are_split_at_the_first_colon() {
        let (username, password) = split_auth("Ym9iOnA6dw==").unwrap();
        assert_eq!((username.as_str(), password.expose()), ("bob", "p:w"));
        assert!(split_auth("Ym9i").is_err());
        assert!(split_auth("%%%").is_err());
    }
}
