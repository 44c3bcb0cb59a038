//! The way into the black box: `cargo xtask jepsen …` builds the product and the harness, and hands over. Its exit code is
//! the harness' own: 0 valid, 1 violated, 2 unknown, 3 the harness failed.

use std::process::ExitCode;

use crate::{outside, place};

/// What the harness ends with when there is no verdict.
const FAILED: u8 = 3;
/// Both in one call: features of what both depend on are the same then, and nothing is built twice.
const BUILD: [&str; 6] = ["build", "--release", "--package", "synod", "--package", "jepsen"];

/// Hands `arguments` over.
pub(crate) fn jepsen(arguments: &[String]) -> ExitCode {
    if !outside::cargo().args(BUILD).status().is_ok_and(|status| status.success()) {
        return ExitCode::from(FAILED);
    }
    let status = outside::program(place::target().join("release/jepsen")).args(arguments).status();
    let code = status.ok().and_then(|status| status.code());
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED))
}
