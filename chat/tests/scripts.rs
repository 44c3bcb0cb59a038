//! Runs the golden scripts of `tests/scripts`: documents that say, command by command, what the two
//! machines answer, what happened, which rows are rewritten and what other shards are owed.
//!
//! A script is text. `# …` is prose. `> …` is a command; the lines below it, up to an empty line,
//! are what it must print. The runner prints every script anew and compares the whole file; with
//! `BLESS=1` it writes the file instead, and the difference is read by whoever commits it.
//!
//! It plays the driver, too: it remembers where each (conversation, device, message id) stands and
//! hands that to the decision, exactly as a shard's tables would.

#[path = "scripts/show.rs"]
mod show;
#[path = "scripts/words.rs"]
mod words;
#[path = "scripts/world.rs"]
mod world;

use std::path::{Path, PathBuf};

use world::World;

#[test]
fn scripts_say_what_the_machines_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the scripts are beside this file")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_none())
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 5, "the scripts are found");
    for path in scripts {
        let written = std::fs::read_to_string(&path).expect("a script is text");
        let printed = run(&written);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, printed).expect("the script can be written");
        } else if let Some(line) = first_difference(&written, &printed) {
            panic!("{}:{line}: the machines now say:\n\n{printed}", path.display());
        }
    }
}

fn run(script: &str) -> String {
    let mut world = World::default();
    let mut printed = String::new();
    let mut expected = false;
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            printed.push_str(&format!("> {command}\n"));
            for answer in world.run(command) {
                printed.push_str(&answer);
                printed.push('\n');
            }
            expected = true;
        } else if line.is_empty() || line.starts_with('#') {
            expected = false;
            printed.push_str(line);
            printed.push('\n');
        } else {
            assert!(expected, "neither prose nor a command nor below one: {line}");
        }
    }
    printed
}

fn first_difference(one: &str, other: &str) -> Option<usize> {
    let (mut one, mut other) = (one.lines(), other.lines());
    (1..).find_map(|number| match (one.next(), other.next()) {
        (None, None) => Some(None),
        (one, other) if one != other => Some(Some(number)),
        _ => None,
    })?
}
