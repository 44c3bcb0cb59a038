//! Tries faults one by one against a cluster and tells of each whether it bites here: what `doctor` believes is then seen.

use std::fs::File;
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cluster::{Cluster, Host, now_ns, rest, within};
use crate::dice::Dice;
use crate::net::Namespace;

use super::{Fault, Scope};

/// A fault bites within this or not at all.
const BITES_WITHIN: Duration = Duration::from_secs(12);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Between two knocks of the clients.
const KNOCK_EVERY: Duration = Duration::from_millis(20);
/// A knock that is not answered within this is given up.
const KNOCK_PATIENCE: Duration = Duration::from_millis(50);

/// Messages a second that are sent while a fault is tried: a disk that nobody writes to cannot fail.
const RATE: &str = "300";
/// Devices that send them.
const DEVICES: &str = "12";
/// Messages flow within this, accounts and all.
const FLOWS_WITHIN: Duration = Duration::from_secs(20);

/// What became of one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The fault.
    pub name: &'static str,
    /// What was done, or why it was not.
    pub installed: Result<String, String>,
    /// What was seen, or why nothing was.
    pub bit: Result<String, String>,
    /// What was still wrong after it was healed.
    pub healed: Result<(), String>,
    /// From installing to biting.
    pub bit_after: Duration,
    /// From healing until every node served.
    pub healed_after: Duration,
}

/// Tries each fault at whoever leads most; `tell` hears of each. A fault that does not heal ends the row.
pub fn try_each(
    cluster: &mut Cluster,
    faults: Vec<Box<dyn Fault>>,
    seed: u64,
    tell: &mut dyn FnMut(&Trial),
) -> Vec<Trial> {
    let stop = AtomicBool::new(false);
    let doors: Vec<_> = cluster.all().iter().map(|node| cluster.client_addr(*node)).collect();
    let clients = cluster.network().host(Host::Client).clone();
    std::thread::scope(|scope| {
        scope.spawn(|| knock(&clients, &doors, &stop));
        let mut load = Load(None);
        let mut trials: Vec<Trial> = Vec::new();
        for (number, fault) in faults.into_iter().enumerate() {
            load.flow(cluster);
            let trial = try_one(cluster, fault, seed + number as u64);
            tell(&trial);
            trials.push(trial);
            if trials.last().is_some_and(|trial| trial.healed.is_err()) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        trials
    })
}

/// Real clients that send all the time: the binary's own measuring command, started again whenever a fault ended it.
struct Load(Option<Child>);

impl Load {
    /// Makes sure that messages flow. Without them some faults are not seen to bite, which is told there.
    fn flow(&mut self, cluster: &Cluster) {
        if self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None))) {
            return;
        }
        let applied = || -> u64 {
            let status =
                cluster.all().into_iter().filter_map(|node| cluster.eyes().status(node).ok());
            status.flat_map(|status| status.shards).map(|shard| shard.applied).sum()
        };
        let before = applied();
        self.0 = start_load(cluster);
        within(FLOWS_WITHIN, LOOK, || (applied() > before + 1000).then_some(()));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start_load(cluster: &Cluster) -> Option<Child> {
    let mut command = Command::new(&cluster.plan().synod);
    command.args(["bench", "send", "--json", "--clients", DEVICES, "--rate", RATE]);
    command
        .args(["--duration", "3600s", "--warmup", "0s", "--ca"])
        .arg(cluster.home().join("ca.pem"));
    for node in cluster.all() {
        command.arg("--addr").arg(cluster.client_addr(node).to_string());
    }
    command.env("HOME", cluster.home());
    let log = File::create(cluster.home().join("load.log")).ok()?;
    let mut command = cluster.in_client_namespace(command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().ok()
}

fn try_one(cluster: &mut Cluster, mut fault: Box<dyn Fault>, seed: u64) -> Trial {
    let mut victims = cluster.all();
    if let Some(leader) = cluster.busiest() {
        victims.swap(0, usize::from(leader - 1));
    }
    victims.truncate(usize::from(cluster.plan().minority().max(1)));
    let scope = Scope { victims };
    let mut trial = Trial {
        name: fault.kind().name,
        installed: Err(String::new()),
        bit: Err("not installed".to_owned()),
        healed: Ok(()),
        bit_after: Duration::ZERO,
        healed_after: Duration::ZERO,
    };
    let begin = now_ns();
    match fault.install(cluster, &mut Dice::new(seed, 1), &scope) {
        Err(skipped) => trial.installed = Err(skipped.reason),
        Ok(installed) => {
            trial.installed = Ok(installed.detail);
            let mut last = String::new();
            let seen =
                within(BITES_WITHIN, LOOK, || fault.verify(cluster).map_err(|why| last = why).ok());
            trial.bit = seen.ok_or(last);
            trial.bit_after = Duration::from_nanos(now_ns() - begin);
        }
    }
    let begin = now_ns();
    let healed = fault.heal(cluster).and_then(|()| cluster.heal());
    trial.healed = healed.map_err(|error| error.to_string());
    trial.healed_after = Duration::from_nanos(now_ns() - begin);
    trial
}

/// Clients that only knock: a connection and a datagram to every node, again and again.
fn knock(clients: &Namespace, doors: &[std::net::SocketAddr], stop: &AtomicBool) {
    // Without clients some faults are not seen to bite; that is told where it is looked for.
    let _ = clients.inside(|| {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).ok();
        while !stop.load(Ordering::Relaxed) {
            for door in doors {
                if let Some(socket) = &socket {
                    let _ = socket.send_to(&[0xc0; 1300], door);
                }
                let _ = TcpStream::connect_timeout(door, KNOCK_PATIENCE);
            }
            rest(KNOCK_EVERY);
        }
    });
}
