//! Compiles `/proto` with protox (no `protoc` needed) into clients, servers and the file descriptor set.

use std::path::Path;

use anyhow::Context;

const FILES: [&str; 5] = [
    "pi/secrets/v1/secrets.proto",
    "pi/regions/v1/regions.proto",
    "pi/admin/v1/admin.proto",
    "pi/raft/v1/log.proto",
    "pi/raft/v1/raft.proto",
];

/// Messages whose bytes must not reach a log line: `src/redact.rs` implements `Debug` for each and for its oneofs.
const REDACTED: [&str; 7] = [
    "pi.secrets.v1.CreateRequest",
    "pi.secrets.v1.UpdateRequest",
    "pi.secrets.v1.AccessResponse",
    "pi.raft.v1.SealedPayload",
    "pi.raft.v1.Entry",
    "pi.raft.v1.AppendRequest",
    "pi.raft.v1.SnapshotFrame.Chunk",
];

fn main() -> anyhow::Result<()> {
    // Asked at run time: checkouts that share a target directory share this compiled script too.
    let manifest = std::env::var("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is set by cargo")?;
    let root = Path::new(&manifest).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut compiler = protox::Compiler::new([&root]).context("opening /proto")?;
    // Source info carries the comments into the generated code; imports make the set complete for reflection.
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES).context("compiling /proto")?;
    let out = std::env::var("OUT_DIR").context("OUT_DIR is set by cargo")?;
    std::fs::write(Path::new(&out).join("descriptors.bin"), compiler.encode_file_descriptor_set())
        .context("writing the file descriptor set")?;

    tonic_prost_build::configure()
        .btree_map(".")
        // Log entries and snapshot chunks are slices of the received frame, not copies of it.
        .bytes(".pi.raft.v1")
        .skip_debug(REDACTED)
        .compile_fds(compiler.file_descriptor_set())
        .context("generating code from /proto")?;
    Ok(())
}
