//! Golden scripts: what is asked of the machine after `>`, what came of it below. They are documentation that is run.
//!
//! `SYNOD_REWRITE=1 cargo test -p cluster-config --test scripts` first writes the answers of today into them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use cluster_config::{
    Addresses, AuthorityKey, Claim, ClusterConfig, ClusterId, Command, Door, FeatureLevel,
    Fingerprint, Founder, GroupId, Held, JoinToken, NodeId, NodeState, PlanLimits, Setting, Slot,
    TokenKey, apply, plan,
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
        if let ["enter", node] = words.as_slice() {
            return self.enter(node);
        }
        if words == ["settle"] {
            return self.settle();
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

    /// A node comes in and is ready.
    fn enter(&mut self, node: &str) -> String {
        let secret = Fingerprint([self.at_ms.to_le_bytes()[0]; 32]);
        let identity = Fingerprint([self.at_ms.to_le_bytes()[1]; 32]);
        let token = JoinToken { secret, uses: 1, expires_at_ms: u64::MAX, replaces: None };
        let admit =
            Command::Admit { secret, identity, node: founder(node).1, speaks: FeatureLevel::MAX };
        let id = self.config.as_ref().expect("a cluster to come into").last_node.0.max(
            *self
                .config
                .iter()
                .flat_map(|c| c.nodes.keys())
                .map(|NodeId(id)| id)
                .max()
                .expect("nodes"),
        ) + 1;
        let ready = Command::SetNodeState { node: NodeId(id), state: NodeState::Ready };
        for command in [Command::AddJoinToken(token), admit, ready] {
            self.at_ms += 257;
            let applied = apply(&mut self.config, self.at_ms, "operator", &command);
            assert!(applied.event.is_some(), "{:?}", applied.outcome);
        }
        format!("node {id}")
    }

    /// Plans, does what was planned, and plans again, until there is nothing to plan.
    fn settle(&mut self) -> String {
        let mut lines = Vec::new();
        for round in 1.. {
            assert!(round < 100, "it does not end");
            let config = self.config.as_ref().expect("a cluster to plan for");
            let commands = plan(config, PlanLimits::default());
            if commands.is_empty() {
                break;
            }
            lines.push(format!("round {round}"));
            for command in commands {
                let line = plan_line(self.config.as_ref().expect("there"), &command);
                lines.push(format!("  {line}"));
                let applied = apply(&mut self.config, self.at_ms, "planner", &command);
                assert!(applied.event.is_some(), "{:?}", applied.outcome);
            }
            let config = self.config.as_ref().expect("there");
            let moving = |group: GroupId| config.moving(group).map(|to| (group, to.to_vec()));
            let arrived: Vec<_> = config.groups().filter_map(moving).collect();
            for (group, replicas) in arrived {
                let command = Command::FinishMove { group, replicas };
                apply(&mut self.config, self.at_ms, "leader", &command);
            }
        }
        if lines.is_empty() { "nothing to do".to_owned() } else { lines.join("\n") }
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
            ["at-first", group] => {
                vec![format!("{:?}", config.slots_at_first(GroupId(number(group))))]
            }
            ["epochs"] => vec![format!("{} of history {}", config.epoch, config.history_epoch)],
            ["trust"] => {
                let trusted = config.door.trusted().into_iter();
                let trusted = trusted.map(|(generation, pem)| format!("{generation} {pem}"));
                let waits = config.rotation_waits_for();
                let asked = config.door.trust.asked.keys().copied().collect::<Vec<_>>();
                let signs = config.door.authority.as_ref().map_or("nobody", |a| &a.certificate);
                trusted
                    .chain([format!("{signs} signs")])
                    .chain([format!("waits for [{}], asked [{}]", ids(&waits), ids(&asked))])
                    .collect()
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
    let moving = shard.moving.as_deref().map_or_else(String::new, |to| format!(" to {}", ids(to)));
    let frozen = if shard.frozen { ", frozen" } else { "" };
    let split = |split: &cluster_config::Split| format!(", {:?} become {}", split.slots, split.to);
    let splitting = shard.splitting.as_ref().map_or_else(String::new, split);
    let parent = shard.parent.map_or_else(String::new, |parent| format!(", was of {parent}"));
    let (start, end) = (shard.slots.start, shard.slots.end);
    let on = ids(&shard.replicas);
    format!("{id}: {start}..{end} on {on}{moving}{frozen}{splitting}{parent}")
}

fn node_ids(words: &[&str]) -> Vec<NodeId> {
    words.iter().map(|word| NodeId(number(word))).collect()
}

fn plan_line(config: &ClusterConfig, command: &Command) -> String {
    match command {
        Command::MoveShard { group, to, .. } => {
            format!("{group}: {} -> {}", ids(config.replicas(*group)), ids(to))
        }
        Command::RemoveNode { node } => format!("node {node} is forgotten"),
        other => panic!("no planner says {other:?}"),
    }
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
            door: Door { authority: Some(authority("a0")), ..Door::default() },
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
            speaks: FeatureLevel::FIRST,
        },
        ["admit", secret, identity, node, speaks] => Command::Admit {
            secret: print(secret),
            identity: print(identity),
            node: founder(node).1,
            speaks: level(speaks),
        },
        ["raise", from, to, speak @ ..] => Command::RaiseLevel {
            from: level(from),
            to: level(to),
            release: "0.2.0".to_owned(),
            speak: speak.iter().map(|said| speaks(said)).collect(),
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
        ["move", group, epoch, to @ ..] => Command::MoveShard {
            group: GroupId(number(group)),
            to: node_ids(to),
            if_epoch: number(epoch.strip_prefix("if=").expect("if=")),
        },
        ["finish", group, replicas @ ..] => {
            Command::FinishMove { group: GroupId(number(group)), replicas: node_ids(replicas) }
        }
        ["cancel", group] => Command::CancelMove { group: GroupId(number(group)) },
        ["freeze", group, frozen] => {
            Command::FreezeShard { group: GroupId(number(group)), frozen: *frozen == "on" }
        }
        ["split", group, epoch, start, end] => Command::SplitShard {
            group: GroupId(number(group)),
            slots: number(start)..number(end),
            if_epoch: number(epoch.strip_prefix("if=").expect("if=")),
        },
        ["finish-split", group, to] => {
            Command::FinishSplit { group: GroupId(number(group)), to: GroupId(number(to)) }
        }
        ["hold", node, issuer, trusts, at] => Command::HoldCertificate {
            node: NodeId(number(node)),
            held: held(issuer, trusts, number(at.strip_prefix("at=").expect("at="))),
        },
        ["renew", node] => Command::RenewCertificate { node: NodeId(number(node)) },
        ["rotate-ca", name] => Command::RotateAuthority { next: authority(name) },
        ["recover", node] => Command::Recover { survivor: NodeId(number(node)) },
        ["remove-node", node] => Command::RemoveNode { node: NodeId(number(node)) },
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

/// A feature level after any word and `=`.
fn level(text: &str) -> FeatureLevel {
    FeatureLevel(number(text.split_once('=').map_or(text, |(_, level)| level)))
}

/// `NODE=LEVEL`.
fn speaks(text: &str) -> (NodeId, FeatureLevel) {
    let (node, _) = text.split_once('=').expect("NODE=LEVEL");
    (NodeId(number(node)), level(text))
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
        "upgrade_automatic" => Setting::UpgradeAutomatic(number(value)),
        other => panic!("no such setting: {other}"),
    }
}

fn authority(name: &str) -> AuthorityKey {
    AuthorityKey { certificate: name.to_owned(), key: "key".to_owned(), cross: None }
}

fn held(issuer: &str, trusts: &str, issued_at_ms: u64) -> Held {
    let trusts = trusts.strip_prefix("trusts=").expect("trusts=");
    Held {
        issuer: number(issuer.strip_prefix("by=").expect("by=")),
        trusts: trusts.split(',').map(number).collect(),
        issued_at_ms,
        expires_at_ms: issued_at_ms + 1_000_000,
    }
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
