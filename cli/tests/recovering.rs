//! Two of three nodes are gone for good: an operator goes on with the third, knowing what that means, and two new ones come in.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

#[path = "support/load.rs"]
mod load;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use client::{Client, Config, To};
use load::{Load, judge};
use nodes::{Formed, Site};
use serde_json::Value;
use synod::{Home, eventually, stderr, stdout};

#[test]
fn one_of_three_goes_on_with_all_it_had_and_two_new_ones_come_in() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    let ca = std::fs::read(&formed.ca).expect("the authority");
    let all: Vec<_> = formed.sites.iter().map(|site| site.client).collect();
    let load = Load::begin(&Config::new(all, ca.clone()));
    load.goes_on(120);
    let (runtime, said) = load.end();
    let first = [formed.sites[0].client];
    judge(&runtime, &said, &first, &ca);

    let file = formed.sites[0].file().to_owned();
    let plan = || home.run(&["recover", "plan", "--config", &file, "--json"]);
    assert_eq!(plan().status.code(), Some(5), "a node runs there");
    for node in [1, 2, 3] {
        formed.kill(node);
    }
    for node in [2, 3] {
        std::fs::remove_dir_all(&formed.sites[node - 1].data).expect("it is there");
    }
    let shown: Value = serde_json::from_str(&stdout(&plan())).expect("JSON");
    assert_eq!(shown["groups"].as_array().map(Vec::len), Some(5), "{shown}");
    assert!(shown["groups"].as_array().into_iter().flatten().all(|g| g["furthest"]["node"] == 1));
    let apply = |confirm| {
        let who = ["--confirm", confirm, "--name", "ada", "--json"];
        home.run(&[&["recover", "apply", "--config", file.as_str()][..], &who].concat())
    };
    let wrong = apply("another");
    assert_eq!(wrong.status.code(), Some(5), "{}", stderr(&wrong));
    let unchanged: Value = serde_json::from_str(&stdout(&plan())).expect("JSON");
    assert_eq!(unchanged, shown, "neither a plan nor a refusal changes anything");
    let done = apply("synod");
    assert!(done.status.success(), "{}", stderr(&done));
    let done: Value = serde_json::from_str(&stdout(&done)).expect("JSON");
    assert_eq!(
        (&done["givenUp"], &done["historyEpoch"]),
        (&serde_json::json!([2, 3]), &Value::from(1))
    );

    formed.restart(1);
    judge(&runtime, &said, &first, &ca);
    let audit = formed.ask(&["audit", "ls"]).to_string();
    assert!(audit.contains("recovered with node 1 alone; given up: nodes 2, 3"), "{audit}");
    assert!(audit.contains("ada by recover"), "{audit}");
    let token = formed.ask(&["node", "join-token", "--uses", "2"]);
    let token = token["token"].as_str().expect("a token").to_owned();
    for number in [4, 5] {
        formed.join(Site::prepare(&home, number), &token);
    }
    let nodes = formed.ask(&["node", "ls"]);
    let ids: Vec<_> = nodes["nodes"].as_array().into_iter().flatten().map(|n| &n["node"]).collect();
    assert_eq!(ids, [1, 4, 5], "no number is given twice");
    eventually("three vote everywhere", || {
        let nodes = formed.ask(&["node", "ls"]);
        let nodes = nodes["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().all(|node| node["votes"].as_array().is_some_and(|votes| votes.len() == 4))
    });
    // Chat goes on, where it was.
    let newest = formed.sites[4].client;
    let one = &said[0];
    let last = one.receipts.last().expect("something was said").0.seq;
    let receipt = runtime.block_on(async {
        let config = Config::new(vec![newest], ca.clone());
        let (client, _inbox) = Client::connect(config, one.sender.clone()).expect("legal");
        let sent = client.send(To::User(one.to.clone()), "and on".to_owned()).await;
        client.stop().await;
        sent.expect("the cluster serves")
    });
    assert_eq!(receipt.seq.0, last.0 + 1);
}
