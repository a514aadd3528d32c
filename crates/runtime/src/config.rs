//! Configuration sources: a TOML file, then the environment, then `--set` flags; later ones win.
//!
//! Responsible for merging the sources and for errors that name the source, the key, what was found and what was
//! expected. What the settings mean, their defaults and their validation belong to the type that is loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}: line {line}: {reason}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What was found and what was expected.
        reason: String,
    },
    /// A key is unknown, missing, or holds the wrong kind of value.
    #[error("{origin}: key `{key}`: {reason}")]
    Value {
        /// The file, environment variable or flag.
        origin: String,
        /// Dotted path.
        key: String,
        /// What was found and what was expected.
        reason: String,
    },
}

/// Loads a configuration from `path`, from environment variables `PREFIX_SECTION__KEY` and from `overrides`
/// (`("section.key", "value")`, from repeated `--set section.key=value`).
///
/// Values from the environment and from flags are read as TOML and, where they are not TOML, as strings:
/// `--set listen=127.0.0.1:7000`, `--set limits.streams=100`, `--set 'regions=[{name="a", seeds=["b:1"]}]'`.
/// `T` should have `deny_unknown_fields`, so that a misspelt key is an error from every source.
///
/// # Errors
/// See [`Error`].
pub fn load<T: DeserializeOwned + Serialize>(
    path: Option<&Path>,
    env_prefix: &str,
    overrides: &[(String, String)],
) -> Result<T, Error> {
    // A variable that is not Unicode cannot be one of ours.
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let text = path.map(|path| read(path).map(|text| (path, text))).transpose()?;
    from_sources(text.as_ref().map(|(path, text)| (*path, text.as_str())), env_prefix, env, overrides)
}

/// [`load`] with every source injected: the file's name and text, and the environment.
///
/// # Errors
/// See [`Error`].
pub fn from_sources<T: DeserializeOwned>(
    file: Option<(&Path, &str)>,
    env_prefix: &str,
    env: impl Iterator<Item = (String, String)>,
    overrides: &[(String, String)],
) -> Result<T, Error> {
    let mut merged = Merged {
        table: Table::new(),
        origins: BTreeMap::new(),
        file: file.map_or_else(|| "configuration".to_owned(), |(path, _)| path.display().to_string()),
    };
    if let Some((path, text)) = file {
        merged.table = text.parse().map_err(|error| syntax(path, text, &error))?;
    }
    let prefix = format!("{env_prefix}_");
    let mut env: Vec<_> = env.filter(|(name, _)| name.starts_with(&prefix)).collect();
    env.sort();
    for (name, value) in env {
        let key = name[prefix.len()..].to_lowercase().replace("__", ".");
        merged.set(&key, &value, format!("environment variable {name}"))?;
    }
    for (key, value) in overrides {
        merged.set(key, value, format!("flag --set {key}"))?;
    }
    merged.read()
}

/// The effective configuration as TOML, for `--dump-config`.
pub fn dump<T: Serialize>(config: &T) -> String {
    toml::to_string_pretty(config).unwrap_or_else(|error| format!("# cannot be shown as TOML: {error}\n"))
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|reason| Error::Unreadable { path: path.to_owned(), reason })
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    Error::Syntax {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        reason: error.message().to_owned(),
    }
}

/// The sources laid over each other, and where each overridden key came from.
struct Merged {
    table: Table,
    origins: BTreeMap<String, String>,
    file: String,
}

impl Merged {
    fn set(&mut self, key: &str, text: &str, origin: String) -> Result<(), Error> {
        let fail = |reason: &str| Error::Value {
            origin: origin.clone(),
            key: key.to_owned(),
            reason: reason.to_owned(),
        };
        let mut parts: Vec<_> = key.split('.').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(fail("found an empty part, expected section.key"));
        }
        let last = parts.pop().unwrap_or_default();
        let mut table = &mut self.table;
        for part in parts {
            let section = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            table =
                section.as_table_mut().ok_or_else(|| fail("expected a section on the way, found a value"))?;
        }
        table.insert(last.to_owned(), parse_value(text));
        self.origins.insert(key.to_owned(), origin);
        Ok(())
    }

    fn read<T: DeserializeOwned>(self) -> Result<T, Error> {
        serde_path_to_error::deserialize(Value::Table(self.table)).map_err(|error| {
            let key = error.path().to_string();
            // An override may have set the whole section in which the key lies.
            let set_by = self.origins.iter().rev().find(|(set, _)| within(&key, set));
            let origin = set_by.map_or(self.file.clone(), |(_, origin)| origin.clone());
            let reason = error.inner().message().to_owned();
            let key = if key == "." { missing_field(&reason).unwrap_or(key) } else { key };
            Error::Value { origin, key, reason }
        })
    }
}

/// At the root, serde names a missing key only in its message.
fn missing_field(reason: &str) -> Option<String> {
    Some(reason.strip_prefix("missing field `")?.strip_suffix('`')?.to_owned())
}

fn within(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn parse_value(text: &str) -> Value {
    let document = format!("value = {text}");
    match document.parse::<Table>() {
        // More than one key means that the text smuggled in a line break; then it is a plain string.
        Ok(mut table) if table.len() == 1 => {
            table.remove("value").unwrap_or_else(|| Value::String(text.to_owned()))
        }
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        listen: String,
        #[serde(default)]
        limits: Limits,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        streams: u32,
        names: Vec<String>,
    }

    fn sample(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Sample, String> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let flags: Vec<_> = flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        from_sources(Some((Path::new("pi.toml"), file)), "PI_TEST", env, &flags).map_err(|e| e.to_string())
    }

    const FILE: &str = "listen = 'a:1'\n[limits]\nstreams = 1\n";

    #[test]
    fn flags_win_over_the_environment_which_wins_over_the_file() {
        let env = [("PI_TEST_LIMITS__STREAMS", "2"), ("PI_TEST_LISTEN", "b:2"), ("PI_TESTING", "x")];
        let config = sample(FILE, &env, &[("listen", "127.0.0.1:3"), ("limits.names", r#"["x"]"#)]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:3");
        assert_eq!(config.limits, Limits { streams: 2, names: vec!["x".to_owned()] });
    }

    #[test]
    fn an_error_names_source_key_and_what_was_found_and_expected() {
        let error = sample("listen = 'a:1'\n[limits]\nstreams = 'many'\n", &[], &[]).unwrap_err();
        assert_eq!(error, "pi.toml: key `limits.streams`: invalid type: string \"many\", expected u32");
        let error = sample(FILE, &[("PI_TEST_LIMITS__STREAMS", "-1")], &[]).unwrap_err();
        assert!(
            error.starts_with("environment variable PI_TEST_LIMITS__STREAMS: key `limits.streams`: "),
            "{error}"
        );
        let error = sample(FILE, &[], &[("limits.names", "[1]")]).unwrap_err();
        assert!(error.starts_with("flag --set limits.names: key `limits.names[0]`: "), "{error}");
    }

    #[test]
    fn unknown_and_missing_keys_and_broken_files_are_refused() {
        let error = sample(FILE, &[], &[("limits.stream", "1")]).unwrap_err();
        assert!(error.contains("flag --set limits.stream: key `limits.stream`: unknown field"), "{error}");
        let error = sample("", &[], &[]).unwrap_err();
        assert_eq!(error, "pi.toml: key `listen`: missing field `listen`");
        let error = sample("listen = 'a:1'\n[limits\n", &[], &[]).unwrap_err();
        assert!(error.starts_with("pi.toml: line 2: "), "{error}");
        let error = load::<Sample>(Some(Path::new("/nonexistent/pi.toml")), "PI_TEST", &[]).unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/pi.toml: cannot be read"), "{error}");
    }

    #[test]
    fn what_is_dumped_loads_as_the_same() {
        let config = sample(FILE, &[], &[]).unwrap();
        assert_eq!(sample(&dump(&config), &[], &[]).unwrap(), config);
    }
}
