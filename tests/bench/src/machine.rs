//! What the figures were measured on: without it they mean nothing.

use std::fmt;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

/// Synced writes that are timed.
const SYNCS: usize = 300;
/// Bytes of each.
const SYNC_BYTES: usize = 4_096;

/// The machine, as printed above every result.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub kernel: String,
    /// Milliseconds that a write of 4 KiB and its fdatasync took, in the directory of the servers' data.
    pub sync_p50_ms: f64,
    pub sync_p99_ms: f64,
    /// The load average over a minute before the run: above 0, something else was running.
    pub load_before: f64,
    /// When the run began, in seconds since the Unix epoch.
    pub began_unix_s: u64,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, {:.0} GiB, Linux {}; 4 KiB write + fdatasync p50 {:.2} ms, p99 {:.2} ms; load average {:.1}",
            self.cpu,
            self.cores,
            self.memory_bytes as f64 / f64::from(1 << 30),
            self.kernel,
            self.sync_p50_ms,
            self.sync_p99_ms,
            self.load_before,
        )
    }
}

/// Looks at the machine and times the disk that `dir` is on.
pub fn describe(dir: &Path) -> Result<Machine> {
    let cpuinfo = read("/proc/cpuinfo")?;
    let cpu = field(&cpuinfo, "model name").unwrap_or("unknown CPU").to_owned();
    let meminfo = read("/proc/meminfo")?;
    let kibibytes =
        field(&meminfo, "MemTotal").and_then(|text| text.strip_suffix(" kB")?.trim().parse().ok());
    let loadavg = read("/proc/loadavg")?;
    let (sync_p50_ms, sync_p99_ms) = time_syncs(dir)?;
    Ok(Machine {
        cpu,
        cores: std::thread::available_parallelism()?.get(),
        memory_bytes: kibibytes.map_or(0, |kibibytes: u64| kibibytes * 1_024),
        kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        sync_p50_ms,
        sync_p99_ms,
        load_before: loadavg.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
        began_unix_s: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs(),
    })
}

fn time_syncs(dir: &Path) -> Result<(f64, f64)> {
    let mut file = tempfile::tempfile_in(dir).context("cannot write into the data directory")?;
    // Written before it is timed: a log file that grows pays for its metadata too, which is not what is asked here.
    file.write_all(&vec![0; SYNC_BYTES * SYNCS])?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[1; SYNC_BYTES])?;
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[SYNCS / 2], times[SYNCS * 99 / 100]))
}

/// `name : value` or `name: value`, the first there is.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim()))
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}
