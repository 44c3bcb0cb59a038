//! How much a client keeps and how long it waits, each with its reason.

use std::time::Duration;

/// Messages that wait or are unanswered, all conversations together: seconds of a fast bot, and a few MiB at worst usual size.
pub(super) const OUTBOX_MAX: usize = 4096;
/// Messages of one conversation that are unanswered at once: enough for a round trip of 50 ms at 1,000 messages a second.
pub(super) const PIPELINE_MAX: usize = 64;
/// Conversations that are compared with what the store holds, or filled again, at once: half of the pages that a node lets
/// one link ask for at a time.
pub(super) const COMPARES_AT_ONCE: usize = 4;
/// Pages that a forgotten conversation is filled again with, from its end; what is older is read when it is asked for.
pub(super) const REFILL_PAGES: u32 = 10;
/// With a store, the least time between two rounds of confirmations: before each the store is made durable, and the disk
/// shall not be asked to for each message. Far below what a person sees.
pub(super) const CONFIRM_PAUSE: Duration = Duration::from_millis(50);
/// Pages of history asked for at once, gaps included.
pub(super) const READS_MAX: usize = 64;
/// Conversations with a gap at once. Beyond it a gap is found again by the next message.
pub(super) const GAPS_MAX: usize = 256;
/// Messages of one conversation that wait for what is missing before them; further ones are read from history.
pub(super) const GAP_MESSAGES_MAX: usize = 128;
/// Changes of one conversation that wait for messages before them; further ones come again with the next link.
pub(super) const CHANGES_HELD_MAX: usize = 256;
/// Users who are watched; more are refused by every node.
pub(crate) const WATCHED_MAX: usize = 500;
/// Places of own messages that are remembered in a conversation that delivered nothing yet.
pub(super) const OWN_MAX: usize = 1024;
/// Confirmations that somebody waits for.
pub(super) const CONFIRM_TICKETS_MAX: usize = 4096;
/// What waits for the application before links are no longer read.
pub(super) const INCOMING_MAX: usize = 1024;
/// Requests of the application that the client's task has not taken yet.
pub(crate) const COMMANDS_MAX: usize = 1024;

/// Messages of one page of history, the most that a node gives.
pub(super) const PAGE_MESSAGES: u32 = 100;

/// A busy link that says nothing for so long is asked for a sign of life.
pub(super) const PING_AFTER: Duration = Duration::from_millis(100);
/// A busy link that says nothing for so long is taken for dead: another node is dialled beside it. A killed QUIC peer sends
/// no reset, so that silence is all there is to notice. Far above a round trip and a disk's sync, far below patience.
pub(super) const SILENCE_MAX: Duration = Duration::from_millis(300);
/// A message that a living node leaves unanswered for so long makes the client try another node: this one may be cut off
/// from its peers.
pub(super) const STALL_MAX: Duration = Duration::from_secs(1);
/// Least time between two changes of node that no dead link demanded, doubled while they do not help: a cluster that is
/// merely slow must not be made slower.
pub(super) const FAILOVER_PAUSE: Duration = Duration::from_secs(1);
/// Longest time between such changes.
pub(super) const FAILOVER_PAUSE_MAX: Duration = Duration::from_secs(16);
/// A link that was not welcomed for so long is given up.
pub(super) const LINK_DEADLINE: Duration = Duration::from_secs(3);

/// How long a gap may close by itself before history is read: an answer with the place of an own message may be behind a
/// delivery by this much.
pub(super) const GAP_GRACE: Duration = Duration::from_millis(30);

/// First pause before a refused attempt is repeated.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(20);
/// Longest pause between attempts: patience has room for many of them.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The access token is renewed when a quarter of its life is left, or this much if that is less.
pub(super) const REFRESH_MARGIN_MAX: Duration = Duration::from_secs(60);

const _: () =
    assert!(PING_AFTER.as_millis() * 2 < SILENCE_MAX.as_millis(), "a ping has time to be answered");
const _: () =
    assert!(SILENCE_MAX.as_millis() < STALL_MAX.as_millis(), "silence is noticed before slowness");
const _: () = assert!(PIPELINE_MAX <= OUTBOX_MAX, "what is unanswered is in the outbox");
const _: () =
    assert!(BACKOFF_MAX.as_millis() < LINK_DEADLINE.as_millis(), "a pause is shorter than a dial");
