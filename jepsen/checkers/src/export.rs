//! Histories for other people's judges: Jepsen's EDN, Elle's list-append, Jepsen's kafka checker, Porcupine.
//!
//! The last three speak of messages, not of tries: a message that was tried ten times is one operation that began with
//! the first try and ended with the first acknowledgement. Each message is a number of its own. Judges nothing.

use crate::history::{C, F, History, HistoryError, Kind, Level, Op, write_op};
use crate::ledger::Attempts;
use serde_json::Value;
use std::io::Write;

/// Every operation as Jepsen's own tools read them.
///
/// # Errors
/// When `out` cannot be written.
pub fn edn(history: &History, out: &mut impl Write) -> Result<(), HistoryError> {
    let mut line = Vec::new();
    for op in &history.ops {
        line.clear();
        write_op(&mut line, &history.names, op)?;
        let value: Value = serde_json::from_slice(&line).map_err(std::io::Error::from)?;
        writeln!(out, "{}", to_edn(&value, ""))?;
    }
    Ok(())
}

/// Fields whose texts are keywords.
const KEYWORDS: [&str; 2] = ["type", "f"];

fn to_edn(value: &Value, field: &str) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text)
            if KEYWORDS.contains(&field) || (field == "process" && text == "nemesis") =>
        {
            format!(":{text}")
        }
        Value::String(text) => Value::String(text.clone()).to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| to_edn(item, "")).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!(":{} {}", name.replace('_', "-"), to_edn(value, name)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

/// One message or one read, from its beginning to its end.
struct Deed<'h> {
    c: C,
    begun: u64,
    ended: Option<u64>,
    kind: Kind,
    /// The number of the message; `None` for a read.
    message: Option<u32>,
    seq: u64,
    /// What a read saw, as numbers of messages.
    saw: Vec<i64>,
    op: &'h Op,
}

/// All messages, and all strong reads that saw a whole conversation.
fn deeds<'h>(history: &'h History, attempts: &Attempts) -> Vec<Deed<'h>> {
    let mut deeds: Vec<Deed<'h>> =
        attempts.all().filter_map(|(at, _)| message(history, attempts, at)).collect();
    for op in &history.ops {
        let F::Read { c, level: Level::Linearizable, after: 0, entries, head, .. } = &op.f else {
            continue;
        };
        if op.kind == Kind::Ok && *head == Some(entries.len() as u64) {
            let number = |entry| attempts.behind(*c, entry).map_or(-1, |(at, _)| i64::from(at));
            deeds.push(Deed {
                c: *c,
                begun: history.invoked_at(op),
                ended: Some(op.time),
                kind: Kind::Ok,
                message: None,
                seq: 0,
                saw: entries.iter().map(number).collect(),
                op,
            });
        }
    }
    deeds
}

fn message<'h>(history: &'h History, attempts: &Attempts, at: u32) -> Option<Deed<'h>> {
    let attempt = attempts.get(at);
    let op = &history.ops[attempt.op as usize];
    let F::Send { c, .. } = op.f else { return None };
    let (seq, by) = attempt.acked;
    let (kind, ended) = match (seq, attempt.open) {
        (0, 0) => (Kind::Fail, Some(history.mate(op).map_or(op.time, |end| end.time))),
        (0, _) => (Kind::Info, None),
        _ => (Kind::Ok, Some(history.ops[by as usize].time)),
    };
    Some(Deed { c, begun: op.time, ended, kind, message: Some(at), seq, saw: Vec::new(), op })
}

/// A moment of a deed: its time, whether it begins there, and which one.
fn moments(deeds: &[Deed<'_>]) -> Vec<(u64, bool, usize)> {
    let last = deeds.iter().map(|deed| deed.ended.unwrap_or(deed.begun)).max().unwrap_or(0);
    let both = |(at, deed): (usize, &Deed<'_>)| {
        [(deed.begun, true, at), (deed.ended.unwrap_or(last + 1).max(deed.begun), false, at)]
    };
    let mut moments: Vec<_> = deeds.iter().enumerate().flat_map(both).collect();
    // Beginnings before ends of the same moment: concurrent, as the checks here take them.
    moments.sort_by_key(|(time, begins, at)| (*time, !begins, *at));
    moments
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Invoke => ":invoke",
        Kind::Ok => ":ok",
        Kind::Fail => ":fail",
        Kind::Info => ":info",
    }
}

fn numbers(saw: &[i64]) -> String {
    saw.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")
}

/// Messages as appends and whole strong reads as reads, for Elle's list-append.
///
/// # Errors
/// When `out` cannot be written.
pub fn append(history: &History, out: &mut impl Write) -> Result<(), HistoryError> {
    let deeds = deeds(history, &Attempts::of(history));
    for (index, (time, begins, at)) in moments(&deeds).into_iter().enumerate() {
        let deed = &deeds[at];
        let kind = if begins { Kind::Invoke } else { deed.kind };
        let c = history.names.conversation_name(deed.c);
        let value = match deed.message {
            Some(message) => format!("[[:append {c:?} {message}]]"),
            None if begins => format!("[[:r {c:?} nil]]"),
            None => format!("[[:r {c:?} [{}]]]", numbers(&deed.saw)),
        };
        let kind = word(kind);
        writeln!(
            out,
            "{{:index {index}, :time {time}, :process {at}, :type {kind}, :f :txn, :value {value}}}"
        )?;
    }
    Ok(())
}

/// Messages as sends and deliveries as polls, for Jepsen's kafka checker: a conversation is a key, a sequence an offset.
///
/// # Errors
/// When `out` cannot be written.
pub fn kafka(history: &History, out: &mut impl Write) -> Result<(), HistoryError> {
    let attempts = Attempts::of(history);
    let deeds: Vec<Deed<'_>> =
        deeds(history, &attempts).into_iter().filter(|deed| deed.message.is_some()).collect();
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (time, begins, at) in moments(&deeds) {
        let deed = &deeds[at];
        let c = history.names.conversation_name(deed.c);
        let message = deed.message.unwrap_or(0);
        let (kind, value) = match (begins, deed.seq) {
            (true, _) => (Kind::Invoke, format!("[[:send {c:?} {message}]]")),
            (false, 0) => (deed.kind, format!("[[:send {c:?} {message}]]")),
            (false, seq) => (deed.kind, format!("[[:send {c:?} [{seq} {message}]]]")),
        };
        lines
            .push((time, format!(":process {at}, :type {}, :f :send, :value {value}", word(kind))));
    }
    for op in &history.ops {
        lines.extend(poll(history, &attempts, op).into_iter().map(|line| (op.time, line)));
    }
    lines.sort_by_key(|(time, _)| *time);
    for (index, (time, line)) in lines.into_iter().enumerate() {
        writeln!(out, "{{:index {index}, :time {time}, {line}}}")?;
    }
    Ok(())
}

/// Processes of polls begin here, so that they are none of the sends'.
const POLLS: u64 = 1 << 32;

fn poll(history: &History, attempts: &Attempts, op: &Op) -> Vec<String> {
    let F::Deliver { c, d, seq, from, k, h, .. } = op.f else { return Vec::new() };
    let entry = crate::history::Entry { seq, from, k, h, chain: 0, at: 0 };
    let message = attempts.behind(c, &entry).map_or(-1, |(at, _)| i64::from(at));
    let process = POLLS + u64::from(d.0);
    let c = history.names.conversation_name(c);
    vec![
        format!(":process {process}, :type :invoke, :f :poll, :value [[:poll]]"),
        format!(
            ":process {process}, :type :ok, :f :poll, :value [[:poll {{{c:?} [[{seq} {message}]]}}]]"
        ),
    ]
}

/// Calls and returns of each conversation as lines of JSON, for a program around Porcupine whose model is a log: an
/// append returns its place (0: unknown), a read returns all messages.
///
/// # Errors
/// When `out` cannot be written.
pub fn porcupine(history: &History, out: &mut impl Write) -> Result<(), HistoryError> {
    let deeds = deeds(history, &Attempts::of(history));
    for (time, begins, at) in moments(&deeds) {
        let deed = &deeds[at];
        if deed.kind == Kind::Fail {
            continue;
        }
        let line = serde_json::json!({
            "id": at,
            "time": time,
            "kind": if begins { "call" } else { "return" },
            "key": history.names.conversation_name(deed.c),
            "op": if deed.message.is_some() { "append" } else { "read" },
            "message": deed.message,
            "seq": if begins { 0 } else { deed.seq },
            "saw": if begins { Vec::new() } else { deed.saw.clone() },
            "first": deed.op.index,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}
