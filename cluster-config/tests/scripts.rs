//! Golden scripts: what is asked of the machine after `>`, what came of it below. They are documentation that is run.
//!
//! `SYNOD_REWRITE=1 cargo test -p cluster-config --test scripts` first writes the answers of today into them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use cluster_config::{
    Addresses, AuthorityKey, Claim, ClusterConfig, ClusterId, Command, Door, Fingerprint, Founder,
    GroupId, JoinToken, NodeId, NodeState, Setting, Slot, TokenKey, apply,
};

fn scripts() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let files = std::fs::read_dir(folder).expect("the scripts lie beside the test");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("readable").path()).collect();
    files.sort();
    files
}

#[test]
fn every_script_comes_to_what_it_says() {
    let scripts = scripts();
    assert!(!scripts.is_empty(), "there are scripts");
    for path in scripts {
        let mut text = std::fs::read_to_string(&path).expect("readable");
        let run = run(&text);
        if std::env::var_os("SYNOD_REWRITE").is_some() {
            std::fs::write(&path, &run).expect("writable");
            text = run.clone();
        }
        for (at, (said, came)) in text.lines().zip(run.lines()).enumerate() {
            assert_eq!(came, said, "{}:{}", path.display(), at + 1);
        }
        assert_eq!(run.lines().count(), text.lines().count(), "{} is whole", path.display());
    }
}

/// The script with the answers that its commands come to. Comments and blank lines stay.
fn run(text: &str) -> String {
    let mut world = World { config: None, at_ms: 0 };
    let mut out = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            let answer = world.run(command);
            writeln!(out, "{line}\n{}", answer.trim_end()).expect("a string takes all");
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(out, "{line}").expect("a string takes all");
        }
    }
    out
}

struct World {
    config: Option<ClusterConfig>,
    at_ms: u64,
}

impl World {
    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["show", what @ ..] = words.as_slice() {
            return self.show(what);
        }
        if let ["wait", hours] = words.as_slice() {
            self.at_ms += 3_600_000 * number::<u64>(hours.strip_prefix("hours=").expect("hours="));
            return format!("{} ms since 1970", self.at_ms);
        }
        let command = command(&words);
        self.at_ms += 1_000;
        let applied = apply(&mut self.config, self.at_ms, "operator", &command);
        match applied.event {
            Some(event) => format!("{:?}\n{event:?}", applied.outcome),
            None => format!("{:?}", applied.outcome),
        }
    }

    fn show(&self, what: &[&str]) -> String {
        let config = self.config.as_ref().expect("a cluster to show");
        let lines: Vec<String> = match what {
            ["shards"] => config.shards.iter().map(|(id, shard)| shard_line(*id, shard)).collect(),
            ["voters"] => vec![ids(&config.voters)],
            ["nodes"] => config
                .nodes
                .iter()
                .map(|(id, node)| format!("{id} {} {}", node.state.as_str(), node.addresses.client))
                .collect(),
            ["keys"] => config
                .keys
                .iter()
                .map(|key| format!("{} {}", key.id, if key.retired { "retired" } else { "good" }))
                .chain([format!("{} signs", config.signing_key().id)])
                .collect(),
            ["audit"] => config
                .audit
                .iter()
                .map(|r| format!("{} at {} by {}: {}", r.epoch, r.at_ms, r.actor, r.what))
                .collect(),
            ["operators"] => {
                let operators = config.door.operators.iter();
                operators.map(|who| format!("{} since {}", who.name, who.created_at_ms)).collect()
            }
            ["owner", slot] => vec![config.shard_of(Slot(number(slot))).to_string()],
            ["groups", node] => {
                let groups = config.groups_of(NodeId(number(node)));
                vec![groups.iter().map(GroupId::to_string).collect::<Vec<_>>().join(" ")]
            }
            other => panic!("show what? {other:?}"),
        };
        lines.join("\n")
    }
}

fn shard_line(id: GroupId, shard: &cluster_config::Shard) -> String {
    format!("{id}: {}..{} on {}", shard.slots.start, shard.slots.end, ids(&shard.replicas))
}

fn ids(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" ")
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn command(words: &[&str]) -> Command {
    match words {
        ["bootstrap", cluster, shards, replication, nodes @ ..] => Command::Bootstrap {
            cluster: ClusterId::parse(cluster).expect("a legal name"),
            nodes: nodes.iter().map(|node| founder(node)).collect::<BTreeMap<_, _>>(),
            shards: number(shards.strip_prefix("shards=").expect("shards=")),
            replication: number(replication.strip_prefix("replication=").expect("replication=")),
            token_key: key("1"),
            door: Door { authority: Some(authority()), ..Door::default() },
        },
        ["join-token", secret, uses, hours, replaces @ ..] => Command::AddJoinToken(JoinToken {
            secret: print(secret),
            uses: number(uses.strip_prefix("uses=").expect("uses=")),
            expires_at_ms: 3_600_000 * number::<u64>(hours.strip_prefix("hours=").expect("hours=")),
            replaces: replaces.first().map(|node| NodeId(number(node))),
        }),
        ["admit", secret, identity, node] => Command::Admit {
            secret: print(secret),
            identity: print(identity),
            node: founder(node).1,
        },
        ["introduce", node, identity] => {
            Command::Introduce { node: NodeId(number(node)), identity: print(identity) }
        }
        ["open-claim", secret, hours] => Command::AddClaim(Claim {
            secret: print(secret),
            expires_at_ms: 3_600_000 * number::<u64>(hours.strip_prefix("hours=").expect("hours=")),
        }),
        ["claim", secret, name, token] => {
            Command::Claim { secret: print(secret), name: (*name).to_owned(), token: print(token) }
        }
        ["remove-operator", name] => Command::RemoveOperator { name: (*name).to_owned() },
        ["node", node, state] => {
            Command::SetNodeState { node: NodeId(number(node)), state: node_state(state) }
        }
        ["address", node, port] => {
            Command::SetAddresses { node: NodeId(number(node)), addresses: addresses(port) }
        }
        ["set", name, value] => Command::ChangeSetting(setting(name, value)),
        ["add-key", id] => Command::AddTokenKey(key(id)),
        ["retire-key", id] => Command::RetireTokenKey { id: number(id) },
        other => panic!("no such command: {other:?}"),
    }
}

/// `ID`, `ID@ZONE`, `ID@ZONE*WEIGHT`.
fn founder(text: &str) -> (NodeId, Founder) {
    let (text, weight) = text.split_once('*').unwrap_or((text, "1"));
    let (id, zone) = match text.split_once('@') {
        Some((id, zone)) => (id, Some(zone.to_owned())),
        None => (text, None),
    };
    let port = (7400 + 10 * number::<u32>(id)).to_string();
    (NodeId(number(id)), Founder { addresses: addresses(&port), zone, weight: number(weight) })
}

fn addresses(port: &str) -> Addresses {
    let at = |plane: &str| format!("{plane}:{port}");
    Addresses { client: at("client"), peer: at("peer"), operations: at("operations") }
}

fn node_state(text: &str) -> NodeState {
    use NodeState::{Draining, Joining, Leaving, Lost, Ready};
    let all = [Joining, Ready, Draining, Leaving, Lost];
    all.into_iter().find(|state| state.as_str() == text).expect("a state")
}

fn setting(name: &str, value: &str) -> Setting {
    let seconds = || Duration::from_secs(number(value));
    match name {
        "access_token_ttl" => Setting::AccessTokenTtl(seconds()),
        "refresh_token_ttl" => Setting::RefreshTokenTtl(seconds()),
        "send_rate_per_s" => Setting::SendRatePerS(number(value)),
        "open_registration" => Setting::OpenRegistration(number(value)),
        other => panic!("no such setting: {other}"),
    }
}

fn authority() -> AuthorityKey {
    AuthorityKey { certificate: "certificate".to_owned(), key: "key".to_owned() }
}

/// A fingerprint that begins with these letters.
fn print(text: &str) -> Fingerprint {
    let mut bytes = [0; 32];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Fingerprint(bytes)
}

fn key(id: &str) -> TokenKey {
    TokenKey { id: number(id), seed: [1; 32], created_at_ms: 0, retired: false }
}
