//! Faults put in place and taken away.

use checkers::Phase;
use store::disk::Fault as DiskFault;

use super::World;
use crate::faults::{Fault, Planned};
use crate::server::{End, State};
use crate::wire::{MS, SECOND, Time, Way};

/// A machine that has not ended in the middle of a write by then ends anyway.
const END_WAITS: Time = 500 * MS;

impl World {
    /// Puts a fault in place.
    pub(super) fn install(&mut self, number: usize, planned: Planned) {
        self.fault(&planned, Phase::Install);
        let until = self.now + planned.lasts;
        if self.begin(&planned.fault, until) {
            self.bitten += 1;
            self.fault(&planned, Phase::Installed);
            self.active.push((until, number, planned));
        } else {
            self.fault(&planned, Phase::Skipped);
        }
    }

    fn begin(&mut self, fault: &Fault, until: Time) -> bool {
        let nodes = self.servers.len();
        match fault {
            Fault::Kill { nodes: hit, after } => self.end_all(hit, *after, until, |_| End::Kill),
            Fault::Power { nodes: hit, after, seed } => {
                self.end_all(hit, *after, until, |node| End::Power(seed.wrapping_add(node as u64)))
            }
            Fault::Pause(hit) => {
                hit.iter().for_each(|node| self.servers[*node].pause(true));
                hit.iter().any(|node| self.servers[*node].state == State::Paused)
            }
            Fault::SlowDisk(node, times) => {
                *self.servers[*node].disk_slow.lock() = *times;
                true
            }
            Fault::FullDisk(node) => {
                self.servers[*node].disk.fill(true);
                true
            }
            Fault::FailedSync(node) => self.fail_next(*node, DiskFault::Sync),
            Fault::FailedWrite(node) => self.fail_next(*node, DiskFault::Write),
            Fault::FailedRead(node) => self.fail_next(*node, DiskFault::Read),
            Fault::Decay(node) => {
                let what = self.servers[*node].disk.decay();
                if let Some(what) = &what {
                    self.notes.push(format!("a bit of node {} decayed: {what}", node + 1));
                    self.watch.damaged(*node);
                }
                what.is_some()
            }
            Fault::Astray(node) => {
                self.servers[*node].disk.lead_astray();
                self.watch.damaged(*node);
                true
            }
            Fault::Rot(node) => self.rot(*node, until),
            Fault::Clock(node, wrong) => {
                self.servers[*node].wall.jump(*wrong);
                true
            }
            Fault::Shut(node) => {
                let shut = (0..self.devices.len()).map(|device| (device, *node));
                self.wire.0.lock().shut.extend(shut);
                true
            }
            Fault::Transfer(node) => {
                self.transfer(*node);
                true
            }
            Fault::Halve(number) => self.halve(*number),
            Fault::Split(_)
            | Fault::OneWay { .. }
            | Fault::Bridge(..)
            | Fault::Ring
            | Fault::Stuck(_)
            | Fault::Weather { .. } => {
                self.ways(fault, true);
                nodes > 1
            }
        }
    }

    /// Ends these processes, at once or in the midst of what they write next, and has them started again.
    fn end_all(
        &mut self,
        hit: &[usize],
        after: u64,
        until: Time,
        end: impl Fn(usize) -> End,
    ) -> bool {
        let running: Vec<usize> = hit.iter().copied().filter(|node| self.runs(*node)).collect();
        for &node in &running {
            if after == 0 {
                self.stop(node, end(node));
                self.starts.push((until, node));
            } else {
                self.servers[node].disk.stop_after(after);
                self.failing.push((self.now + END_WAITS, node, end(node)));
                self.starts.push((until + END_WAITS, node));
            }
        }
        !running.is_empty()
    }

    /// Kills a process, damages its journal before the last batch, and has it started: it must refuse.
    fn rot(&mut self, node: usize, until: Time) -> bool {
        if !self.runs(node) {
            return false;
        }
        self.stop(node, End::Kill);
        self.starts.push((until, node));
        let Some(what) = self.servers[node].rot() else { return false };
        self.notes.push(format!("a bit of node {} rotted: {what}", node + 1));
        self.watch.damaged(node);
        true
    }

    fn fail_next(&mut self, node: usize, fault: DiskFault) -> bool {
        self.servers[node].disk.fail_next(fault);
        self.runs(node)
    }

    fn runs(&self, node: usize) -> bool {
        matches!(self.servers[node].state, State::Up | State::Paused)
    }

    fn stop(&mut self, node: usize, end: End) {
        self.say(&format!("node {} ends: {end:?}", node + 1));
        self.servers[node].end(end);
        self.hang_up_on(node, end == End::Kill);
    }

    /// Changes the network for a fault, or back.
    fn ways(&mut self, fault: &Fault, on: bool) {
        let nodes = self.servers.len();
        for from in 0..nodes {
            for to in (0..nodes).filter(|to| *to != from) {
                if let Fault::Weather { loss, doubled, unordered, slow } = *fault {
                    self.wire.change(from, to, |way| {
                        let Way { cuts, stuck, .. } = *way;
                        *way = if on {
                            Way { cuts, stuck, loss, doubled, unordered, slow }
                        } else {
                            Way { cuts, stuck, ..Way::default() }
                        };
                    });
                } else if let Fault::Stuck(node) = *fault {
                    if from == node || to == node {
                        self.wire.change(from, to, |way| {
                            way.stuck =
                                if on { way.stuck + 1 } else { way.stuck.saturating_sub(1) };
                        });
                    }
                } else if cuts(fault, from, to, nodes) {
                    self.wire.change(from, to, |way| {
                        way.cuts = if on { way.cuts + 1 } else { way.cuts.saturating_sub(1) };
                    });
                }
            }
        }
    }

    fn transfer(&mut self, to: usize) {
        for server in self.servers.iter().filter(|server| server.state == State::Up) {
            let Some(view) = server.view() else { continue };
            for group in view.groups().into_iter().filter(|group| group.leads) {
                server.spawn(view.transfer(group.group, to as u64 + 1));
            }
        }
    }

    /// Whether somebody was there to be asked.
    fn halve(&self, number: u64) -> bool {
        let up = self.servers.iter().filter(|server| server.state == State::Up);
        let mut asked = up.filter_map(|server| Some((server, server.view()?.halve(number)?)));
        let leader = asked.next();
        if let Some((server, halving)) = leader {
            server.spawn(halving);
            return true;
        }
        false
    }

    fn end_fault(&mut self, planned: &Planned) {
        match &planned.fault {
            Fault::Pause(hit) => {
                for &node in hit {
                    self.servers[node].pause(false);
                    self.release(node);
                }
            }
            Fault::SlowDisk(node, _) => *self.servers[*node].disk_slow.lock() = 1,
            Fault::FullDisk(node) => self.servers[*node].disk.fill(false),
            Fault::Clock(node, _) => self.servers[*node].wall.jump(0),
            Fault::Shut(node) => {
                let node = *node;
                self.wire.0.lock().shut.retain(|(_, shut)| *shut != node);
            }
            fault => self.ways(fault, false),
        }
        self.fault(planned, Phase::Healed);
    }

    /// What reached a process that stood still is read now.
    fn release(&mut self, node: usize) {
        let held = std::mem::take(&mut self.held);
        for (to, life, what) in held {
            if to == node {
                self.arrive(to, life, what);
            } else {
                self.held.push((to, life, what));
            }
        }
    }

    /// Ends faults and starts nodes whose time has come.
    pub(super) fn mend(&mut self) {
        let now = self.now;
        let mut over = Vec::new();
        self.active.retain(|(until, _, planned)| {
            let goes_on = *until > now;
            if !goes_on {
                over.push(planned.clone());
            }
            goes_on
        });
        over.iter().for_each(|planned| self.end_fault(planned));
        for (at, node, end) in std::mem::take(&mut self.failing) {
            // A machine whose disk has stopped ends by itself; see `exited`.
            if at > now {
                self.failing.push((at, node, end));
            } else if self.runs(node) {
                self.stop(node, end);
            }
        }
        for (at, node) in std::mem::take(&mut self.starts) {
            if at > now {
                self.starts.push((at, node));
            } else if self.servers[node].state == State::Down
                && !self.starts.iter().any(|(_, other)| *other == node)
            {
                self.say(&format!("node {} starts", node + 1));
                self.servers[node].start();
                self.judge_start(node);
                match &self.servers[node].state {
                    State::Up => {}
                    State::Lost(reason) => {
                        let note = format!("node {} is lost: {reason}", node + 1);
                        self.say(&note);
                        self.watch.stopped(node, reason, now, &self.settings, &mut self.book);
                        self.notes.push(note);
                    }
                    _ => self.starts.push((now + SECOND, node)),
                }
            }
        }
    }

    /// Everything that was broken is made whole, and every node that can run runs.
    pub(super) fn heal(&mut self) {
        for (_, _, planned) in std::mem::take(&mut self.active) {
            self.end_fault(&planned);
        }
        self.wire.calm();
        for (_, node, end) in std::mem::take(&mut self.failing) {
            if self.runs(node) {
                self.stop(node, end);
            }
        }
        for node in 0..self.servers.len() {
            if self.servers[node].state == State::Down {
                self.starts.retain(|(_, other)| *other != node);
                self.starts.push((self.now, node));
            }
        }
    }

    /// A machine or process ends in the middle of a write: whether the stop of a node was that.
    pub(super) fn was_ended(&mut self, node: usize) -> Option<End> {
        let at = self.failing.iter().position(|(_, failing, _)| *failing == node)?;
        Some(self.failing.swap_remove(at).2)
    }
}

/// Whether a fault cuts the way from one node to another.
fn cuts(fault: &Fault, from: usize, to: usize, nodes: usize) -> bool {
    match fault {
        Fault::Split(part) => part.contains(&from) != part.contains(&to),
        Fault::OneWay { node, mute: true } => from == *node,
        Fault::OneWay { node, mute: false } => to == *node,
        Fault::Bridge(one, other) => (from, to) == (*one, *other) || (from, to) == (*other, *one),
        Fault::Ring => {
            let apart = from.abs_diff(to);
            nodes > 3 && apart != 1 && apart != nodes - 1
        }
        _ => false,
    }
}
