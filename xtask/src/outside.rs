//! Programs as the shell would start them. This one runs below `cargo run`, which tells it of its own package in variables;
//! build scripts look at those (ring's does), so a build started with them is redone by the next one without, and so on.

use std::ffi::OsStr;
use std::process::Command;

/// What cargo sets for the program that it runs, and nobody else does: about its package, and where it is.
const TOLD: [&str; 7] = [
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_",
    "CARGO_RUSTC_",
    "OUT_DIR",
];

/// The cargo that this program was started with.
pub(crate) fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Any program.
pub(crate) fn program(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(told) {
            command.env_remove(&name);
        }
    }
    command
}

fn told(name: &str) -> bool {
    TOLD.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_told_nothing_of_the_package_that_started_it() {
        // This test runs below cargo, too, and so finds what there is to leave out.
        let left_out = |name: &str| {
            cargo().get_envs().any(|(variable, value)| variable == name && value.is_none())
        };
        assert!(left_out("CARGO_MANIFEST_DIR"));
        assert!(left_out("CARGO_PKG_NAME"));
        assert!(!told("CARGO_TARGET_DIR") && !told("CARGO_HOME") && !told("CARGO_TERM_COLOR"));
    }
}
