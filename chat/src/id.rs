//! The ids of users, groups, devices and messages. Parsing is the only way in: whoever holds one of
//! these holds a legal one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::hex;
use crate::limits::{ID_BYTES_MAX, MESSAGE_ID_BYTES_MAX};

/// Why some text or bytes are no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    /// Nothing at all.
    Empty,
    /// Longer than this many bytes.
    TooLong(usize),
    /// A character outside the id's alphabet.
    BadCharacter,
    /// `.` and `..` mean something else in paths, and device 0 stands for none.
    Reserved,
    /// Not the fixed length or not lowercase hexadecimal.
    NotHex,
    /// The first two bytes name no slot.
    BadSlot,
}

impl fmt::Display for IdError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => out.write_str("is empty"),
            Self::TooLong(limit) => write!(out, "is longer than {limit} bytes"),
            Self::BadCharacter => out.write_str("contains a character that is not allowed"),
            Self::Reserved => out.write_str("is reserved"),
            Self::NotHex => out.write_str("is not lowercase hexadecimal of the right length"),
            Self::BadSlot => out.write_str("names no slot"),
        }
    }
}

impl std::error::Error for IdError {}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `text` if it is a legal id. Cheap to clone afterwards.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                $check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// A user: 1 to 64 of `A-Z a-z 0-9 . _ - = + /`, but not `.` or `..`. Users and groups share one
    /// namespace.
    UserId, check_name
}
name! {
    /// A group, under the same rules as [`UserId`].
    GroupId, check_name
}
name! {
    /// The client's own id of a message: 1 to 128 bytes of text without control characters.
    MessageId, check_message_id
}

fn check_name(text: &str) -> Result<(), IdError> {
    check_length(text, ID_BYTES_MAX)?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-=+/".contains(&byte);
    if !text.bytes().all(legal) {
        return Err(IdError::BadCharacter);
    }
    if text == "." || text == ".." {
        return Err(IdError::Reserved);
    }
    Ok(())
}

fn check_message_id(text: &str) -> Result<(), IdError> {
    check_length(text, MESSAGE_ID_BYTES_MAX)?;
    if text.chars().any(char::is_control) {
        return Err(IdError::BadCharacter);
    }
    Ok(())
}

fn check_length(text: &str, limit: usize) -> Result<(), IdError> {
    match text.len() {
        0 => Err(IdError::Empty),
        length if length > limit => Err(IdError::TooLong(limit)),
        _ => Ok(()),
    }
}

/// One device of one user. Written as 16 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u64);

impl fmt::Display for DeviceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for DeviceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let id = hex::read(text).map(u64::from_be_bytes).ok_or(IdError::NotHex)?;
        // In every encoding 0 stands for none: a command about it could be written and not be read again.
        if id == 0 { Err(IdError::Reserved) } else { Ok(Self(id)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_specification_are_legal() {
        for name in ["alice", "a", "AZaz09._-=+/", "Zm9v+/==", "...", &"x".repeat(64)] {
            assert_eq!(UserId::parse(name).expect("legal").as_str(), name);
            assert!(GroupId::parse(name).is_ok());
        }
    }

    #[test]
    fn the_device_that_stands_for_none_is_no_device() {
        assert_eq!("0000000000000000".parse::<DeviceId>(), Err(IdError::Reserved));
        assert_eq!("0000000000000001".parse(), Ok(DeviceId(1)));
    }

    #[test]
    fn other_names_are_refused_with_the_reason() {
        assert_eq!(UserId::parse(""), Err(IdError::Empty));
        assert_eq!(UserId::parse(&"x".repeat(65)), Err(IdError::TooLong(64)));
        assert_eq!(UserId::parse("."), Err(IdError::Reserved));
        assert_eq!(UserId::parse(".."), Err(IdError::Reserved));
        for name in ["a b", "a\0", "ä", "a%2f", "a:b", "a\n"] {
            assert_eq!(UserId::parse(name), Err(IdError::BadCharacter), "{name:?}");
        }
    }

    #[test]
    fn message_ids_take_any_text_without_control_characters() {
        for id in ["1", "ключ 7", "a b/c?d", &"x".repeat(128)] {
            assert_eq!(MessageId::parse(id).expect("legal").as_str(), id);
        }
        assert_eq!(MessageId::parse(""), Err(IdError::Empty));
        assert_eq!(MessageId::parse(&"x".repeat(129)), Err(IdError::TooLong(128)));
        for id in ["a\n", "\u{7f}", "\u{85}", "a\0b"] {
            assert_eq!(MessageId::parse(id), Err(IdError::BadCharacter), "{id:?}");
        }
    }

    #[test]
    fn devices_have_one_spelling() {
        let device = DeviceId(0x00ab_cdef_0123_4567);
        assert_eq!(device.to_string(), "00abcdef01234567");
        assert_eq!("00abcdef01234567".parse(), Ok(device));
        for text in ["ABCDEF0123456789", "abc", "", "00abcdef0123456g", "00abcdef012345678"] {
            assert_eq!(text.parse::<DeviceId>(), Err(IdError::NotHex), "{text}");
        }
    }
}
