//! What the kernel says of processes: CPU time and resident memory, from `/proc`.

use anyhow::{Context, Result};

/// `sysconf(_SC_CLK_TCK)`: 100 on every Linux that Rust supports (`USER_HZ` is part of the kernel's interface).
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time a process took since it started, all its threads together.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    let parsed = || {
        // The name, in parentheses, may hold anything; fields are counted from behind it (proc_pid_stat(5): utime is
        // the 14th field, state the 3rd).
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some((user + system) as f64 / TICKS_PER_SECOND)
    };
    parsed().with_context(|| format!("/proc/{pid}/stat has an unknown form"))
}

/// Resident memory in bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let kibibytes = || {
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
    };
    let kibibytes: u64 = kibibytes().with_context(|| format!("/proc/{pid}/status has no VmRSS"))?;
    Ok(kibibytes * 1_024)
}

/// CPU time that all processes of the machine took since it started.
pub fn machine_cpu_seconds() -> Result<f64> {
    let stat = read("/proc/stat")?;
    let busy = || {
        // user nice system idle iowait irq softirq steal; guest time is contained in user.
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some((ticks.iter().take(8).sum::<u64>() - idle) as f64 / TICKS_PER_SECOND)
    };
    busy().context("/proc/stat has an unknown form")
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_figures_are_read() {
        let before = (cpu_seconds(std::process::id()).expect("own"), machine_cpu_seconds().expect("machine"));
        let until = std::time::Instant::now() + std::time::Duration::from_millis(200);
        while std::time::Instant::now() < until {
            std::hint::black_box(0);
        }
        let after = (cpu_seconds(std::process::id()).expect("own"), machine_cpu_seconds().expect("machine"));
        assert!(after.0 > before.0, "200 ms of work left no trace in the process's CPU time");
        assert!(after.1 > before.1, "200 ms of work left no trace in the machine's CPU time");
        assert!(resident_bytes(std::process::id()).expect("memory") > 100_000);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        // Above the kernel's largest process id (4,194,304).
        assert!(cpu_seconds(5_000_000).is_err());
        assert!(resident_bytes(5_000_000).is_err());
    }
}
