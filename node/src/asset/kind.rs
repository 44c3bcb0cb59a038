//! Whether bytes are what they are declared to be: pictures, sound and film begin as their formats say. Everything
//! else, and above all what a client has encrypted (`application/octet-stream`), is not looked at.

use proto::{Problem, ProblemCode};

/// How many bytes from the beginning tell.
pub(super) const HEAD_BYTES: usize = 64;

/// The beginning of an upload, until it has told what it is.
#[derive(Debug)]
pub(super) struct Kind {
    media_type: String,
    wants: Option<Signs>,
    head: Vec<u8>,
}

/// One of these must hold.
type Signs = &'static [Sign];

/// At this offset there are these bytes.
#[derive(Debug, Clone, Copy)]
struct Sign(usize, &'static [u8]);

const RIFF: Signs = &[Sign(0, b"RIFF")];
const OGG: Signs = &[Sign(0, b"OggS")];
const MATROSKA: Signs = &[Sign(0, b"\x1a\x45\xdf\xa3")];
const ISO_MEDIA: Signs =
    &[Sign(4, b"ftyp"), Sign(4, b"moov"), Sign(4, b"mdat"), Sign(4, b"wide"), Sign(4, b"free")];
const MPEG_AUDIO: Signs = &[
    Sign(0, b"ID3"),
    Sign(0, b"\xff\xfb"),
    Sign(0, b"\xff\xfa"),
    Sign(0, b"\xff\xf3"),
    Sign(0, b"\xff\xf2"),
    Sign(0, b"\xff\xe3"),
    Sign(0, b"\xff\xe2"),
];
const AAC: Signs =
    &[Sign(0, b"\xff\xf1"), Sign(0, b"\xff\xf9"), Sign(4, b"ftyp"), Sign(0, b"ADIF")];

/// The formats that are known, by type. The list of types is IANA's where it has one.
const FORMATS: &[(&str, Signs)] = &[
    ("image/png", &[Sign(0, b"\x89PNG\r\n\x1a\n")]),
    ("image/jpeg", &[Sign(0, b"\xff\xd8\xff")]),
    ("image/jpg", &[Sign(0, b"\xff\xd8\xff")]),
    ("image/gif", &[Sign(0, b"GIF87a"), Sign(0, b"GIF89a")]),
    ("image/webp", &[Sign(8, b"WEBP")]),
    ("image/bmp", &[Sign(0, b"BM")]),
    ("image/tiff", &[Sign(0, b"II*\0"), Sign(0, b"MM\0*")]),
    ("image/avif", &[Sign(4, b"ftypavif"), Sign(4, b"ftypavis"), Sign(4, b"ftypmif1")]),
    ("image/heic", &[Sign(4, b"ftyp")]),
    ("image/heif", &[Sign(4, b"ftyp")]),
    ("image/jxl", &[Sign(0, b"\xff\x0a"), Sign(4, b"JXL ")]),
    ("image/x-icon", &[Sign(0, b"\0\0\x01\0")]),
    ("image/vnd.microsoft.icon", &[Sign(0, b"\0\0\x01\0")]),
    ("image/svg+xml", &[Sign(0, b"<"), Sign(0, b"\xef\xbb\xbf<")]),
    ("audio/mpeg", MPEG_AUDIO),
    ("audio/mp3", MPEG_AUDIO),
    ("audio/aac", AAC),
    ("audio/mp4", ISO_MEDIA),
    ("audio/x-m4a", ISO_MEDIA),
    ("audio/wav", RIFF),
    ("audio/x-wav", RIFF),
    ("audio/wave", RIFF),
    ("audio/vnd.wave", RIFF),
    ("audio/ogg", OGG),
    ("audio/opus", OGG),
    ("audio/flac", &[Sign(0, b"fLaC")]),
    ("audio/webm", MATROSKA),
    ("audio/amr", &[Sign(0, b"#!AMR")]),
    ("audio/midi", &[Sign(0, b"MThd")]),
    ("audio/aiff", &[Sign(0, b"FORM")]),
    ("audio/3gpp", ISO_MEDIA),
    ("video/mp4", ISO_MEDIA),
    ("video/quicktime", ISO_MEDIA),
    ("video/3gpp", ISO_MEDIA),
    ("video/webm", MATROSKA),
    ("video/x-matroska", MATROSKA),
    ("video/matroska", MATROSKA),
    ("video/ogg", OGG),
    ("video/x-msvideo", RIFF),
    ("video/mpeg", &[Sign(0, b"\0\0\x01\xba"), Sign(0, b"\0\0\x01\xb3"), Sign(0, b"\x47")]),
    ("video/mp2t", &[Sign(0, b"\x47")]),
];

impl Kind {
    /// What an upload of this type has to begin with.
    ///
    /// # Errors
    /// `unsupported_media_type` for a type that is none, or a picture, sound or film of a format that is not known.
    pub(super) fn declared(media_type: &str) -> Result<Self, Problem> {
        let plain = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let well_formed = plain.split_once('/').is_some_and(|(class, format)| {
            !class.is_empty() && !format.is_empty() && !format.contains('/')
        });
        let legal = media_type.len() <= chat::limits::MEDIA_TYPE_BYTES_MAX
            && media_type.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !well_formed || !legal {
            return Err(unsupported("this is no media type"));
        }
        let known = FORMATS.iter().find(|(name, _)| *name == plain).map(|(_, signs)| *signs);
        let is_media = ["image/", "audio/", "video/"].iter().any(|class| plain.starts_with(class));
        if is_media && known.is_none() {
            let detail = format!("{plain} is not known here; send it as application/octet-stream");
            return Err(unsupported(detail));
        }
        Ok(Self { media_type: plain, wants: known, head: Vec::new() })
    }

    /// The next bytes.
    ///
    /// # Errors
    /// `unsupported_media_type` when they cannot be what was declared.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let room = HEAD_BYTES - self.head.len();
        if self.wants.is_none() || room == 0 {
            return Ok(());
        }
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if self.head.len() == HEAD_BYTES { self.end() } else { Ok(()) }
    }

    /// There are no more.
    ///
    /// # Errors
    /// As for [`Kind::look`].
    pub(super) fn end(&self) -> Result<(), Problem> {
        let Some(signs) = self.wants else { return Ok(()) };
        let holds = |sign: &Sign| {
            let end = sign.0 + sign.1.len();
            self.head.get(sign.0..end).is_some_and(|found| found == sign.1)
        };
        match signs.iter().any(holds) {
            true => Ok(()),
            false => Err(unsupported(format!("the content is not {}", self.media_type))),
        }
    }
}

fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::UnsupportedMediaType, detail).about("Content-Type")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(media_type: &str, content: &[u8]) -> Result<(), ProblemCode> {
        let judged = Kind::declared(media_type).and_then(|mut kind| {
            for byte in content.chunks(1) {
                kind.look(byte)?;
            }
            kind.end()
        });
        judged.map_err(|problem| problem.code)
    }

    #[test]
    fn every_known_format_takes_its_own_beginning_and_no_other() {
        for (media_type, signs) in FORMATS {
            for sign in *signs {
                let mut content = vec![0xEE; 100];
                content[sign.0..sign.0 + sign.1.len()].copy_from_slice(sign.1);
                assert_eq!(judge(media_type, &content), Ok(()), "{media_type}");
                assert_eq!(judge(&format!("{media_type}; codecs=x"), &content), Ok(()));
            }
            let wrong = Err(ProblemCode::UnsupportedMediaType);
            assert_eq!(judge(media_type, b"MZ this is a program, not a film"), wrong);
            assert_eq!(judge(media_type, b""), wrong, "{media_type} has a beginning");
        }
    }

    #[test]
    fn what_is_no_media_is_not_looked_at_and_unknown_media_is_refused() {
        for media_type in ["application/octet-stream", "text/plain; charset=utf-8", "font/woff2"] {
            assert_eq!(judge(media_type, b"anything"), Ok(()));
        }
        for media_type in ["image/strange", "video/", "png", "", "image/png\n", "a/b/c", "ä/ö"] {
            assert_eq!(judge(media_type, b"x"), Err(ProblemCode::UnsupportedMediaType));
        }
    }
}
