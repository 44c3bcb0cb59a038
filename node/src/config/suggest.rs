//! "Did you mean": turns a parser's complaint about an unknown key into advice.

/// The parser's message with its place and, for an unknown key, the nearest known one.
pub(super) fn explain(error: &toml::de::Error) -> String {
    let told = error.to_string();
    let message = error.message();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (Some(unknown), true) = (quoted.next(), message.starts_with("unknown field")) else {
        return told;
    };
    // Every character that one has more is a step, so that a name of a whole page is compared with none.
    let within = |known: &str| unknown.len().max(known.len()) / 2;
    let near = quoted.filter(|known| unknown.len().abs_diff(known.len()) <= within(known));
    match near.map(|known| (distance(unknown, known), known)).min() {
        Some((steps, known)) if steps <= within(known) => {
            format!("{told}did you mean `{known}`?")
        }
        _ => told,
    }
}

/// Levenshtein distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("plain", "plain"), 0);
        assert_eq!(distance("plan", "plain"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
