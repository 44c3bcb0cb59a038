//! Claims about the folder of backups.

use super::*;
use proto::backup::{AssetPart, FORMAT_VERSION, GroupPart, SCHEMA, StoredAsset};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn vault(&self, key: u8) -> Vault {
        Vault::new(self.folder.path().join("backups"), &NodeKey::from_bytes([key; 32]))
    }

    fn file(&self, chunk: &ChunkRef) -> PathBuf {
        self.vault(1).path(chunk.name)
    }
}

fn piece(byte: u8) -> Chunk {
    Chunk::Piece(Bytes::from(vec![byte; 300]))
}

fn rows(byte: u8) -> Chunk {
    Chunk::Rows(vec![(Bytes::from(vec![0, byte]), Bytes::from(vec![byte; 300]))])
}

/// A backup of these chunks, published.
fn backup(vault: &mut Vault, id: &str, chunks: Vec<ChunkRef>, assets: Vec<ChunkRef>) -> Manifest {
    let part = GroupPart {
        group: 0,
        first_slot: 0,
        end_slot: 0,
        term: 1,
        index: 1,
        users_index: 1,
        rows: 1,
        chunks,
    };
    let manifest = Manifest {
        schema: SCHEMA.into(),
        version: FORMAT_VERSION,
        id: id.parse().expect("legal"),
        cluster: "test".into(),
        history_epoch: 0,
        node: 1,
        begun_at_ms: 1,
        ended_at_ms: 2,
        key: vault.key_id(),
        groups: vec![part],
        assets: AssetPart { chunks: assets, ..AssetPart::default() },
        totals: vault.totals(),
    };
    vault.publish(&manifest).expect("written");
    manifest
}

#[test]
fn the_same_chunk_is_written_once_and_read_back() {
    let place = Place::new();
    let mut vault = place.vault(1);
    let first = vault.put(&rows(7)).expect("written");
    let again = vault.put(&rows(7)).expect("there");
    assert_eq!(first, again);
    let totals = vault.totals();
    assert_eq!((totals.chunks, totals.new_chunks), (2, 1));
    assert_eq!((totals.bytes, totals.new_bytes), (2 * first.bytes, first.bytes));
    assert_eq!(vault.get(&first).expect("whole"), rows(7));
    let text = fs::read(place.file(&first)).expect("a file");
    assert!(!text.windows(8).any(|some| some == [7; 8]), "nothing of it can be read");
}

#[test]
fn a_chunk_that_rotted_is_found_and_written_anew() {
    let place = Place::new();
    let mut vault = place.vault(1);
    let chunk = vault.put(&piece(7)).expect("written");
    let path = place.file(&chunk);
    let whole = fs::read(&path).expect("a file");
    for at in 0..whole.len() * 8 {
        let mut rotten = whole.clone();
        rotten[at / 8] ^= 1 << (at % 8);
        fs::write(&path, &rotten).expect("writable");
        assert!(matches!(vault.get(&chunk), Err(Error::Damaged { .. })), "bit {at}");
        let as_piece = PieceRef { name: chunk.name, bytes: chunk.bytes };
        assert!(vault.piece(&as_piece).is_err(), "bit {at}");
    }
    fs::write(&path, &whole[1..]).expect("writable");
    assert!(matches!(vault.get(&chunk), Err(Error::Damaged { .. })));
    fs::remove_file(&path).expect("there");
    assert!(matches!(vault.get(&chunk), Err(Error::Damaged { .. })));
    fs::write(&path, b"rotten").expect("writable");
    assert_eq!(vault.put(&piece(7)).expect("written anew"), chunk);
    assert_eq!(vault.get(&chunk).expect("whole"), piece(7));
}

#[test]
fn a_manifest_is_believed_only_as_it_was_written_and_under_its_key() {
    let place = Place::new();
    let mut vault = place.vault(1);
    let chunks = vec![vault.put(&rows(1)).expect("written")];
    let manifest = backup(&mut vault, "one", chunks, Vec::new());
    assert_eq!(vault.manifest(&manifest.id).expect("ours"), manifest);
    assert!(matches!(place.vault(2).manifest(&manifest.id), Err(Error::WrongKey { .. })));
    let none = "none".parse().expect("legal");
    assert!(matches!(vault.manifest(&none), Err(Error::NoBackup { .. })));
    let path = vault.root().join("one").join(MANIFEST);
    let text = fs::read_to_string(&path).expect("readable");
    for (from, to) in [("\"test\"", "\"text\""), ("\"index\": 1", "\"index\": 0"), ("{", "{ ")] {
        fs::write(&path, text.replacen(from, to, 1)).expect("writable");
        assert!(matches!(vault.manifest(&manifest.id), Err(Error::Damaged { .. })), "{from}");
    }
    fs::write(&path, text.replace("\"version\": 1", "\"version\": 2")).expect("writable");
    assert!(matches!(vault.manifest(&manifest.id), Err(Error::Version { .. })));
    let listed = list(vault.root()).expect("readable");
    assert!(matches!(&listed[..], [one] if one.manifest.is_err()), "it is listed as it is");
}

#[test]
fn a_backup_does_not_exist_before_its_manifest_does() {
    let place = Place::new();
    let mut vault = place.vault(1);
    vault.put(&rows(1)).expect("written");
    fs::create_dir_all(vault.root().join("half")).expect("writable");
    assert!(list(vault.root()).expect("readable").is_empty());
    assert!(list(&place.folder.path().join("nowhere")).expect("nothing there").is_empty());
}

#[test]
fn what_gives_way_takes_along_what_nobody_else_speaks_of() {
    let place = Place::new();
    let mut vault = place.vault(1);
    let put = |vault: &mut Vault, chunk: Chunk| vault.put(&chunk).expect("written");
    let shared = put(&mut vault, rows(1));
    let (old, new) = (put(&mut vault, rows(2)), put(&mut vault, rows(3)));
    let of_asset = put(&mut vault, piece(4));
    let pieces = Some(vec![PieceRef { name: of_asset.name, bytes: of_asset.bytes }]);
    let asset = chat::AssetId::new([1; 16]);
    let stored = StoredAsset { asset, size: 300, sha256: chat::Digest([0; 32]), pieces };
    let assets = put(&mut vault, Chunk::Assets(vec![stored]));
    backup(&mut vault, "1", vec![shared, old], vec![]);
    backup(&mut vault, "2", vec![shared, new], vec![assets]);
    let left_over = place.file(&shared).with_extension("part");
    fs::write(&left_over, b"x").expect("writable");
    assert_eq!(vault.prune(2).expect("pruned"), 0);
    assert!(place.file(&old).exists());
    assert_eq!(vault.prune(1).expect("pruned"), 1);
    assert!(!place.file(&old).exists() && !left_over.exists());
    for kept in [shared, new, assets, of_asset] {
        assert!(place.file(&kept).exists(), "{kept:?}");
    }
    assert_eq!(list_ids(vault.root()).expect("readable").len(), 1);
}

#[test]
fn nothing_is_removed_while_a_backup_of_another_key_is_there() {
    let place = Place::new();
    let (mut ours, mut theirs) = (place.vault(1), place.vault(2));
    let chunk = theirs.put(&rows(1)).expect("written");
    backup(&mut theirs, "0", vec![chunk], vec![]);
    for id in ["1", "2"] {
        let chunk = ours.put(&rows(id.as_bytes()[0])).expect("written");
        backup(&mut ours, id, vec![chunk], vec![]);
    }
    assert_eq!(ours.prune(1).expect("pruned"), 1, "ours gives way");
    assert!(theirs.get(&chunk).is_ok(), "theirs is whole");
    assert_eq!(list_ids(ours.root()).expect("readable").len(), 2);
}

#[test]
fn a_folder_takes_one_backup_at_a_time() {
    let place = Place::new();
    let held = place.vault(1).lock().expect("free");
    assert!(matches!(place.vault(1).lock(), Err(Error::Busy)));
    drop(held);
    assert!(place.vault(1).lock().is_ok());
}
