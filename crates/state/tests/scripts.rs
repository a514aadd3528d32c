//! Runs every script in `tests/scripts`: one behaviour each, named as a sentence. The language is in
//! `support/script.rs`; `UPDATE_GOLDENFILES=1` rewrites the answers.

#[path = "support/script.rs"]
mod script;
#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;

#[test]
fn scripts_answer_as_recorded() {
    let dir =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("tests/scripts");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&dir).expect("the scripts").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "the scripts are there");
    for path in paths {
        println!("{}", path.display());
        let mut runner = script::Script::default();
        goldenscript::run(&mut runner, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
