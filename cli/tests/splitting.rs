//! Shards that are split under load, as an operator has it done: real processes, one of which is killed in the middle of it,
//! and clients that send all the while. Nobody is refused, and every message that was acknowledged is there once and in
//! order, on every node.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

#[path = "support/load.rs"]
mod load;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use client::Config;
use load::{Load, PAIRS, judge, slot_of};
use nodes::Formed;
use serde_json::Value;
use synod::{Home, eventually, stderr};

/// All shards: number, first slot, the one after its last.
fn shards(formed: &Formed<'_>) -> Vec<(u64, u64, u64)> {
    let mut shards = Vec::new();
    for number in 1..=formed_groups(formed) {
        let shard = formed.ask(&["shard", "show", &number.to_string()]);
        let slots = [0, 1].map(|edge| shard["slots"][edge].as_u64().expect("a slot"));
        shards.push((number, slots[0], slots[1]));
    }
    shards
}

fn formed_groups(formed: &Formed<'_>) -> u64 {
    let address = formed.sites[0].operations.to_string();
    let listed = formed.ask_at(&["shard", "ls", "--operations", &address]);
    let groups = listed["shards"].as_array().expect("shards").iter();
    groups.map(|shard| shard["group"].as_u64().expect("a number")).max().expect("some")
}

/// The shard that owns a slot.
fn owner(formed: &Formed<'_>, slot: u16) -> (u64, u64, u64) {
    let slot = u64::from(slot);
    let shards = shards(formed);
    *shards.iter().find(|(_, start, end)| (*start..*end).contains(&slot)).expect("one owns it")
}

/// Splits a pair's conversation off the shard that it is in, with everything above or below it.
fn split(formed: &Formed<'_>, pair: usize, above: bool) -> (u64, u64) {
    let slot = slot_of(pair);
    let (shard, start, end) = owner(formed, slot);
    let slots = if above { format!("{slot}-{}", end - 1) } else { format!("{start}-{slot}") };
    let begun = formed.ask(&["shard", "split", &shard.to_string(), "--slots", &slots]);
    (shard, begun["to"].as_u64().expect("a number"))
}

fn serves(formed: &Formed<'_>, shard: u64, asked: usize) {
    eventually("the new shard is in the map, and led", || {
        let (shard, asked) = (shard.to_string(), asked.to_string());
        let cluster = formed.try_ask(&["shard", "show", &shard, "--addr", &asked]);
        cluster.is_some_and(|shard| shard["leader"].is_number())
    });
}

#[test]
fn a_shard_is_split_twice_and_another_while_a_node_dies_and_no_send_fails() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    let ca = std::fs::read(&formed.ca).expect("the authority");
    let addresses: Vec<_> = formed.sites.iter().map(|site| site.client).collect();
    let load = Load::begin(&Config::new(addresses.clone(), ca.clone()));
    load.goes_on(40);

    // What would become of it is shown, and does not happen.
    let before = shards(&formed);
    let shown = formed.ask(&["shard", "split", "1", "--dry-run"]);
    assert_eq!(shown["to"], Value::from(5));
    assert_eq!(shown["after"][1]["slots"], serde_json::json!([2048, 4096]));
    assert_eq!(shards(&formed), before);
    let refused = ["shard", "split", "1", "--slots", "100-200", "--ctx", "synod"];
    let refused = home.run(&refused);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));

    // A pair's conversation goes to a new shard, and from there to another one.
    let (old, first) = split(&formed, 0, true);
    load.goes_on(20);
    serves(&formed, first, 1);
    assert_eq!(owner(&formed, slot_of(0)).0, first);
    load.goes_on(40);
    let (again, second) = split(&formed, 0, false);
    assert_eq!(again, first, "it is split off what it was split into");
    load.goes_on(20);
    serves(&formed, second, 1);
    assert_eq!(owner(&formed, slot_of(0)).0, second);
    assert_eq!(formed.ask(&["shard", "show", &first.to_string()])["parent"], Value::from(old));
    load.goes_on(40);

    // Whoever leads a shard dies as soon as it is asked to split it.
    let (shard, _, _) = owner(&formed, slot_of(PAIRS - 1));
    let leader = formed.ask(&["shard", "show", &shard.to_string()])["leader"].clone();
    let leader = usize::try_from(leader.as_u64().expect("it is led")).expect("a small number");
    let (_, third) = split(&formed, PAIRS - 1, true);
    formed.kill(leader);
    load.goes_on(40);
    serves(&formed, third, leader % 3 + 1);
    load.goes_on(40);
    formed.restart(leader);
    load.goes_on(40);

    let audit = formed.ask(&["audit", "ls"]).to_string();
    assert!(audit.contains("become shard 5") && audit.contains("split off shard"), "{audit}");
    // Whoever was killed lists a shard when it carries it again.
    eventually("all seven shards are carried", || formed_groups(&formed) == 7);
    for group in 1..=7 {
        eventually("every shard is as it should be, on every node", || {
            (1..=3).all(|node: usize| {
                let (group, node) = (group.to_string(), node.to_string());
                let shown = formed.try_ask(&["shard", "show", &group, "--addr", &node]);
                shown.is_some_and(|shard| shard["leader"].is_number())
            })
        });
    }
    let (runtime, said) = load.end();
    let acknowledged: usize = said.iter().map(|said| said.receipts.len()).sum();
    assert!(acknowledged > 250, "{acknowledged} were sent");
    judge(&runtime, &said, &addresses, &ca);

    // The process that has everything from its disk has it in the same halves.
    for node in 1..=3 {
        formed.restart(node);
    }
    assert_eq!(shards(&formed).len(), 7);
    assert_eq!(owner(&formed, slot_of(0)).0, second);
}
