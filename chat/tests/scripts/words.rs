//! The words of a script's command line: bare, or quoted, or `"x"*70000` for something long.

/// A command line, taken apart from the left.
pub(crate) struct Words {
    words: std::vec::IntoIter<String>,
}

impl Words {
    pub(crate) fn of(line: &str) -> Self {
        let mut words = Vec::new();
        let mut rest = line.trim();
        while !rest.is_empty() {
            let (word, after) = match rest.strip_prefix('"') {
                Some(quoted) => {
                    let (text, after) = quoted.split_once('"').expect("quotes are closed");
                    match after.strip_prefix('*') {
                        Some(times) => {
                            let (times, after) = times.split_once(' ').unwrap_or((times, ""));
                            (text.repeat(times.parse().expect("a number of times")), after)
                        }
                        None => (text.to_owned(), after),
                    }
                }
                None => {
                    let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
                    (word.to_owned(), after)
                }
            };
            words.push(word);
            rest = after.trim_start();
        }
        Self { words: words.into_iter() }
    }

    /// The next word, which must be there.
    pub(crate) fn word(&mut self) -> String {
        self.words.next().expect("the command goes on")
    }

    /// The next word, which must be this one.
    pub(crate) fn expect(&mut self, word: &str) {
        assert_eq!(self.word(), word);
    }

    /// Whether the next word is this one; if so it is taken.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let taken = self.words.as_slice().first().is_some_and(|next| next == word);
        if taken {
            self.words.next();
        }
        taken
    }

    /// All words up to this one or the end.
    pub(crate) fn until(&mut self, end: &str) -> Vec<String> {
        self.words.by_ref().take_while(|word| word != end).collect()
    }

    /// Nothing may be left.
    pub(crate) fn end(mut self) {
        assert_eq!(self.words.next(), None, "the command ends here");
    }
}
