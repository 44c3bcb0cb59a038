//! The way into the black box: `cargo xtask jepsen …` builds the product and the harness, and hands over. Its exit code is
//! the harness' own: 0 valid, 1 violated, 2 unknown, 3 the harness failed.

use std::process::{Command, ExitCode};

/// What the harness ends with when there is no verdict.
const FAILED: u8 = 3;
/// Verbs that break a binary, which must be there and of today.
const BREAKING: [&str; 4] = ["run", "matrix", "replay", "demo"];

/// Hands `arguments` over.
pub(crate) fn jepsen(arguments: &[String]) -> ExitCode {
    let breaks = arguments.first().is_some_and(|verb| BREAKING.contains(&verb.as_str()));
    let named = arguments.iter().any(|argument| argument.starts_with("--synod"));
    if breaks && !named && !cargo(&["build", "--release", "--package", "synod"]) {
        return ExitCode::from(FAILED);
    }
    if !cargo(&["build", "--release", "--package", "jepsen"]) {
        return ExitCode::from(FAILED);
    }
    let run = ["run", "--quiet", "--release", "--package", "jepsen", "--"];
    let status = Command::new(program()).args(run).args(arguments).status();
    let code = status.ok().and_then(|status| status.code());
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED))
}

fn cargo(arguments: &[&str]) -> bool {
    let status = Command::new(program()).args(arguments).status();
    status.is_ok_and(|status| status.success())
}

fn program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
