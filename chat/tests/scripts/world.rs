//! The little world a script plays in: conversations, users, a clock, and the memory of where each
//! message id stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chat::{
    Applied, Body, ChangeMessage, ChangeNumber, Command, Conversation, ConversationId, DeviceId,
    Digest, Earlier, EarlierChange, GroupId, History, Known, LinkTo, Message, MessageId, Order,
    Overlay, PushCommand, PushId, Retention, Role, SendMessage, Seq, Subject, Timestamp, User,
    UserCommand, UserId, Wish, apply, apply_user,
};

use crate::show;
use crate::words::Words;

/// Everything there is.
#[derive(Default)]
pub(crate) struct World {
    at: Timestamp,
    conversations: BTreeMap<ConversationId, Conversation>,
    users: BTreeMap<UserId, User>,
    places: BTreeMap<(ConversationId, DeviceId, MessageId), Earlier>,
    changes: BTreeMap<(ConversationId, DeviceId, MessageId), EarlierChange>,
    messages: BTreeMap<(ConversationId, Seq), Arc<Message>>,
    overlays: BTreeMap<(ConversationId, Seq), Overlay>,
}

impl World {
    /// Runs one command line and prints what it comes to.
    pub(crate) fn run(&mut self, line: &str) -> Vec<String> {
        let mut words = Words::of(line);
        let first = words.word();
        match first.as_str() {
            "clock" => {
                self.at = Timestamp(number(&words.word()));
                return Vec::new();
            }
            "show" => return self.show(&words.word()),
            _ => {}
        }
        let (user, device) = match first.split_once('/') {
            Some((user, device)) => (self::user(user), DeviceId(number(device))),
            None => (self::user(&first), DeviceId(0)),
        };
        let verb = words.word();
        let answer = match verb.as_str() {
            "says" => self.says(user, device, &mut words),
            "has" if words.take("changes") => {
                let change = ChangeNumber(number(&words.word()));
                words.expect("of");
                let id = self.find(&user, &words.word());
                self.apply(id, Command::ConfirmChanges { user, device, change })
            }
            "has" | "read" | "hides" => {
                let seq = Seq(number(&words.word()));
                words.expect("of");
                let id = self.find(&user, &words.word());
                let (read, hidden) = (verb != "has", verb == "hides");
                self.apply(id, Command::Confirm { user, device, seq, read, hidden })
            }
            "edits" | "deletes" | "reacts" => self.changes(user, device, &verb, &mut words),
            "renames" => {
                let id = group_id(&words.word());
                self.apply(id, Command::RenameGroup { by: user, name: words.word() })
            }
            "makes" => {
                let member = self::user(&words.word());
                let role = role(&words.word());
                words.expect("of");
                self.apply(group_id(&words.word()), Command::SetRole { by: user, member, role })
            }
            "keeps" => {
                let id = self.find(&user, &words.word());
                let retention = match words.word().as_str() {
                    "forever" => None,
                    seconds => Some(Retention(number(seconds))),
                };
                self.apply(id, Command::SetRetention { by: user, retention })
            }
            "expires" => {
                let up_to = Seq(number(&words.word()));
                words.expect("of");
                let id = self.find(&user, &words.word());
                self.apply(id, Command::Expire { up_to })
            }
            "creates" => self.creates(user, &mut words),
            "adds" => {
                let members = users(words.until("to"));
                self.apply(group_id(&words.word()), Command::AddMembers { by: user, members })
            }
            "removes" => {
                let member = self::user(&words.word());
                words.expect("from");
                self.apply(group_id(&words.word()), Command::RemoveMember { by: user, member })
            }
            _ => self.user_command(&user, device, &verb, &mut words),
        };
        words.end();
        answer
    }

    fn says(&mut self, sender: UserId, device: DeviceId, words: &mut Words) -> Vec<String> {
        let text = words.word();
        let (receiver, id) = match words.take("to") {
            true => {
                let receiver = user(&words.word());
                (Some(receiver.clone()), ConversationId::direct(&sender, &receiver))
            }
            false => {
                words.expect("in");
                (None, group_id(&words.word()))
            }
        };
        words.expect("as");
        let message_id = MessageId::parse(&words.word()).expect("a legal message id");
        let order = words.take("order").then(|| Order(number(&words.word())));
        let reply_to = words.take("answering").then(|| Seq(number(&words.word())));
        let thread = words.take("under").then(|| Seq(number(&words.word())));
        let mentions = if words.take("calling") { users(words.until("")) } else { BTreeSet::new() };
        let attachment_uris = if words.take("with") { words.until("") } else { Vec::new() };
        let attachment = !attachment_uris.is_empty();
        let client_timestamp = String::new();
        let body = Body {
            text,
            client_timestamp,
            attachment,
            attachment_uris,
            reply_to,
            thread,
            mentions,
        };
        self.apply(
            id,
            Command::Send(SendMessage { sender, device, receiver, order, message_id, body }),
        )
    }

    /// `edits 1 of team "text" as c1`, `deletes 1 of team as c1`, `reacts 1 of team "+1" as c1`
    fn changes(
        &mut self,
        by: UserId,
        device: DeviceId,
        verb: &str,
        words: &mut Words,
    ) -> Vec<String> {
        let seq = Seq(number(&words.word()));
        words.expect("of");
        let id = self.find(&by, &words.word());
        let wish = match verb {
            "edits" => Wish::Edit(words.word()),
            "deletes" => Wish::Delete,
            _ => Wish::React(words.word()),
        };
        words.expect("as");
        let change_id = MessageId::parse(&words.word()).expect("a legal change id");
        self.apply(id, Command::Change(ChangeMessage { by, device, change_id, seq, wish }))
    }

    fn creates(&mut self, owner: UserId, words: &mut Words) -> Vec<String> {
        let group = GroupId::parse(&words.word()).expect("a legal group id");
        let name = words.word();
        words.expect("with");
        let mut members = words.until("");
        let all = members.last().is_some_and(|word| word == "history=all");
        if all {
            members.pop();
        }
        let history = if all { History::All } else { History::SinceJoin };
        let id = ConversationId::group(&group);
        let members = users(members);
        self.apply(id, Command::CreateGroup { group, name, owner, members, history })
    }

    fn apply(&mut self, id: ConversationId, command: Command) -> Vec<String> {
        let known = self.known(id, &command);
        let mut this = self.conversations.remove(&id);
        let before = this.clone();
        let applied = apply(&mut this, id, self.at, &command, &known);
        assert_eq!(before != this, !applied.changed.is_empty(), "what changed is named");
        if let Some(this) = this {
            this.assert_lawful();
            self.conversations.insert(id, this);
        }
        self.remember(id, &command, &applied);
        show::applied(&applied)
    }

    fn known(&self, id: ConversationId, command: &Command) -> Known {
        let mut known = Known::default();
        match command {
            Command::Send(message) => {
                let key = (id, message.device, message.message_id.clone());
                known.earlier = self.places.get(&key).copied();
            }
            Command::CreateGroup { group, .. } => {
                known.name_taken = self.users.contains_key(&user(group.as_str()));
            }
            Command::Change(change) => {
                let key = (id, change.device, change.change_id.clone());
                known.change = self.changes.get(&key).copied();
                let key = (id, change.seq);
                let overlay = self.overlays.get(&key).cloned().unwrap_or_default();
                let message = self.messages.get(&key).cloned();
                known.target = message.map(|message| Subject { message, overlay });
            }
            Command::Expire { up_to } => {
                let from = self.conversations.get(&id).map_or(Seq(0), |this| this.head.expired);
                known.expiring = self.subjects(id, from, *up_to);
            }
            _ => {}
        }
        known
    }

    /// The messages after `from`, up to `up_to`, with what lies over them.
    fn subjects(&self, id: ConversationId, from: Seq, up_to: Seq) -> Vec<Subject> {
        let found =
            self.messages.iter().filter(|((of, seq), _)| *of == id && *seq > from && *seq <= up_to);
        let subject = |((id, seq), message): (&(ConversationId, Seq), &Arc<Message>)| Subject {
            message: Arc::clone(message),
            overlay: self.overlays.get(&(*id, *seq)).cloned().unwrap_or_default(),
        };
        found.map(subject).collect()
    }

    fn remember(&mut self, id: ConversationId, command: &Command, applied: &Applied) {
        if let Some(recorded) = &applied.changed.change {
            if let (Some(place), Command::Change(change)) = (recorded.place, command) {
                self.changes.insert((id, change.device, change.change_id.clone()), place);
            }
            let seq = recorded.change.what.seq().unwrap_or_default();
            if let Some(overlay) = &recorded.overlay {
                self.overlays.insert((id, seq), overlay.clone());
            }
            if let Some(erased) = &recorded.erased {
                let before = self.messages.insert((id, seq), Arc::clone(erased));
                let digest = before.expect("only what was said is erased").digest();
                assert_eq!(erased.digest(), digest, "the chain can still be checked");
            }
        }
        for erased in applied.changed.expired.iter().flat_map(|expired| &expired.messages) {
            let before = self.messages.insert((id, erased.seq), Arc::clone(erased));
            let digest = before.expect("only what was said expires").digest();
            assert_eq!(erased.digest(), digest, "the chain can still be checked");
        }
        for seq in applied.changed.expired.iter().flat_map(|expired| &expired.laid) {
            self.overlays.remove(&(id, *seq));
        }
        if let (Some(message), Some(place)) = (&applied.changed.message, applied.changed.place) {
            let key = (id, message.device, message.message_id.clone());
            let Command::Send(send) = command else { panic!("only sends say something") };
            assert_eq!(place.digest, send.body.digest());
            self.messages.insert((id, message.seq), Arc::clone(message));
            self.places.insert(key, place);
        }
    }

    fn user_command(
        &mut self,
        id: &UserId,
        device: DeviceId,
        verb: &str,
        words: &mut Words,
    ) -> Vec<String> {
        let command = match verb {
            "registers" => UserCommand::Create { password_hash: words.word() },
            "opens" => UserCommand::OpenSession {
                device,
                name: words.word(),
                refresh: digest(&words.word()),
                starts: BTreeMap::new(),
            },
            "refreshes" => UserCommand::RefreshSession {
                device,
                old: digest(&words.word()),
                new: digest(&words.word()),
            },
            "ends" => UserCommand::EndSession { device },
            "links" => {
                let peer = user(&words.word());
                let conversation = ConversationId::direct(id, &peer);
                UserCommand::Link { conversation, to: LinkTo::Peer(peer) }
            }
            "unlinks" => {
                let conversation = ConversationId::direct(id, &user(&words.word()));
                UserCommand::Unlink { conversation }
            }
            "configures" => UserCommand::Configure { hide_read: words.word() == "hide_read" },
            "push" => {
                let push = PushId(number(&words.word()));
                UserCommand::Push { push, command: push_command(id, device, words) }
            }
            "seen" => {
                let at = Timestamp(number(&words.word()));
                UserCommand::MarkSeen { at, device: (device.0 > 0).then_some(device) }
            }
            "changes" => {
                words.expect("password");
                let (old, new) = (words.word(), words.word());
                UserCommand::ChangePassword { old, new, keep: device }
            }
            "calls" => {
                words.expect("themself");
                UserCommand::SetProfile { display_name: words.word() }
            }
            "comes" => {
                let name = words.word();
                words.expect("issued");
                let issued_at = Timestamp(number(&words.word()));
                UserCommand::AdmitDevice { device, name, issued_at, starts: BTreeMap::new() }
            }
            other => panic!("no such verb: {other}"),
        };
        let group = GroupId::parse(id.as_str()).expect("one namespace");
        let taken = self.conversations.contains_key(&ConversationId::group(&group));
        let mut this = self.users.remove(id);
        let before = this.clone();
        let applied = apply_user(&mut this, self.at, &command, taken);
        let named = applied.changed != chat::UserChanged::default();
        assert_eq!(before != this, named, "what changed is named");
        self.users.extend(this.map(|this| (id.clone(), this)));
        show::applied_user(&applied)
    }

    /// A conversation by the group's id, or as `alice,bob`; what lies over a message of it as `team#1`.
    fn show(&self, name: &str) -> Vec<String> {
        if let Some((name, seq)) = name.split_once('#') {
            let key = (self.named(name), Seq(number(seq)));
            return show::overlay(self.overlays.get(&key));
        }
        match self.conversations.get(&self.named(name)) {
            Some(conversation) => show::conversation(conversation),
            None => vec!["there is no such conversation".to_owned()],
        }
    }

    fn named(&self, name: &str) -> ConversationId {
        match name.split_once(',') {
            Some((one, other)) => ConversationId::direct(&user(one), &user(other)),
            None => group_id(name),
        }
    }

    /// The group of this name if there is one, else the direct conversation with this user.
    fn find(&self, user: &UserId, name: &str) -> ConversationId {
        let group = group_id(name);
        match self.conversations.contains_key(&group) {
            true => group,
            false => ConversationId::direct(user, &self::user(name)),
        }
    }
}

/// What follows `push <id>`. A device of 0 is none.
fn push_command(id: &UserId, device: DeviceId, words: &mut Words) -> PushCommand {
    match words.word().as_str() {
        "to" => PushCommand::Add {
            device: (device.0 > 0).then_some(device),
            target: chat::Target::Apns { token: words.word() },
        },
        "ends" => PushCommand::Remove,
        "tells" => {
            let after = number(&words.word());
            let pairs = words.until("");
            let item = |pair: &[String]| {
                (ConversationId::direct(id, &user(&pair[0])), Seq(number(&pair[1])))
            };
            PushCommand::Notify { after, items: pairs.chunks_exact(2).map(item).collect() }
        }
        "took" => {
            PushCommand::MarkPushed { after: number(&words.word()), up_to: number(&words.word()) }
        }
        "lost" => {
            PushCommand::GiveUp { number: number(&words.word()), attempts: 3, reason: words.word() }
        }
        "replays" => PushCommand::Replay { from: number(&words.word()) },
        "revives" => PushCommand::Revive { number: number(&words.word()) },
        other => panic!("no such push: {other}"),
    }
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

fn role(word: &str) -> Role {
    match word {
        "owner" => Role::Owner,
        "admin" => Role::Admin,
        _ => Role::Member,
    }
}

fn user(word: &str) -> UserId {
    UserId::parse(word).expect("a legal user id")
}

fn users(words: Vec<String>) -> BTreeSet<UserId> {
    words.iter().map(|word| user(word)).collect()
}

fn group_id(word: &str) -> ConversationId {
    ConversationId::group(&GroupId::parse(word).expect("a legal group id"))
}

fn digest(word: &str) -> Digest {
    Body { text: word.to_owned(), ..Body::default() }.digest()
}
