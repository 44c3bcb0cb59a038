-- The store of one device, version 1. `user_version` is this schema's; tables of other libraries may stand beside these.
-- Ids of conversations are 16 bytes; sequences, orders and times are integers of the wire; `send` and `message` are frames
-- of the wire (`Send`, and `Deliver` of one message).
CREATE TABLE device (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    user TEXT NOT NULL,
    device BLOB NOT NULL,
    resume TEXT NOT NULL,
    last_ticket INTEGER NOT NULL,
    -- Counted up when there is nothing else to write and the disk must be asked.
    syncs INTEGER NOT NULL
) STRICT;
CREATE TABLE outbox (
    ticket INTEGER PRIMARY KEY,
    conversation BLOB NOT NULL,
    send BLOB NOT NULL,
    -- NULL: never sent under a number that still counts.
    send_order INTEGER
) STRICT;
CREATE UNIQUE INDEX outbox_orders ON outbox (conversation, send_order) WHERE send_order IS NOT NULL;
CREATE TABLE refused (
    ticket INTEGER PRIMARY KEY,
    conversation BLOB NOT NULL,
    send BLOB NOT NULL,
    problem BLOB NOT NULL
) STRICT;
CREATE TABLE lane (
    conversation BLOB PRIMARY KEY,
    -- NULL: only the cluster knows.
    next_order INTEGER,
    highest_order INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    read INTEGER NOT NULL DEFAULT 0,
    delivered_confirmed INTEGER NOT NULL DEFAULT 0,
    read_confirmed INTEGER NOT NULL DEFAULT 0,
    changes INTEGER NOT NULL DEFAULT 0,
    changes_confirmed INTEGER NOT NULL DEFAULT 0,
    -- The last change that was applied to the messages.
    changes_applied INTEGER NOT NULL DEFAULT 0,
    status_delivered INTEGER NOT NULL DEFAULT 0,
    status_read INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE message (
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    -- NULL: an own message that no node has told yet.
    chain BLOB,
    message BLOB NOT NULL,
    PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_at ON message (at_ms);
