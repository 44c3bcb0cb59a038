//! A file inside `multipart/form-data` (RFC 7578), as browsers send it: the first part with a file name is taken, as it
//! comes, and nothing else of the form.

use bytes::{Buf as _, Bytes, BytesMut};
use futures::stream::{Stream, StreamExt as _};
use proto::{Problem, ProblemCode};

use super::UNDECLARED;

/// Longest boundary (RFC 2046, 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;
/// Longest head of one part.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// What may stand before the file: fields of the same form.
const BEFORE_BYTES_MAX: usize = 1 << 20;

/// The boundary of a form; `None` when the body is none.
pub(super) fn boundary(media_type: &str) -> Result<Option<String>, Problem> {
    let (plain, parameters) = media_type.split_once(';').unwrap_or((media_type, ""));
    if !plain.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Ok(None);
    }
    let boundary = parameter(parameters, "boundary").unwrap_or_default();
    let legal = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len());
    match legal && !boundary.contains(['\r', '\n']) {
        true => Ok(Some(boundary)),
        false => Err(malformed("a form needs a boundary of 1 to 70 characters")),
    }
}

/// A form on its way in.
pub(super) struct Form<S> {
    body: S,
    buffer: BytesMut,
    /// What ends a part: a new line, two hyphens and the boundary.
    delimiter: Vec<u8>,
    ended: bool,
}

impl<S: Stream<Item = Result<Bytes, Problem>> + Send + Unpin> Form<S> {
    pub(super) fn new(body: S, boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first delimiter may stand at the very beginning, where no line ends.
        Self { body, buffer: BytesMut::from(&b"\r\n"[..]), delimiter, ended: false }
    }

    /// Goes to the file and answers its type.
    ///
    /// # Errors
    /// `invalid_request` when there is no file in it, or it is no form; what is wrong with the body.
    pub(super) async fn file(&mut self) -> Result<String, Problem> {
        let mut before = 0;
        loop {
            before += self.skip_part().await?;
            let head = self.head().await?;
            before += head.len();
            if before > BEFORE_BYTES_MAX {
                return Err(malformed("too much stands before the file"));
            }
            let head = String::from_utf8_lossy(&head);
            if is_file(&head) {
                return Ok(header(&head, "content-type").unwrap_or(UNDECLARED).to_owned());
            }
        }
    }

    /// The bytes of the file, up to the delimiter that ends it.
    pub(super) fn content(self) -> impl Stream<Item = Result<Bytes, Problem>> + Send + Unpin {
        Box::pin(futures::stream::unfold(self, |mut form| async move {
            let piece = form.piece().await.transpose()?;
            Some((piece, form))
        }))
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if let Some(at) = find(&self.buffer, &self.delimiter) {
                self.ended = true;
                let last = self.buffer.split_to(at).freeze();
                return Ok((!last.is_empty()).then_some(last));
            }
            // The end of what is here may be the beginning of the delimiter.
            let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if sure > 0 {
                return Ok(Some(self.buffer.split_to(sure).freeze()));
            }
            self.more().await?;
        }
    }

    /// Passes over everything up to the next delimiter and over it.
    async fn skip_part(&mut self) -> Result<usize, Problem> {
        let mut skipped = 0;
        loop {
            if let Some(at) = find(&self.buffer, &self.delimiter) {
                self.buffer.advance(at + self.delimiter.len());
                return Ok(skipped + at);
            }
            let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            self.buffer.advance(sure);
            skipped += sure;
            if skipped > BEFORE_BYTES_MAX {
                return Err(malformed("too much stands before the file"));
            }
            self.more().await?;
        }
    }

    /// The head of the part that begins here.
    async fn head(&mut self) -> Result<Bytes, Problem> {
        const END: &[u8] = b"\r\n\r\n";
        loop {
            if self.buffer.starts_with(b"--") {
                return Err(malformed("there is no file in the form"));
            }
            if let Some(at) = find(&self.buffer, END) {
                let head = self.buffer.split_to(at).freeze();
                self.buffer.advance(END.len());
                return Ok(head);
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(malformed("the head of a part is too long"));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Problem> {
        match self.body.next().await {
            Some(piece) => self.buffer.extend_from_slice(&piece?),
            None => return Err(malformed("the form ends before its end")),
        }
        Ok(())
    }
}

/// Where `wanted`, which begins with a carriage return, stands first.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == b'\r') {
        if text[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn is_file(head: &str) -> bool {
    let disposition = header(head, "content-disposition");
    let parameters = disposition.and_then(|value| value.split_once(';')).map(|(_, rest)| rest);
    parameters.is_some_and(|rest| {
        parameter(rest, "filename").is_some() || parameter(rest, "filename*").is_some()
    })
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The value of a parameter, quoted or not.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (key, value) = rest.trim_start_matches([';', ' ', '\t']).split_once('=')?;
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_once(';').unwrap_or((value, "")),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.trim_end().to_owned());
        }
        rest = after;
    }
}

fn malformed(detail: &str) -> Problem {
    Problem::new(ProblemCode::InvalidRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &[u8] = b"preamble\r\n--x1\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
        --x1\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a;b.png\"\r\nContent-Type: image/png\r\n\r\n\
        \r\nfirst\r\n--x\r\n--x1 is not alone on its line\r\n--x1--\r\n";

    async fn read(form: &[u8], step: usize) -> Result<(String, Vec<u8>), ProblemCode> {
        let pieces: Vec<_> =
            form.chunks(step).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut form = Form::new(futures::stream::iter(pieces), "x1");
        let media_type = form.file().await.map_err(|problem| problem.code)?;
        let mut content = form.content();
        let mut bytes = Vec::new();
        while let Some(piece) = content.next().await {
            bytes.extend_from_slice(&piece.map_err(|problem| problem.code)?);
        }
        Ok((media_type, bytes))
    }

    #[tokio::test]
    async fn the_first_file_is_taken_however_the_form_is_cut() {
        for step in 1..FORM.len() {
            let (media_type, content) = read(FORM, step).await.expect("a form");
            assert_eq!(media_type, "image/png");
            assert_eq!(content, b"\r\nfirst\r\n--x", "in steps of {step}");
        }
    }

    #[tokio::test]
    async fn what_is_no_form_or_ends_early_is_refused() {
        let ending = FORM.len() - 40;
        for form in [&FORM[..ending], b"", b"--x1--\r\n", b"--x1\r\n", b"nothing at all"] {
            assert_eq!(read(form, 7).await, Err(ProblemCode::InvalidRequest), "{form:?}");
        }
        let long = [b"--x1\r\n".to_vec(), vec![b'h'; HEAD_BYTES_MAX + 100]].concat();
        assert_eq!(read(&long, 4096).await, Err(ProblemCode::InvalidRequest));
        let before = [vec![b'p'; BEFORE_BYTES_MAX + 100], FORM.to_vec()].concat();
        assert_eq!(read(&before, 65_536).await, Err(ProblemCode::InvalidRequest));
    }

    #[test]
    fn boundaries_are_read_as_they_are_written() {
        let read = |text: &str| boundary(text).map_err(|problem| problem.code);
        assert_eq!(read("multipart/form-data; boundary=x1"), Ok(Some("x1".to_owned())));
        assert_eq!(
            read("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""),
            Ok(Some("a b".to_owned()))
        );
        assert_eq!(read("image/png; boundary=x1"), Ok(None));
        for bad in ["multipart/form-data", "multipart/form-data; boundary="] {
            assert_eq!(read(bad), Err(ProblemCode::InvalidRequest));
        }
    }
}
