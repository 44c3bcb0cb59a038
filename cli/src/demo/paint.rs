//! Colours for a terminal, or none: NO_COLOR is honoured, and so is a terminal that is dumb.

use std::io::IsTerminal as _;

/// A meaning; what it looks like is decided here alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Warning,
    Bad,
    Accent,
}

/// Whether colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// What fits this terminal and its owner's wishes.
    pub(crate) fn of_environment(terminal: &impl std::io::IsTerminal) -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Paint(wanted && terminal.is_terminal() && !dumb())
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "1;31",
            Tone::Accent => "36",
        };
        if self.0 && !code.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A terminal that cannot move its cursor.
pub(crate) fn dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether stdout can be redrawn.
pub(crate) fn live() -> bool {
    std::io::stdout().is_terminal() && !dumb()
}

/// Text from elsewhere, made harmless for a terminal: no control characters.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// At most `width` characters; what was cut off is marked.
pub(crate) fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(width.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out_when_they_are_not_wanted() {
        assert_eq!(Paint(false).paint(Tone::Bad, "x"), "x");
        assert_eq!(Paint(true).paint(Tone::Good, "x"), "\x1b[32mx\x1b[0m");
        assert_eq!(Paint(true).paint(Tone::Plain, "x"), "x");
    }

    #[test]
    fn what_others_write_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\nc"), "a [2Jb c");
        assert_eq!(clip("abcdef", 4), "abc…");
        assert_eq!(clip("äöü", 3), "äöü");
    }
}
