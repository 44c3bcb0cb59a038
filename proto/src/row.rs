//! The values of the tables' rows, to bytes and back. Their keys are in [`crate::keys`]; what a key says already is not said
//! again in its value. Strict: a row that does not decode is corruption, and whoever reads it treats it so.

mod asset;
mod change;
mod conversation;
mod group;
mod message;
mod push;
mod user;

pub use asset::{
    Upload, decode_asset, decode_kept, decode_storage, decode_upload, encode_asset, encode_kept,
    encode_storage, encode_upload,
};
pub use change::{
    decode_change, decode_earlier_change, decode_overlay, encode_change, encode_earlier_change,
    encode_overlay,
};
pub use conversation::{
    decode_cursor, decode_head, decode_member, decode_producer, decode_retained, encode_cursor,
    encode_head, encode_member, encode_producer, encode_retained,
};
pub use group::{decode_applied, decode_owed, encode_applied, encode_owed, slots_of};
pub use message::{decode_earlier, decode_message, encode_earlier, encode_message};
pub use push::{
    decode_dead_letter, decode_notice, decode_push_mark, decode_registered, decode_registration,
    encode_dead_letter, encode_notice, encode_push_mark, encode_registered, encode_registration,
};
pub(crate) use push::{push_target, read_push_target};
pub use user::{
    Account, decode_account, decode_device, decode_link, decode_settings, encode_account,
    encode_device, encode_link, encode_settings,
};

#[cfg(test)]
mod tests;
