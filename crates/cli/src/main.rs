//! The `pi` binary: starts [`pi_cli::run`] and turns its outcome into an exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pi_cli::main(std::env::args_os())
}
