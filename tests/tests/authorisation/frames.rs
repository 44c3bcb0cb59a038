//! `/chat`: every frame a client can say, binary over QUIC and WebSocket, and the specification's JSON, by everybody.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use chat::ConversationId;
use futures::future::join_all;
use prost::Message as _;
use proto::frames::{
    self, ClientFrame, ServerFrame, client_frame, read_history, send, server_frame,
};
use proto::spec_json::{Inbound, Item};
use serde_json::{Value, json};
use tests::{Chat, in_time, items};
use tokio::time::timeout;
use transport::{ClientTls, Encoding, Link};

use super::callers::{Rule, Who};
use super::judge::{Judge, Verdict};
use super::rest::keeps_secrets;
use super::world::{GROUP, GROUP_SECRET, World};

/// What clients can say in binary.
const SCHEMA: &str = include_str!("../../../proto/schema/frames.proto");
/// How long something that must not come is waited for, where nothing after it would prove its absence.
const NOTHING_FOR: Duration = Duration::from_secs(5);

/// The names of a message's alternatives in a schema.
pub(crate) fn oneof(schema: &str, message: &str, name: &str) -> BTreeSet<String> {
    let after = schema.split(&format!("message {message} {{")).nth(1).expect("the message");
    let after = after.split(&format!("oneof {name} {{")).nth(1).expect("the oneof");
    let fields = after.split('}').next().expect("its end");
    let lines = fields.lines().map(|line| line.split("//").next().unwrap_or_default());
    let text: String = lines.collect();
    let fields =
        text.split(';').filter_map(|field| field.split('=').next()?.split_whitespace().nth(1));
    fields.map(str::to_owned).collect()
}

/// A frame, who may say it, and its name: kind first, then in which way.
struct Row {
    kind: &'static str,
    what: String,
    rule: Rule,
    frame: client_frame::Frame,
}

fn row(kind: &'static str, what: impl Into<String>, rule: Rule, frame: client_frame::Frame) -> Row {
    Row { kind, what: what.into(), rule, frame }
}

fn id(conversation: ConversationId) -> Bytes {
    Bytes::copy_from_slice(conversation.as_bytes())
}

/// Every frame but the first; `message` is an id that nobody has used.
fn rows(world: &World, message: &str) -> Vec<Row> {
    use client_frame::Frame;
    let [group, direct] = world.conversations;
    let mut rows = vec![row("ping", "", Rule::Session, Frame::Ping(frames::Ping { tag: 1 }))];
    let none = "no_such_conversation";
    for (to, rule) in [
        (send::To::Receiver("az-owner".to_owned()), Rule::Session),
        (send::To::Receiver("az-nobody".to_owned()), Rule::Nowhere("no_such_user")),
        (send::To::Group(GROUP.to_owned()), Rule::Group),
        (send::To::Group("az-nothing".to_owned()), Rule::Nowhere(none)),
        (send::To::Conversation(id(group)), Rule::Group),
        (send::To::Conversation(id(direct)), Rule::Direct(none)),
    ] {
        let what = format!("to {to:?}");
        let body = Some(frames::MessageBody { text: "hello".to_owned(), ..Default::default() });
        let message_id = format!("{message}-{}", rows.len());
        let send = frames::Send { tag: 1, to: Some(to), order: 0, message_id, body };
        rows.push(row("send", what, rule, Frame::Send(send)));
    }
    for (of, rule) in [(group, Rule::Group), (direct, Rule::Direct(none))] {
        for read in [false, true] {
            let confirm = frames::Confirm { tag: 1, conversation: id(of), seq: 1, read };
            rows.push(row("confirm", format!("{of}"), rule, Frame::Confirm(confirm)));
        }
    }
    rows.extend(changes(group, direct, message));
    rows.extend(histories(group, direct));
    rows
}

fn changes(group: ConversationId, direct: ConversationId, message: &str) -> Vec<Row> {
    use frames::change_message::Wish;
    let none = "no_such_conversation";
    let mut rows = Vec::new();
    let react = || Wish::React("+1".to_owned());
    for (n, (of, rule, wish)) in [
        (group, Rule::Group, react()),
        (direct, Rule::Direct(none), react()),
        (group, Rule::Managers, Wish::Edit(GROUP_SECRET.to_owned())),
    ]
    .into_iter()
    .enumerate()
    {
        let (what, change_id) = (format!("{wish:?} in {of}"), format!("{message}-c{n}"));
        let conversation = id(of);
        let change =
            frames::ChangeMessage { tag: 1, conversation, seq: 1, change_id, wish: Some(wish) };
        let frame = client_frame::Frame::ChangeMessage(change);
        rows.push(row("change_message", what, rule, frame));
    }
    for (of, rule) in [(group, Rule::Group), (direct, Rule::Direct(none))] {
        let confirm = frames::ConfirmChanges { tag: 1, conversation: id(of), change: 0 };
        let frame = client_frame::Frame::ConfirmChanges(confirm);
        rows.push(row("confirm_changes", format!("{of}"), rule, frame));
    }
    rows
}

fn histories(group: ConversationId, direct: ConversationId) -> Vec<Row> {
    let none = "no_such_conversation";
    let mut rows = Vec::new();
    for (of, rule) in [
        (read_history::Of::Peer(GROUP.to_owned()), Rule::Group),
        (read_history::Of::Peer("az-owner".to_owned()), Rule::Session),
        (read_history::Of::Conversation(id(group)), Rule::Group),
        (read_history::Of::Conversation(id(direct)), Rule::Direct(none)),
    ] {
        for consistency in ["LINEARIZABLE", "AT_LEAST", "LOCAL"] {
            for before in [0, 100] {
                let known =
                    frames::Consistency::from_str_name(&format!("CONSISTENCY_{consistency}"));
                let history = frames::ReadHistory {
                    tag: 1,
                    of: Some(of.clone()),
                    after: 0,
                    before,
                    limit: 10,
                    consistency: known.expect("a level").into(),
                    at_least: 0,
                    around: 0,
                };
                let what = format!("{of:?} {consistency} before {before}");
                rows.push(row(
                    "read_history",
                    what,
                    rule,
                    client_frame::Frame::ReadHistory(history),
                ));
            }
        }
    }
    rows
}

/// The schema, the rows and the code must speak of the same frames.
fn nothing_is_missing(world: &World) {
    let mut kinds: BTreeSet<String> =
        rows(world, "x").iter().map(|row| row.kind.to_owned()).collect();
    // Nothing answers it, and nobody who takes no part is passed on: `tests/changes.rs` waits for what follows.
    kinds.insert("typing".to_owned());
    // It is answered user by user: `tests/presence.rs` has who is told of whom.
    kinds.insert("watch_presence".to_owned());
    kinds.insert("hello".to_owned());
    assert_eq!(kinds, oneof(SCHEMA, "ClientFrame", "frame"), "every frame has a row");
    let ways = |names: [&str; 3]| names.map(str::to_owned).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(oneof(SCHEMA, "Send", "to"), ways(["receiver", "group", "conversation"]));
    assert_eq!(oneof(SCHEMA, "ReadHistory", "of").len(), 2);
    assert_eq!(SCHEMA.matches("  CONSISTENCY_").count(), 3, "three levels");
}

/// A link with binary frames.
struct Native {
    link: Link,
    heard: Vec<Bytes>,
}

impl Native {
    async fn dial(world: &World, who: Who, quic: bool) -> Self {
        let tls = ClientTls::from_ca_pem(&world.cluster.ca_pem()).expect("the cluster's authority");
        let address = world.link_address(who);
        let link = match quic {
            true => transport::dial::quic(&tls, address).await,
            false => transport::dial::websocket(&tls, address, Encoding::Binary, None).await,
        };
        Self { link: link.expect("anybody may dial"), heard: Vec::new() }
    }

    async fn say(&mut self, frames: impl IntoIterator<Item = client_frame::Frame>) {
        let bytes = |frame| ClientFrame { frame: Some(frame) }.encode_to_vec().into();
        let mut frames = frames.into_iter().map(bytes).collect();
        // The node may have ended the link already.
        let _ = self.link.writer.send(&mut frames).await;
    }

    /// Says a frame, again while the answer is to say it again, and tells what came of it.
    async fn asked(&mut self, frame: &client_frame::Frame) -> Verdict {
        let asked = async {
            loop {
                self.say([frame.clone()]).await;
                let found = self.verdict().await;
                if !found.is_none_yet() {
                    return found;
                }
            }
        };
        in_time(asked).await
    }

    /// What came of the last thing that was said. Frames that answer nothing are passed over, and kept.
    async fn verdict(&mut self) -> Verdict {
        loop {
            let Ok(Some(bytes)) = in_time(self.link.reader.next()).await else {
                return Verdict::refused("the link ended without a word");
            };
            self.heard.push(bytes.clone());
            let frame = ServerFrame::decode(bytes).expect("the node speaks its own frames").frame;
            let problem = match frame.expect("a kind of frame") {
                server_frame::Frame::Welcome(_) | server_frame::Frame::Pong(_) => None,
                server_frame::Frame::Sent(sent) => match sent.result.expect("a result") {
                    frames::sent::Result::Stored(_) => None,
                    frames::sent::Result::Problem(problem) => Some(problem),
                },
                server_frame::Frame::Confirmed(confirmed) => confirmed.problem,
                server_frame::Frame::HistoryPage(page) => page.problem,
                server_frame::Frame::Changed(changed) => changed.problem,
                server_frame::Frame::ChangesConfirmed(confirmed) => confirmed.problem,
                server_frame::Frame::Presence(presence) => presence.problem,
                server_frame::Frame::Problem(problem) => Some(problem),
                server_frame::Frame::Deliver(_)
                | server_frame::Frame::Status(_)
                | server_frame::Frame::GoAway(_)
                | server_frame::Frame::Changes(_)
                | server_frame::Frame::Typing(_)
                | server_frame::Frame::Resume(_)
                | server_frame::Frame::CaughtUp(_) => continue,
            };
            return problem.map_or(Verdict::Allowed, |problem| Verdict::refused(problem.code));
        }
    }
}

fn hello(world: &World, who: Who) -> Option<client_frame::Frame> {
    let token = world.tokens.get(&who)?.clone();
    Some(client_frame::Frame::Hello(frames::Hello { token, version: 1, resume: None }))
}

pub(crate) async fn judge(world: &mut World, judge: &Judge) {
    nothing_is_missing(world);
    let everybody = || Who::ALL.into_iter();
    let quic = everybody().map(|who| binary(world, judge, who, true));
    join_all(quic).await;
    join_all(everybody().map(|who| binary(world, judge, who, false))).await;
    join_all(everybody().map(|who| text(world, judge, who))).await;
    old_link(world, judge).await;
}

async fn binary(world: &World, judge: &Judge, who: Who, quic: bool) {
    let over = if quic { "QUIC" } else { "WebSocket" };
    let rows = rows(world, &format!("{who:?}-{over}"));
    let heard = match who.unknown() {
        Some(expected) => {
            let mut heard = Vec::new();
            for row in rows {
                // The frame comes right behind the token, so that a node that looks later would be caught.
                let mut link = Native::dial(world, who, quic).await;
                link.say(hello(world, who).into_iter().chain([row.frame])).await;
                let found = link.verdict().await;
                judge.cell(
                    &format!("{} {} over {over}", row.kind, row.what),
                    who,
                    &expected,
                    &found,
                );
                heard.append(&mut link.heard);
            }
            heard
        }
        None => {
            let mut link = Native::dial(world, who, quic).await;
            link.say(hello(world, who)).await;
            let found = link.verdict().await;
            judge.cell(&format!("hello over {over}"), who, &Verdict::Allowed, &found);
            // Who somebody is, is settled once: the owner's token on a link of another makes nobody the owner.
            link.say(hello(world, Who::Owner)).await;
            for row in rows {
                let found = link.asked(&row.frame).await;
                let call = format!("{} {} over {over}", row.kind, row.what);
                judge.cell(&call, who, &row.rule.verdict(who), &found);
            }
            link.heard
        }
    };
    let kept = heard.iter().all(|frame| keeps_secrets(who, frame));
    judge.law(kept, || format!("a link over {over} told {who:?} too much"));
}

/// What JSON can say: a new kind of it does not compile here without a row below.
fn kinds_of_json(inbound: &Inbound) {
    match inbound {
        // Answered like the frames of these names, through the same core.
        Inbound::Token { .. } | Inbound::Changes(_) | Inbound::Typing(_) | Inbound::Watch(_) => {}
        Inbound::Payload { items, .. } => {
            for item in items.iter().flatten() {
                match item {
                    Item::Message(_) | Item::Confirm(_) | Item::ConfirmChanges(..) => {}
                }
            }
        }
    }
}

async fn text(world: &World, judge: &Judge, who: Who) {
    let _: fn(&Inbound) = kinds_of_json;
    for header in [true, false] {
        let token = world.tokens.get(&who).map(String::as_str);
        let what = if header { "a header's token" } else { "a token" };
        let opened = open(world, who, token, header).await;
        let (found, chat) = match opened {
            Ok(chat) => (Verdict::Allowed, Some(chat)),
            Err(code) => (Verdict::refused(code), None),
        };
        let expected = Rule::Session.verdict(who);
        judge.cell(what, who, &expected, &found);
        if let Some(mut chat) = chat {
            sends(judge, &mut chat, who, &format!("{who:?}-{header}")).await;
            confirms(world, judge, &mut chat, who, header).await;
        }
    }
}

/// Opens `/chat` in JSON; the code that the node gives when it does not.
async fn open(world: &World, who: Who, token: Option<&str>, header: bool) -> Result<Chat, String> {
    let visitor = world.stranger.at(world.cluster.plain_address(world.node_of(who)));
    let mut chat = match header {
        true => visitor.chat_claiming(who.user().unwrap_or("az-owner"), token).await,
        false => visitor.chat_claiming(who.user().unwrap_or("az-owner"), None).await,
    };
    match token {
        Some(token) if !header => chat.raw(&json!({ "token": token }).to_string()).await,
        Some(_) => {}
        None => chat.raw("{\"payload\":[]}").await,
    }
    let first = chat.try_next().await.ok_or("the link ended without a word")?;
    match first["error"]["code"].as_str() {
        Some(code) => Err(code.to_owned()),
        None => Ok(chat),
    }
}

async fn sends(judge: &Judge, chat: &mut Chat, who: Who, id: &str) {
    let user = who.user().expect("a session has a user");
    let from = |sender: &str, to: &str, name: &str, n: u8| json!({ "senderId": sender, to: name, "messageId": format!("{id}-{n}"), "messageText": "hello" });
    for (what, rule, item) in [
        ("to a user", Rule::Session, from(user, "receiverId", "az-owner", 1)),
        ("to nobody", Rule::Nowhere("no_such_user"), from(user, "receiverId", "az-nobody", 2)),
        ("to the group", Rule::Group, from(user, "groupId", GROUP, 3)),
        (
            "to no group",
            Rule::Nowhere("no_such_conversation"),
            from(user, "groupId", "az-nothing", 4),
        ),
        (
            "as the owner",
            Rule::OwnersUser("not_allowed"),
            from("az-owner", "receiverId", "az-owner", 5),
        ),
        (
            "as the owner, to the group",
            Rule::OwnersUser("not_allowed"),
            from("az-owner", "groupId", GROUP, 6),
        ),
    ] {
        let found = sent(chat, item).await;
        judge.cell(&format!("a message {what} in JSON"), who, &rule.verdict(who), &found);
    }
}

/// Sends a message, again while the answer is to send it again, and tells what came of it.
async fn sent(chat: &mut Chat, item: Value) -> Verdict {
    let sent = async {
        loop {
            let answer = chat.sent(item.clone()).await;
            let found = match answer["receivedServer"] == json!(true) {
                true => Verdict::Allowed,
                false => refused(&answer),
            };
            if !found.is_none_yet() {
                return found;
            }
        }
    };
    in_time(sent).await
}

async fn confirms(world: &World, judge: &Judge, chat: &mut Chat, who: Who, header: bool) {
    let [group, direct] = world.conversations;
    let none = "no_such_conversation";
    let name = |n: u8| format!("{who:?}-{header}-after-{n}");
    for (n, of, rule, to) in [
        (1, group, Rule::Group, ("groupId", GROUP)),
        (2, direct, Rule::Direct(none), ("receiverId", other(who))),
    ] {
        let confirm = json!({ "conversationId": of.to_string(), "sequence": 1, "read": true });
        let expected = rule.verdict(who);
        let refusal =
            |item: &Value| item["conversationId"] == of.to_string() && item["error"].is_object();
        let found = if expected == Verdict::Allowed {
            // A confirmation is answered only when refused: the answer to what follows it in the same conversation
            // proves that it was not.
            let message = json!({ to.0: to.1, "messageId": name(n), "messageText": "hello" });
            chat.say_all(&[confirm, message]).await;
            let done =
                |item: &Value| item["messageId"] == name(n) && item.get("messageText").is_none();
            let first = chat.until(|item| refusal(item) || done(item)).await;
            if refusal(&first) { refused(&first) } else { Verdict::Allowed }
        } else {
            chat.say(confirm).await;
            match timeout(NOTHING_FOR, chat.until(refusal)).await {
                Ok(item) => refused(&item),
                Err(_) => Verdict::Allowed,
            }
        };
        judge.cell(&format!("a confirmation in {of} in JSON"), who, &expected, &found);
    }
}

/// The one that the owner writes with, and the other way round.
fn other(who: Who) -> &'static str {
    if who == Who::OtherParty { "az-owner" } else { "az-party" }
}

fn refused(item: &Value) -> Verdict {
    Verdict::refused(item["error"]["code"].as_str().unwrap_or("no code"))
}

/// A link that was open when its user was removed is no way around it.
async fn old_link(world: &mut World, judge: &Judge) {
    let mut chat = world.old_link.take().expect("it is used once");
    let expected = Verdict::refused("not_a_member");
    let item = chat.to_group(GROUP, "after all", "let me in");
    let found = sent(&mut chat, item).await;
    judge.cell("a message to the group on an old link", Who::ExMember, &expected, &found);
    let [group, _] = world.conversations;
    chat.say(json!({ "conversationId": group.to_string(), "sequence": 1, "read": true })).await;
    let found = chat.until(|item| item["error"].is_object()).await;
    judge.cell("a confirmation on an old link", Who::ExMember, &expected, &refused(&found));
    // Whatever the others said meanwhile did not come here: the next message is one for them alone.
    let mut hers = world.owner.chat().await;
    let item = hers.to_group(GROUP, "not for all", "not for you");
    assert_eq!(sent(&mut hers, item).await, Verdict::Allowed);
    let item = hers.message("az-ex", "for you", "goodbye");
    assert_eq!(sent(&mut hers, item).await, Verdict::Allowed);
    let next = in_time(async {
        loop {
            let frame = chat.next().await;
            let mut messages =
                items(&frame).into_iter().filter(|item| item.get("messageText").is_some());
            if let Some(first) = messages.find(|item| item["senderId"] == "az-owner") {
                break first;
            }
        }
    });
    let next = next.await;
    judge.law(next["messageId"] == "for you", || format!("an old link heard {next}"));
}
