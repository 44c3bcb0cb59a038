//! Server time as text: RFC 3339 in UTC with milliseconds, always 24 characters, so that texts sort like times.

use chat::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// 9999-12-31T23:59:59.999Z, the last moment that RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;

/// The moment as `2026-01-02T03:04:05.678Z`. Later moments than the year 9999 read as its last one.
pub fn rfc3339(at: Timestamp) -> String {
    let mut text = Vec::with_capacity(24);
    write(&mut text, at);
    String::from_utf8(text).expect("digits and punctuation are ASCII")
}

/// The moment that an RFC 3339 text names, to the millisecond. `None` for other texts and for moments before 1970.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp)
}

pub(super) fn write(out: &mut Vec<u8>, at: Timestamp) {
    let ms = at.0.min(LAST_MS);
    let seconds = i64::try_from(ms / 1000).expect("bounded by LAST_MS");
    let moment = OffsetDateTime::from_unix_timestamp(seconds).expect("within the years 1970-9999");
    let (year, month, day) = moment.to_calendar_date();
    let (hour, minute, second) = moment.to_hms();
    digits::<4>(out, u32::try_from(year).expect("1970 or later"));
    out.push(b'-');
    digits::<2>(out, u8::from(month).into());
    out.push(b'-');
    digits::<2>(out, day.into());
    out.push(b'T');
    digits::<2>(out, hour.into());
    out.push(b':');
    digits::<2>(out, minute.into());
    out.push(b':');
    digits::<2>(out, second.into());
    out.push(b'.');
    digits::<3>(out, u32::try_from(ms % 1000).expect("below 1000"));
    out.push(b'Z');
}

fn digits<const N: usize>(out: &mut Vec<u8>, number: u32) {
    let mut text = [b'0'; N];
    let mut rest = number;
    for place in text.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments_read_as_they_should() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Timestamp(1_709_210_096_007)), "2024-02-29T12:34:56.007Z");
        assert_eq!(rfc3339(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn every_moment_reads_back(ms in 0..=LAST_MS) {
            let text = rfc3339(Timestamp(ms));
            prop_assert_eq!(parse_rfc3339(&text), Some(Timestamp(ms)));
            prop_assert_eq!(text.len(), 24);
        }
    }
}
