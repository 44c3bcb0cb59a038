//! The judge of the demo: compares what the bots say they sent and received with what every replica
//! has kept. Pure: values in, findings out; it reads no network, no clock and no files.
//!
//! It trusts nothing that the servers say about themselves. A message is recognised by the mark that
//! its bot wrote into the text (who, where, and a count of its own), not by ids or order numbers.

use std::collections::{BTreeMap, BTreeSet};

/// A bot, by its place in the list of bots.
pub(crate) type Bot = usize;
/// A conversation, by its place in the list of conversations.
pub(crate) type Chat = usize;

/// What a bot writes into each message: its `n`-th in this conversation, counted 1, 2, 3 ….
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) chat: Chat,
    pub(crate) bot: Bot,
    pub(crate) n: u64,
}

/// What became of a send, as its bot was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Stored at this sequence.
    Acked { seq: u64 },
    /// Definitely not stored.
    Refused,
    /// No answer, although the cluster was whole and there was time.
    Open,
}

/// One send of one bot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) mark: Mark,
    pub(crate) fate: Fate,
}

/// One message in a conversation; `mark` is `None` when no bot wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) mark: Option<Mark>,
}

/// One conversation as one replica tells it, after [`Evidence::base`].
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    /// Which replica and which kind of read, for people.
    pub(crate) label: String,
    pub(crate) chat: Chat,
    /// In the order in which the replica gave them.
    pub(crate) rows: Vec<Row>,
}

/// Everything that is known about one round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// The bots in each conversation.
    pub(crate) members: Vec<Vec<Bot>>,
    /// Per conversation the last sequence that earlier rounds settled.
    pub(crate) base: Vec<u64>,
    /// Per conversation and bot the last count that earlier rounds settled.
    pub(crate) settled: BTreeMap<(Chat, Bot), u64>,
    pub(crate) sent: Vec<Sent>,
    /// Per bot what reached it, in the order of arrival.
    pub(crate) received: Vec<Vec<(Chat, Row)>>,
    pub(crate) shelves: Vec<Shelf>,
}

/// What was found. Each message is counted once per kind, however many replicas show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Acknowledged, or once given a place, and missing from a replica.
    pub(crate) lost: u64,
    /// In a conversation, or delivered to a bot, more than once.
    pub(crate) duplicated: u64,
    /// Against its sender's order, its place, another replica's order, or delivered out of order.
    pub(crate) reordered: u64,
    /// Stored, but it never reached a member.
    pub(crate) undelivered: u64,
    /// Stored although nobody sent it or its sender was told that it was refused.
    pub(crate) phantom: u64,
    /// Sends without an answer.
    pub(crate) open: u64,
    /// The first few, in words.
    pub(crate) examples: Vec<String>,
}

/// Examples kept for people; the counts are complete.
const EXAMPLES_MAX: usize = 12;

impl Findings {
    pub(crate) fn clean(&self) -> bool {
        self.lost + self.duplicated + self.reordered + self.undelivered + self.phantom + self.open
            == 0
    }

    /// Adds the findings of another round.
    pub(crate) fn add(&mut self, other: Findings) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.undelivered += other.undelivered;
        self.phantom += other.phantom;
        self.open += other.open;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }
}

/// Compares all evidence of one round.
pub(crate) fn judge(evidence: &Evidence) -> Findings {
    let mut judge = Judge::new(evidence);
    let mut open = 0;
    for sent in &evidence.sent {
        let twice = judge.fates.insert(sent.mark, sent.fate);
        assert!(twice.is_none(), "a bot counts its messages: {:?}", sent.mark);
        if sent.fate == Fate::Open {
            open += 1;
            judge.example(format!("{:?} was never answered", sent.mark));
        }
    }
    for shelf in &evidence.shelves {
        judge.read_shelf(shelf);
    }
    judge.compare_replicas();
    for bot in 0..evidence.received.len() {
        judge.read_deliveries(bot);
    }
    judge.find_undelivered();
    judge.conclude(open)
}

/// What a finding is about, so that each is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Message(Mark),
    Place(Chat, u64),
    Delivery(Bot, Chat, u64),
}

struct Judge<'a> {
    evidence: &'a Evidence,
    fates: BTreeMap<Mark, Fate>,
    /// Every row that any replica shows: what a place holds according to the first that shows it.
    places: BTreeMap<(Chat, u64), Option<Mark>>,
    lost: BTreeSet<About>,
    duplicated: BTreeSet<About>,
    reordered: BTreeSet<About>,
    undelivered: BTreeSet<About>,
    phantom: BTreeSet<About>,
    examples: Vec<String>,
}

impl<'a> Judge<'a> {
    fn new(evidence: &'a Evidence) -> Judge<'a> {
        Judge {
            evidence,
            fates: BTreeMap::new(),
            places: BTreeMap::new(),
            lost: BTreeSet::new(),
            duplicated: BTreeSet::new(),
            reordered: BTreeSet::new(),
            undelivered: BTreeSet::new(),
            phantom: BTreeSet::new(),
            examples: Vec::new(),
        }
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }

    fn base(&self, chat: Chat) -> u64 {
        self.evidence.base.get(chat).copied().unwrap_or(0)
    }

    /// One replica's telling of one conversation, on its own and against the acknowledgements.
    fn read_shelf(&mut self, shelf: &Shelf) {
        let mut places: BTreeMap<u64, Option<Mark>> = BTreeMap::new();
        let mut at: BTreeMap<Mark, u64> = BTreeMap::new();
        let mut last = self.base(shelf.chat);
        for row in &shelf.rows {
            if row.seq <= last {
                self.reordered.insert(About::Place(shelf.chat, row.seq));
                self.example(format!("{}: sequence {} came after {last}", shelf.label, row.seq));
            }
            last = last.max(row.seq);
            places.insert(row.seq, row.mark);
            let Some(mark) = row.mark else { continue };
            self.check_origin(&shelf.label, mark);
            if let Some(first) = at.insert(mark, row.seq)
                && first != row.seq
            {
                self.duplicated.insert(About::Message(mark));
                self.example(format!("{}: {mark:?} at {first} and {}", shelf.label, row.seq));
            }
        }
        self.check_density(shelf, &places, last);
        self.check_sender_order(shelf);
        self.check_acknowledged(shelf, &places, &at);
        for (seq, mark) in places {
            self.places.entry((shelf.chat, seq)).or_insert(mark);
        }
    }

    fn check_origin(&mut self, label: &str, mark: Mark) {
        let settled = self.evidence.settled.get(&(mark.chat, mark.bot)).copied().unwrap_or(0);
        if mark.n <= settled {
            self.duplicated.insert(About::Message(mark));
            self.example(format!("{label}: {mark:?} was settled in an earlier round"));
        } else if !matches!(self.fates.get(&mark), Some(Fate::Acked { .. } | Fate::Open)) {
            self.phantom.insert(About::Message(mark));
            self.example(format!("{label}: {mark:?} is stored, but was refused or never sent"));
        }
    }

    fn check_density(&mut self, shelf: &Shelf, places: &BTreeMap<u64, Option<Mark>>, last: u64) {
        for seq in self.base(shelf.chat) + 1..=last {
            if !places.contains_key(&seq) {
                self.lost.insert(About::Place(shelf.chat, seq));
                self.example(format!("{}: no message at sequence {seq}", shelf.label));
            }
        }
    }

    fn check_sender_order(&mut self, shelf: &Shelf) {
        let mut rows = shelf.rows.clone();
        rows.sort_by_key(|row| row.seq);
        let mut reached: BTreeMap<Bot, u64> = BTreeMap::new();
        for mark in rows.iter().filter_map(|row| row.mark) {
            let last = reached.entry(mark.bot).or_default();
            if mark.n < *last {
                self.reordered.insert(About::Message(mark));
                self.example(format!("{}: {mark:?} is stored after number {last}", shelf.label));
            }
            *last = mark.n.max(*last);
        }
    }

    fn check_acknowledged(
        &mut self,
        shelf: &Shelf,
        places: &BTreeMap<u64, Option<Mark>>,
        at: &BTreeMap<Mark, u64>,
    ) {
        for sent in self.evidence.sent.iter().filter(|sent| sent.mark.chat == shelf.chat) {
            let Fate::Acked { seq } = sent.fate else { continue };
            if places.get(&seq) == Some(&Some(sent.mark)) {
                continue;
            }
            let about = About::Message(sent.mark);
            let (kind, found) = match at.get(&sent.mark) {
                Some(found) => (&mut self.reordered, format!("stands at {found}")),
                None => (&mut self.lost, "is missing".to_owned()),
            };
            kind.insert(about);
            self.example(format!("{}: {:?}, acked at {seq}, {found}", shelf.label, sent.mark));
        }
    }

    /// Whether all replicas hold the same at the same place, as far as they go.
    fn compare_replicas(&mut self) {
        for shelf in &self.evidence.shelves {
            for row in &shelf.rows {
                let first = self.places.get(&(shelf.chat, row.seq));
                if first != Some(&row.mark) {
                    self.reordered.insert(About::Place(shelf.chat, row.seq));
                    self.example(format!("{}: another message at {}", shelf.label, row.seq));
                }
            }
        }
    }

    /// What reached one bot: ascending, once, and what the replicas hold.
    fn read_deliveries(&mut self, bot: Bot) {
        let mut last: BTreeMap<Chat, u64> = BTreeMap::new();
        let mut seen: BTreeSet<(Chat, u64)> = BTreeSet::new();
        for (chat, row) in &self.evidence.received[bot] {
            let about = About::Delivery(bot, *chat, row.seq);
            let reached = last.entry(*chat).or_insert(self.evidence.base[*chat]);
            if !seen.insert((*chat, row.seq)) || row.seq <= self.evidence.base[*chat] {
                self.duplicated.insert(about);
                self.example(format!("bot {bot} received {} of chat {chat} again", row.seq));
            } else if row.seq < *reached {
                let reached = *reached;
                self.reordered.insert(about);
                self.example(format!("bot {bot} received {} after {reached}", row.seq));
            }
            let reached = last.entry(*chat).or_default();
            *reached = row.seq.max(*reached);
            if row.seq > self.base(*chat) && self.places.get(&(*chat, row.seq)) != Some(&row.mark) {
                self.reordered.insert(about);
                self.example(format!("bot {bot} received something else at {}", row.seq));
            }
        }
    }

    /// Every stored message must have reached every bot of the conversation but its sender.
    fn find_undelivered(&mut self) {
        let reached: Vec<BTreeSet<(Chat, u64)>> = self
            .evidence
            .received
            .iter()
            .map(|rows| rows.iter().map(|(chat, row)| (*chat, row.seq)).collect())
            .collect();
        let places = std::mem::take(&mut self.places);
        for ((chat, seq), mark) in &places {
            for bot in &self.evidence.members[*chat] {
                let own = mark.is_some_and(|mark| mark.bot == *bot);
                if own || reached[*bot].contains(&(*chat, *seq)) {
                    continue;
                }
                self.undelivered.insert(About::Delivery(*bot, *chat, *seq));
                self.example(format!("{seq} of chat {chat} never reached bot {bot}"));
            }
        }
        self.places = places;
    }

    fn conclude(self, open: u64) -> Findings {
        let count = |set: &BTreeSet<About>| set.len() as u64;
        Findings {
            lost: count(&self.lost),
            duplicated: count(&self.duplicated),
            reordered: count(&self.reordered),
            undelivered: count(&self.undelivered),
            phantom: count(&self.phantom),
            open,
            examples: self.examples,
        }
    }
}

/// What a whole run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything was kept and delivered, in a run that could have shown otherwise.
    Pass,
    /// Something was not.
    Fail,
    /// Nothing was wrong, but the run proves nothing.
    Incomplete(&'static str),
}

/// What the run consisted of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run {
    pub(crate) acked: u64,
    /// Histories that were read back and compared.
    pub(crate) shelves: usize,
    /// Faults were asked for.
    pub(crate) chaos: bool,
    /// Faults that were injected, and those of them that were seen to have taken hold.
    pub(crate) faults: usize,
    pub(crate) faults_held: usize,
    /// Nodes that ended by themselves.
    pub(crate) crashes: usize,
}

/// The verdict on a run. Silence is not success.
pub(crate) fn conclude(findings: &Findings, run: Run) -> Verdict {
    if !findings.clean() || run.crashes > 0 {
        Verdict::Fail
    } else if run.acked == 0 {
        Verdict::Incomplete("nothing was acknowledged")
    } else if run.shelves == 0 {
        Verdict::Incomplete("nothing was read back")
    } else if run.chaos && run.faults == 0 {
        Verdict::Incomplete("no fault was injected")
    } else if run.chaos && run.faults_held < run.faults {
        Verdict::Incomplete("a fault did not take hold")
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests;
