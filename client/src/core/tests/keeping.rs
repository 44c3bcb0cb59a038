//! The core beside a store: any order of sending, losing links, losing answers, being refused, and being killed before or
//! after a turn was committed, with or without the machine. A naive cluster decides as the real one does.

use bytes::Bytes;
use chat::Seq;
use proptest::prelude::*;
use proto::frame::ServerFrame;

use super::*;
use crate::core::Reached;
use crate::store::{Commit, Memory, Owner, Record, Store};

/// What the cluster holds of one conversation: everything that was said, with the id, device and order.
#[derive(Default)]
struct World {
    log: Vec<frames::Message>,
    last_order: u64,
    /// How far the device confirmed.
    confirmed: u64,
    /// Every order that was ever written, and for which message.
    orders: BTreeMap<u64, String>,
    /// What is refused once is refused for ever.
    refused: BTreeSet<String>,
}

impl World {
    fn say(&mut self, device: u64, id: &str, order: u64) -> u64 {
        let seq = self.log.len() as u64 + 1;
        let before = self.log.last().map(|message| message.chain.clone()).unwrap_or_default();
        let link = format!("{}{id}", String::from_utf8_lossy(&before));
        let chain = link.bytes().fold(17_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
        let said = message(seq);
        self.log.push(frames::Message {
            device,
            order,
            message_id: id.into(),
            chain: Bytes::from(chain.to_string()),
            ..said
        });
        seq
    }

    fn decide(&mut self, send: &frames::Send) -> sent::Result {
        let stored = |seq, order, duplicate| {
            sent::Result::Stored(frames::Stored { seq, at_ms: 1, duplicate, order })
        };
        let problem = |code| sent::Result::Problem(proto::Problem::of(code).into());
        if self.refused.contains(&send.message_id) {
            return problem(ProblemCode::TooLarge);
        }
        let known = self.log.iter().find(|kept| kept.message_id == send.message_id);
        if let Some(known) = known {
            return match send.order == 0 || send.order == known.order {
                true => stored(known.seq, known.order, true),
                false => problem(ProblemCode::Conflict),
            };
        }
        match send.order {
            0 => {}
            order if order <= self.last_order => return problem(ProblemCode::Conflict),
            order if order > self.last_order + 1 => return problem(ProblemCode::OutOfOrder),
            _ => {}
        }
        self.last_order += 1;
        let order = self.last_order;
        stored(self.say(1, &send.message_id, order), order, false)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    BeforeCommit,
    AfterCommit,
}

#[derive(Debug, Clone)]
enum Step {
    Enqueue,
    Hear,
    TakeItem,
    Pass(u64),
    Request(usize, Fate),
    Answer(usize),
    LoseLink,
    Welcome,
    /// The next turn is the last of this life; with the power gone, only what is durable stays.
    Die(Death, bool),
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Decide,
    RefuseForNow,
    RefuseForGood,
    DecideAndForget,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        14 => Just(Fate::Decide),
        2 => Just(Fate::RefuseForNow),
        1 => Just(Fate::RefuseForGood),
        2 => Just(Fate::DecideAndForget),
    ];
    let death = prop_oneof![Just(Death::BeforeCommit), Just(Death::AfterCommit)];
    prop_oneof![
        6 => Just(Step::Enqueue),
        3 => Just(Step::Hear),
        4 => Just(Step::TakeItem),
        3 => (1..120_u64).prop_map(Step::Pass),
        12 => (0..4_usize, fate).prop_map(|(link, fate)| Step::Request(link, fate)),
        10 => (0..3_usize).prop_map(Step::Answer),
        1 => Just(Step::LoseLink),
        4 => Just(Step::Welcome),
        2 => (death, any::<bool>()).prop_map(|(death, power)| Step::Die(death, power)),
    ]
}

/// One device through several lives.
struct Play<'a> {
    script: Script,
    world: World,
    store: Box<dyn Store>,
    /// Makes the store anew from what is left: of a kill, or of a power loss.
    reopen: &'a dyn Fn(Box<dyn Store>, bool) -> Box<dyn Store>,
    /// Told before every durable commit has returned.
    on_durable: &'a dyn Fn(),
    dying: Option<(Death, bool)>,
    life: u64,
    requests: BTreeMap<(u64, LinkId), VecDeque<frames::Send>>,
    answers: VecDeque<(u64, LinkId, frames::Send, sent::Result)>,
    live: Option<LinkId>,
    enqueued: u64,
    /// What the application was told is pending.
    promised: BTreeSet<String>,
    refused: BTreeSet<String>,
    /// What the application dealt with, by life.
    taken: Vec<Vec<u64>>,
    told: Vec<Record>,
}

fn owner() -> Owner {
    Owner { user: alice().user, device: alice().device }
}

impl<'a> Play<'a> {
    fn new(
        mut store: Box<dyn Store>,
        reopen: &'a dyn Fn(Box<dyn Store>, bool) -> Box<dyn Store>,
        on_durable: &'a dyn Fn(),
    ) -> Play<'a> {
        let kept = store.begin(&owner()).expect("it is ours");
        let mut script = Script::new(3);
        script.core.restore(kept);
        Play {
            script,
            world: World::default(),
            store,
            reopen,
            on_durable,
            dying: None,
            life: 0,
            requests: BTreeMap::new(),
            answers: VecDeque::new(),
            live: None,
            enqueued: 0,
            promised: BTreeSet::new(),
            refused: BTreeSet::new(),
            taken: vec![Vec::new()],
            told: Vec::new(),
        }
    }

    /// Ends a turn: commits, then does what is wanted. False: this life ended here.
    fn turn(&mut self) -> bool {
        let death = self.dying.take();
        if matches!(death, Some((Death::BeforeCommit, _))) {
            return self.begin_again(death);
        }
        loop {
            for item in self.script.core.unrecorded() {
                if let Incoming::Status { conversation, delivered, read } = item {
                    let (conversation, delivered, read) = (*conversation, *delivered, *read);
                    self.told.push(Record::Status { conversation, delivered, read });
                }
            }
            let (records, durably) = self.script.core.records();
            let mut all = std::mem::take(&mut self.told);
            all.extend(records);
            let how = if durably { Commit::Durable } else { Commit::Soon };
            let contradicted = self.store.commit(&all, how).expect("it can be written");
            if durably {
                (self.on_durable)();
            }
            if contradicted.is_empty() {
                break;
            }
            for conversation in contradicted {
                self.script.core.contradicted(self.script.now, conversation);
            }
        }
        if death.is_some() {
            return self.begin_again(death);
        }
        let heads = self.store.heads().expect("it can be read");
        let mut wants_heads = false;
        self.script.act_kept(&mut wants_heads);
        if wants_heads {
            self.script.core.compare(self.script.now, heads);
            return self.turn();
        }
        self.collect();
        true
    }

    fn begin_again(&mut self, death: Option<(Death, bool)>) -> bool {
        let store = std::mem::replace(&mut self.store, Box::new(Memory::new()));
        self.store = (self.reopen)(store, death.is_some_and(|(_, power)| power));
        let now = self.script.now;
        let kept = self.store.begin(&owner()).expect("it is ours");
        let mut script = Script::new(3);
        (script.now, script.ticket) = (now, kept.last_ticket);
        script.core.restore(kept);
        self.script = script;
        self.told.clear();
        self.live = None;
        self.life += 1;
        self.taken.push(Vec::new());
        false
    }

    /// Looks at everything that was written.
    fn collect(&mut self) {
        let written: Vec<_> = std::mem::take(&mut self.script.written).into_iter().collect();
        for (link, frames) in written {
            for frame in frames {
                self.written(link, frame);
            }
        }
        for (ticket, result) in std::mem::take(&mut self.script.sent) {
            if let Err(SendError::Refused(_)) = result {
                self.refused.insert(format!("m{ticket:04}"));
            }
        }
    }

    fn written(&mut self, link: LinkId, frame: ClientFrame) {
        match frame {
            ClientFrame::Send(send) => {
                let mut kept = self.store.pending().expect("it can be read").into_iter();
                let kept = kept.find(|kept| kept.request.message_id.as_str() == send.message_id);
                let kept = kept.expect("what is on the wire is in the outbox");
                let order = kept.request.order.map_or(0, |order| order.0);
                assert_eq!(order, send.order, "under the number that the store has");
                if send.order > 0 && self.world.refused.is_empty() {
                    let id = self
                        .world
                        .orders
                        .entry(send.order)
                        .or_insert_with(|| send.message_id.clone());
                    assert_eq!(*id, send.message_id, "order {} is used once", send.order);
                }
                self.requests.entry((self.life, link)).or_default().push_back(send);
            }
            ClientFrame::Confirm(confirm) => {
                let page = self.store.history(with_bob(), Some(Seq(confirm.seq + 1)), 10_000);
                let page = page.expect("it can be read");
                let theirs = self.world.log.iter().filter(|message| message.device != 1);
                for said in theirs.filter(|message| message.seq <= confirm.seq) {
                    let is_same =
                        |kept: &frames::Message| (kept.seq, &kept.chain) == (said.seq, &said.chain);
                    let is_kept = page.messages.iter().any(is_same);
                    assert!(is_kept, "confirmed up to {} without {}", confirm.seq, said.seq);
                }
                self.world.confirmed = self.world.confirmed.max(confirm.seq);
                if self.live == Some(link) {
                    let (tag, delivered) = (confirm.tag, self.world.confirmed);
                    let conversation = confirm.conversation;
                    let confirmed =
                        frames::Confirmed { tag, conversation, delivered, ..Default::default() };
                    self.say(link, ServerFrame::Confirmed(confirmed));
                }
            }
            ClientFrame::ReadHistory(read) if self.live == Some(link) => {
                let wanted = |m: &&frames::Message| {
                    m.seq > read.after && (read.before == 0 || m.seq < read.before)
                };
                let mut messages: Vec<_> = self.world.log.iter().filter(wanted).cloned().collect();
                let limit = read.limit as usize;
                match read.before {
                    0 => messages.truncate(limit),
                    _ => drop(messages.drain(..messages.len().saturating_sub(limit))),
                }
                let page = frames::HistoryPage {
                    tag: read.tag,
                    messages,
                    last_seq: self.world.log.len() as u64,
                    conversation: Bytes::copy_from_slice(with_bob().as_bytes()),
                    ..Default::default()
                };
                self.say(link, ServerFrame::HistoryPage(page));
            }
            _ => {}
        }
    }

    fn say(&mut self, link: LinkId, frame: ServerFrame) -> bool {
        let told = |message: &frames::Message| Record::Message(Box::new(message.clone()));
        match &frame {
            ServerFrame::Deliver(deliver) => self.told.extend(deliver.messages.iter().map(told)),
            ServerFrame::HistoryPage(page) => self.told.extend(page.messages.iter().map(told)),
            _ => {}
        }
        self.script.core.frame(self.script.now, link, frame);
        self.turn()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Enqueue => self.enqueue(),
            Step::Hear => {
                let id = format!("b{}", self.world.log.len() + 1);
                self.world.say(2, &id, 0);
                let said = self.world.log.last().expect("just said").clone();
                if let Some(link) = self.live {
                    self.deliver(link, vec![said]);
                }
            }
            Step::TakeItem => self.take_item(),
            Step::Pass(time) => {
                self.script.now += ms(time);
                self.script.core.tick(self.script.now);
                self.turn();
            }
            Step::Request(at, fate) => self.request(at, fate),
            Step::Answer(at) => self.answer(at),
            Step::LoseLink => {
                if let Some(link) = self.live.take() {
                    self.script.core.link_lost(self.script.now, link, "lost".into());
                    self.turn();
                }
            }
            Step::Welcome => self.welcome(false),
            Step::Die(death, power) => self.dying = Some((death, power)),
        }
    }

    fn enqueue(&mut self) {
        self.enqueued = self.script.ticket + 1;
        self.script.ticket += 1;
        let id = format!("m{:04}", self.enqueued);
        let request = SendRequest {
            tag: 0,
            to: SendTo::Receiver(bob()),
            order: None,
            message_id: MessageId::parse(&id).expect("legal"),
            body: Body { text: id.clone(), ..Body::default() },
        };
        assert!(self.script.core.send(self.script.now, self.enqueued, with_bob(), request));
        if self.turn() {
            self.promised.insert(id);
        }
    }

    fn deliver(&mut self, link: LinkId, messages: Vec<frames::Message>) -> bool {
        let deliver = frames::Deliver { messages, catching_up: false };
        self.say(link, ServerFrame::Deliver(deliver))
    }

    fn take_item(&mut self) {
        let Some(Incoming::Message(message)) = self.script.core.poll_incoming() else { return };
        self.taken.last_mut().expect("a life").push(message.seq);
        let reached = Reached { seq: Seq(message.seq), read: false };
        self.script.core.confirm(self.script.now, None, with_bob(), reached);
        self.turn();
    }

    fn request(&mut self, at: usize, fate: Fate) {
        let queues: Vec<_> =
            self.requests.iter_mut().filter(|(_, queue)| !queue.is_empty()).collect();
        let count = queues.len().max(1);
        let Some((from, queue)) = queues.into_iter().nth(at % count) else { return };
        let ((life, link), send) = (*from, queue.pop_front().expect("not empty"));
        let problem = |code| sent::Result::Problem(proto::Problem::of(code).into());
        let known = self.world.log.iter().any(|kept| kept.message_id == send.message_id);
        let said = self.world.log.len();
        let result = match fate {
            Fate::RefuseForNow => problem(ProblemCode::Overloaded),
            Fate::RefuseForGood if !known => {
                self.world.refused.insert(send.message_id.clone());
                problem(ProblemCode::TooLarge)
            }
            Fate::Decide | Fate::RefuseForGood => self.world.decide(&send),
            Fate::DecideAndForget => {
                self.world.decide(&send);
                problem(ProblemCode::UnknownOutcome)
            }
        };
        self.answers.push_back((life, link, send, result));
        // What came by another link is delivered on this one, like anybody's.
        let elsewhere = life != self.life || self.live != Some(link);
        if let (Some(live), true, [new]) = (self.live, elsewhere, &self.world.log[said..]) {
            let new = new.clone();
            self.deliver(live, vec![new]);
        }
    }

    fn answer(&mut self, at: usize) {
        let at = at.min(self.answers.len().saturating_sub(1));
        let Some((life, link, send, result)) = self.answers.remove(at) else { return };
        if life != self.life {
            return;
        }
        let sent = frames::Sent {
            tag: send.tag,
            conversation: Bytes::copy_from_slice(with_bob().as_bytes()),
            message_id: send.message_id.clone(),
            result: Some(result),
        };
        self.say(link, ServerFrame::Sent(sent));
    }

    /// The next dialled link comes about; everything unconfirmed is delivered first.
    fn welcome(&mut self, reset: bool) {
        let Some((id, _)) = self.script.dialled.pop_front() else {
            return;
        };
        if self.script.closed.contains(&id) || !self.script.core.dialled(self.script.now, id) {
            return;
        }
        self.live = Some(id);
        if !self.turn() {
            return;
        }
        let welcome = frames::Welcome { node: 1, reset, resume: "r".into(), ..Default::default() };
        if !self.say(id, ServerFrame::Welcome(welcome)) {
            return;
        }
        let confirmed = self.world.confirmed;
        let missed: Vec<_> = self.world.log.iter().filter(|m| m.seq > confirmed).cloned().collect();
        if !missed.is_empty() {
            self.deliver(id, missed);
        }
    }

    /// A time without trouble, in which everything must come to an end.
    fn settle(&mut self) {
        self.dying = None;
        for _ in 0..10_000 {
            let waiting = self.store.pending().expect("it can be read");
            let theirs = self.world.log.iter().rfind(|message| message.device != 1);
            let theirs = theirs.map_or(0, |message| message.seq);
            if waiting.is_empty() && self.world.confirmed >= theirs {
                return;
            }
            self.step(Step::Welcome);
            for _ in 0..4 {
                self.step(Step::Request(0, Fate::Decide));
                self.step(Step::Answer(0));
                self.step(Step::TakeItem);
            }
            self.step(Step::Pass(5));
        }
        panic!("not everything was settled: {:?}", self.store.pending());
    }

    /// What must be true in the end.
    fn judge(&mut self) {
        let own = |message: &&frames::Message| message.device == 1;
        let stored: Vec<_> =
            self.world.log.iter().filter(own).map(|m| m.message_id.clone()).collect();
        let mut sorted = stored.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(stored, sorted, "each once, in the order of sending");
        let refusals = self.store.refusals().expect("it can be read").into_iter();
        self.refused.extend(refusals.map(|kept| kept.send.request.message_id.as_str().to_owned()));
        for id in &self.promised {
            let is_stored = stored.contains(id);
            assert!(
                is_stored != self.refused.contains(id),
                "{id} is stored, or told to be refused"
            );
        }
        // Everything of others was dealt with, in order, and again only after a life ended.
        let theirs = self.world.log.iter().filter(|message| message.device != 1);
        let theirs: Vec<u64> = theirs.map(|message| message.seq).collect();
        let place = |seq: &u64| theirs.iter().position(|at| at == seq).expect("was said");
        let mut next = 0;
        for life in &self.taken {
            let places: Vec<usize> = life.iter().map(place).collect();
            assert!(places.windows(2).all(|pair| pair[0] + 1 == pair[1]), "once a life: {life:?}");
            if let (Some(first), Some(last)) = (places.first(), places.last()) {
                assert!(*first <= next, "nothing is left out between two lives");
                next = next.max(last + 1);
            }
        }
        assert_eq!(next, theirs.len(), "everything came in");
        let page = self.store.history(with_bob(), None, 10_000).expect("it can be read");
        let shown = |message: &frames::Message| (message.seq, message.message_id.clone());
        let kept: Vec<_> = page.messages.iter().map(shown).collect();
        assert_eq!(kept, self.world.log.iter().map(shown).collect::<Vec<_>>(), "history is whole");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn what_was_promised_is_stored_once_and_in_order_through_any_deaths(
        steps in proptest::collection::vec(step(), 0..250),
    ) {
        let memory = Memory::new();
        let durable = std::cell::RefCell::new(memory.copied());
        let on_durable = || *durable.borrow_mut() = memory.copied();
        let reopen = |store: Box<dyn Store>, power: bool| -> Box<dyn Store> {
            if power {
                memory.become_again(&durable.borrow());
            }
            store
        };
        let mut play = Play::new(Box::new(memory.clone()), &reopen, &on_durable);
        for step in steps {
            play.step(step);
        }
        play.settle();
        play.judge();
    }
}

#[cfg(feature = "sqlite")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_same_holds_on_a_file(steps in proptest::collection::vec(step(), 0..120)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("device.db");
        let open = || Box::new(crate::store::Sqlite::open(&path).expect("it can be opened"));
        let reopen = |store: Box<dyn Store>, _: bool| -> Box<dyn Store> {
            drop(store);
            open()
        };
        let mut play = Play::new(open(), &reopen, &|| {});
        for step in steps {
            play.step(step);
        }
        play.settle();
        play.judge();
    }
}

fn quiet() -> Play<'static> {
    Play::new(Box::new(Memory::new()), &|store, _| store, &|| {})
}

#[test]
fn a_history_that_was_rewritten_is_forgotten_and_filled_again_and_nothing_is_confirmed_before() {
    let mut play = quiet();
    play.step(Step::Welcome);
    for _ in 0..10 {
        play.step(Step::Hear);
    }
    play.settle();
    assert_eq!(play.world.confirmed, 10);
    // One more was dealt with, and there was no time to confirm it.
    play.step(Step::Hear);
    play.step(Step::TakeItem);
    assert_eq!(play.world.confirmed, 10);
    // Three of them are lost, and others took their places.
    play.world.log.truncate(8);
    play.world.confirmed = 8;
    for at in 9..=12 {
        play.world.say(2, &format!("c{at}"), 0);
    }
    play.step(Step::LoseLink);
    play.step(Step::Pass(2_000));
    play.taken.push(Vec::new());
    play.welcome(true);
    let mut rewritten = 0;
    for _ in 0..20 {
        match play.script.core.poll_incoming() {
            Some(Incoming::Rewritten { conversation }) => {
                assert_eq!(conversation, with_bob());
                rewritten += 1;
            }
            Some(Incoming::Message(message)) => {
                assert!(rewritten > 0, "not before it is said that all is new");
                play.taken.last_mut().expect("a life").push(message.seq);
                let reached = Reached { seq: Seq(message.seq), read: false };
                play.script.core.confirm(play.script.now, None, with_bob(), reached);
                play.turn();
            }
            _ => {}
        }
        play.step(Step::Pass(100));
        play.welcome(false);
    }
    assert_eq!(rewritten, 1);
    assert_eq!(play.taken.last().expect("a life"), &[9, 10, 11, 12]);
    assert_eq!(play.world.confirmed, 12);
    let page = play.store.history(with_bob(), None, 100).expect("it can be read");
    let ids: Vec<_> = page.messages.iter().map(|message| message.message_id.as_str()).collect();
    assert_eq!(ids, ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "c9", "c10", "c11", "c12"]);
}

#[test]
fn what_was_refused_for_good_is_durable_before_what_comes_after_it_goes_on() {
    let commits = std::cell::Cell::new(0);
    let on_durable = || commits.set(commits.get() + 1);
    let reopen = |store: Box<dyn Store>, _: bool| store;
    let mut play = Play::new(Box::new(Memory::new()), &reopen, &on_durable);
    for step in [Step::Enqueue, Step::Welcome, Step::Request(0, Fate::RefuseForGood)] {
        play.step(step);
    }
    let before = commits.get();
    play.step(Step::Answer(0));
    assert_eq!((commits.get(), play.refused.len()), (before + 1, 1));
    assert_eq!(play.store.refusals().expect("it can be read").len(), 1);
}

#[test]
fn a_reset_of_the_same_history_changes_nothing() {
    let mut play = quiet();
    play.step(Step::Welcome);
    for _ in 0..10 {
        play.step(Step::Hear);
    }
    play.settle();
    play.step(Step::LoseLink);
    play.world.say(2, "b11", 0);
    play.step(Step::Pass(2_000));
    play.welcome(true);
    play.settle();
    play.judge();
    assert_eq!(play.taken, [(1..=11).collect::<Vec<_>>()]);
}

#[test]
fn a_full_outbox_refuses_and_keeps_what_it_has() {
    let mut play = quiet();
    for _ in 0..crate::core::limits::OUTBOX_MAX {
        play.step(Step::Enqueue);
    }
    let request = play.store.pending().expect("it can be read")[0].request.clone();
    assert!(!play.script.core.send(play.script.now, 1_000_000, with_bob(), request));
    play.turn();
    assert_eq!(play.script.sent.remove(&1_000_000), None, "collected");
    assert_eq!(play.store.pending().expect("it can be read").len(), play.promised.len());
}
