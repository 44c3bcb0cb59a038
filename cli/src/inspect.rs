//! `synod inspect`: what lies in the data folder of a node that does not run. Nothing in the folder is changed: the
//! journal is read in place, the tables are copied first, for their engine tidies what it opens.

mod rows;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use store::{Disk as _, FsDisk, StoreError, journal::JournalSeen, tables};

use crate::{
    args::Inspect,
    exit::{Exit, Failure, Outcome},
};

/// `synod inspect`.
pub(crate) fn inspect(args: &Inspect) -> Outcome {
    let data = &args.data;
    if !data.join("journal").is_dir() {
        let found =
            format!("{}: there is no `journal` in it; is it a data folder?", data.display());
        return Err(Failure::new(Exit::NotFound, found));
    }
    let journal = store::journal::look(&FsDisk::to_read(data.join("journal"))).map_err(failure)?;
    let tables = if args.no_tables { None } else { counted(args)? };
    let assets = assets(&data.join("assets"));
    if args.json {
        say!("{}", json(data, &journal, tables.as_ref(), assets));
    } else {
        print(data, &journal, tables.as_ref(), assets);
    }
    Ok(Exit::Ok)
}

fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::Locked { path } => {
            let message = format!("{path}: a node runs here; stop it, or look at a copy");
            Failure::new(Exit::Rejected, message)
        }
        error => Failure::new(Exit::Internal, error),
    }
}

/// Rows by kind; `None` when there are no tables.
fn counted(args: &Inspect) -> Result<Option<rows::Counted>, Failure> {
    let folder = args.data.join("tables");
    if !folder.is_dir() {
        return Ok(None);
    }
    if tables::is_open_elsewhere(&folder).map_err(failure)? {
        return Err(failure(StoreError::Locked { path: folder.display().to_string() }));
    }
    let scratch = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let copy = Copy::of(&folder, &scratch)?;
    let (engine, tables) = tables::open_as_they_lie(&copy.0).map_err(failure)?;
    Ok(Some(rows::count(engine.name(), &*tables).map_err(failure)?))
}

/// A copy that is gone when nobody looks at it any more.
struct Copy(PathBuf);

impl Copy {
    fn of(folder: &Path, scratch: &Path) -> Result<Copy, Failure> {
        let unusable = |error: std::io::Error| {
            let message = format!("{}: {error}; name another with --scratch", scratch.display());
            Failure::new(Exit::Rejected, message)
        };
        let needed = size(folder).map_err(unusable)?;
        let free = FsDisk::to_read(scratch).space().map_or(u64::MAX, |space| space.free_bytes);
        // A disk that is filled to the brim is somebody else's trouble.
        if needed > free / 2 {
            let what = format!("the copy needs {needed} bytes and {free} are free");
            return Err(unusable(std::io::Error::other(what)));
        }
        let copy = Copy(scratch.join(format!("synod-inspect.{}", std::process::id())));
        copy_all(folder, &copy.0).map_err(unusable)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What cannot be removed is told by nobody; it is in a folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn size(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { size(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// How many files of assets there are, and their bytes; `None` when there are none.
fn assets(folder: &Path) -> Option<(u64, u64)> {
    fn add(folder: &Path, sum: &mut (u64, u64)) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(about) if about.is_dir() => add(&entry.path(), sum),
                Ok(about) => *sum = (sum.0 + 1, sum.1 + about.len()),
                Err(_) => {}
            }
        }
    }
    let mut sum = (0, 0);
    add(folder, &mut sum);
    folder.is_dir().then_some(sum)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The second half of a journal's identity is the node's id.
fn node(journal: &JournalSeen) -> u64 {
    let (_, node) = journal.identity.split_at(8);
    u64::from_be_bytes(node.try_into().expect("an identity has sixteen bytes"))
}

fn json(
    data: &Path,
    journal: &JournalSeen,
    tables: Option<&rows::Counted>,
    assets: Option<(u64, u64)>,
) -> Value {
    let segment = |(number, bytes): &(u32, u64)| json!({ "number": number, "bytes": bytes });
    let group = |(id, group): (&u32, &store::GroupSeen)| {
        json!({
            "group": id, "first": group.first, "last": group.last.map(|last| last.index),
            "term": group.last.map(|last| last.term), "entries": group.entries,
            "bytes": group.bytes, "purged": group.purged.map(|purged| purged.index),
        })
    };
    json!({
        "schema": "synod/inspect/v1", "folder": data, "node": node(journal),
        "identity": hexadecimal(&journal.identity),
        "journal": {
            "oldest": journal.oldest,
            "segments": journal.segments.iter().map(segment).collect::<Vec<_>>(),
            "groups": journal.groups.iter().map(group).collect::<Vec<_>>(),
        },
        "tables": tables.map(rows::Counted::json),
        "assets": assets.map(|(files, bytes)| json!({ "files": files, "bytes": bytes })),
    })
}

fn print(
    data: &Path,
    journal: &JournalSeen,
    tables: Option<&rows::Counted>,
    assets: Option<(u64, u64)>,
) {
    let bytes: u64 = journal.segments.iter().map(|(_, bytes)| bytes).sum();
    say!("{}: node {}", data.display(), node(journal));
    say!(
        "journal: {} segments, {bytes} bytes, needed from {}",
        journal.segments.len(),
        journal.oldest
    );
    say!(
        "{:<6} {:>6} {:>10} {:>10} {:>10} {:>12}",
        "group",
        "term",
        "first",
        "last",
        "entries",
        "bytes"
    );
    for (id, group) in &journal.groups {
        let or_none = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let (term, last) = (group.last.map(|last| last.term), group.last.map(|last| last.index));
        let (term, last) = (or_none(term), or_none(last));
        say!(
            "{id:<6} {term:>6} {:>10} {last:>10} {:>10} {:>12}",
            group.first,
            group.entries,
            group.bytes
        );
    }
    if let Some(tables) = tables {
        say!("tables: {}, behind the log by what was applied since the last flush", tables.engine);
        for (kind, count) in &tables.rows {
            say!("  {kind:<16} {count:>12}");
        }
    }
    if let Some((files, bytes)) = assets {
        say!("assets: {files} files, {bytes} bytes");
    }
}
