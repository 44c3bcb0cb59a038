//! A node that is drained or stopped sends its clients elsewhere, and they go without noticing: three real processes, senders
//! that send all the while, and listeners that are handed everything once and in order.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

#[path = "support/load.rs"]
mod load;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use client::Config;
use load::{Listeners, Load, judge};
use nodes::Formed;
use serde_json::Value;
use synod::{Home, eventually};

/// Clients' links on a node now.
fn links(home: &Home, formed: &Formed<'_>, node: usize) -> u64 {
    let operations = formed.sites[node - 1].operations.to_string();
    let asked = home.run(&["status", "--operations", &operations, "--json"]);
    let status: Value = serde_json::from_str(&synod::stdout(&asked)).unwrap_or_default();
    status["nodes"][0]["links"].as_u64().unwrap_or(u64::MAX)
}

#[test]
fn clients_of_a_drained_and_of_a_stopped_node_go_elsewhere_and_miss_and_repeat_nothing() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    let ca = std::fs::read(&formed.ca).expect("the authority");
    let all: Vec<_> = formed.sites.iter().map(|site| site.client).collect();
    // Every client begins at the first node.
    let config = Config::new(all.clone(), ca.clone());
    let load = Load::begin(&config);
    let listeners = Listeners::begin(&load, &config);
    eventually("the first node has clients", || links(&home, &formed, 1) > 0);

    formed.ask(&["node", "drain", "1"]);
    eventually("they are gone", || links(&home, &formed, 1) == 0);
    assert!(links(&home, &formed, 2) + links(&home, &formed, 3) > 0);
    load.goes_on(100);
    formed.ask(&["node", "undrain", "1"]);
    load.goes_on(20);

    for node in [2, 3] {
        formed.sites[node - 1].terminate();
        let stopping = std::time::Instant::now();
        eventually("it stops in order", || formed.sites[node - 1].has_ended());
        assert!(stopping.elapsed() < std::time::Duration::from_secs(10));
        load.goes_on(60);
        formed.restart(node);
        load.goes_on(20);
    }
    let (runtime, said) = load.end();
    judge(&runtime, &said, &all, &ca);
    listeners.judge(&runtime, &said);
}
