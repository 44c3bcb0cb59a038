//! Which bug is at work in this process.

use super::{Bug, CANARIES, VARIABLE};
use std::sync::OnceLock;

static CHOSEN: OnceLock<Option<Bug>> = OnceLock::new();

/// Whether this bug is at work.
#[must_use]
pub fn bug(bug: Bug) -> bool {
    *CHOSEN.get_or_init(of_environment) == Some(bug)
}

/// Plants a bug in this process, before anybody has asked for one. Answers whether it took.
pub fn choose(bug: Option<Bug>) -> bool {
    CHOSEN.set(bug).is_ok()
}

fn of_environment() -> Option<Bug> {
    let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
    let canary = CANARIES.iter().find(|canary| canary.name == name);
    Some(canary.unwrap_or_else(|| panic!("{VARIABLE} names no planted bug: {name}")).bug)
}
