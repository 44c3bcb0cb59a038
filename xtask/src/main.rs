//! The toolbox of the house: what the compiler does not check about this workspace.
//!
//! `cargo xtask verify` writes nothing and is what CI runs; `cargo xtask fix` may write. Each rule is
//! a function from the tree to findings, with a test that plants a violation and sees it caught. No
//! rule is about what the program does: that is for tests.

mod edges;
mod finding;
mod laws;
mod lexer;
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
    /// Only the edges between rooms and the foreign engines.
    Edges,
}

fn main() -> ExitCode {
    let passed = match Arguments::parse().task {
        Task::Verify { quick } => verify(quick),
        Task::Fix => steps::fix(),
        Task::Edges => report("edges", &edges::check(&Tree::read().manifests)),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs every check, also after one failed: a change is corrected once, not once for each rule.
fn verify(quick: bool) -> bool {
    let tree = Tree::read();
    let mut passed = report("edges", &edges::check(&tree.manifests));
    passed &= report("tidy", &tidy::check(&tree.sources));
    passed &= report("laws", &laws::check(&tree));
    if !quick {
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
