//! The end of a run: every replica is read, past all sessions, and written down for the judges.

use std::collections::BTreeMap;

use chat::{Chain, ConversationId, GroupId, Message, Seq, UserId};
use checkers::F;

use super::World;
use crate::device::user_name;
use crate::server::State;
use crate::trace::hash;

/// Replicas as observers of cursors at the end, above all others.
const READERS: u32 = 1 << 31;
/// Messages read at once.
const PAGE: usize = 1000;

impl World {
    /// Reads every conversation and the digest of every shard on every replica.
    pub(super) fn read_all(&mut self) {
        let mut digests: BTreeMap<(u32, u64), (usize, u64)> = BTreeMap::new();
        for index in 0..self.servers.len() {
            if self.servers[index].state != State::Up {
                continue;
            }
            for id in self.conversations() {
                self.read_one(index, id);
            }
            self.digest(index, &mut digests);
        }
    }

    pub(super) fn conversations(&self) -> Vec<ConversationId> {
        let user = |index| UserId::parse(&user_name(index)).expect("a legal name");
        let users = self.settings.users;
        let pairs = (0..users).flat_map(|one| (one + 1..users).map(move |other| (one, other)));
        let direct = pairs.map(|(one, other)| ConversationId::direct(&user(one), &user(other)));
        let groups = (0..self.settings.groups).map(|group| {
            ConversationId::group(&GroupId::parse(&format!("g{group}")).expect("a legal name"))
        });
        direct.chain(groups).collect()
    }

    fn read_one(&mut self, index: usize, id: ConversationId) {
        let Some(view) = self.servers[index].view().cloned() else { return };
        let mut entries = Vec::new();
        let mut after = Seq(0);
        let mut chain = Chain::default();
        loop {
            match view.messages(id, after, PAGE) {
                Ok(messages) => {
                    self.chained(index, &mut chain, &messages);
                    entries.extend(messages.iter().map(|message| self.book.entry(message)));
                    match messages.last() {
                        Some(last) if messages.len() == PAGE => after = last.seq,
                        _ => break,
                    }
                }
                Err(error) => {
                    self.book
                        .broken(self.now, format!("replica {} cannot be read: {error}", index + 1));
                    return;
                }
            }
        }
        let c = self.book.conversation(id);
        let chain = entries.last().map_or(0, |entry| entry.chain);
        let replica = u8::try_from(index + 1).expect("few nodes");
        self.book.saw(self.now, index, F::Final { c, replica, entries, chain });
        let cursors = view.cursors(id).unwrap_or_default();
        for (device, cursor) in cursors {
            let d = self.book.device(cursor.user.as_str(), device.0);
            let (delivered, read) = (cursor.delivered.0, cursor.read.0);
            let f = F::Cursor { c, d, delivered, read, last: true };
            self.book.saw_by(self.now, READERS + u32::from(replica), index, f);
        }
    }

    /// The chain of a replica is what its messages make, worked out anew.
    fn chained(&mut self, index: usize, chain: &mut Chain, messages: &[Message]) {
        for message in messages {
            *chain = chain.extend(message);
            if *chain != message.chain {
                let (seq, of) = (message.seq.0, message.conversation);
                let what = format!("chain: replica {} has another one at {seq} of {of}", index + 1);
                self.book.broken(self.now, what);
                *chain = message.chain;
            }
        }
    }

    /// Equal logs must have made equal rows.
    fn digest(&mut self, index: usize, digests: &mut BTreeMap<(u32, u64), (usize, u64)>) {
        let Some(view) = self.servers[index].view().cloned() else { return };
        for group in view.groups().into_iter().filter(|group| group.group != 0) {
            let Some(applied) = group.applied else { continue };
            let rows = match view.rows_of(group.group) {
                Ok(rows) => rows,
                Err(error) => {
                    self.book
                        .broken(self.now, format!("replica {} cannot be read: {error}", index + 1));
                    continue;
                }
            };
            let digest = rows.iter().fold(0u64, |digest, (key, value)| {
                digest.rotate_left(7) ^ hash(key).wrapping_mul(31).wrapping_add(hash(value))
            });
            let (replica, shard) = (u8::try_from(index + 1).expect("few nodes"), group.group);
            self.book.saw(self.now, index, F::Digest { replica, shard, index: applied, digest });
            let (other, known) = *digests.entry((shard, applied)).or_insert((index, digest));
            if known != digest {
                let what = format!(
                    "replicas {} and {} of shard {shard} differ at index {applied}",
                    other + 1,
                    index + 1
                );
                self.book.broken(self.now, what);
            }
        }
    }
}
