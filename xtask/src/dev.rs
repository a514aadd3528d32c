//! The main job on one machine: a two-region cluster of real processes, then a short demonstration on it.

use std::process::Command;

use anyhow::Result;

use crate::step;

/// Builds, starts the cluster through `pi-dev up`, and shows it at work through `pi-dev demo`.
///
/// # Errors
/// The build, the start or the demonstration failed.
pub fn run(args: &[String]) -> Result<()> {
    eprintln!("Building. The first build on a machine compiles RocksDB: about 16 minutes on two cores.");
    step::run("build", &mut step::cargo(&["build", "--workspace", "--bins", "--locked"]))?;
    let pi_dev = step::bin_dir("debug")?.join("pi-dev");
    step::run("start the cluster", Command::new(&pi_dev).args(["up", "--detach"]).args(args))?;
    let dir: Vec<&String> = match args.iter().position(|arg| arg == "--dir") {
        Some(at) => args[at..].iter().take(2).collect(),
        None => args.iter().filter(|arg| arg.starts_with("--dir=")).collect(),
    };
    step::run("demonstration", Command::new(&pi_dev).arg("demo").args(dir))
}
