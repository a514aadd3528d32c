//! One process of a cluster: how it is started, recognised, and ended.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A node of a region: `pi-region`.
    Region,
    /// A gateway: `pi-gateway`.
    Gateway,
}

/// One process, as kept in `cluster.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// What it is.
    pub role: Role,
    /// Its region; empty for a gateway.
    pub region: String,
    /// Its number: a node's id, or a gateway's number, from 1.
    pub node: u64,
    /// Where clients reach it, `127.0.0.1:port`.
    pub address: String,
    /// Where the region's other nodes reach it; empty for a gateway.
    pub raft_address: String,
    /// Its directory: configuration, log, data.
    pub dir: PathBuf,
    /// Its process id when it was last started.
    pub pid: Option<u32>,
    /// When that process started, in the kernel's ticks since boot: tells it from a later one with the same id.
    pub started: Option<u64>,
}

impl Process {
    /// How people call it: `us-central1/2`, `gateway/1`.
    pub fn name(&self) -> String {
        match self.role {
            Role::Region => format!("{}/{}", self.region, self.node),
            Role::Gateway => format!("gateway/{}", self.node),
        }
    }

    /// What it printed.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// Is the process that was started still running?
    pub fn alive(&self) -> bool {
        matches!((self.pid, self.started), (Some(pid), Some(started)) if start_ticks(pid) == Some(started))
    }

    /// Starts it. Its output is appended to [`Process::log`].
    pub(crate) fn spawn(&mut self, settings: &[(String, String)]) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = self.command(settings)?;
        // A group of its own: a Ctrl-C in the terminal reaches pi-dev, which stops the processes in order.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let mut child =
            command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        self.pid = Some(child.id());
        self.started = start_ticks(child.id());
        // Reaps it whenever it ends, so that it never stays a zombie while we live.
        std::thread::spawn(move || child.wait());
        Ok(())
    }

    fn command(&self, settings: &[(String, String)]) -> Result<Command> {
        let mut command = match self.role {
            Role::Region => {
                let mut command = Command::new(binary("pi-region")?);
                command.arg("serve");
                command
            }
            Role::Gateway => Command::new(binary("pi-gateway")?),
        };
        command.arg("--config").arg(self.config());
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        Ok(command)
    }

    /// Sends it a signal; nothing when it is not running.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid.filter(|_| self.alive()).and_then(|pid| Pid::from_raw(pid.try_into().ok()?))
        else {
            return Ok(());
        };
        kill_process(pid, signal).with_context(|| format!("cannot send {signal:?} to {}", self.name()))
    }

    /// Waits until it is gone.
    pub(crate) async fn gone(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        while self.alive() {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// The last lines it printed, for an error message.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// The kernel's start time of a running process; `None` when there is none, or only its remains. A killed process whose
/// last threads are still at an fsync is no remains: it holds its locks and ports until they are through.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields are counted from behind it (proc_pid_stat(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let zombie = fields.next()? == "Z";
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    if zombie && threads <= 1 {
        return None;
    }
    fields.nth(1)?.parse().ok()
}

/// Where our binaries are: `PI_BIN_DIR`, or beside this program.
///
/// # Errors
/// This program's own place cannot be told.
pub fn bin_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("PI_BIN_DIR") {
        return Ok(dir.into());
    }
    let me = std::env::current_exe()?;
    let dir = me.parent().context("this program lies in no directory")?;
    // Tests lie one deeper.
    Ok(if dir.ends_with("deps") { dir.parent().unwrap_or(dir).to_path_buf() } else { dir.to_path_buf() })
}

pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let path = bin_dir()?.join(name);
    if !path.is_file() {
        bail!("{} is not there; build it with: cargo build --workspace --bins", path.display());
    }
    Ok(path)
}

/// Holds a cluster's directory for as long as it lives, against a second `up` at the same time.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let file = File::create(&path)?;
        file.try_lock().map_err(|_| {
            anyhow::anyhow!("another pi-dev is working on {} (it holds {})", dir.display(), path.display())
        })?;
        Ok(Self { _file: file })
    }
}
