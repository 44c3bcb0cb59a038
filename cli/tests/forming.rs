//! A cluster from nothing, as an operator makes it: real processes, empty folders, what was printed and no more.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use nodes::{Formed, Site};
use synod::{Home, stderr, stdout};

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
