//! One node as a child process: of this same executable, with a log file, and never left behind.
//!
//! Each child has its own process group, so that Ctrl-C reaches the demo alone, and holds the reading
//! end of a pipe whose writing end lives in the demo: when the demo ends in any way, even by SIGKILL,
//! the pipe ends and the child stops.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::process::{Child, ChildStdin, Command};

/// What a node is started with.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) executable: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
    /// A folder that the child removes when the demo is gone.
    pub(crate) sweep: Option<PathBuf>,
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    leash: Option<ChildStdin>,
}

impl Recipe {
    /// Starts the node. Its log is appended to.
    pub(crate) fn start(&self) -> io::Result<Process> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.executable);
        command.arg("start").arg("--config").arg(&self.config).arg("--until-stdin-ends");
        if let Some(folder) = &self.sweep {
            command.arg("--sweep").arg(folder);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let leash = child.stdin.take();
        Ok(Process { child, leash })
    }

    /// The last lines of the log, for people who want to know why.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

impl Process {
    /// SIGKILL; returns when the process is gone.
    pub(crate) async fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.start_kill()?;
        self.child.wait().await
    }

    /// Asks the node to stop and makes sure that it does.
    pub(crate) async fn stop(mut self, patience: Duration) {
        drop(self.leash.take());
        if tokio::time::timeout(patience, self.child.wait()).await.is_err() {
            // Already gone, or killed now: either way it is over.
            let _ = self.child.kill().await;
        }
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

/// The last `lines` lines of a file; empty when it cannot be read.
fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
