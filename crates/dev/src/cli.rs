//! The command line of `pi-dev`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use pi_types::RegionName;

use crate::cluster::Cluster;
use crate::process::bin_dir;
use crate::spec::Spec;
use crate::{demo, files};

/// A whole Pi Secrets cluster on this machine: real processes, for development, tests and demonstrations.
#[derive(Parser)]
#[command(name = "pi-dev", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Starts a cluster, or what died of one started before in the same directory, and waits until it serves.
    Up {
        #[command(flatten)]
        dir: Dir,
        /// A region; repeat for several. Default: us-central1 and eu-west1.
        #[arg(long = "region", value_name = "NAME")]
        regions: Vec<RegionName>,
        /// Nodes of each region, 1 to 7.
        #[arg(long, default_value_t = 3, value_name = "N")]
        nodes: u64,
        /// Gateways, 1 to 10.
        #[arg(long, default_value_t = 1, value_name = "N")]
        gateways: usize,
        /// First of the ports used on 127.0.0.1; 0 looks for a free range.
        #[arg(long, default_value_t = 7400, value_name = "BASE")]
        port: u16,
        /// Returns when the cluster serves; without it, Ctrl-C stops the cluster.
        #[arg(long)]
        detach: bool,
    },
    /// Says what is running and who leads.
    Status {
        #[command(flatten)]
        dir: Dir,
        /// Form of the output.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Stops every process. Data stays; `up` resumes it.
    Down {
        #[command(flatten)]
        dir: Dir,
    },
    /// Shows `pi` at work on a running cluster, as a tenant of its own.
    Demo {
        #[command(flatten)]
        dir: Dir,
    },
}

#[derive(clap::Args)]
struct Dir {
    /// Holds configuration, data and logs. Default: ~/.pi-dev.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

impl Dir {
    fn path(self) -> Result<PathBuf> {
        match self.dir {
            Some(dir) => Ok(dir),
            None => Ok(PathBuf::from(std::env::var_os("HOME").context("HOME is not set; use --dir")?)
                .join(".pi-dev")),
        }
    }
}

/// Runs `pi-dev`.
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let runtime = pi_runtime::build(Some(1))?;
    runtime.block_on(async {
        match arguments.command {
            Task::Up { dir, regions, nodes, gateways, port, detach } => {
                let mut spec = Spec { nodes, gateways, base_port: port, ..Spec::new(dir.path()?) };
                if !regions.is_empty() {
                    spec.regions = regions;
                }
                up(spec, if detach { Then::Return } else { Then::Wait }).await
            }
            Task::Status { dir, output } => status(&Cluster::open(&dir.path()?)?, output).await,
            Task::Down { dir } => {
                let mut cluster = Cluster::open(&dir.path()?)?;
                cluster.down().await?;
                println!("Stopped. The data stays in {}.", cluster.spec().dir.display());
                Ok(())
            }
            Task::Demo { dir } => demo::run(&Cluster::open(&dir.path()?)?),
        }
    })
}

/// What `up` does once the cluster serves.
enum Then {
    Return,
    Wait,
}

async fn up(spec: Spec, then: Then) -> Result<()> {
    let mut cluster = Cluster::up(spec, &mut |what| eprintln!("  {what}")).await?;
    let dir = cluster.spec().dir.display().to_string();
    println!("\nThe cluster serves at {}. To use it:\n", cluster.gateways().join(", "));
    println!("  export PATH=\"{}:$PATH\" PI_CONFIG=\"{dir}/config\"", bin_dir()?.display());
    println!("  pi secret create my-secret --docker-server=registry.example.com --docker-username=bob \\");
    println!("    --docker-password-stdin");
    println!("  pi secret list\n  pi info\n");
    println!(
        "You are tenant {}. Status: pi-dev status --dir {dir}   Stop: pi-dev down --dir {dir}",
        files::TENANT
    );
    if matches!(then, Then::Wait) {
        println!("Ctrl-C stops the cluster; its data stays.");
        pi_runtime::shutdown::on_signals()?.requested().await;
        cluster.down().await?;
    }
    Ok(())
}

async fn status(cluster: &Cluster, output: Output) -> Result<()> {
    let processes = cluster.status().await;
    match output {
        Output::Json => {
            println!("{}", serde_json::to_string_pretty(&serde_json::json!({"processes": processes}))?)
        }
        Output::Table => {
            println!("{:<10} {:<16} {:>4} {:>8}  {:<22} LEADER", "ROLE", "REGION", "NODE", "PID", "ADDRESS");
            for p in processes {
                let role = format!("{:?}", p.role).to_lowercase();
                let pid = p.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
                let leader = if p.leader { "yes" } else { "" };
                println!("{role:<10} {:<16} {:>4} {pid:>8}  {:<22} {leader}", p.region, p.node, p.address);
            }
        }
    }
    Ok(())
}
