//! Any order of events: links that die with requests and answers inside them, requests that are carried out after their
//! link is gone, answers out of order, refusals for now, outcomes that nobody knows. Against a cluster that decides as the
//! real one does, every message must be stored once and in order, and what the client says of it must be true.

use proptest::prelude::*;
use proto::frames::Stored;

use super::*;

/// What the cluster holds of one conversation and device.
#[derive(Default)]
struct Cluster {
    stored: Vec<String>,
    /// Order that the next message must have.
    last_order: u64,
    orders: BTreeMap<String, (u64, u64)>,
}

impl Cluster {
    fn decide(&mut self, send: &frames::Send) -> sent::Result {
        let stored = |seq, order, duplicate| {
            sent::Result::Stored(Stored { seq, at_ms: 1, duplicate, order })
        };
        if let Some((seq, order)) = self.orders.get(&send.message_id) {
            return match send.order == 0 || send.order == *order {
                true => stored(*seq, *order, true),
                false => problem(ProblemCode::Conflict),
            };
        }
        if send.order != 0 && send.order <= self.last_order {
            return problem(ProblemCode::Conflict);
        }
        if send.order > self.last_order + 1 {
            return problem(ProblemCode::OutOfOrder);
        }
        self.last_order += 1;
        self.stored.push(send.message_id.clone());
        let seq = self.stored.len() as u64;
        self.orders.insert(send.message_id.clone(), (seq, self.last_order));
        stored(seq, self.last_order, false)
    }
}

fn problem(code: ProblemCode) -> sent::Result {
    sent::Result::Problem(proto::Problem::of(code).into())
}

/// One thing that happens next.
#[derive(Debug, Clone)]
enum Step {
    Send,
    Pass(u64),
    /// The cluster takes the next request of a link and does this with it.
    Take(usize, Fate),
    /// An answer that waits reaches the client; not always the oldest.
    Answer(usize),
    LoseLink,
    Welcome,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Decide,
    RefuseForNow,
    DecideAndForget,
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        12 => Just(Fate::Decide),
        2 => Just(Fate::RefuseForNow),
        1 => Just(Fate::DecideAndForget),
        1 => Just(Fate::Forget),
    ];
    prop_oneof![
        6 => Just(Step::Send),
        3 => (1..120_u64).prop_map(Step::Pass),
        12 => (0..4_usize, fate).prop_map(|(link, fate)| Step::Take(link, fate)),
        10 => (0..3_usize).prop_map(Step::Answer),
        1 => Just(Step::LoseLink),
        4 => Just(Step::Welcome),
    ]
}

struct Play {
    script: Script,
    cluster: Cluster,
    /// Requests inside links, alive or dead: a node carries out what it has received.
    requests: BTreeMap<LinkId, VecDeque<frames::Send>>,
    answers: VecDeque<(LinkId, frames::Send, sent::Result)>,
    live: Option<LinkId>,
    sends: u64,
}

impl Play {
    fn new() -> Play {
        let script = Script::new(3);
        let (cluster, requests) = (Cluster::default(), BTreeMap::new());
        Play { script, cluster, requests, answers: VecDeque::new(), live: None, sends: 0 }
    }

    fn collect(&mut self) {
        let links: Vec<LinkId> = self.script.written.keys().copied().collect();
        for link in links {
            let sends = self.script.sends(link);
            self.requests.entry(link).or_default().extend(sends);
        }
        self.script.incoming();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send => {
                self.sends += 1;
                let id = format!("m{:04}", self.sends);
                self.script.send(&id);
            }
            Step::Pass(time) => self.script.pass(ms(time)),
            Step::Take(link, fate) => self.take(link, fate),
            Step::Answer(at) => {
                let at = at.min(self.answers.len().saturating_sub(1));
                if let Some((link, send, result)) = self.answers.remove(at) {
                    self.script.answer(link, &send, result);
                }
            }
            Step::LoseLink => {
                if let Some(link) = self.live.take() {
                    self.script.lose(link);
                }
            }
            Step::Welcome => {
                let wanted = self.script.dialled.front().map(|(id, _)| *id);
                let is_wanted = |id: &LinkId| !self.script.closed.contains(id);
                match wanted.filter(is_wanted) {
                    Some(_) => self.live = Some(self.script.welcome()),
                    None => drop(self.script.dialled.pop_front()),
                }
            }
        }
        self.collect();
    }

    fn take(&mut self, link: usize, fate: Fate) {
        let with_requests = self.requests.iter_mut().filter(|(_, queue)| !queue.is_empty());
        let queues: Vec<_> = with_requests.collect();
        let count = queues.len().max(1);
        let Some((link, queue)) = queues.into_iter().nth(link % count) else { return };
        let (link, send) = (*link, queue.pop_front().expect("not empty"));
        let result = match fate {
            Fate::Decide => self.cluster.decide(&send),
            Fate::RefuseForNow => problem(ProblemCode::Overloaded),
            Fate::DecideAndForget => {
                self.cluster.decide(&send);
                problem(ProblemCode::UnknownOutcome)
            }
            Fate::Forget => problem(ProblemCode::UnknownOutcome),
        };
        self.answers.push_back((link, send, result));
    }

    /// A time without trouble, in which everything must come to an end.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.script.sent.len() as u64 == self.sends {
                return;
            }
            self.step(Step::Welcome);
            for _ in 0..4 {
                self.step(Step::Take(0, Fate::Decide));
                self.step(Step::Answer(0));
            }
            self.step(Step::Pass(1));
        }
        panic!("not everything was settled: {:?}", self.script.core);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_message_is_stored_once_and_in_order(steps in proptest::collection::vec(step(), 0..300)) {
        let mut play = Play::new();
        for step in steps {
            play.step(step);
        }
        play.settle();
        let stored = play.cluster.stored.clone();
        let mut sorted = stored.clone();
        sorted.sort();
        prop_assert_eq!(&stored, &sorted, "in the order of sending");
        sorted.dedup();
        prop_assert_eq!(stored.len(), sorted.len(), "each once");
        for (ticket, result) in &play.script.sent {
            let id = format!("m{ticket:04}");
            let place = stored.iter().position(|stored| *stored == id);
            match result {
                Ok(receipt) => {
                    prop_assert_eq!(Some(receipt.seq.0 as usize), place.map(|at| at + 1));
                    prop_assert_eq!(receipt.message_id.as_str(), &id);
                }
                Err(error) => {
                    let definite = error.certainty() == crate::Certainty::Definite;
                    prop_assert!(!(definite && place.is_some()), "{id} is stored: {error}");
                    prop_assert!(false, "{id} was given up in a time without trouble: {error}");
                }
            }
        }
    }
}

/// What arrives next: a run of messages from somewhere, with holes.
fn arrivals() -> impl Strategy<Value = Vec<(u64, Vec<bool>)>> {
    let run = (1..40_u64, proptest::collection::vec(proptest::bool::weighted(0.7), 1..12));
    proptest::collection::vec(run, 1..25)
}

proptest! {
    #[test]
    fn every_message_is_received_once_and_in_order(arrivals in arrivals(), losses in any::<u32>()) {
        let (mut script, mut link) = Script::connected(2);
        let mut received = Vec::new();
        script.say(link, deliver(&[1]));
        let mut highest = 1;
        for (at, (from, kept)) in arrivals.iter().enumerate() {
            let seqs = (*from..).zip(kept).filter(|(_, kept)| **kept).map(|(seq, _)| seq);
            let seqs: Vec<u64> = seqs.collect();
            highest = highest.max(seqs.last().copied().unwrap_or(1));
            script.say(link, deliver(&seqs));
            if losses >> (at % 32) & 1 == 1 && at % 5 == 0 {
                script.lose(link);
                link = script.welcome();
            }
            script.pass(ms(7));
            received.extend(script.received());
        }
        // History answers whatever is asked, a few messages at a time.
        for _ in 0..500 {
            script.pass(ms(50));
            let queue = script.written.remove(&link).unwrap_or_default();
            for frame in queue {
                let ClientFrame::ReadHistory(read) = frame else { continue };
                prop_assert!(read.at_least <= highest, "nothing is asked for that was not heard of");
                let messages = (read.after + 1..=highest).take(3).map(message).collect();
                let page = frames::HistoryPage { tag: read.tag, messages, ..Default::default() };
                script.say(link, ServerFrame::HistoryPage(page));
            }
            received.extend(script.received());
        }
        prop_assert_eq!(received, (1..=highest).collect::<Vec<_>>());
    }
}
