//! The limits of conversations and users, each with its reason. A command beyond one of them is
//! refused with a documented code; none of them is a silent truncation.

/// Text of one message: long enough for any letter, short enough that an entry of a few hundred
/// messages still fits one append.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Members of one group: a cursor move looks at every member at worst, so this bounds its cost.
pub const MEMBERS_MAX: usize = 1024;

/// Devices of one user: each costs a cursor and a producer in every conversation it takes part in.
pub const DEVICES_MAX: usize = 10;

/// A user's or a group's id, in bytes; part of keys, so it must stay short.
pub const ID_BYTES_MAX: usize = 64;

/// The client's own id of a message, in bytes; part of a key, and room for any UUID or ULID twice.
pub const MESSAGE_ID_BYTES_MAX: usize = 128;

/// Attachments of one message: an album, not an archive.
pub const ATTACHMENTS_MAX: usize = 32;

/// Mentions of one message: whoever calls more people calls everybody.
pub const MENTIONS_MAX: usize = 64;

/// Edits of one message. Each is kept for the trail until the message is deleted, and the numbers of
/// all stand in one row.
pub const EDITS_MAX: usize = 64;

/// For how long messages may be kept without being kept for ever, in seconds: ten years.
pub const RETENTION_SECONDS_MAX: u64 = 10 * 366 * 24 * 3600;

/// Messages that expire by one command. All of them are read for it, so that at their largest it costs 16 MiB for a
/// moment, and no message waits longer than for a large entry.
pub const EXPIRE_MAX: u64 = 128;

/// One user's reaction to a message, in bytes: the longest emoji sequences take about that.
pub const REACTION_BYTES_MAX: usize = 32;

/// Users with a reaction to one message: all of them stand in one row, which every reader of the
/// message is sent.
pub const REACTIONS_MAX: usize = 256;

/// One attachment's URI, in bytes: our own are far shorter, foreign ones must fit a request line.
pub const URI_BYTES_MAX: usize = 1024;

/// The name of a group or of a device, in bytes: shown on one line of a screen.
pub const NAME_BYTES_MAX: usize = 256;

/// The client's own time stamp, in bytes: any known notation fits, free text does not.
pub const CLIENT_TIMESTAMP_BYTES_MAX: usize = 128;

/// A stored password hash, in bytes: Argon2's own text form takes about a hundred.
pub const PASSWORD_HASH_BYTES_MAX: usize = 512;

/// Conversations of one user: the list is read as a whole when a device connects.
pub const CONVERSATIONS_MAX: usize = 10_000;

/// Registrations of one user: one for each device and a few servers would be many.
pub const REGISTRATIONS_MAX: usize = 10;

/// A device's token at APNs or FCM, in bytes: theirs have at most a few hundred.
pub const PUSH_TOKEN_BYTES_MAX: usize = 1024;

/// Notices of one registration that may wait to be taken. Further messages wait as what they are, and become
/// one notice for each conversation later.
pub const NOTICES_OUTSTANDING_MAX: u64 = 64;

/// Notices of one registration that are kept for a replay, at about 50 bytes each.
pub const NOTICES_KEPT: usize = 128;

/// Dead letters of one registration: beyond it nobody reads them one by one.
pub const DEAD_LETTERS_MAX: usize = 32;

/// What is kept of the reason for which a notice was given up, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

/// Conversations that one asset may be sent to: a picture that went further is uploaded again. The record of such an
/// asset has 16 KiB, which is written anew with each grant.
pub const GRANTS_MAX: usize = 1024;

/// Holders of one asset: more than any shard has replicas, the ones that came and went included.
pub const HOLDERS_MAX: usize = 64;

/// A declared media type, as long as any registered one with its parameters.
pub const MEDIA_TYPE_BYTES_MAX: usize = 256;

/// What an asset counts at least: a block of a disk, so that a quota bounds how many there can be.
pub const CHARGE_BYTES_MIN: u64 = 4096;

/// Everything of one message that a client chooses, in bytes. Frames and entries are sized by it.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;

const _: () = assert!(
    TEXT_BYTES_MAX
        + ATTACHMENTS_MAX * URI_BYTES_MAX
        + CLIENT_TIMESTAMP_BYTES_MAX
        + MESSAGE_ID_BYTES_MAX
        + (MENTIONS_MAX + 2) * ID_BYTES_MAX
        <= MESSAGE_BYTES_MAX,
    "a message at all its limits must fit the message limit"
);
const _: () = assert!(
    MEMBERS_MAX * (ID_BYTES_MAX + 4) <= MESSAGE_BYTES_MAX,
    "the creation of the largest group must be no larger than the largest message"
);
const _: () = assert!(
    TEXT_BYTES_MAX + REACTIONS_MAX * (REACTION_BYTES_MAX + ID_BYTES_MAX + 16) + EDITS_MAX * 10
        <= MESSAGE_BYTES_MAX,
    "what lies over a message is no larger than the largest message"
);
const _: () =
    assert!(NOTICES_OUTSTANDING_MAX <= NOTICES_KEPT as u64, "what is outstanding must be kept");
const _: () = assert!(MEMBERS_MAX >= 2, "a direct conversation has two members");
const _: () = assert!(DEVICES_MAX >= 1, "a user without a device could say nothing");
