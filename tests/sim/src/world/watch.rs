//! Invariants that are looked at while a run goes on: terms, applied indexes and cursors that never go back within a
//! life, nodes that stop only for reasons that a fault explains, and those that must stop and do.

use std::collections::{BTreeMap, BTreeSet};

use chat::ConversationId;
use checkers::F;

use crate::book::Book;
use crate::server::{Server, State};
use crate::swarm::Settings;
use crate::wire::{MS, SECOND, Time};

/// Nodes are looked at this often: an observer costs more than the observed.
const EVERY: Time = 10 * MS;

/// A node whose barrier has failed has stopped by then.
const STOPS_WITHIN: Time = SECOND;
/// Cursors are looked at this often.
const CURSORS_EVERY: Time = 250 * MS;
/// Observers of cursors, above all processes that ask for something.
const OBSERVERS: u32 = 1 << 30;

/// A barrier that has failed.
#[derive(Clone, Copy)]
struct Failed {
    life: u64,
    until: Time,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Watch {
    next: Time,
    /// Term and node that most nodes named last, by shard.
    leaders: BTreeMap<u32, (u64, u64)>,
    /// Term and applied index of a group on a node in a life.
    before: BTreeMap<(usize, u64, u32), (u64, u64)>,
    damaged: BTreeSet<usize>,
    /// Barriers of each node that failed so far, and the last one.
    failed: BTreeMap<usize, (u64, Option<Failed>)>,
    next_cursors: Time,
    /// Replicas that were found to differ, as nodes said it.
    diverged: BTreeSet<String>,
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
        servers.iter().for_each(|server| self.barriers(now, server, book));
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
            }
        }
        self.leaderships(now, servers, book);
        self.divergences(now, servers, book);
    }

    /// What the nodes themselves find out about their replicas.
    fn divergences(&mut self, now: Time, servers: &[Server], book: &mut Book) {
        for server in servers.iter().filter(|server| server.state == State::Up) {
            for what in server.view().iter().flat_map(|view| view.divergences()) {
                if self.diverged.insert(what.clone()) {
                    book.broken(now, format!("digest: {what}"));
                }
            }
        }
    }

    /// A barrier that failed is fatal: what it covered may be lost, and a later one says nothing of it.
    fn barriers(&mut self, now: Time, server: &Server, book: &mut Book) {
        let (known, failed) = self.failed.entry(server.index).or_default();
        let count = server.disk.failed_syncs();
        if std::mem::replace(known, count) < count {
            *failed = server.life().map(|life| Failed { life, until: now + STOPS_WITHIN });
        }
        let Some(Failed { life, until }) = *failed else { return };
        if server.life() != Some(life) {
            *failed = None;
        } else if server.state == State::Paused {
            *failed = Some(Failed { life, until: now + STOPS_WITHIN });
        } else if now > until {
            *failed = None;
            book.broken(
                now,
                format!("fsync: node {} goes on after a barrier failed", server.index + 1),
            );
        }
    }

    /// Whether cursors are to be looked at again.
    pub(crate) fn is_time_for_cursors(&mut self, now: Time) -> bool {
        let is_time = now >= self.next_cursors;
        if is_time {
            self.next_cursors = now + CURSORS_EVERY;
        }
        is_time
    }

    /// Cursors only rise on a replica, as long as it lives. Each replica in each life is an observer of its own.
    pub(crate) fn cursors(
        &mut self,
        now: Time,
        servers: &[Server],
        conversations: &[ConversationId],
        book: &mut Book,
    ) {
        for server in servers.iter().filter(|server| server.state == State::Up) {
            let (Some(view), Some(life)) = (server.view(), server.life()) else { continue };
            let life = u32::try_from(life).expect("few lives");
            let observer = OBSERVERS + life * 16 + u32::try_from(server.index).expect("few nodes");
            for id in conversations {
                // A disk that fails is found out by the node itself.
                let cursors = view.cursors(*id).unwrap_or_default();
                for (device, cursor) in cursors {
                    let c = book.conversation(*id);
                    let d = book.device(cursor.user.as_str(), device.0);
                    let (delivered, read) = (cursor.delivered.0, cursor.read.0);
                    let f = F::Cursor { c, d, delivered, read, last: false };
                    book.saw_by(now, observer, server.index, f);
                }
            }
        }
    }

    /// Whom most nodes name as the leader of a shard. A disk that may hold anything may have forgotten what its node granted.
    fn leaderships(&mut self, now: Time, servers: &[Server], book: &mut Book) {
        if self.has_damage() {
            return;
        }
        let mut named: BTreeMap<(u32, u64, u64), usize> = BTreeMap::new();
        for server in servers.iter().filter(|server| server.state == State::Up) {
            for group in server.view().iter().flat_map(|view| view.groups()) {
                let Some(leader) = group.leader else { continue };
                *named.entry((group.group, group.term, leader)).or_default() += 1;
            }
        }
        named.retain(|_, count| *count * 2 > servers.len());
        for (shard, term, leader) in named.into_keys() {
            if self.leaders.insert(shard, (term, leader)) != Some((term, leader)) {
                let node = u8::try_from(leader).expect("few nodes");
                let observer = usize::from(node - 1);
                book.saw(now, observer, F::Leader { shard, node, term });
            }
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
