//! One text frame of a client.

use serde_json::Value;

use super::PAYLOAD_ITEMS_MAX;
use super::item::{self, BadItem, BadJson, Item};

/// What a client said in one text frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// `{"token":"…"}`: who speaks, where headers cannot say it.
    Token(String),
    /// `{"connection_id":"…","payload":[…]}`.
    Payload {
        /// As the client wrote it; the session says whether it must match.
        connection_id: Option<String>,
        /// In the order of the payload. A bad item stands where it stood.
        items: Vec<Result<Item, Box<BadItem>>>,
    },
}

/// Reads one text frame.
///
/// # Errors
/// [`BadJson`] when the frame as a whole is not one of the two forms. Bad items are told one by one.
pub fn parse(text: &str) -> Result<Inbound, BadJson> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| BadJson::new("", error.to_string()))?;
    let Value::Object(mut fields) = value else {
        return Err(BadJson::new("", "must be an object"));
    };
    if let Some(token) = item::text(&mut fields, "token")? {
        return Ok(Inbound::Token(token));
    }
    let connection_id = item::text(&mut fields, "connection_id")?;
    match fields.remove("payload") {
        None => Err(BadJson::new("payload", "missing")),
        Some(Value::Array(items)) if items.len() > PAYLOAD_ITEMS_MAX => {
            Err(BadJson::new("payload", format!("at most {PAYLOAD_ITEMS_MAX} items")))
        }
        Some(Value::Array(items)) => {
            let items = items.into_iter().enumerate();
            let items = items.map(|(index, value)| item::read(index, value)).collect();
            Ok(Inbound::Payload { connection_id, items })
        }
        Some(_) => Err(BadJson::new("payload", "must be a list")),
    }
}
