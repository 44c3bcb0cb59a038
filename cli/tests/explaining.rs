//! `synod shard explain` tells what is the matter: faults that are provoked in a real cluster, each with the verdict that an
//! operator is given and the command that comes next.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/small_disk.rs"]
mod small_disk;
#[path = "support/synod.rs"]
mod synod;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use nodes::{Formed, Site};
use serde_json::Value;
use small_disk::SmallDisk;
use synod::{Home, PATIENCE, eventually, signal};

/// A cluster that is broken in one way after the other.
struct Cluster<'a> {
    formed: Formed<'a>,
    home: &'a Home,
    disk: Option<SmallDisk>,
}

/// A fault: how it is provoked, and how it is ended. `{shard}` in a command is the one asked about.
struct Fault {
    name: &'static str,
    provoke: fn(&mut Cluster<'_>),
    /// The node that is asked, and the shard that is asked about.
    asked: (usize, Shard),
    verdict: &'static str,
    next: Option<&'static str>,
    end: fn(&mut Cluster<'_>),
}

/// Which shard.
#[derive(Clone, Copy)]
enum Shard {
    /// This one.
    Number(u32),
    /// One that this node should lead, and no other than it.
    PreferredBy(u64),
}

fn nothing(_: &mut Cluster<'_>) {}

impl Cluster<'_> {
    fn join(&mut self, number: usize, zone: &str) {
        let site = site(self.home, number, zone);
        self.join_site(site);
    }

    fn join_site(&mut self, site: Site) {
        let join = self.formed.join.clone();
        self.formed.join(site, &join);
    }

    fn signal(&self, node: usize, name: &str) {
        signal(self.formed.sites[node - 1].pid(), name);
    }

    /// Has `node` and these not hear each other; no other cut of it stays.
    fn cut(&self, node: usize, from: &str) {
        let address = self.formed.sites[node - 1].operations;
        let body = format!("{{\"cut\":[{from}]}}");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let length = body.len();
        let head = format!("POST /fault HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.contains(" 200 "), "{answer}");
    }

    fn ask(&self, args: &[&str]) {
        self.formed.ask(args);
    }

    /// Waits until nothing moves and nothing is to come, and every shard is led as it should be.
    fn settle(&self) {
        eventually("everything stands still", || {
            let plan = self.formed.told(&["rebalance", "status"]);
            plan["moving"] == Value::Array(vec![]) && plan["moves"] == Value::Array(vec![])
        });
        eventually("all are led by those who should", || {
            self.shards().iter().all(|shard| shard["leader"] == shard["voters"][0])
        });
    }

    /// All groups, as the cluster shows them.
    fn shards(&self) -> Vec<Value> {
        let show = |shard: u32| self.formed.told(&["shard", "show", &shard.to_string()]);
        (0..=4).map(show).collect()
    }

    /// Waits until all nodes are as they were.
    fn all_ready(&self) {
        eventually("all nodes are ready", || {
            let nodes = self.formed.told(&["node", "ls"]);
            let nodes = nodes["nodes"].as_array().cloned().unwrap_or_default();
            let fine = |node: &Value| node["state"] == "ready" && node["alive"] == true;
            nodes.len() == self.formed.sites.len() && nodes.iter().all(fine)
        });
        self.settle();
    }

    fn number(&self, shard: Shard) -> u32 {
        let node = match shard {
            Shard::Number(number) => return number,
            Shard::PreferredBy(node) => node,
        };
        let shards = self.shards();
        let mine = shards.iter().find(|shard| shard["group"] != 0 && shard["voters"][0] == node);
        let mine = mine.unwrap_or_else(|| panic!("node {node} leads a shard: {shards:?}"));
        u32::try_from(mine["group"].as_u64().expect("a number")).expect("a small one")
    }

    /// Provokes a fault, waits for its verdict, and ends it.
    fn live(&mut self, fault: &Fault) {
        let (node, shard) = fault.asked;
        let (node, shard) = (node.to_string(), self.number(shard).to_string());
        (fault.provoke)(self);
        let verb = ["shard", "explain", shard.as_str(), "--addr", node.as_str()];
        let (begun, mut seen) = (Instant::now(), Vec::new());
        let told = loop {
            let told = self.formed.told(&verb);
            if told["verdict"] == fault.verdict {
                break told;
            }
            if seen.last() != Some(&told) {
                seen.push(told);
            }
            assert!(begun.elapsed() < PATIENCE, "{}: it was called {seen:?}", fault.name);
        };
        println!("{:<55} {:<15} {:?}", fault.name, fault.verdict, begun.elapsed());
        let next = fault.next.map(|next| next.replace("{shard}", &shard));
        assert_eq!(told["next"].as_str(), next.as_deref(), "{}: {told}", fault.name);
        assert_eq!(told["answeredBy"].to_string(), node, "{told}");
        (fault.end)(self);
    }
}

fn site(home: &Home, number: usize, zone: &str) -> Site {
    let more = format!("[advertise]\nzone = \"{zone}\"\n[faults]\nenabled = true\n");
    Site::prepare_with(home, number, &more)
}

/// Faults of three nodes, of which two are in one zone.
const OF_THREE: &[Fault] = &[
    Fault {
        name: "two of three voters are in one zone",
        provoke: nothing,
        asked: (1, Shard::Number(1)),
        verdict: "shared_zone",
        next: Some("synod node join-token"),
        end: nothing,
    },
    Fault {
        name: "a node is killed",
        provoke: |cluster| {
            cluster.ask(&["settings", "set", "repair_after=10"]);
            cluster.formed.kill(3);
        },
        asked: (1, Shard::Number(1)),
        verdict: "silent_voter",
        next: Some("synod node show 3"),
        end: nothing,
    },
    Fault {
        name: "it stays away, and there is no other to take its vote",
        provoke: nothing,
        asked: (1, Shard::Number(1)),
        verdict: "lost_voter",
        next: Some("synod node replace 3"),
        end: |cluster| {
            cluster.ask(&["settings", "set", "repair_after=600"]);
            cluster.formed.restart(3);
            cluster.all_ready();
        },
    },
    Fault {
        name: "a node stands still",
        provoke: |cluster| cluster.signal(2, "STOP"),
        asked: (1, Shard::Number(1)),
        verdict: "silent_voter",
        next: Some("synod node show 2"),
        end: |cluster| cluster.signal(2, "CONT"),
    },
    Fault {
        name: "two of three nodes stand still",
        provoke: |cluster| {
            cluster.signal(2, "STOP");
            cluster.signal(3, "STOP");
        },
        asked: (1, Shard::Number(1)),
        verdict: "no_quorum",
        next: Some("synod node show 2"),
        end: |cluster| {
            cluster.signal(2, "CONT");
            cluster.signal(3, "CONT");
            cluster.all_ready();
        },
    },
    Fault {
        name: "the node that is asked is cut off from all others",
        provoke: |cluster| cluster.cut(3, "1,2"),
        asked: (3, Shard::Number(1)),
        verdict: "no_quorum",
        next: Some("synod node show 1"),
        end: |cluster| {
            cluster.cut(3, "");
            cluster.all_ready();
        },
    },
    Fault {
        name: "the leader is cut off from the node that is asked alone",
        provoke: |cluster| cluster.cut(3, "1"),
        asked: (3, Shard::PreferredBy(1)),
        verdict: "leader_unheard",
        next: Some("synod node show 1"),
        end: |cluster| {
            cluster.cut(3, "");
            cluster.all_ready();
        },
    },
    Fault {
        name: "a node drains while moves are paused",
        provoke: |cluster| {
            cluster.ask(&["rebalance", "pause"]);
            cluster.ask(&["node", "drain", "1"]);
        },
        asked: (2, Shard::PreferredBy(1)),
        verdict: "paused",
        next: Some("synod rebalance pause --off"),
        end: |cluster| {
            cluster.ask(&["node", "undrain", "1"]);
            cluster.ask(&["rebalance", "pause", "--off"]);
        },
    },
    Fault {
        name: "a node drains and its shard is frozen",
        provoke: |cluster| {
            let shard = cluster.number(Shard::PreferredBy(1)).to_string();
            cluster.ask(&["shard", "freeze", &shard]);
            cluster.ask(&["node", "drain", "1"]);
        },
        asked: (2, Shard::PreferredBy(1)),
        verdict: "frozen",
        next: Some("synod shard freeze {shard} --off"),
        end: |cluster| {
            cluster.ask(&["node", "undrain", "1"]);
            let shard = cluster.number(Shard::PreferredBy(1)).to_string();
            cluster.ask(&["shard", "freeze", &shard, "--off"]);
            cluster.all_ready();
        },
    },
];

/// What can only happen where there is a fourth, in a zone of its own.
const OF_FOUR: &[Fault] = &[
    Fault {
        name: "who takes over a vote stands still",
        provoke: |cluster| {
            cluster.ask(&["rebalance", "pause"]);
            cluster.join(4, "c");
            cluster.signal(4, "STOP");
            eventually("it is not heard", || {
                cluster.formed.told(&["node", "show", "4"])["alive"] == Value::Bool(false)
            });
            cluster.ask(&["node", "decommission", "3"]);
            cluster.ask(&["rebalance", "pause", "--off"]);
        },
        asked: (1, Shard::Number(0)),
        verdict: "newcomer_silent",
        next: Some("synod node show 4"),
        end: nothing,
    },
    Fault {
        name: "others move first",
        provoke: nothing,
        asked: (1, Shard::Number(4)),
        verdict: "move_planned",
        next: None,
        end: |cluster| {
            cluster.signal(4, "CONT");
            eventually("node 3 is forgotten", || {
                let nodes = cluster.formed.told(&["node", "ls"]);
                nodes["nodes"].as_array().is_some_and(|nodes| nodes.len() == 3)
            });
            cluster.settle();
        },
    },
    Fault {
        name: "nothing, any more",
        provoke: nothing,
        asked: (1, Shard::Number(1)),
        verdict: "sound",
        next: None,
        end: nothing,
    },
    Fault {
        name: "who should lead has just come back",
        provoke: |cluster| cluster.formed.restart(2),
        asked: (1, Shard::PreferredBy(2)),
        verdict: "led_elsewhere",
        next: None,
        end: |cluster| cluster.settle(),
    },
];

/// Needs a disk of its own.
const FULL: Fault = Fault {
    name: "the disk of the leader is full",
    provoke: |cluster| cluster.disk.as_ref().expect("asked for").fill(),
    asked: (1, Shard::PreferredBy(3)),
    verdict: "disk_full",
    next: Some("synod shard transfer {shard} --to 1"),
    end: |cluster| {
        cluster.disk.as_ref().expect("asked for").free();
        eventually("there is room again", || {
            let shard = cluster.number(Shard::PreferredBy(3)).to_string();
            cluster.formed.told(&["shard", "explain", &shard])["verdict"] == "shared_zone"
        });
    },
};

#[test]
fn a_provoked_fault_is_called_by_its_name_with_the_command_that_comes_next() {
    let home = Home::new();
    let formed = Formed::found(&home, site(&home, 1, "a"), 3);
    let mut cluster = Cluster { formed, home: &home, disk: None };
    cluster.live(&Fault {
        name: "a cluster of one node",
        provoke: nothing,
        asked: (1, Shard::Number(1)),
        verdict: "too_few_nodes",
        next: Some("synod node join-token"),
        end: nothing,
    });
    cluster.join(2, "b");
    let third = site(&home, 3, "a");
    match SmallDisk::mount(&third.data) {
        Ok(disk) => cluster.disk = Some(disk),
        Err(why) => println!("not provoked: a full disk: {why}"),
    }
    cluster.join_site(third);
    cluster.settle();
    if cluster.disk.is_some() {
        cluster.live(&FULL);
    }
    for fault in OF_THREE.iter().chain(OF_FOUR) {
        cluster.live(fault);
    }
}
