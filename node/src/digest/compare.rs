//! Whoever leads a group has its replicas compared from time to time, one group after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use proto::peer::{Compared, DigestAnswer, DigestQuery};
use raft::{Group, GroupId, NodeId, Raft};
use tokio::time::{Instant, sleep};

use super::judge::{Digest, Divergence, Said, differing, differing_parts};
use super::replica::{Answer, BEYOND, Digests, NOT_REACHED, Question};
use super::{DigestTempo, SCHEME};
use crate::clock::Clock;
use crate::peers::Peers;

/// How often an entry is named that some replica is already beyond, or does not get to, before the rest is compared.
const TRIES: u32 = 4;
/// An entry is named this many looks ahead of what is written: the question is there before the entry is.
const LOOKS_AHEAD: u64 = 2;

/// What compares.
pub(super) struct Comparing {
    pub(super) digests: Digests,
    pub(super) raft: Raft,
    pub(super) peers: Peers,
    pub(super) node: NodeId,
    pub(super) clock: Arc<dyn Clock>,
    /// The number of the last comparison.
    pub(super) number: u64,
}

/// When a group that is led here was compared last.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    index: u64,
    wanted: bool,
}

/// What came of asking.
#[derive(Default)]
struct Heard {
    said: Said,
    unsaid: BTreeMap<NodeId, String>,
}

impl Heard {
    /// Somebody was not there when the entry came, or it did not come: another entry may do.
    fn is_missed(&self) -> bool {
        self.unsaid.values().any(|why| why == BEYOND || why == NOT_REACHED)
    }
}

impl Last {
    fn is_due(&self, tempo: &DigestTempo, applied: u64, differs: bool) -> bool {
        let passed = self.at.elapsed();
        let busy = applied.saturating_sub(self.index) >= tempo.entries;
        self.wanted || passed >= tempo.latest || (passed >= tempo.rest && (busy || differs))
    }
}

impl Comparing {
    /// Goes on for ever.
    pub(super) async fn run(mut self) {
        let mut known: BTreeMap<GroupId, Last> = BTreeMap::new();
        loop {
            let wanted = self.digests.pause().await;
            let led = self.led();
            known.retain(|group, _| led.contains_key(group));
            for (id, group) in &led {
                // Whoever begins to lead compares soon: replicas that have just changed hands are worth a look.
                let index = || applied(group).saturating_sub(self.digests.tempo().entries);
                let new = || Last { at: Instant::now(), index: index(), wanted: false };
                known.entry(*id).or_insert_with(new).wanted |= wanted;
            }
            let due = known.iter().filter(|(id, last)| {
                let differs = self.digests.divergence(**id).is_some();
                last.is_due(self.digests.tempo(), applied(&led[id]), differs)
            });
            let Some(id) = due.min_by_key(|(_, last)| last.at).map(|(id, _)| *id) else { continue };
            let index = self.compare(&led[&id]).await;
            known.insert(id, Last { at: Instant::now(), index, wanted: false });
        }
    }

    fn led(&self) -> BTreeMap<GroupId, Group> {
        let groups = self.raft.groups().into_iter().filter_map(|id| self.raft.group(id));
        let led = groups.filter(|group| group.status().is_leader);
        led.map(|group| (group.id(), group)).collect()
    }

    /// One comparison. Answers up to which entry the group was looked at.
    async fn compare(&mut self, group: &Group) -> u64 {
        let mut index = applied(group);
        if replicas(group).len() < 2 {
            return index;
        }
        let mut heard = Heard::default();
        for attempt in 0..TRIES {
            let Some(at) = self.moment(group, attempt).await else { return index };
            index = at;
            self.number = self.clock.now().0.max(self.number + 1);
            let question = Question { group: group.id(), index, number: self.number };
            heard = self.ask_all(group, question, attempt + 1 == TRIES).await;
            if self.judge(group, question, &heard).await {
                return index;
            }
            if !heard.is_missed() {
                break;
            }
        }
        let outcome = match (heard.said.len(), heard.unsaid.len()) {
            (0 | 1, _) => "unsaid",
            (_, 0) => "same",
            _ => "partly",
        };
        metrics::counter!("synod_digest_comparisons_total", "outcome" => outcome).increment(1);
        if heard.said.len() > 1 {
            self.digests.found_same();
        }
        tracing::debug!(group = %group.id(), index, outcome, unsaid = ?heard.unsaid, "compared");
        self.is_over(group, index, &heard.said).await;
        index
    }

    /// The entry behind which to compare: where the log will be when everybody has been asked, or where it stands.
    async fn moment(&self, group: &Group, attempt: u32) -> Option<u64> {
        let last = |group: &Group| {
            let status = group.status();
            status.last_index.filter(|_| status.is_leader)
        };
        let before = last(group)?;
        sleep(self.digests.tempo().look).await;
        let now = last(group)?;
        Some(now + (now - before.min(now)) * (LOOKS_AHEAD << attempt))
    }

    /// Asks every replica until it has said or cannot; unless it is the last time, no longer than until one has missed the entry.
    async fn ask_all(&self, group: &Group, question: Question, last: bool) -> Heard {
        let mut heard = Heard::default();
        let mut waiting = replicas(group);
        let begun = Instant::now();
        loop {
            let asked = waiting.iter().map(async |node| (*node, self.ask(*node, question).await));
            for (node, answer) in join_all(asked).await {
                match answer {
                    Answer::NotYet => continue,
                    Answer::Sums(sums) => drop(heard.said.insert(node, sums.whole)),
                    Answer::Unsaid(why) => drop(heard.unsaid.insert(node, why)),
                }
                waiting.remove(&node);
            }
            let silent =
                waiting.extract_if(.., |node| *node != self.node && !self.peers.alive(node.0));
            heard.unsaid.extend(silent.map(|node| (node, "it is silent".to_owned())));
            if waiting.is_empty() || (heard.is_missed() && !last) {
                return heard;
            }
            if begun.elapsed() >= self.digests.tempo().summed_within {
                let late = waiting.into_iter().map(|node| (node, "it takes too long".to_owned()));
                heard.unsaid.extend(late);
                return heard;
            }
            sleep(self.digests.tempo().look).await;
        }
    }

    async fn ask(&self, node: NodeId, question: Question) -> Answer {
        if node == self.node {
            return self.digests.answer(question);
        }
        match self.peers.digest(node.0, query(question, false)).await {
            Ok(answer) => said(&answer),
            Err(refused) => refused.map_or(Answer::NotYet, Answer::Unsaid),
        }
    }

    /// Whether replicas differ. Then it is known everywhere when this returns, as far as others are heard.
    async fn judge(&self, group: &Group, question: Question, heard: &Heard) -> bool {
        let apart = differing(&heard.said);
        if apart.is_empty() {
            return false;
        }
        metrics::counter!("synod_digest_comparisons_total", "outcome" => "differ").increment(1);
        let parts = self.parts(&heard.said, question).await;
        let Question { group: id, index, .. } = question;
        let said = heard.said.clone();
        let divergence = Divergence { group: id, index, said, differing: apart, parts };
        let compared = divergence.encode();
        self.digests.learn(divergence);
        self.tell(&replicas(group), &compared).await;
        true
    }

    /// Where two that differ do.
    async fn parts(&self, heard: &Said, question: Question) -> Vec<u16> {
        let by_digest: BTreeMap<Digest, NodeId> =
            heard.iter().map(|(node, digest)| (*digest, *node)).collect();
        let two = by_digest.into_values().take(2).map(|node| self.parts_of(node, question));
        match join_all(two).await.as_slice() {
            [Some(one), Some(other)] => differing_parts(one, other),
            _ => Vec::new(),
        }
    }

    async fn parts_of(&self, node: NodeId, question: Question) -> Option<Vec<(u16, u64)>> {
        if node == self.node {
            return match self.digests.answer(question) {
                Answer::Sums(sums) => Some(sums.parts.clone()),
                Answer::NotYet | Answer::Unsaid(_) => None,
            };
        }
        let answer = self.peers.digest(node.0, query(question, true)).await.ok()?;
        let part = |part: &proto::peer::DigestPart| Some((part.part.try_into().ok()?, part.digest));
        answer.parts.iter().map(part).collect()
    }

    /// Nobody differed: what was known before may be over.
    async fn is_over(&self, group: &Group, index: u64, said: &Said) {
        let (id, replicas) = (group.id(), replicas(group));
        let known = self.digests.divergence(id);
        if known.is_some_and(|known| known.is_over(said, &replicas)) {
            self.digests.forget(id);
            let compared = Compared { group: id.0, index, ..Compared::default() };
            self.tell(&replicas, &compared).await;
        }
    }

    /// Whoever does not hear it is told with the next comparison.
    async fn tell(&self, replicas: &BTreeSet<NodeId>, compared: &Compared) {
        let others = replicas.iter().filter(|node| **node != self.node);
        join_all(others.map(|node| self.peers.compared(node.0, compared))).await;
    }
}

fn applied(group: &Group) -> u64 {
    group.status().applied_index.unwrap_or(0)
}

/// All who have the group's log.
fn replicas(group: &Group) -> BTreeSet<NodeId> {
    let status = group.status();
    status.voters.union(&status.observers).copied().collect()
}

fn query(question: Question, parts: bool) -> DigestQuery {
    let Question { group, index, number } = question;
    DigestQuery { scheme: SCHEME, group: group.0, index, number, parts }
}

fn said(answer: &DigestAnswer) -> Answer {
    if !answer.unsaid.is_empty() {
        return Answer::Unsaid(answer.unsaid.clone());
    }
    if answer.digest.is_empty() {
        return Answer::NotYet;
    }
    match <[u8; 32]>::try_from(answer.digest.as_ref()) {
        Ok(whole) => {
            let whole = Digest(whole);
            Answer::Sums(Arc::new(super::sum::Sums { whole, parts: Vec::new() }))
        }
        Err(_) => Answer::Unsaid("what it says is no digest".to_owned()),
    }
}
