//! The process of the clients as the run handles it: starts it in its namespace, gives orders, waits for reports.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::clients::{ClientsPlan, Order, Report};
use crate::cluster::Cluster;

/// The process of the clients.
#[derive(Debug)]
pub(super) struct Crew {
    child: Child,
    orders: Option<ChildStdin>,
    reports: Receiver<Report>,
}

impl Crew {
    /// Starts it; `folder` takes its plan and what it says when it breaks.
    #[expect(clippy::disallowed_methods, reason = "its reports are read by a thread of their own")]
    pub(super) fn start(
        cluster: &Cluster,
        plan: &ClientsPlan,
        folder: &Path,
    ) -> Result<Self, String> {
        let file = folder.join("clients.json");
        let text = serde_json::to_string_pretty(plan).expect("plain data");
        std::fs::write(&file, text).map_err(|error| error.to_string())?;
        let log = std::fs::File::create(folder.join("clients.log"));
        let log = log.map_err(|error| error.to_string())?;
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(own);
        command.arg("clients").arg(&file);
        let mut child = cluster
            .in_client_namespace(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("the clients cannot be started: {error}"))?;
        let stdout = child.stdout.take().expect("asked for as a pipe");
        let orders = child.stdin.take();
        let (tell, reports) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(report) = serde_json::from_str(&line)
                    && tell.send(report).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { child, orders, reports })
    }

    /// Gives an order.
    pub(super) fn tell(&mut self, order: Order) -> Result<(), String> {
        let line = serde_json::to_string(&order).expect("one word");
        let orders = self.orders.as_mut().ok_or("the clients take no orders")?;
        writeln!(orders, "{line}").map_err(|error| format!("the clients are gone: {error}"))
    }

    /// The next report.
    pub(super) fn hear(&mut self, patience: Duration) -> Result<Report, String> {
        match self.reports.recv_timeout(patience) {
            Ok(Report::Failed(why)) => Err(format!("the clients: {why}")),
            Ok(report) => Ok(report),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("the clients said nothing for {} s", patience.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => Err("the clients ended early".to_owned()),
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.orders = None;
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It may have ended in between.
            let _ = self.child.kill();
        }
        // Nobody is left who could be told.
        let _ = self.child.wait();
    }
}
