//! One network namespace by name: made, entered, removed.
//!
//! Only the network is separate: mounts stay shared, so that unmounting a disk unmounts it for everybody. `ip -n` and `tc -n`
//! are not used for that reason: each takes a copy of all mounts along for as long as it runs, and a disk whose power was cut
//! meanwhile comes back as it was cut.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cluster::{Doing as _, Setback, shell};

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// A network namespace with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// The namespace of this name, whether it exists or not.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Makes it, with a loopback interface that is up.
    ///
    /// # Errors
    /// When it exists, or this process may not.
    pub fn create(&self) -> Result<(), Setback> {
        shell::words(&format!("ip netns add {}", self.name))?;
        self.ip("link set lo up").map(drop)
    }

    /// Removes the name; what is inside goes with the last process.
    ///
    /// # Errors
    /// When there is no such name.
    pub fn remove(&self) -> Result<(), Setback> {
        shell::words(&format!("ip netns del {}", self.name)).map(drop)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(NAMES).join(&self.name)
    }

    /// `ip` inside.
    pub(crate) fn ip(&self, arguments: &str) -> Result<String, Setback> {
        self.words("ip", arguments)
    }

    /// `tc` inside.
    pub(crate) fn tc(&self, arguments: &str) -> Result<String, Setback> {
        self.words("tc", arguments)
    }

    /// `program` inside, with arguments that have no spaces in them.
    fn words(&self, program: &str, arguments: &str) -> Result<String, Setback> {
        let mut command = self.command(program);
        command.args(arguments.split_whitespace());
        shell::finish(command, None)
    }

    /// Feeds a script to `nft` inside: all of it or nothing happens.
    pub(crate) fn nft(&self, script: &str) -> Result<String, Setback> {
        let mut command = self.command("nft");
        command.args(["-f", "-"]);
        shell::finish(command, Some(script)).map_err(|e| e.while_doing(script.trim()))
    }

    /// A command that will run inside; its process is the one that is asked for, no shell in between.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        let mut option = std::ffi::OsString::from("--net=");
        option.push(self.path());
        command.arg(option).arg("--").arg(program);
        command
    }

    /// Runs `what` on a thread that is inside. Sockets that it opens stay inside.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> Result<T, Setback> {
        let file = File::open(self.path()).doing(self.path().display())?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .doing(format_args!("entering {}", self.name))?;
                Ok(what())
            });
            thread.join().expect("what runs inside does not panic")
        })
    }

    /// All names on this machine that begin with `prefix`.
    #[must_use]
    pub fn all(prefix: &str) -> Vec<Self> {
        let names = std::fs::read_dir(NAMES).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(prefix)).map(Self::named).collect()
    }
}
