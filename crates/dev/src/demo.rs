//! The demonstration of `cargo xtask dev`: real `pi` commands against a running cluster, printed with their output,
//! each with an expectation that fails the demonstration when it is not met.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::process::binary;

/// A tenant of its own, so that what a user of the cluster did is not in the way.
const TENANT: &str = "demo";

struct Demo<'a> {
    config: &'a Path,
}

impl Demo<'_> {
    /// Runs and prints one command; `expect` must be in what it prints, and its exit code must be `code`.
    fn show(&self, args: &[&str], code: i32, expect: &str) -> Result<()> {
        println!("\n$ pi {}", args.join(" "));
        let text = self.run(args, code)?;
        print!("{text}");
        ensure!(text.contains(expect), "expected `{expect}` in the output of `pi {}`", args.join(" "));
        Ok(())
    }

    fn run(&self, args: &[&str], code: i32) -> Result<String> {
        let mut pi = Command::new(binary("pi")?);
        pi.args(args).env("PI_CONFIG", self.config).env("PI_TOKEN", format!("insecure:{TENANT}"));
        let output = pi.output()?;
        let text =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.code() == Some(code),
            "`pi {}` ended with {}, expected exit code {code}:\n{text}",
            args.join(" "),
            output.status
        );
        Ok(text)
    }
}

/// Shows create in both regions, list, read back, the 9th secret and the 4,097th byte refused.
pub(crate) fn run(cluster: &Cluster) -> Result<()> {
    let dir = &cluster.spec().dir;
    let demo = Demo { config: &dir.join("config") };
    let regions: Vec<&str> = cluster.spec().regions.iter().map(pi_types::RegionName::as_str).collect();
    let all = regions.join(",");
    let region = regions[0];
    for region in &regions {
        demo.run(&["secret", "delete", "--all", "--region", region], 0)?;
    }
    println!("\nA secret in every region, read back in one of them:");
    let create = [
        "secret",
        "create",
        "my-secret",
        "--docker-server=registry.example.com",
        "--docker-username=bob",
        "--docker-password=not-a-real-password",
        "--docker-email=bob@example.com",
        "--region",
        &all,
    ];
    demo.show(&create, 0, "secret/my-secret created")?;
    demo.show(&["secret", "list", "--region", region], 0, "my-secret")?;
    demo.show(
        &["secret", "get", "my-secret", "--reveal", "-o", "yaml", "--region", region],
        0,
        ".dockerconfigjson",
    )?;

    println!("\nEight secrets a region, whatever their namespace; the ninth is refused:");
    for number in 2..=8 {
        let name = format!("my-secret-{number}");
        let create =
            ["secret", "create", &name, "--docker-username=bob", "--docker-password=x", "--region", region];
        demo.run(&create, 0)?;
    }
    demo.show(&["info", "--region", region], 0, "8/8")?;
    let ninth = [
        "secret",
        "create",
        "my-secret-9",
        "--docker-username=bob",
        "--docker-password=x",
        "--region",
        region,
    ];
    demo.show(&ninth, 1, "8 of 8")?;

    println!("\n4,096 bytes a secret; one more is refused:");
    for (bytes, code, expect) in [(4_096_usize, 0, "updated"), (4_097, 1, "4096")] {
        let path = dir.join(format!("{bytes}-bytes.json"));
        std::fs::write(&path, payload_of(bytes))?;
        let file = format!("--from-file={}", path.display());
        demo.show(&["secret", "update", "my-secret", &file, "--region", region], code, expect)?;
        std::fs::remove_file(&path)?;
    }
    for region in &regions {
        demo.run(&["secret", "delete", "--all", "--region", region], 0)?;
    }
    Ok(())
}

/// A valid payload of exactly `bytes` bytes.
fn payload_of(bytes: usize) -> String {
    let (head, tail) = (r#"{"auths":{"registry.example.com":{"username":"bob","password":""#, r#""}}}"#);
    format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len()))
}
