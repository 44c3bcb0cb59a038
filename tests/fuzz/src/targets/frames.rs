//! What clients send: frames, JSON, WebSocket bytes, tokens; and the operator's file.

use bytes::Bytes;
use proto::frame::{
    ChangeRequest, ClientFrame, HistoryRequest, SendRequest, ServerFrame, decode_client_frame,
    decode_server_frame, encode_client_frame, encode_server_frame,
};
use proto::frames;
use proto::spec_json;

pub(super) fn client_frame(data: &[u8]) {
    let Ok(frame) = decode_client_frame(Bytes::copy_from_slice(data)) else { return };
    let again = decode_client_frame(encode_client_frame(frame.clone())).expect("written by us");
    assert_eq!(frame, again, "a frame is what it was");
    match frame {
        ClientFrame::Send(send) => {
            let Ok(request) = SendRequest::try_from(send) else { return };
            let again = SendRequest::try_from(frames::Send::from(request.clone()));
            assert_eq!(again, Ok(request), "a request is what it was");
        }
        ClientFrame::ReadHistory(history) => {
            let Ok(request) = HistoryRequest::try_from(history) else { return };
            let again = HistoryRequest::try_from(frames::ReadHistory::from(request.clone()));
            assert_eq!(again, Ok(request), "a request is what it was");
        }
        ClientFrame::ChangeMessage(change) => {
            let _ = ChangeRequest::try_from(change);
        }
        ClientFrame::Hello(_)
        | ClientFrame::Confirm(_)
        | ClientFrame::ConfirmChanges(_)
        | ClientFrame::Typing(_)
        | ClientFrame::WatchPresence(_)
        | ClientFrame::Ping(_) => {}
    }
}

pub(super) fn server_frame(data: &[u8]) {
    let Ok(Some(frame)) = decode_server_frame(Bytes::copy_from_slice(data)) else { return };
    let again = decode_server_frame(encode_server_frame(frame.clone())).expect("written by us");
    assert_eq!(again.as_ref(), Some(&frame), "a frame is what it was");
    if let ServerFrame::Changes(changes) = frame {
        for change in changes.changes {
            let Ok(read) = chat::Change::try_from(change) else { continue };
            let again = chat::Change::try_from(frames::Change::from(&read));
            assert_eq!(again, Ok(read), "a change is what it was");
        }
    }
}

pub(super) fn spec_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = spec_json::parse(text);
    let _ = spec_json::parse_rfc3339(text);
    let _ = text.parse::<chat::CanonicalId>();
    let _ = text.parse::<chat::ConversationId>();
    let _ = text.parse::<chat::DeviceId>();
    let _ = chat::UserId::parse(text);
    let _ = chat::MessageId::parse(text);
}

pub(super) fn session_text(data: &[u8]) {
    node::doors::hear(data, true);
}

pub(super) fn session_binary(data: &[u8]) {
    node::doors::hear(data, false);
}

pub(super) fn websocket(data: &[u8]) {
    transport::doors::websocket(data);
}

pub(super) fn token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        node::doors::token(text);
    }
}

pub(super) fn config(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = node::config::Config::parse(text, std::path::Path::new("/nowhere"));
    }
}
