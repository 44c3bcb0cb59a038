//! What a device makes of what a node says.

use checkers::{Entry, F, Kind, payload_hash};
use proto::frame::ServerFrame;
use proto::frames;

use super::{Around, Confirming, Device, Reading, To};
use crate::book::id_of;
use crate::wire::{MS, SECOND};

/// So many in a thousand messages are given up when they were refused for now, but for certain.
const GIVES_UP: u64 = 300;

impl Device {
    pub(super) fn take(&mut self, frame: ServerFrame, around: &mut Around<'_>) {
        let now = around.now;
        let Some(link) = self.link else { return };
        let link_number = self.link_number(link.id);
        match frame {
            ServerFrame::Welcome(_) => {
                if let Some(link) = &mut self.link {
                    link.welcomed = true;
                }
                self.moved = now;
                around.book.saw(now, link.node, F::Connect { d: self.d, link: link_number });
            }
            ServerFrame::Sent(sent) => self.sent(sent, around),
            ServerFrame::Deliver(deliver) => {
                self.moved = now;
                for message in &deliver.messages {
                    self.delivered(message, link_number, around);
                }
            }
            ServerFrame::Status(status) => self.status(&status, around),
            ServerFrame::Confirmed(confirmed) => self.confirmed(confirmed, around),
            ServerFrame::HistoryPage(page) => self.page(page, around),
            ServerFrame::CaughtUp(_) => {
                self.caught_up = true;
                self.moved = now;
                around.book.saw(
                    now,
                    link.node,
                    F::CaughtUp { d: self.d, link: link_number, last: false },
                );
            }
            // The link is about to end; where to next is drawn anyway.
            ServerFrame::Problem(_) | ServerFrame::Pong(_) | ServerFrame::GoAway(_) => {}
            ServerFrame::Changed(changed) => self.changed(&changed, around),
            ServerFrame::Changes(changes) => self.changes(&changes, around),
            // Nobody here types, watches, waits for what was confirmed of changes, or comes back by a token.
            ServerFrame::ChangesConfirmed(_)
            | ServerFrame::Presence(_)
            | ServerFrame::Resume(_)
            | ServerFrame::Typing(_) => {}
        }
    }

    fn sent(&mut self, sent: frames::Sent, around: &mut Around<'_>) {
        let (now, d) = (around.now, self.d);
        let found = self.lanes.iter_mut().find_map(|lane| {
            let at = lane.unacked.iter().position(|msg| msg.tag == Some(sent.tag))?;
            Some((lane, at))
        });
        let Some((lane, at)) = found else { return };
        let is_last = at + 1 == lane.unacked.len();
        let msg = &mut lane.unacked[at];
        let h = payload_hash(&msg.id, &msg.text);
        let f = F::Send { c: lane.c, d, k: msg.k, h, seq: 0, duplicate: false, error: None };
        match sent.result {
            Some(frames::sent::Result::Stored(stored)) => {
                let F::Send { c, d, k, h, error, .. } = f else { return };
                let f = F::Send { c, d, k, h, seq: stored.seq, duplicate: stored.duplicate, error };
                around.book.complete(now, msg.open, Kind::Ok, f);
                lane.last_seq = lane.last_seq.max(stored.seq);
                lane.unacked.remove(at);
                self.moved = now;
            }
            Some(frames::sent::Result::Problem(problem)) => {
                msg.tag = None;
                self.problem.clone_from(&problem.code);
                msg.unresolved |= problem.unknown;
                lane.wait_until = now + problem.retry_after_ms.max(20) * MS;
                if problem.unknown || problem.code == "out_of_order" {
                    return;
                }
                let may_give_up = is_last && !msg.unresolved;
                if problem.retryable && !(may_give_up && self.dice.happens(GIVES_UP)) {
                    return;
                }
                let refused =
                    matches!(problem.code.as_str(), "not_a_member" | "no_such_conversation");
                if !problem.retryable && (!refused || matches!(lane.to, To::User(_))) {
                    let code = &problem.code;
                    let k = msg.k;
                    around
                        .book
                        .broken(now, format!("{}/{} k={k} got {code}", self.user, self.number));
                }
                lane.wait_until = now + SECOND / 2;
                if msg.unresolved {
                    return;
                }
                let F::Send { c, d, k, h, seq, duplicate, .. } = f else { return };
                let error = Some(around.book.recorder().code(&problem.code));
                let f = F::Send { c, d, k, h, seq, duplicate, error };
                around.book.complete(now, msg.open, Kind::Fail, f);
                lane.next_k = k;
                lane.unacked.remove(at);
            }
            None => around.book.broken(now, "an answer without a result"),
        }
    }

    fn delivered(&mut self, message: &frames::Message, link: u32, around: &mut Around<'_>) {
        let Some(id) = id_of(&message.conversation) else {
            around.book.broken(around.now, "a message without a conversation");
            return;
        };
        let Entry { seq, from, k, h, chain, .. } = around.book.entry_of_frame(message);
        let c = around.book.conversation(id);
        let node = self.link.map_or(0, |link| link.node);
        around.book.saw(
            around.now,
            node,
            F::Deliver { c, d: self.d, link, seq, from, k, h, chain },
        );
        let seen = self.seen.entry(id).or_default();
        seen.upto = seen.upto.max(seq);
    }

    fn status(&mut self, status: &frames::Status, around: &mut Around<'_>) {
        let Some(id) = id_of(&status.conversation) else { return };
        if self.is_second() {
            // What two links are told at two nodes may cross on its way.
            return;
        }
        let (c, d) = (around.book.conversation(id), self.d);
        let node = self.link.map_or(0, |link| link.node);
        // A node that is behind tells lower floors than another one did before. They say nothing false, and a client
        // keeps the higher ones; that they fell is counted.
        let told = self.floors.entry(id).or_default();
        around.book.floors_fell += u64::from(status.delivered < told.0 || status.read < told.1);
        *told = (told.0.max(status.delivered), told.1.max(status.read));
        for (seq, read) in [(told.1, true), (told.0, false)] {
            // What is read is delivered: it is told once.
            if seq > 0 && (read || seq > told.1) {
                around.book.saw(around.now, node, F::Status { c, d, seq, delivered: true, read });
            }
        }
    }

    fn confirmed(&mut self, confirmed: frames::Confirmed, around: &mut Around<'_>) {
        if self.confirming.as_ref().is_none_or(|asked| asked.tag != confirmed.tag) {
            return;
        }
        let Some(asked) = self.confirming.take() else { return };
        let (now, what) = (around.now, asked.what);
        if let Some(problem) = confirmed.problem {
            let definite = !problem.unknown;
            let kind = if definite { Kind::Fail } else { Kind::Info };
            let f = self.confirm_op(&what, Some(around.book.recorder().code(&problem.code)));
            around.book.complete(now, asked.open, kind, f);
            if definite && !problem.retryable {
                // Not a member any more, say: it has nothing to confirm.
                let seen = self.seen.entry(what.id).or_default();
                (seen.asked, seen.asked_read) = (seen.upto, seen.upto);
            }
            return;
        }
        around.book.complete(now, asked.open, Kind::Ok, self.confirm_op(&what, None));
        let node = self.link.map_or(0, |link| link.node);
        let (delivered, read) = (confirmed.delivered, confirmed.read);
        let f = F::Cursor { c: what.c, d: self.d, delivered, read, last: false };
        around.book.saw_by(now, self.observer(), node, f);
        let seen = self.seen.entry(what.id).or_default();
        seen.asked = seen.asked.max(what.seq);
        if what.read {
            seen.asked_read = seen.asked_read.max(what.seq);
        }
        self.moved = now;
    }

    fn page(&mut self, page: frames::HistoryPage, around: &mut Around<'_>) {
        if self.reading.as_ref().is_none_or(|asked| asked.tag != page.tag) {
            return;
        }
        let Some(asked) = self.reading.take() else { return };
        if let Some(problem) = page.problem {
            let error = Some(around.book.recorder().code(&problem.code));
            let f = self.read_op(&asked.what, Vec::new(), None, error);
            // A local read may be turned away by what is not so any more.
            let local = asked.what.level == checkers::Level::Local;
            let kind = if local { Kind::Info } else { Kind::Fail };
            around.book.complete(around.now, asked.open, kind, f);
            return;
        }
        let entries =
            page.messages.iter().map(|message| around.book.entry_of_frame(message)).collect();
        let f = self.read_op(&asked.what, entries, Some(page.last_seq), None);
        around.book.complete(around.now, asked.open, Kind::Ok, f);
    }

    pub(super) fn read_op(
        &self,
        what: &Reading,
        entries: Vec<Entry>,
        head: Option<u64>,
        error: Option<checkers::Code>,
    ) -> F {
        F::Read { c: what.c, d: self.d, level: what.level, after: what.after, entries, head, error }
    }

    pub(super) fn confirm_op(&self, what: &Confirming, error: Option<checkers::Code>) -> F {
        F::Confirm { c: what.c, d: self.d, seq: what.seq, read: what.read, error }
    }
}
