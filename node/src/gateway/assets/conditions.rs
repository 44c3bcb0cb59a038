//! Which part of an asset is asked for, and whether the client has it already (RFC 9110, 13 and 14).

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What of it to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// These bytes.
    Range(Range<u64>),
    /// What is asked for lies outside.
    Outside,
}

/// Whether `If-None-Match` names this tag: the client has these bytes.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH);
    lists
        .iter()
        .filter_map(|list| list.to_str().ok())
        .any(|list| list.split(',').map(str::trim).any(|one| one == "*" || weak(one) == tag))
}

fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// What `Range` asks for of so many bytes. A range of another version (`If-Range`), of several parts or of a form that
/// is not understood counts as none, as the RFC allows.
pub(super) fn part(headers: &HeaderMap, tag: &str, size: u64) -> Part {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let same = match headers.get(header::IF_RANGE) {
        None => true,
        // A strong comparison; a date names no version here.
        Some(version) => version.as_bytes() == tag.as_bytes(),
    };
    match text(header::RANGE) {
        Some(range) if same => parse(range, size).unwrap_or(Part::Whole),
        _ => Part::Whole,
    }
}

fn parse(range: &str, size: u64) -> Option<Part> {
    let (unit, spec) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    let range = match (number(first)?, number(last)?) {
        (None, None) => return None,
        (None, Some(suffix)) => size - suffix.min(size)..size,
        (Some(first), None) => first..size,
        (Some(first), Some(last)) if last < first => return None,
        (Some(first), Some(last)) => first..last.saturating_add(1).min(size),
    };
    Some(if range.start < range.end { Part::Range(range) } else { Part::Outside })
}

/// A number or nothing; what is neither makes the whole range one that is not understood.
fn number(text: &str) -> Option<Option<u64>> {
    match text.trim() {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            // Beyond all numbers is beyond the end.
            Some(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().expect("legal"))])
    }

    #[test]
    fn ranges_are_read_as_the_rfc_has_them() {
        let asked = |range: &str| part(&with(header::RANGE, range), "\"t\"", 100);
        for (range, expected) in [
            ("bytes=0-0", Part::Range(0..1)),
            ("bytes=10-19", Part::Range(10..20)),
            ("bytes=10-", Part::Range(10..100)),
            ("bytes=90-1000", Part::Range(90..100)),
            ("bytes=-1", Part::Range(99..100)),
            ("bytes=-1000", Part::Range(0..100)),
            ("Bytes = 3 - 4 ", Part::Range(3..5)),
            ("bytes=0-99999999999999999999999", Part::Range(0..100)),
            ("bytes=100-", Part::Outside),
            ("bytes=100-200", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=99999999999999999999999-", Part::Outside),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes", Part::Whole),
        ] {
            assert_eq!(asked(range), expected, "{range}");
        }
        assert_eq!(part(&with(header::RANGE, "bytes=0-"), "\"t\"", 0), Part::Outside);
        assert_eq!(part(&HeaderMap::new(), "\"t\"", 100), Part::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_the_whole() {
        let mut headers = with(header::RANGE, "bytes=0-1");
        for (version, expected) in [
            ("\"t\"", Part::Range(0..2)),
            ("\"u\"", Part::Whole),
            ("W/\"t\"", Part::Whole),
            ("Tue, 15 Nov 1994 12:45:26 GMT", Part::Whole),
        ] {
            headers.insert(header::IF_RANGE, version.parse().expect("legal"));
            assert_eq!(part(&headers, "\"t\"", 100), expected, "{version}");
        }
    }

    #[test]
    fn a_client_that_has_it_is_told_so() {
        for (known, expected) in [
            ("\"t\"", true),
            ("W/\"t\"", true),
            ("\"a\", \"t\"", true),
            ("*", true),
            ("\"a\"", false),
            ("t", false),
        ] {
            assert_eq!(is_known(&with(header::IF_NONE_MATCH, known), "\"t\""), expected, "{known}");
        }
    }
}
