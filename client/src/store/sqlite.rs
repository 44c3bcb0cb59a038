//! The store as a SQLite file: one file for one device, one process at a time. Write-ahead log, so that a commit is one
//! append; the disk is asked (`synchronous = FULL`) for durable commits only, which make all before them durable, too.
//!
//! SQLite's own lock keeps the second process out, and ends with the process that holds it. Tables of other libraries may
//! live in the same file: [`Sqlite::connection`] lends it to them.

mod read;
mod write;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use chat::{ConversationId, Seq};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::{
    Commit, Head, KEPT_MAX, Kept, KeptConversation, KeptPage, KeptRefusal, KeptSend, Owner, Record,
    Store, StoreError,
};

/// Marks the file as a store of this client: "Synd".
const APPLICATION: u32 = 0x5379_6e64;
/// The version of the tables; the next release reads it.
const VERSION: u32 = 1;
/// Messages between two looks at how many are kept: looking walks an index.
const LOOK_EVERY: u64 = 1000;

/// A store in a file.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    owner: Option<Owner>,
    how: Option<Commit>,
    messages_max: u64,
    messages_since_look: u64,
}

impl Sqlite {
    /// Opens the store at `path`, or makes one.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it; [`StoreError::Newer`], [`StoreError::Foreign`] when it is nothing
    /// that this version could use, which is left as it is; [`StoreError::Failed`].
    pub fn open(path: &Path) -> Result<Sqlite, StoreError> {
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(Duration::ZERO).map_err(failed)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
        let found: u32 =
            connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(failed)?;
        let objects: u64 = connection
            .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(failed)?;
        if found != APPLICATION && (found != 0 || objects != 0) {
            return Err(StoreError::Foreign);
        }
        let version: u32 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        if version > VERSION {
            return Err(StoreError::Newer { found: version, known: VERSION });
        }
        let mode: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(failed)?;
        if mode != "wal" {
            return Err(StoreError::Failed(format!("the journal is `{mode}`, not `wal`")));
        }
        let mut store = Sqlite {
            connection,
            owner: None,
            how: None,
            messages_max: KEPT_MAX,
            messages_since_look: LOOK_EVERY,
        };
        store.create(version, path)?;
        Ok(store)
    }

    /// The same with room for fewer messages.
    #[must_use]
    pub fn with_messages_max(mut self, messages_max: u64) -> Sqlite {
        self.messages_max = messages_max;
        self
    }

    /// The open file, for tables of others beside these. Transactions are this store's only between its calls.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Takes the lock, which is kept, and makes the tables if there are none.
    fn create(&mut self, version: u32, path: &Path) -> Result<(), StoreError> {
        self.synchronous(Commit::Durable)?;
        let begin = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(begin).map_err(failed)?;
        if version == 0 {
            transaction.execute_batch(include_str!("sqlite/schema.sql")).map_err(failed)?;
            transaction.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
            transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        // A file that is new is in its folder for good only when the folder is on the disk.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder.and_then(|folder| folder.sync_all()).map_err(|e| StoreError::Failed(e.to_string()))
    }

    fn synchronous(&mut self, how: Commit) -> Result<(), StoreError> {
        if self.how == Some(how) {
            return Ok(());
        }
        let word = match how {
            Commit::Soon => "NORMAL",
            Commit::Durable => "FULL",
        };
        self.connection.pragma_update(None, "synchronous", word).map_err(failed)?;
        self.how = Some(how);
        Ok(())
    }

    fn owner(&self) -> Result<Owner, StoreError> {
        self.owner.clone().ok_or_else(|| StoreError::Failed("nobody has begun".to_owned()))
    }
}

impl Store for Sqlite {
    fn begin(&mut self, who: &Owner) -> Result<Kept, StoreError> {
        match read::owner(&self.connection)? {
            Some(held) => super::check_owner(&held, who)?,
            None => {
                self.synchronous(Commit::Durable)?;
                write::owner(&self.connection, who).map_err(failed)?;
            }
        }
        self.owner = Some(who.clone());
        read::kept(&self.connection)
    }

    fn commit(
        &mut self,
        records: &[Record],
        how: Commit,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let owner = self.owner()?;
        self.synchronous(how)?;
        let begin = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(begin).map_err(failed)?;
        let mut contradicted = Vec::new();
        for record in records {
            contradicted.extend(write::note(&transaction, &owner, record)?);
            self.messages_since_look += u64::from(matches!(record, Record::Message(_)));
        }
        if self.messages_since_look >= LOOK_EVERY {
            self.messages_since_look = 0;
            write::shrink(&transaction, self.messages_max).map_err(failed)?;
        }
        if how == Commit::Durable {
            // A transaction that writes nothing would not reach the disk, nor would those before it.
            write::count_sync(&transaction).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        Ok(contradicted)
    }

    fn heads(&mut self) -> Result<Vec<Head>, StoreError> {
        read::heads(&self.connection)
    }

    fn history(
        &mut self,
        conversation: ConversationId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<KeptPage, StoreError> {
        let messages = read::history(&self.connection, conversation, before, limit)?;
        Ok(KeptPage { whole: super::is_whole(&messages, before), messages })
    }

    fn conversations(&mut self) -> Result<Vec<KeptConversation>, StoreError> {
        let mut all = read::conversations(&self.connection)?;
        super::newest_first(&mut all);
        Ok(all)
    }

    fn pending(&mut self) -> Result<Vec<KeptSend>, StoreError> {
        read::outbox(&self.connection)
    }

    fn refusals(&mut self) -> Result<Vec<KeptRefusal>, StoreError> {
        read::refusals(&self.connection)
    }
}

/// What SQLite says, in this store's words.
fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse,
        Some(ErrorCode::NotADatabase) => StoreError::Foreign,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation) => {
            StoreError::Damaged(error.to_string())
        }
        _ => StoreError::Failed(error.to_string()),
    }
}
