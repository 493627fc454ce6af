//! One file for each command.

#[allow(dead_code, reason = "declared with the command itself")]
mod copy;
#[allow(dead_code, reason = "declared with the command itself")]
mod demo;
#[allow(dead_code, reason = "used by the demo")]
mod image;
mod key;
#[allow(dead_code, reason = "declared with the command itself")]
mod list;
#[allow(dead_code, reason = "declared with the command itself")]
mod serve;

use clap::Subcommand;

use crate::exit::Failure;

/// What the tool can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, check and look at TLS keys
    #[command(subcommand)]
    Key(key::KeyCommand),
}

/// Does it.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Key(command) => key::run(command),
    }
}
