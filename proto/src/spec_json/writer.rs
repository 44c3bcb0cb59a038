//! JSON straight into a buffer: objects, lists and scalars, commas where they belong. Shapes are the caller's.

use std::fmt::{Display, Write as _};

use chat::Timestamp;

use super::time;

/// A buffer that JSON is written into.
#[derive(Debug, Default)]
pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Writer {
        Writer { out: Vec::with_capacity(bytes) }
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn open(&mut self, bracket: u8) {
        debug_assert!(matches!(bracket, b'{' | b'['));
        self.separate();
        self.out.push(bracket);
    }

    pub(super) fn close(&mut self, bracket: u8) {
        debug_assert!(matches!(bracket, b'}' | b']'));
        self.out.push(bracket);
    }

    /// The name of a field; its value must follow. Names are written here in the source and need no escape.
    pub(super) fn name(&mut self, name: &'static str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn text(&mut self, value: &str) {
        self.separate();
        serde_json::to_writer(&mut self.out, value).expect("a buffer takes all there is");
    }

    /// A value whose text needs no escape: ids in hexadecimal.
    pub(super) fn plain(&mut self, value: impl Display) {
        self.separate();
        self.out.push(b'"');
        self.display(value);
        self.out.push(b'"');
    }

    pub(super) fn number(&mut self, value: u64) {
        self.separate();
        self.display(value);
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.separate();
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(super) fn null(&mut self) {
        self.separate();
        self.out.extend_from_slice(b"null");
    }

    pub(super) fn moment(&mut self, at: Timestamp) {
        self.separate();
        self.out.push(b'"');
        time::write(&mut self.out, at);
        self.out.push(b'"');
    }

    /// JSON that was made elsewhere.
    pub(super) fn json(&mut self, value: &serde_json::Value) {
        self.separate();
        serde_json::to_writer(&mut self.out, value).expect("a buffer takes all there is");
    }

    pub(super) fn finish(self) -> String {
        String::from_utf8(self.out).expect("JSON of texts is UTF-8")
    }

    /// A comma, unless something was just opened or named.
    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }

    fn display(&mut self, value: impl Display) {
        struct Adapter<'a>(&'a mut Vec<u8>);
        impl std::fmt::Write for Adapter<'_> {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                self.0.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
        write!(Adapter(&mut self.out), "{value}").expect("a buffer takes all there is");
    }
}
