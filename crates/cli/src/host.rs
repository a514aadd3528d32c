//! The world a run of `pi` happens in: environment variables, standard streams, the clock. Passed in, so that
//! commands are tested without touching the process's own.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::failure::Failure;

/// The most a password or a credential on standard input or in a file may have: far above the payload limit, and
/// small enough that a wrong file does not fill the memory.
pub const SECRET_INPUT_BYTES_MAX: u64 = 64 * 1024;

/// Environment variables, standard streams and the time.
pub struct Host {
    vars: BTreeMap<String, String>,
    stdin: Box<dyn Read + Send>,
    stdin_is_terminal: bool,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
}

impl Host {
    /// The process's own. Variables that are not UTF-8 are left out: none of ours can be.
    pub fn process() -> Host {
        Host {
            vars: std::env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            stdin: Box::new(std::io::stdin()),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
        }
    }

    /// A host with the given variables, standard input (not a terminal) and places for the output; for tests and for
    /// embedding.
    pub fn with(
        vars: BTreeMap<String, String>,
        stdin: Box<dyn Read + Send>,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
    ) -> Host {
        Host { vars, stdin, stdin_is_terminal: false, out, err }
    }

    /// An environment variable; an empty one counts as not set.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The user's home directory.
    pub fn home(&self) -> Option<PathBuf> {
        self.var("HOME").map(PathBuf::from)
    }

    /// True when a person can be asked on the terminal.
    pub fn interactive(&self) -> bool {
        self.stdin_is_terminal
    }

    /// Now, in milliseconds since the Unix epoch; only for ages in tables.
    pub fn now_ms(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond()
    }

    /// All of standard input, at most `bytes_max` bytes.
    pub fn read_stdin(&mut self, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, Failure> {
        read_bounded(&mut self.stdin, bytes_max, "standard input")
    }

    /// Writes data to standard output.
    pub fn print(&mut self, data: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.out.write_all(data.as_ref()).and_then(|()| self.out.flush()).map_err(Failure::Output)
    }

    /// Writes one line that is not data to standard error. A closed standard error is no reason to fail.
    pub fn note(&mut self, line: &str) {
        let _ = writeln!(self.err, "{line}");
    }

    /// Writes a warning to standard error.
    pub fn warn(&mut self, text: &str) {
        self.note(&format!("Warning: {text}"));
    }
}

/// Reads everything, refusing more than `bytes_max` bytes; `what` names the source in errors.
pub fn read_bounded(from: &mut dyn Read, bytes_max: u64, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // The buffer is allocated once: growing would leave copies of a secret behind in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    let read = std::io::Read::take(from, bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(|cause| Failure::local(format!("error reading {what}: {}", cause_text(&cause))))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Failure::local(format!("{what} has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Reads a whole file of at most `bytes_max` bytes.
pub fn read_file(path: &std::path::Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let shown = path.display().to_string();
    let mut file = std::fs::File::open(path)
        .map_err(|cause| Failure::local(format!("error reading {shown}: {}", cause_text(&cause))))?;
    read_bounded(&mut file, bytes_max, &shown)
}

/// The operating system's text for an error, in kubectl's form: lower case, no `(os error 2)`.
pub fn cause_text(cause: &std::io::Error) -> String {
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
