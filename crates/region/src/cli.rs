//! The command line of `pi-region`: `init`, `serve`, `--dump-config`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use pi_runtime::{config, shutdown, telemetry};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};

use crate::config::{Checked, Config, ENV_PREFIX};
use crate::node;

/// A node of a Pi Secrets region.
#[derive(Debug, Parser)]
#[command(name = "pi-region", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Formats the data directory of a new node. Refuses a directory that is not empty.
    Init(Source),
    /// Runs the node.
    Serve(Source),
}

/// Where the configuration comes from. Later sources win: file, environment (`PI_REGION_SECTION__KEY`), `--set`.
#[derive(Debug, Args)]
struct Source {
    /// The TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides one key: `--set raft.heartbeat_ms=200`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    overrides: Vec<(String, String)>,
    /// Prints the effective configuration as TOML and exits.
    #[arg(long)]
    dump_config: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as raft.heartbeat_ms=200")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the program; everything it does ends here, with a cause on stderr and an exit code.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain, once: what was being done, and every cause below.
            eprintln!("pi-region: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let (Command::Init(source) | Command::Serve(source)) = &cli.command;
    let loaded: Config = config::load(source.config.as_deref(), ENV_PREFIX, &source.overrides)?;
    if source.dump_config {
        print!("{}", config::dump(&loaded));
        return Ok(());
    }
    let checked = loaded.check()?;
    harden()?;
    telemetry::init("pi-region", checked.plain.log.format)?;
    match cli.command {
        Command::Init(_) => node::init(&checked),
        Command::Serve(_) => serve(checked),
    }
}

fn serve(config: Checked) -> anyhow::Result<()> {
    let runtime = pi_runtime::build(config.plain.worker_threads).context("starting the runtime")?;
    runtime.block_on(async {
        let shutdown = shutdown::on_signals().context("installing signal handlers")?;
        node::serve(config, shutdown).await
    })
}

/// No core dumps, which would hold payloads; files of this process are its user's alone.
fn harden() -> anyhow::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .context("turning core dumps off")?;
    umask(Mode::RWXG | Mode::RWXO);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn overrides_need_a_key_and_a_value() {
        assert_eq!(key_value("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(key_value("a.b").is_err());
    }
}
