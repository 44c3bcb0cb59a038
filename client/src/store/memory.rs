//! The store of a process that may forget: everything in maps. Its clones share one memory, so that a client that was ended
//! can be begun again on what it left, and a test can look.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use chat::{ConversationId, Seq};
use proto::frames::{self, Problem};

use super::{
    Commit, Head, KEPT_OF_CONVERSATION_MAX, Kept, KeptConversation, KeptLane, KeptPage,
    KeptRefusal, KeptSend, Owner, REFUSED_MAX, Record, Store, StoreError, fold,
};

/// Keeps everything in memory.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default, Clone)]
struct State {
    owner: Option<Owner>,
    last_ticket: u64,
    resume: String,
    outbox: BTreeMap<u64, KeptSend>,
    refused: VecDeque<(KeptSend, Problem)>,
    lanes: BTreeMap<ConversationId, KeptLane>,
    messages: BTreeMap<(ConversationId, u64), frames::Message>,
    /// The last change that was applied.
    changed: BTreeMap<ConversationId, u64>,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Another memory with the same in it.
    #[cfg(test)]
    pub(crate) fn copied(&self) -> Memory {
        let copy = Memory::new();
        copy.become_again(self);
        copy
    }

    /// Everything as it is in `other`.
    #[cfg(test)]
    pub(crate) fn become_again(&self, other: &Memory) {
        let state = other.state().clone();
        *self.state() = state;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Store for Memory {
    fn begin(&mut self, who: &Owner) -> Result<Kept, StoreError> {
        let mut state = self.state();
        let held = state.owner.get_or_insert_with(|| who.clone()).clone();
        super::check_owner(&held, who)?;
        Ok(Kept {
            last_ticket: state.last_ticket,
            resume: state.resume.clone(),
            outbox: state.outbox.values().cloned().collect(),
            lanes: state.lanes.values().cloned().collect(),
        })
    }

    fn commit(&mut self, records: &[Record], _: Commit) -> Result<Vec<ConversationId>, StoreError> {
        let mut state = self.state();
        let contradicted = records.iter().filter_map(|record| state.note(record));
        Ok(contradicted.collect())
    }

    fn heads(&mut self) -> Result<Vec<Head>, StoreError> {
        let state = self.state();
        let mut heads = BTreeMap::new();
        for ((conversation, seq), message) in &state.messages {
            if !message.chain.is_empty() {
                let (conversation, seq) = (*conversation, Seq(*seq));
                let head = Head { conversation, seq, chain: message.chain.clone() };
                heads.insert(conversation, head);
            }
        }
        Ok(heads.into_values().collect())
    }

    fn history(
        &mut self,
        conversation: ConversationId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<KeptPage, StoreError> {
        let state = self.state();
        let below = before.map_or(u64::MAX, |seq| seq.0);
        let range = state.messages.range((conversation, 0)..(conversation, below));
        let mut messages: Vec<_> = range.rev().take(limit).map(|(_, kept)| kept.clone()).collect();
        messages.reverse();
        Ok(KeptPage { whole: super::is_whole(&messages, before), messages })
    }

    fn conversations(&mut self) -> Result<Vec<KeptConversation>, StoreError> {
        let state = self.state();
        let all = state.lanes.values().map(|lane| {
            let conversation = lane.conversation;
            let mut of = state.messages.range((conversation, 0)..=(conversation, u64::MAX));
            let waits = |send: &&KeptSend| send.conversation == conversation;
            KeptConversation {
                conversation,
                last: of.next_back().map(|(_, message)| message.clone()),
                standing: lane.wanted,
                status: lane.status,
                pending: state.outbox.values().filter(waits).count(),
            }
        });
        let mut all: Vec<KeptConversation> = all.collect();
        super::newest_first(&mut all);
        Ok(all)
    }

    fn pending(&mut self) -> Result<Vec<KeptSend>, StoreError> {
        Ok(self.state().outbox.values().cloned().collect())
    }

    fn refusals(&mut self) -> Result<Vec<KeptRefusal>, StoreError> {
        let refused = self.state().refused.clone().into_iter();
        Ok(refused.map(|(send, problem)| KeptRefusal { send, problem }).collect())
    }
}

impl State {
    fn lane(&mut self, conversation: ConversationId) -> &mut KeptLane {
        self.lanes.entry(conversation).or_insert_with(|| super::no_lane(conversation))
    }

    /// Remembers one thing. A conversation is returned when it contradicts what is kept.
    fn note(&mut self, record: &Record) -> Option<ConversationId> {
        match record {
            Record::Queued { ticket, conversation, request } => {
                let (ticket, conversation) = (*ticket, *conversation);
                let send = KeptSend { ticket, conversation, request: (**request).clone() };
                self.outbox.insert(ticket, send);
                self.last_ticket = self.last_ticket.max(ticket);
                self.lane(conversation);
            }
            Record::Numbered { ticket, order } => {
                if let Some(send) = self.outbox.get_mut(ticket) {
                    send.request.order = *order;
                }
            }
            Record::Sent { ticket, receipt } => {
                let send = self.outbox.remove(ticket)?;
                let owner = self.owner.clone().expect("begun before it is written");
                return self.message(&fold::own(&owner, send, receipt));
            }
            Record::Refused { ticket, problem } => {
                let send = self.outbox.remove(ticket)?;
                self.refused.push_back((send, (**problem).clone()));
                if self.refused.len() > REFUSED_MAX {
                    self.refused.pop_front();
                }
            }
            Record::Message(message) => return self.message(message),
            Record::Change(change) => self.change(change),
            Record::Expired { conversation, up_to } => self.drop_up_to(*conversation, up_to.0),
            Record::Resume(token) => self.resume.clone_from(token),
            Record::Forget(conversation) => {
                self.drop_up_to(*conversation, u64::MAX);
                self.changed.remove(conversation);
                *self.lane(*conversation) = super::no_lane(*conversation);
            }
            Record::Counting { conversation, .. }
            | Record::Standing { conversation, .. }
            | Record::ChangesTaken { conversation, .. }
            | Record::Status { conversation, .. } => {
                super::note_standing(self.lane(*conversation), record);
            }
        }
        None
    }

    fn message(&mut self, message: &frames::Message) -> Option<ConversationId> {
        let conversation = ConversationId::from_bytes(&message.conversation).ok()?;
        let key = (conversation, message.seq);
        let merged = match self.messages.get(&key) {
            None => message.clone(),
            Some(kept) => match fold::merge(kept.clone(), message) {
                Some(merged) => merged,
                None => return Some(conversation),
            },
        };
        self.messages.insert(key, merged);
        self.lane(conversation);
        if let Some(old) = message.seq.checked_sub(KEPT_OF_CONVERSATION_MAX) {
            self.drop_up_to(conversation, old);
        }
        None
    }

    fn drop_up_to(&mut self, conversation: ConversationId, seq: u64) {
        let old = self.messages.range((conversation, 0)..=(conversation, seq));
        let old: Vec<_> = old.map(|(key, _)| *key).collect();
        old.iter().for_each(|key| drop(self.messages.remove(key)));
    }

    fn change(&mut self, change: &frames::Change) {
        let Ok(conversation) = ConversationId::from_bytes(&change.conversation) else { return };
        let applied = self.changed.entry(conversation).or_default();
        if change.number <= *applied {
            return;
        }
        *applied = change.number;
        let message = fold::place(change).map(|seq| (conversation, seq));
        if let Some(message) = message.and_then(|key| self.messages.get_mut(&key)) {
            fold::apply(message, change);
        }
    }
}
