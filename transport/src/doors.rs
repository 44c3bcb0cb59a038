//! Doors for those who throw bytes at what no other room may call. For tests alone; nothing is decided here.

pub use crate::link::websocket::thrown as websocket;
