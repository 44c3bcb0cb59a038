//! `synod trace msg`: a message is followed through three real nodes, by its times alone.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

#[path = "support/load.rs"]
mod load;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use chat::CanonicalId;
use client::{Client, Config, To, login, register};
use load::user;
use nodes::Formed;
use serde_json::Value;
use synod::{Home, eventually, stdout};

const PASSWORD: &str = "correct horse battery";
const SAID: &str = "nobody else's business";

/// The node and time of each time that it was at `station`.
fn at(trace: &Value, station: &str) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for node in trace["nodes"].as_array().into_iter().flatten() {
        for passed in node["stations"].as_array().into_iter().flatten() {
            if passed["station"] == station {
                let number = |value: &Value| value.as_u64().expect("a number");
                found.push((number(&node["node"]), number(&passed["atUs"])));
            }
        }
    }
    found
}

#[test]
fn a_message_is_followed_over_all_nodes_by_its_times_and_never_by_what_it_says() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    let ca = std::fs::read(&formed.ca).expect("the authority");
    let config = |node: usize| Config::new(vec![formed.sites[node - 1].client], ca.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (at_one, at_two) = (config(1), config(2));
    let id = runtime.block_on(async {
        let (anna, ben) = (user("anna"), user("ben"));
        for name in [&anna, &ben] {
            register(&at_one, name, PASSWORD).await.expect("a new name");
        }
        let hers = login(&at_one, &anna, PASSWORD, "test").await.expect("it exists");
        let his = login(&at_two, &ben, PASSWORD, "test").await.expect("it exists");
        let (receiver, mut inbox) = Client::connect(at_two, his).expect("legal");
        let (sender, _sent) = Client::connect(at_one, hers).expect("legal");
        // The first one introduces them: from then on they are in each other's lists.
        let to = To::User(ben);
        sender.send(to.clone(), SAID.to_owned()).await.expect("it serves");
        inbox.next().await.expect("it is delivered");
        let receipt = sender.send(to, SAID.to_owned()).await.expect("it serves");
        inbox.next().await.expect("it is delivered");
        let conversation = chat::ConversationId::direct(&user("anna"), &user("ben"));
        sender.stop().await;
        receiver.stop().await;
        CanonicalId { conversation, seq: receipt.seq }.to_string()
    });

    let verb = ["trace", "msg", id.as_str()];
    eventually("every node has applied it", || at(&formed.told(&verb), "applied").len() == 3);
    let trace = formed.ask(&verb);
    assert_eq!(trace["schema"], "synod/trace/v1");
    let [arrived, answered, delivered, proposed] =
        ["arrived", "answered", "delivered", "proposed"].map(|station| at(&trace, station));
    assert_eq!((arrived.len(), arrived[0].0), (1, 1), "it came in at the first node: {trace}");
    assert_eq!((answered.len(), answered[0].0), (1, 1), "{trace}");
    assert!(arrived[0].1 < answered[0].1, "{trace}");
    assert!(
        delivered.iter().any(|(node, _)| *node == 2),
        "its recipient is at the second: {trace}"
    );
    let first = proposed[0].1;
    assert!(proposed.iter().all(|(_, at)| *at == first), "one leader stamped it: {trace}");
    assert!(first + 1000 >= arrived[0].1, "one machine has one clock: {trace}");
    assert_eq!(at(&trace, "fannedOut").len(), 3, "{trace}");
    let table = home.run(&["trace", "msg", &id, "--ctx", "synod"]);
    let table = stdout(&table);
    for told in [&trace.to_string(), &table] {
        assert!(!told.contains(SAID) && !told.contains("anna"), "times alone: {told}");
    }
    assert!(table.lines().count() >= 10 && table.contains("delivered"), "{table}");

    let unknown = id.rsplit_once('-').expect("it has a sequence").0.to_owned() + "-99";
    let unknown = home.run(&["trace", "msg", &unknown, "--ctx", "synod"]);
    assert_eq!(unknown.status.code(), Some(3));
    let none = home.run(&["trace", "msg", "hello", "--ctx", "synod"]);
    assert_eq!(none.status.code(), Some(2), "no canonical id");
    formed.kill(3);
    let partial = home.run(&["trace", "msg", &id, "--ctx", "synod", "--json"]);
    assert_eq!(partial.status.code(), Some(7), "a node did not answer");
}
