//! Takes out of texts what might be secret. It would rather take too much: whoever reads a bundle can ask.

/// What stands in its place.
const REDACTED: &str = "[redacted]";
/// Parts of names of keys whose values are nobody's business, whatever they look like.
const SECRET_NAMES: [&str; 9] =
    ["secret", "password", "token", "claim", "contact", "issuer", "audience", "team", "key_id"];
/// Words of letters and digits from this length on are keys, tokens or hashes.
const WORD_MIN: usize = 24;

/// A text without keys, tokens and credentials in URLs.
pub(super) fn text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut in_pem = false;
    for line in text.split_inclusive('\n') {
        if line.contains("-----BEGIN ") {
            in_pem = true;
            plain.push_str(REDACTED);
            plain.push('\n');
        }
        if !in_pem {
            words(line, &mut plain);
        }
        in_pem &= !line.contains("-----END ");
    }
    plain
}

/// Copies `line`, with words that look drawn by chance taken out, and whatever a URL says before `@` and after `?`.
fn words(line: &str, into: &mut String) {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || "+/_-=.~%:@?&$!".contains(c);
    let mut rest = line;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        into.push_str(&redacted(word));
        let next = after.find(is_of_word).unwrap_or(after.len());
        into.push_str(&after[..next]);
        rest = &after[next..];
    }
}

fn redacted(word: &str) -> String {
    if let Some((scheme, rest)) = word.split_once("://") {
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let host = rest.rsplit('@').next().unwrap_or_default();
        let parts: Vec<&str> =
            host.split('/').map(|part| if is_drawn(part) { REDACTED } else { part }).collect();
        return format!("{scheme}://{}", parts.join("/"));
    }
    if word.split(['.', '/', ':', '=', '@', '?', '&']).any(is_drawn) {
        return REDACTED.to_owned();
    }
    word.to_owned()
}

/// Long, and of letters and digits: no word that somebody chose.
fn is_drawn(part: &str) -> bool {
    part.len() >= WORD_MIN
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && part.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// A node's file with everything secret taken out.
///
/// # Errors
/// When it is no TOML: then nobody knows what in it is secret.
pub(super) fn toml(text: &str) -> Result<String, String> {
    let mut file: toml::Table =
        text.parse().map_err(|_| "it is no TOML, so what is secret in it is not known")?;
    for (name, value) in &mut file {
        hide(name, value);
    }
    toml::to_string(&file).map_err(|error| error.to_string())
}

fn hide(name: &str, value: &mut toml::Value) {
    let is_secret = SECRET_NAMES.iter().any(|secret| name.contains(secret));
    match value {
        toml::Value::Table(table) => table.iter_mut().for_each(|(name, value)| hide(name, value)),
        toml::Value::Array(values) => values.iter_mut().for_each(|value| hide(name, value)),
        toml::Value::String(text) if is_secret => *text = REDACTED.to_owned(),
        other if is_secret => *other = toml::Value::String(REDACTED.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_drawn_by_chance_is_taken_out_and_words_are_not() {
        for kept in [
            "synod_journal_operations_total{le=\"0.005\"} 12\n",
            "# HELP raft_commit_seconds From the hand-over of an entry to its outcome.",
            "127.0.0.1:7400 does not answer: connection refused (os error 111)",
            "https://hooks.example.org/a/b",
            "/var/lib/synod/identity/client.pem",
        ] {
            assert_eq!(text(kept), kept);
        }
        for (secret, plain) in [
            ("a=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "[redacted]"),
            ("Bearer eyJhbGciOiJFZERTQSJ9aaaaaaa.eyJzdWIiOiJhIn0.x", "Bearer [redacted]"),
            ("https://me:pw@host/x?token=short", "https://host/x"),
            (
                "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\nafter",
                "[redacted]\nafter",
            ),
        ] {
            assert_eq!(text(secret), plain);
        }
    }

    #[test]
    fn names_of_keys_that_are_secret_lose_their_values_at_any_depth() {
        let file = "data = \"d\"\n[cluster]\nclaim = \"abc\"\n[[auth.issuers]]\nissuer = \"x\"\nkeys = \"k.pem\"\n";
        let plain = toml(file).expect("TOML");
        assert!(plain.contains("data = \"d\"") && plain.contains("keys = \"k.pem\""), "{plain}");
        assert!(!plain.contains("abc") && !plain.contains("\"x\""), "{plain}");
        assert!(toml("not = = toml").is_err());
    }
}
