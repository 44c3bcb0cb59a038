//! What is finished survives any end of the process or the power; what is not finished leaves nothing.

use proptest::prelude::*;

use super::*;
use crate::MemoryDisk;
use crate::seal::{Entropy, NodeKey, Sealer};

const NAME: &str = "ab0123";
const EDGES: [usize; 7] = [
    0,
    1,
    SEGMENT_BYTES - 1,
    SEGMENT_BYTES,
    SEGMENT_BYTES + 1,
    2 * SEGMENT_BYTES,
    2 * SEGMENT_BYTES + 77,
];

struct Counted(std::sync::atomic::AtomicU8);

impl Entropy for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    }
}

fn sealer(folder: &std::path::Path) -> Arc<dyn RecordSeal> {
    let entropy = Counted(Default::default());
    let key = NodeKey::load_or_create(&folder.join("node.key"), &entropy).expect("a key");
    Arc::new(Sealer::open(&folder.join("data.keys"), key, Box::new(entropy)).expect("a ring"))
}

fn blobs(disk: &MemoryDisk, seal: Option<Arc<dyn RecordSeal>>) -> Blobs {
    Blobs::new(Arc::new(OneFolder(Arc::new(disk.clone()))), seal)
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).expect("below 251")).collect()
}

fn write(blobs: &Blobs, content: &[u8]) {
    let mut draft = blobs.create(NAME).expect("a draft");
    for piece in content.chunks(50_000) {
        draft.append(piece).expect("room");
    }
    assert_eq!(draft.finish().expect("a disk"), content.len() as u64);
}

#[test]
fn every_length_reads_back_in_every_piece_sealed_or_not() {
    let folder = tempfile::tempdir().expect("a folder");
    for seal in [None, Some(sealer(folder.path()))] {
        for length in EDGES {
            let disk = MemoryDisk::default();
            let blobs = blobs(&disk, seal.clone());
            let content = bytes(length);
            write(&blobs, &content);
            let blob = blobs.open(NAME).expect("a disk").expect("a blob");
            assert_eq!(blob.bytes(), length as u64);
            assert_eq!(blob.read(0, length).expect("sound"), content);
            for at in EDGES.into_iter().filter(|at| *at < length) {
                let rest = blob.read(at as u64, length - at).expect("sound");
                assert_eq!(rest, content[at..], "from {at} of {length}");
                assert_eq!(blob.read(at as u64, 1).expect("sound")[0], content[at]);
            }
            let text = disk.contents(NAME).expect("a file");
            let shows = length > 300 && text.windows(200).any(|part| part == &content[..200]);
            assert_eq!(shows, length > 300 && seal.is_none(), "what is sealed cannot be read");
        }
    }
}

#[test]
fn a_blob_that_is_altered_cut_off_or_moved_is_not_read() {
    let disk = MemoryDisk::default();
    let blobs = blobs(&disk, None);
    write(&blobs, &bytes(2 * SEGMENT_BYTES));
    let whole = disk.contents(NAME).expect("a file");
    let read = |name: &str| {
        let blob = blobs.open(name)?.expect("a file");
        blob.read(0, usize::try_from(blob.bytes()).expect("small"))
    };
    assert!(read(NAME).is_ok());
    // Cut off at the end of a segment: the length alone would be legal.
    let cut = whole.len() - SEGMENT_BYTES - 4;
    disk.put(NAME, whole[..cut].to_vec());
    assert!(read(NAME).is_err());
    disk.put("ab9999", whole.clone());
    assert!(read("ab9999").is_err(), "under another name");
    for at in [0, 7, 8, 20, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[at] ^= 4;
        disk.put(NAME, altered);
        assert!(read(NAME).is_err(), "byte {at}");
    }
}

#[test]
fn what_is_finished_survives_a_power_loss_and_a_draft_leaves_nothing() {
    for seed in 0..20 {
        let disk = MemoryDisk::default();
        let blobs_before = blobs(&disk, None);
        write(&blobs_before, &bytes(70_000));
        let mut draft = blobs_before.create("ab7777").expect("a draft");
        draft.append(&bytes(200_000)).expect("room");
        std::mem::forget(draft);
        let disk = disk.power_loss(seed);
        let blobs = blobs(&disk, None);
        blobs.sweep().expect("a disk");
        assert_eq!(blobs.names().expect("a disk"), [NAME]);
        assert_eq!(disk.list().expect("a disk"), [NAME], "no draft is left");
        let blob = blobs.open(NAME).expect("a disk").expect("a blob");
        assert_eq!(blob.read(0, 70_000).expect("sound"), bytes(70_000));
    }
}

#[test]
fn a_draft_that_is_dropped_or_fails_leaves_nothing() {
    let disk = MemoryDisk::default();
    let blobs = blobs(&disk, None);
    let mut draft = blobs.create(NAME).expect("a draft");
    draft.append(b"abc").expect("room");
    drop(draft);
    assert!(disk.list().expect("a disk").is_empty());
    disk.set_capacity(disk.used() + 100);
    let mut draft = blobs.create(NAME).expect("a draft");
    let full = draft.append(&bytes(3 * SEGMENT_BYTES));
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    drop(draft);
    disk.set_capacity(u64::MAX);
    assert!(disk.list().expect("a disk").is_empty());
    assert!(blobs.open(NAME).expect("a disk").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_paused_draft_goes_on_where_it_was_whatever_is_lost(
        steps in proptest::collection::vec(0..100_000_usize, 1..5), seed in any::<u64>(),
        unsaved in 0..150_000_usize,
    ) {
        let mut disk = MemoryDisk::default();
        let content = bytes(steps.iter().sum());
        let mut written = 0;
        for (count, step) in steps.iter().enumerate() {
            let blobs = blobs(&disk, None);
            let mut heard = Vec::new();
            let mut draft = match count {
                0 => blobs.create_resumable(NAME).expect("a draft"),
                _ => {
                    let draft = blobs.resume(NAME, |piece| heard.extend_from_slice(piece));
                    draft.expect("a disk").expect("it was paused")
                }
            };
            // At least what was paused; what came after it may have survived too.
            prop_assert!(draft.bytes() >= written as u64);
            prop_assert_eq!(&heard[..written.min(heard.len())], &content[..written.min(heard.len())]);
            prop_assert_eq!(heard.len() as u64, draft.bytes());
            let have = usize::try_from(draft.bytes()).expect("small");
            if have > written {
                // Not part of what is written here.
                return Ok(());
            }
            draft.append(&content[written..written + step]).expect("room");
            draft.pause().expect("a disk");
            written += step;
            draft.append(&vec![0xEE; unsaved]).expect("room");
            std::mem::forget(draft);
            disk = disk.power_loss(seed);
        }
        let blobs = blobs(&disk, None);
        let draft = blobs.resume(NAME, |_| ()).expect("a disk").expect("it was paused");
        if draft.bytes() == written as u64 {
            draft.finish().expect("a disk");
            let blob = blobs.open(NAME).expect("a disk").expect("a blob");
            prop_assert_eq!(blob.read(0, written).expect("sound"), content);
        }
    }
}
