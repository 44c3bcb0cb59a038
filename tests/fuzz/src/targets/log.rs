//! What the log holds, and the files that hold the log.

use bytes::Bytes;
use proto::cluster::{
    decode_cluster_command, decode_cluster_config, decode_cluster_outcome, encode_cluster_command,
    encode_cluster_config, encode_cluster_outcome,
};

pub(super) fn log_entry(data: &[u8]) {
    let Ok(entry) = proto::decode_entry(Bytes::copy_from_slice(data)) else { return };
    let bytes = proto::encode_entry(entry.at_ms, &entry.commands);
    assert_eq!(
        proto::decode_entry(bytes).expect("written by us"),
        entry,
        "an entry is what it was"
    );
    for command in &entry.commands {
        self::command(command);
    }
}

pub(super) fn command(data: &[u8]) {
    let Ok(command) = proto::decode_command(data) else { return };
    let again = proto::decode_command(&command.encode()).expect("written by us");
    assert_eq!(again, command, "a command is what it was");
}

pub(super) fn outcome(data: &[u8]) {
    let Ok(outcome) = proto::decode_outcome(data) else { return };
    let again = proto::decode_outcome(&proto::encode_outcome(&outcome)).expect("written by us");
    assert_eq!(again, outcome, "an outcome is what it was");
}

/// The first byte says which.
pub(super) fn cluster(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    match which % 3 {
        0 => {
            let Ok(read) = decode_cluster_command(data) else { return };
            let bytes = encode_cluster_command(&read.actor, &read.command);
            assert_eq!(decode_cluster_command(&bytes).expect("written by us"), read);
        }
        1 => {
            let Ok(read) = decode_cluster_config(data) else { return };
            let bytes = encode_cluster_config(&read);
            assert_eq!(decode_cluster_config(&bytes).expect("written by us"), read);
        }
        _ => {
            let Ok(read) = decode_cluster_outcome(data) else { return };
            let bytes = encode_cluster_outcome(&read);
            assert_eq!(decode_cluster_outcome(&bytes).expect("written by us"), read);
        }
    }
}

pub(super) fn journal_segment(data: &[u8]) {
    store::doors::segment(data);
}

pub(super) fn journal_records(data: &[u8]) {
    store::doors::records(data);
}
