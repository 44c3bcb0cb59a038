//! Words of a text: how a message is cut for the index, and how a question is. Both are cut by the same rule, and what
//! the index found is cut and compared once more, so that what is told contains what was asked for, as it reads now.
//!
//! A word is a run of letters and digits of any script, in small letters. Scripts that put no space between words (Han,
//! Kana) count each sign as one. Accents are letters as they are written: no form is taken for another.

use std::collections::BTreeSet;

/// Signs of a word that are looked at; of longer ones the beginning.
const WORD_CHARS_MAX: usize = 64;
/// Fewest signs of an unfinished word: with fewer, a question would walk through half the index.
const PREFIX_CHARS_MIN: usize = 2;
/// Words of one question.
pub(crate) const WORDS_MAX: usize = 16;

/// What somebody looks for: messages that have every word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// These as they are.
    pub(super) whole: BTreeSet<String>,
    /// One that begins like this: the last one, while nothing follows it.
    pub(super) begun: Option<String>,
}

/// Why a question cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unclear {
    /// There is no word in it.
    NoWords,
    /// There are more than [`WORDS_MAX`].
    TooManyWords,
}

impl Wanted {
    /// Reads a question.
    ///
    /// # Errors
    /// When there are no words in it, or too many.
    pub(crate) fn parse(question: &str) -> Result<Self, Unclear> {
        let mut words: Vec<String> = words(question).take(WORDS_MAX + 1).collect();
        if words.len() > WORDS_MAX {
            return Err(Unclear::TooManyWords);
        }
        let last = words.last().ok_or(Unclear::NoWords)?;
        let ends = question.chars().next_back().is_none_or(|sign| !is_letter(sign));
        let alone = last.chars().all(is_alone);
        let long = last.chars().count() >= PREFIX_CHARS_MIN;
        let begun = if ends || alone || !long { None } else { words.pop() };
        Ok(Self { whole: words.into_iter().collect(), begun })
    }

    /// Whether a text has every word.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let found: BTreeSet<String> = words(text).collect();
        let begins = |begun: &String| {
            found.range(begun.clone()..).next().is_some_and(|word| word.starts_with(begun.as_str()))
        };
        self.whole.is_subset(&found) && self.begun.as_ref().is_none_or(begins)
    }
}

/// The words of a text, in their order.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text.chars().peekable();
    std::iter::from_fn(move || {
        while rest.next_if(|sign| !is_letter(*sign)).is_some() {}
        let first = rest.next()?;
        let mut word: String = small(first).collect();
        let mut signs = 1;
        while !is_alone(first)
            && let Some(sign) = rest.next_if(|sign| is_letter(*sign) && !is_alone(*sign))
        {
            if signs < WORD_CHARS_MAX {
                word.extend(small(sign));
            }
            signs += 1;
        }
        Some(word)
    })
}

/// Letters, digits, and accents that stand as signs of their own.
fn is_letter(sign: char) -> bool {
    sign.is_alphanumeric() || ('\u{300}'..='\u{36F}').contains(&sign)
}

/// Kana and Han: written without spaces.
fn is_alone(sign: char) -> bool {
    matches!(u32::from(sign), 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

/// A sign in small letters. Sigma is the same at the end of a word as within it.
fn small(sign: char) -> impl Iterator<Item = char> {
    sign.to_lowercase().map(|sign| if sign == 'ς' { 'σ' } else { sign })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        words(text).collect()
    }

    #[test]
    fn a_text_is_cut_where_no_letter_or_digit_stands() {
        assert_eq!(cut("Hello, WORLD-wide  2nd!"), ["hello", "world", "wide", "2nd"]);
        assert_eq!(cut("Straße ΟΔΟΣ öde"), ["straße", "οδοσ", "öde"]);
        assert_eq!(cut("東京へ go"), ["東", "京", "へ", "go"]);
        assert_eq!(cut("?! …"), Vec::<String>::new());
        assert_eq!(cut(&"x".repeat(100)), ["x".repeat(WORD_CHARS_MAX)]);
    }

    #[test]
    fn the_last_word_may_be_unfinished_until_something_follows_it() {
        let wanted = |question| Wanted::parse(question).expect("it has words");
        assert!(wanted("lunch tom").fits("Tomorrow we lunch"));
        assert!(!wanted("lunch tom ").fits("Tomorrow we lunch"), "finished");
        assert!(!wanted("lun tomorrow").fits("Tomorrow we lunch"), "only the last one");
        assert!(wanted("LUNCH").fits("lunch"));
        assert!(!wanted("t").fits("tomorrow"), "one letter is no beginning");
        assert!(wanted("京").fits("東京"));
    }

    #[test]
    fn a_question_without_words_or_with_too_many_is_unclear() {
        assert_eq!(Wanted::parse("  !? "), Err(Unclear::NoWords));
        assert_eq!(Wanted::parse(&"word ".repeat(WORDS_MAX + 1)), Err(Unclear::TooManyWords));
        assert!(Wanted::parse(&"word ".repeat(WORDS_MAX)).is_ok());
    }
}
