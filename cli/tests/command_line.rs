//! The command line as scripts meet it: help, refusals, exit codes.

#[path = "support/synod.rs"]
mod synod;
use synod::{Home, stderr, stdout};

#[test]
fn help_names_every_verb() {
    let help = Home::new().run(&["help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = stdout(&help);
    for verb in [
        "demo",
        "start",
        "config",
        "status",
        "health",
        "top",
        "doctor",
        "inspect",
        "debug",
        "node",
        "shard",
        "rebalance",
        "register",
        "login",
        "send",
        "history",
        "search",
        "tail",
        "bench",
    ] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}\n{text}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_exit_code_2() {
    let home = Home::new();
    for args in [
        &["demo", "--frobnicate"][..],
        &["dmeo"],
        &["demo", "--for", "soon"],
        &["demo", "--port-base", "70000"],
        &["start"],
        &["send"],
        &["history", "--addr", "127.0.0.1:1", "bob"],
        &["bench", "send", "--clients", "0"],
    ] {
        let output = home.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let home = Home::new();
    for args in [
        &["config", "check", "--config", "/nowhere/node.toml"][..],
        &["start", "--config", "/nowhere/node.toml"],
        &["status"],
        &["send", "bob", "hello"],
        &["send", "--ctx", "elsewhere", "bob", "hello"],
    ] {
        let output = home.run(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_node_file_with_a_mistake_is_refused_with_advice() {
    let home = Home::new();
    let file = home.folder.path().join("node.toml");
    std::fs::write(&file, "node = 1\ndata = \"d\"\n[listne]\n").expect("written");
    let output = home.run(&["config", "check", "--config", file.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `listen`?"), "{}", stderr(&output));
}

#[test]
fn a_cluster_that_does_not_answer_is_unhealthy_or_unavailable() {
    let home = Home::new();
    // Nobody listens on the discard port of a machine like this.
    let output = home.run(&["status", "--operations", "127.0.0.1:9"]);
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    let output = home.run(&["health", "--operations", "127.0.0.1:9"]);
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
}
