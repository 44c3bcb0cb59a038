//! Station 8 from outside: takes an entry's commands apart, fetches what each decision needs, lets `chat` decide, and
//! notes the effects in the draft of the batch.
//!
//! Fetching comes first and may read the tables; deciding reads nothing. What was decided is in the cache at once, so that
//! the next command sees it, whether it stands in the same entry, the same batch or a later one.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chat::{
    Change, Command, Conversation, ConversationId, Event, GroupId as ChatGroup, Outcome, Place,
    Recorded, Timestamp, User, UserCommand, UserId, What,
};
use raft::{Fatal, GroupId};
use store::tables::Tables;

use super::applied::Counters;
use super::cache::{CACHED_ROWS_MAX, Cache, Weigh};
use super::draft::Draft;
use super::event::{Audience, ShardEvent};
use super::load;
use super::lookup::{self, Found};

/// A conversation in the cache; without a state, the knowledge that there is none.
pub(super) struct Talk {
    pub(super) state: Option<Conversation>,
    /// Made when an event first needs it, dropped when the membership changes.
    audience: Option<Arc<Audience>>,
}

/// A user in the cache; without a state, the knowledge that there is none.
pub(super) struct Person {
    pub(super) state: Option<User>,
}

impl Weigh for Talk {
    fn rows(&self) -> usize {
        let rows =
            |this: &Conversation| this.members.len() + this.producers.len() + this.cursors.len();
        1 + self.state.as_ref().map_or(0, rows)
    }
}

impl Weigh for Person {
    fn rows(&self) -> usize {
        let rows = |this: &User| {
            let starts = this.devices.values().map(|device| device.starts.len());
            let pushes = this
                .pushes
                .values()
                .map(|push| 1 + push.notices.len() + push.marks.len() + push.dead.len());
            let hung = starts.sum::<usize>() + pushes.sum::<usize>();
            this.devices.len() + this.conversations.len() + hung
        };
        1 + self.state.as_ref().map_or(0, rows)
    }
}

impl Talk {
    fn audience(&mut self) -> Arc<Audience> {
        let state = self.state.as_ref().expect("whatever has an event exists");
        let audience = self.audience.get_or_insert_with(|| {
            let (kind, members) = (state.head.kind.clone(), state.members.clone());
            Arc::new(Audience { kind, members })
        });
        Arc::clone(audience)
    }
}

/// A shard's state in memory: what is cached of its rows, and its outbox's counters.
pub(super) struct Decider {
    pub(super) group: GroupId,
    pub(super) slots: Range<u16>,
    pub(super) tables: Arc<dyn Tables>,
    pub(super) talks: Cache<ConversationId, Talk>,
    pub(super) people: Cache<UserId, Person>,
    pub(super) counters: Counters,
}

impl Decider {
    pub(super) fn new(
        group: GroupId,
        slots: Range<u16>,
        tables: Arc<dyn Tables>,
        counters: Counters,
    ) -> Self {
        let (talks, people) = (Cache::new(CACHED_ROWS_MAX), Cache::new(CACHED_ROWS_MAX));
        Self { group, slots, tables, talks, people, counters }
    }

    /// Forgets what is cached, because the rows were replaced.
    pub(super) fn reset(&mut self, counters: Counters, slots: Range<u16>) {
        self.talks.clear();
        self.people.clear();
        self.counters = counters;
        self.slots = slots;
    }

    /// Decides all commands of one entry. Answers their outcomes if somebody wants them.
    ///
    /// A command that does not decode is fatal: it was proposed by a node of this cluster, so either its bytes were damaged
    /// or this node is too old to follow the log, and a guess would make it a different replica.
    pub(super) fn entry(
        &mut self,
        entry: Bytes,
        wants_outcomes: bool,
        draft: &mut Draft,
    ) -> Result<Vec<Bytes>, Fatal> {
        let mut entry = proto::decode_entry(entry).map_err(undecodable)?;
        if !wants_outcomes && planted::bug(planted::Bug::FollowerAppliesBackwards) {
            entry.commands.reverse();
        }
        let at = Timestamp(entry.at_ms);
        let mut outcomes =
            Vec::with_capacity(if wants_outcomes { entry.commands.len() } else { 0 });
        for command in &entry.commands {
            if crate::upgrade::is_rehearsed(command) {
                outcomes.extend(wants_outcomes.then(Bytes::new));
                continue;
            }
            let command = proto::decode_command(command).map_err(undecodable)?;
            if slot_of(&command).is_some_and(|slot| !self.slots.contains(&slot)) {
                // The shard was split before it was this command's turn. Whoever asked asks the new owner.
                outcomes.extend(wants_outcomes.then(proto::encode_moved));
                continue;
            }
            let outcome = match command {
                proto::Command::Conversation { id, command } => {
                    self.conversation(id, at, &command, draft)?
                }
                proto::Command::User { user, command } => self.user(user, at, &command, draft)?,
                proto::Command::Asset { id, command } => self.asset(id, at, &command, draft)?,
                proto::Command::Storage { user, asset, command } => {
                    self.storage((user, asset), at, &command, draft)?
                }
                proto::Command::OutboxDone(up_to) => self.outbox_done(at, up_to, draft),
                proto::Command::Split { to, slots } => self.split(at, to, &slots, draft)?,
            };
            if wants_outcomes {
                outcomes.push(proto::encode_outcome(&outcome));
            }
        }
        Ok(outcomes)
    }

    fn conversation(
        &mut self,
        id: ConversationId,
        at: Timestamp,
        command: &Command,
        draft: &mut Draft,
    ) -> Result<Outcome, Fatal> {
        let name_taken = match command {
            Command::CreateGroup { group, .. } => self.is_user(group)?,
            _ => false,
        };
        let tables = &*self.tables;
        let talk = load_talk(&mut self.talks, tables, id)?;
        let Found { mut known, place } = match command {
            Command::Send(message) => {
                lookup::send(tables, draft, id, talk.state.as_ref(), message)?
            }
            Command::Change(change) => lookup::change(tables, draft, id, change)?,
            Command::Expire { up_to } => {
                lookup::expire(tables, draft, id, talk.state.as_ref(), *up_to)?
            }
            _ => Found::default(),
        };
        known.name_taken = name_taken;
        let applied = chat::apply(&mut talk.state, id, at, command, &known);
        let same_audience = planted::bug(planted::Bug::RemovedStillFannedOut);
        let renamed = |recorded: &Recorded| matches!(recorded.change.what, What::Renamed { .. });
        let is_other = !applied.changed.members.is_empty()
            || applied.changed.change.as_deref().is_some_and(renamed);
        if is_other && !same_audience {
            talk.audience = None;
        }
        draft.conversation(id, &applied.changed, place);
        if let Some(recorded) = &applied.changed.change {
            lookup::empty(tables, draft, id, &recorded.emptied)?;
        }
        if let Some(expired) = &applied.changed.expired {
            lookup::empty(tables, draft, id, &expired.emptied)?;
        }
        if !planted::bug(planted::Bug::DebtsForgotten) {
            draft.owe(self.group, &mut self.counters, &applied.owed);
        }
        let events = applied.event.map(|event| shard_events(id, talk, event));
        draft.events.extend(events.into_iter().flatten().flatten());
        Ok(applied.outcome)
    }

    fn user(
        &mut self,
        id: UserId,
        at: Timestamp,
        command: &UserCommand,
        draft: &mut Draft,
    ) -> Result<Outcome, Fatal> {
        let name_taken = match command {
            UserCommand::Create { .. } => self.is_group(&id)?,
            _ => false,
        };
        let person = load_person(&mut self.people, &*self.tables, &id)?;
        let applied = chat::apply_user(&mut person.state, at, command, name_taken);
        draft.user(&id, &applied.changed);
        draft.events.extend(applied.event.map(|event| ShardEvent::User { user: id, event }));
        Ok(applied.outcome)
    }

    /// What was carried out twice was carried out; what was never owed was not, and is not taken for done.
    fn outbox_done(&mut self, at: Timestamp, up_to: u64, draft: &mut Draft) -> Outcome {
        let up_to = up_to.min(self.counters.next - 1);
        draft.settle(self.group, &mut self.counters, up_to);
        Outcome::Accepted(Place { at, ..Place::default() })
    }

    /// Users and groups share one namespace, and hence one slot and this shard.
    fn is_user(&mut self, group: &ChatGroup) -> Result<bool, Fatal> {
        let user = UserId::parse(group.as_str()).expect("users and groups are named alike");
        Ok(load_person(&mut self.people, &*self.tables, &user)?.state.is_some())
    }

    fn is_group(&mut self, user: &UserId) -> Result<bool, Fatal> {
        let group = ChatGroup::parse(user.as_str()).expect("users and groups are named alike");
        let id = ConversationId::group(&group);
        Ok(load_talk(&mut self.talks, &*self.tables, id)?.state.is_some())
    }
}

/// The slot that a command is about; `None`: it is about the shard itself.
fn slot_of(command: &proto::Command) -> Option<u16> {
    match command {
        proto::Command::Conversation { id, .. } => Some(id.slot()),
        proto::Command::User { user, .. } | proto::Command::Storage { user, .. } => {
            Some(user.slot())
        }
        proto::Command::Asset { id, .. } => Some(id.slot()),
        proto::Command::OutboxDone(_) | proto::Command::Split { .. } => None,
    }
}

fn load_talk<'a>(
    talks: &'a mut Cache<ConversationId, Talk>,
    tables: &dyn Tables,
    id: ConversationId,
) -> Result<&'a mut Talk, Fatal> {
    talks.load(&id, || {
        let state = load::conversation(tables, id)?;
        Ok(Talk { state, audience: None })
    })
}

fn load_person<'a>(
    people: &'a mut Cache<UserId, Person>,
    tables: &dyn Tables,
    id: &UserId,
) -> Result<&'a mut Person, Fatal> {
    people.load(id, || Ok(Person { state: load::user(tables, id)? }))
}

/// What the rest of the node is told, if it is worth telling.
fn shard_events(id: ConversationId, talk: &mut Talk, event: Event) -> [Option<ShardEvent>; 2] {
    let audience = talk.audience();
    let members = |added, removed| ShardEvent::Members { conversation: id, added, removed };
    let event = match event {
        Event::Changed(change) => {
            let members = members_of(&change).map(|(added, removed)| members(added, removed));
            return [members, Some(ShardEvent::Change { change, audience })];
        }
        Event::MessageSent(message) => Some(ShardEvent::Message { message, audience }),
        Event::CursorMoved { best_before, best_after, .. } if best_before == best_after => None,
        Event::CursorMoved { user, best_before, best_after, floors, .. } => {
            Some(ShardEvent::Cursors {
                conversation: id,
                user,
                delivered: (best_before.delivered, best_after.delivered),
                read: (best_before.shown, best_after.shown),
                audience,
                floors: Arc::new(floors),
            })
        }
        Event::GroupCreated => {
            Some(members(audience.members.keys().cloned().collect(), Vec::new()))
        }
    };
    [event, None]
}

/// Who came and who went by a change, if anybody did.
fn members_of(change: &Change) -> Option<(Vec<UserId>, Vec<UserId>)> {
    match &change.what {
        What::Added { members } => Some((members.iter().cloned().collect(), Vec::new())),
        What::Removed { member, .. } => Some((Vec::new(), vec![member.clone()])),
        _ => None,
    }
}

pub(super) fn undecodable(error: proto::DecodeError) -> Fatal {
    Fatal::new(format!("a committed command cannot be understood: {error}"))
}
