//! What a cluster tells its operators after a busy start: every metric described, bounded in number, and nobody named.

use std::collections::{BTreeMap, BTreeSet};

use tests::{Cluster, Shape, Stranger, http};

/// More would make a scrape, and whoever keeps them, suffer.
const SERIES_MAX: usize = 5_000;
/// Enough to see whether a name of any of them became a label.
const USERS: usize = 8;
const MESSAGES: usize = 20;

/// Lines that are values: name with labels, and value.
fn series(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let values = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    values.map(|line| line.rsplit_once(' ').expect("a value has a name"))
}

/// The metric of a series: without labels and the suffixes of histograms.
fn metric<'a>(series: &'a str, kinds: &BTreeMap<&str, &str>) -> &'a str {
    let name = series.split('{').next().unwrap_or(series);
    let whole = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    whole.filter(|whole| kinds.get(whole) == Some(&"histogram")).unwrap_or(name)
}

async fn scrape(cluster: &Cluster, node: u64) -> String {
    let address = cluster.operations_address(node);
    let answer = http::plain(address, "GET", "/metrics", None, "").await;
    let (status, body) = answer.expect("the operations port answers");
    assert_eq!(status, 200);
    String::from_utf8(body).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_node_describes_each_metric_names_nobody_and_stays_small() {
    let cluster = Cluster::start(Shape::default()).await;
    let names: Vec<String> = (0..USERS).map(|n| format!("person-{n}-of-metrics")).collect();
    let mut people = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let node = n as u64 % 3 + 1;
        people.push(Stranger::arrive(cluster.plain_address(node), name).await);
    }
    let (mut mouth, mut ear) = (people[0].chat().await, people[1].chat().await);
    for n in 0..MESSAGES {
        mouth.stored(&names[1], &format!("m{n}"), "hello").await;
    }
    ear.messages(MESSAGES).await;
    let text = scrape(&cluster, 1).await;

    let word = |line: &'_ str| line.split(' ').nth(2).map(str::to_owned);
    let helped: BTreeSet<String> =
        text.lines().filter(|line| line.starts_with("# HELP ")).filter_map(word).collect();
    let kinds: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut count = 0;
    for (series, value) in series(&text) {
        count += 1;
        let metric = metric(series, &kinds);
        assert!(kinds.contains_key(metric), "{series} has a kind");
        assert!(helped.contains(metric), "{series} is described");
        value.parse::<f64>().expect("a number");
        assert!(names.iter().all(|name| !series.contains(name.as_str())), "{series} names a user");
    }
    assert!(count <= SERIES_MAX, "{count} series");
    for moved in [
        "synod_messages_sent_total",
        "synod_sends_total{outcome=\"accepted\"}",
        "synod_messages_delivered_total",
        "synod_ack_seconds_count",
        "raft_commit_seconds_count",
        "synod_disk_sync_seconds_count",
        "synod_journal_bytes_total",
        "synod_fanout_events_total{kind=\"message\"}",
        "synod_requests_total{call=\"POST /v1/users\",status=\"2xx\"}",
        "raft_leader_changes_total",
    ] {
        let value = series_value(&text, moved);
        assert!(value > 0.0, "{moved} is {value}");
    }
    assert!((series_value(&text, "synod_ready") - 1.0).abs() < f64::EPSILON);
    cluster.stop().await;
}

fn series_value(text: &str, name: &str) -> f64 {
    let found = series(text).find(|(series, _)| *series == name);
    let (_, value) = found.unwrap_or_else(|| panic!("{name} is told\n{text}"));
    value.parse().expect("a number")
}
