//! The numbers of a conversation. Each is a type of its own, so that a sequence cannot be taken for
//! an order; none of them converts to the replicated log's index.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one. Numbers here count things that were stored, so the end of
            /// `u64` is out of reach; should it be reached, the process must not wrap around.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a count of stored things stays below 2^64"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

number! {
    /// A message's place in its conversation: 1, 2, 3 … without a gap. 0 is the place before all.
    Seq
}
number! {
    /// The sender's own count of its messages, per device and conversation: 1, 2, 3 …
    Order
}

number! {
    /// A change's place among the changes of its conversation: 1, 2, 3 … without a gap.
    ChangeNumber
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
