//! What the simulator itself holds against a run: a start that breaks a law of the journal, a cluster that does not come to
//! rest.

use crate::device::Device;
use crate::wire::SECOND;

use super::{DRAIN_MAX, World};

impl World {
    /// Takes note of what the start of a node has broken.
    pub(super) fn judge_start(&mut self, node: usize) {
        for what in std::mem::take(&mut self.servers[node].broken) {
            self.book.broken(self.now, format!("node {}: {what}", node + 1));
        }
    }

    /// Not everything was answered and told: who waits for what, and how every node stands.
    pub(super) fn not_drained(&mut self) {
        let waits: Vec<_> = self
            .devices
            .iter()
            .filter(|device| !device.is_drained())
            .map(Device::waits_for)
            .collect();
        let states: Vec<_> = self.servers.iter().map(|server| &server.state).collect();
        for server in &self.servers {
            let groups = server.view().map(|view| view.groups()).unwrap_or_default();
            let lines: Vec<_> = groups
                .iter()
                .map(|g| {
                    let leads = if g.leads { "*" } else { "" };
                    format!("{leads}{} t{} {:?}/{:?}", g.group, g.term, g.applied, g.last)
                })
                .collect();
            self.notes.push(format!("node {}: {}", server.index + 1, lines.join("; ")));
        }
        let what = format!(
            "liveness: not drained {} s after healing; nodes {states:?}; {waits:?}",
            DRAIN_MAX / SECOND
        );
        self.book.broken(self.now, what);
    }
}
