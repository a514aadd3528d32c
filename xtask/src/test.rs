//! Builds and runs every test.

use anyhow::Result;

use crate::{step, verify};

/// Verifies, builds the binaries that end-to-end tests start, and runs all tests (or those that match a filter).
///
/// # Errors
/// A check, the build or a test failed.
pub fn run(filter: &[String]) -> Result<()> {
    if filter.is_empty() {
        verify::run()?;
    }
    eprintln!("\nBuilding. The first build on a machine compiles RocksDB: about 16 minutes on two cores.");
    step::run("build", &mut step::cargo(&["build", "--workspace", "--bins", "--locked"]))?;
    step::run(
        "build tests",
        &mut step::cargo(&["test", "--workspace", "--all-targets", "--no-run", "--locked"]),
    )?;
    let mut test = step::cargo(&["test", "--workspace", "--all-targets", "--locked", "--no-fail-fast"]);
    test.env("PI_BIN_DIR", step::bin_dir("debug")?);
    if !filter.is_empty() {
        test.arg("--").args(filter);
    }
    step::run("tests", &mut test)
}
