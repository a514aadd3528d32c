//! The order of measurements: each case in several rounds, in each round every system in turn, so that what disturbs
//! the machine for longer than a round disturbs all of them.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use crate::args::{Load, Operation, Run};
use crate::load::{BEGIN, END, Measured};
use crate::proc;
use crate::report::{Case, Part, Round};
use crate::servers::{Server, System};

/// Clients that create what is read later.
const PREPARE_CLIENTS: usize = 64;
/// How long before each measurement nothing is asked of any system, so that work put off by the one before (compaction,
/// snapshots) mostly falls into nobody's time.
const REST: Duration = Duration::from_millis(700);
/// How long beyond its load a load process may live.
const LOAD_SLACK: Duration = Duration::from_secs(30);

/// Creates what accesses will read.
pub async fn prepare(system: &System, run: &Run) -> Result<()> {
    eprintln!("  preparing {}", system.api().as_str());
    let mut process = LoadProcess::start(&Load {
        api: system.api(),
        endpoints: system.endpoints(),
        operation: Operation::Prepare,
        clients: PREPARE_CLIENTS,
        warmup: 0.0,
        seconds: run.seconds,
        serial: 0,
    })?;
    let status = tokio::time::timeout(Duration::from_secs(300), process.child.wait())
        .await
        .context("preparing takes too long")??;
    ensure!(status.success(), "preparing {} failed ({status})", system.api().as_str());
    Ok(())
}

/// Measures every case.
pub async fn all(cases: &[(Operation, usize)], systems: &[System], run: &Run) -> Result<Vec<Case>> {
    let mut serial = 0;
    let mut measured = Vec::with_capacity(cases.len());
    for &(operation, clients) in cases {
        let mut case =
            Case { operation, clients, systems: systems.iter().map(|s| (s.api(), vec![])).collect() };
        for round in 0..run.rounds as usize {
            serial += 1;
            // Who goes first changes every round.
            for turn in 0..systems.len() {
                let which = (turn + round) % systems.len();
                let load = Load {
                    api: systems[which].api(),
                    endpoints: systems[which].endpoints(),
                    operation,
                    clients,
                    warmup: run.warmup,
                    seconds: run.seconds,
                    serial,
                };
                let result = one(&systems[which], &load).await?;
                eprintln!("  {}", result.line(&load, round));
                case.systems[which].1.push(result);
            }
        }
        measured.push(case);
    }
    Ok(measured)
}

/// One round of one system.
async fn one(system: &System, load: &Load) -> Result<Round> {
    tokio::time::sleep(REST).await;
    let servers = system.servers().await?;
    let mut process = LoadProcess::start(load)?;
    let within = Duration::from_secs_f64(load.warmup + load.seconds) + LOAD_SLACK;
    let (before, after, measured) = tokio::time::timeout(within, async {
        process.expect(BEGIN).await?;
        let before = Cpu::now(&servers)?;
        process.expect(END).await?;
        let after = Cpu::now(&servers)?;
        let measured: Measured = serde_json::from_str(&process.line().await?)?;
        let status = process.child.wait().await?;
        ensure!(status.success(), "the load process failed ({status})");
        anyhow::Ok((before, after, measured))
    })
    .await
    .context("the load process does not end")??;
    let parts = servers
        .iter()
        .enumerate()
        .map(|(at, server)| {
            Ok(Part {
                part: server.part.to_owned(),
                node: server.is_node(),
                cpu_seconds: after.servers[at] - before.servers[at],
                resident_bytes: proc::resident_bytes(server.pid)?,
            })
        })
        .collect::<Result<Vec<Part>>>()?;
    let known = parts.iter().map(|part| part.cpu_seconds).sum::<f64>() + measured.load_cpu_seconds;
    let foreign_cpu_seconds = (after.machine - before.machine - known).max(0.0);
    Ok(Round { measured, parts, foreign_cpu_seconds })
}

/// CPU time taken so far.
struct Cpu {
    servers: Vec<f64>,
    machine: f64,
}

impl Cpu {
    fn now(servers: &[Server]) -> Result<Self> {
        let machine = proc::machine_cpu_seconds()?;
        let servers = servers.iter().map(|server| proc::cpu_seconds(server.pid)).collect::<Result<_>>()?;
        Ok(Self { servers, machine })
    }
}

struct LoadProcess {
    child: tokio::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl LoadProcess {
    fn start(load: &Load) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(load.to_arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the load process")?;
        let stdout = child.stdout.take().context("the load process has no output")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    async fn line(&mut self) -> Result<String> {
        self.lines.next_line().await?.context("the load process ended early")
    }

    async fn expect(&mut self, expected: &str) -> Result<()> {
        let line = self.line().await?;
        if line != expected {
            bail!("the load process says {line:?} instead of {expected:?}");
        }
        Ok(())
    }
}
