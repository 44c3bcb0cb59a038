//! The list of metrics is what the source exports and what the operator's page says, no more and no less.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::metrics::list::{self, Kind, LIST, Metric};
use super::super::{Operated, PeerStatus, sampled};
use super::{Node, shard};

/// What a metric may begin with.
const PREFIXES: [&str; 4] = ["synod_", "raft_", "backup_", "process_"];
/// What has no bound, and is nobody's business.
const FORBIDDEN_LABELS: [&str; 7] =
    ["user", "device", "conversation", "group", "address", "message", "asset"];

/// A use of a macro of `metrics` in the source: its kind, its name, its labels.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    kind: &'static str,
    name: String,
    labels: BTreeSet<String>,
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "tests" {
            sources(&path, into);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            into.push(path);
        }
    }
}

/// The uses of `text`. Labels are written `"name" => value`.
fn uses(text: &str) -> Vec<Use> {
    let mut found = Vec::new();
    for kind in ["counter", "gauge", "histogram"] {
        let call = format!("{kind}!(");
        for (at, _) in text.match_indices(&call) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue; // `describe_counter!`
            }
            let arguments = enclosed(&text[at + call.len()..]);
            let mut literals = arguments.split('"').skip(1).step_by(2);
            let name = literals.next().expect("metrics are named by literals").to_owned();
            let before_arrows = arguments.rsplit("=>").skip(1);
            let labels = before_arrows.filter_map(|part| {
                let part = part.trim_end().strip_suffix('"')?;
                Some(part.rsplit('"').next()?.to_owned())
            });
            found.push(Use { kind, name, labels: labels.collect() });
        }
    }
    found
}

/// What stands before the bracket that closes what was opened before `text`.
fn enclosed(text: &str) -> &str {
    let mut open = 1;
    let end = text.find(|c| {
        open += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        open == 0
    });
    &text[..end.expect("brackets are closed")]
}

fn used() -> Vec<Use> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for room in ["chat", "cluster-config", "proto", "store", "raft", "transport", "node"] {
        sources(&workspace.join(room).join("src"), &mut files);
    }
    assert!(files.len() > 100, "the sources of the rooms are there");
    let text = |path: &PathBuf| std::fs::read_to_string(path).expect("a readable source");
    files.iter().flat_map(|path| uses(&text(path))).collect()
}

/// A node of which everything can be sampled.
fn sampled() -> Vec<sampled::Sample> {
    struct Whole(Node);
    impl Operated for Whole {
        fn node(&self) -> u64 {
            1
        }
        fn now_ms(&self) -> u64 {
            77
        }
        fn cluster(&self) -> String {
            "a \"quoted\\ name".to_owned()
        }
        fn groups_expected(&self) -> Option<usize> {
            Some(2)
        }
        fn shards(&self) -> Vec<super::ShardStatus> {
            self.0.shards.clone()
        }
        fn peers(&self) -> Vec<PeerStatus> {
            vec![PeerStatus { id: 2, alive: false, client: String::new() }]
        }
        fn clients(&self) -> super::Clients {
            self.0.clients
        }
        fn links(&self) -> usize {
            3
        }
        fn cut(&self, _nodes: BTreeSet<u64>) -> Option<()> {
            None
        }
        fn certificates(&self) -> Vec<(&'static str, u64)> {
            self.0.certificates()
        }
        fn journal(&self) -> store::JournalStats {
            self.0.journal()
        }
        fn letters(&self) -> Option<crate::push::DeadLetters> {
            None
        }
        fn backups(&self) -> Option<crate::backup::Backups> {
            None
        }
    }
    let shards = vec![shard(0, Some(1), 4), shard(1, None, 9)];
    let node =
        Node { clients: super::Clients::Served, shards, faults: false, cut: Default::default() };
    sampled::samples(&Whole(node), 12.5)
}

#[test]
fn the_list_is_what_the_source_exports_and_nothing_else() {
    let listed: BTreeMap<&str, &Metric> = list::all().map(|metric| (metric.name, metric)).collect();
    assert_eq!(listed.len(), list::all().count(), "a name is listed once");
    let (used, sampled) = (used(), sampled());
    for Use { kind, name, labels } in &used {
        let metric = listed.get(name.as_str());
        let metric = metric.unwrap_or_else(|| panic!("{name} is counted and not in the list"));
        assert_eq!(metric.kind.word(), *kind, "{name}");
        let expected: BTreeSet<String> =
            metric.labels.iter().map(|(label, _)| (*label).to_owned()).collect();
        assert_eq!(*labels, expected, "labels of {name}");
    }
    for sample in &sampled {
        let metric = listed.get(sample.name);
        let metric = metric.unwrap_or_else(|| panic!("{} is sampled, not listed", sample.name));
        let labels: Vec<&str> = sample.labels.iter().map(|(label, _)| *label).collect();
        let expected: Vec<&str> = metric.labels.iter().map(|(label, _)| *label).collect();
        assert_eq!(labels, expected, "labels of {}", sample.name);
    }
    let mut exported: BTreeSet<&str> = used.iter().map(|used| used.name.as_str()).collect();
    exported.extend(sampled.iter().map(|sample| sample.name));
    for name in listed.keys() {
        assert!(exported.contains(name), "{name} is listed, and nothing exports it");
    }
}

#[test]
fn names_have_base_units_and_labels_have_bounds() {
    for Metric { name, kind, help, labels } in list::all() {
        assert!(PREFIXES.iter().any(|prefix| name.starts_with(prefix)), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        for unit in ["_ms", "_milli", "_micro", "_kilo", "_mb", "_kib", "_percent"] {
            assert!(!name.contains(unit), "{name}: base units only");
        }
        assert!(help.ends_with('.') && help.len() > 5, "{name} is described");
        for (label, bound) in *labels {
            assert!(!FORBIDDEN_LABELS.contains(label), "{name} by {label} has no bound");
            assert!(!bound.is_empty(), "{name}: what bounds {label}?");
        }
    }
}

#[test]
fn a_use_is_read_with_its_kind_and_labels() {
    let text = r#"describe_counter!("no", x); metrics::counter!("a_total", "kind" => kind.name(),
        "why" => (1, "x")).increment(1); LazyLock::new(|| gauge!("b"))"#;
    let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    let expected = [
        Use { kind: "counter", name: "a_total".to_owned(), labels: labels(&["kind", "why"]) },
        Use { kind: "gauge", name: "b".to_owned(), labels: labels(&[]) },
    ];
    assert_eq!(uses(text), expected);
}

#[test]
fn what_is_sampled_is_told_in_the_text_form() {
    let text = sampled::text(&sampled());
    for line in [
        "# HELP synod_ready 1 while this node answers /readyz with 200.",
        "# TYPE synod_ready gauge",
        "synod_ready 0",
        "synod_uptime_seconds 12.5",
        "synod_groups{role=\"follower\"} 2",
        "synod_groups_without_leader 1",
        "synod_peer_up{peer=\"2\"} 0",
        "synod_disk_free_bytes 1",
        "synod_certificate_expires_timestamp_seconds{plane=\"peer\"} 1795406840",
        r#"synod_node_info{cluster="a \"quoted\\ name",node="1"} 1"#,
    ] {
        assert!(text.lines().any(|told| told == line), "{line}\n{text}");
    }
}

/// The base unit, which is in the name.
fn unit(name: &str) -> &'static str {
    ["seconds", "bytes"].into_iter().find(|unit| name.contains(unit)).unwrap_or("1")
}

fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\nWhat each node tells at `GET /metrics` of its operations port. This page is written from the one list in \
         `node/src/operations/metrics/list.rs`:\n`SYNOD_REWRITE=1 cargo test -p node metrics`. Base units; what ends in `_total` only grows. A \
         histogram is told as `_bucket`, `_sum` and `_count`.\nLabels have bounds: none names a user, a device, a \
         conversation or an address.\n",
    );
    for part in LIST {
        let _ = write!(
            page,
            "\n## {}\n\n| Metric | Kind | Unit | What it tells | Labels |\n| --- | --- | --- | --- | --- |\n",
            part.title
        );
        for metric in part.metrics {
            let labels: Vec<String> =
                metric.labels.iter().map(|(name, bound)| format!("`{name}`: {bound}")).collect();
            let (name, kind, unit) = (metric.name, metric.kind.word(), unit(metric.name));
            let labels = labels.join("; ");
            let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {} | {labels} |", metric.help);
        }
    }
    page
}

#[test]
fn the_operators_page_is_the_list() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating/metrics.md");
    if std::env::var_os("SYNOD_REWRITE").is_some() {
        std::fs::write(&path, page()).expect("the folder of documents can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page(), "write it: SYNOD_REWRITE=1 cargo test -p node metrics");
}
