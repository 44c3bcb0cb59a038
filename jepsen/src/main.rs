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
    /// Judges a history again.
    Check {
        /// A file of JSON lines.
        history: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The process of the clients; started by a run.
    #[command(hide = true)]
    Clients {
        /// What it is to do.
        plan: PathBuf,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Check { history, json } => check(&history, json),
        Verb::Clients { plan } => match jepsen::clients::run(&plan) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(3),
        },
    }
}

fn check(path: &std::path::Path, json: bool) -> ExitCode {
    let history = match jepsen::verdict::load(path) {
        Ok(history) => history,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(3);
        }
    };
    let judgement = checkers::judge(&history, &jepsen::verdict::expectations(0, 1));
    match json {
        true => println!("{}", jepsen::verdict::to_json(&history, &judgement)),
        false => print!("{}", jepsen::verdict::to_text(&judgement)),
    }
    ExitCode::from(judgement.exit_code())
}
