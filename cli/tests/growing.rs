//! A cluster that grows and shrinks under load, as an operator has it done: real processes, and clients that send all the
//! while. Every message that was acknowledged is there once and in order, on every node that is left.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chat::{Seq, UserId};
use client::{
    Client, Config, Consistency, Credentials, HistoryQuery, Receipt, To, login, register,
};
use nodes::{Formed, Site};
use serde_json::Value;
use synod::{Home, eventually, stderr};

const PASSWORD: &str = "correct horse battery";
/// Pairs that talk; in each one sends.
const PAIRS: usize = 4;
/// The pause of a sender between two messages.
const PAUSE: Duration = Duration::from_millis(15);

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a legal name")
}

/// What one sender sent and was told.
struct Said {
    to: UserId,
    sender: Credentials,
    receipts: Vec<(Receipt, String)>,
}

/// Senders in threads of their own.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    runtime: tokio::runtime::Runtime,
    senders: Vec<tokio::task::JoinHandle<Said>>,
}

impl Load {
    fn begin(config: &Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let senders = (0..PAIRS).map(|pair| {
            let (config, stop) = (config.clone(), Arc::clone(&stop));
            runtime.spawn(talk(config, pair, stop, Arc::clone(&acknowledged)))
        });
        let senders = senders.collect();
        Self { stop, acknowledged, runtime, senders }
    }

    /// Waits until so many more were acknowledged.
    fn goes_on(&self, more: usize) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + more;
        eventually("messages are acknowledged", || {
            self.acknowledged.load(Ordering::Relaxed) >= enough
        });
    }

    fn end(self) -> (tokio::runtime::Runtime, Vec<Said>) {
        self.stop.store(true, Ordering::Relaxed);
        let Self { runtime, senders, .. } = self;
        let said = runtime.block_on(async {
            let mut said = Vec::new();
            for sender in senders {
                said.push(sender.await.expect("a sender ends by itself"));
            }
            said
        });
        (runtime, said)
    }
}

async fn talk(
    config: Config,
    pair: usize,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Said {
    let (from, to) = (user(&format!("sender-{pair}")), user(&format!("receiver-{pair}")));
    for name in [&from, &to] {
        register(&config, name, PASSWORD).await.expect("a new name");
    }
    let sender = login(&config, &from, PASSWORD, "test").await.expect("it exists");
    let (client, mut inbox) = Client::connect(config, sender.clone()).expect("a legal config");
    // Nobody reads the inbox, but somebody must take things out of it.
    tokio::spawn(async move { while inbox.next().await.is_some() {} });
    let mut receipts = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("{pair}.{number}");
        // Any error fails the test: within its patience the client tries again by itself.
        let receipt = client.send(To::User(to.clone()), text.clone()).await;
        receipts.push((receipt.expect("no send fails"), text));
        acknowledged.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    let sender = client.credentials();
    client.stop().await;
    Said { to, sender, receipts }
}

/// Everything in a conversation, as this node tells it.
async fn read(config: &Config, said: &Said) -> Vec<(Seq, String)> {
    let (client, _inbox) =
        Client::connect(config.clone(), said.sender.clone()).expect("a legal config");
    let mut all: Vec<(Seq, String)> = Vec::new();
    loop {
        let after = all.last().map_or(Seq(0), |(seq, _)| *seq);
        let query = HistoryQuery {
            of: To::User(said.to.clone()),
            after,
            before: None,
            limit: 100,
            consistency: Consistency::Linearizable,
        };
        let page = client.history(query).await.expect("the node answers");
        if page.messages.is_empty() {
            client.stop().await;
            return all;
        }
        all.extend(
            page.messages
                .into_iter()
                .map(|message| (Seq(message.seq), message.body.expect("nothing was deleted").text)),
        );
    }
}

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
    for site in [1, 3, 4, 5].map(|number: usize| formed.sites[number - 1].client) {
        let config = Config::new(vec![site], ca.clone());
        for said in &said {
            let read = runtime.block_on(read(&config, said));
            let sent: Vec<(Seq, String)> =
                said.receipts.iter().map(|(receipt, text)| (receipt.seq, text.clone())).collect();
            assert_eq!(read, sent, "{site} has all of {} once and in order", said.to);
        }
    }
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
