//! `pi` as a user runs it: a process with a configuration file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use pi_dev::bin_dir;

/// Runs `pi` for one tenant against one cluster.
pub struct Pi {
    config: PathBuf,
    tenant: String,
}

/// What a run ended with.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Pi {
    /// `dir` is the cluster's; its `config` names the gateways.
    #[must_use]
    pub fn new(dir: &Path, tenant: &str) -> Self {
        Self { config: dir.join("config"), tenant: tenant.to_owned() }
    }

    /// The command, to be changed before it runs.
    ///
    /// # Errors
    /// The binaries' place cannot be told.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(bin_dir()?.join("pi"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.config.parent().unwrap_or(Path::new("/")))
            .env("PI_CONFIG", &self.config)
            .env("PI_TOKEN", format!("insecure:{}", self.tenant))
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs it to its end, off the threads of the runtime.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn run(&self, args: &[&str]) -> Result<Ran> {
        let mut command = self.command(args)?;
        let output = tokio::task::spawn_blocking(move || command.output())
            .await?
            .context("cannot run pi; build it with: cargo build --workspace --bins")?;
        Ok(Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs it and expects exit code 0.
    ///
    /// # Panics
    /// It ends otherwise.
    pub async fn ok(&self, args: &[&str]) -> Ran {
        self.ends(args, 0).await
    }

    /// Runs it and expects an exit code.
    ///
    /// # Panics
    /// It ends otherwise.
    pub async fn ends(&self, args: &[&str], code: i32) -> Ran {
        let ran = self.run(args).await.expect("pi runs");
        assert_eq!(ran.code, code, "pi {}: {ran:#?}", args.join(" "));
        ran
    }
}
