//! From one release to the next, node by node, under load: three real processes, of which some run one build and some another.
//! Nobody is refused, every message that was acknowledged is there once and in order on every node, nothing new is written
//! before all nodes can read it, and an old build does not start where it cannot read.
//!
//! The next release is this one with one feature level more, and something new that it writes there. Where `SYNOD_OTHER_BINARY`
//! names the binary of an earlier release, it is that one that is upgraded, to this one.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

#[path = "support/load.rs"]
mod load;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use client::Config;
use load::{Listeners, Load, judge};
use nodes::{Formed, Release, Site};
use serde_json::{Value, json};
use synod::{Home, eventually, stderr};

/// How a program ends that is too old for its cluster, or may not do what it was asked.
const REJECTED: i32 = 5;

/// The build that is there, and the one that comes.
fn releases() -> (Release, Release) {
    match std::env::var_os("SYNOD_OTHER_BINARY") {
        Some(binary) => (Release::Other(binary.into()), Release::Here),
        None => (Release::Here, Release::Next),
    }
}

/// What the cluster's feature level is, in the eyes of a node of the new build.
fn upgrade(formed: &Formed<'_>, node: usize) -> Value {
    formed.ask(&["upgrade", "status", "--addr", &node.to_string()])
}

/// Raising it by hand comes to nothing, for the reason that names these nodes.
fn is_refused(home: &Home, formed: &Formed<'_>, asked: usize, nodes: &str) {
    let (address, ca) =
        (formed.sites[asked - 1].client.to_string(), formed.ca.display().to_string());
    let finish = ["upgrade", "finish", "--ctx", "synod", "--addr", &address, "--ca", &ca];
    let refused = home.run(&finish);
    assert_eq!(refused.status.code(), Some(REJECTED), "{}", stderr(&refused));
    assert!(
        stderr(&refused).contains(&format!("is not spoken by {nodes}:")),
        "{}",
        stderr(&refused)
    );
}

/// The rehearsal is worth something: whoever breaks the law is found out.
#[test]
fn what_is_written_too_early_stops_the_nodes_that_cannot_read_it() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    formed.upgrade(1, &Release::Early);
    // Whatever it leads is enough, and it is given back what it led before.
    eventually("the others stop", || formed.sites[1..].iter_mut().all(Site::has_ended));
    for site in &formed.sites[1..] {
        assert!(site.log().contains("stopped: "), "{}", site.log());
    }
}

#[test]
fn a_cluster_goes_to_the_next_release_under_load_and_never_back() {
    let home = Home::new();
    let (old, new) = releases();
    let mut formed = Formed::start_as(&home, 3, &old);
    let ca = std::fs::read(&formed.ca).expect("the authority");
    let all: Vec<_> = formed.sites.iter().map(|site| site.client).collect();
    let config = Config::new(all.clone(), ca.clone());
    let load = Load::begin(&config);
    let listeners = Listeners::begin(&load, &config);

    // Mixed: both builds lead and follow, and what the new one adds stays off.
    formed.upgrade(1, &new);
    load.goes_on(60);
    let mixed = upgrade(&formed, 1);
    let (before, next) = (mixed["level"].as_u64(), mixed["next"].as_u64());
    assert!(before < next, "{mixed}");
    assert_eq!(mixed["waitsFor"], json!([2, 3]));
    is_refused(&home, &formed, 1, "nodes 2, 3");
    formed.upgrade(2, &new);
    load.goes_on(60);
    is_refused(&home, &formed, 2, "node 3");

    // Until it is raised there is a way back.
    formed.upgrade(2, &old);
    load.goes_on(60);
    for node in [2, 3] {
        formed.upgrade(node, &new);
        load.goes_on(60);
    }
    assert_eq!(upgrade(&formed, 3)["level"].as_u64(), before, "there is time to look first");

    let foreseen = formed.ask(&["upgrade", "finish", "--dry-run", "--addr", "3"]);
    assert_eq!((foreseen["to"].as_u64(), foreseen["level"].as_u64()), (next, before));
    let raised = formed.ask(&["upgrade", "finish", "--addr", "3"]);
    assert_eq!(raised["level"].as_u64(), next);
    assert_eq!(raised["waitsFor"], json!([]));
    if let Release::Next = new {
        let says_new = |site: &Site| site.log().contains("something new is written from here on");
        eventually("all write something new", || formed.sites.iter().all(says_new));
    }
    load.goes_on(100);

    // No way back, neither for a node of the cluster nor for one that comes.
    let code = formed.try_upgrade(2, &old);
    let log = formed.sites[1].log();
    match old {
        Release::Here => {
            assert_eq!(code, REJECTED, "{log}");
            let spoken = format!("the cluster is at feature level {}", next.expect("a number"));
            assert!(log.contains(&spoken) && log.contains("-next or a later release"), "{log}");
        }
        _ => assert_ne!(code, 0, "{log}"),
    }
    load.goes_on(60);
    formed.sites[1].release = new.clone();
    formed.restart(2);
    let token = formed.ask(&["node", "join-token"])["token"].as_str().expect("a text").to_owned();
    let mut late = Site::prepare(&home, 4);
    late.release = old.clone();
    late.start(&home, Some(&token));
    eventually("whoever comes in an old release is sent away", || {
        late.exit_code() == Some(REJECTED)
    });
    assert!(late.log().contains("the node that asks to come in speaks"), "{}", late.log());
    load.goes_on(60);

    let (runtime, said) = load.end();
    judge(&runtime, &said, &all, &ca);
    listeners.judge(&runtime, &said);
}
