//! A client's wish to change a message, checked.

use chat::{ConversationId, MessageId, Seq, Wish};

use crate::{DecodeError, frames, read};

/// A [`frames::ChangeMessage`], checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRequest {
    /// The client's mark for the answer.
    pub tag: u64,
    /// Where the message is.
    pub conversation: ConversationId,
    /// Which it is.
    pub seq: Seq,
    /// The client's own id of the change.
    pub change_id: MessageId,
    /// What is wished.
    pub wish: Wish,
}

impl TryFrom<frames::ChangeMessage> for ChangeRequest {
    type Error = DecodeError;

    fn try_from(change: frames::ChangeMessage) -> Result<ChangeRequest, DecodeError> {
        use frames::change_message::Wish as Wire;
        Ok(ChangeRequest {
            tag: change.tag,
            conversation: read::conversation("conversation", &change.conversation)?,
            seq: Seq(change.seq),
            change_id: read::message_id("change_id", &change.change_id)?,
            wish: match change.wish.ok_or_else(|| DecodeError::missing("wish"))? {
                Wire::Edit(text) => Wish::Edit(text),
                Wire::Delete(_) => Wish::Delete,
                Wire::React(reaction) => Wish::React(reaction),
            },
        })
    }
}
