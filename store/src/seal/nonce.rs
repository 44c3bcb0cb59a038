//! Nonces that never repeat under one key.
//!
//! AES-GCM loses everything when a nonce repeats, so the counting matters. A nonce is 64 random bits
//! drawn when the process starts, then a 32-bit counter. Within a draw the counter cannot repeat; a
//! used-up counter draws again. Two draws under one key collide with probability n²/2^65: after a
//! million starts (or 2^52 sealed values, at one draw for each 2^32) that is below 2^-24.
//! Wholly random 96-bit nonces would allow only 2^32 values for a key at that level, which a busy
//! node seals in two days; a 32-bit process prefix would collide after some 65,000 starts.

use parking_lot::Mutex;

use super::Entropy;

/// The bytes of a nonce, fixed by AES-GCM.
pub(super) const NONCE_BYTES: usize = 12;

/// The bytes of it that are drawn.
const DRAWN_BYTES: usize = 8;

/// Gives out nonces.
pub(super) struct Nonces {
    state: Mutex<State>,
}

struct State {
    drawn: [u8; DRAWN_BYTES],
    /// The next counter value; `None` when the draw is used up.
    next: Option<u32>,
}

impl Nonces {
    /// Draws the first prefix.
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        Self { state: Mutex::new(State::draw(entropy)) }
    }

    /// A nonce that this process has not given out before.
    pub(super) fn next(&self, entropy: &dyn Entropy) -> [u8; NONCE_BYTES] {
        let mut state = self.state.lock();
        let count = match state.next {
            Some(count) => count,
            None => {
                *state = State::draw(entropy);
                0
            }
        };
        state.next = count.checked_add(1);
        let mut nonce = [0; NONCE_BYTES];
        nonce[..DRAWN_BYTES].copy_from_slice(&state.drawn);
        nonce[DRAWN_BYTES..].copy_from_slice(&count.to_be_bytes());
        nonce
    }
}

impl State {
    fn draw(entropy: &dyn Entropy) -> Self {
        let mut drawn = [0; DRAWN_BYTES];
        entropy.fill(&mut drawn);
        Self { drawn, next: Some(0) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::seal::SystemEntropy;

    #[test]
    fn nonces_differ_also_across_a_used_up_counter() {
        let nonces = Nonces::new(&SystemEntropy);
        let mut seen = BTreeSet::new();
        for _ in 0..1000 {
            assert!(seen.insert(nonces.next(&SystemEntropy)));
        }
        nonces.state.lock().next = Some(u32::MAX);
        let before = nonces.next(&SystemEntropy);
        let after = nonces.next(&SystemEntropy);
        assert!(seen.insert(before) && seen.insert(after));
        assert_ne!(before[..DRAWN_BYTES], after[..DRAWN_BYTES], "a used-up counter draws again");
        assert_eq!(after[DRAWN_BYTES..], [0; 4]);
    }
}
