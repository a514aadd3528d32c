//! A client that nobody here wrote: Python's grpcio, generated from `/proto` when the test runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use pi_dev::bin_dir;
use pi_e2e::{EU, US, shared, tenant};
use serde_json::{Value, json};

/// Makes a virtual environment with grpcio in the target directory, once. Versions are pinned: the test is about our
/// service, not about what PyPI has today.
fn environment() -> Result<PathBuf> {
    let target = bin_dir()?;
    let target = target.parent().context("the binaries lie in a target directory")?;
    let dir = target.join("e2e-python");
    let python = dir.join("bin/python");
    if dir.join("ready").exists() {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir)).context("python3 -m venv")?;
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1", "--timeout=20"];
    run(Command::new(&python).args(install).args(["grpcio", "grpcio-tools"]))
        .context("pip install grpcio grpcio-tools")?;
    std::fs::write(dir.join("ready"), "")?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(output)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_generated_from_the_protos_creates_reads_and_watches() {
    let python = match tokio::task::spawn_blocking(environment).await.unwrap() {
        Ok(python) => python,
        Err(error) => {
            println!("SKIPPED: no Python with grpcio here (needs python3 and PyPI): {error:#}");
            return;
        }
    };
    let cluster = shared().await.unwrap();
    let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = Path::new(&manifest_dir);
    let generated = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command
        .arg(root.join("tests/python/client.py"))
        .arg(root.join("../../proto").canonicalize().unwrap())
        .arg(generated.path())
        .args([&cluster.gateways()[0], &tenant("python"), US]);
    let output = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        told,
        json!({
            "generation": 1,
            "same_uid": true,
            "same_payload": true,
            "events": [["KIND_EXISTING", "first"], ["KIND_SYNCED", ""], ["KIND_CREATED", "second"]],
            "refused": ["ALREADY_EXISTS", true, true],
            "listed": ["first", "second"],
            "quota": [2, 8],
            "regions": [EU, US],
        })
    );
}
