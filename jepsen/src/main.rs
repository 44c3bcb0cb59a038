//! `cargo run -p jepsen -- run`: the demonstration under many seeds. Exit 0 valid, 1 violated, 2 unknown, 3 harness failure.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use jepsen::campaign::Campaign;
use jepsen::campaign::verdict::Judgement;

#[derive(Debug, Parser)]
#[command(about = "Breaks real Synod processes from outside and judges what they print")]
enum Action {
    /// Repeats the demonstration with consecutive seeds.
    Run {
        /// The binary to break; by default the one beside this program.
        #[arg(long)]
        synod: Option<PathBuf>,
        /// How many runs.
        #[arg(long, default_value_t = 10)]
        runs: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds of chat in each run.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// First port.
        #[arg(long, default_value_t = 7600)]
        port_base: u16,
    },
}

fn main() -> ExitCode {
    let Action::Run { synod, runs, seed, seconds, port_base } = Action::parse();
    let beside = || std::env::current_exe().ok().map(|exe| exe.with_file_name("synod"));
    let Some(synod) = synod.or_else(beside) else {
        eprintln!("cannot tell where `synod` is: name it with --synod");
        return ExitCode::from(3);
    };
    let campaign = Campaign { synod: &synod, runs, seed, seconds, port_base };
    let ledger = campaign.run(|line| println!("{line}"));
    println!("{ledger}");
    match ledger.judgement() {
        Judgement::Violated => ExitCode::from(1),
        _ if !ledger.failures().is_empty() => ExitCode::from(3),
        Judgement::Unknown => ExitCode::from(2),
        Judgement::Valid => ExitCode::SUCCESS,
    }
}
