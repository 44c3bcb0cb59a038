//! Backups as an operator makes and uses them: the binary, real nodes, folders.

#![allow(clippy::disallowed_methods, reason = "it watches real processes in real time")]

use std::path::PathBuf;

use serde_json::Value;

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use nodes::{Formed, Site};
use synod::{Home, stderr, stdout};

/// Registers `user` at the formed cluster and opens a session in a context of its own.
fn arrive(home: &Home, formed: &Formed<'_>, site: usize, user: &str, verb: &str) {
    let address = formed.sites[site].client.to_string();
    let ca = formed.ca.to_str().expect("plain");
    log_in(home, &address, ca, user, verb);
}

fn log_in(home: &Home, address: &str, ca: &str, user: &str, verb: &str) {
    let password = home.folder.path().join("password");
    std::fs::write(&password, "correct horse battery").expect("writable");
    let (password, token) = (password.to_str().expect("plain"), token(home, user));
    let at = ["--addr", address, "--ca", ca, "--token-file", &token];
    let asked = home.run(&[&[verb, user, "--password-file", password][..], &at].concat());
    assert!(asked.status.success(), "{verb}: {}", stderr(&asked));
}

fn token(home: &Home, user: &str) -> String {
    home.folder.path().join(format!("{user}.token")).to_str().expect("plain").to_owned()
}

fn json(home: &Home, args: &[&str]) -> Value {
    let ran = home.run(args);
    assert!(ran.status.success(), "{args:?}: {}", stderr(&ran));
    serde_json::from_str(&stdout(&ran)).expect("JSON")
}

fn chunks(folder: &str) -> Vec<PathBuf> {
    let below = |path: PathBuf| std::fs::read_dir(path).expect("readable");
    let folders = below(PathBuf::from(folder).join("chunks"));
    folders
        .flat_map(|one| below(one.expect("one").path()))
        .map(|f| f.expect("one").path())
        .collect()
}

#[test]
fn an_operator_backs_up_three_nodes_finds_damage_and_begins_anew_with_one() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    for user in ["anna", "ben"] {
        arrive(&home, &formed, 1, user, "register");
    }
    arrive(&home, &formed, 1, "anna", "login");
    let (address, ca) = (formed.sites[1].client.to_string(), formed.ca.to_str().expect("plain"));
    let anna = token(&home, "anna");
    let as_anna = ["--addr", &address, "--ca", ca, "--token-file", &anna];
    for text in ["one", "two", "three"] {
        // Votes are still on their way to the nodes that just joined; a refusal says that nothing was written.
        synod::eventually("the message is stored", || {
            home.run(&[&["send", "ben", text][..], &as_anna].concat()).status.success()
        });
    }
    let made = json(&home, &["backup", "now", "--ctx", "synod", "--json"]);
    let id = made["backup"]["id"].as_str().expect("a name").to_owned();
    let listed = json(&home, &["backup", "ls", "--ctx", "synod", "--json"]);
    let folders = listed["folders"].as_array().expect("a list");
    let has = |one: &&Value| one["backups"].as_array().is_some_and(|all| !all.is_empty());
    let of: Vec<&Value> = folders.iter().filter(has).collect();
    assert_eq!((of.len(), of[0]["backups"][0]["id"].as_str()), (1, Some(id.as_str())), "{listed}");
    let folder = of[0]["folder"].as_str().expect("a folder").to_owned();
    for number in 1..=3 {
        formed.kill(number);
    }
    let offline = home.run(&["backup", "ls", "--folder", &folder]);
    assert!(stdout(&offline).contains(&id), "{}", stderr(&offline));

    let verified = json(&home, &["backup", "verify", &folder, "--json"]);
    assert_eq!(verified["sound"], true, "{verified}");
    assert_eq!(verified["found"]["messages"], 3);
    let chunk = chunks(&folder).remove(0);
    let whole = std::fs::read(&chunk).expect("readable");
    let mut rotten = whole.clone();
    rotten[whole.len() / 2] ^= 1;
    std::fs::write(&chunk, rotten).expect("writable");
    let found = home.run(&["backup", "verify", &folder]);
    assert_eq!(found.status.code(), Some(12), "{}", stderr(&found));
    assert!(stderr(&found).contains(chunk.file_name().expect("a name").to_str().expect("plain")));
    std::fs::write(&chunk, whole).expect("writable");

    let mut site = Site::prepare(&home, 9);
    let restore = ["restore", "--from", &folder, "--config"];
    let same = home.run(&[&restore[..], &[site.file()]].concat());
    assert_eq!(same.status.code(), Some(5), "the name is the old one's: {}", stderr(&same));
    let file = site.file().to_owned();
    let early = ["--cluster", "again", "--to", "2020-01-01T00:00:00Z"];
    let none = home.run(&[&restore[..], &[&file], &early].concat());
    assert_eq!(none.status.code(), Some(3), "{}", stderr(&none));
    let restored = [&restore[..], &[&file, "--cluster", "again", "--json"]].concat();
    let restored = json(&home, &restored);
    assert_eq!((&restored["backup"], &restored["history_epoch"]), (&id.clone().into(), &1.into()));
    let ca = restored["ca"].as_str().expect("a certificate").to_owned();
    site.start(&home, None);
    site.ready(&home);
    let address = site.client.to_string();
    log_in(&home, &address, &ca, "ben", "login");
    let ben = token(&home, "ben");
    let as_ben = ["--addr", &address, "--ca", &ca, "--token-file", &ben];
    let history = home.run(&[&["history", "anna"][..], &as_ben].concat());
    for text in ["one", "two", "three"] {
        assert!(stdout(&history).contains(text), "{} {}", stdout(&history), stderr(&history));
    }
    let sent = home.run(&[&["send", "anna", "four"][..], &as_ben].concat());
    assert!(sent.status.success(), "{}", stderr(&sent));
    // The operator of before is known, and the new cluster takes nodes in.
    let token = restored["joinToken"].as_str().expect("a token").to_owned();
    let operator = ["node", "ls", "--ctx", "synod", "--addr", &address, "--ca", &ca, "--json"];
    assert_eq!(json(&home, &operator)["nodes"].as_array().map(Vec::len), Some(1));
    let mut second = Site::prepare(&home, 10);
    second.start(&home, Some(&token));
    second.ready(&home);
    let address = second.client.to_string();
    let as_ben = ["--addr", &address, "--ca", &ca, "--token-file", &ben];
    synod::eventually("the second node has the state", || {
        let read = home.run(&[&["history", "anna", "--local"][..], &as_ben].concat());
        stdout(&read).contains("one") && stdout(&read).contains("four")
    });
}
