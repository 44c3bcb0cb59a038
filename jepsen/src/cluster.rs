//! Real `synod` processes on one machine, each in its own network namespace and on its own disk image.
//!
//! Raises, watches, stops, kills and tears down; what is done to them for harm is in `nemesis`, with the means of `net`
//! and `disk`. Nothing here judges, and nothing here removes what this run did not make.

mod desk;
mod files;
mod groups;
mod interrupt;
mod node;
mod observe;
mod plan;
mod process;
mod setback;
pub(crate) mod shell;
mod sweep;
pub(crate) mod time;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub use groups::{Controller, Groups};
pub use interrupt::interrupts;
pub use node::{End, Node};
pub use observe::{Eyes, NodeStatus, SeenNode, ShardStatus};
pub use plan::{
    CLIENT_PORT, DiskKind, Host, NODES_MAX, OPERATIONS_PORT, PEER_PORT, PREFIX, Plan,
    RUN_ID_CHARS_MAX,
};
pub use setback::{Doing, Setback};
pub use sweep::{sweep, sweep_orphans};
pub use time::now_ns;
pub(crate) use time::{rest, within};

use crate::disk::Shim;
use crate::net::Network;

/// A cluster that is raised, or healed, serves within this.
pub const READY_WITHIN: Duration = Duration::from_secs(90);
/// How often a node is asked whether it serves.
const READY_POLL: Duration = Duration::from_millis(50);
/// A node that ends while the cluster heals is started again so often.
const REVIVALS_MAX: u32 = 3;

/// A raised cluster. Dropping it ends everything that it started.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
    home: PathBuf,
    ca: Vec<u8>,
    network: Network,
    nodes: BTreeMap<u8, Node>,
    ends: Vec<End>,
    /// Whether the harness is an operator.
    claimed: bool,
    /// Whether disk images stay when the cluster goes.
    keep_disks: bool,
}

impl Cluster {
    /// Raises it and waits until every node says that it serves.
    ///
    /// # Errors
    /// When the machine lacks what the plan needs, or a node does not come up; everything is removed again.
    pub fn raise(plan: &Plan) -> Result<Self, Setback> {
        if let Some(problem) = plan.problem() {
            return Err(Setback::new(problem));
        }
        let plan = Plan {
            synod: fs::canonicalize(&plan.synod).doing(plan.synod.display())?,
            folder: fs::canonicalize(&plan.folder).doing(plan.folder.display())?,
            ..plan.clone()
        };
        sweep_orphans(&plan.folder);
        let home = plan.home();
        fs::create_dir(&home).doing(format_args!("the folder of this run, {}", home.display()))?;
        sweep::own(&home).doing(home.display())?;
        let data = |node| home.join(Host::Node(node).name()).join("data").display().to_string();
        let ca = files::write(&plan, &home, data)?;
        let library = if plan.shim { Some(Shim::build(&home)?) } else { None };
        let network = Network::raise(&plan)?;
        let (nodes, ends) = Default::default();
        let (claimed, keep_disks) = (false, false);
        let mut cluster = Self { plan, home, ca, network, nodes, ends, claimed, keep_disks };
        for id in cluster.plan.all() {
            let namespace = cluster.network.host(Host::Node(id)).clone();
            let node = Node::create(&cluster.plan, id, namespace, library.as_deref())?;
            cluster.nodes.insert(id, node);
        }
        for node in cluster.nodes.values_mut() {
            node.start()?;
        }
        cluster.wait_ready(READY_WITHIN)?;
        Ok(cluster)
    }

    /// How many nodes.
    #[must_use]
    pub fn nodes(&self) -> u8 {
        self.plan.nodes
    }

    /// All nodes, counted from 1.
    #[must_use]
    pub fn all(&self) -> Vec<u8> {
        self.plan.all().collect()
    }

    /// What was raised.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The folder of this run: logs, certificates, images.
    #[must_use]
    pub fn home(&self) -> &std::path::Path {
        &self.home
    }

    /// Where clients reach a node, from the client namespace.
    #[must_use]
    pub fn client_addr(&self, node: u8) -> SocketAddr {
        Host::Node(node).at(CLIENT_PORT)
    }

    /// Where operators reach a node, from the client namespace.
    #[must_use]
    pub fn operations_addr(&self, node: u8) -> SocketAddr {
        Host::Node(node).at(OPERATIONS_PORT)
    }

    /// The authority that signs every node's certificate, PEM. Certificates name the node's address.
    #[must_use]
    pub fn ca_pem(&self) -> Vec<u8> {
        self.ca.clone()
    }

    /// A node's log, over all its starts.
    #[must_use]
    pub fn logs(&self, node: u8) -> PathBuf {
        self.home.join(format!("{}.log", Host::Node(node).name()))
    }

    /// The folder in which a node keeps its data.
    #[must_use]
    pub fn data(&self, node: u8) -> PathBuf {
        self.home.join(Host::Node(node).name()).join("data")
    }

    /// Who leads which group, and in which term, as far as somebody knows it now.
    #[must_use]
    pub fn leaders(&self) -> BTreeMap<u32, (u8, u64)> {
        self.eyes().leaders()
    }

    /// The running node that leads most groups.
    #[must_use]
    pub fn busiest(&self) -> Option<u8> {
        let mut leads: BTreeMap<u8, usize> = BTreeMap::new();
        for (node, _) in self.leaders().into_values().filter(|(node, _)| self.running(*node)) {
            *leads.entry(node).or_default() += 1;
        }
        leads.into_iter().max_by_key(|(_, count)| *count).map(|(node, _)| node)
    }

    /// Looks at nodes from another thread while this one breaks them.
    #[must_use]
    pub fn eyes(&self) -> Eyes {
        let namespace = |id: u8| (id, self.network.host(Host::Node(id)).clone());
        Eyes { namespaces: self.plan.all().map(namespace).collect() }
    }

    /// The same command, to be run in the client namespace. Arguments, environment and working folder are kept; what
    /// is done with stdin, stdout and stderr must be said again.
    #[must_use]
    pub fn in_client_namespace(&self, command: Command) -> Command {
        let mut inside = self.network.host(Host::Client).command(command.get_program());
        inside.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }

    /// Whether a node has a process that is not known to have ended.
    #[must_use]
    pub fn running(&self, node: u8) -> bool {
        self.node(node).process.is_some()
    }

    /// Whether a node's process stands still by SIGSTOP.
    #[must_use]
    pub fn paused(&self, node: u8) -> bool {
        self.node(node).process.as_ref().is_some_and(process::Process::paused)
    }

    /// Starts a node, unless it runs. Does not wait until it serves.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&mut self, node: u8) -> Result<(), Setback> {
        let node = self.node_mut(node);
        node.disk.thaw()?;
        node.disk.mount()?;
        node.start()
    }

    /// Stops a node in order (SIGTERM). Whether it stopped by itself within ten seconds.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn stop(&mut self, node: u8) -> Result<bool, Setback> {
        let node = self.node_mut(node);
        node.groups.freeze(false).unwrap_or_default();
        node.disk.thaw()?;
        node.process.take().map_or(Ok(true), process::Process::stop)
    }

    /// SIGKILL; returns when the process is gone. Whether there was one.
    ///
    /// # Errors
    /// When the kernel holds it.
    pub fn kill(&mut self, node: u8) -> Result<bool, Setback> {
        self.kill_all(&[node]).map(|killed| killed > 0)
    }

    /// SIGKILL for several nodes at once; returns when they are gone. How many there were.
    ///
    /// # Errors
    /// When the kernel holds one.
    pub fn kill_all(&mut self, nodes: &[u8]) -> Result<usize, Setback> {
        for id in nodes {
            if let Some(process) = &mut self.node_mut(*id).process {
                process.strike()?;
            }
        }
        let mut killed = 0;
        for id in nodes {
            let node = self.node_mut(*id);
            // Nobody dies while he is frozen, or waits for a frozen disk.
            node.groups.freeze(false).unwrap_or_default();
            node.disk.thaw()?;
            if let Some(process) = node.process.take() {
                process.kill()?;
                killed += 1;
            }
        }
        Ok(killed)
    }

    /// SIGSTOP. Whether there was a process.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn pause(&mut self, node: u8) -> Result<bool, Setback> {
        let process = self.node_mut(node).process.as_mut();
        process.map_or(Ok(false), |process| process.pause().map(|()| true))
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn resume(&mut self, node: u8) -> Result<(), Setback> {
        self.node_mut(node).process.as_mut().map_or(Ok(()), process::Process::proceed)
    }

    /// The power of these nodes fails: what they did not sync is gone, and so are they. Returns the time from the first to
    /// the last. They stay dark until they are started.
    ///
    /// # Errors
    /// When a disk is no image of its own, or does not let go.
    pub fn power_loss(&mut self, nodes: &[u8]) -> Result<Duration, Setback> {
        for id in nodes {
            self.node_mut(*id).disk.thaw()?;
        }
        let begin = now_ns();
        for id in nodes {
            self.node(*id).disk.cut_power()?;
        }
        let took = Duration::from_nanos(now_ns() - begin);
        self.kill_all(nodes)?;
        for id in nodes {
            self.node_mut(*id).disk.unmount()?;
        }
        Ok(took)
    }

    /// Waits until every node that should run serves.
    ///
    /// # Errors
    /// When one does not in time, with the end of its log.
    pub fn wait_ready(&mut self, patience: Duration) -> Result<(), Setback> {
        let eyes = self.eyes();
        let mut waiting = self.all();
        let mut revivals = 0;
        let ready = within(patience, READY_POLL, || {
            waiting.retain(|node| !eyes.ready(*node));
            if waiting.is_empty() {
                return Some(Ok(()));
            }
            self.notice_ends();
            for node in &waiting {
                if self.running(*node) {
                    continue;
                }
                revivals += 1;
                if revivals > REVIVALS_MAX * u32::from(self.plan.nodes) {
                    return Some(Err(self.silent(*node, "ends again and again")));
                }
                rest(READY_POLL * 4);
                if let Err(error) = self.start(*node) {
                    return Some(Err(error));
                }
            }
            None
        });
        match ready {
            Some(ready) => ready,
            None => Err(self.silent(waiting[0], "does not serve")),
        }
    }

    fn silent(&self, node: u8, what: &str) -> Setback {
        let log = self.node(node).log_tail(12);
        Setback::new(format!("n{node} {what}; its log ends with\n{log}"))
    }

    /// Processes that ended by themselves since this was asked last. A fault that ends a process is counted too: only
    /// who knows the faults knows what was expected.
    pub fn notice_ends(&mut self) -> Vec<End> {
        let ends: Vec<End> = self.nodes.values_mut().filter_map(Node::notice).collect();
        self.ends.extend(ends.iter().cloned());
        ends
    }

    /// All processes so far that ended by themselves.
    #[must_use]
    pub fn ends(&self) -> &[End] {
        &self.ends
    }

    /// A node with everything that is its own.
    ///
    /// # Panics
    /// When the plan has no such node.
    #[must_use]
    pub fn node(&self, node: u8) -> &Node {
        self.nodes.get(&node).expect("every node of the plan is there")
    }

    pub(crate) fn node_mut(&mut self, node: u8) -> &mut Node {
        self.nodes.get_mut(&node).expect("every node of the plan is there")
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Undoes all harm, whoever did it, starts whoever does not run, waits until everybody serves, and looks whether
    /// anything is still wrong.
    ///
    /// # Errors
    /// What is still wrong, or what could not be undone.
    pub fn heal(&mut self) -> Result<(), Setback> {
        self.network.heal()?;
        self.notice_ends();
        for node in self.nodes.values_mut() {
            node.heal()?;
            node.start()?;
        }
        self.wait_ready(READY_WITHIN)?;
        let wounds = self.wounds()?;
        if wounds.is_empty() { Ok(()) } else { Err(Setback::new(wounds.join("; "))) }
    }

    /// What is wrong with the cluster now, one sentence each: rules, limits, dials, disks, processes.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn wounds(&self) -> Result<Vec<String>, Setback> {
        let mut wounds = self.network.wounds()?;
        wounds.extend(self.nodes.values().flat_map(Node::wounds));
        Ok(wounds)
    }

    /// Disk images stay in the run's folder when the cluster goes.
    pub fn keep_disks(&mut self) {
        self.keep_disks = true;
    }

    /// Ends everything that was started and removes everything that was made, logs and certificates excepted.
    pub fn teardown(mut self) {
        self.take_down();
    }

    fn take_down(&mut self) {
        for node in self.nodes.values_mut() {
            let _ = node.groups.freeze(false);
            let _ = node.disk.thaw();
            // Dropping a process ends it.
            node.process = None;
            node.groups.remove();
        }
        self.network.remove();
        for node in self.nodes.values_mut() {
            node.disk.remove(self.keep_disks);
        }
        let _ = fs::remove_file(self.home.join("owner"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.take_down();
    }
}
