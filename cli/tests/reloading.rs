//! A node's file that is read again while the node runs: all of it or nothing, and said which is which.

#![allow(clippy::disallowed_methods, reason = "it watches a real process in real time")]

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use chat::UserId;
use client::{Config, register};
use nodes::Formed;
use serde_json::{Value, json};
use synod::{Home, eventually, stderr, stdout};

const PASSWORD: &str = "correct horse battery";

#[test]
fn limits_and_logs_change_at_once_and_a_mistake_changes_nothing() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 1);
    let ca = std::fs::read(&formed.ca).expect("the authority");
    let site = &mut formed.sites[0];
    let (file, address) = (site.file().to_owned(), site.operations.to_string());
    let reload = ["config", "reload", "--operations", &address];
    let before = std::fs::read_to_string(&file).expect("it was started with it");
    let says = |more: &str| std::fs::write(&file, format!("{before}{more}")).expect("writable");

    let nothing = home.run(&reload);
    assert_eq!(stdout(&nothing).trim(), "nothing changed", "{}", stderr(&nothing));

    let tight = "[limits]\nregister = { per_second = 1, burst = 1 }\n";
    says(&format!("{tight}[log]\nfilter = \"loud=what\"\n"));
    let refused = home.run(&reload);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("nothing was changed") && stderr(&refused).contains("loud"));
    says(&format!("{tight}[lgo]\n"));
    crate::synod::signal(site.pid(), "HUP");
    eventually("the log says why", || site.log().contains("nothing was changed"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let config = Config::new(vec![site.client], ca);
    let enters = |name: &str| {
        let user = UserId::parse(name).expect("a legal name");
        runtime.block_on(register(&config, &user, PASSWORD)).is_ok()
    };
    assert!(enters("ada") && enters("bob") && enters("cyd"), "the limit is what it was");

    says(&format!("{tight}[log]\nfilter = \"debug\"\n[search]\nenabled = false\n"));
    let done = home.run(&[&reload[..], &["--json"]].concat());
    let done: Value = serde_json::from_str(&stdout(&done)).expect("JSON");
    let applied = ["limits.register.burst", "limits.register.per_second", "log.filter"];
    assert_eq!(done["applied"], json!(applied), "{done}");
    assert_eq!(done["needsRestart"], json!(["search.enabled"]));
    eventually("the log is louder", || site.log().contains(" DEBUG "));
    // What was spent before counts: three others came in already.
    eventually("the limit holds", || !enters("dan") || !enters("eve"));
    assert!(!site.has_ended());
}
