//! Adapter for randomness: message ids that nobody guesses and pauses that do not coincide. Nothing else draws any.

/// 64 random bits.
#[expect(clippy::disallowed_methods, reason = "this is the adapter for entropy")]
pub(crate) fn draw() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system gives random bytes, or nothing here is safe");
    u64::from_le_bytes(bytes)
}

/// A message id of 128 random bits, 32 lowercase hexadecimal digits.
pub(crate) fn message_id() -> chat::MessageId {
    let text = format!("{:016x}{:016x}", draw(), draw());
    chat::MessageId::parse(&text).expect("hexadecimal digits are legal")
}
