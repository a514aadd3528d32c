//! The `pi-region` binary: reads its arguments and hands over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pi_region::cli::main()
}
