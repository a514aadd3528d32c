//! The binary: what it refuses to start with, and how it stops.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn write_config(dir: &Path) {
    let text = format!(
        "cluster = \"pi\"\nregion = \"us-central1\"\nnode_id = 1\ndata_dir = \"{}\"\nclient_listen = \"{}\"\n\
         raft_listen = \"{}\"\n",
        dir.join("data").display(),
        free_address(),
        free_address()
    );
    std::fs::write(dir.join("node.toml"), text).unwrap();
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pi-region"));
    command.arg(arguments[0]).arg("--config").arg(dir.join("node.toml")).args(&arguments[1..]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command(dir, arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// Waits until the process listens, then asks it to stop.
fn stop(mut child: Child, listens: &str) -> (Option<i32>, String) {
    let until = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(listens).is_err() {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "it does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_data_directory_is_formatted_once_and_serves_only_its_own_node() {
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path());
    let (code, text) = run(dir.path(), &["serve"]);
    assert!(code == Some(1) && text.contains("pi-region init"), "{text}");
    assert_eq!(run(dir.path(), &["init"]).0, Some(0));
    let (code, text) = run(dir.path(), &["init"]);
    assert!(code == Some(1) && text.contains("is not empty"), "{text}");
    let (code, text) = run(dir.path(), &["serve", "--set", "node_id=2"]);
    assert!(code == Some(1) && text.contains("node_id is 1, the configuration says 2"), "{text}");
}

#[test]
fn a_node_that_is_asked_to_stop_exits_with_0_and_a_wrong_configuration_with_1() {
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path());
    assert_eq!(run(dir.path(), &["init"]).0, Some(0));
    let address = free_address();
    let set = format!("client_listen={address}");
    let child = command(dir.path(), &["serve", "--set", &set]).spawn().unwrap();
    let (code, text) = stop(child, &address);
    assert_eq!(code, Some(0), "{text}");
    for (set, telling) in [
        ("client_listen=192.0.2.1:7101", "expected a loopback address"),
        ("raft_address=0.0.0.0:7102", "no wildcard"),
        ("limits.nonsense=1", "nonsense"),
    ] {
        let (code, text) = run(dir.path(), &["serve", "--set", set]);
        assert!(code == Some(1) && text.contains(telling), "{set}: {text}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let set = format!("client_listen={}", taken.local_addr().unwrap());
    let (code, text) = run(dir.path(), &["serve", "--set", &set]);
    assert!(code == Some(1) && text.contains("cannot be bound"), "{text}");
}

#[test]
fn the_effective_configuration_can_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path());
    let output = command(dir.path(), &["serve", "--set", "raft.heartbeat_ms=90", "--dump-config"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(text.contains("heartbeat_ms = 90") && text.contains("[limits]"), "{text}");
}
