//! Doors for those who throw bytes at what no other room may call. For tests alone; nothing is decided here.

use std::sync::Arc;

use bytes::Bytes;
use chat::Timestamp;
use store::MemoryTables;
use transport::Encoding;

use crate::clock::ManualClock;
use crate::gateway::tokens::{KeySet, RefreshToken, TokenSeed, Tokens};
use crate::session;
use crate::shard::Reader;

/// A frame on a link that is open.
pub fn hear(frame: &[u8], text: bool) {
    let encoding = if text { Encoding::Text } else { Encoding::Binary };
    let replica = Arc::new(Reader::new(Arc::new(MemoryTables::new())));
    session::hear(encoding, Arc::new(ManualClock::at(7)), replica, Bytes::copy_from_slice(frame));
}

/// What is shown as an access token or a refresh token. None is made with this key, so none is good.
pub fn token(shown: &str) {
    let seed = TokenSeed { id: "7".to_owned(), seed: [7; 32], retired: false };
    let tokens = Tokens::new(Arc::new(Arc::new(KeySet::new(&[seed]))));
    assert!(tokens.verify(Timestamp(1), shown).is_err(), "nobody guesses a signature");
    if let Some(read) = RefreshToken::parse(shown) {
        assert!(!tokens.is_genuine(&read, shown), "nobody guesses a mark");
        assert!(RefreshToken::parse(&tokens.reveal(&read)) == Some(read), "it is what it was");
    }
}
