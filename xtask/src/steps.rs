//! Steps that other programs do: the formatter, the linter, the gatekeeper of dependencies.

use std::process::Stdio;

use crate::outside;

/// Whether the code is formatted.
pub(crate) fn formatted() -> bool {
    step("formatting", cargo(&["fmt", "--all", "--check"]))
}

/// Whether the whole workspace, tests and benches included, is free of warnings.
pub(crate) fn linted() -> bool {
    let arguments = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    step("clippy", cargo(&arguments))
}

/// Whether all dependencies may come in. Skipped, and said so, where the tool is not installed.
pub(crate) fn admitted() -> bool {
    let installed = outside::cargo()
        .args(["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if installed {
        step("dependencies", cargo(&["deny", "check", "bans", "licenses", "sources"]))
    } else {
        println!("skipped: dependencies (cargo-deny is not installed)");
        true
    }
}

/// Formats, and applies what clippy is sure of.
pub(crate) fn fix() -> bool {
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"];
    step("clippy", cargo(&clippy)) & step("formatting", cargo(&["fmt", "--all"]))
}

fn cargo(arguments: &[&str]) -> bool {
    let status = outside::cargo().args(arguments).stdin(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn step(name: &str, passed: bool) -> bool {
    if passed {
        println!("ok: {name}");
    } else {
        eprintln!("failed: {name}");
    }
    passed
}
