//! Histories as lines of JSON, one operation each, in the shape of Jepsen's own.
//!
//! Hashes are texts of hexadecimal digits, since not every reader of JSON has integers of 64 bits. Unknown fields
//! are passed over; a line that cannot be understood is an error with its number, never skipped.

use super::{Conn, Entry, F, History, InboxLine, Interner, Kind, Level, NEMESIS, Op, Phase};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::io::{BufRead, Write};

mod reading;
mod value;
mod writing;

use value::Value;

/// Why a history could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file itself.
    #[error("the history cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// A line is no operation.
    #[error("line {line} of the history is no operation: {why}")]
    BadLine {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// One line.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(default)]
    index: u64,
    time: u64,
    process: Process,
    #[serde(rename = "type", with = "kind")]
    kind: Kind,
    #[serde(borrow)]
    f: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Option<Value<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    node: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    conn: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    error: Option<Problem<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Problem<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

/// A number, or the fault injector's name.
struct Process(u32);

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == NEMESIS {
            serializer.serialize_str("nemesis")
        } else {
            serializer.serialize_u32(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<De: Deserializer<'de>>(deserializer: De) -> Result<Process, De::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u32),
            #[allow(dead_code, reason = "only that it is a text matters")]
            Name(String),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Number(number) => Process(number),
            Either::Name(_) => Process(NEMESIS),
        })
    }
}

mod kind {
    use super::{Deserialize, Deserializer, Kind, Serializer};
    use serde::de::Error as _;
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match kind {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Info => "info",
        })
    }

    pub(super) fn deserialize<'de, De: Deserializer<'de>>(
        deserializer: De,
    ) -> Result<Kind, De::Error> {
        match Cow::<'de, str>::deserialize(deserializer)?.as_ref() {
            "invoke" => Ok(Kind::Invoke),
            "ok" => Ok(Kind::Ok),
            "fail" => Ok(Kind::Fail),
            "info" => Ok(Kind::Info),
            other => Err(De::Error::custom(format!("no such type as {other:?}"))),
        }
    }
}

/// Writes one operation as a line.
pub fn write_op(out: &mut impl Write, names: &Interner, op: &Op) -> Result<(), HistoryError> {
    let (value, code) = Value::of(names, &op.f);
    let line = Line {
        index: op.index,
        time: op.time,
        process: Process(op.process),
        kind: op.kind,
        f: Cow::Borrowed(value::name_of(&op.f)),
        value: Some(value),
        node: (op.node != 0).then(|| Cow::Owned(format!("n{}", op.node))),
        conn: conn_name(op.conn).map(Cow::Borrowed),
        error: code.map(|code| Problem { code: Cow::Borrowed(names.code_name(code)) }),
    };
    serde_json::to_writer(&mut *out, &line).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

fn read_op(text: &str, names: &mut Interner) -> Result<Op, String> {
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let code = line.error.map(|problem| names.code(&problem.code));
    let f = line.value.unwrap_or_default().into_f(&line.f, names, code)?;
    let node = match line.node.as_deref() {
        None => 0,
        Some(name) => {
            name.trim_start_matches('n').parse().map_err(|_| format!("no such node as {name:?}"))?
        }
    };
    let conn = conn_of(line.conn.as_deref())?;
    Ok(Op {
        index: line.index,
        time: line.time,
        process: line.process.0,
        kind: line.kind,
        node,
        conn,
        f,
    })
}

fn conn_name(conn: Conn) -> Option<&'static str> {
    match conn {
        Conn::Quic => Some("quic"),
        Conn::WebSocket => Some("websocket"),
        Conn::Text => Some("text"),
        Conn::Rest => Some("rest"),
        Conn::None => None,
    }
}

fn conn_of(name: Option<&str>) -> Result<Conn, String> {
    Ok(match name {
        None => Conn::None,
        Some("quic") => Conn::Quic,
        Some("websocket") => Conn::WebSocket,
        Some("text") => Conn::Text,
        Some("rest") => Conn::Rest,
        Some(other) => return Err(format!("no such transport as {other:?}")),
    })
}

impl History {
    /// Reads a history from its lines. Empty lines are passed over.
    pub fn read(mut from: impl BufRead) -> Result<History, HistoryError> {
        let (mut ops, mut names) = (Vec::new(), Interner::default());
        let (mut text, mut line) = (String::new(), 0);
        loop {
            text.clear();
            if from.read_line(&mut text)? == 0 {
                return Ok(History::new(ops, names));
            }
            line += 1;
            if !text.trim().is_empty() {
                ops.push(
                    read_op(&text, &mut names)
                        .map_err(|why| HistoryError::BadLine { line, why })?,
                );
            }
        }
    }

    /// Writes all of it as lines.
    pub fn write(&self, out: &mut impl Write) -> Result<(), HistoryError> {
        self.ops.iter().try_for_each(|op| write_op(out, &self.names, op))
    }
}
