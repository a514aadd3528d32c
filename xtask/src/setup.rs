//! What the build needs beyond git and a Rust toolchain, and how it gets there.
//!
//! RocksDB is C++ (a compiler) and its binding is generated (libclang). ccache is needed because
//! `.cargo/config.toml` compiles C++ through it: RocksDB's 16 minutes are then paid once per machine, not once per
//! profile or checkout.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::step;

struct Need {
    what: &'static str,
    package: &'static str,
    present: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need { what: "a C++ compiler (g++)", package: "g++", present: || step::on_path("g++") },
    Need { what: "ccache", package: "ccache", present: || step::on_path("ccache") },
    Need { what: "libclang", package: "libclang-dev", present: libclang },
];

/// Installs what is missing, or says how.
///
/// # Errors
/// Something is missing and cannot be installed here; the message has the line to run.
pub fn run() -> Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let names: Vec<&str> = missing.iter().map(|need| need.what).collect();
    let line = format!("apt-get update && apt-get install -y {}", packages.join(" "));
    if !(step::on_path("apt-get") && is_root()) {
        bail!(
            "missing: {}. Run this and try again:\n  sudo sh -c '{line}'\n\
             (not Debian or Ubuntu: install the same with your package manager)",
            names.join(", ")
        );
    }
    eprintln!("missing: {}", names.join(", "));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    step::run("apt-get update", &mut apt(&["update", "-qq"]))?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&packages);
    step::run("apt-get install", &mut apt(&install))?;
    match NEEDS.iter().find(|need| !(need.present)()) {
        Some(need) => bail!("{} is still missing after installing {}", need.what, need.package),
        None => Ok(()),
    }
}

fn is_root() -> bool {
    step::output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim_ascii() == b"0")
}

/// clang-sys looks in LIBCLANG_PATH, beside llvm-config and in the usual library directories; so do we.
fn libclang() -> bool {
    let holds = |dir: &Path| {
        std::fs::read_dir(dir).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name == "libclang.so"
                    || name.starts_with("libclang-") && name.contains(".so")
                    || name.starts_with("libclang.so.")
            })
        })
    };
    if std::env::var_os("LIBCLANG_PATH").is_some_and(|path| holds(Path::new(&path))) {
        return true;
    }
    let mut dirs: Vec<std::path::PathBuf> = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ]
    .iter()
    .map(Into::into)
    .collect();
    if let Ok(entries) = std::fs::read_dir("/usr/lib") {
        let llvm = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-"));
        dirs.extend(llvm.map(|entry| entry.path().join("lib")));
    }
    dirs.iter().any(|dir| holds(dir))
}
