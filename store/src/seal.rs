//! Sealing: what rests on this node's disks is unreadable without the node's key.
//!
//! Values of rows and records of the journal are sealed by AES-256-GCM under a data key; data keys
//! rest in a key ring file, each wrapped by the node key, which is 32 bytes in a file or a
//! credential that the operator keeps elsewhere. The newest data key seals, every key of the ring
//! opens, so a rotation needs no downtime: rows are sealed anew when they are next written.
//!
//! The name of a thing (a row's key, a record's group, index and term) is authenticated with it, so
//! swapped or moved values are refused. Not hidden: keys of rows, sizes, and that a row changed. Not
//! detected here: a whole folder put back to an older state; the log above notices that.

mod content_key;
mod key_ring;
mod node_key;
mod nonce;
mod sealed_tables;
mod sealer;

pub use self::content_key::{ContentKey, PieceName, SEALED_PIECE_BYTES_MORE};
pub(crate) use self::key_ring::sync_parent;
pub use self::node_key::NodeKey;
pub use self::sealed_tables::Sealed;
pub use self::sealer::{KeyId, SEALED_BYTES_MORE, SealError, Sealer};

/// Where random bytes come from: a port, so that a simulated node is a function of its seed.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with bytes that nobody can predict (the simulation: that only the seed tells).
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        use ring::rand::SecureRandom;
        ring::rand::SystemRandom::new()
            .fill(bytes)
            .expect("the kernel's generator does not fail once the machine has started");
    }
}
