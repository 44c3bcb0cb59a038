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
        command.arg(&self.synod).args(["start", "--until-stdin-ends", "--config"]).arg(&self.config);
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

    fn signal(&self, signal: Signal) -> Result<(), Setback> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a number"), signal).doing("signalling a node")
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) fn kill(mut self) -> Result<ExitStatus, Setback> {
        // A child that is not waited for keeps its number: nobody else can be hit.
        self.signal(Signal::KILL)?;
        self.gone(GONE_WITHIN).ok_or_else(|| Setback::new("a killed node is still there"))
    }

    /// SIGKILL without waiting.
    pub(crate) fn strike(&self) -> Result<(), Setback> {
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

    /// `state` of `/proc/<pid>/stat`: `T` is stopped, `D` waits for a disk.
    pub(crate) fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.leash.take());
        if self.ended().is_none() && self.strike().is_ok() {
            self.gone(GONE_WITHIN);
        }
    }
}
