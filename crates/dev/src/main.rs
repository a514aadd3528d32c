//! The `pi-dev` binary: reads its arguments and hands over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pi_dev::cli::main()
}
