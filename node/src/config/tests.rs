//! What a configuration file may and may not say.

use super::*;

const GOOD: &str = r#"
node = 1
data = "data"
[listen]
client = "127.0.0.1:7400"
peer = "127.0.0.1:7401"
operations = "127.0.0.1:7402"
plain = "127.0.0.1:7403"
[tls]
authority = "ca.pem"
client_certificate = "client.pem"
client_key = "client.key"
peer_certificate = "peer.pem"
peer_key = "peer.key"
[cluster]
id = "test"
replication = 1
[[cluster.nodes]]
id = 1
client = "127.0.0.1:7400"
peer = "127.0.0.1:7401"
operations = "127.0.0.1:7402"
"#;

fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the test edits what is there");
    Config::parse(&GOOD.replace(from, to), Path::new("/etc/synod")).expect_err("must be refused")
}

#[test]
fn a_good_file_is_read_with_paths_from_its_folder() {
    let config = Config::parse(GOOD, Path::new("/etc/synod")).expect("good");
    assert_eq!(config.data, Path::new("/etc/synod/data"));
    assert_eq!(config.tls.authority, Path::new("/etc/synod/ca.pem"));
    assert_eq!(config.cluster.shards, 16);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let told = refusal("plain =", "plane =");
    assert!(told.contains("did you mean `plain`?"), "{told}");
}

#[test]
fn values_that_cannot_work_are_refused_by_name() {
    assert!(refusal("node = 1", "node = 7").contains("node: this id is not among"));
    assert!(refusal("id = \"test\"", "id = \"Test_1\"").contains("cluster.id"));
    assert!(refusal("replication = 1", "replication = 3").contains("cluster.replication"));
    assert!(refusal("replication = 1", "shards = 0").contains("cluster.shards"));
    assert!(
        refusal("plain = \"127.0.0.1:7403\"", "plain = \"10.0.0.1:80\"").contains("listen.plain")
    );
    assert!(refusal("id = 1\nclient", "id = 0\nclient").contains("ids begin at 1"));
}

#[test]
fn a_wrong_type_names_its_line() {
    let told = refusal("node = 1", "node = \"one\"");
    assert!(told.contains("line 2"), "{told}");
}
