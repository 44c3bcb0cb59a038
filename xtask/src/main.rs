//! The toolbox of the house: what the compiler does not check about this workspace.
//!
//! `cargo xtask verify` writes nothing and is what CI runs; `cargo xtask fix` may write. Each rule is
//! a function from the tree to findings, with a test that plants a violation and sees it caught. No
//! rule is about what the program does: that is for tests.

mod deploy;
mod edges;
mod finding;
mod fuzz;
mod jepsen;
mod laws;
mod lexer;
mod outside;
mod place;
mod s3;
mod sim;
mod specification;
mod steps;
mod tidy;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use finding::Finding;
use tree::Tree;

/// The workspace's own checks.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that CI checks; writes nothing but build output.
    Verify {
        /// Leave out formatting and clippy: the checks of this program alone, in a second.
        #[arg(long)]
        quick: bool,
    },
    /// Formats the code and lets clippy repair what it safely can.
    Fix,
    /// Only what is deployed: dashboards, alerts, their pages, units, charts.
    Deploy,
    /// Only the edges between rooms and the foreign engines.
    Edges,
    /// Searches for bytes that break a decoder.
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// One target instead of all.
        #[arg(long)]
        target: Option<String>,
        /// So many of the targets instead of all, going round from the one that `--from` names.
        #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
        rotate: usize,
        /// Where to begin with `--rotate`.
        #[arg(long, default_value_t = 0)]
        from: usize,
        /// How many targets at once.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Adds what widened the coverage to the kept corpus.
        #[arg(long)]
        keep: bool,
    },
    /// Real processes, broken from outside: `run SCENARIO`, `matrix --tier ci`, `check`, `replay`, `export`, `report`,
    /// `canary`, `doctor`. Exit 0 valid, 1 violated, 2 unknown, 3 the harness failed.
    #[command(disable_help_flag = true)]
    Jepsen {
        /// What the harness is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Assets on a real server of S3, which is installed below `target` (Python with venv and pip).
    S3,
    /// Whole nodes on a virtual clock, network and disk: `--seed N`, `sweep`, `shrink SEED`, `canaries --rotate N`.
    #[command(disable_help_flag = true)]
    Sim {
        /// What the simulator is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    if let Some(code) = fuzz::instead_of_rustc() {
        return code;
    }
    let passed = match Arguments::parse().task {
        Task::Verify { quick } => verify(quick),
        Task::Fix => steps::fix(),
        Task::Fuzz { seconds, target, rotate, from, jobs, keep } => {
            fuzz::search(&fuzz::Search { seconds, target, rotate, from, jobs, keep })
        }
        Task::Deploy => report("deploy", &deploy::check(&Tree::read())) & deploy::judged(),
        Task::Edges => report("edges", &edges::check(&Tree::read().manifests)),
        Task::Jepsen { arguments } => return jepsen::jepsen(&arguments),
        Task::S3 => s3::s3(),
        Task::Sim { arguments } => sim::sim(&arguments),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs every check, also after one failed: a change is corrected once, not once for each rule.
fn verify(quick: bool) -> bool {
    let tree = Tree::read();
    let mut passed = report("edges", &edges::check(&tree.manifests));
    passed &= report("tidy", &tidy::check(&tree.sources));
    passed &= report("laws", &laws::check(&tree));
    passed &= report("specification", &specification::check(&tree));
    passed &= report("deploy", &deploy::check(&tree));
    if !quick {
        passed &= deploy::judged();
        passed &= steps::formatted();
        passed &= steps::linted();
        passed &= steps::admitted();
    }
    passed
}

fn report(check: &str, findings: &[Finding]) -> bool {
    for finding in findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => println!("ok: {check}"),
        count => eprintln!("failed: {check}, {count} findings"),
    }
    findings.is_empty()
}
