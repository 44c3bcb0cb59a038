//! What comes in and what goes out on links: the part of the core that knows frames.

use std::collections::BTreeSet;
use std::time::Duration;

use chat::{ConversationId, Seq, Timestamp, UserId};
use proto::ProblemCode;
use proto::frame::{ClientFrame, ServerFrame, VERSION, encode_client_frame};
use proto::frames::{self, Problem};

use super::links::{Asked, Need, Phase};
use super::{Action, Core, LinkId, Reached, Settled};
use crate::core::session::Verdict;
use crate::store::Record;
use crate::{CallError, Credentials};
use crate::{Incoming, SendError};

impl Core {
    /// The transport of a link stands: the client says who it is. False: nobody wants this link any more.
    pub(crate) fn dialled(&mut self, now: Duration, id: LinkId) -> bool {
        let token = self.session.credentials().access.clone();
        let Some(link) = self.links.get(id) else { return false };
        link.phase = Phase::Greeting;
        link.hear(now);
        let resume = Some(self.resume.clone());
        self.write(id, ClientFrame::Hello(frames::Hello { token, version: VERSION, resume }));
        true
    }

    /// The link ended, or never came about.
    pub(crate) fn link_lost(&mut self, now: Duration, id: LinkId, reason: String) {
        if self.links.get(id).is_none() {
            return;
        }
        let rounds = self.links.rounds_failed();
        let pause = self.jitter.pause(rounds, Duration::ZERO);
        if self.links.remove(now, id, pause) {
            self.unsend();
            self.incoming.push_back(Incoming::LinkDown { reason });
        }
        self.tick_links(now);
    }

    /// A node closed the link because of the token.
    pub(crate) fn link_refused(&mut self, now: Duration, id: LinkId, reason: String) {
        if self.links.get(id).is_some() {
            self.link_lost_unauthenticated(now, id, reason);
        }
    }

    /// The exchange of tokens is over.
    pub(crate) fn refreshed(&mut self, now: Duration, result: Result<Credentials, CallError>) {
        match result {
            _ if self.stopped => {}
            Ok(credentials) => {
                self.session.renewed(credentials);
                self.tick_links(now);
            }
            Err(error) if error.ends_session() => self.end_session(error.to_string()),
            Err(_) => self.session.not_renewed(now),
        }
    }

    /// A node said something.
    pub(crate) fn frame(&mut self, now: Duration, id: LinkId, frame: ServerFrame) {
        let Some(link) = self.links.get(id) else { return };
        link.hear(now);
        if let Some(beside) = self.links.recovered(id) {
            self.actions.push_back(Action::Close(beside));
        }
        let is_main = self.links.main_id() == Some(id);
        match frame {
            ServerFrame::Welcome(welcome) => self.welcomed(now, id, &welcome),
            ServerFrame::Sent(sent) => self.sent(now, id, sent),
            ServerFrame::Problem(problem) => self.link_problem(now, id, problem),
            ServerFrame::Pong(_) => {}
            // What follows is taken from the link that carries everything, and is repeated by the next one if it is lost.
            _ if !is_main => {}
            ServerFrame::Deliver(deliver) => self.deliver(now, deliver),
            ServerFrame::CaughtUp(_) => self.incoming.push_back(Incoming::CaughtUp),
            ServerFrame::Status(status) => self.delivery.status(&status, &mut self.incoming),
            ServerFrame::Confirmed(confirmed) => self.confirmed(now, id, confirmed),
            ServerFrame::HistoryPage(page) => self.page(now, id, page),
            ServerFrame::Changes(changes) => self.changed(changes),
            ServerFrame::ChangesConfirmed(confirmed) => self.changes_confirmed(now, id, &confirmed),
            ServerFrame::Presence(presence) => self.seen(presence),
            ServerFrame::Resume(resume) => {
                self.given(resume.token);
                if resume.reset {
                    self.began_anew();
                }
            }
            // This client wishes no changes by frames, and shows nobody typing.
            ServerFrame::Changed(_) | ServerFrame::Typing(_) => {}
            ServerFrame::GoAway(away) => {
                self.given(away.resume);
                self.links.go_away(away.addresses.iter().filter_map(|to| to.parse().ok()));
            }
        }
        self.release_changes();
        self.tick_links(now);
        self.flush(now);
    }

    /// What the next link may begin with. Empty: what was given before is the newest still.
    fn given(&mut self, resume: String) {
        if !resume.is_empty() {
            self.record(Record::Resume(resume.clone()));
            self.resume = resume;
        }
    }

    fn changed(&mut self, changes: frames::Changes) {
        for change in changes.changes {
            let waits = ConversationId::from_bytes(&change.conversation)
                .is_ok_and(|conversation| self.delivery.has_gap(conversation));
            self.changes.arrived(change, waits, &mut self.incoming);
        }
    }

    /// Changes whose messages have all come by now.
    fn release_changes(&mut self) {
        for conversation in self.changes.waiting() {
            if !self.delivery.has_gap(conversation) {
                self.changes.release(conversation, &mut self.incoming);
            }
        }
    }

    fn changes_confirmed(&mut self, now: Duration, id: LinkId, answer: &frames::ChangesConfirmed) {
        let link = self.links.get(id).expect("checked by the caller");
        let Some(Asked::ConfirmChanges(conversation)) = link.answered(answer.tag) else { return };
        match answer.problem.as_ref().filter(|problem| is_about_token(problem)) {
            Some(problem) => self.link_lost_unauthenticated(now, id, problem.detail.clone()),
            None => self.changes.confirmed(conversation, answer),
        }
    }

    fn seen(&mut self, presence: frames::Presence) {
        if let Some(problem) = presence.problem {
            let reason = format!("{}: {}", problem.code, problem.detail);
            self.incoming.push_back(Incoming::NotWatching { reason });
        }
        for frames::Seen { user, online, last_seen_ms, problem } in presence.seen {
            let Ok(user) = UserId::parse(&user) else { continue };
            let last_seen = (last_seen_ms > 0).then_some(Timestamp(last_seen_ms));
            let allowed = problem.is_empty();
            self.incoming.push_back(Incoming::Presence { user, online, last_seen, allowed });
        }
    }

    pub(super) fn say_whom_to_watch(&mut self, id: LinkId) {
        let Some(users) = &self.watched else { return };
        let users = users.iter().map(|user| user.as_str().to_owned()).collect();
        let tag = self.next_tag();
        self.write(id, ClientFrame::WatchPresence(frames::WatchPresence { tag, users }));
    }

    fn welcomed(&mut self, now: Duration, id: LinkId, welcome: &frames::Welcome) {
        if self.links.get(id).is_none_or(|link| link.phase != Phase::Greeting) {
            return;
        }
        self.session.accepted(now, welcome.at_ms);
        for other in self.links.promote(now, id) {
            self.actions.push_back(Action::Close(other));
        }
        self.incoming.push_back(Incoming::LinkUp { node: welcome.node });
        self.begins();
        // A link that began without a token looks at everything as well.
        if welcome.reset || self.resume.is_empty() {
            self.began_anew();
        }
        self.given(welcome.resume.clone());
        self.unsend();
        self.say_whom_to_watch(id);
    }

    fn deliver(&mut self, now: Duration, deliver: frames::Deliver) {
        let mut own = BTreeSet::new();
        for message in deliver.messages {
            own.extend(self.delivery.arrived(now, message, &mut self.incoming));
        }
        // Own messages that a node sends back are behind this device's cursor: it moves past them by itself once the
        // application has confirmed all that it was handed.
        for conversation in own {
            let handed = self.delivery.handed(conversation);
            let reached = self.delivery.confirmable(conversation, handed);
            if self.confirms.delivered(conversation) >= handed {
                self.confirms.want(conversation, Reached { seq: reached, read: false }, None);
            }
        }
    }

    fn sent(&mut self, now: Duration, id: LinkId, sent: frames::Sent) {
        let is_main = self.links.main_id() == Some(id);
        let link = self.links.get(id).expect("checked by the caller");
        let Some(Asked::Send(ticket)) = link.answered(sent.tag) else { return };
        match sent.result {
            // Stored is stored, on whichever link the answer comes.
            Some(frames::sent::Result::Stored(stored)) => {
                self.links.is_useful();
                let told = ConversationId::from_bytes(&sent.conversation).ok();
                if let Some(conversation) = self.outbox.home(ticket).or(told) {
                    self.delivery.stored(conversation, Seq(stored.seq), &mut self.incoming);
                }
                let settled = self.outbox.stored(ticket, &stored);
                self.note_settled(settled);
            }
            Some(frames::sent::Result::Problem(problem)) if is_main => {
                if is_about_token(&problem) {
                    return self.link_lost_unauthenticated(now, id, problem.detail);
                }
                if problem.known_code() == Some(ProblemCode::Unavailable) {
                    self.links.fail_over(now);
                }
                let settled = self.outbox.failed(now, ticket, problem, &mut self.jitter);
                self.note_settled(settled);
            }
            Some(frames::sent::Result::Problem(_)) => {}
            None => self.link_lost(now, id, "an answer without a result".to_owned()),
        }
    }

    fn note_settled(&mut self, settled: Option<Settled>) {
        match &settled {
            Some(Settled::Sent(ticket, Ok(receipt))) => {
                let receipt = Box::new(receipt.clone());
                self.record(Record::Sent { ticket: *ticket, receipt });
            }
            Some(Settled::Sent(ticket, Err(SendError::Refused(problem)))) => {
                let problem = Box::new(problem.clone());
                self.record(Record::Refused { ticket: *ticket, problem });
                // What comes after it goes on without it: it may not come back, or it would come later than they.
                self.keeping.durably |= self.keeping.on;
            }
            _ => {}
        }
        self.settle_all(settled.into_iter().collect());
    }

    fn confirmed(&mut self, now: Duration, id: LinkId, confirmed: frames::Confirmed) {
        let link = self.links.get(id).expect("checked by the caller");
        let Some(Asked::Confirm(conversation)) = link.answered(confirmed.tag) else { return };
        if let Some(problem) = confirmed.problem.as_ref().filter(|p| is_about_token(p)) {
            self.link_lost_unauthenticated(now, id, problem.detail.clone());
        } else {
            let settled = self.confirms.answered(now, conversation, &confirmed, &mut self.jitter);
            self.settle_all(settled);
        }
    }

    fn page(&mut self, now: Duration, id: LinkId, page: frames::HistoryPage) {
        let link = self.links.get(id).expect("checked by the caller");
        let Some(asked) = link.answered(page.tag) else { return };
        if let Some(problem) = page.problem.as_ref().filter(|problem| is_about_token(problem)) {
            return self.link_lost_unauthenticated(now, id, problem.detail.clone());
        }
        self.expired(&page.conversation, page.expired);
        match asked {
            Asked::Compare(question) => {
                let other = self.compare.answered(now, question, &page);
                self.compared(now, other);
            }
            Asked::Gap(gap) => {
                self.delivery.filled(now, gap, page, &mut self.incoming, &mut self.jitter);
            }
            Asked::Read(read) => {
                let settled = self.reads.answered(now, read, page, &mut self.jitter);
                self.settle_all(settled.into_iter().collect());
            }
            Asked::Send(_) | Asked::Confirm(_) | Asked::ConfirmChanges(_) => {}
        }
    }

    /// A problem with the link itself: it ends.
    fn link_problem(&mut self, now: Duration, id: LinkId, problem: Problem) {
        self.actions.push_back(Action::Close(id));
        if is_about_token(&problem) {
            self.link_lost_unauthenticated(now, id, problem.detail);
        } else {
            self.link_lost(now, id, format!("{}: {}", problem.code, problem.detail));
        }
    }

    fn link_lost_unauthenticated(&mut self, now: Duration, id: LinkId, reason: String) {
        match self.session.refused() {
            Verdict::Over => return self.end_session(reason),
            Verdict::Renew => {
                let credentials = self.session.credentials().clone();
                self.actions.push_back(Action::Refresh(credentials));
            }
            Verdict::Wait => {}
        }
        self.actions.push_back(Action::Close(id));
        self.link_lost(now, id, reason);
    }

    pub(super) fn tick_links(&mut self, now: Duration) {
        let congested = self.is_congested();
        if let Some(main) = self.links.main().filter(|_| congested) {
            main.excuse(now);
        }
        while let Some(need) = self.links.need(now, self.session.may_dial() && !self.stopped) {
            match need {
                Need::Dial => {
                    let (id, node) = self.links.dial(now);
                    self.actions.push_back(Action::Dial(id, node));
                }
                Need::Ping(id) => {
                    let tag = self.next_tag();
                    self.write(id, ClientFrame::Ping(frames::Ping { tag }));
                }
                Need::GiveUp(id) => {
                    self.actions.push_back(Action::Close(id));
                    let pause = self.jitter.pause(self.links.rounds_failed(), Duration::ZERO);
                    let was_main = self.links.remove(now, id, pause);
                    assert!(!was_main, "only a link that was never welcomed is given up");
                }
            }
        }
    }

    /// What was asked on earlier links has to be asked again.
    fn unsend(&mut self) {
        self.outbox.unsend();
        self.confirms.unsend();
        self.reads.unsend();
        self.delivery.unsend();
        self.changes.unsend();
        self.compare.unsend();
    }

    /// Writes all that may be written, if a link stands.
    pub(super) fn flush(&mut self, now: Duration) {
        let Some(id) = self.links.main_id() else { return };
        while let Some((ticket, mut request)) = self.outbox.next() {
            request.tag = self.ask(now, id, Asked::Send(ticket));
            // Its number is on the disk before it is on the wire.
            self.keeping.durably |= self.keeping.on && request.order.is_some();
            self.write(id, ClientFrame::Send(request.into()));
        }
        if self.may_confirm(now) {
            self.flush_confirms(now, id);
        }
        while let Some((question, mut request)) = self.compare.next(now) {
            request.tag = self.ask(now, id, Asked::Compare(question));
            self.write(id, ClientFrame::ReadHistory(request));
        }
        while let Some((read, mut request)) = self.reads.next() {
            request.tag = self.ask(now, id, Asked::Read(read));
            self.write(id, ClientFrame::ReadHistory(request));
        }
        while let Some((conversation, mut request)) = self.delivery.next() {
            request.tag = self.ask(now, id, Asked::Gap(conversation));
            self.write(id, ClientFrame::ReadHistory(request));
        }
    }

    fn flush_confirms(&mut self, now: Duration, id: LinkId) {
        while let Some((conversation, reached)) = self.confirms.next() {
            let tag = self.ask(now, id, Asked::Confirm(conversation));
            self.write(id, confirm_frame(tag, conversation, reached.seq, reached.read));
        }
        while let Some((conversation, change)) = self.changes.next() {
            let tag = self.ask(now, id, Asked::ConfirmChanges(conversation));
            let conversation = bytes::Bytes::copy_from_slice(conversation.as_bytes());
            let frame = frames::ConfirmChanges { tag, conversation, change };
            self.write(id, ClientFrame::ConfirmChanges(frame));
        }
    }

    fn ask(&mut self, now: Duration, id: LinkId, asked: Asked) -> u64 {
        let tag = self.next_tag();
        self.links.get(id).expect("it carries everything").ask(now, tag, asked);
        tag
    }

    fn next_tag(&mut self) -> u64 {
        self.tag += 1;
        self.tag
    }

    fn write(&mut self, id: LinkId, frame: ClientFrame) {
        self.actions.push_back(Action::Write(id, encode_client_frame(frame)));
    }
}

fn is_about_token(problem: &Problem) -> bool {
    let code = problem.known_code();
    matches!(code, Some(ProblemCode::Unauthenticated | ProblemCode::SessionEnded))
}

fn confirm_frame(tag: u64, conversation: ConversationId, seq: Seq, read: bool) -> ClientFrame {
    let conversation = bytes::Bytes::copy_from_slice(conversation.as_bytes());
    ClientFrame::Confirm(frames::Confirm { tag, conversation, seq: seq.0, read })
}
