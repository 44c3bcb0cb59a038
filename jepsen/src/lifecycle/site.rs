//! The cluster of a lifecycle: nodes as processes with a file and a folder each, and an operator who uses `synod`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use std::time::Duration;

use serde_json::Value;

use crate::cluster::time::within;

/// Ports that one node has.
const PORTS_PER_NODE: u16 = 10;
/// How long the cluster may take to do what it was told.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// Nodes at the beginning.
const FOUNDERS: usize = 3;
/// Nodes that there ever are, the ones that are gone included.
const SITES: u16 = 6;
/// The operator's context.
const CONTEXT: &str = "lifecycle";

/// One node, for as long as it has its disk.
pub(super) struct Site {
    /// Its number in the cluster; none until it has come in.
    pub(super) node: u64,
    pub(super) client: SocketAddr,
    folder: PathBuf,
    child: Option<Child>,
}

/// All of them. What it made is gone when it is dropped.
pub(super) struct Cluster {
    synod: PathBuf,
    home: PathBuf,
    port_base: u16,
    pub(super) sites: Vec<Site>,
    made: usize,
}

impl Cluster {
    /// Founds with one node, lets two join, and waits until all is at rest.
    pub(super) fn form(synod: &Path, port_base: u16) -> Result<Self, String> {
        let home = std::env::temp_dir().join(format!("synod-lifecycle-{}", std::process::id()));
        fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
        let synod = synod.to_owned();
        let mut cluster = Self { synod, home, port_base, sites: Vec::new(), made: 0 };
        let mut first = cluster.prepare()?;
        let file = first.file();
        let founded = cluster.json(&["init", "--config", &file, "--json"])?;
        let text = |field: &str| founded[field].as_str().unwrap_or_default().to_owned();
        let ca = cluster.home.join("ca.pem");
        fs::copy(text("ca"), &ca).map_err(|e| format!("the authority's certificate: {e}"))?;
        cluster.start(&mut first, None)?;
        let (address, ca) = (first.client.to_string(), ca.display().to_string());
        first.node = 1;
        cluster.sites.push(first);
        let claim = text("claim");
        let who = ["--name", "operator", "--addr", &address, "--ca", &ca, "--ctx", CONTEXT];
        let claimed = [&["operator", "claim", &claim][..], &who].concat();
        cluster.until("the operator is let in", |cluster| Ok(cluster.run(&claimed).is_ok()))?;
        let token = text("joinToken");
        for _ in 1..FOUNDERS {
            cluster.join(&token)?;
        }
        cluster.settle()?;
        Ok(cluster)
    }

    /// Where clients may reach a node at any time, as a name of the whole cluster would tell them: those that are not
    /// there yet or no more refuse them.
    pub(super) fn all_addresses(&self) -> Vec<SocketAddr> {
        (1..=SITES).map(|number| self.at(number, 0)).collect()
    }

    /// The address of a node's port; nodes are counted from 1 as they were made.
    fn at(&self, number: u16, port: u16) -> SocketAddr {
        let port = self.port_base + (number - 1) * PORTS_PER_NODE + port;
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Where clients reach the nodes that are there.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.sites.iter().map(|site| site.client).collect()
    }

    /// Whom clients trust, PEM.
    pub(super) fn authority(&self) -> Result<Vec<u8>, String> {
        fs::read(self.home.join("ca.pem")).map_err(|e| format!("the authority's certificate: {e}"))
    }

    /// Messages a second that it acknowledges to clients who wait for nothing else.
    pub(super) fn capacity(&self, seconds: u64) -> Result<f64, String> {
        let duration = format!("{seconds}s");
        let mut args = vec!["bench", "send", "--clients", "64", "--duration", &duration, "--json"];
        let ca = self.home.join("ca.pem").display().to_string();
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        args.extend(["--ca", &ca]);
        args.extend(addresses.iter().flat_map(|address| ["--addr", address]));
        let figures = self.json(&args)?;
        figures["acked_per_s"].as_f64().ok_or_else(|| format!("no rate in {figures}"))
    }

    /// A node with an empty disk, not started.
    fn prepare(&mut self) -> Result<Site, String> {
        self.made += 1;
        let number = u16::try_from(self.made).expect("nodes of one run are few");
        let folder = self.home.join(format!("site-{number}"));
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        assert!(number <= SITES, "clients know where all of them are");
        let [client, peer, operations] = [0, 1, 2].map(|port| self.at(number, port));
        let text = format!(
            "data = \"data\"\n[listen]\nclient = \"{client}\"\npeer = \"{peer}\"\noperations = \"{operations}\"\n\
             [runtime]\nplane_threads = 1\nraft_threads = 1\n[cluster]\nshards = 4\n[faults]\nenabled = false\n"
        );
        fs::write(folder.join("node.toml"), text).map_err(|e| e.to_string())?;
        Ok(Site { node: 0, client, folder, child: None })
    }

    fn start(&self, site: &mut Site, join: Option<&str>) -> Result<(), String> {
        let log = fs::File::options().create(true).append(true).open(site.folder.join("log"));
        let log = log.map_err(|e| e.to_string())?;
        let file = site.file();
        let mut args = vec!["start", "--config", &file];
        args.extend(join.iter().flat_map(|token| ["--join", token]));
        let child = self.command(&args).stdout(Stdio::null()).stderr(log).spawn();
        site.child = Some(child.map_err(|e| format!("{}: {e}", self.synod.display()))?);
        Ok(())
    }

    /// Lets one more node in and waits until it is ready. Returns its number.
    pub(super) fn join(&mut self, token: &str) -> Result<u64, String> {
        let mut site = self.prepare()?;
        self.start(&mut site, Some(token))?;
        let client = site.client.to_string();
        self.sites.push(site);
        let mut number = None;
        self.until("a node is ready", |cluster| {
            let nodes = cluster.nodes()?;
            let ready = |node: &&Value| node["client"] == *client && node["state"] == "ready";
            number = nodes.iter().find(ready).and_then(|node| node["node"].as_u64());
            Ok(number.is_some())
        })?;
        let number = number.expect("it was waited for");
        self.sites.last_mut().expect("it was pushed").node = number;
        Ok(number)
    }

    /// The token of a verb that makes one.
    pub(super) fn token(&self, verb: &[&str]) -> Result<String, String> {
        let made = self.ask(verb)?;
        made["token"].as_str().map(str::to_owned).ok_or_else(|| format!("no token in {made}"))
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, node: u64) -> Result<(), String> {
        let site = self.site(node)?;
        if let Some(mut child) = site.child.take() {
            child.kill().and_then(|()| child.wait()).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Kills a node, and its disk is gone.
    pub(super) fn destroy(&mut self, node: u64) -> Result<(), String> {
        self.kill(node)?;
        let folder = self.site(node)?.folder.clone();
        self.sites.retain(|site| site.node != node);
        fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))
    }

    /// Asks a node to stop, and waits until it has.
    pub(super) fn stop(&mut self, node: u64) -> Result<(), String> {
        let Some(mut child) = self.site(node)?.child.take() else { return Ok(()) };
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
        sent.map_err(|e| format!("kill: {e}"))?;
        child.wait().map(|_| ()).map_err(|e| e.to_string())
    }

    /// Starts a node again and waits until the cluster hears it.
    pub(super) fn revive(&mut self, node: u64) -> Result<(), String> {
        let place = self.sites.iter().position(|site| site.node == node);
        let mut site = self.sites.remove(place.ok_or("there is no such node")?);
        let started = self.start(&mut site, None);
        self.sites.insert(0, site);
        started
    }

    fn site(&mut self, node: u64) -> Result<&mut Site, String> {
        let found = self.sites.iter_mut().find(|site| site.node == node);
        found.ok_or_else(|| format!("there is no node {node}"))
    }

    /// The nodes, as the cluster lists them.
    pub(super) fn nodes(&self) -> Result<Vec<Value>, String> {
        let nodes = self.ask(&["node", "ls"])?;
        Ok(nodes["nodes"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until nothing moves, nothing is to come, and every group is led.
    pub(super) fn settle(&self) -> Result<(), String> {
        self.until("everything is at rest", |cluster| {
            let plan = cluster.ask(&["rebalance", "status"])?;
            let none = |field: &str| plan[field].as_array().is_some_and(Vec::is_empty);
            Ok(none("moving") && none("moves"))
        })
    }

    /// Waits until it holds. Whoever cannot be asked just now is asked again.
    pub(super) fn until(
        &self,
        what: &str,
        mut holds: impl FnMut(&Self) -> Result<bool, String>,
    ) -> Result<(), String> {
        let mut error = String::new();
        let held = within(PATIENCE, LOOK, || match holds(self) {
            Ok(held) => held.then_some(()),
            Err(why) => {
                error = why;
                None
            }
        });
        held.ok_or_else(|| format!("did not happen: {what} {error}"))
    }

    /// What a verb of operators answers, from any node that lives.
    pub(super) fn ask(&self, args: &[&str]) -> Result<Value, String> {
        let mut error = "no node runs".to_owned();
        let ca = self.home.join("ca.pem").display().to_string();
        for site in self.sites.iter().filter(|site| site.child.is_some()) {
            let address = site.client.to_string();
            let whole =
                [args, &["--ctx", CONTEXT, "--addr", &address, "--ca", &ca, "--json"]].concat();
            match self.json(&whole) {
                Ok(answer) => return Ok(answer),
                Err(why) => error = why,
            }
        }
        Err(error)
    }

    fn json(&self, args: &[&str]) -> Result<Value, String> {
        let printed = self.run(args)?;
        let line = printed.trim();
        serde_json::from_str(line).map_err(|e| format!("synod {}: {e}: {line}", args.join(" ")))
    }

    fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = self.command(args).output();
        let output = output.map_err(|e| format!("{}: {e}", self.synod.display()))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => {
                let why = String::from_utf8_lossy(&output.stderr);
                Err(format!("synod {}: {}", args.join(" "), why.trim()))
            }
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.synod);
        command.args(args).env("XDG_CONFIG_HOME", self.home.join("config")).stdin(Stdio::null());
        command
    }
}

impl Site {
    fn file(&self) -> String {
        self.folder.join("node.toml").display().to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for site in &mut self.sites {
            if let Some(mut child) = site.child.take() {
                // It is over: what cannot be killed has ended already.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        let _ = fs::remove_dir_all(&self.home);
    }
}
