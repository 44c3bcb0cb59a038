//! A node whose tables are damaged when it starts sets them aside by itself, takes its state from its log and the others, and
//! says so; nothing is deleted, and a second time somebody has to look.

#![allow(clippy::disallowed_methods, reason = "it watches and damages real processes in real time")]

#[path = "support/load.rs"]
mod load;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use std::path::{Path, PathBuf};

use client::Config;
use load::{Load, judge};
use nodes::Formed;
use synod::{Home, eventually, stdout};

/// Turns every byte of every file that is this long.
fn damage(folder: &Path, bytes_min: usize) {
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            damage(&path, bytes_min);
            continue;
        }
        let bytes = std::fs::read(&path).expect("readable");
        if bytes.len() >= bytes_min {
            let turned: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
            std::fs::write(&path, turned).expect("writable");
        }
    }
}

/// The tables that were set aside in a data folder.
fn aside(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data).expect("readable");
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.filter(|path| path.to_string_lossy().contains("tables.damaged-")).collect()
}

#[test]
fn a_node_with_damaged_tables_sets_them_aside_has_everything_again_and_says_so() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    let ca = std::fs::read(&formed.ca).expect("the authority");
    let all: Vec<_> = formed.sites.iter().map(|site| site.client).collect();
    let load = Load::begin(&Config::new(all.clone(), ca.clone()));
    load.goes_on(60);
    formed.kill(2);
    let data = formed.sites[1].data.clone();
    // What names the engine and its format is whole, which is short: the engine finds out by itself.
    let tables = data.join("tables");
    damage(&tables, 64);
    load.goes_on(20);
    formed.restart(2);
    load.goes_on(60);
    let (runtime, said) = load.end();
    judge(&runtime, &said, &all, &ca);

    let set_aside = aside(&data);
    assert_eq!(set_aside.len(), 1, "{set_aside:?}");
    let kept = std::fs::read_dir(&set_aside[0]).expect("a folder").count();
    assert!(kept > 0, "nothing was deleted");
    let operations = formed.sites[1].operations.to_string();
    let health = || stdout(&home.run(&["health", "--operations", &operations, "--json"]));
    assert!(health().contains("tables.damaged-"), "{}", health());

    // The same again, and the first are still there: somebody has to look at this disk.
    formed.kill(2);
    damage(&tables, 0);
    assert_ne!(formed.try_start(2), 0);
    assert!(formed.sites[1].log().contains("is damaged"), "{}", formed.sites[1].log());
    assert_eq!(aside(&data).len(), 1);
    std::fs::remove_dir_all(&set_aside[0]).expect("an operator may");
    formed.restart(2);
    judge(&runtime, &said, &all, &ca);
    std::fs::remove_dir_all(&aside(&data)[0]).expect("an operator may");
    eventually("health is content", || !health().contains("tables.damaged-"));
}
