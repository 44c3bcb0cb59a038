//! Edges between rooms: they point down only, siblings do not know each other, each foreign engine
//! is named in its own room alone, and the pure rooms stay pure in their manifests too.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::finding::Finding;

/// The rooms and their floors. An edge may lead to a lower floor only. A room within a room goes by its
/// own name. `planted` lies below all: every room may carry planted bugs behind its test-only feature.
const FLOORS: [(&str, i8); 16] = [
    ("planted", -1),
    ("checkers", 0),
    ("chat", 0),
    ("cluster-config", 0),
    ("store", 0),
    ("proto", 1),
    ("raft", 2),
    ("transport", 2),
    ("node", 3),
    ("client", 3),
    ("cli", 4),
    ("tests", 4),
    ("sim", 4),
    ("fuzz", 4),
    ("jepsen", 4),
    ("xtask", 4),
];

/// Rooms on the top floor that name no room at all: the toolbox must build when nothing else does.
const APART: [&str; 1] = ["xtask"];

/// A foreign engine (the package, or anything that begins with `package-`) and the rooms that may
/// name it. The engine can then be replaced by changing one room.
const ENGINES: [(&str, &[&str]); 15] = [
    ("openraft", &["raft"]),
    ("fjall", &["store"]),
    ("lsm-tree", &["store"]),
    ("sled", &["store"]),
    ("tantivy", &["node"]),
    ("rusqlite", &["client"]),
    ("quinn", &["transport"]),
    ("web-transport", &["transport"]),
    ("tonic", &["transport"]),
    // Tests and the black box also speak to the product as strangers, with a client that is none of ours.
    ("rustls", &["transport", "tests", "jepsen"]),
    ("tokio-rustls", &["transport", "tests", "jepsen"]),
    ("tungstenite", &["transport", "tests", "jepsen"]),
    ("tokio-tungstenite", &["transport", "tests", "jepsen"]),
    ("hyper", &["transport"]),
    // The node names axum's router; its server stays in transport.
    ("axum", &["transport", "node"]),
];

/// Rooms that decide and do nothing else, and all that they may name outside tests.
const PURE: [(&str, &[&str]); 3] = [
    ("chat", &["sha2", "thiserror", "planted"]),
    ("cluster-config", &["sha2", "thiserror", "serde", "planted"]),
    ("jepsen/checkers", &["serde", "serde_json", "thiserror"]),
];

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Checks the manifests, by room.
pub(crate) fn check(manifests: &BTreeMap<String, String>) -> Vec<Finding> {
    manifests.iter().flat_map(|(room, text)| check_room(room, text)).collect()
}

fn check_room(room: &str, text: &str) -> Vec<Finding> {
    let path = format!("{room}/Cargo.toml");
    let Ok(manifest) = text.parse::<Table>() else {
        return vec![Finding::new(&path, 0, "is no TOML")];
    };
    let Some(floor) = floor(room) else {
        let what = "is a room without a floor: give it one in xtask/src/edges.rs and in the design";
        return vec![Finding::new(&path, 0, what)];
    };
    let mut findings = Vec::new();
    for edge in edges(&manifest) {
        let line = line_of(text, edge.name);
        for what in broken(room, floor, &edge) {
            findings.push(Finding::new(&path, line, what));
        }
    }
    findings
}

/// A dependency as the manifest names it.
struct Edge<'a> {
    /// The name of the package, whatever it is called here.
    name: &'a str,
    section: &'a str,
    of_workspace: bool,
}

/// All dependencies, those for one target only included.
fn edges(manifest: &Table) -> Vec<Edge<'_>> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = targets.into_iter().flat_map(|targets| targets.values());
    let tables = tables.filter_map(Value::as_table).chain([manifest]);
    let sections = tables.flat_map(|table| {
        SECTIONS.map(|section| (section, table.get(section).and_then(Value::as_table)))
    });
    let named = sections.filter_map(|(section, named)| Some((section, named?)));
    named
        .flat_map(|(section, named)| {
            named.iter().map(move |(name, value)| Edge {
                name: value.get("package").and_then(Value::as_str).unwrap_or(name),
                section,
                of_workspace: value.get("workspace").and_then(Value::as_bool) == Some(true),
            })
        })
        .collect()
}

/// Every rule that the edge breaks.
fn broken(room: &str, floor: i8, edge: &Edge<'_>) -> Vec<String> {
    let name = edge.name;
    let mut broken = Vec::new();
    if !edge.of_workspace {
        broken.push(format!("{name}: versions are declared once, say `{name}.workspace = true`"));
    }
    match self::floor(name) {
        Some(_) if APART.contains(&room) => {
            broken.push(format!("{room} names no room, not {name}"))
        }
        Some(below) if below >= floor => broken.push(format!(
            "{room} (floor {floor}) must not know {name} (floor {below}): edges point down only"
        )),
        _ => {}
    }
    let engine = ENGINES.iter().find(|(engine, _)| {
        name == *engine || name.strip_prefix(engine).is_some_and(|rest| rest.starts_with('-'))
    });
    if let Some((engine, rooms)) = engine
        && !rooms.contains(&room)
    {
        broken.push(format!("{engine} may be named by {} alone", rooms.join(" and ")));
    }
    let pure = PURE.iter().find(|(pure, _)| *pure == room);
    if let Some((_, allowed)) = pure
        && edge.section != "dev-dependencies"
        && !allowed.contains(&name)
    {
        broken.push(format!("{room} is pure and may name {} only", allowed.join(", ")));
    }
    broken
}

fn floor(room: &str) -> Option<i8> {
    // The package of the room `cli` has the name of the binary.
    let room = room.rsplit_once('/').map_or(room, |(_, own)| own);
    let room = if room == "synod" { "cli" } else { room };
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

fn line_of(text: &str, name: &str) -> usize {
    text.lines().position(|line| line.contains(name)).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(room: &str, dependencies: &str) -> Vec<Finding> {
        let text = format!("[package]\nname = \"{room}\"\n{dependencies}");
        check(&BTreeMap::from([(room.to_owned(), text)]))
    }

    #[test]
    fn an_edge_down_is_fine() {
        assert_eq!(findings("node", "[dependencies]\nraft.workspace = true\n"), []);
        assert_eq!(findings("cli", "[dependencies]\nnode = { workspace = true }\n"), []);
        assert_eq!(findings("jepsen", "[dependencies]\ncheckers.workspace = true\n"), []);
        assert_eq!(findings("chat", "[dependencies]\nplanted.workspace = true\n"), []);
    }

    #[test]
    fn an_edge_up_or_sideways_is_caught_in_every_section() {
        for section in SECTIONS.into_iter().chain(["target.'cfg(unix)'.dependencies"]) {
            for (room, other) in
                [("chat", "proto"), ("raft", "transport"), ("node", "client"), ("raft", "synod")]
            {
                let found = findings(room, &format!("[{section}]\n{other}.workspace = true\n"));
                assert!(!found.is_empty(), "{room} to {other} in {section}");
                assert_eq!(found[0].line, 4, "{found:?}");
            }
        }
        assert_eq!(findings("xtask", "[dependencies]\nchat.workspace = true\n").len(), 1);
    }

    #[test]
    fn a_foreign_engine_outside_its_room_is_caught_under_any_name() {
        let found = |room, line: &str| findings(room, &format!("[dependencies]\n{line}\n")).len();
        assert_eq!(found("raft", "openraft.workspace = true"), 0);
        assert_eq!(found("node", "openraft.workspace = true"), 1);
        assert_eq!(found("node", "openraft-multi.workspace = true"), 1);
        assert_eq!(found("node", "log = { workspace = true, package = \"sled\" }"), 1);
        assert_eq!(found("client", "tokio-tungstenite.workspace = true"), 1);
        assert_eq!(found("node", "axum.workspace = true"), 0);
        assert_eq!(found("cli", "axum.workspace = true"), 1);
    }

    #[test]
    fn an_impure_dependency_of_a_pure_room_is_caught() {
        assert_eq!(findings("chat", "[dependencies]\ntokio.workspace = true\n").len(), 1);
        assert_eq!(findings("chat", "[dev-dependencies]\nproptest.workspace = true\n"), []);
    }

    #[test]
    fn a_version_of_its_own_and_a_room_without_a_floor_are_caught() {
        assert_eq!(findings("node", "[dependencies]\nbytes = \"1\"\n").len(), 1);
        assert_eq!(findings("attic", "").len(), 1);
        assert_eq!(findings("node", "[dependencies").len(), 1);
    }
}
