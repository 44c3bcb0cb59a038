//! The page of one run: what the checkers draw from its history, with the facts and the nodes' logs of its folder. It can
//! be made again from the folder at any time, and it judges nothing.

use std::path::Path;

use checkers::report::{About, NodeLog, html};
use checkers::{History, Judgement};

/// Lines of a node's log that a page looks at: the last ones.
const LOG_LINES_MAX: usize = 20_000;

/// Writes `report.html` into the folder of a run.
///
/// # Errors
/// One sentence.
pub fn write(history: &History, judgement: &Judgement, folder: &Path) -> Result<(), String> {
    let options = std::fs::read_to_string(folder.join("options.toml")).unwrap_or_default();
    let facts = options
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    let title = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let offset = offset(&options);
    let begin = history.ops.first().map_or(0, |op| op.time);
    let about = About {
        title: title.unwrap_or_default(),
        facts,
        logs: (1..=u8::MAX).map_while(|node| log(folder, node, offset, begin)).collect(),
    };
    let page = html(history, judgement, &about);
    std::fs::write(folder.join("report.html"), page).map_err(|error| error.to_string())
}

/// Nanoseconds from the machine's monotonic clock to the time of day, as the run wrote it down.
fn offset(options: &str) -> u64 {
    let line = options.lines().find_map(|line| line.strip_prefix("wall_offset_ns = "));
    line.and_then(|number| number.trim_matches('"').parse().ok()).unwrap_or(0)
}

fn log(folder: &Path, node: u8, offset: u64, begin: u64) -> Option<NodeLog> {
    let text = std::fs::read(folder.join(format!("n{node}.log"))).ok()?;
    let text = String::from_utf8_lossy(&text);
    let skip = text.lines().count().saturating_sub(LOG_LINES_MAX);
    let mut last = 0;
    let lines = text.lines().skip(skip).map(|line| {
        // A line without a time belongs to the one before it.
        if let Some(at) = time_of(line) {
            last = at.saturating_sub(offset).saturating_sub(begin);
        }
        (last, line.to_owned())
    });
    Some(NodeLog { node, lines: lines.collect() })
}

/// Nanoseconds since 1970 of the RFC 3339 time, in UTC, at the beginning of a line.
fn time_of(line: &str) -> Option<u64> {
    let number = |from: usize, to: usize| line.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fraction = line.get(20..)?;
    let digits: String = fraction.chars().take_while(char::is_ascii_digit).take(9).collect();
    let nanos: u64 = format!("{digits:0<9}").parse().ok()?;
    // Days of the civil calendar, counted from March so that a leap day ends its year.
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    let days = days.checked_sub(719_469)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_log_lines_are_read() {
        assert_eq!(time_of("1970-01-01T00:00:00.5Z INFO x"), Some(500_000_000));
        let leap = time_of("2024-02-29T00:00:00.000001Z y").expect("a time");
        assert_eq!(leap, 1_709_164_800_000_001_000);
        assert_eq!(time_of("thread main panicked"), None);
    }
}
