//! The configuration file (`~/.pi/config`, or what `PI_CONFIG` names): clusters, users and contexts, shaped like a
//! kubeconfig. Reading (refused when others can read the file), changing and writing it (0600, replaced atomically),
//! and showing it with its keys hidden. Which of its values apply to a run is decided in `settings`.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::hidden::Hidden;
use crate::host::{Host, cause_text, read_file};

/// More than any hand-kept configuration has.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// What `view` prints in place of a key or token; kubectl's word.
pub const REDACTED: &str = "REDACTED";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Always `v1`.
    #[serde(rename = "apiVersion", default = "api_version")]
    pub api_version: String,
    /// Where clusters are.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub clusters: Vec<NamedCluster>,
    /// Which user works in which cluster, region and namespace.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub contexts: Vec<NamedContext>,
    /// The context used when nothing else is asked for; empty for none.
    #[serde(default)]
    pub current_context: String,
    /// Always `Config`.
    #[serde(default = "kind")]
    pub kind: String,
    /// What kubectl writes into such files; read over.
    #[serde(default, skip_serializing)]
    pub preferences: serde::de::IgnoredAny,
    /// Credentials.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub users: Vec<NamedUser>,
}

/// A cluster and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedCluster {
    /// The name contexts refer to.
    pub name: String,
    /// The cluster.
    pub cluster: Cluster,
}

/// Where a cluster is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cluster {
    /// Gateway addresses, `host:port` or `http://host:port`, separated by commas.
    #[serde(default)]
    pub server: String,
}

/// A context and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedContext {
    /// The name `current-context` and `--context` refer to.
    pub name: String,
    /// The context.
    pub context: Context,
}

/// Which user works in which cluster, region and namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Context {
    /// Name of a cluster; empty: the file's only one.
    #[serde(default)]
    pub cluster: String,
    /// The namespace commands work in; absent: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The region (or regions, separated by commas) commands work in; absent: the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Name of a user.
    #[serde(default)]
    pub user: String,
}

/// A user and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedUser {
    /// The name contexts and `--user` refer to.
    pub name: String,
    /// The user.
    pub user: User,
}

/// Credentials, and the region they are mostly used in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct User {
    /// Public half of an API credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<Hidden>,
    /// Secret half of an API credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<Hidden>,
    /// Default region of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A bearer token, sent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Hidden>,
}

fn api_version() -> String {
    "v1".to_owned()
}

fn kind() -> String {
    "Config".to_owned()
}

/// kubectl writes `users: null` for an empty list.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

impl Default for Config {
    fn default() -> Config {
        Config {
            api_version: api_version(),
            clusters: Vec::new(),
            contexts: Vec::new(),
            current_context: String::new(),
            kind: kind(),
            preferences: serde::de::IgnoredAny,
            users: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a configuration from its text. Errors name the place, never a value: values are keys and tokens.
    pub fn parse(text: &str) -> Result<Config, String> {
        if text.trim().is_empty() {
            return Ok(Config::default());
        }
        let config: Config = serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map(|at| format!("line {}, column {}: ", at.line(), at.column()));
            format!(
                "{}not a configuration of pi (kind Config with clusters, contexts, users; an unknown or misspelt \
                 field, or a value of the wrong kind)",
                place.unwrap_or_default()
            )
        })?;
        if config.kind != "Config" {
            return Err(format!("kind is {:?}, expected \"Config\"", config.kind));
        }
        Ok(config)
    }

    /// The file's text.
    pub fn to_yaml(&self) -> Result<Zeroizing<String>, Failure> {
        crate::output::yaml(self).map(Zeroizing::new)
    }

    /// The same with every key and token replaced by [`REDACTED`].
    pub fn redacted(&self) -> Config {
        let mut shown = self.clone();
        for NamedUser { user, .. } in &mut shown.users {
            for secret in [&mut user.access_key, &mut user.secret_key, &mut user.token] {
                *secret = secret.as_ref().map(|_| Hidden::new(REDACTED));
            }
        }
        shown
    }

    /// The cluster of this name.
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|it| it.name == name).map(|it| &it.cluster)
    }

    /// The context of this name.
    pub fn context(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|it| it.name == name).map(|it| &it.context)
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|it| it.name == name).map(|it| &it.user)
    }

    /// The cluster of this name, made when absent.
    pub fn cluster_entry(&mut self, name: &str) -> &mut Cluster {
        let at = self.clusters.iter().position(|it| it.name == name).unwrap_or_else(|| {
            self.clusters.push(NamedCluster { name: name.to_owned(), cluster: Cluster::default() });
            self.clusters.len() - 1
        });
        &mut self.clusters[at].cluster
    }

    /// The context of this name, made when absent.
    pub fn context_entry(&mut self, name: &str) -> &mut Context {
        let at = self.contexts.iter().position(|it| it.name == name).unwrap_or_else(|| {
            self.contexts.push(NamedContext { name: name.to_owned(), context: Context::default() });
            self.contexts.len() - 1
        });
        &mut self.contexts[at].context
    }

    /// The user of this name, made when absent.
    pub fn user_entry(&mut self, name: &str) -> &mut User {
        let at = self.users.iter().position(|it| it.name == name).unwrap_or_else(|| {
            self.users.push(NamedUser { name: name.to_owned(), user: User::default() });
            self.users.len() - 1
        });
        &mut self.users[at].user
    }
}

/// Where the configuration is: `PI_CONFIG`, else `~/.pi/config`.
pub fn path(host: &Host) -> Result<PathBuf, Failure> {
    if let Some(path) = host.var("PI_CONFIG") {
        return Ok(PathBuf::from(path));
    }
    let home = host.home().ok_or_else(|| {
        Failure::local("cannot tell where the configuration is: set HOME, or PI_CONFIG to the file's path")
    })?;
    Ok(home.join(".pi").join("config"))
}

/// Reads the configuration at `path`. A missing file is an empty configuration.
pub fn load(path: &Path) -> Result<Config, Failure> {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(cause) => return Err(Failure::local(format!("error reading {shown}: {}", cause_text(&cause)))),
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::local(format!(
            "the configuration {shown} holds keys and others can read or change it (mode {mode:04o}, expected 0600): \
             run 'chmod 600 {shown}'"
        )));
    }
    let bytes = read_file(path, CONFIG_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::local(format!("{shown}: not UTF-8 text")))?;
    Config::parse(text).map_err(|reason| Failure::local(format!("{shown}: {reason}")))
}

/// Writes the configuration: a new file of mode 0600 beside it, synced, then renamed over it.
pub fn store(path: &Path, config: &Config) -> Result<(), Failure> {
    let failed = |cause: std::io::Error| {
        Failure::local(format!("error writing {}: {}", path.display(), cause_text(&cause)))
    };
    let text = config.to_yaml()?;
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = directory.join(name);
    let write = || {
        let _ = std::fs::remove_file(&beside);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|cause| {
        let _ = std::fs::remove_file(&beside);
        failed(cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "apiVersion: v1
clusters:
- name: dev
  cluster:
    server: http://127.0.0.1:7400
contexts:
- name: tenant
  context:
    cluster: dev
    namespace: prod
    region: us-central1
    user: acme
current-context: tenant
kind: Config
users:
- name: acme
  user:
    access-key: AK
    secret-key: SK-canary
    token: insecure:acme
";

    #[test]
    fn reads_and_writes_the_same_text() {
        let config = Config::parse(SAMPLE).unwrap();
        assert_eq!(config.context("tenant").unwrap().user, "acme");
        assert_eq!(config.to_yaml().unwrap().as_str(), SAMPLE);
    }

    #[test]
    fn an_empty_or_null_file_is_an_empty_configuration() {
        assert_eq!(Config::parse("\n").unwrap(), Config::default());
        let nulls = "apiVersion: v1\nclusters: null\ncontexts: null\ncurrent-context: \"\"\nkind: Config\npreferences: {}\nusers: null\n";
        assert_eq!(Config::parse(nulls).unwrap(), Config::default());
    }

    #[test]
    fn view_and_debug_hide_every_key() {
        let config = Config::parse(SAMPLE).unwrap();
        let shown = config.redacted().to_yaml().unwrap();
        for secret in ["SK-canary", "AK", "insecure:acme"] {
            assert!(!shown.contains(&format!(": {secret}")), "{}", *shown);
        }
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn errors_name_the_place_and_never_the_value() {
        let broken = SAMPLE.replace("secret-key: SK-canary", "secret-kee: SK-canary");
        let reason = Config::parse(&broken).unwrap_err();
        assert!(!reason.contains("canary"), "{reason}");
        assert!(reason.contains("line"), "{reason}");
    }
}
