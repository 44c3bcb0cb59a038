//! A scenario: which cluster, which work, which faults, for how long, and what must come out. Read from TOML; everything
//! that is left out has one default, and a run writes all of it down expanded, so that a run can be repeated from its
//! folder. It does not know how any of it is done.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Everything about one run but its seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called: the file's stem when not said.
    #[serde(default)]
    pub name: String,
    /// One sentence: what is hunted here.
    #[serde(default)]
    pub about: String,
    /// The tiers whose matrix runs it: `ci`, `night`, `power`, `rot`, `canary`.
    #[serde(default)]
    pub tiers: Vec<String>,
    /// How often a matrix runs it, each time with the next seed.
    #[serde(default = "one")]
    pub repeat: u32,
    /// The verdict that must come out; anything else fails the matrix.
    #[serde(default = "valid")]
    pub expect: String,
    /// How long nodes are broken, seconds.
    #[serde(default = "sixty")]
    pub fault_seconds: u64,
    /// How long the work goes on before the first fault, seconds.
    #[serde(default = "five")]
    pub quiet_seconds: u64,
    /// How long after healing everything must have come in, seconds.
    #[serde(default = "ninety")]
    pub drain_seconds: u64,
    /// The nodes.
    #[serde(default)]
    pub cluster: ClusterShape,
    /// The work.
    #[serde(default)]
    pub workload: Workload,
    /// The faults.
    #[serde(default)]
    pub nemesis: NemesisShape,
}

/// What is raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterShape {
    /// How many nodes.
    pub nodes: u8,
    /// Shards of the cluster.
    pub shards: u32,
    /// Nodes that vote in each shard; 0: all.
    pub replication: u8,
    /// What the data lies on: `ext4` (a loop image, which power can be cut from), `folder`, `fuse`.
    pub disk: String,
    /// Size of a loop image, MiB.
    pub disk_mib: u32,
    /// More lines for every node's file: whole TOML tables.
    pub more: String,
    /// Size of a journal segment, bytes; small ones make purges frequent. 0: the harness' own.
    pub segment_bytes: u64,
}

impl Default for ClusterShape {
    fn default() -> Self {
        Self {
            nodes: 3,
            shards: 4,
            replication: 0,
            disk: "ext4".to_owned(),
            disk_mib: 512,
            more: String::new(),
            segment_bytes: 0,
        }
    }
}

/// How the cluster is broken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NemesisShape {
    /// Names of the catalogue; empty for a quiet run.
    pub faults: Vec<String>,
    /// `single`, `pair`, `mix`, `swizzle`, `targeted`.
    pub mode: String,
    /// From one choice of faults to the next, seconds.
    pub period_seconds: u64,
    /// A node may be left out at the end: it refused to go on with a damaged disk, and said so.
    pub may_leave: bool,
    /// A quorum lives at all times; without it only safety is judged.
    pub keep_quorum: bool,
}

impl Default for NemesisShape {
    fn default() -> Self {
        Self {
            faults: Vec::new(),
            mode: "single".to_owned(),
            period_seconds: 10,
            may_leave: false,
            keep_quorum: true,
        }
    }
}

/// What the devices do. All shares are in thousandths of a device's turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// What it is called in reports.
    pub kind: String,
    /// Messages a second that all devices together try to send; the open loop.
    pub rate: u32,
    /// Messages a device has under way at once; the closed loop.
    pub in_flight: u32,
    /// Users with a native device; a third of the devices on QUIC, the others on WebSocket.
    pub natives: u32,
    /// Users with a device that speaks the specification's JSON and knows nothing else.
    pub strangers: u32,
    /// Direct conversations, beyond those that the strangers bring.
    pub directs: u32,
    /// Groups.
    pub groups: u32,
    /// Members of a group.
    pub group_size: u32,
    /// Bytes of a message's text.
    pub text_bytes: u32,
    /// Turns of a stranger that repeat a message on another link, per mille.
    pub repeats: u32,
    /// Turns of a stranger that repeat a message with another text, per mille: must be a conflict.
    pub conflicts: u32,
    /// Reads of history a second, spread over the three levels and all nodes.
    pub reads: u32,
    /// Confirmations: every device confirms what it has; this share of them says "read", per mille.
    pub read_marks: u32,
    /// Members added to and removed from groups a second, against their own sends, per mille.
    pub moves: u32,
    /// Devices that are away for the whole time of faults.
    pub offline: u32,
    /// Devices that reconnect all the time, links a second, per mille.
    pub reconnects: u32,
    /// Questions for presence a second, per mille.
    pub presence: u32,
    /// Reads of the list of conversations a second, per mille.
    pub inbox: u32,
    /// Assets uploaded a second, per mille; each upload is followed by a read of some asset from some node.
    pub uploads: u32,
    /// Bytes of an asset at most.
    pub asset_bytes: u32,
    /// A send is tried this long, seconds; then its fate is unknown or it failed.
    pub patience_seconds: u64,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            kind: "mixed".to_owned(),
            rate: 1400,
            in_flight: 16,
            natives: 16,
            strangers: 6,
            directs: 12,
            groups: 4,
            group_size: 4,
            text_bytes: 100,
            repeats: 100,
            conflicts: 20,
            reads: 30,
            read_marks: 300,
            moves: 1000,
            offline: 2,
            reconnects: 200,
            presence: 1000,
            inbox: 1000,
            uploads: 0,
            asset_bytes: 100_000,
            patience_seconds: 15,
        }
    }
}

impl Workload {
    /// The named mixture: `mixed` does everything, the others hunt one thing.
    #[must_use]
    pub fn named(kind: &str) -> Option<Self> {
        let none = Self {
            kind: kind.to_owned(),
            repeats: 0,
            conflicts: 0,
            reads: 0,
            moves: 0,
            offline: 0,
            reconnects: 0,
            presence: 0,
            inbox: 0,
            ..Self::default()
        };
        Some(match kind {
            "mixed" => Self::default(),
            "chat" => Self { reads: 5, ..none },
            "retry-duplicate" => Self {
                strangers: 12,
                natives: 6,
                directs: 4,
                repeats: 400,
                conflicts: 100,
                rate: 600,
                ..none
            },
            "offline" => Self { offline: 8, ..none },
            "receipts" => Self { read_marks: 700, rate: 800, reconnects: 500, ..none },
            "groups" => Self { groups: 8, group_size: 5, moves: 8000, rate: 900, ..none },
            "reads" => Self { reads: 200, rate: 900, ..none },
            "presence" => Self { presence: 8000, reconnects: 2000, rate: 300, ..none },
            "media" => Self { uploads: 8000, rate: 300, ..none },
            "inbox" => Self { inbox: 8000, rate: 600, moves: 1000, ..none },
            _ => return None,
        })
    }
}

/// Why a scenario cannot be used.
#[derive(Debug, Error)]
pub enum BadScenario {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// The file says what nobody understands.
    #[error("{0}: {1}")]
    Malformed(PathBuf, toml::de::Error),
    /// A name that nobody knows.
    #[error("there is no {what} {name:?}")]
    NoSuch {
        /// Scenario, workload or tier.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
}

impl Scenario {
    /// Reads a file. A `workload` of a kind takes that kind's mixture for all that it leaves out.
    ///
    /// # Errors
    /// [`BadScenario`].
    pub fn load(path: &Path) -> Result<Self, BadScenario> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BadScenario::Unreadable(path.to_owned(), error))?;
        let mut scenario = Self::parse(&text).map_err(|error| match error {
            Bad::Toml(error) => BadScenario::Malformed(path.to_owned(), error),
            Bad::Kind(name) => BadScenario::NoSuch { what: "workload", name },
        })?;
        if scenario.name.is_empty() {
            scenario.name = path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
        }
        Ok(scenario)
    }

    fn parse(text: &str) -> Result<Self, Bad> {
        let mut table: toml::Table = text.parse().map_err(Bad::Toml)?;
        let said = table.get("workload").and_then(toml::Value::as_table).cloned();
        if let Some(kind) =
            said.as_ref().and_then(|said| said.get("kind")).and_then(toml::Value::as_str)
        {
            let base = Workload::named(kind).ok_or_else(|| Bad::Kind(kind.to_owned()))?;
            let mut whole = toml::Table::try_from(base).expect("plain numbers and words");
            whole.extend(said.unwrap_or_default());
            table.insert("workload".to_owned(), whole.into());
        }
        table.try_into().map_err(Bad::Toml)
    }

    /// All scenarios of a folder, by name.
    ///
    /// # Errors
    /// [`BadScenario`] of the first that cannot be used.
    pub fn all(folder: &Path) -> Result<Vec<Self>, BadScenario> {
        let unreadable = |error| BadScenario::Unreadable(folder.to_owned(), error);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }
}

/// What is wrong with a text, before it is known where it stands.
#[derive(Debug)]
enum Bad {
    Toml(toml::de::Error),
    Kind(String),
}

fn one() -> u32 {
    1
}

fn valid() -> String {
    "valid".to_owned()
}

fn sixty() -> u64 {
    60
}

fn five() -> u64 {
    5
}

fn ninety() -> u64 {
    90
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_brings_its_mixture_and_the_file_has_the_last_word() {
        let scenario = Scenario::parse("[workload]\nkind = \"retry-duplicate\"\nrate = 7\n")
            .expect("a good scenario");
        assert_eq!((scenario.workload.rate, scenario.workload.repeats), (7, 400));
        assert_eq!(scenario.cluster.nodes, 3);
        assert_eq!(scenario.expect, "valid");
    }

    #[test]
    fn unknown_fields_and_kinds_are_refused() {
        assert!(matches!(Scenario::parse("[workload]\nkind = \"x\"\n"), Err(Bad::Kind(_))));
        assert!(matches!(Scenario::parse("fault_secnods = 3\n"), Err(Bad::Toml(_))));
    }

    #[test]
    fn what_a_run_writes_down_is_what_it_can_be_repeated_from() {
        let scenario = Scenario::parse("[nemesis]\nfaults = [\"kill\"]\n").expect("good");
        let text = toml::to_string(&scenario).expect("plain data");
        assert_eq!(Scenario::parse(&text).expect("own text"), scenario);
    }

    #[test]
    fn every_scenario_of_the_project_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let all = Scenario::all(&folder).expect("good scenarios");
        assert!(all.iter().any(|scenario| scenario.tiers.iter().any(|tier| tier == "ci")));
    }
}
