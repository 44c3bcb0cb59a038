//! Functions that fit on a screen.

use crate::finding::Finding;
use crate::tree::Source;

/// Lines from `fn` to the closing brace. A function of 70 lines is on one screen with its comment.
const FUNCTION_LINES_MAX: usize = 70;

/// Checks the length of every function outside tests.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if source.is_test() {
        return Vec::new();
    }
    let code = source.code_before_tests();
    let starts = code.match_indices("fn ").map(|(at, _)| at);
    let starts = starts.filter(|at| {
        let before = code[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    });
    starts.filter_map(|at| too_long(source, code, at)).collect()
}

fn too_long(source: &Source, code: &str, at: usize) -> Option<Finding> {
    let name: String = code[at + 3..].chars().take_while(|c| !"(<".contains(*c)).collect();
    let end = body_end(&code[at..])?;
    let lines = code[at..at + end].lines().count();
    let line = code[..at].lines().count().max(1);
    let what = || format!("fn {name} has {lines} lines: at most {FUNCTION_LINES_MAX}, divide it");
    (lines > FUNCTION_LINES_MAX).then(|| Finding::new(&source.path, line, what()))
}

/// Where the body that follows the signature ends; `None` when there is no body.
fn body_end(code: &str) -> Option<usize> {
    let (mut braces, mut parentheses) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => parentheses += 1,
            ')' | ']' => parentheses -= 1,
            ';' if braces == 0 && parentheses == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        check(&Source::new(path, text)).iter().map(|finding| finding.line).collect()
    }

    fn function(lines: usize) -> String {
        format!("fn a(b: [u8; 3]) -> u8 {{\n{}}}\n", "    c();\n".repeat(lines - 2))
    }

    #[test]
    fn a_long_function_is_caught_where_it_begins() {
        assert_eq!(found("node/src/a.rs", &function(70)), [0; 0]);
        let text = format!("{}\npub async {}", function(70), function(71));
        assert_eq!(found("node/src/a.rs", &text), [72]);
    }

    #[test]
    fn declarations_and_tests_are_left_alone() {
        let text = format!("trait A {{\n    fn a();\n}}\n{}", "// b\n".repeat(90));
        assert_eq!(found("node/src/a.rs", &text), [0; 0]);
        let text = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(90));
        assert_eq!(found("node/src/a.rs", &text), [0; 0]);
        assert_eq!(found("node/tests/a.rs", &function(90)), [0; 0]);
    }
}
