//! `cargo run --release -p jepsen -- …`: the black box from the command line. Exit 0 valid, 1 violated, 2 unknown,
//! 3 the harness failed. What each verb does is said in the library; here are only words.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Breaks real Synod processes from outside and judges what their clients saw.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The process of the clients; started by a run.
    #[command(hide = true)]
    Clients {
        /// What it is to do.
        plan: PathBuf,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Clients { plan } => match jepsen::clients::run(&plan) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(3),
        },
    }
}
