//! Entries on disk: the journal keeps position and kind, the payload is ours. Kinds are never reused.

use bytes::Bytes;
use prost::Message as _;
use proto::peer as wire;
use store::LogRecord;

use super::{NUMBER_MAX, malformed, membership_from_wire, membership_to_wire};
use crate::{
    Error, Position,
    types::{Data, Entry, EntryPayload, log_id},
};

const BLANK: u8 = 0;
const ENTRY: u8 = 1;
const MEMBERSHIP: u8 = 2;

pub(crate) fn encode_record(entry: Entry) -> LogRecord {
    let (kind, payload) = match entry.payload {
        EntryPayload::Blank => (BLANK, Bytes::new()),
        EntryPayload::Normal(Data(bytes)) => (ENTRY, bytes),
        EntryPayload::Membership(membership) => {
            (MEMBERSHIP, membership_to_wire(&membership).encode_to_vec().into())
        }
    };
    LogRecord {
        index: entry.log_id.index,
        term: entry.log_id.leader_id.term,
        node: entry.log_id.leader_id.node_id,
        kind,
        payload,
    }
}

pub(crate) fn decode_record(record: LogRecord) -> Result<Entry, Error> {
    const WHAT: &str = "log record";
    if record.index > NUMBER_MAX || record.term > NUMBER_MAX {
        return Err(malformed(WHAT, "position out of range"));
    }
    let payload = match record.kind {
        BLANK => EntryPayload::Blank,
        ENTRY => EntryPayload::Normal(Data(record.payload)),
        MEMBERSHIP => {
            let membership =
                wire::Membership::decode(record.payload).map_err(|e| malformed(WHAT, e))?;
            EntryPayload::Membership(membership_from_wire(Some(membership))?)
        }
        kind => return Err(malformed(WHAT, format!("kind {kind} is not known"))),
    };
    let at = Position { term: record.term, node: record.node, index: record.index };
    Ok(Entry { log_id: log_id(at), payload })
}

/// About how many bytes of the journal an entry takes.
pub(crate) fn weight(payload: &Bytes) -> u64 {
    /// Frame and position of a record, roughly.
    const RECORD_OVERHEAD: u64 = 48;
    payload.len() as u64 + RECORD_OVERHEAD
}
