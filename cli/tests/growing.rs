//! A cluster that grows and shrinks under load, as an operator has it done: real processes, and clients that send all the
//! while. Every message that was acknowledged is there once and in order, on every node that is left.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

#[path = "support/load.rs"]
mod load;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use client::Config;
use load::{Load, judge};
use nodes::{Formed, Site};
use serde_json::Value;
use synod::{Home, eventually, stderr};

/// Waits until nothing moves and nothing is to come.
fn settle(formed: &Formed<'_>) {
    eventually("everything stands still", || {
        let plan = formed.ask(&["rebalance", "status"]);
        plan["moving"] == Value::Array(vec![]) && plan["moves"] == Value::Array(vec![])
    });
}

fn votes(formed: &Formed<'_>) -> Vec<Value> {
    let nodes = formed.ask(&["node", "ls"]);
    nodes["nodes"].as_array().expect("nodes").clone()
}

#[test]
fn three_nodes_grow_to_five_and_shrink_to_four_under_load_and_nothing_acknowledged_is_lost() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    let ca = std::fs::read(&formed.ca).expect("the authority");
    let addresses = |formed: &Formed<'_>| formed.sites.iter().map(|site| site.client).collect();
    let config = Config::new(addresses(&formed), ca.clone());
    settle(&formed);
    let load = Load::begin(&config);
    load.goes_on(40);

    let made = formed.ask(&["node", "join-token", "--uses", "2"]);
    let token = made["token"].as_str().expect("a token").to_owned();
    for number in [4, 5] {
        formed.join(Site::prepare(&home, number), &token);
        load.goes_on(20);
    }
    settle(&formed);
    for node in votes(&formed) {
        assert_eq!(node["council"], Value::Bool(true), "five of five vote on the cluster: {node}");
        assert_ne!(node["votes"], Value::Array(vec![]), "everybody votes on something: {node}");
    }
    load.goes_on(40);

    // What would happen is shown, and does not happen.
    let shown = formed.ask(&["node", "decommission", "2", "--dry-run"]);
    assert_ne!(shown["moves"], Value::Array(vec![]));
    assert_eq!(formed.ask(&["node", "show", "2"])["state"], Value::from("ready"));
    formed.ask(&["node", "decommission", "2"]);
    eventually("the node is forgotten", || votes(&formed).iter().all(|node| node["node"] != 2));
    settle(&formed);
    load.goes_on(40);
    let (runtime, said) = load.end();

    let explained = formed.ask(&["shard", "explain", "1"]);
    assert_eq!(explained["health"], Value::from("good"), "{explained}");
    let acknowledged: usize = said.iter().map(|said| said.receipts.len()).sum();
    assert!(acknowledged > 200, "{acknowledged} were sent");
    let sites = [1, 3, 4, 5].map(|number: usize| formed.sites[number - 1].client);
    judge(&runtime, &said, &sites, &ca);
}

#[test]
fn a_drained_node_leads_nothing_and_a_shard_is_led_by_whom_an_operator_names() {
    let home = Home::new();
    let formed = Formed::start(&home, 3);
    settle(&formed);
    formed.ask(&["node", "drain", "1"]);
    let leaders = || -> Vec<Value> {
        (0..=4).map(|shard: u32| formed.ask(&["shard", "show", &shard.to_string()])).collect()
    };
    eventually("it leads nothing", || {
        leaders().iter().all(|shard| shard["leader"].is_number() && shard["leader"] != 1)
    });
    assert!(
        leaders().iter().all(|shard| {
            shard["votersInForce"].as_array().is_some_and(|voters| voters.contains(&Value::from(1)))
        }),
        "it keeps its votes"
    );
    formed.ask(&["node", "undrain", "1"]);
    settle(&formed);
    formed.ask(&["shard", "freeze", "2"]);
    formed.ask(&["shard", "transfer", "2", "--to", "3"]);
    eventually("it leads", || formed.ask(&["shard", "show", "2"])["leader"] == 3);
    let stranger = home.run(&["shard", "transfer", "2", "--to", "9", "--ctx", "synod"]);
    assert_eq!(stranger.status.code(), Some(5), "{}", stderr(&stranger));
    formed.ask(&["rebalance", "pause"]);
    assert_eq!(formed.ask(&["rebalance", "status"])["rebalance"], Value::Bool(false));
    let unknown = home.run(&["shard", "explain", "77", "--ctx", "synod"]);
    assert_eq!(unknown.status.code(), Some(3), "{}", stderr(&unknown));
}
