//! Rows of tables, counted by what their keys say they are. Values are not looked at: they may be sealed, and they
//! are nobody's business.

use std::collections::BTreeMap;

use proto::keys::{self, Key};
use serde_json::{Value, json};
use store::{KeyRange, StoreError, Tables};

/// How many rows there are of each kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) engine: &'static str,
    pub(super) rows: BTreeMap<&'static str, u64>,
}

impl Counted {
    pub(super) fn json(&self) -> Value {
        json!({ "engine": self.engine, "rows": self.rows })
    }
}

/// Counts all rows.
pub(super) fn count(engine: &'static str, tables: &dyn Tables) -> Result<Counted, StoreError> {
    let mut rows = BTreeMap::new();
    // No key begins with more than the reserved slot.
    let everything = KeyRange::new(vec![0], vec![0xff; 3]);
    let mut view = tables.view(everything)?;
    while let Some((key, _)) = view.next()? {
        *rows.entry(keys::parse(&key).as_ref().map_or("unknown", kind)).or_insert(0) += 1;
    }
    Ok(Counted { engine, rows })
}

fn kind(key: &Key) -> &'static str {
    match key {
        Key::Head(_) => "head",
        Key::Member(..) => "member",
        Key::Producer(..) => "producer",
        Key::Cursor(..) => "cursor",
        Key::Message(..) => "message",
        Key::MessageRef(..) => "message-ref",
        Key::User(_) => "user",
        Key::Device(..) => "device",
        Key::Link(..) => "link",
        Key::Settings(_) => "settings",
        Key::Change(..) => "change",
        Key::Overlay(..) => "overlay",
        Key::ChangeRef(..) => "change-ref",
        Key::Asset(_) => "asset",
        Key::Storage(_) => "storage",
        Key::Kept(..) => "kept",
        Key::Registered(_) => "registered",
        Key::Registration(..) => "registration",
        Key::Notice(..) => "notice",
        Key::PushMark(..) => "push-mark",
        Key::DeadLetter(..) => "dead-letter",
        Key::Retained(_) => "retained",
        Key::Applied(_) => "applied",
        Key::Outbox(..) => "outbox",
        Key::Staging(..) => "staging",
        Key::Installing(_) => "installing",
        Key::ClusterConfig => "cluster-config",
    }
}

#[cfg(test)]
mod tests {
    use store::{Batch, MemoryTables};

    use super::*;

    #[test]
    fn every_row_is_counted_once_by_its_kind_and_strangers_too() {
        let tables = MemoryTables::new();
        let mut batch = Batch::new();
        for group in [0, 1] {
            // Applied state of a group, as `proto::keys` draws it.
            batch.put(vec![0xff, 0xff, 1, 0, 0, 0, group], "x");
        }
        batch.put(keys::cluster_config(), "x");
        batch.put("a stranger", "x");
        tables.write(batch).expect("written");
        let rows = [("applied", 2), ("cluster-config", 1), ("unknown", 1)].into();
        assert_eq!(count("memory", &tables).expect("counted"), Counted { engine: "memory", rows });
    }
}
