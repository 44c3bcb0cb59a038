//! One node of a cluster: its disk, its limits, its shim, its process, and how its processes ended.

use std::path::Path;

use super::groups::Groups;
use super::plan::{Host, Plan};
use super::process::{Process, Recipe};
use super::setback::{Doing as _, Setback};
use super::shell;
use super::time::now_ns;
use crate::disk::{Dials, Disk, Shim};
use crate::net::{Namespace, Network};

/// Lines of a node's log that go with its end.
const LAST_LINES: usize = 8;

/// A node's process that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The node.
    pub node: u8,
    /// When it was noticed, nanoseconds of the machine's monotonic clock.
    pub at_ns: u64,
    /// How it ended.
    pub status: String,
    /// The last lines of its log.
    pub last: String,
}

/// A node and everything that is its own.
#[derive(Debug)]
pub struct Node {
    /// Its number.
    pub(crate) id: u8,
    /// Its disk.
    pub(crate) disk: Disk,
    /// Its limits.
    pub(crate) groups: Groups,
    /// Its shim, if the plan wants one.
    pub(crate) shim: Option<Shim>,
    /// Its process, while there is one.
    pub(crate) process: Option<Process>,
    recipe: Recipe,
    /// The open files that it may have, when somebody limited them.
    files_before: Option<String>,
}

impl Node {
    /// The node before its first start.
    pub(super) fn create(
        plan: &Plan,
        id: u8,
        namespace: Namespace,
        library: Option<&Path>,
    ) -> Result<Self, Setback> {
        let (home, name) = (plan.home(), Host::Node(id).name());
        let shim =
            library.map(|library| Shim::open(&home, &name, library.to_owned())).transpose()?;
        let environment = shim.iter().flat_map(|shim| shim.environment());
        let recipe = Recipe {
            namespace,
            synod: plan.synod.clone(),
            config: home.join(format!("{name}.toml")),
            log: home.join(format!("{name}.log")),
            environment: environment.map(|(name, path)| (name, path.to_owned())).collect(),
        };
        let disk = Disk::create(&home, &name, plan.disk)?;
        let groups = Groups::create(&format!("{}{name}", Network::prefix(&plan.run_id)));
        Ok(Self { id, disk, groups, shim, process: None, recipe, files_before: None })
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&mut self) -> Result<(), Setback> {
        if self.process.is_none() {
            self.files_before = None;
            let process = self.recipe.start()?;
            // A process that ended at once cannot be taken in; whoever waits for it will see that it ended.
            let _ = self.groups.take_in(process.pid());
            self.process = Some(process);
        }
        Ok(())
    }

    /// Whether its process ended by itself since somebody looked last.
    pub(crate) fn notice(&mut self) -> Option<End> {
        let status = self.process.as_mut()?.ended()?;
        self.process = None;
        Some(End {
            node: self.id,
            at_ns: now_ns(),
            status: status.to_string(),
            last: self.log_tail(LAST_LINES),
        })
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.recipe.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// How many threads of its process are in this state, and how many there are.
    pub(crate) fn threads_in(&self, state: char) -> (usize, usize) {
        let states = self.process.as_ref().map(Process::states).unwrap_or_default();
        (states.iter().filter(|other| **other == state).count(), states.len())
    }

    /// Its shim.
    pub(crate) fn shim(&self) -> Result<&Shim, Setback> {
        self.shim.as_ref().ok_or_else(|| Setback::new("the plan has no shim"))
    }

    /// Lets its process open so many files; `None`: as many as before.
    pub(crate) fn limit_files(&mut self, files: Option<usize>) -> Result<(), Setback> {
        let Some(process) = &self.process else { return Ok(()) };
        let pid = process.pid().to_string();
        let limit = match files {
            Some(files) => {
                let now = shell::run(
                    "prlimit",
                    &["--pid", &pid, "--nofile", "-o", "SOFT", "--noheadings"],
                )?;
                self.files_before.get_or_insert(now.trim().to_owned());
                files.to_string()
            }
            None => match self.files_before.take() {
                Some(before) => before,
                None => return Ok(()),
            },
        };
        shell::run("prlimit", &["--pid", &pid, &format!("--nofile={limit}:")]).map(drop)
    }

    /// How many files its process has open.
    pub(crate) fn open_files(&self) -> Result<usize, Setback> {
        let process = self.process.as_ref().ok_or_else(|| Setback::new("it does not run"))?;
        let folder = format!("/proc/{}/fd", process.pid());
        Ok(std::fs::read_dir(&folder).doing(&folder)?.count())
    }

    /// Lifts every limit and turns every dial back. The disk is whole and mounted afterwards.
    pub(super) fn heal(&mut self) -> Result<(), Setback> {
        self.groups.heal(self.disk.device_numbers().as_deref());
        self.limit_files(None)?;
        if let Some(process) = &mut self.process {
            process.proceed()?;
        }
        if let Some(shim) = &self.shim {
            shim.calm()?;
        }
        self.disk.thaw()?;
        self.disk.mount()?;
        self.disk.empty()
    }

    /// What is still wrong with it.
    pub(super) fn wounds(&self) -> Vec<String> {
        let mut wounds: Vec<String> =
            self.disk.wound().into_iter().chain(self.groups.wound()).collect();
        match &self.process {
            None => wounds.push("does not run".to_owned()),
            Some(process) if process.paused() || process.states().contains(&'T') => {
                wounds.push("stands still".to_owned());
            }
            Some(_) => {}
        }
        if let Some(dials) = self.shim.as_ref().and_then(|shim| shim.dials().ok())
            && (Dials { mono_gained_ns: 0, ..dials }) != Dials::default()
        {
            wounds.push(format!("has turned dials: {dials:?}"));
        }
        if self.files_before.is_some() {
            wounds.push("may not open files".to_owned());
        }
        wounds.into_iter().map(|wound| format!("n{}: {wound}", self.id)).collect()
    }
}
