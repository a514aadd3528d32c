//! Compiles the part of etcd's API that the benchmark calls.

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    let mut compiler = protox::Compiler::new(["proto"]).context("opening proto")?;
    compiler.open_files(["etcd.proto"]).context("compiling etcd.proto")?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(compiler.file_descriptor_set())
        .context("generating code from etcd.proto")
}
