//! Running the built `pi` in a home directory of its own.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A home directory, and the variables that `pi` runs with.
pub struct Home {
    pub directory: TempDir,
    vars: Vec<(String, String)>,
}

/// What a run ended with.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Home {
    pub fn new() -> Home {
        Home { directory: TempDir::new().expect("a temporary directory"), vars: Vec::new() }
    }

    pub fn var(mut self, name: &str, value: impl Into<String>) -> Home {
        self.vars.push((name.to_owned(), value.into()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, with its directories.
    pub fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a directory")).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    pub fn pi(&self, args: &[&str]) -> Ran {
        self.pi_with(args, "", self.directory.path())
    }

    pub fn pi_stdin(&self, args: &[&str], stdin: &str) -> Ran {
        self.pi_with(args, stdin, self.directory.path())
    }

    pub fn pi_with(&self, args: &[&str], stdin: &str, directory: &Path) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pi"))
            .args(args)
            .current_dir(directory)
            .env_clear()
            .env("HOME", self.directory.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.vars.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pi starts");
        // A run that does not read its input closes the pipe, which is no failure of the test.
        let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
        let output = child.wait_with_output().expect("pi ends");
        Ran {
            code: output.status.code().expect("an exit code"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl Ran {
    /// Exit code 0 and exactly this on standard output.
    #[track_caller]
    pub fn prints(&self, out: &str) -> &Ran {
        assert_eq!((self.code, self.out.as_str()), (0, out), "standard error: {}", self.err);
        self
    }

    /// This exit code, nothing on standard output, and this in standard error.
    #[track_caller]
    pub fn fails(&self, code: i32, err: &str) -> &Ran {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "standard error: {}", self.err);
        assert!(self.err.contains(err), "expected {err:?} in {:?}", self.err);
        self
    }
}
