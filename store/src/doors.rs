//! Doors for those who throw bytes at what no other room may call: segments of the journal as they rest on a disk.
//! For tests alone; nothing is decided here.

pub use crate::journal::thrown::{records, segment};
