//! What a PromQL expression names: metrics, labels, values. Not a parser of the language; enough to catch a name that
//! does not exist, which Prometheus itself never complains about.

/// A metric in an expression, with its matchers: label and the text it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<(String, String)>,
}

/// Everything that an expression names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) metrics: Vec<Named>,
    /// Labels of `by`, `without`, `on` and the like.
    pub(crate) grouped: Vec<String>,
}

/// Functions and aggregations that we use; another one is added here first.
const FUNCTIONS: [&str; 11] = [
    "time",
    "sum",
    "max",
    "min",
    "count",
    "rate",
    "increase",
    "resets",
    "histogram_quantile",
    "label_values",
    "avg",
];
/// Words that are followed by labels in brackets.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words between two vectors.
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Reads `expression`.
///
/// # Errors
/// A sentence about the first thing that is not understood.
pub(crate) fn names(expression: &str) -> Result<Names, String> {
    let tokens = tokens(expression)?;
    let mut names = Names::default();
    let mut at = 0;
    while at < tokens.len() {
        let Token::Word(word) = &tokens[at] else {
            at += 1;
            continue;
        };
        let next = tokens.get(at + 1);
        at += 1;
        if GROUPINGS.contains(&word.as_str()) {
            at = labels(&tokens, at, &mut names.grouped)?;
        } else if OPERATORS.contains(&word.as_str()) {
        } else if is_call(next) {
            if !FUNCTIONS.contains(&word.as_str()) {
                return Err(format!("`{word}` is no function that is known here"));
            }
        } else {
            let mut named = Named { metric: word.clone(), matchers: Vec::new() };
            if next == Some(&Token::Sign('{')) {
                at = matchers(&tokens, at + 1, &mut named.matchers)?;
            }
            names.metrics.push(named);
        }
    }
    // `label_values(metric, label)`: the second is a label.
    if expression.starts_with("label_values") && names.metrics.len() == 2 {
        names.grouped.extend(names.metrics.pop().map(|named| named.metric));
    }
    Ok(names)
}

/// Whether a word before `next` is a function: a bracket follows, or a grouping.
fn is_call(next: Option<&Token>) -> bool {
    match next {
        Some(Token::Sign('(')) => true,
        Some(Token::Word(word)) => word == "by" || word == "without",
        _ => false,
    }
}

fn labels(tokens: &[Token], mut at: usize, into: &mut Vec<String>) -> Result<usize, String> {
    if tokens.get(at) != Some(&Token::Sign('(')) {
        return Err("labels stand in brackets".to_owned());
    }
    loop {
        at += 1;
        match tokens.get(at) {
            Some(Token::Word(label)) => into.push(label.clone()),
            Some(Token::Sign(',')) => {}
            Some(Token::Sign(')')) => return Ok(at + 1),
            other => return Err(format!("a label was expected, not {other:?}")),
        }
    }
}

fn matchers(
    tokens: &[Token],
    mut at: usize,
    into: &mut Vec<(String, String)>,
) -> Result<usize, String> {
    let mut label = None;
    loop {
        match (tokens.get(at), &label) {
            (Some(Token::Word(word)), None) => label = Some(word.clone()),
            (Some(Token::Sign('=' | '~' | '!')), Some(_)) | (Some(Token::Sign(',')), None) => {}
            (Some(Token::Text(text)), Some(name)) => {
                into.push((name.clone(), text.clone()));
                label = None;
            }
            (Some(Token::Sign('}')), None) => return Ok(at + 1),
            (other, _) => return Err(format!("a matcher was expected, not {other:?}")),
        }
        at += 1;
    }
}

/// Words, texts and signs; numbers and what stands in square brackets are left out.
fn tokens(expression: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if first.is_ascii_digit() {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len())
        } else if is_of_word(first) {
            let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            end
        } else if first == '"' {
            let length = rest[1..].find('"').ok_or("a text has no end")?;
            tokens.push(Token::Text(rest[1..=length].to_owned()));
            length + 2
        } else if first == '[' {
            rest.find(']').ok_or("a range has no end")? + 1
        } else {
            tokens.push(Token::Sign(first));
            first.len_utf8()
        };
        rest = rest[end..].trim_start();
    }
    Ok(tokens)
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(metric: &str, matchers: &[(&str, &str)]) -> Named {
        let matchers = matchers.iter().map(|(l, v)| ((*l).to_owned(), (*v).to_owned())).collect();
        Named { metric: metric.to_owned(), matchers }
    }

    #[test]
    fn metrics_labels_and_values_are_found_among_functions_and_numbers() {
        let read = names(
            "histogram_quantile(0.99, sum by (instance, le) (rate(a_bucket{x=~\"$n\",y!=\"1\"}[5m]))) > 0.5 and on (z) b == 0",
        );
        let read = read.expect("read");
        let metrics = [named("a_bucket", &[("x", "$n"), ("y", "1")]), named("b", &[])];
        assert_eq!(read.metrics, metrics);
        assert_eq!(read.grouped, ["instance", "le", "z"]);
        let read = names("max(a) by (b)").expect("read");
        assert_eq!((read.metrics, read.grouped), (vec![named("a", &[])], vec!["b".to_owned()]));
        let read = names("label_values(a, b)").expect("read");
        assert_eq!((read.metrics, read.grouped), (vec![named("a", &[])], vec!["b".to_owned()]));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for broken in ["rated(a[5m])", "a{b=\"c\"", "sum by a (b)", "a{=\"c\"}", "a[5m"] {
            assert!(names(broken).is_err(), "{broken}");
        }
    }
}
