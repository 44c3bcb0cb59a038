//! Nodes that an operator formed into a cluster: real processes, each with a file and a folder of its own.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "each test file includes it and uses its part; it watches real processes in real time"
)]

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Stdio},
};

use serde_json::Value;

use crate::synod::{Home, eventually, stderr, stdout};

/// Where one node will be.
pub struct Site {
    pub client: SocketAddr,
    pub operations: SocketAddr,
    pub data: PathBuf,
    file: PathBuf,
    child: Option<Child>,
}

impl Site {
    /// A file with nothing in it but addresses.
    pub fn prepare(home: &Home, number: usize) -> Site {
        let folder = home.folder.path().join(format!("site-{number}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let [client, peer, operations] = [free(), free(), free()];
        let text = format!(
            "data = \"data\"\n[listen]\nclient = \"{client}\"\npeer = \"{peer}\"\n\
             operations = \"{operations}\"\n[runtime]\nplane_threads = 1\nraft_threads = 1\n\
             [cluster]\nshards = 4\n"
        );
        let file = folder.join("node.toml");
        std::fs::write(&file, text).expect("writable");
        Site { client, operations, data: folder.join("data"), file, child: None }
    }

    pub fn file(&self) -> &str {
        self.file.to_str().expect("plain")
    }

    pub fn start(&mut self, home: &Home, join: Option<&str>) {
        let mut args = vec!["start", "--config", self.file()];
        args.extend(join.iter().flat_map(|token| ["--join", token]));
        let log = std::fs::File::create(self.file.with_extension("log")).expect("writable");
        let child = home.command(&args).stderr(Stdio::from(log)).spawn();
        self.child = Some(child.expect("the binary runs"));
    }

    /// Waits until it serves.
    pub fn ready(&mut self, home: &Home) {
        let operations = self.operations.to_string();
        eventually("the node serves", || {
            let child = self.child.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                let log = std::fs::read_to_string(self.file.with_extension("log"));
                panic!("the node ended with {status}: {}", log.unwrap_or_default());
            }
            let asked = home.run(&["status", "--operations", &operations, "--json"]);
            let status: Value = serde_json::from_str(&stdout(&asked)).unwrap_or_default();
            status["nodes"][0]["serves"] == Value::Bool(true)
        });
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cluster that was founded by its first node and joined by the rest.
pub struct Formed<'a> {
    home: &'a Home,
    pub sites: Vec<Site>,
    pub ca: PathBuf,
    /// The line for the others.
    pub join: String,
    /// The secret of the first operator, used.
    pub claim: String,
}

impl<'a> Formed<'a> {
    /// Founds, starts, claims, joins, and waits until all nodes are ready.
    pub fn start(home: &'a Home, nodes: usize) -> Formed<'a> {
        let mut first = Site::prepare(home, 1);
        let others = nodes.saturating_sub(1).max(1).to_string();
        let founded = home.run(&["init", "--config", first.file(), "--others", &others, "--json"]);
        assert!(founded.status.success(), "{}", stderr(&founded));
        let founded: Value = serde_json::from_str(&stdout(&founded)).expect("JSON");
        let text = |field: &str| founded[field].as_str().expect("a text").to_owned();
        let (ca, join, claim) = (PathBuf::from(text("ca")), text("joinToken"), text("claim"));
        first.start(home, None);
        first.ready(home);
        let (address, ca_text) = (first.client.to_string(), text("ca"));
        let mut formed = Formed { home, sites: vec![first], ca, join: join.clone(), claim };
        let who = ["--name", "ada", "--addr", &address, "--ca", &ca_text, "--ctx", "synod"];
        eventually("the claim is taken", || {
            let claimed =
                home.run(&[&["operator", "claim", formed.claim.as_str()][..], &who].concat());
            claimed.status.success()
        });
        for number in 2..=nodes {
            formed.join(Site::prepare(home, number), &join);
        }
        formed
    }

    /// Starts one more node with this token, and waits until the cluster calls it ready.
    pub fn join(&mut self, mut site: Site, token: &str) {
        site.start(self.home, Some(token));
        let client = site.client.to_string();
        self.sites.push(site);
        eventually("the node is ready", || {
            let cluster = self.home.run(&["node", "ls", "--ctx", "synod", "--json"]);
            let cluster: Value = serde_json::from_str(&stdout(&cluster)).unwrap_or_default();
            let nodes = cluster["nodes"].as_array().cloned().unwrap_or_default();
            nodes.iter().any(|node| node["client"] == *client && node["state"] == "ready")
        });
        let home = self.home;
        self.sites.last_mut().expect("it was pushed").ready(home);
    }

    /// Kills a node, counted from 1 in the order of joining, and starts it as it was first started.
    pub fn restart(&mut self, node: usize) {
        let join = self.join.clone();
        let site = &mut self.sites[node - 1];
        site.kill();
        site.start(self.home, (node > 1).then_some(join.as_str()));
        site.ready(self.home);
    }

    pub fn kill(&mut self, node: usize) {
        self.sites[node - 1].kill();
    }

    /// What a verb of operators answers. `--addr N` means the N-th node.
    pub fn ask(&self, args: &[&str]) -> Value {
        let (mut whole, mut words) = (Vec::new(), args.iter());
        while let Some(word) = words.next() {
            whole.push((*word).to_owned());
            if *word == "--addr" {
                let number: usize = words.next().expect("a number").parse().expect("a number");
                let ca = self.ca.to_str().expect("plain").to_owned();
                whole.extend([self.sites[number - 1].client.to_string(), "--ca".to_owned(), ca]);
            }
        }
        whole.extend(["--ctx", "synod", "--json"].map(str::to_owned));
        let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
        let answer = self.home.run(&whole);
        assert!(answer.status.success(), "{whole:?}: {}", stderr(&answer));
        serde_json::from_str(&stdout(&answer)).expect("JSON")
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}
