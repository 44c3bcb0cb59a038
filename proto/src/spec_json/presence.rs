//! Who is watched, and how they are: `{"connection_id","watch":{"users":[…]}}` in, `{"connection_id","presence":[…]}` out.

use std::collections::BTreeSet;

use chat::{Timestamp, UserId};
use serde_json::Value;

use super::item::{self, BadJson};
use super::writer::Writer;
use crate::Problem;

/// Reads the list of those who are to be watched. How many may be is not judged here.
pub(super) fn watch(value: Value) -> Result<BTreeSet<UserId>, BadJson> {
    let users = match value {
        Value::Object(mut fields) => fields.remove("users"),
        _ => return Err(BadJson::new("watch", "must be an object")),
    };
    let Some(Value::Array(users)) = users else {
        return Err(BadJson::new("users", "must be a list"));
    };
    let user = |value| match value {
        Value::String(name) => item::parsed("users", UserId::parse(&name)),
        _ => Err(BadJson::new("users", "must be a list of strings")),
    };
    users.into_iter().map(user).collect()
}

/// How a user is, or why that is not told.
#[derive(Debug, Clone, PartialEq)]
pub enum SeenItem {
    /// Online or not, and the last sign of life if there ever was one.
    Seen(bool, Option<Timestamp>),
    /// Why not.
    Refused(Problem),
}

/// `{"connection_id","presence":[{"userId","online","lastSeen"}]}`, with `error` for those who are not told of.
pub fn presence<'a>(
    connection_id: &str,
    items: impl IntoIterator<Item = (&'a UserId, SeenItem)>,
) -> String {
    let mut out = Writer::with_capacity(256);
    out.open(b'{');
    out.name("connection_id");
    out.text(connection_id);
    out.name("presence");
    out.open(b'[');
    for (user, item) in items {
        out.open(b'{');
        out.name("userId");
        out.text(user.as_str());
        match item {
            SeenItem::Seen(online, last_seen) => {
                out.name("online");
                out.boolean(online);
                out.name("lastSeen");
                match last_seen {
                    Some(at) => out.moment(at),
                    None => out.null(),
                }
            }
            SeenItem::Refused(problem) => {
                out.name("error");
                out.json(&problem.to_error_object());
            }
        }
        out.close(b'}');
    }
    out.close(b']');
    out.close(b'}');
    out.finish()
}
