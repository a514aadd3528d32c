//! Development tasks: `cargo xtask <task>`. One place for what a fresh machine needs, how the project is built and
//! tested, and what it must comply with; the tasks themselves are in the modules.

mod bench;
mod dev;
mod setup;
mod step;
mod test;
mod verify;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask <TASK>

Tasks:
  dev [-- ARGS…]      build, start a two-region cluster on this machine and show it at work
                      (ARGS go to `pi-dev up`, such as --dir DIR)
  test [FILTER]       verify, build and run every test
  verify              read-only checks: format, lints, licences and sources of dependencies
  fix                 format and apply the lints' suggestions
  bench [-- ARGS…]    release build, then the benchmark against etcd (docs/benchmarks.md)
  setup               install what the build needs (Debian, as root), or say what to install

Each task runs `setup` first. Set CARGO_TARGET_DIR to keep the build outside the checkout.";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.filter(|arg| arg != "--").collect();
    let done = match task.as_str() {
        "dev" => setup::run().and_then(|()| dev::run(&rest)),
        "test" => setup::run().and_then(|()| test::run(&rest)),
        "verify" => setup::run().and_then(|()| verify::run()),
        "fix" => setup::run().and_then(|()| verify::fix()),
        "bench" => setup::run().and_then(|()| bench::run(&rest)),
        "setup" => setup::run(),
        "" | "help" | "-h" | "--help" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprintln!("error: unknown task {other:?}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
