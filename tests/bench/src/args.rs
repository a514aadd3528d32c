//! The command line of `pi-bench`, and of the load process it starts.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// Measures Pi Secrets and etcd, in turn, on this machine.
#[derive(Parser)]
#[command(name = "pi-bench", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub task: Option<Task>,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Subcommand)]
pub enum Task {
    /// The load process; started by `pi-bench` itself.
    #[command(hide = true)]
    Load(Load),
}

#[derive(Args)]
pub struct Run {
    /// Seconds of measured load in each round.
    #[arg(long, default_value_t = 6.0)]
    pub seconds: f64,
    /// Seconds of load before each measurement.
    #[arg(long, default_value_t = 1.5)]
    pub warmup: f64,
    /// Rounds of each case; figures are medians over them.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Operation::Create, Operation::Access, Operation::Mixed])]
    pub cases: Vec<Operation>,
    /// How many clients, each with one operation under way.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
    pub clients: Vec<usize>,
    /// Measures Pi Secrets only.
    #[arg(long)]
    pub skip_etcd: bool,
    /// Writes every figure of every round, per process, to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the fresh data directory is made. Default: beside this program.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keeps the data directory.
    #[arg(long)]
    pub keep: bool,
    /// A setting for every region node, as in `pi-region --set KEY=VALUE`; repeat for several.
    #[arg(long = "region-set", value_name = "KEY=VALUE", value_parser = setting)]
    pub region_settings: Vec<(String, String)>,
    /// A setting for the gateway, as in `pi-gateway --set KEY=VALUE`; repeat for several.
    #[arg(long = "gateway-set", value_name = "KEY=VALUE", value_parser = setting)]
    pub gateway_settings: Vec<(String, String)>,
}

impl Run {
    /// Every operation with every number of clients, in the order given.
    pub fn cases(&self) -> Result<Vec<(Operation, usize)>> {
        let sane = |seconds: f64, least: f64| (least..=3_600.0).contains(&seconds);
        anyhow::ensure!(sane(self.seconds, 0.1), "--seconds is {}, expected 0.1 to 3600", self.seconds);
        anyhow::ensure!(sane(self.warmup, 0.0), "--warmup is {}, expected 0 to 3600", self.warmup);
        anyhow::ensure!(self.rounds >= 1, "--rounds is 0, expected at least 1");
        for clients in &self.clients {
            anyhow::ensure!((1..=4_096).contains(clients), "--clients is {clients}, expected 1 to 4096");
        }
        let with_clients = |&operation| self.clients.iter().map(move |&clients| (operation, clients));
        Ok(self.cases.iter().flat_map(with_clients).collect())
    }
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Create secrets that do not exist.
    Create,
    /// Read payloads, linearizably.
    Access,
    /// One create to nine accesses.
    Mixed,
    /// Creates what the other operations access; not measured.
    #[value(hide = true)]
    Prepare,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Access => "access",
            Self::Mixed => "mixed",
            Self::Prepare => "prepare",
        }
    }
}

/// Whose API the load speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    Pi,
    Etcd,
}

impl Api {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pi => "pi",
            Self::Etcd => "etcd",
        }
    }
}

#[derive(Args)]
pub struct Load {
    #[arg(long, value_enum)]
    pub api: Api,
    /// `host:port` of each server; connections are spread over them.
    #[arg(long, value_delimiter = ',', required = true)]
    pub endpoints: Vec<String>,
    #[arg(long, value_enum)]
    pub operation: Operation,
    #[arg(long)]
    pub clients: usize,
    #[arg(long, default_value_t = 0.0)]
    pub warmup: f64,
    #[arg(long, default_value_t = 0.0)]
    pub seconds: f64,
    /// A number no other load of this run has: names of new secrets contain it.
    #[arg(long)]
    pub serial: u32,
}

impl Load {
    /// The arguments that `pi-bench load` parses into this.
    pub fn to_arguments(&self) -> Vec<String> {
        [
            ("--api", self.api.as_str().to_owned()),
            ("--endpoints", self.endpoints.join(",")),
            ("--operation", self.operation.as_str().to_owned()),
            ("--clients", self.clients.to_string()),
            ("--warmup", self.warmup.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--serial", self.serial.to_string()),
        ]
        .into_iter()
        .fold(vec!["load".to_owned()], |mut all, (flag, value)| {
            all.extend([flag.to_owned(), value]);
            all
        })
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_process_understands_what_it_is_started_with() {
        let load = Load {
            api: Api::Etcd,
            endpoints: vec!["127.0.0.1:1".into(), "127.0.0.1:2".into()],
            operation: Operation::Prepare,
            clients: 64,
            warmup: 1.5,
            seconds: 6.0,
            serial: 7,
        };
        let parsed = Arguments::parse_from(["pi-bench".to_owned()].into_iter().chain(load.to_arguments()));
        let Some(Task::Load(parsed)) = parsed.task else { panic!("not a load process") };
        assert_eq!(parsed.to_arguments(), load.to_arguments());
    }

    #[test]
    fn settings_that_measure_nothing_are_refused() {
        for wrong in ["--rounds=0", "--seconds=0", "--warmup=-1", "--clients=0", "--seconds=NaN"] {
            let arguments = Arguments::parse_from(["pi-bench", wrong]);
            assert!(arguments.run.cases().is_err(), "{wrong} was accepted");
        }
        assert_eq!(Arguments::parse_from(["pi-bench"]).run.cases().expect("defaults are valid").len(), 9);
    }
}
