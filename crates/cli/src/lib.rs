//! The command line of Pi: `pi`.
//!
//! A run goes through four steps, each in its own file: the command line is parsed (`args`); options, environment and
//! the configuration file are merged (`config`, `settings`); the command asks one or several regions (`commands`,
//! `fanout`, through `service`, the one file that knows the client's messages); and what they answered becomes text
//! (`object`, `output`). Payloads are built in `credential` and `docker_login`, manifests are read in `manifest`.
//!
//! **Invariant:** standard output carries data only; notes, warnings and errors go to standard error, errors through
//! `failure::error_line` alone.
//! **Invariant:** passwords, payloads and keys live in types that are wiped on drop and have no `Debug`; no message
//! quotes one.

pub mod args;
pub mod commands;
pub mod config;
pub mod credential;
pub mod docker_login;
pub mod failure;
pub mod fanout;
pub mod hidden;
pub mod host;
pub mod manifest;
pub mod object;
pub mod output;
pub mod service;
pub mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, error_line};
use crate::host::Host;

/// Runs `pi` with the process's streams and environment.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args = args::respell(args.collect());
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            if let Some(text) = args::own_words(&error) {
                Host::process().note(&error_line(None, &text));
                return ExitCode::from(EXIT_USAGE);
            }
            // Help and version are data and go to standard output; clap knows.
            let code = if error.use_stderr() { EXIT_USAGE } else { EXIT_OK };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    ExitCode::from(run(cli, Host::process()))
}

/// Runs a parsed command line; the exit code.
pub fn run(cli: Cli, mut host: Host) -> u8 {
    // One thread is enough: a run waits for a handful of requests.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            host.note(&error_line(None, &format!("cannot start: {cause}")));
            return failure::EXIT_ERROR;
        }
    };
    match runtime.block_on(commands::run(cli, &mut host)) {
        Ok(()) => EXIT_OK,
        Err(failure) => {
            report(&failure, &mut host);
            failure.exit_code()
        }
    }
}

fn report(failure: &Failure, host: &mut Host) {
    if !failure.silent() {
        host.note(&error_line(None, failure));
    }
}
