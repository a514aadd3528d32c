//! Reads are never served by lease (`docs/internals/raft-pitfalls.md`, P11): no source file may ask for it.

use std::fs;
use std::path::Path;

fn visit(dir: &Path, seen: &mut usize) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, seen);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("LeaseRead"), "{} asks for a read by lease", path.display());
            assert!(
                !text.contains("LinearizerOption"),
                "{} chooses how old a confirmation may be",
                path.display()
            );
            *seen += 1;
        }
    }
}

#[test]
fn no_source_file_asks_for_a_read_by_lease() {
    let crates = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let mut seen = 0;
    for entry in fs::read_dir(crates).unwrap() {
        let sources = entry.unwrap().path().join("src");
        if sources.is_dir() {
            visit(&sources, &mut seen);
        }
    }
    assert!(seen > 50, "{seen} files were looked at");
}
