//! The operators' tool for NVMe/TCP over kernel TLS.

#![allow(unreachable_pub, reason = "nothing of a binary is reachable from outside: pub means what it says")]

mod args;
mod bell;
mod commands;
mod connect;
mod exit;
mod hashing;
mod local;
mod output;
mod report;
mod secrets;
mod size;
mod tls_args;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::refuse(&error),
    };
    output::set_verbose(cli.verbose);
    match commands::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
