//! One record as statements.

use chat::ConversationId;
use proto::frame::{ClientFrame, ServerFrame, encode_client_frame, encode_server_frame};
use proto::frames;
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::{failed, read};
use crate::store::{KEPT_OF_CONVERSATION_MAX, Owner, REFUSED_MAX, Record, StoreError, fold};

pub(super) fn owner(connection: &Connection, who: &Owner) -> Result<()> {
    let device = who.device.0.to_be_bytes();
    let sql = "INSERT INTO device VALUES (1, ?1, ?2, '', 0, 0)";
    connection.execute(sql, params![who.user.as_str(), device]).map(drop)
}

pub(super) fn count_sync(connection: &Connection) -> Result<()> {
    run(connection, "UPDATE device SET syncs = syncs + 1", [])
}

/// Drops the oldest when there are too many.
pub(super) fn shrink(connection: &Connection, messages_max: u64) -> Result<()> {
    let count: u64 = connection.query_row("SELECT COUNT(*) FROM message", [], |row| row.get(0))?;
    let Some(beyond) = count.checked_sub(messages_max).filter(|beyond| *beyond > 0) else {
        return Ok(());
    };
    let old = "DELETE FROM message WHERE (conversation, seq) IN
               (SELECT conversation, seq FROM message ORDER BY at_ms, seq LIMIT ?1)";
    run(connection, old, [beyond + messages_max / 10])
}

/// Remembers one thing. A conversation is returned when it contradicts what is kept.
pub(super) fn note(
    connection: &Connection,
    who: &Owner,
    record: &Record,
) -> Result<Option<ConversationId>, StoreError> {
    match record {
        Record::Sent { ticket, receipt } => {
            let Some(send) = read::send(connection, *ticket)? else { return Ok(None) };
            run(connection, "DELETE FROM outbox WHERE ticket = ?1", [ticket]).map_err(failed)?;
            message(connection, &fold::own(who, send, receipt))
        }
        Record::Message(told) => message(connection, told),
        Record::Change(told) => change(connection, told).map(|()| None),
        other => simple(connection, other).map(|()| None).map_err(failed),
    }
}

/// The records that are one or two statements.
fn simple(connection: &Connection, record: &Record) -> Result<()> {
    match record {
        Record::Queued { ticket, conversation, request } => {
            let send = encode_client_frame(ClientFrame::Send((**request).clone().into()));
            let sql = "INSERT INTO outbox (ticket, conversation, send) VALUES (?1, ?2, ?3)";
            let id = conversation.as_bytes();
            connection.prepare_cached(sql)?.execute(params![ticket, id, &send[..]])?;
            run(connection, "UPDATE device SET last_ticket = max(last_ticket, ?1)", [ticket])?;
            lane(connection, *conversation)
        }
        Record::Numbered { ticket, order } => {
            let sql = "UPDATE outbox SET send_order = ?2 WHERE ticket = ?1";
            run(connection, sql, params![ticket, order.map(|order| order.0)])
        }
        Record::Refused { ticket, problem } => refused(connection, *ticket, problem),
        Record::Expired { conversation, up_to } => {
            let sql = "DELETE FROM message WHERE conversation = ?1 AND seq <= ?2";
            run(connection, sql, params![conversation.as_bytes(), up_to.0])
        }
        Record::Resume(token) => run(connection, "UPDATE device SET resume = ?1", [token]),
        Record::Forget(conversation) => {
            let id = conversation.as_bytes();
            run(connection, "DELETE FROM message WHERE conversation = ?1", [id])?;
            run(connection, "DELETE FROM lane WHERE conversation = ?1", [id])?;
            lane(connection, *conversation)
        }
        other => standing(connection, other),
    }
}

/// The records that are about nothing but a lane.
fn standing(connection: &Connection, record: &Record) -> Result<()> {
    match record {
        Record::Counting { conversation, next, highest } => {
            lane(connection, *conversation)?;
            let sql = "UPDATE lane SET next_order = ?2, highest_order = ?3 WHERE conversation = ?1";
            run(connection, sql, params![conversation.as_bytes(), next, highest])
        }
        Record::Standing { conversation, wanted, confirmed } => {
            lane(connection, *conversation)?;
            let sql = "UPDATE lane SET delivered = ?2, read = ?3, delivered_confirmed = ?4,
                       read_confirmed = ?5 WHERE conversation = ?1";
            let id = conversation.as_bytes();
            let (to, from) = (wanted, confirmed);
            let row = params![id, to.delivered.0, to.read.0, from.delivered.0, from.read.0];
            run(connection, sql, row)
        }
        Record::ChangesTaken { conversation, wanted, confirmed } => {
            lane(connection, *conversation)?;
            let sql =
                "UPDATE lane SET changes = ?2, changes_confirmed = ?3 WHERE conversation = ?1";
            run(connection, sql, params![conversation.as_bytes(), wanted, confirmed])
        }
        Record::Status { conversation, delivered, read } => {
            lane(connection, *conversation)?;
            let sql = "UPDATE lane SET status_delivered = ?2, status_read = ?3
                       WHERE conversation = ?1";
            run(connection, sql, params![conversation.as_bytes(), delivered.0, read.0])
        }
        _ => unreachable!("every other record is dealt with above"),
    }
}

fn refused(connection: &Connection, ticket: u64, problem: &frames::Problem) -> Result<()> {
    let problem = encode_server_frame(ServerFrame::Problem(problem.clone()));
    let sql = "INSERT INTO refused SELECT ticket, conversation, send, ?2 FROM outbox
               WHERE ticket = ?1";
    run(connection, sql, params![ticket, &problem[..]])?;
    run(connection, "DELETE FROM outbox WHERE ticket = ?1", [ticket])?;
    let sql = "DELETE FROM refused WHERE ticket NOT IN
               (SELECT ticket FROM refused ORDER BY ticket DESC LIMIT ?1)";
    run(connection, sql, [REFUSED_MAX])
}

fn message(
    connection: &Connection,
    told: &frames::Message,
) -> Result<Option<ConversationId>, StoreError> {
    let Ok(conversation) = ConversationId::from_bytes(&told.conversation) else { return Ok(None) };
    // No cluster counts so far; the column could not hold it.
    if i64::try_from(told.seq).is_err() || i64::try_from(told.at_ms).is_err() {
        return Ok(None);
    }
    let merged = match read::message(connection, conversation, told.seq)? {
        None => told.clone(),
        Some(kept) if kept == *told => return Ok(None),
        Some(kept) => match fold::merge(kept, told) {
            Some(merged) => merged,
            None => return Ok(Some(conversation)),
        },
    };
    put(connection, conversation, merged).map_err(failed)?;
    Ok(None)
}

fn put(connection: &Connection, conversation: ConversationId, kept: frames::Message) -> Result<()> {
    let (id, seq, at_ms) = (conversation.as_bytes(), kept.seq, kept.at_ms);
    let chain = (!kept.chain.is_empty()).then(|| kept.chain.to_vec());
    let deliver = frames::Deliver { messages: vec![kept], catching_up: false };
    let bytes = encode_server_frame(ServerFrame::Deliver(deliver));
    lane(connection, conversation)?;
    let sql = "INSERT OR REPLACE INTO message VALUES (?1, ?2, ?3, ?4, ?5)";
    run(connection, sql, params![id, seq, at_ms, chain, &bytes[..]])?;
    let Some(old) = seq.checked_sub(KEPT_OF_CONVERSATION_MAX) else { return Ok(()) };
    run(connection, "DELETE FROM message WHERE conversation = ?1 AND seq <= ?2", params![id, old])
}

fn change(connection: &Connection, told: &frames::Change) -> Result<(), StoreError> {
    let Ok(conversation) = ConversationId::from_bytes(&told.conversation) else { return Ok(()) };
    if i64::try_from(told.number).is_err() {
        return Ok(());
    }
    let id = conversation.as_bytes();
    let sql = "SELECT changes_applied FROM lane WHERE conversation = ?1";
    let applied: Option<u64> =
        connection.query_row(sql, [id], |row| row.get(0)).optional().map_err(failed)?;
    if applied.is_some_and(|applied| told.number <= applied) {
        return Ok(());
    }
    lane(connection, conversation).map_err(failed)?;
    let sql = "UPDATE lane SET changes_applied = ?2 WHERE conversation = ?1";
    run(connection, sql, params![id, told.number]).map_err(failed)?;
    let Some(seq) = fold::place(told).filter(|seq| i64::try_from(*seq).is_ok()) else {
        return Ok(());
    };
    if let Some(mut kept) = read::message(connection, conversation, seq)? {
        fold::apply(&mut kept, told);
        put(connection, conversation, kept).map_err(failed)?;
    }
    Ok(())
}

fn lane(connection: &Connection, conversation: ConversationId) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO lane (conversation) VALUES (?1)";
    run(connection, sql, [conversation.as_bytes()])
}

fn run(connection: &Connection, sql: &str, row: impl rusqlite::Params) -> Result<()> {
    connection.prepare_cached(sql)?.execute(row).map(drop)
}
