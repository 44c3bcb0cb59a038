//! New certificates and a new authority under load: three real processes, of which none restarts, and clients that pinned the
//! old authority and go on.

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
use synod::{Home, eventually, stderr, stdout};

/// Days of a new certificate that are left at once.
const NEW_DAYS: i64 = 89;

fn certificates(formed: &Formed<'_>) -> Vec<Value> {
    formed.ask(&["cert", "ls"])["nodes"].as_array().expect("nodes").clone()
}

fn addresses(formed: &Formed<'_>) -> Vec<std::net::SocketAddr> {
    formed.sites.iter().map(|site| site.client).collect()
}

fn all_hold(formed: &Formed<'_>) {
    eventually("every node said which certificate it holds", || {
        certificates(formed).iter().all(|node| node["authority"] == 0)
    });
}

#[test]
fn certificates_and_the_authority_change_under_load_and_no_send_fails() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    // A copy: what clients pinned does not change with the node's own file.
    let pinned = std::fs::read(&formed.ca).expect("the authority");
    let old_ca = home.folder.path().join("pinned.pem");
    std::fs::write(&old_ca, &pinned).expect("writable");
    formed.ca.clone_from(&old_ca);
    all_hold(&formed);
    let load = Load::begin(&Config::new(addresses(&formed), pinned.clone()));
    load.goes_on(40);

    let before = certificates(&formed);
    formed.ask(&["cert", "rotate"]);
    for (node, before) in certificates(&formed).iter().zip(&before) {
        assert_eq!(node["daysLeft"], NEW_DAYS, "{node}");
        assert!(node["issuedAtMs"].as_u64() > before["issuedAtMs"].as_u64(), "{node}");
    }
    load.goes_on(40);

    let token = formed.ask(&["node", "join-token"])["token"].as_str().expect("a token").to_owned();
    let done = formed.ask(&["cert", "rotate-ca"]);
    assert_eq!(done["rotation"], Value::Null, "{done}");
    assert_eq!(done["authority"]["generation"], 1);
    eventually("nobody trusts the old one", || {
        certificates(&formed)
            .iter()
            .all(|node| node["authority"] == 1 && node["trusts"] == serde_json::json!([1]))
    });
    load.goes_on(40);
    // New links are made by every client, with either authority, and links between nodes anew.
    formed.restart(2);
    load.goes_on(40);
    let (runtime, said) = load.end();
    let new = formed.ask(&["cert", "ca"])["certificate"].as_str().expect("PEM").to_owned();
    assert_ne!(new.trim(), String::from_utf8_lossy(&pinned).trim());
    judge(&runtime, &said, &addresses(&formed), &pinned);
    judge(&runtime, &said, &addresses(&formed), new.as_bytes());

    let mut late = Site::prepare(&home, 4);
    late.start(&home, Some(&token));
    eventually("a token that pinned the old authority is void", || late.has_ended());
    let made = formed.ask(&["node", "join-token"]);
    formed.join(Site::prepare(&home, 5), made["token"].as_str().expect("a token"));
    let audit = formed.ask(&["audit", "ls"]).to_string();
    for what in ["every node learns to trust it", "authority 1 signs", "authority 1 alone"] {
        assert!(audit.contains(what), "{what}: {audit}");
    }
}

#[test]
fn the_authority_does_not_change_while_a_node_is_away_and_the_change_goes_on_when_it_is_back() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    all_hold(&formed);
    formed.kill(3);
    let away = |node: &Value| node["node"] == 3 && node["alive"] == false;
    eventually("it is not heard", || certificates(&formed).iter().any(away));
    let refused = home.run(&["cert", "rotate-ca", "--ctx", "synod"]);
    assert_eq!(refused.status.code(), Some(5), "{}", stdout(&refused));
    assert!(stderr(&refused).contains("node 3 cannot take part"), "{}", stderr(&refused));
    assert_eq!(formed.ask(&["cert", "ls"])["authority"]["generation"], 0);
    formed.restart(3);
    eventually("it is heard again", || certificates(&formed).iter().all(|n| n["alive"] == true));
    let done = formed.ask(&["cert", "rotate-ca"]);
    assert_eq!(done["authority"]["generation"], 1, "{done}");
}
