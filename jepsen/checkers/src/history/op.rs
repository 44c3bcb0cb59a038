//! What a line of a history can say. Only values; pairing and order are the history's.

/// The process of the fault injector.
pub const NEMESIS: u32 = u32::MAX;
/// A conversation, as a number that the run's [`Interner`] gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct C(pub u32);
/// A device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct D(pub u32);
/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct U(pub u32);
/// The code of a problem, such as `unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u32);

/// Which moment of an operation this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is about to be asked for.
    Invoke,
    /// It was done; also what a device received or an observer saw, which nobody asked for.
    Ok,
    /// It was certainly not done and never will be.
    Fail,
    /// Nobody knows.
    Info,
}

/// Which transport it went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conn {
    /// Frames over QUIC.
    Quic,
    /// Frames over a WebSocket.
    WebSocket,
    /// The specification's JSON over a WebSocket.
    Text,
    /// A REST call.
    Rest,
    /// None: a simulation, an observer, the fault injector.
    None,
}

/// How fresh a read was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Sees everything acknowledged before it began.
    Linearizable,
    /// Sees at least this sequence.
    AtLeast(u64),
    /// Whatever the node has.
    Local,
}

/// Where a fault is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// About to be put in place.
    Install,
    /// In place, and seen to bite.
    Installed,
    /// Not put in place, or it did not bite; the detail says why.
    Skipped,
    /// About to be taken away.
    Heal,
    /// Gone.
    Healed,
}

/// A message at its place, as somebody read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its place in the conversation: 1, 2, 3 …
    pub seq: u64,
    /// Whose device sent it.
    pub from: D,
    /// The device's own count of its messages to the conversation.
    pub k: u64,
    /// [`payload_hash`] of what it says.
    pub h: u64,
    /// First eight bytes of the chain at this message; 0 when it was not told.
    pub chain: u64,
    /// The server's time of it in milliseconds; 0 when it was not told.
    pub at: u64,
}

/// A line of a user's list of conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InboxLine {
    /// The conversation.
    pub c: C,
    /// Its last sequence.
    pub last: u64,
    /// Messages that the user has not read.
    pub unread: u64,
}

/// What an operation is about.
///
/// `Send`, `Read`, `Confirm`, `Create`, `Members`, `Commit`, `Upload` and `Fetch` come as an invocation and a
/// completion of the same process. All others are single observations of kind [`Kind::Ok`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum F {
    /// A device sends a message.
    Send {
        /// To which conversation.
        c: C,
        /// From which device.
        d: D,
        /// Its order: 1, 2, 3 … of this device in this conversation.
        k: u64,
        /// [`payload_hash`] of it.
        h: u64,
        /// The place it was told, when ok; else 0.
        seq: u64,
        /// The answer said that it had been stored before.
        duplicate: bool,
        /// Why not, when it was not ok.
        error: Option<Code>,
    },
    /// A device received a message that it had not asked for.
    Deliver {
        /// Of which conversation.
        c: C,
        /// The receiving device.
        d: D,
        /// Which of its connections, counted from 1.
        link: u32,
        /// Its place.
        seq: u64,
        /// Who sent it.
        from: D,
        /// Its sender's order.
        k: u64,
        /// [`payload_hash`] of it.
        h: u64,
        /// First eight bytes of the chain; 0 when not told.
        chain: u64,
    },
    /// A page of history: the entries after `after`, ascending.
    Read {
        /// Of which conversation.
        c: C,
        /// Who asks.
        d: D,
        /// How fresh.
        level: Level,
        /// The page begins after this sequence.
        after: u64,
        /// What was read; empty in an invocation.
        entries: Vec<Entry>,
        /// The conversation's last sequence as this read saw it, on this page or beyond; `None` when it did
        /// not say.
        head: Option<u64>,
        /// Why not, when it was not ok.
        error: Option<Code>,
    },
    /// The whole conversation as one replica holds it after everything is over.
    Final {
        /// Which conversation.
        c: C,
        /// Which node's replica, counted from 1.
        replica: u8,
        /// All of it.
        entries: Vec<Entry>,
        /// First eight bytes of the head's chain; 0 when not told.
        chain: u64,
    },
    /// A device confirms everything up to a sequence.
    Confirm {
        /// Of which conversation.
        c: C,
        /// Which device.
        d: D,
        /// Up to here.
        seq: u64,
        /// As read, else as delivered.
        read: bool,
        /// Why not, when it was not ok.
        error: Option<Code>,
    },
    /// What a sender is told about its own messages up to `seq`.
    Status {
        /// Of which conversation.
        c: C,
        /// Who is told.
        d: D,
        /// Which message.
        seq: u64,
        /// Every other member has it.
        delivered: bool,
        /// Every other member has read it.
        read: bool,
    },
    /// Where a device's cursor stands, as a node told it in answer to a confirmation or to a strong read.
    Cursor {
        /// Of which conversation.
        c: C,
        /// Which device.
        d: D,
        /// Delivered up to here.
        delivered: u64,
        /// Read up to here.
        read: u64,
        /// Read back after everything was over.
        last: bool,
    },
    /// A conversation comes into being. A direct one is recorded, as ok, when the run first uses it.
    Create {
        /// Which conversation.
        c: C,
        /// By whom.
        by: D,
        /// All its members, the creator among them.
        members: Vec<U>,
        /// Between two users, for ever.
        direct: bool,
        /// Those who join later may read what was before.
        all: bool,
        /// Why not, when it was not ok.
        error: Option<Code>,
    },
    /// Members of a group change.
    Members {
        /// Which group.
        c: C,
        /// By whom.
        by: D,
        /// Who joins.
        add: Vec<U>,
        /// Who goes.
        remove: Vec<U>,
        /// The conversation's last sequence when it took effect, where that is known exactly.
        at: Option<u64>,
        /// Why not, when it was not ok.
        error: Option<Code>,
    },
    /// A device's link is ready.
    Connect {
        /// Which device.
        d: D,
        /// Which of its connections, counted from 1.
        link: u32,
    },
    /// A device's link is gone.
    Disconnect {
        /// Which device.
        d: D,
        /// Which of its connections.
        link: u32,
    },
    /// A device was told that it has caught up, or a device that is done has drained: from here on nothing is
    /// missing that was stored before.
    CaughtUp {
        /// Which device.
        d: D,
        /// Which of its connections.
        link: u32,
        /// The last of it: after the run was over and every device waited for everything.
        last: bool,
    },
    /// A user's list of conversations, read back after everything was over.
    Inbox {
        /// Whose.
        u: U,
        /// All of it.
        entries: Vec<InboxLine>,
    },
    /// What a device sees of a user's presence.
    Presence {
        /// Who looks.
        observer: D,
        /// At whom.
        u: U,
        /// Whether online.
        online: bool,
    },
    /// Somebody says who leads a shard in which term.
    Leader {
        /// Which shard.
        shard: u32,
        /// The leader, counted from 1.
        node: u8,
        /// In this term.
        term: u64,
    },
    /// The digest of a replica's state at an applied index.
    Digest {
        /// Which node.
        replica: u8,
        /// Which shard.
        shard: u32,
        /// Applied up to here.
        index: u64,
        /// Of the state.
        digest: u64,
    },
    /// A shard owns a conversation from an epoch of the map on. Say it once for each conversation: stalls are
    /// judged for each shard.
    Owner {
        /// Which conversation.
        c: C,
        /// Which shard.
        shard: u32,
        /// From which epoch of the map.
        epoch: u64,
    },
    /// A device commits to an encrypted conversation's keys.
    Commit {
        /// Which conversation.
        c: C,
        /// Which device.
        d: D,
        /// The epoch it builds on.
        epoch: u64,
        /// Hash of it.
        h: u64,
        /// The conversation's last sequence when it took effect, where that is known.
        at: Option<u64>,
        /// Refused because the epoch is not current.
        stale: bool,
    },
    /// A stored message names the epoch of its keys.
    Sealed {
        /// Of which conversation.
        c: C,
        /// Its place.
        seq: u64,
        /// The epoch.
        epoch: u64,
    },
    /// A device uploads an asset.
    Upload {
        /// The asset; 0 until it has a name.
        asset: u32,
        /// Hash of the bytes.
        h: u64,
    },
    /// Somebody reads an asset.
    Fetch {
        /// Which.
        asset: u32,
        /// Hash of what came.
        h: u64,
        /// It was said to be gone for good (410).
        gone: bool,
        /// The last read, after everything was over.
        last: bool,
    },
    /// A stored message refers to an asset.
    Mention {
        /// In which conversation.
        c: C,
        /// At which place.
        seq: u64,
        /// Which asset.
        asset: u32,
    },
    /// Bytes that were searched for what nobody may find there.
    Scan {
        /// A file, a log, a capture.
        place: String,
        /// How many bytes were searched.
        bytes: u64,
        /// How many secrets were looked for.
        tokens: u32,
        /// Where one was found.
        found: Vec<u64>,
    },
    /// A fault; its process is [`NEMESIS`].
    Fault {
        /// Its name, the same at every phase.
        name: String,
        /// Whom it hits, or why not.
        detail: String,
        /// Where it is in its life.
        phase: Phase,
        /// Whether every shard keeps a connected, live quorum that clients can reach while it lasts.
        keeps_quorum: bool,
    },
}

/// One moment of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its place in the history, from 0.
    pub index: u64,
    /// Nanoseconds since the run began, of one clock that every recorder of the run shares.
    pub time: u64,
    /// Which logical process; it has one operation open at a time. [`NEMESIS`] for faults.
    pub process: u32,
    /// Which moment.
    pub kind: Kind,
    /// Which node was asked or seen, counted from 1; 0 for none.
    pub node: u8,
    /// Over which transport.
    pub conn: Conn,
    /// What it is about.
    pub f: F,
}

impl F {
    /// Whether it comes as an invocation and a completion.
    pub fn is_asked_for(&self) -> bool {
        matches!(
            self,
            F::Send { .. }
                | F::Read { .. }
                | F::Confirm { .. }
                | F::Create { .. }
                | F::Members { .. }
                | F::Commit { .. }
                | F::Upload { .. }
                | F::Fetch { .. }
        )
    }
}
