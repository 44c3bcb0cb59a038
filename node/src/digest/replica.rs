//! A replica that is asked for the digest of its state: takes a view where it was asked to, reads it at a measured pace, and
//! remembers what it came to for as long as somebody asks. Keeps also what this node was told of replicas that differ.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use proto::peer::{Compared, DigestAnswer, DigestPart, DigestQuery};
use raft::{GroupId, NodeId, Raft};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};

use super::judge::Divergence;
use super::sum::{Summing, Sums};
use super::{DigestTempo, SCHEME};
use crate::backup::{Pace, blocking};

/// States that are viewed or waited for at once: each other node asks for one at a time, and a view keeps rows of the past.
const WORKS_MAX: usize = 4;
/// What nobody has asked for so long is dropped.
const ASKED_WITHIN: Duration = Duration::from_secs(60);
/// Groups of which is remembered that they differ: all that there may be.
const DIVERGENCES_MAX: usize = cluster_config::SHARDS_MAX as usize + 1;

/// Why a replica cannot say which missed the entry: it may be there at another one.
pub(super) const BEYOND: &str = "it is beyond that entry";
pub(super) const NOT_REACHED: &str = "it does not get to that entry";

/// A state that somebody wants to have digested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) group: GroupId,
    /// Behind this entry.
    pub(super) index: u64,
    /// Of which comparison: a group at rest is read anew each time.
    pub(super) number: u64,
}

/// What a replica says.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// Ask again.
    NotYet,
    Sums(Arc<Sums>),
    /// It cannot say, and why.
    Unsaid(String),
}

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Digests(Arc<Shared>);

struct Shared {
    raft: Raft,
    node: NodeId,
    tempo: DigestTempo,
    works: Mutex<BTreeMap<GroupId, Work>>,
    ordered: Notify,
    /// One state is read at a time.
    reading: Semaphore,
    divergences: Mutex<BTreeMap<GroupId, Divergence>>,
    /// Somebody wants everything compared that is led here.
    wanted: Notify,
    /// Comparisons that this node made in which nobody differed.
    same: AtomicU64,
}

struct Work {
    question: Question,
    asked: Instant,
    stage: Stage,
}

enum Stage {
    Ordered,
    Begun,
    Ended(Answer),
}

impl Digests {
    /// Of this node, which runs these groups.
    pub(crate) fn new(raft: Raft, node: NodeId, tempo: DigestTempo) -> Self {
        Self(Arc::new(Shared {
            raft,
            node,
            tempo,
            works: Mutex::default(),
            ordered: Notify::new(),
            reading: Semaphore::new(1),
            divergences: Mutex::default(),
            wanted: Notify::new(),
            same: AtomicU64::new(0),
        }))
    }

    pub(super) fn tempo(&self) -> &DigestTempo {
        &self.0.tempo
    }

    /// What this replica says. The first question begins the work.
    pub(super) fn answer(&self, question: Question) -> Answer {
        let mut works = self.0.works.lock();
        works.retain(|_, work| work.asked.elapsed() < ASKED_WITHIN);
        if let Some(work) = works.get_mut(&question.group)
            && work.question == question
        {
            work.asked = Instant::now();
            return match &work.stage {
                Stage::Ended(answer) => answer.clone(),
                Stage::Ordered | Stage::Begun => Answer::NotYet,
            };
        }
        let goes_on = |(group, work): (&GroupId, &Work)| {
            *group != question.group && !matches!(work.stage, Stage::Ended(_))
        };
        if works.iter().filter(|work| goes_on(*work)).count() >= WORKS_MAX {
            return Answer::Unsaid("it has enough to read".to_owned());
        }
        let work = Work { question, asked: Instant::now(), stage: Stage::Ordered };
        works.insert(question.group, work);
        self.0.ordered.notify_one();
        Answer::NotYet
    }

    /// The same for another node.
    pub(crate) fn say(&self, query: &DigestQuery) -> DigestAnswer {
        let DigestQuery { scheme, group, index, number, parts } = *query;
        let unsaid = |unsaid: String| DigestAnswer { unsaid, ..DigestAnswer::default() };
        if scheme != SCHEME {
            return unsaid(format!("it makes digests by scheme {SCHEME}"));
        }
        match self.answer(Question { group: GroupId(group), index, number }) {
            Answer::NotYet => DigestAnswer::default(),
            Answer::Unsaid(why) => unsaid(why),
            Answer::Sums(sums) => {
                let part = |(part, digest): &(u16, u64)| DigestPart {
                    part: (*part).into(),
                    digest: *digest,
                };
                let parts = if parts { sums.parts.iter().map(part).collect() } else { Vec::new() };
                let digest = sums.whole.0.to_vec().into();
                DigestAnswer { digest, unsaid: String::new(), parts }
            }
        }
    }

    /// Does what is asked, for ever.
    pub(crate) async fn run(self) {
        let mut going = FuturesUnordered::new();
        loop {
            going.extend(self.orders().into_iter().map(|question| self.carry_out(question)));
            tokio::select! {
                biased;
                () = self.0.ordered.notified() => {}
                Some(()) = going.next() => {}
            }
        }
    }

    fn orders(&self) -> Vec<Question> {
        let mut works = self.0.works.lock();
        let ordered = works.values_mut().filter(|work| matches!(work.stage, Stage::Ordered));
        let begun = ordered.map(|work| {
            work.stage = Stage::Begun;
            work.question
        });
        begun.collect()
    }

    async fn carry_out(&self, question: Question) {
        let answer = match self.sums(question).await {
            Ok(sums) => Answer::Sums(Arc::new(sums)),
            Err(why) => Answer::Unsaid(why),
        };
        let mut works = self.0.works.lock();
        if let Some(work) = works.get_mut(&question.group)
            && work.question == question
        {
            work.stage = Stage::Ended(answer);
        }
    }

    async fn sums(&self, question: Question) -> Result<Sums, String> {
        let Question { group: id, index, .. } = question;
        let group = self.0.raft.group(id).ok_or("it does not run the group")?;
        let viewed = timeout(self.0.tempo.reached_within, group.view_at(index)).await;
        let viewed = viewed.map_err(|_| NOT_REACHED)?;
        let viewed = viewed.map_err(|error| error.to_string())?;
        let (applied, rows) = viewed.ok_or(BEYOND)?;
        let mut summing = Summing::new(id, &applied, rows);
        let _turn = self.0.reading.acquire().await.map_err(|error| error.to_string())?;
        let mut pace = Pace::new(self.0.tempo.bytes_per_second);
        loop {
            if !self.is_wanted(question) {
                return Err("nobody asks any more".to_owned());
            }
            let (stepped, back) = self.step(summing).await;
            summing = back;
            let Some(bytes) = stepped? else { return summing.end() };
            metrics::counter!("synod_digest_bytes_total").increment(bytes as u64);
            pace.spend(bytes).await;
        }
    }

    async fn step(&self, mut summing: Summing) -> (Result<Option<usize>, String>, Summing) {
        if self.0.tempo.aside {
            blocking(move || (summing.step(), summing)).await
        } else {
            (summing.step(), summing)
        }
    }

    fn is_wanted(&self, question: Question) -> bool {
        let works = self.0.works.lock();
        works
            .get(&question.group)
            .is_some_and(|work| work.question == question && work.asked.elapsed() < ASKED_WITHIN)
    }
}

/// What came of comparisons.
impl Digests {
    /// Another node has compared.
    pub(crate) fn hear(&self, compared: &Compared) {
        match Divergence::decode(compared) {
            Some(divergence) => self.learn(divergence),
            None if compared.differing.is_empty() => self.forget(GroupId(compared.group)),
            None => tracing::warn!(group = compared.group, "what differs was not well said"),
        }
    }

    /// Replicas of a group differ: remembered until they do not.
    pub(super) fn learn(&self, divergence: Divergence) {
        let own = divergence.differing.contains(&self.0.node);
        let (group, index) = (divergence.group, divergence.index);
        let what = divergence.told();
        tracing::error!(%group, index, said = ?divergence.said, %what, own, "replicas differ");
        let mut divergences = self.0.divergences.lock();
        if divergences.len() < DIVERGENCES_MAX || divergences.contains_key(&group) {
            divergences.insert(group, divergence);
        }
    }

    /// They do not any more.
    pub(super) fn forget(&self, group: GroupId) {
        if self.0.divergences.lock().remove(&group).is_some() {
            tracing::info!(%group, "replicas are the same again");
        }
    }

    /// What is known of a group.
    pub(crate) fn divergence(&self, group: GroupId) -> Option<Divergence> {
        self.0.divergences.lock().get(&group).cloned()
    }

    /// All that is known, in the order of the groups.
    pub(crate) fn divergences(&self) -> Vec<Divergence> {
        self.0.divergences.lock().values().cloned().collect()
    }

    /// A sentence for each group whose state here is not what it is elsewhere.
    pub(crate) fn told_here(&self) -> Vec<String> {
        let all = self.divergences().into_iter();
        let here = all.filter(|divergence| divergence.differing.contains(&self.0.node));
        here.map(|divergence| divergence.told()).collect()
    }

    /// Has everything compared that is led here, now.
    pub(crate) fn want(&self) {
        self.0.wanted.notify_one();
    }

    /// A comparison is over in which nobody differed.
    pub(super) fn found_same(&self) {
        self.0.same.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were, for whoever must know that something was compared at all.
    pub(crate) fn same(&self) -> u64 {
        self.0.same.load(Ordering::Relaxed)
    }

    /// Waits for a look's time. Whether somebody asked for one.
    pub(super) async fn pause(&self) -> bool {
        timeout(self.0.tempo.look, self.0.wanted.notified()).await.is_ok()
    }
}
