//! Compiles `/proto/kms/v2/kms.proto`, the protocol of Kubernetes' KMS plugins, with protox (no `protoc` needed).

use std::path::Path;

use anyhow::Context;

const FILE: &str = "kms/v2/kms.proto";

/// Messages that carry a seed in the clear: `src/kms/wire.rs` implements `Debug` for each, without it.
const REDACTED: [&str; 2] = ["v2.EncryptRequest", "v2.DecryptResponse"];

fn main() -> anyhow::Result<()> {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.join(FILE).display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut compiler = protox::Compiler::new([&root]).context("opening /proto")?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files([FILE]).context("compiling /proto/kms")?;
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(REDACTED)
        .compile_fds(compiler.file_descriptor_set())
        .context("generating code from /proto/kms")?;
    Ok(())
}
