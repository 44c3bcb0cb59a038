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
    /// What runs there from the next start on.
    pub release: Release,
}

/// Which build of the binary a node runs.
#[derive(Clone, Default)]
pub enum Release {
    /// This one.
    #[default]
    Here,
    /// This one, as the release after it.
    Next,
    /// The same, which writes what is new before all can read it.
    Early,
    /// Another one.
    Other(PathBuf),
}

impl Site {
    /// A file with nothing in it but addresses.
    pub fn prepare(home: &Home, number: usize) -> Site {
        Site::prepare_with(home, number, "")
    }

    /// The same, and more lines.
    pub fn prepare_with(home: &Home, number: usize, more: &str) -> Site {
        let folder = home.folder.path().join(format!("site-{number}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let [client, peer, operations] = [free(), free(), free()];
        let text = format!(
            "data = \"data\"\n[listen]\nclient = \"{client}\"\npeer = \"{peer}\"\n\
             operations = \"{operations}\"\n[runtime]\nplane_threads = 1\nraft_threads = 1\n\
             [cluster]\nshards = 4\n{more}"
        );
        let file = folder.join("node.toml");
        std::fs::write(&file, text).expect("writable");
        Site {
            client,
            operations,
            data: folder.join("data"),
            file,
            child: None,
            release: Release::Here,
        }
    }

    pub fn file(&self) -> &str {
        self.file.to_str().expect("plain")
    }

    pub fn start(&mut self, home: &Home, join: Option<&str>) {
        let mut args = vec!["start", "--config", self.file()];
        args.extend(join.iter().flat_map(|token| ["--join", token]));
        let log = std::fs::File::create(self.file.with_extension("log")).expect("writable");
        let mut command = match &self.release {
            Release::Other(binary) => home.command_of(binary, &args),
            Release::Here | Release::Next | Release::Early => home.command(&args),
        };
        let rehearses = match self.release {
            Release::Next => Some("1"),
            Release::Early => Some("early"),
            Release::Here | Release::Other(_) => None,
        };
        command.envs(rehearses.map(|how| ("SYNOD_REHEARSE_NEXT", how)));
        let child = command.stderr(Stdio::from(log)).spawn();
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

    /// Asks its process to stop, as a service manager does.
    pub fn terminate(&self) {
        let child = self.child.as_ref().expect("it was started");
        crate::synod::signal(child.id(), "TERM");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it was started").id()
    }

    /// What it wrote to its log since it was started last.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file.with_extension("log")).expect("it was started")
    }

    /// How its process ended, once it has.
    pub fn exit_code(&mut self) -> Option<i32> {
        let child = self.child.as_mut().expect("it was started");
        child.try_wait().expect("a child can be waited for").and_then(|status| status.code())
    }

    /// Whether its process is over.
    pub fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut().expect("it was started");
        child.try_wait().expect("a child can be waited for").is_some()
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
        Formed::start_as(home, nodes, &Release::Here)
    }

    /// The same, with another build of the binary.
    pub fn start_as(home: &'a Home, nodes: usize, release: &Release) -> Formed<'a> {
        let mut first = Site::prepare(home, 1);
        first.release = release.clone();
        let mut formed = Formed::found(home, first, nodes.saturating_sub(1).max(1));
        let join = formed.join.clone();
        for number in 2..=nodes {
            let mut site = Site::prepare(home, number);
            site.release = release.clone();
            formed.join(site, &join);
        }
        formed
    }

    /// Founds and claims with this node alone; the line that it prints is good for so many others.
    pub fn found(home: &'a Home, mut first: Site, others: usize) -> Formed<'a> {
        let others = others.to_string();
        let founded = home.run(&["init", "--config", first.file(), "--others", &others, "--json"]);
        assert!(founded.status.success(), "{}", stderr(&founded));
        let founded: Value = serde_json::from_str(&stdout(&founded)).expect("JSON");
        let text = |field: &str| founded[field].as_str().expect("a text").to_owned();
        let (ca, join, claim) = (PathBuf::from(text("ca")), text("joinToken"), text("claim"));
        first.start(home, None);
        first.ready(home);
        let (address, ca_text) = (first.client.to_string(), text("ca"));
        let formed = Formed { home, sites: vec![first], ca, join, claim };
        let who = ["--name", "ada", "--addr", &address, "--ca", &ca_text, "--ctx", "synod"];
        eventually("the claim is taken", || {
            let claimed =
                home.run(&[&["operator", "claim", formed.claim.as_str()][..], &who].concat());
            claimed.status.success()
        });
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

    /// Stops a node in order, as a service manager does, and starts it as another build.
    pub fn upgrade(&mut self, node: usize, release: &Release) {
        let site = &mut self.sites[node - 1];
        site.terminate();
        eventually("it stops in order", || site.has_ended());
        site.release = release.clone();
        self.restart(node);
    }

    /// Stops a node in order and starts another build there, which does not stay. Answers how it ended.
    pub fn try_upgrade(&mut self, node: usize, release: &Release) -> i32 {
        let site = &mut self.sites[node - 1];
        site.terminate();
        eventually("it stops in order", || site.has_ended());
        site.release = release.clone();
        self.try_start(node)
    }

    /// Starts a node that does not run, and that does not stay. Answers how it ended.
    pub fn try_start(&mut self, node: usize) -> i32 {
        let join = self.join.clone();
        let site = &mut self.sites[node - 1];
        site.start(self.home, (node > 1).then_some(join.as_str()));
        let mut code = None;
        eventually("it ends by itself", || {
            code = site.exit_code();
            code.is_some()
        });
        code.expect("waited for")
    }

    pub fn kill(&mut self, node: usize) {
        self.sites[node - 1].kill();
    }

    /// What a verb of operators answers. `--addr N` means the N-th node.
    pub fn ask(&self, args: &[&str]) -> Value {
        let (whole, answer) = self.run(args);
        assert!(answer.status.success(), "{whole:?}: {}", stderr(&answer));
        serde_json::from_str(&stdout(&answer)).expect("JSON")
    }

    /// The same; `None` when it is refused.
    pub fn try_ask(&self, args: &[&str]) -> Option<Value> {
        let (_, answer) = self.run(args);
        answer.status.success().then(|| serde_json::from_str(&stdout(&answer)).expect("JSON"))
    }

    /// What it prints, however it ends. Empty when that is no object.
    pub fn told(&self, args: &[&str]) -> Value {
        serde_json::from_str(&stdout(&self.run(args).1)).unwrap_or_default()
    }

    /// What a verb answers that asks the nodes themselves.
    pub fn ask_at(&self, args: &[&str]) -> Value {
        let answer = self.home.run(&[args, &["--json"]].concat());
        serde_json::from_str(&stdout(&answer)).expect("JSON")
    }

    fn run(&self, args: &[&str]) -> (Vec<String>, std::process::Output) {
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
        let words: Vec<&str> = whole.iter().map(String::as_str).collect();
        let answer = self.home.run(&words);
        (whole, answer)
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}
