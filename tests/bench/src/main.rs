//! `pi-bench`: how fast the whole path of Pi Secrets is, and how fast etcd is on the same machine in the same run.
//!
//! This file is the command line and the order of things. Starting servers is in `servers`, the load (a process of its
//! own: this program again, as `pi-bench load`) in `load` and `target`, reading `/proc` in `proc`, the machine's
//! description in `machine`, and figures and their table in `report`. How to read them: `docs/benchmarks.md`.

mod args;
mod etcd;
mod load;
mod machine;
mod proc;
mod report;
mod rounds;
mod servers;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use args::{Arguments, Run, Task};
use report::Report;
use servers::{Etcd, Pi, System};
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.task {
        // One thread: the generator shall take little of the cores it shares with what it measures.
        Some(Task::Load(load)) => pi_runtime::build(Some(1)).map_err(Into::into).and_then(|runtime| {
            runtime.block_on(load::run(&load))?;
            Ok(ExitCode::SUCCESS)
        }),
        None => pi_runtime::build(Some(1))
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(benchmark(&arguments.run))),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Starts the servers, measures, prints, and ends the servers whatever happened.
async fn benchmark(run: &Run) -> Result<ExitCode> {
    let mut stop = Signals::install()?;
    let etcd_binary = if run.skip_etcd { None } else { Some(etcd::binary()?) };
    let base = match &run.dir {
        Some(dir) => dir.clone(),
        // Not the system's temporary directory: that may be memory.
        None => own_directory()?,
    };
    let dir = tempfile::Builder::new()
        .prefix("pi-bench-")
        .tempdir_in(&base)
        .with_context(|| format!("cannot make a directory in {}", base.display()))?;
    let machine = machine::describe(dir.path())?;
    eprintln!("{machine}");

    let mut systems = Vec::new();
    let measured = tokio::select! {
        measured = measure(run, dir.path(), etcd_binary, &mut systems) => measured,
        name = stop.next() => Err(anyhow::anyhow!("interrupted by {name}")),
    };
    // Further signals find the handlers still installed and do nothing: stopping takes a bounded time, and cut short it
    // would leave servers running.
    let mut ended = Pi::stop(dir.path()).await;
    for system in &mut systems {
        if let System::Etcd(etcd) = system {
            ended = ended.and(etcd.stop().await);
        }
    }
    if measured.is_err() || run.keep {
        eprintln!("data and logs are kept in {}", dir.keep().display());
    }
    let report = Report { machine, cases: measured? };
    ended?;

    println!("{}", report.table());
    for remark in report.remarks() {
        println!("{remark}");
    }
    if let Some(path) = &run.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if report.valid() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Fills `systems` as it starts them; the caller ends what is running, whatever happened.
async fn measure(
    run: &Run,
    dir: &std::path::Path,
    etcd_binary: Option<PathBuf>,
    systems: &mut Vec<System>,
) -> Result<Vec<report::Case>> {
    let cases = run.cases()?;
    if cases.is_empty() {
        bail!("nothing to measure: --cases and --clients select no case");
    }
    let pi = Pi::start(dir, run).await?;
    pi.raise_quotas(target::TENANTS).await?;
    systems.push(System::Pi(Box::new(pi)));
    if let Some(binary) = etcd_binary {
        systems.push(System::Etcd(Etcd::start(&binary, dir).await?));
    }
    for system in systems.iter() {
        rounds::prepare(system, run).await?;
    }
    rounds::all(&cases, systems, run).await
}

/// SIGINT and SIGTERM. Not `pi_runtime`'s: there a second signal ends the process at once.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn install() -> Result<Self> {
        let install = |kind| signal(kind).context("cannot install a signal handler");
        Ok(Self {
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

fn own_directory() -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    Ok(me.parent().context("this program lies in no directory")?.to_path_buf())
}
