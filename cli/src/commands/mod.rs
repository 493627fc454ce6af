//! One file for each command.

mod copy;
mod demo;
mod dhchap;
mod image;
mod key;
mod list;
mod material;
mod serve;

use clap::Subcommand;

use crate::exit::Failure;

/// What the tool can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole way of an image in one process: over TLS into a namespace and back
    Demo(demo::DemoArgs),
    /// Serve RAM or files as the namespaces of a target
    Serve(serve::ServeArgs),
    /// List the subsystems of a target, or the namespaces of a subsystem
    #[command(visible_alias = "discover")]
    List(list::ListArgs),
    /// Copy a file into a namespace, or a namespace into a file
    Copy(Box<copy::CopyArgs>),
    /// Make, check and look at TLS keys and DH-HMAC-CHAP secrets
    #[command(subcommand)]
    Key(key::KeyCommand),
}

/// Does it.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::List(args) => list::run(&args),
        Command::Copy(args) => copy::run(&args),
        Command::Key(command) => key::run(command),
    }
}
