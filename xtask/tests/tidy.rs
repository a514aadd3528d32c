//! What must hold of the source as a whole: which crate may use which, where a dependency may be named, the form of
//! files, and that documents name what exists.
//!
//! The rules of dependencies are not written here but in `docs/architecture.md`, whose table is read; so the page is
//! true. Formatting and lints are `cargo xtask verify`'s, licences too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// The version every package of openraft is locked to.
const OPENRAFT: &str = "0.10.0-alpha.37";
/// Longer files are split.
const LINES_MAX: usize = 800;
/// Packages that do IO, keep time or draw randomness, or belong to a wire: what `pi-types` and `pi-state` never reach.
const IMPURE: &[&str] = &[
    "getrandom",
    "h2",
    "hyper",
    "mio",
    "openraft",
    "prost",
    "rand",
    "rocksdb",
    "rustix",
    "tokio",
    "tonic",
    "uuid",
];

// Dependencies.

#[test]
fn our_packages_use_each_other_as_the_table_in_architecture_md_says() {
    let table = allowed_edges();
    let mut unused = table.clone();
    let mut wrong = Vec::new();
    for (row, package, uses) in our_edges() {
        let Some(allowed) = table.get(&row) else {
            wrong.push(format!("{package} has no row"));
            continue;
        };
        for edge in &uses {
            if !allowed.contains(edge) {
                wrong.push(format!("{package} uses {edge}, which its row does not allow"));
            }
            unused.entry(row.clone()).and_modify(|rest| _ = rest.remove(edge));
        }
    }
    for (row, edges) in unused {
        wrong.extend(
            edges.iter().map(|edge| format!("nothing needs {row} to use {edge}: take it out of the row")),
        );
    }
    report("docs/architecture.md, the table of crates", wrong);
}

#[test]
fn rocksdb_is_named_by_storage_alone_and_openraft_by_raft_storage_and_transport() {
    let homes: [(&str, &[&str]); 2] =
        [("rocksdb", &["pi-storage"]), ("openraft", &["pi-raft", "pi-storage", "pi-transport"])];
    let mut wrong = Vec::new();
    for package in our_packages() {
        for dependency in array(package, "dependencies") {
            for (what, homes) in homes {
                let home = homes.contains(&text(package, "name"));
                if text(dependency, "name").starts_with(what) && !home {
                    wrong.push(format!("{} names {}", text(package, "name"), text(dependency, "name")));
                }
            }
        }
    }
    report("a dependency is kept behind the crates named in docs/architecture.md", wrong);
}

#[test]
fn openraft_and_its_parts_are_pinned_to_one_version() {
    let mut wrong = Vec::new();
    for package in our_packages() {
        let named = array(package, "dependencies").iter().filter(|d| text(d, "name").starts_with("openraft"));
        for dependency in named.filter(|d| text(d, "req") != format!("={OPENRAFT}")) {
            wrong.push(format!("{} asks for {}", text(package, "name"), text(dependency, "req")));
        }
    }
    let locked = array(metadata(), "packages").iter().filter(|p| text(p, "name").starts_with("openraft"));
    let locked: BTreeMap<_, _> = locked.map(|p| (text(p, "name"), text(p, "version"))).collect();
    for part in ["openraft", "openraft-macros", "openraft-rt", "openraft-rt-tokio"] {
        if !locked.contains_key(part) {
            wrong.push(format!("Cargo.lock has no {part}"));
        }
    }
    wrong.extend(
        locked
            .iter()
            .filter(|(_, version)| **version != OPENRAFT)
            .map(|(name, version)| format!("Cargo.lock has {name} {version}")),
    );
    report(&format!("openraft is ={OPENRAFT} in all its parts (docs/adr/0001-openraft-alpha.md)"), wrong);
}

#[test]
fn types_and_state_reach_nothing_that_does_io() {
    let nodes = array(&metadata()["resolve"], "nodes");
    let by_id: BTreeMap<&str, &Value> = nodes.iter().map(|node| (text(node, "id"), node)).collect();
    let names: BTreeMap<&str, &str> =
        array(metadata(), "packages").iter().map(|p| (text(p, "id"), text(p, "name"))).collect();
    let mut wrong = Vec::new();
    for root in ["pi-types", "pi-state"] {
        let start = names.iter().find(|(_, name)| **name == root).map(|(id, _)| *id);
        let mut next = vec![start.unwrap_or_else(|| panic!("{root} exists"))];
        let mut seen = BTreeSet::new();
        while let Some(id) = next.pop() {
            if !seen.insert(id) {
                continue;
            }
            if IMPURE.contains(&names[id]) {
                wrong.push(format!("{root} reaches {}", names[id]));
            }
            let normal = |dep: &&Value| array(dep, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
            next.extend(array(by_id[id], "deps").iter().filter(normal).map(|dep| text(dep, "pkg")));
        }
    }
    report("pi-types and pi-state are pure", wrong);
}

#[test]
fn every_dependency_is_explained() {
    let page = read("docs/dependencies.md");
    let explained: BTreeSet<&str> = rows(&page).filter_map(|cells| code(cells.first()?)).collect();
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let names = section.expect("Cargo.toml has [workspace.dependencies]").lines();
    let names: BTreeSet<&str> = names
        .filter(|line| line.starts_with(|first: char| first.is_ascii_alphabetic()))
        .filter_map(|line| line.split([' ', '=', '.']).next())
        .filter(|name| !name.starts_with("pi-"))
        .collect();
    let mut wrong: Vec<_> = names
        .difference(&explained)
        .map(|name| format!("{name} has no row: say why it was chosen"))
        .collect();
    wrong.extend(explained.difference(&names).map(|name| format!("{name} has a row but is no dependency")));
    report("docs/dependencies.md", wrong);
}

// Files.

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    report("a file starts with `//!`", silent.map(|(path, _)| path).collect());
}

#[test]
fn no_source_file_is_too_long() {
    let long = sources().into_iter().map(|(path, text)| (path, text.lines().count()));
    let long = long.filter(|(_, lines)| *lines > LINES_MAX);
    report(
        &format!("at most {LINES_MAX} lines a file"),
        long.map(|(path, lines)| format!("{path}: {lines}")).collect(),
    );
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    // Put together, so that this file does not contain them.
    let banned = [["#[", "allow("].concat(), ["#![", "allow("].concat()];
    let found = matches(&sources(), |line| banned.iter().any(|ban| line.contains(ban.as_str())));
    report("`#[expect(…, reason)]`, so that it goes when it is no longer needed", found);
}

#[test]
fn nothing_unfinished_and_no_unwrap_outside_tests() {
    let banned = [".unwrap()", ".unwrap_err()", "todo!(", "unimplemented!(", "dbg!("];
    let product: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (path, without_tests(&text)))
        .collect();
    let found = matches(&product, |line| banned.iter().any(|ban| line.contains(ban)));
    report("an error is handled, or `expect` says why it cannot happen", found);
}

#[test]
fn no_thread_sleeps_outside_tests() {
    let product = sources().into_iter().filter(|(path, _)| !is_test(path) && path.starts_with("crates/"));
    let product: Vec<_> = product.map(|(path, text)| (path, without_tests(&text))).collect();
    report(
        "a sleeping thread may be the one that runs everything else: tokio::time::sleep",
        matches(&product, |line| line.contains("thread::sleep")),
    );
}

#[test]
fn types_and_state_know_no_clock_environment_or_unordered_map() {
    let pure =
        |path: &str| ["crates/types/src", "crates/state/src"].iter().any(|root| path.starts_with(root));
    let pure: Vec<_> = sources().into_iter().filter(|(path, _)| pure(path)).collect();
    let banned =
        ["HashMap", "HashSet", "Instant", "SystemTime", "std::env", "std::fs", "std::net", "std::thread"];
    report(
        "one log, one state: nothing here differs between replicas",
        matches(&pure, |line| banned.iter().any(|ban| line.contains(ban))),
    );
}

#[test]
fn no_program_remembers_the_checkout_it_was_built_in() {
    // Put together, so that this file does not contain it.
    let banned = ["env!(\"CARGO_", "MANIFEST_DIR"].concat();
    report(
        "checkouts may share a target directory, and so a binary: ask for CARGO_MANIFEST_DIR at run time",
        matches(&sources(), |line| line.contains(&banned)),
    );
}

#[test]
fn no_read_relies_on_a_lease() {
    let banned = ["Lease", "Read"].concat();
    let product: Vec<_> = sources().into_iter().filter(|(path, _)| !is_test(path)).collect();
    report(
        "reads are linearizable by ReadIndex (docs/adr/0001-openraft-alpha.md)",
        matches(&product, |line| line.contains(&banned)),
    );
}

#[test]
fn every_package_has_the_workspaces_lints() {
    let manifests = our_packages().into_iter().map(|package| PathBuf::from(text(package, "manifest_path")));
    let without = manifests.filter(|path| {
        let manifest = std::fs::read_to_string(path).expect("cargo has just read it");
        !manifest.replace(' ', "").contains("[lints]\nworkspace=true")
    });
    report("`[lints] workspace = true`", without.map(|path| path.display().to_string()).collect());
}

// Documents.

#[test]
fn links_in_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        let dir = Path::new(&path).parent().expect("a document lies in a directory").to_path_buf();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let local = !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:");
            if local && !root().join(&dir).join(file).exists() {
                wrong.push(format!("{path}: {link}"));
            }
        }
    }
    report("links", wrong);
}

#[test]
fn paths_in_documents_exist() {
    let tops = ["crates/", "docs/", "proto/", "tests/", "xtask/", ".ci/", ".cargo/"];
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2).collect::<Vec<_>>());
        for span in spans.filter(|span| tops.iter().any(|top| span.starts_with(top))) {
            // Only what is a path and nothing else: no pattern, placeholder or command.
            let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            // From the root, from here, or from the crate that a document belongs to.
            let near = Path::new(&path).ancestors().any(|dir| root().join(dir).join(span).exists());
            if plain && !near && !span.starts_with("crates/x") {
                wrong.push(format!("{path}: {span}"));
            }
        }
    }
    report("paths", wrong);
}

#[test]
fn an_overview_that_is_referred_to_exists() {
    let refers = |text: &str| text.lines().take(20).any(|line| line.contains("`OVERVIEW.md`"));
    let missing = sources().into_iter().filter(|(path, text)| path.ends_with("src/lib.rs") && refers(text));
    let missing = missing.map(|(path, _)| path.replace("src/lib.rs", "OVERVIEW.md"));
    report("OVERVIEW.md", missing.filter(|path| !root().join(path).exists()).collect());
}

// How they look.

fn report(rule: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let xtask = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
        xtask.parent().expect("xtask lies in the workspace's root").to_path_buf()
    })
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `cargo metadata`, read once.
fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--locked"])
            .current_dir(root())
            .output()
            .expect("cargo starts: it runs this test");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
    })
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("cargo metadata has no {key}"))
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("cargo metadata has no {key}"))
}

/// The packages of this workspace.
fn our_packages() -> Vec<&'static Value> {
    array(metadata(), "packages").iter().filter(|package| package["source"].is_null()).collect()
}

/// Our packages: the row of the table that is theirs, their name, and which of ours each needs outside its own tests,
/// optional ones included. The packages in `tests/` share a row.
fn our_edges() -> Vec<(String, String, BTreeSet<String>)> {
    let packages = our_packages();
    let names: BTreeSet<&str> = packages.iter().map(|package| text(package, "name")).collect();
    let edges = packages.iter().map(|package| {
        let name = text(package, "name").to_owned();
        let tests = Path::new(text(package, "manifest_path")).starts_with(root().join("tests"));
        let normal = array(package, "dependencies").iter().filter(|d| d["kind"].is_null());
        let uses = normal.map(|d| text(d, "name")).filter(|name| names.contains(name)).map(str::to_owned);
        (if tests { "tests".to_owned() } else { name.clone() }, name, uses.collect())
    });
    edges.collect()
}

/// The table of crates in `docs/architecture.md`: row to the packages it may use.
fn allowed_edges() -> BTreeMap<String, BTreeSet<String>> {
    let page = read("docs/architecture.md");
    let package = |name: &str| match name {
        "tests" | "xtask" => name.to_owned(),
        name => format!("pi-{name}"),
    };
    let table = page.split("| tier |").nth(1).expect("docs/architecture.md has the table `| tier | …`");
    let table = table.split("\n\n").next().unwrap_or_default();
    let edges: BTreeMap<_, _> = rows(table)
        .filter_map(|cells| {
            let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(package).collect::<Vec<_>>();
            let uses = names(cells.last()?).into_iter().collect();
            names(cells.get(1)?).into_iter().next().map(|name| (name, uses))
        })
        .collect();
    assert!(!edges.is_empty(), "docs/architecture.md: the table of crates has rows");
    edges
}

/// The cells of the rows of every table on a page, headings excluded as far as they hold no code.
fn rows(page: &str) -> impl Iterator<Item = Vec<&str>> {
    page.lines()
        .filter(|line| line.starts_with('|') && line.contains('`'))
        .map(|line| line.trim().trim_matches('|').split('|').map(str::trim).collect())
}

/// The content of a cell that is one code span.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

/// Every file with this ending that belongs to the project, path and content, in order.
fn files(ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut next = vec![root().to_path_buf()];
    while let Some(dir) = next.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory of the project").filter_map(Result::ok) {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if path.is_dir() {
                if !path.is_symlink() && name != "target" && !name.starts_with('.') {
                    next.push(path);
                }
            } else if name.ends_with(ending) {
                let shown = path.strip_prefix(root()).expect("it lies below").to_string_lossy().into_owned();
                // A file that vanishes meanwhile is an editor's.
                found.extend(std::fs::read_to_string(&path).ok().map(|content| (shown, content)));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    files(".rs")
}

fn documents() -> Vec<(String, String)> {
    files(".md")
}

/// Whether a whole file is test code.
fn is_test(path: &str) -> bool {
    ["/tests/", "/examples/", "/benches/", "/conformance/"].iter().any(|part| path.contains(part))
        || path.starts_with("tests/")
        || path.ends_with("tests.rs")
        || path.ends_with("conformance.rs")
        // Strategies for property tests.
        || path.ends_with("/arbitrary.rs")
}

/// A file up to its test module, which comes last by convention; other test-only items count as product code.
fn without_tests(text: &str) -> String {
    let mut lines = text.lines().peekable();
    let mut kept = Vec::new();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
        {
            break;
        }
        kept.push(line);
    }
    kept.join("\n")
}

/// `path:line: text` of every line that holds; comments are not looked at.
fn matches(files: &[(String, String)], holds: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in files {
        for (at, line) in text.lines().enumerate() {
            if !line.trim_start().starts_with("//") && holds(line) {
                found.push(format!("{path}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    found
}
