//! The benchmark: our whole path against etcd's, in one run on one machine.

use std::process::Command;

use anyhow::Result;

use crate::step;

/// Builds with the release profile and runs `pi-bench`.
///
/// # Errors
/// The build or the benchmark failed.
pub fn run(args: &[String]) -> Result<()> {
    eprintln!("Building the release profile. RocksDB comes out of ccache if it was ever compiled here.");
    step::run(
        "build (release)",
        &mut step::cargo(&["build", "--workspace", "--bins", "--release", "--locked"]),
    )?;
    let bin = step::bin_dir("release")?;
    let mut bench = Command::new(bin.join("pi-bench"));
    bench.env("PI_BIN_DIR", &bin).args(args);
    step::run("benchmark", &mut bench)
}
