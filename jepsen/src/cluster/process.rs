//! One node as a process: in its namespace, with its log, and never left behind.
//!
//! The node holds the reading end of a pipe whose writing end lives here: when the harness ends in any way, even by
//! SIGKILL, the pipe ends and the node stops.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::setback::{Doing as _, Setback};
use super::time::within;
use crate::net::Namespace;

/// A killed process is gone within this, unless the kernel holds it.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// A node has this long to stop in order.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How often it is asked whether it is gone.
const LOOK: Duration = Duration::from_millis(10);

/// What a node is started with.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) namespace: Namespace,
    pub(crate) synod: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    leash: Option<ChildStdin>,
    stopped: bool,
}

impl Recipe {
    /// Starts the node. Its log is appended to.
    pub(crate) fn start(&self) -> Result<Process, Setback> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.doing(self.log.display())?;
        let mut command = self.namespace.command("env");
        for (name, value) in &self.environment {
            command.arg(format!("{name}={}", value.display()));
        }
        command
            .arg(&self.synod)
            .args(["start", "--until-stdin-ends", "--config"])
            .arg(&self.config);
        let errors = log.try_clone().doing(self.log.display())?;
        command.stdin(Stdio::piped()).stdout(log).stderr(errors).process_group(0);
        let mut child = command.spawn().doing(self.synod.display())?;
        let leash = child.stdin.take();
        Ok(Process { child, leash, stopped: false })
    }
}

impl Process {
    /// Its number on this machine.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A process that ended already gets no signal: its number may be another's by now.
    fn signal(&mut self, signal: Signal) -> Result<(), Setback> {
        if self.ended().is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a number"), signal).doing("signalling a node")
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) fn kill(mut self) -> Result<ExitStatus, Setback> {
        self.signal(Signal::KILL)?;
        self.gone(GONE_WITHIN).ok_or_else(|| Setback::new("a killed node is still there"))
    }

    /// SIGKILL without waiting.
    pub(crate) fn strike(&mut self) -> Result<(), Setback> {
        self.signal(Signal::KILL)
    }

    /// Asks the node to stop in order and makes sure that it does. Whether it did by itself.
    pub(crate) fn stop(mut self) -> Result<bool, Setback> {
        self.proceed()?;
        self.signal(Signal::TERM)?;
        match self.gone(STOP_WITHIN) {
            Some(_) => Ok(true),
            None => self.kill().map(|_| false),
        }
    }

    /// SIGSTOP.
    pub(crate) fn pause(&mut self) -> Result<(), Setback> {
        self.stopped = true;
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(crate) fn proceed(&mut self) -> Result<(), Setback> {
        if std::mem::take(&mut self.stopped) { self.signal(Signal::CONT) } else { Ok(()) }
    }

    /// Whether it stands still.
    pub(crate) fn paused(&self) -> bool {
        self.stopped
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    fn gone(&mut self, patience: Duration) -> Option<ExitStatus> {
        within(patience, LOOK, || self.ended())
    }

    /// The states of its threads, as `/proc` has them: `T` is stopped, `D` waits for a disk.
    pub(crate) fn states(&self) -> Vec<char> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid()));
        let stats = threads.into_iter().flatten().flatten();
        let stats =
            stats.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
        stats.filter_map(|stat| state(&stat)).collect()
    }
}

/// The state in the text of `/proc/<pid>/stat`.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.leash.take());
        if self.ended().is_none() && self.strike().is_ok() {
            self.gone(GONE_WITHIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_found_behind_a_name_with_brackets() {
        assert_eq!(state("7 (a) b)) D 1 7 7"), Some('D'));
        assert_eq!(state("7"), None);
    }
}
