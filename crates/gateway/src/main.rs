//! `pi-gateway`: command line, logging and signals around the library.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use pi_gateway::Server;
use pi_gateway::config::{Config, ENV_PREFIX};
use pi_runtime::{config, shutdown, telemetry};

/// Routes requests to the regions that they name.
#[derive(Parser)]
#[command(name = "pi-gateway", version)]
struct Arguments {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides one setting: `--set limits.connections_max=100`. Environment: `PI_GATEWAY_LIMITS__CONNECTIONS_MAX`.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Prints the effective configuration and exits.
    #[arg(long)]
    dump_config: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("found `{text}`, expected KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pi-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config: Config = config::load(arguments.config.as_deref(), ENV_PREFIX, &arguments.set)?;
    config.check()?;
    if arguments.dump_config {
        print!("{}", config::dump(&config));
        return Ok(());
    }
    telemetry::init("pi-gateway", config.log.format)?;
    let runtime = pi_runtime::build(Some(config.worker_threads)).context("starting the runtime")?;
    runtime.block_on(async {
        let shutdown = shutdown::on_signals().context("installing signal handlers")?;
        Server::bind(config).await?.run(shutdown).await
    })
}
