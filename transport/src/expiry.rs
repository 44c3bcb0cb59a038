//! When a certificate runs out. Reads of X.509 (RFC 5280, 4.1) only what leads there; whether it is good is for the
//! handshake to say. Bytes that are no certificate have no end.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// Tags of DER: what certificates are made of.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the first certificate of a chain in PEM to run out does so, milliseconds since 1970. `None` when there is none
/// in it, or one that cannot be read.
#[must_use]
pub fn expires_at_ms(pem: &[u8]) -> Option<u64> {
    let chain = CertificateDer::pem_slice_iter(pem).map(|one| not_after(one.ok()?.as_ref()));
    let ends: Option<Vec<u64>> = chain.collect();
    ends?.into_iter().min().map(|seconds| seconds * 1000)
}

/// Seconds since 1970.
fn not_after(certificate: &[u8]) -> Option<u64> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        (_, rest) = any(rest)?;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        (_, rest) = any(rest)?;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, rest) = any(validity)?;
    let tag = *rest.first()?;
    let (time, _) = any(rest)?;
    seconds(tag, std::str::from_utf8(time).ok()?)
}

/// What an element of this tag holds, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    if bytes.first() == Some(&tag) { any(bytes) } else { None }
}

fn any(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let short = usize::from(*bytes.get(1)?);
    let (length, begin) = if short < 0x80 {
        (short, 2)
    } else {
        let digits = bytes.get(2..2 + (short & 0x7f))?;
        // Four bytes of length are far more than any certificate has.
        if digits.len() > 4 {
            return None;
        }
        let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        (length, 2 + digits.len())
    };
    let end = begin.checked_add(length)?;
    Some((bytes.get(begin..end)?, bytes.get(end..)?))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn seconds(tag: u8, text: &str) -> Option<u64> {
    let digits = text.strip_suffix('Z')?;
    let number = |part: &str| -> Option<u64> {
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let (year, rest) = match tag {
        UTC_TIME => {
            let year = number(digits.get(..2)?)?;
            // RFC 5280, 4.1.2.5.1.
            (if year < 50 { 2000 + year } else { 1900 + year }, digits.get(2..)?)
        }
        GENERALIZED_TIME => (number(digits.get(..4)?)?, digits.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| number(rest.get(at..at + 2)?);
    let (month, day) = (part(0)?, part(2)?);
    let clock = part(4)? * 3600 + part(6)? * 60 + part(8)?;
    if rest.len() != 10 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days(year, month, day)?.checked_mul(86_400)? + clock)
}

/// Days from 1970 to a date, counted in years that begin in March, so that the leap day is the last.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    let days = of_years + (153 * month + 2) / 5 + day;
    // 1 March of year 0 to 1 January 1970, and days begin at 1.
    days.checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_through_leap_years() {
        assert_eq!(seconds(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(seconds(GENERALIZED_TIME, "20000229235959Z"), Some(951_868_799));
        assert_eq!(seconds(UTC_TIME, "261123040720Z"), Some(1_795_406_840));
        assert_eq!(seconds(GENERALIZED_TIME, "21000301000000Z"), Some(4_107_542_400));
        for wrong in ["", "700101000000", "70010100000Z", "701301000000Z", "7001010000x0Z"] {
            assert_eq!(seconds(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_certificate_that_was_made_runs_out_when_it_was_told_to() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::new(vec!["a".to_owned()]).expect("legal");
        parameters.not_after = rcgen::date_time_ymd(2031, 5, 17);
        let one = parameters.self_signed(&key).expect("signed").pem();
        parameters.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let other = parameters.self_signed(&key).expect("signed").pem();
        assert_eq!(expires_at_ms(one.as_bytes()), Some(1_936_742_400_000));
        let chain = format!("{one}{other}");
        assert_eq!(expires_at_ms(chain.as_bytes()), Some(1_893_456_000_000), "the first to end");
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        assert_eq!(expires_at_ms(b""), None);
        assert_eq!(
            expires_at_ms(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
            None
        );
        for length in 0..64 {
            assert_eq!(not_after(&vec![0x30; length]), None, "{length}");
            assert_eq!(not_after(&vec![0x84; length]), None, "{length}");
        }
    }
}
