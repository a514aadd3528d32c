//! Where manifests come from: files, directories and standard input, and how their text falls into documents.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Node;
use crate::failure::Failure;
use crate::host::{Host, cause_text, read_file};

/// The most one file may have: room for hundreds of secrets, and no memory for a wrong file.
const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The text of one file. Has no `Debug`: it holds payloads.
pub struct Source {
    /// The file's path, or `standard input`.
    pub name: String,
    /// Its text.
    pub text: Zeroizing<Vec<u8>>,
}

/// Reads every file that `-f` names: files, `-`, and in directories those that end in .yaml, .yml or .json, by name.
pub fn collect(paths: &[PathBuf], host: &mut Host) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in paths {
        let shown = path.display().to_string();
        if shown == "-" {
            let text = host.read_stdin(MANIFEST_BYTES_MAX)?;
            sources.push(Source { name: "standard input".to_owned(), text });
        } else if shown.starts_with("http://") || shown.starts_with("https://") {
            return Err(Failure::usage(format!(
                "-f {shown}: addresses are not fetched; run 'curl -fsS {shown} | pi … -f -' when you trust it"
            )));
        } else if path.is_dir() {
            for file in manifests_in(path)? {
                sources.push(read(&file)?);
            }
        } else {
            sources.push(read(path)?);
        }
    }
    Ok(sources)
}

fn read(path: &Path) -> Result<Source, Failure> {
    let shown = path.display().to_string();
    if !path.exists() {
        // kubectl's words.
        return Err(Failure::local(format!("the path {shown:?} does not exist")));
    }
    Ok(Source { text: read_file(path, MANIFEST_BYTES_MAX)?, name: shown })
}

fn manifests_in(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let shown = directory.display();
    let failed =
        |cause: std::io::Error| Failure::local(format!("error reading {shown}: {}", cause_text(&cause)));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let wanted = path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
        if wanted && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Failure::local(format!("{shown}: no .yaml, .yml or .json files in this directory")));
    }
    files.sort();
    Ok(files)
}

impl Source {
    /// Splits and parses the text. JSON when it begins with `{` or `[`, else YAML. Errors name the position only.
    pub fn documents(&self) -> Result<Vec<Node>, String> {
        let text = std::str::from_utf8(&self.text).map_err(|_| format!("{}: not UTF-8 text", self.name))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match text.trim_start().bytes().next() {
            None => Ok(Vec::new()),
            Some(b'{' | b'[') => match self.json(text) {
                Ok(documents) => Ok(documents),
                // A flow mapping of YAML begins the same way; the JSON parser's message is the more telling one.
                Err(reason) => self.yaml(text).map_err(|_| reason),
            },
            Some(_) => self.yaml(text),
        }
    }

    fn json(&self, text: &str) -> Result<Vec<Node>, String> {
        let mut documents = Vec::new();
        for document in serde_json::Deserializer::from_str(text).into_iter::<Node>() {
            documents.push(document.map_err(|error| {
                let (line, column) = (error.line(), error.column());
                let index = documents.len() + 1;
                let what = duplicate(&error.to_string()).unwrap_or_else(|| "not valid JSON".to_owned());
                format!("{}: document {index}: line {line}, column {column}: {what}", self.name)
            })?);
        }
        Ok(documents)
    }

    fn yaml(&self, text: &str) -> Result<Vec<Node>, String> {
        // Split here rather than by the parser, so that an error knows which document it is in, and empty documents
        // keep their number. A line that starts with `---` ends a document even inside a block scalar.
        let mut parts = split(text);
        // What comes before a first `---` is no document when it says nothing.
        if parts.len() > 1 && says_nothing(parts[0].1) {
            parts.remove(0);
        }
        let mut documents = Vec::new();
        for (first_line, document) in parts {
            let index = documents.len() + 1;
            if says_nothing(document) {
                documents.push(Node::Null);
                continue;
            }
            let parsed = serde_saphyr::from_str::<Node>(document).map_err(|error| {
                let place = error.location().map_or(String::new(), |at| {
                    format!("line {}, column {}: ", at.line() + first_line as u64, at.column())
                });
                let what = duplicate(&error.without_snippet().to_string());
                let what = what.unwrap_or_else(|| "not valid YAML".to_owned());
                format!("{}: document {index}: {place}{what}", self.name)
            })?;
            documents.push(parsed);
        }
        Ok(documents)
    }
}

/// The part of a parser's message that is safe and useful to show: which key came twice.
fn duplicate(message: &str) -> Option<String> {
    message.contains("duplicate").then(|| "a key is given twice in one object".to_owned())
}

/// True for blank lines and comments.
fn says_nothing(yaml: &str) -> bool {
    yaml.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// Splits YAML at its `---` lines into (number of lines before, text).
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_marker =
            line.strip_prefix("---").is_some_and(|it| it.is_empty() || it.starts_with([' ', '\n', '\r']));
        if is_marker {
            parts.push((start_line, &text[start..offset]));
            // Content may follow the marker on its line; a comment or nothing usually does.
            start = offset + 3;
            start_line = number;
        }
        offset += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts
}
