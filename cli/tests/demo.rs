//! The demo with real processes: its verdict, its end, and what it leaves behind, which is nothing.

use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

#[path = "support/synod.rs"]
mod synod;
use synod::{Demo, Home, eventually, is_running, signal, stderr, stdout};

/// One demo at a time: each brings three nodes, and they share this machine.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|failed| failed.into_inner())
}

#[test]
fn a_demo_with_a_kill_passes_and_says_so_in_its_last_line() {
    let _alone = alone();
    let home = Home::new();
    let run = home.run(&["demo", "--for", "8s", "--json", "--seed", "7", "--port-base", "18400"]);
    let printed = stdout(&run);
    let last = printed.lines().last().unwrap_or_default();
    let told: Value = serde_json::from_str(last)
        .unwrap_or_else(|_| panic!("no verdict in `{last}`\n{}", stderr(&run)));
    assert_eq!(told["verdict"], "pass", "{told}\n{}", stderr(&run));
    assert_eq!(run.status.code(), Some(0));
    assert_eq!(told["schema"], "synod/demo-verdict/v1");
    for harm in ["lost", "duplicated", "reordered", "undelivered"] {
        assert_eq!(told[harm], 0, "{harm}");
    }
    assert_eq!(told["seed"], 7);
    assert!(told["acked"].as_u64() > Some(0) && told["sent"].as_u64() >= told["acked"].as_u64());
    let faults = told["faults"].as_array().expect("a list");
    assert!(faults.iter().any(|fault| fault["kind"] == "kill" && fault["held"] == true), "{told}");
    assert_eq!(home.left_over(), 0, "a temporary folder was left");
}

#[test]
fn ctrl_c_ends_a_demo_that_is_in_use_and_leaves_nothing() {
    let _alone = alone();
    let home = Home::new();
    let mut demo = Demo::start(&home, &["--no-chaos", "--port-base", "18500"]);
    demo.line_with("user bob password");
    let nodes = demo.nodes();
    assert_eq!(nodes.len(), 3);
    // Somebody uses it meanwhile, by the context that it wrote.
    let health = home.run(&["health"]);
    assert_eq!(health.status.code(), Some(0), "{}", stderr(&health));
    let sent = home.run(&["send", "bob", "is anybody there?"]);
    assert_eq!(sent.status.code(), Some(0), "{}", stderr(&sent));
    let read = home.run(&["history", "bob", "--json"]);
    assert!(stdout(&read).contains("is anybody there?"), "{}", stderr(&read));
    let found = home.run(&["search", "anybody", "the", "--json"]);
    assert!(stdout(&found).contains("is anybody there?"), "{}", stderr(&found));
    let found = home.run(&["search", "anybody", "nowhere", "--with", "bob"]);
    assert_eq!((found.status.code(), &*stdout(&found)), (Some(0), ""), "{}", stderr(&found));
    demo.signal("INT");
    assert_eq!(demo.ended().code(), Some(0));
    assert!(nodes.iter().all(|node| !is_running(*node)), "a node was left running");
    assert_eq!(home.left_over(), 0, "a temporary folder was left");
    assert_eq!(home.run(&["health"]).status.code(), Some(3), "the context is gone");
}

#[test]
fn without_chaos_a_node_that_was_killed_from_outside_stays_down() {
    let _alone = alone();
    let home = Home::new();
    let mut demo = Demo::start(&home, &["--no-chaos", "--port-base", "18600"]);
    demo.line_with("user bob password");
    let nodes = demo.nodes();
    signal(nodes[0], "KILL");
    demo.line_with("killed from outside");
    eventually("two nodes serve", || home.run(&["health"]).status.code() == Some(11));
    let sent = home.run(&["send", "bob", "two are enough"]);
    assert_eq!(sent.status.code(), Some(0), "{}", stderr(&sent));
    assert_eq!(demo.nodes(), nodes[1..], "it was not started again");
    demo.signal("INT");
    assert_eq!(demo.ended().code(), Some(0));
    assert!(nodes.iter().all(|node| !is_running(*node)));
    assert_eq!(home.left_over(), 0);
}

#[test]
fn a_demo_that_is_told_to_end_while_it_starts_leaves_nothing() {
    let _alone = alone();
    for name in ["INT", "TERM"] {
        let home = Home::new();
        let mut demo = Demo::start(&home, &["--port-base", "18700"]);
        eventually("its folder is there", || home.left_over() > 0);
        demo.signal(name);
        assert_eq!(demo.ended().code(), Some(0), "{name}");
        assert!(demo.nodes().is_empty());
        assert_eq!(home.left_over(), 0, "{name}");
    }
}

#[test]
fn nodes_do_not_outlive_a_demo_that_is_killed_outright() {
    let _alone = alone();
    let home = Home::new();
    let mut demo = Demo::start(&home, &["--no-chaos", "--port-base", "18800"]);
    demo.line_with("user bob password");
    let nodes = demo.nodes();
    demo.signal("KILL");
    demo.ended();
    eventually("the nodes end", || nodes.iter().all(|node| !is_running(*node)));
    eventually("the folder is swept", || home.left_over() == 0);
}

#[test]
fn a_folder_has_one_user_at_a_time() {
    let _alone = alone();
    let home = Home::new();
    let data = home.folder.path().join("data");
    let data = data.to_str().expect("a plain path");
    let mut demo = Demo::start(&home, &["--no-chaos", "--port-base", "18900", "--data", data]);
    demo.line_with("user bob password");
    let file = format!("{data}/node-1/node.toml");
    let second = home.run(&["start", "--config", &file]);
    assert_eq!(second.status.code(), Some(5), "{}", stderr(&second));
    assert!(stderr(&second).contains("in use by another process"), "{}", stderr(&second));
    let another = home.run(&["demo", "--port-base", "18950", "--data", data]);
    assert_eq!(another.status.code(), Some(5), "{}", stderr(&another));
    let ports = home.run(&["demo", "--port-base", "18900"]);
    assert_eq!(ports.status.code(), Some(5));
    assert!(stderr(&ports).contains("--port-base"), "{}", stderr(&ports));
    demo.signal("INT");
    assert_eq!(demo.ended().code(), Some(0));
    assert!(std::path::Path::new(data).join("ca.pem").exists(), "a named folder is kept");
}
