//! P7 and P8: what a device receives, over all its connections, is the conversation: nothing left out, nothing
//! twice on one link, nothing out of order, and in the end all of it.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::{C, D, F, History, Kind, Op};
use crate::ledger::{Ledger, Rosters, Streams};
use crate::verdict::{Findings, Verdict, Violation};

/// Every device gets everything once.
pub(super) struct Delivery;

impl Check for Delivery {
    fn name(&self) -> &'static str {
        "delivery"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let ledger = &facts.ledger;
        let rosters = &facts.rosters;
        let mut tracks = Tracks::new(history, ledger, rosters);
        for op in &history.ops {
            tracks.step(op);
        }
        tracks.finish();
        tracks.findings.verdict()
    }
}

/// What one device got of one conversation.
#[derive(Clone, Debug, Default)]
struct Track {
    /// Sequences that it has, one bit each, from 1.
    got: Vec<u64>,
    /// Highest sequence that it asked to confirm.
    confirmed: u64,
    /// Its last delivery, and on which link.
    link: u32,
    last: u64,
    last_op: u32,
    /// Last deliveries of other live links.
    others: Vec<(u32, u64, u32)>,
    /// First delivery ever; 0 while none.
    first: u64,
}

impl Track {
    fn mark(&mut self, seq: u64) {
        let (word, bit) = ((seq / 64) as usize, seq % 64);
        if self.got.len() <= word {
            self.got.resize(word + 1, 0);
        }
        self.got[word] |= 1 << bit;
    }

    fn has(&self, seq: u64) -> bool {
        self.got.get((seq / 64) as usize).is_some_and(|word| word & (1 << (seq % 64)) != 0)
    }

    /// The last delivery on a link, making that link the present one.
    fn turn_to(&mut self, link: u32) -> (u64, u32) {
        if self.link != link {
            if self.link != 0 {
                self.others.push((self.link, self.last, self.last_op));
            }
            let known = self.others.iter().position(|(of, ..)| *of == link);
            let (_, last, op) = known.map_or((link, 0, 0), |at| self.others.swap_remove(at));
            (self.link, self.last, self.last_op) = (link, last, op);
        }
        (self.last, self.last_op)
    }
}

struct Tracks<'h> {
    history: &'h History,
    ledger: &'h Ledger,
    rosters: &'h Rosters,
    streams: Streams,
    tracks: Vec<Track>,
    /// Devices that were told at the end that nothing is missing, and by which operation.
    done: Map<u32, u64>,
    findings: Findings,
}

impl<'h> Tracks<'h> {
    fn new(history: &'h History, ledger: &'h Ledger, rosters: &'h Rosters) -> Tracks<'h> {
        Tracks {
            history,
            ledger,
            rosters,
            streams: Streams::default(),
            tracks: Vec::new(),
            done: Map::default(),
            findings: Findings::default(),
        }
    }

    fn track(&mut self, c: C, d: D) -> &mut Track {
        let number = self.streams.number(c, d);
        if self.tracks.len() <= number {
            self.tracks.resize(number + 1, Track::default());
        }
        &mut self.tracks[number]
    }

    fn step(&mut self, op: &Op) {
        match &op.f {
            F::Deliver { c, d, link, seq, .. } if *seq != 0 && *seq <= self.ledger.last(*c) => {
                self.deliver(op, (*c, *d), *link, *seq);
            }
            F::Confirm { c, d, seq, .. } if op.kind == Kind::Invoke => {
                let track = self.track(*c, *d);
                track.confirmed = track.confirmed.max(*seq);
            }
            F::Read { c, d, entries, .. } if op.kind == Kind::Ok => {
                let end = self.ledger.last(*c);
                let track = self.track(*c, *d);
                entries
                    .iter()
                    .filter(|entry| entry.seq <= end)
                    .for_each(|entry| track.mark(entry.seq));
            }
            F::Connect { d, .. } => {
                self.done.remove(&d.0);
            }
            F::CaughtUp { d, last: true, .. } => {
                self.done.insert(d.0, op.index);
            }
            _ => {}
        }
    }

    fn deliver(&mut self, op: &Op, (c, d): (C, D), link: u32, seq: u64) {
        let begins_at_one = self.rosters.was_there(d.0, c);
        let track = self.track(c, d);
        let (last, last_op) = track.turn_to(link);
        let repeated = track.has(seq);
        let known = begins_at_one || track.first != 0 || track.confirmed != 0;
        let from = if last != 0 { last } else { track.confirmed };
        (track.last, track.last_op) = (seq.max(last), op.index as u32);
        track.first = if track.first == 0 { seq } else { track.first };
        track.mark(seq);
        if last != 0 && seq <= last {
            self.findings.hold(false, || {
                let what = if repeated {
                    "duplicate: a link was sent one message twice"
                } else {
                    "nonmonotonic: a link was sent an earlier message after a later one"
                };
                Violation::new(what, [u64::from(last_op), op.index]).at(c, [last, seq])
            });
        } else if last != 0 || known {
            self.no_skip((c, d), (from, u64::from(last_op)), (seq, op.index));
        }
    }

    /// Everything between two deliveries is the device's own, or not for its eyes.
    fn no_skip(&mut self, (c, d): (C, D), (from, before): (u64, u64), (to, op): (u64, u64)) {
        let user = self.history.names.user_of(d);
        let roster = self.rosters.roster(c);
        let missing = (from + 1..to).find(|seq| {
            let slot = self.ledger.at(c, *seq);
            slot.is_some_and(|slot| slot.entry.from != d) && roster.is_due(user, *seq)
        });
        self.findings.hold(missing.is_none(), || {
            Violation::new(
                "skip: a link was sent a message and not the one before it",
                [before, op],
            )
            .at(c, [from, missing.unwrap_or(to), to])
        });
    }

    /// Devices that waited for everything have everything.
    fn finish(&mut self) {
        for number in 0..self.streams.len() {
            let (c, d) = self.streams.pair(number);
            let (Some(done), Some(track)) = (self.done.get(&d.0), self.tracks.get(number)) else {
                continue;
            };
            let begin = match (self.rosters.was_there(d.0, c), track.first) {
                (true, _) => 1,
                (false, 0) => continue,
                (false, first) => first,
            };
            self.complete((c, d), begin, *done, number);
        }
        self.untouched();
    }

    fn complete(&mut self, (c, d): (C, D), begin: u64, done: u64, number: usize) {
        let user = self.history.names.user_of(d);
        for seq in begin..=self.ledger.last(c) {
            let Some(slot) = self.ledger.at(c, seq) else { continue };
            let roster = self.rosters.roster(c);
            let due = slot.entry.from != d && roster.is_due(user, seq);
            let has = self.tracks[number].has(seq);
            self.findings.hold(!due || has, || {
                let what = "unseen: a device that waited for everything never got a message";
                Violation::new(what, [u64::from(slot.op), done]).at(c, [seq])
            });
        }
    }

    /// Conversations of which a device that waited for everything got nothing at all.
    fn untouched(&mut self) {
        let mut devices = Map::<u32, Vec<(D, u64)>>::default();
        for (d, op) in &self.done {
            let user = self.history.names.user_of(D(*d));
            devices.entry(user.0).or_default().push((D(*d), *op));
        }
        for c in self.ledger.conversations() {
            let members = self.rosters.roster(c).first.iter().flatten();
            for (d, op) in members.filter_map(|u| devices.get(&u.0)).flatten() {
                if self.streams.find(c, *d).is_none() && self.rosters.was_there(d.0, c) {
                    let number = self.streams.number(c, *d);
                    self.tracks.resize(number + 1, Track::default());
                    self.complete((c, *d), 1, *op, number);
                }
            }
        }
    }
}
