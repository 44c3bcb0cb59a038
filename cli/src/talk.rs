//! `register`, `login`, `send`, `history`, `tail`: the terminal client, one command at a time.

use std::{io::Read as _, path::Path, time::Duration};

use chat::{ConversationId, GroupId, Seq, UserId};
use client::{
    AskError, CallError, Client, Consistency, HistoryQuery, Inbox, Incoming, Outgoing, SendError,
    To,
};
use proto::frames::{self, Message};
use serde_json::{Value, json};

use crate::{
    args::{Cluster, History, Login, Register, Search, Send, Tail},
    context::Target,
    exit::{Exit, Failure, Outcome, exit_of_status},
};

/// A person waits; a script may retry.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// The largest page of history.
const PAGE: u32 = 100;
/// A password is a line, not a file of any size.
const PASSWORD_BYTES_MAX: u64 = 4096;
/// A text is bounded by the conversation; what is read from stdin by a little more than that.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// `synod register`.
pub(crate) async fn register(args: Register) -> Outcome {
    let target = Target::of(&args.cluster)?;
    let user = user(&args.user)?;
    let password = password(args.password_file.as_deref())?;
    client::register(&target.config, &user, &password).await.map_err(|e| call(&e))?;
    say!("{user}");
    Ok(Exit::Ok)
}

/// `synod login`.
pub(crate) async fn login(args: Login) -> Outcome {
    let target = Target::of(&args.cluster)?;
    let user = user(&args.user)?;
    let password = password(args.password_file.as_deref())?;
    let session = client::login(&target.config, &user, &password, &args.device).await;
    let session = session.map_err(|e| call(&e))?;
    let file = target.keep(&session)?;
    say!("{user} on device {}, kept in {}", session.device, file.display());
    Ok(Exit::Ok)
}

/// `synod send`.
pub(crate) async fn send(args: Send) -> Outcome {
    let to = match (&args.group, &args.to) {
        (Some(name), _) => To::Group(group(name)?),
        (None, Some(name)) => To::User(user(name)?),
        (None, None) => return Err(Failure::usage("to whom?")),
    };
    let text = match args.text.or(args.long_text) {
        Some(text) => text,
        None => read_stdin(TEXT_BYTES_MAX)?.trim_end_matches('\n').to_owned(),
    };
    let (client, _inbox, target) = connect(&args.cluster, false)?;
    let answer = client.send_message(Outgoing::text(to, text)).await;
    finish(&client, &target).await;
    let receipt = answer.map_err(|e| send_failure(&e))?;
    let canonical = format!("{}-{}", receipt.conversation, receipt.seq.0);
    if args.json {
        let told = json!({
            "schema": "synod/sent/v1",
            "conversationId": receipt.conversation.to_string(),
            "sequence": receipt.seq.0,
            "canonicalId": canonical,
            "messageId": receipt.message_id.as_str(),
            "at_ms": receipt.at.0,
        });
        say!("{told}");
    } else {
        say!("{canonical}");
    }
    Ok(Exit::Ok)
}

/// `synod history`.
pub(crate) async fn history(args: History) -> Outcome {
    let (client, _inbox, target) = connect(&args.cluster, false)?;
    let read = newest(&client, &args).await;
    finish(&client, &target).await;
    read?.iter().for_each(|message| print(message, args.json));
    Ok(Exit::Ok)
}

/// The newest messages, ascending.
async fn newest(client: &Client, args: &History) -> Result<Vec<Message>, Failure> {
    let of = conversation(&args.of)?;
    let consistency = if args.local { Consistency::Local } else { Consistency::Linearizable };
    let mut messages: Vec<Message> = Vec::new();
    let mut before = None;
    while messages.len() < args.limit as usize {
        let left = args.limit - u32::try_from(messages.len()).expect("fewer than the limit");
        // Below the highest possible sequence lies everything.
        let below = before.unwrap_or(Seq(u64::MAX));
        let query = HistoryQuery {
            of: of.clone(),
            after: Seq(0),
            before: Some(below),
            limit: left.min(PAGE),
            consistency,
        };
        let page = client.history(query).await.map_err(|e| ask_failure(&e))?;
        let Some(first) = page.messages.first() else { break };
        before = Some(Seq(first.seq));
        messages.splice(0..0, page.messages);
    }
    Ok(messages)
}

/// `synod search`.
pub(crate) async fn search(args: Search) -> Outcome {
    let of = match (&args.group, &args.with) {
        (Some(name), _) => Some(To::Group(group(name)?)),
        (None, Some(name)) => Some(To::User(user(name)?)),
        (None, None) => None,
    };
    let (client, _inbox, target) = connect(&args.cluster, false)?;
    let answer = client.search(&args.words.join(" "), of, args.limit).await;
    finish(&client, &target).await;
    let answer = answer.map_err(|e| call(&e))?;
    if args.json {
        let mut told = answer;
        told["schema"] = "synod/search/v1".into();
        say!("{told}");
        return Ok(Exit::Ok);
    }
    if answer["indexedThrough"].is_null() {
        eprintln!("synod: that node has not looked at everything yet");
    }
    let pages = answer["messages"].as_array().into_iter().flatten();
    let found = pages.flat_map(|page| page["payload"].as_array().into_iter().flatten());
    for message in found {
        let text = |field: &str| crate::demo::harmless(message[field].as_str().unwrap_or_default());
        let place = if message["groupId"].is_string() { "groupId" } else { "receiverId" };
        let (at, sender) = (text("serverTimestamp"), text("senderId"));
        say!("{at}  {sender} → {}  {}", text(place), text("messageText"));
    }
    Ok(Exit::Ok)
}

/// `synod tail`.
pub(crate) async fn tail(args: Tail) -> Outcome {
    let (client, mut inbox, target) = connect(&args.cluster, true)?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let ended = loop {
        if left == 0 {
            break Ok(Exit::Ok);
        }
        let incoming = tokio::select! {
            incoming = inbox.next() => incoming,
            // Whoever watches ends by Ctrl-C: that is no failure.
            _ = tokio::signal::ctrl_c() => break Ok(Exit::Ok),
        };
        match incoming {
            Some(Incoming::Message(message)) => {
                print(&message, args.json);
                left -= 1;
            }
            Some(Incoming::SessionEnded { reason }) => {
                break Err(Failure::new(
                    Exit::NotAllowed,
                    format!("the session has ended: {reason}"),
                ));
            }
            Some(Incoming::LinkDown { reason }) => eprintln!("synod: {reason}; looking for a node"),
            Some(Incoming::Change(change)) => {
                if let Some(line) = changed(&change, args.json) {
                    say!("{line}");
                }
            }
            Some(
                Incoming::LinkUp { .. }
                | Incoming::CaughtUp
                | Incoming::Status { .. }
                | Incoming::Presence { .. }
                | Incoming::NotWatching { .. }
                | Incoming::Rewritten { .. }
                | Incoming::StoreFailed { .. },
            ) => {}
            None => break Ok(Exit::Ok),
        }
    };
    finish(&client, &target).await;
    ended
}

fn connect(cluster: &Cluster, confirm: bool) -> Result<(Client, Inbox, Target), Failure> {
    let target = Target::of(cluster)?;
    let session = target.session()?;
    let mut config = target.config.clone();
    config.send_patience = SEND_PATIENCE;
    config.confirm_delivered = confirm;
    let (client, inbox) = Client::connect(config, session).map_err(|e| call(&e))?;
    Ok((client, inbox, target))
}

/// Ends the client, and keeps its tokens: they may have changed.
async fn finish(client: &Client, target: &Target) {
    client.stop().await;
    if let Err(failure) = target.keep(&client.credentials()) {
        eprintln!("synod: the session was not kept: {failure}");
    }
}

fn print(message: &Message, json: bool) {
    let conversation = ConversationId::from_bytes(&message.conversation);
    let conversation = conversation.map(|id| id.to_string()).unwrap_or_default();
    let body = message.body.clone().unwrap_or_default();
    if json {
        say!("{}", entity(message, &conversation, &body));
        return;
    }
    let place = match (message.group.as_str(), message.receiver.as_str()) {
        ("", receiver) => receiver,
        (group, _) => group,
    };
    let at = clock(message.at_ms);
    let text = crate::demo::harmless(&body.text);
    say!("{at}  {} → {place}  {text}", message.sender);
}

/// A change, as one line; nothing of a kind that a later version made up.
fn changed(change: &frames::Change, json: bool) -> Option<String> {
    let conversation = ConversationId::from_bytes(&change.conversation);
    let conversation = conversation.map(|id| id.to_string()).unwrap_or_default();
    let (kind, seq, text) = what(change)?;
    if !json {
        let (at, by) = (clock(change.at_ms), &change.by);
        let of = seq.map_or(conversation.clone(), |seq| format!("{conversation}-{seq}"));
        let text = text.map(|text| format!(": {}", crate::demo::harmless(&text)));
        return Some(format!("{at}  {by} {kind} {of}{}", text.unwrap_or_default()));
    }
    let mut told = json!({
        "conversationId": conversation,
        "change": change.number,
        "kind": kind,
        "by": change.by,
        "at_ms": change.at_ms,
    });
    if let Some(seq) = seq {
        told["canonicalId"] = format!("{conversation}-{seq}").into();
    }
    if let Some(text) = text {
        told["text"] = text.into();
    }
    Some(told.to_string())
}

/// What a change did, to which message, and what it says now. Nothing of a kind that a later version made up.
fn what(change: &frames::Change) -> Option<(&'static str, Option<u64>, Option<String>)> {
    use frames::what::What;
    Some(match change.what.as_ref()?.what.as_ref()? {
        What::Edited(edited) => ("edited", Some(edited.seq), edited.text.clone()),
        What::Deleted(seq) => ("deleted", Some(*seq), None),
        What::Reacted(reacted) => ("reacted", Some(reacted.seq), Some(reacted.reaction.clone())),
        What::Renamed(name) => ("renamed", None, Some(name.clone())),
        What::RoleSet(set) => ("role", None, Some(set.member.clone())),
        What::Added(added) => ("added", None, Some(added.members.join(", "))),
        What::Removed(removed) => ("removed", None, Some(removed.member.clone())),
        What::RetentionSet(set) => ("retention", None, Some(format!("{} s", set.seconds))),
    })
}

/// A message in the specification's own words.
fn entity(message: &Message, conversation: &str, body: &frames::MessageBody) -> Value {
    let mut told = json!({
        "senderId": message.sender,
        "messageId": message.message_id,
        "messageText": body.text,
        "timestamp": body.client_timestamp,
        "conversationId": conversation,
        "sequence": message.seq,
        "canonicalId": format!("{conversation}-{}", message.seq),
        "orderNumber": message.order,
        "at_ms": message.at_ms,
    });
    if message.group.is_empty() {
        told["receiverId"] = message.receiver.clone().into();
    } else {
        told["groupId"] = message.group.clone().into();
    }
    if body.attachment {
        told["attachment"] = true.into();
        told["attachmentURI"] = body.attachment_uris.clone().into();
    }
    told
}

/// Hours, minutes and seconds of the cluster's clock, in UTC.
fn clock(at_ms: u64) -> String {
    let seconds = at_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn user(name: &str) -> Result<UserId, Failure> {
    UserId::parse(name).map_err(|e| Failure::usage(format!("`{name}`: {e}")))
}

fn group(name: &str) -> Result<GroupId, Failure> {
    GroupId::parse(name).map_err(|e| Failure::usage(format!("`{name}`: {e}")))
}

/// Users and groups share one namespace, so a name is enough; 32 hex digits are a conversation.
fn conversation(name: &str) -> Result<To, Failure> {
    match name.parse::<ConversationId>() {
        Ok(id) => Ok(To::Conversation(id)),
        Err(_) => user(name).map(To::User),
    }
}

fn password(file: Option<&Path>) -> Result<String, Failure> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|e| Failure::new(Exit::NotFound, format!("{}: {e}", path.display())))?,
        None => {
            let mut line = String::new();
            let read = std::io::BufRead::read_line(
                &mut std::io::BufReader::new(std::io::stdin().take(PASSWORD_BYTES_MAX)),
                &mut line,
            );
            read.map_err(|e| Failure::usage(format!("the password cannot be read: {e}")))?;
            line
        }
    };
    let password = text.lines().next().unwrap_or_default().to_owned();
    if password.is_empty() {
        return Err(Failure::usage("the password is empty"));
    }
    Ok(password)
}

fn read_stdin(bytes_max: u64) -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(bytes_max).read_to_string(&mut text);
    read.map_err(|e| Failure::usage(format!("stdin cannot be read: {e}")))?;
    Ok(text)
}

pub(crate) fn call(error: &CallError) -> Failure {
    let exit = match error {
        CallError::Refused { status, .. } => exit_of_status(*status),
        CallError::Unavailable(_) | CallError::Unknown(_) => Exit::Unavailable,
        CallError::BadAnswer(_) => Exit::Internal,
        CallError::BadConfig(_) => Exit::Usage,
    };
    Failure::new(exit, error)
}

fn send_failure(error: &SendError) -> Failure {
    let exit = match error {
        SendError::Refused(problem) => exit_of_code(&problem.code),
        SendError::Unavailable(_)
        | SendError::Unreachable
        | SendError::Unknown
        | SendError::Pending => Exit::Unavailable,
        SendError::OutboxFull => Exit::Rejected,
        // A client that stops by itself lost its session.
        SendError::Stopped => Exit::NotAllowed,
    };
    Failure::new(exit, error)
}

fn ask_failure(error: &AskError) -> Failure {
    let exit = match error {
        AskError::Refused(problem) => exit_of_code(&problem.code),
        AskError::Unanswered => Exit::Unavailable,
        AskError::Busy => Exit::Rejected,
        AskError::Stopped => Exit::NotAllowed,
    };
    Failure::new(exit, error)
}

/// The exit code for a wire code.
fn exit_of_code(code: &str) -> Exit {
    match proto::ProblemCode::from_code(code) {
        Some(code) => exit_of_status(code.status()),
        None => Exit::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_user_or_group_and_hex_is_a_conversation() {
        assert!(matches!(conversation("alice"), Ok(To::User(_))));
        let id = ConversationId::group(&GroupId::parse("g").expect("legal"));
        assert!(
            matches!(conversation(&id.to_string()), Ok(To::Conversation(found)) if found == id)
        );
        assert!(conversation("").is_err());
    }

    #[test]
    fn a_change_is_told_in_one_line_and_hides_nothing_in_it() {
        let id = ConversationId::group(&GroupId::parse("g").expect("legal"));
        let of = |what| frames::Change {
            conversation: bytes::Bytes::copy_from_slice(id.as_bytes()),
            number: 7,
            by: "alice".to_owned(),
            at_ms: 1_000,
            what: Some(frames::What { what }),
            ..Default::default()
        };
        let text = Some("red\u{1b}[2J fox".to_owned());
        let edited = of(Some(frames::what::What::Edited(frames::Edited { seq: 3, text })));
        let line = changed(&edited, false).expect("a kind that is known");
        assert!(line.starts_with(&format!("00:00:01  alice edited {id}-3: red")), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
        let told: Value =
            serde_json::from_str(&changed(&edited, true).expect("known")).expect("JSON");
        assert_eq!((&told["kind"], &told["change"]), (&json!("edited"), &json!(7)));
        assert_eq!(told["canonicalId"], json!(format!("{id}-3")));
        let deleted = of(Some(frames::what::What::Deleted(3)));
        assert_eq!(changed(&deleted, false), Some(format!("00:00:01  alice deleted {id}-3")));
        assert_eq!(changed(&of(None), true), None, "of a later version");
    }

    #[test]
    fn the_clock_is_of_the_day() {
        assert_eq!(clock(86_400_000 + 3_723_999), "01:02:03");
    }
}
