//! The read-only checks, and their mutating twin.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::step;

/// Licences a dependency may have: permissive, or weak copyleft at file level. A package with an `OR` needs one of
/// them, one with an `AND` needs all.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "Apache-2.0 WITH LLVM-exception",
];

/// Format, lints, and the licences and sources of dependencies. Changes nothing.
///
/// # Errors
/// A check failed.
pub fn run() -> Result<()> {
    step::run("format (cargo fmt --check)", &mut step::cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    step::run("lints (cargo clippy)", &mut step::cargo(&clippy))?;
    dependencies().context("dependency policy (xtask/src/verify.rs)")
}

/// Formats and applies what clippy suggests.
///
/// # Errors
/// A command failed.
pub fn fix() -> Result<()> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"];
    step::run("cargo clippy --fix", &mut step::cargo(&clippy))?;
    step::run("cargo fmt", &mut step::cargo(&["fmt", "--all"]))
}

/// Every dependency comes from crates.io and has a licence on the list.
fn dependencies() -> Result<()> {
    let metadata = step::output(&mut step::cargo(&["metadata", "--format-version=1", "--locked"]))?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let mut wrong = BTreeMap::new();
    for package in packages {
        let name = format!("{} {}", package["name"], package["version"]).replace('"', "");
        match package["source"].as_str() {
            None => continue,
            Some("registry+https://github.com/rust-lang/crates.io-index") => {}
            Some(other) => {
                wrong.insert(name.clone(), format!("comes from {other}, not from crates.io"));
            }
        }
        let licence = package["license"].as_str().unwrap_or("");
        if !acceptable(licence) {
            wrong.insert(name, format!("has the licence {licence:?}, which is not on the list"));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.iter().map(|(name, why)| format!("{name} {why}")).collect::<Vec<_>>().join("\n"));
    }
    eprintln!("    licences and sources of {} packages: ok", packages.len());
    Ok(())
}

fn acceptable(expression: &str) -> bool {
    let all = expression.replace('/', " OR ").replace(['(', ')'], " ");
    !expression.is_empty()
        && all.split(" AND ").all(|part| part.split(" OR ").any(|one| LICENCES.contains(&one.trim())))
}
