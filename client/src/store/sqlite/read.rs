//! Rows as what they mean. What makes no sense is damage, never a panic: a disk may say anything.

use bytes::Bytes;
use chat::{ConversationId, DeviceId, Order, Seq, UserId};
use proto::frame::{
    ClientFrame, SendRequest, ServerFrame, decode_client_frame, decode_server_frame,
};
use proto::frames::{self, Problem};
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use super::failed;
use crate::Standing;
use crate::store::{
    Head, Kept, KeptConversation, KeptLane, KeptRefusal, KeptSend, Owner, StoreError,
};

pub(super) fn owner(connection: &Connection) -> Result<Option<Owner>, StoreError> {
    let sql = "SELECT user, device FROM device";
    let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, [u8; 8]>(1)?));
    let Some((user, device)) = connection.query_row(sql, [], row).optional().map_err(failed)?
    else {
        return Ok(None);
    };
    let user = UserId::parse(&user).map_err(|e| damaged("user", e))?;
    Ok(Some(Owner { user, device: DeviceId(u64::from_be_bytes(device)) }))
}

pub(super) fn kept(connection: &Connection) -> Result<Kept, StoreError> {
    let sql = "SELECT last_ticket, resume FROM device";
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (last_ticket, resume) = connection.query_row(sql, [], row).map_err(failed)?;
    let outbox = outbox(connection)?;
    let mut last: Option<(ConversationId, Order)> = None;
    let mut sorted: Vec<&KeptSend> = outbox.iter().collect();
    sorted.sort_by_key(|send| (send.conversation, send.ticket));
    for send in sorted {
        let Some(order) = send.request.order else { continue };
        if last.is_some_and(|(of, before)| of == send.conversation && before >= order) {
            return Err(damaged("outbox", "its orders do not rise"));
        }
        last = Some((send.conversation, order));
    }
    Ok(Kept { last_ticket, resume, outbox, lanes: lanes(connection)? })
}

fn lanes(connection: &Connection) -> Result<Vec<KeptLane>, StoreError> {
    let sql = "SELECT conversation, next_order, delivered, read, delivered_confirmed,
               read_confirmed, changes, changes_confirmed, status_delivered, status_read,
               highest_order FROM lane";
    rows(connection, sql, [], |row| {
        let seq = |at: usize| row.get(at).map(Seq);
        Ok(KeptLane {
            conversation: conversation(row, 0)?,
            next_order: row.get(1).map_err(failed)?,
            highest_order: row.get(10).map_err(failed)?,
            wanted: Standing { delivered: seq(2).map_err(failed)?, read: seq(3).map_err(failed)? },
            confirmed: Standing {
                delivered: seq(4).map_err(failed)?,
                read: seq(5).map_err(failed)?,
            },
            changes_wanted: row.get(6).map_err(failed)?,
            changes_confirmed: row.get(7).map_err(failed)?,
            status: (seq(8).map_err(failed)?, seq(9).map_err(failed)?),
        })
    })
}

pub(super) fn outbox(connection: &Connection) -> Result<Vec<KeptSend>, StoreError> {
    let sql = "SELECT ticket, conversation, send, send_order FROM outbox ORDER BY ticket";
    rows(connection, sql, [], kept_send)
}

pub(super) fn send(connection: &Connection, ticket: u64) -> Result<Option<KeptSend>, StoreError> {
    let sql = "SELECT ticket, conversation, send, send_order FROM outbox WHERE ticket = ?1";
    Ok(rows(connection, sql, [ticket], kept_send)?.pop())
}

pub(super) fn refusals(connection: &Connection) -> Result<Vec<KeptRefusal>, StoreError> {
    let sql = "SELECT ticket, conversation, send, NULL, problem FROM refused ORDER BY ticket";
    rows(connection, sql, [], |row| {
        let problem = match server_frame(row, 4)? {
            ServerFrame::Problem(problem) => problem,
            _ => Problem::default(),
        };
        Ok(KeptRefusal { send: kept_send(row)?, problem })
    })
}

fn kept_send(row: &Row<'_>) -> Result<KeptSend, StoreError> {
    let bytes: Vec<u8> = row.get(2).map_err(failed)?;
    let frame = decode_client_frame(Bytes::from(bytes)).map_err(|e| damaged("outbox", e))?;
    let ClientFrame::Send(send) = frame else { return Err(damaged("outbox", "not a send")) };
    let mut request = SendRequest::try_from(send).map_err(|e| damaged("outbox", e))?;
    request.order = row.get::<_, Option<u64>>(3).map_err(failed)?.map(Order);
    let ticket = row.get(0).map_err(failed)?;
    Ok(KeptSend { ticket, conversation: conversation(row, 1)?, request })
}

pub(super) fn heads(connection: &Connection) -> Result<Vec<Head>, StoreError> {
    let sql = "SELECT lane.conversation, message.seq, message.chain FROM lane JOIN message
               ON message.conversation = lane.conversation AND message.seq =
               (SELECT seq FROM message WHERE conversation = lane.conversation
                AND chain IS NOT NULL ORDER BY seq DESC LIMIT 1)";
    rows(connection, sql, [], |row| {
        let chain: Vec<u8> = row.get(2).map_err(failed)?;
        let (conversation, seq) = (conversation(row, 0)?, Seq(row.get(1).map_err(failed)?));
        Ok(Head { conversation, seq, chain: Bytes::from(chain) })
    })
}

pub(super) fn message(
    connection: &Connection,
    conversation: ConversationId,
    seq: u64,
) -> Result<Option<frames::Message>, StoreError> {
    let sql = "SELECT message FROM message WHERE conversation = ?1 AND seq = ?2";
    let row = params![conversation.as_bytes(), seq];
    Ok(rows(connection, sql, row, |row| kept_message(row, 0))?.pop())
}

pub(super) fn history(
    connection: &Connection,
    conversation: ConversationId,
    before: Option<Seq>,
    limit: usize,
) -> Result<Vec<frames::Message>, StoreError> {
    let below = before.map_or(i64::MAX, |seq| i64::try_from(seq.0).unwrap_or(i64::MAX));
    let sql = "SELECT message FROM message WHERE conversation = ?1 AND seq < ?2
               ORDER BY seq DESC LIMIT ?3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let row = params![conversation.as_bytes(), below, limit];
    let mut messages = rows(connection, sql, row, |row| kept_message(row, 0))?;
    messages.reverse();
    Ok(messages)
}

pub(super) fn conversations(connection: &Connection) -> Result<Vec<KeptConversation>, StoreError> {
    let mut all = Vec::new();
    let pending = "SELECT COUNT(*) FROM outbox WHERE conversation = ?1";
    for lane in lanes(connection)? {
        let conversation = lane.conversation;
        let pending = connection
            .prepare_cached(pending)
            .and_then(|mut sql| sql.query_row([conversation.as_bytes()], |row| row.get(0)));
        all.push(KeptConversation {
            conversation,
            last: history(connection, conversation, None, 1)?.pop(),
            standing: lane.wanted,
            status: lane.status,
            pending: pending.map_err(failed)?,
        });
    }
    Ok(all)
}

fn kept_message(row: &Row<'_>, at: usize) -> Result<frames::Message, StoreError> {
    let message = match server_frame(row, at)? {
        ServerFrame::Deliver(mut deliver) => deliver.messages.pop(),
        _ => None,
    };
    message.ok_or_else(|| damaged("message", "not a message"))
}

fn server_frame(row: &Row<'_>, at: usize) -> Result<ServerFrame, StoreError> {
    let bytes: Vec<u8> = row.get(at).map_err(failed)?;
    let frame = decode_server_frame(Bytes::from(bytes)).map_err(|e| damaged("a frame", e))?;
    frame.ok_or_else(|| damaged("a frame", "of an unknown kind"))
}

fn conversation(row: &Row<'_>, at: usize) -> Result<ConversationId, StoreError> {
    let bytes: Vec<u8> = row.get(at).map_err(failed)?;
    ConversationId::from_bytes(&bytes).map_err(|e| damaged("conversation", e))
}

fn damaged(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("{what}: {why}"))
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    row: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(row).map_err(failed)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        all.push(read(row)?);
    }
    Ok(all)
}
