//! A copy of the folder of backups in an object store, for when the machine is gone.
//!
//! Laws: the copy holds a backup when it holds its manifest, which comes last and goes first, as in the folder. What is there
//! under its name is not sent again: chunks are named by what they say, manifests never change. What is fetched is judged
//! like any folder, by `verify`.
//!
//! Each node has a copy of its own, because each has a folder of its own; nothing else is touched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::StreamExt as _;
use proto::backup::{BackupId, CHUNK_BYTES_MAX, MANIFEST_BYTES_MAX, Name};

use super::Error;
use super::take::blocking;
use super::vault::{CHUNKS, MANIFEST, MARK};
use crate::config::ObjectStore;
use crate::objects::{self, Objects};

/// What a copying did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files that were sent or fetched.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that gave way.
    pub removed: usize,
}

/// What a file of the folder is, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Chunk,
    Mark,
    Manifest,
}

/// What a name in the folder stands for; `None` for what is not ours.
fn part(name: &str) -> Option<Part> {
    let mut parts = name.split('/');
    let found = match (parts.next()?, parts.next()?, parts.next()) {
        (CHUNKS, two, Some(chunk)) => {
            let ours = chunk.parse::<Name>().is_ok() && chunk.starts_with(two) && two.len() == 2;
            ours.then_some(Part::Chunk)
        }
        (id, file, None) if id != CHUNKS => {
            id.parse::<BackupId>().ok()?;
            match file {
                MARK => Some(Part::Mark),
                MANIFEST => Some(Part::Manifest),
                _ => None,
            }
        }
        _ => None,
    };
    found.filter(|_| parts.next().is_none())
}

/// The files of a folder, with their lengths.
fn files(root: &Path) -> Result<BTreeMap<String, u64>, Error> {
    let mut found = BTreeMap::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).map_err(Error::io(&path))? {
            let entry = entry.map_err(Error::io(&path))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let is = entry.metadata().map_err(Error::io(entry.path()))?;
            if is.is_dir() {
                folders.push(name);
            } else if part(&name).is_some() {
                found.insert(name, is.len());
            }
        }
    }
    Ok(found)
}

/// What the copy holds, with lengths.
async fn held(objects: &Objects) -> Result<BTreeMap<String, u64>, Error> {
    let mut listed = objects.list();
    let mut held = BTreeMap::new();
    while let Some(one) = listed.next().await {
        let one = one.map_err(away)?;
        if part(&one.name).is_some() {
            held.insert(one.name, one.bytes);
        }
    }
    Ok(held)
}

/// Names in the order in which they come: what is relied on before what relies on it.
fn in_order<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut names: Vec<_> = names.collect();
    names.sort_by_key(|name| part(name));
    names
}

/// Makes the copy what the folder is. The caller holds the folder's lock.
pub(super) async fn push(root: PathBuf, objects: &Objects) -> Result<Copied, Error> {
    let at = root.clone();
    let here = blocking(move || files(&at)).await?;
    let there = held(objects).await?;
    let mut copied = Copied::default();
    for name in in_order(here.keys().filter(|name| there.get(*name) != here.get(*name))) {
        let path = root.join(name);
        let bytes = blocking(move || fs::read(&path).map_err(Error::io(&path))).await?;
        let length = bytes.len() as u64;
        let bytes = futures::stream::iter([Ok(Bytes::from(bytes))]).boxed();
        objects.put(name, length, bytes).await.map_err(away)?;
        copied.files += 1;
        copied.bytes += length;
    }
    for name in in_order(there.keys().filter(|name| !here.contains_key(*name))).into_iter().rev() {
        objects.remove(name).await.map_err(away)?;
        copied.removed += 1;
    }
    Ok(copied)
}

/// Brings the copy at `url` into a folder that is empty or not there.
///
/// # Errors
/// When the store cannot be read, or the folder is not empty or cannot be written.
pub async fn fetch(url: &str, settings: &ObjectStore, root: &Path) -> Result<Copied, Error> {
    let objects = Objects::open(url, settings).map_err(away)?;
    pull(&objects, root).await
}

async fn pull(objects: &Objects, root: &Path) -> Result<Copied, Error> {
    if fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::NotEmpty { path: root.to_owned() });
    }
    let there = held(objects).await?;
    if there.is_empty() {
        return Err(Error::NoBackup { folder: root.to_owned(), wanted: "in the store".to_owned() });
    }
    let mut copied = Copied::default();
    for name in in_order(there.keys()) {
        let bytes = read(objects, name, there[name]).await?;
        copied.files += 1;
        copied.bytes += bytes.len() as u64;
        let path = root.join(name);
        blocking(move || keep(&path, &bytes)).await?;
    }
    Ok(copied)
}

async fn read(objects: &Objects, name: &str, length: u64) -> Result<Vec<u8>, Error> {
    if length > CHUNK_BYTES_MAX.max(MANIFEST_BYTES_MAX) {
        return Err(Error::damaged(name, "it is too long"));
    }
    let mut pieces = objects.read(name, 0..length).await.map_err(away)?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece.map_err(away)?);
    }
    Ok(bytes)
}

fn keep(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().expect("files of backups lie in folders");
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    fs::write(path, bytes).map_err(Error::io(path))?;
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))
}

fn away(error: objects::Error) -> Error {
    match error {
        objects::Error::Settings(what) => Error::Refused(what),
        error => Error::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str =
        "chunks/ab/abababababababababababababababababababababababababababababababab";
    const MARKED: &str = "20261123T040000Z-n1/manifest.mark";
    const LISTED: &str = "20261123T040000Z-n1/manifest.json";

    fn write(root: &Path, name: &str, text: &str) {
        keep(&root.join(name), text.as_bytes()).expect("written");
    }

    async fn names(objects: &Objects) -> Vec<String> {
        held(objects).await.expect("listed").into_keys().collect()
    }

    #[test]
    fn only_what_a_backup_writes_is_copied_and_its_manifest_comes_last() {
        let all = [LISTED.to_owned(), MARKED.to_owned(), CHUNK.to_owned()];
        assert_eq!(in_order(all.iter()), [CHUNK, MARKED, LISTED]);
        for name in ["LOCK", "chunks/ab", "chunks/ab/x.part", "a/b/c/d", "../x/manifest.json", ""] {
            assert_eq!(part(name), None, "{name}");
        }
        assert_eq!(part(&format!("{CHUNK}/more")), None);
        assert_eq!(part(&CHUNK.replace("/ab/", "/cd/")), None);
    }

    #[tokio::test]
    async fn a_copy_becomes_what_the_folder_is_and_comes_back_as_it_was() {
        let (folder, back) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("one"));
        let (root, objects) = (folder.path(), Objects::in_memory());
        for (name, text) in [(CHUNK, "chunk"), (MARKED, "mark"), (LISTED, "list"), ("LOCK", "")] {
            write(root, name, text);
        }
        let copied = push(root.to_owned(), &objects).await.expect("copied");
        assert_eq!(copied, Copied { files: 3, bytes: 13, removed: 0 });
        assert_eq!(push(root.to_owned(), &objects).await.expect("again"), Copied::default());
        pull(&objects, back.path()).await.expect("fetched");
        for name in [CHUNK, MARKED, LISTED] {
            let read = |root: &Path| fs::read(root.join(name)).expect("there");
            assert_eq!(read(back.path()), read(root));
        }
        let full = pull(&objects, back.path()).await.expect_err("it is not empty");
        assert!(matches!(full, Error::NotEmpty { .. }), "{full}");

        let other = futures::stream::iter([Ok(Bytes::from_static(b"x"))]).boxed();
        objects.put("somebody/else", 1, other).await.expect("put");
        fs::remove_file(root.join(LISTED)).expect("removed");
        fs::remove_file(root.join(MARKED)).expect("removed");
        let copied = push(root.to_owned(), &objects).await.expect("copied");
        assert_eq!(copied, Copied { files: 0, bytes: 0, removed: 2 });
        assert_eq!(names(&objects).await, [CHUNK]);
        assert_eq!(objects.list().count().await, 2, "what is not ours stays");
    }
}
