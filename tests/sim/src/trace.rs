//! The trace of a run: a hash of everything that happened, and on demand a line for each.

/// See the module.
pub(crate) struct Trace {
    hash: u64,
    told: bool,
    pub(crate) events: u64,
}

const PRIME: u64 = 0x0100_0000_01b3;

impl Trace {
    /// An empty trace; `told`: each event is printed.
    pub(crate) fn new(told: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, told, events: 0 }
    }

    /// Takes note of an event.
    pub(crate) fn note(&mut self, now: u64, what: &str, from: u64, to: u64, bytes: &[u8]) {
        let body = hash(bytes);
        for part in [now, hash(what.as_bytes()), from, to, body] {
            self.mix(part);
        }
        self.events += 1;
        if self.told {
            println!(
                "{:>10.3} {what:<12} {from:>3} -> {to:<3} {:>6} bytes {body:016x}",
                now as f64 / 1000.0,
                bytes.len()
            );
        }
    }

    /// Takes note of a sentence.
    pub(crate) fn say(&mut self, now: u64, sentence: &str) {
        self.mix(now);
        self.mix(hash(sentence.as_bytes()));
        if self.told {
            println!("{:>10.3} {sentence}", now as f64 / 1000.0);
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    fn mix(&mut self, part: u64) {
        self.hash = (self.hash ^ part).wrapping_mul(PRIME).rotate_left(23);
    }
}

/// Eight bytes at a time: a run hashes some ten megabytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(PRIME).rotate_left(29);
    }
    hash
}
