//! Times as operators read and write them.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// As a part of a name, in the order of time: `20261123T034009Z`.
pub(super) fn compact(at_ms: u64) -> String {
    let at = of(at_ms);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// RFC 3339, in whole seconds.
#[must_use]
pub fn rfc3339(at_ms: u64) -> String {
    of(at_ms).format(&Rfc3339).expect("a time of this era has all these parts")
}

/// Reads RFC 3339; milliseconds since 1970.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?.to_offset(UtcOffset::UTC);
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Whole seconds; far beyond any clock it stands still.
fn of(at_ms: u64) -> OffsetDateTime {
    let seconds = i64::try_from(at_ms / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_their_order_and_read_back() {
        assert_eq!(compact(1_795_405_209_999), "20261123T034009Z");
        assert_eq!(rfc3339(1_795_405_209_999), "2026-11-23T03:40:09Z");
        assert_eq!(parse("2026-11-23T04:40:09.5+01:00"), Some(1_795_405_209_500));
        for wrong in ["", "yesterday", "2026-11-23", "1960-01-01T00:00:00Z"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
