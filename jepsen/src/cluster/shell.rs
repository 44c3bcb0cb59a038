//! Runs the tools of the machine (`ip`, `nft`, `mount` …) and says what they said when they refuse.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::setback::{Doing as _, Setback};

/// Runs a tool to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or does not end with 0; with its last words.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String, Setback> {
    let mut command = Command::new(program);
    command.args(arguments);
    finish(command, None)
}

/// The same for a line of words without spaces in any of them.
pub(crate) fn words(line: &str) -> Result<String, Setback> {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command has a first word");
    run(program, &words.collect::<Vec<_>>())
}

/// Runs a command, with `input` on its stdin.
pub(crate) fn finish(mut command: Command, input: Option<&str>) -> Result<String, Setback> {
    let what = describe(&command);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().doing(&what)?;
    if let Some(input) = input {
        let mut stdin = child.stdin.take().expect("stdin was asked for as a pipe");
        stdin.write_all(input.as_bytes()).doing(&what)?;
    }
    let output = child.wait_with_output().doing(&what)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Setback::new(format!("{what}: {}: {}", output.status, said.trim())))
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Whether a tool of this name can be started.
#[must_use]
pub(crate) fn there_is(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_refuses_says_why() {
        assert_eq!(words("echo a b").expect("everybody has echo"), "a b\n");
        let refused = words("ls /nowhere/at/all").expect_err("there is no such folder").to_string();
        assert!(
            refused.contains("ls /nowhere/at/all") && refused.contains("No such file"),
            "{refused}"
        );
        assert!(words("no-such-tool-anywhere").is_err());
        assert!(there_is("sh") && !there_is("no-such-tool-anywhere"));
    }
}
