//! Just enough of Rust's lexical grammar to know code from comments and literals.

/// The text with comments and the insides of string and character literals replaced by blanks.
/// Line breaks stay, so line numbers hold.
pub(crate) fn blank(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(next) = rest.chars().next() {
        let length = literal_or_comment(rest, code.chars().next_back());
        if length == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            let (skipped, after) = rest.split_at(length);
            code.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    code
}

/// Bytes of the comment or literal at the start of `rest`, or 0.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest);
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if in_word { 0 } else { raw_string(rest) }
}

fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0, 0);
    while at < bytes.len() {
        match &bytes[at..(at + 2).min(bytes.len())] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn quoted(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A character literal; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let inside = &rest[1..];
    match inside.chars().next() {
        Some('\\') => {
            let end = inside.char_indices().skip(2).find(|(_, c)| *c == '\'');
            end.map_or(0, |(at, _)| at + 2)
        }
        Some(c) if inside[c.len_utf8()..].starts_with('\'') => c.len_utf8() + 2,
        _ => 0,
    }
}

/// `r"…"`, `r#"…"#`, `br"…"` and the like; 0 for anything else.
fn raw_string(rest: &str) -> usize {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        rest.strip_prefix(prefix).is_some_and(|after| after.starts_with(['"', '#']))
    });
    let Some(prefix) = prefix else { return 0 };
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let Some(inside) = after[hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    let opened = rest.len() - inside.len();
    inside.find(&end).map_or(rest.len(), |at| opened + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        blank(text).split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn comments_and_literals_are_blank_and_lines_hold() {
        let text = "a // no\nb /* no /* no */\n no */ c \"no \\\" no\" d\n'x' e '\\'' f";
        assert_eq!(words(text), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(blank(text).lines().count(), text.lines().count());
    }

    #[test]
    fn raw_strings_end_at_their_own_mark() {
        assert_eq!(words("a r#\"no \" no\"# b br\"no\\\" c r\"\" d"), ["a", "b", "c", "d"]);
        assert_eq!(words("var\"no\" for r#type"), ["var", "for", "r#type"]);
    }

    #[test]
    fn lifetimes_are_code() {
        assert_eq!(words("fn a<'x>(b: &'x str) 'é'"), ["fn", "a<'x>(b:", "&'x", "str)"]);
    }
}
