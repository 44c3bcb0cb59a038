//! Confirmations of this link: at most one round per conversation at a time, and what waits meanwhile becomes one.
//!
//! A cursor only moves forwards, so of ten confirmations that wait the furthest says all. This keeps a device that
//! confirms every message from costing the cluster one log entry for each. What the cursor covers already is
//! answered without asking anybody.

use std::collections::BTreeMap;

use chat::{ConversationId, Seq};

use super::words::{Marks, Ticket};

/// Confirmations of one session that may wait; beyond it no further frame is read.
const WAITING_MAX: usize = 1024;

/// One confirmation of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirmation {
    pub(crate) tag: u64,
    pub(crate) seq: Seq,
    pub(crate) read: bool,
}

/// A proposal that answers one or more confirmations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) conversation: ConversationId,
    pub(crate) seq: Seq,
    pub(crate) read: bool,
    pub(crate) tags: Vec<u64>,
}

#[derive(Debug, Default)]
struct Line {
    flying: usize,
    waiting: Vec<Confirmation>,
}

/// All confirmations of one link.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    lines: BTreeMap<ConversationId, Line>,
    flying: BTreeMap<Ticket, Round>,
    waiting: usize,
}

impl Confirms {
    pub(crate) fn has_room(&self) -> bool {
        self.waiting + self.flying.len() < WAITING_MAX
    }

    /// Takes a confirmation. Returns the round to propose now, or nothing if it waits for the one before.
    pub(crate) fn offer(
        &mut self,
        conversation: ConversationId,
        one: Confirmation,
    ) -> Option<Round> {
        let line = self.lines.entry(conversation).or_default();
        if line.flying > 0 {
            line.waiting.push(one);
            self.waiting += 1;
            return None;
        }
        Some(Round { conversation, seq: one.seq, read: one.read, tags: vec![one.tag] })
    }

    /// The round was given a ticket and is proposed.
    pub(crate) fn begin(&mut self, ticket: Ticket, round: Round) {
        self.lines.entry(round.conversation).or_default().flying += 1;
        let before = self.flying.insert(ticket, round);
        assert!(before.is_none(), "tickets are unique within a session");
    }

    /// The outcome of a round is here: which one it was.
    pub(crate) fn end(&mut self, ticket: Ticket) -> Option<Round> {
        let round = self.flying.remove(&ticket)?;
        let line = self.lines.get_mut(&round.conversation).expect("a flying round has its line");
        line.flying -= 1;
        if line.flying == 0 && line.waiting.is_empty() {
            self.lines.remove(&round.conversation);
        }
        Some(round)
    }

    /// What waited for the rounds before, once all of them are over: the tags that `cursor` covers by now, and the rounds
    /// to propose. Confirmations beyond `known` are proposed one by one, because one that lies beyond the end must not
    /// take others down with it.
    pub(crate) fn next(
        &mut self,
        conversation: ConversationId,
        cursor: Marks,
        known: Seq,
    ) -> (Vec<u64>, Vec<Round>) {
        let Some(line) = self.lines.get_mut(&conversation) else { return Default::default() };
        if line.flying > 0 {
            return Default::default();
        }
        self.waiting -= line.waiting.len();
        let (covered, left): (Vec<_>, Vec<_>) =
            line.waiting.drain(..).partition(|one| covers(cursor, one));
        let (safe, mut doubtful): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|one| one.seq <= known);
        let mut rounds = merge(conversation, &safe);
        if rounds.is_empty() && !doubtful.is_empty() {
            let one = doubtful.remove(0);
            rounds.push(Round { conversation, seq: one.seq, read: one.read, tags: vec![one.tag] });
        }
        self.waiting += doubtful.len();
        line.waiting = doubtful;
        if rounds.is_empty() {
            self.lines.remove(&conversation);
        }
        (covered.into_iter().map(|one| one.tag).collect(), rounds)
    }
}

/// Whether a cursor at `cursor` makes this confirmation true already.
pub(crate) fn covers(cursor: Marks, one: &Confirmation) -> bool {
    one.seq <= if one.read { cursor.read } else { cursor.delivered }
}

/// At most two rounds: the furthest reading, which implies delivery, and the furthest delivery if it lies beyond.
fn merge(conversation: ConversationId, all: &[Confirmation]) -> Vec<Round> {
    let (mut reads, mut deliveries): (Vec<Confirmation>, Vec<Confirmation>) =
        all.iter().partition(|one| one.read);
    let furthest = |all: &[Confirmation]| all.iter().map(|one| one.seq).max();
    if furthest(&deliveries) <= furthest(&reads) {
        reads.append(&mut deliveries);
    }
    let round = |(all, read): (Vec<Confirmation>, bool)| {
        let seq = furthest(&all)?;
        Some(Round { conversation, seq, read, tags: all.iter().map(|one| one.tag).collect() })
    };
    [(reads, true), (deliveries, false)].into_iter().filter_map(round).collect()
}

#[cfg(test)]
mod tests {
    use chat::GroupId;

    use super::*;

    fn conversation() -> ConversationId {
        ConversationId::group(&GroupId::parse("team").expect("legal"))
    }

    fn one(tag: u64, seq: u64, read: bool) -> Confirmation {
        Confirmation { tag, seq: Seq(seq), read }
    }

    fn marks(delivered: u64, read: u64) -> Marks {
        Marks { delivered: Seq(delivered), read: Seq(read) }
    }

    /// Sends one off and lets `rest` wait behind it.
    fn waiting(rest: &[Confirmation]) -> Confirms {
        let mut confirms = Confirms::default();
        let first = confirms.offer(conversation(), one(0, 1, false)).expect("nothing flies yet");
        confirms.begin(100, first);
        for confirmation in rest {
            assert_eq!(confirms.offer(conversation(), *confirmation), None);
        }
        confirms
    }

    #[test]
    fn what_waits_becomes_one_round_that_answers_all() {
        let mut confirms = waiting(&[one(1, 2, false), one(2, 5, false), one(3, 4, false)]);
        confirms.end(100).expect("it flew");
        let (covered, rounds) = confirms.next(conversation(), marks(1, 0), Seq(9));
        assert!(covered.is_empty());
        let all =
            Round { conversation: conversation(), seq: Seq(5), read: false, tags: vec![1, 2, 3] };
        assert_eq!(rounds, [all]);
    }

    #[test]
    fn reading_and_delivery_are_both_answered_exactly_once() {
        for rest in [
            vec![one(1, 5, true), one(2, 7, false)],
            vec![one(1, 7, true), one(2, 5, false)],
            vec![one(1, 7, true), one(2, 7, false), one(3, 2, true)],
            vec![one(1, 3, true)],
        ] {
            let mut confirms = waiting(&rest);
            confirms.end(100).expect("it flew");
            let (_, rounds) = confirms.next(conversation(), marks(1, 0), Seq(9));
            let mut tags: Vec<u64> = rounds.iter().flat_map(|round| round.tags.clone()).collect();
            tags.sort_unstable();
            let wanted: Vec<u64> = rest.iter().map(|one| one.tag).collect();
            assert_eq!(tags, wanted, "{rest:?} became {rounds:?}");
            for confirmation in &rest {
                let answered_by = |round: &&Round| round.tags.contains(&confirmation.tag);
                let round = rounds.iter().find(answered_by).expect("each is answered");
                assert!(round.seq >= confirmation.seq && (round.read || !confirmation.read));
            }
        }
    }

    #[test]
    fn one_beyond_the_end_does_not_take_others_down() {
        let mut confirms = waiting(&[one(1, 4, false), one(2, 99, false), one(3, 98, false)]);
        confirms.end(100).expect("it flew");
        let (_, rounds) = confirms.next(conversation(), marks(1, 0), Seq(9));
        assert_eq!(rounds.len(), 1);
        assert_eq!((rounds[0].seq, &rounds[0].tags), (Seq(4), &vec![1]));
        confirms.begin(101, rounds[0].clone());
        assert_eq!(confirms.next(conversation(), marks(1, 0), Seq(9)), Default::default());
        confirms.end(101).expect("it flew");
        let (_, rounds) = confirms.next(conversation(), marks(4, 0), Seq(9));
        assert_eq!((rounds[0].seq, &rounds[0].tags), (Seq(99), &vec![2]));
        confirms.begin(102, rounds[0].clone());
        confirms.end(102).expect("it flew");
        let (_, rounds) = confirms.next(conversation(), marks(4, 0), Seq(9));
        assert_eq!(rounds[0].tags, [3]);
    }

    #[test]
    fn what_the_cursor_covers_by_now_needs_no_round() {
        let mut confirms = waiting(&[one(1, 3, false), one(2, 3, true)]);
        confirms.end(100).expect("it flew");
        let (covered, rounds) = confirms.next(conversation(), marks(5, 3), Seq(9));
        assert_eq!((covered, rounds), (vec![1, 2], vec![]));
        assert!(
            confirms.offer(conversation(), one(4, 6, false)).is_some(),
            "the line is free again"
        );
    }
}
