//! What the bots themselves remember of a round: what they sent and were told, and what reached them.
//! The judge compares it with what the replicas have. Pure.

use std::collections::BTreeMap;

use super::verdict::{Bot, Chat, Evidence, Fate, Mark, Row, Sent, Shelf};

/// The memory of all bots for the present round, and where earlier rounds ended.
#[derive(Debug)]
pub(crate) struct Record {
    members: Vec<Vec<Bot>>,
    base: Vec<u64>,
    settled: BTreeMap<(Chat, Bot), u64>,
    /// The last number each bot used in each conversation.
    counts: BTreeMap<(Chat, Bot), u64>,
    sent: BTreeMap<Mark, Fate>,
    received: Vec<Vec<(Chat, Row)>>,
}

impl Record {
    pub(crate) fn new(members: Vec<Vec<Bot>>, bots: usize) -> Record {
        Record {
            base: vec![0; members.len()],
            members,
            settled: BTreeMap::new(),
            counts: BTreeMap::new(),
            sent: BTreeMap::new(),
            received: vec![Vec::new(); bots],
        }
    }

    /// The mark of a bot's next message, which is now on its way.
    pub(crate) fn sends(&mut self, chat: Chat, bot: Bot) -> Mark {
        let n = self.counts.entry((chat, bot)).or_default();
        *n += 1;
        let mark = Mark { chat, bot, n: *n };
        self.sent.insert(mark, Fate::Open);
        mark
    }

    /// The message was not even taken by its client: it was never sent.
    pub(crate) fn unsends(&mut self, mark: Mark) {
        self.sent.remove(&mark);
        let n = self.counts.entry((mark.chat, mark.bot)).or_default();
        debug_assert_eq!(*n, mark.n, "only the last one can be taken back");
        *n = n.saturating_sub(1);
    }

    /// What a bot was told about a message. One of an earlier round was judged there.
    pub(crate) fn told(&mut self, mark: Mark, fate: Fate) {
        if let Some(known) = self.sent.get_mut(&mark) {
            *known = fate;
        }
    }

    pub(crate) fn receives(&mut self, bot: Bot, chat: Chat, row: Row) {
        self.received[bot].push((chat, row));
    }

    pub(crate) fn base(&self) -> &[u64] {
        &self.base
    }

    /// How many messages of this round wait for an answer.
    pub(crate) fn open(&self) -> usize {
        self.sent.values().filter(|fate| **fate == Fate::Open).count()
    }

    /// Everything about this round, up to where the shelves end: people may go on writing while the
    /// replicas are read, and what comes later belongs to the next round.
    pub(crate) fn evidence(&self, shelves: &[Shelf]) -> Evidence {
        let ends = self.ends(shelves);
        let received = self.received.iter().map(|rows| {
            rows.iter().filter(|(chat, row)| row.seq <= ends[*chat]).copied().collect()
        });
        Evidence {
            members: self.members.clone(),
            base: self.base.clone(),
            settled: self.settled.clone(),
            sent: self.sent.iter().map(|(mark, fate)| Sent { mark: *mark, fate: *fate }).collect(),
            received: received.collect(),
            shelves: shelves.to_vec(),
        }
    }

    /// Ends the round: what was judged is forgotten. Returns how many messages that were.
    pub(crate) fn settle(&mut self, shelves: &[Shelf]) -> u64 {
        let ends = self.ends(shelves);
        let judged = ends.iter().zip(&self.base).map(|(end, base)| end - base).sum();
        for rows in &mut self.received {
            rows.retain(|(chat, row)| row.seq > ends[*chat]);
        }
        self.base = ends;
        self.settled.clone_from(&self.counts);
        self.sent.clear();
        judged
    }

    /// Per conversation the last sequence that any shelf shows.
    fn ends(&self, shelves: &[Shelf]) -> Vec<u64> {
        let mut ends = self.base.clone();
        for shelf in shelves {
            let last = shelf.rows.iter().map(|row| row.seq).max().unwrap_or(0);
            ends[shelf.chat] = ends[shelf.chat].max(last);
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::verdict::{Findings, judge};

    fn shelf(rows: &[(u64, Option<Mark>)]) -> Vec<Shelf> {
        let rows = rows.iter().map(|(seq, mark)| Row { seq: *seq, mark: *mark }).collect();
        vec![Shelf { label: "node 1".into(), chat: 0, rows }]
    }

    #[test]
    fn rounds_follow_each_other_without_overlap() {
        let mut record = Record::new(vec![vec![0, 1]], 2);
        let first = record.sends(0, 0);
        assert_eq!(record.open(), 1);
        record.told(first, Fate::Acked { seq: 1 });
        record.receives(1, 0, Row { seq: 1, mark: Some(first) });
        // Written by a person while the replicas were being read.
        record.receives(1, 0, Row { seq: 2, mark: None });
        record.receives(0, 0, Row { seq: 2, mark: None });
        let read = shelf(&[(1, Some(first))]);
        assert_eq!(judge(&record.evidence(&read)), Findings::default());
        assert_eq!(record.settle(&read), 1);

        let second = record.sends(0, 0);
        assert_eq!(second.n, 2, "numbers go on");
        record.told(second, Fate::Acked { seq: 3 });
        record.receives(1, 0, Row { seq: 3, mark: Some(second) });
        let read = shelf(&[(2, None), (3, Some(second))]);
        assert_eq!(judge(&record.evidence(&read)), Findings::default());
        assert_eq!((record.settle(&read), record.base()), (2, &[3][..]));
    }

    #[test]
    fn a_message_that_its_client_did_not_take_leaves_no_gap() {
        let mut record = Record::new(vec![vec![0, 1]], 2);
        let refused = record.sends(0, 0);
        record.unsends(refused);
        assert_eq!(record.sends(0, 0).n, 1);
        record.told(Mark { chat: 0, bot: 0, n: 9 }, Fate::Refused);
        assert_eq!(record.open(), 1, "an answer to a message of long ago changes nothing");
    }
}
