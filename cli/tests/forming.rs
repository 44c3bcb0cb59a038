//! A cluster from nothing, as an operator makes it: real processes, empty folders, what was printed and no more.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use nodes::{Formed, Site};
use serde_json::Value;
use synod::{Home, eventually, stderr, stdout};

#[test]
fn three_empty_machines_become_a_cluster_by_one_line_and_its_founder_an_operator_by_another() {
    let home = Home::new();
    let formed = Formed::start(&home, 3);
    let nodes = formed.ask(&["node", "show", "3"]);
    assert_eq!((&nodes["state"], &nodes["alive"]), (&"ready".into(), &true.into()));
    let audit = formed.ask(&["audit", "ls"]);
    let said: Vec<&str> = audit["records"]
        .as_array()
        .expect("records")
        .iter()
        .filter_map(|record| record["what"].as_str())
        .collect();
    for what in ["node 2 admitted", "node 3 admitted", "operator ada added"] {
        assert!(said.contains(&what), "{what} is in {said:?}");
    }
    // The context that the claim wrote is all that is needed to see how the cluster is.
    eventually("it is healthy", || home.run(&["health", "--ctx", "synod"]).status.success());
    let status = formed.ask(&["status"]);
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(3), "{status}");
    let shards = formed.ask(&["shard", "ls"]);
    assert_eq!(shards["shards"].as_array().map(Vec::len), Some(5), "{shards}");
    // Anybody's message goes through any node.
    let site = |node: usize| formed.sites[node - 1].client.to_string();
    let ca = formed.ca.to_str().expect("plain").to_owned();
    for (user, node) in [("alice", 2), ("bob", 3)] {
        let args = ["register", user, "--addr", &site(node), "--ca", &ca];
        let registered = home.with_stdin(&args, "correct horse battery");
        assert!(registered.status.success(), "{}", stderr(&registered));
    }
    let token = home.folder.path().join("alice.json");
    let token = token.to_str().expect("plain");
    let who = ["--addr", &site(3), "--ca", &ca, "--token-file", token];
    let login = [&["login", "alice"][..], &who].concat();
    assert!(home.with_stdin(&login, "correct horse battery").status.success());
    let sent = home.run(&[&["send", "bob", "hello"][..], &who].concat());
    assert!(sent.status.success(), "{}", stderr(&sent));
}

#[test]
fn a_token_lets_in_as_many_as_it_says_and_a_node_that_is_in_needs_none() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 2);
    // The line let one in beside the founder, and is used up.
    let late = Site::prepare(&home, 9);
    let refused = home.run(&["start", "--config", late.file(), "--join", &formed.join]);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("synod node join-token"), "{}", stderr(&refused));
    // A node that is in starts with the same line as ever.
    formed.restart(2);
    // Another token, made at the node that came last.
    let made = formed.ask(&["node", "join-token", "--addr", "2"]);
    let token = made["token"].as_str().expect("a token").to_owned();
    formed.join(late, &token);
    assert_eq!(formed.ask(&["node", "show", "3"])["state"], Value::from("ready"));
}

#[test]
fn what_is_not_a_token_and_what_is_nobodys_disk_is_refused_with_what_to_do() {
    let home = Home::new();
    let site = Site::prepare(&home, 1);
    let nobody = home.run(&["start", "--config", site.file()]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(stderr(&nobody).contains("synod init"), "{}", stderr(&nobody));
    for wrong in ["", "hello", "sj1.AAAA", "sj1.AAAA.AAAA.AAAA"] {
        let refused = home.run(&["start", "--config", site.file(), "--join", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{wrong}: {}", stderr(&refused));
    }
    let founded = home.run(&["init", "--config", site.file()]);
    assert!(founded.status.success());
    assert!(stdout(&founded).contains("synod start --config node.toml --join sj1."));
    let again = home.run(&["init", "--config", site.file()]);
    assert_eq!(again.status.code(), Some(5), "{}", stderr(&again));
}

#[test]
fn a_node_whose_disk_is_gone_is_not_the_node_that_it_was() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    formed.kill(3);
    std::fs::remove_dir_all(&formed.sites[2].data).expect("its folder");
    let site = &formed.sites[2];
    let nobody = home.run(&["start", "--config", site.file()]);
    assert_eq!(nobody.status.code(), Some(2), "{}", stderr(&nobody));
    let refused = home.run(&["start", "--config", site.file(), "--join", &formed.join]);
    assert_eq!(refused.status.code(), Some(5), "the token is used up: {}", stderr(&refused));
    let made = formed.ask(&["node", "join-token"]);
    let token = made["token"].as_str().expect("a token").to_owned();
    let same_place = formed.sites.remove(2);
    formed.join(same_place, &token);
    let ids = formed.ask(&["node", "show", "4"]);
    assert_eq!(ids["node"], Value::from(4), "an id is never given twice");
}

#[test]
fn a_claim_is_good_once_and_the_last_operator_stays() {
    let home = Home::new();
    let formed = Formed::start(&home, 1);
    let (claim, ca) = (formed.claim.as_str(), formed.ca.to_str().expect("plain"));
    let address = formed.sites[0].client.to_string();
    let thief = ["operator", "claim", claim, "--name", "eve", "--addr", &address, "--ca", ca];
    let refused = home.run(&[&thief[..], &["--ctx", "thief"]].concat());
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let last = home.run(&["operator", "rm", "ada", "--ctx", "synod"]);
    assert_eq!(last.status.code(), Some(5), "{}", stderr(&last));
    let invited = formed.ask(&["operator", "invite"]);
    let secret = invited["secret"].as_str().expect("a secret");
    let bob = ["operator", "claim", secret, "--name", "bob", "--addr", &address, "--ca", ca];
    assert!(home.run(&[&bob[..], &["--ctx", "bob"]].concat()).status.success());
    assert!(home.run(&["operator", "rm", "ada", "--ctx", "bob"]).status.success());
    let ended = home.run(&["operator", "ls", "--ctx", "synod"]);
    assert_eq!(ended.status.code(), Some(4), "her token is worth nothing: {}", stderr(&ended));
}

#[test]
fn settings_are_changed_by_all_or_none_of_what_is_asked() {
    let home = Home::new();
    let formed = Formed::start(&home, 1);
    let set = |args: &[&str]| {
        home.run(&[&["settings", "set"][..], args, &["--ctx", "synod", "--json"]].concat())
    };
    assert!(set(&["send_burst=77", "open_registration=false"]).status.success());
    for wrong in [["send_burst=78", "no_such=1"], ["send_burst=79", "access_token_ttl=1"]] {
        assert_eq!(set(&wrong).status.code(), Some(5), "{wrong:?}");
    }
    assert_eq!(set(&["send_burst"]).status.code(), Some(2), "it is NAME=VALUE");
    let now = formed.ask(&["settings", "get"]);
    assert_eq!((&now["send_burst"], &now["open_registration"]), (&77.into(), &false.into()));
}
