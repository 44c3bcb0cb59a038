//! Invariants that are looked at while a run goes on: terms and applied indexes that never go back
//! within a life, and nodes that stop only for reasons that a fault explains.

use std::collections::{BTreeMap, BTreeSet};

use checkers::F;

use crate::book::Book;
use crate::server::{Server, State};
use crate::swarm::Settings;
use crate::wire::{MS, Time};

/// Nodes are looked at this often: an observer costs more than the observed.
const EVERY: Time = 10 * MS;

/// See the module.
#[derive(Default)]
pub(crate) struct Watch {
    next: Time,
    leaders: BTreeSet<(u32, u64, usize)>,
    /// Term and applied index of a group on a node in a life.
    before: BTreeMap<(usize, u64, u32), (u64, u64)>,
    damaged: BTreeSet<usize>,
}

impl Watch {
    /// The disk of this node may hold anything.
    pub(crate) fn damaged(&mut self, node: usize) {
        self.damaged.insert(node);
    }

    /// Whether some disk may have lost what it had promised: then others may find that out, and stop.
    pub(crate) fn has_damage(&self) -> bool {
        !self.damaged.is_empty()
    }

    /// Looks at all nodes.
    pub(crate) fn look(&mut self, now: Time, servers: &[Server], book: &mut Book) {
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        for server in servers.iter().filter(|server| server.state == State::Up) {
            let (Some(view), Some(life)) = (server.view(), server.life()) else { continue };
            for group in view.groups() {
                let applied = group.applied.unwrap_or(0);
                let key = (server.index, life, group.group);
                let before = self.before.insert(key, (group.term, applied)).unwrap_or_default();
                if group.term < before.0 || applied < before.1 {
                    book.broken(
                        now,
                        format!("node {} went back: {group:?} after {before:?}", server.index + 1),
                    );
                }
                if group.leads {
                    self.leads(now, (group.group, group.term), server.index, book);
                }
            }
        }
    }

    /// A leadership is named by its term and its node, so that two nodes may lead in one term, one of them without effect.
    fn leads(&mut self, now: Time, (shard, term): (u32, u64), node: usize, book: &mut Book) {
        if self.leaders.insert((shard, term, node))
            && !self.leaders.iter().any(|(s, t, n)| (*s, *t) == (shard, term) && *n != node)
        {
            let number = u8::try_from(node + 1).expect("few nodes");
            book.saw(now, node, F::Leader { shard, node: number, term });
        }
    }

    /// A node has stopped by itself, or refuses to start.
    pub(crate) fn stopped(
        &self,
        node: usize,
        reason: &str,
        now: Time,
        settings: &Settings,
        book: &mut Book,
    ) {
        let explained =
            self.has_damage() || settings.faults.iter().any(|planned| planned.fault.stops(node));
        if !explained {
            book.broken(now, format!("node {} stopped without a fault: {reason}", node + 1));
        }
    }
}
