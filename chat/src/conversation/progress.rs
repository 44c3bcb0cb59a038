//! How far members have got: each user's best cursor, and the floors that all others have reached.
//!
//! Derived from members and cursors and kept beside them, so that a confirmation costs a lookup and
//! only now and then a walk: a user's move can change a floor only if that user is one of the two
//! who hold it, and in a group where everybody confirms everything that is rarely so.
//!
//! A member counts from where they came: what was said before is theirs to see or not, but nobody
//! waits for them to confirm it. So a status that was reached never goes back when somebody joins.

use std::collections::BTreeMap;

use super::{Cursor, Member};
use crate::id::{DeviceId, UserId};
use crate::number::Seq;

/// A user's furthest marks over all their devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Best {
    /// Some device has everything up to here.
    pub delivered: Seq,
    /// Everything up to here was read on some device.
    pub read: Seq,
    /// What of it others may know.
    pub shown: Seq,
}

impl Best {
    fn include(&mut self, cursor: &Cursor) {
        self.delivered = self.delivered.max(cursor.delivered);
        self.read = self.read.max(cursor.read);
        self.shown = self.shown.max(cursor.shown);
    }
}

/// How far all members have got, whoever asks: a value small enough to travel with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floors {
    delivered: LowestTwo,
    read: LowestTwo,
    last_seq: Seq,
}

impl Floors {
    /// Every member but `except` has everything up to here; with nobody else, the last sequence.
    pub fn delivered(&self, except: &UserId) -> Seq {
        self.delivered.but(except).unwrap_or(self.last_seq).min(self.last_seq)
    }

    /// Every member but `except` has read everything up to here, as far as they show it; with nobody
    /// else, the last sequence.
    pub fn read(&self, except: &UserId) -> Seq {
        self.read.but(except).unwrap_or(self.last_seq).min(self.last_seq)
    }
}

/// The two members who are furthest behind, which is all it takes to leave any one member out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LowestTwo {
    lowest: Option<(Seq, UserId)>,
    second: Option<(Seq, UserId)>,
}

impl LowestTwo {
    fn of<'a>(marks: impl Iterator<Item = (Seq, &'a UserId)>) -> Self {
        let (mut lowest, mut second) = (None, None);
        for mark in marks {
            if lowest.is_none_or(|lowest| mark < lowest) {
                second = lowest.replace(mark);
            } else if second.is_none_or(|second| mark < second) {
                second = Some(mark);
            }
        }
        let own = |(seq, user): (Seq, &UserId)| (seq, user.clone());
        Self { lowest: lowest.map(own), second: second.map(own) }
    }

    fn but(&self, except: &UserId) -> Option<Seq> {
        match &self.lowest {
            Some((_, user)) if user == except => self.second.as_ref().map(|(seq, _)| *seq),
            lowest => lowest.as_ref().map(|(seq, _)| *seq),
        }
    }

    fn holds(&self, user: &UserId) -> bool {
        [&self.lowest, &self.second].into_iter().flatten().any(|(_, holder)| holder == user)
    }
}

/// What is derived from members and cursors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// By user, for everybody who has a cursor, member or not.
    best: BTreeMap<UserId, Best>,
    delivered: LowestTwo,
    read: LowestTwo,
}

impl Progress {
    /// The one definition: everything else here must come to the same.
    pub(super) fn of(
        members: &BTreeMap<UserId, Member>,
        cursors: &BTreeMap<DeviceId, Cursor>,
    ) -> Self {
        let mut this = Self::default();
        for cursor in cursors.values() {
            this.best.entry(cursor.user.clone()).or_default().include(cursor);
        }
        this.walk(members);
        this
    }

    pub(super) fn best(&self, user: &UserId) -> Best {
        self.best.get(user).copied().unwrap_or_default()
    }

    pub(super) fn floors(&self, last_seq: Seq) -> Floors {
        Floors { delivered: self.delivered.clone(), read: self.read.clone(), last_seq }
    }

    /// Somebody came or went.
    pub(super) fn members_changed(&mut self, members: &BTreeMap<UserId, Member>) {
        self.walk(members);
    }

    /// A member's cursor moved forwards. Returns the user's best before and after.
    pub(super) fn cursor_moved(
        &mut self,
        members: &BTreeMap<UserId, Member>,
        cursor: &Cursor,
    ) -> (Best, Best) {
        let best = self.best.entry(cursor.user.clone()).or_default();
        let before = *best;
        best.include(cursor);
        let after = *best;
        let rose =
            |one: Seq, other: Seq, floor: &LowestTwo| one != other && floor.holds(&cursor.user);
        if rose(before.delivered, after.delivered, &self.delivered)
            || rose(before.shown, after.shown, &self.read)
        {
            self.walk(members);
        }
        (before, after)
    }

    fn walk(&mut self, members: &BTreeMap<UserId, Member>) {
        let lowest = |mark: fn(&Best) -> Seq| {
            let marks = members.iter().map(|(user, member)| {
                let best = self.best.get(user).map_or(Seq(0), mark);
                (best.max(member.joined_at), user)
            });
            LowestTwo::of(marks)
        };
        (self.delivered, self.read) = (lowest(|best| best.delivered), lowest(|best| best.shown));
    }
}
