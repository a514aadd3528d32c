//! Runs one external command as a named, timed step. Every task shows its steps the same way.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The workspace's root. Asked for at run time: checkouts that share a target directory share this binary too.
pub fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it: run `cargo xtask`");
    PathBuf::from(xtask).parent().map_or_else(|| PathBuf::from("."), std::path::Path::to_path_buf)
}

/// A cargo command in the workspace's root.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Runs a command, its output passed through, and fails when it fails.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("\n==> {what}");
    let begun = Instant::now();
    let status =
        command.status().with_context(|| format!("{what}: cannot start {:?}", command.get_program()))?;
    let seconds = begun.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{what} failed after {seconds:.1} s ({status}); the command was\n  {}", shown(command));
    }
    eprintln!("    {what}: {seconds:.1} s");
    Ok(())
}

/// A command's standard output, when it succeeds.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// Where cargo puts what it builds for `profile` ("debug" or "release").
pub fn bin_dir(profile: &str) -> Result<PathBuf> {
    let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata)?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?;
    Ok(PathBuf::from(target).join(profile))
}

/// Is there such a program on the PATH?
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
