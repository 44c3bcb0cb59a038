//! A foreign state is installed whole or not at all, whatever crashes, and readers never see half of anything.

use std::sync::atomic::{AtomicUsize, Ordering};

use proto::keys::{self, Key};
use store::StoreError;
use store::tables::{Batch, RowView};

use super::*;

const ENTRIES: usize = 60;
const BEHIND: usize = 20;

/// Tables that die at the `left`th write or flush, and call `watch` after each one that went well.
struct Mortal<F> {
    inner: MemoryTables,
    left: AtomicUsize,
    watch: F,
}

impl<F: Fn(&MemoryTables) + Send + Sync + 'static> Mortal<F> {
    fn act(
        &self,
        act: impl FnOnce(&MemoryTables) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(StoreError::Poisoned { reason: "it died here".into() });
        }
        self.left.store(left - 1, Ordering::Relaxed);
        act(&self.inner)?;
        (self.watch)(&self.inner);
        Ok(())
    }
}

impl<F: Fn(&MemoryTables) + Send + Sync + 'static> Tables for Mortal<F> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key)
    }
    fn scan(
        &self,
        range: KeyRange,
        direction: Direction,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(range, direction, rows_max)
    }
    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.act(|inner| inner.write(batch))
    }
    fn flush(&self) -> Result<(), StoreError> {
        self.act(|inner| inner.flush())
    }
    fn view(&self, range: KeyRange) -> Result<Box<dyn RowView>, StoreError> {
        self.inner.view(range)
    }
}

/// A shard that has everything, and tables of one that is behind, all of it flushed.
fn ahead_and_behind(seed: u64) -> (Shard, MemoryTables, Vec<Bytes>) {
    let entries = Dice::new(seed).entries(ENTRIES);
    let mut ahead = Shard::new();
    ahead.apply(&entries).expect("the disk is sound");
    let tables = MemoryTables::new();
    let mut behind = Shard::open(Arc::new(tables.clone()));
    behind.apply(&entries[..BEHIND]).expect("the disk is sound");
    behind.machine.flush().expect("the disk is sound");
    (ahead, tables, entries)
}

/// Sends the whole state of `from` to `to`, in small chunks.
fn transfer(from: &Shard, to: &mut Shard) -> Result<(), Fatal> {
    let mut rows = from.machine.view()?;
    to.machine.begin_install()?;
    while let Some(chunk) = rows.next_chunk(500)? {
        to.machine.stage(chunk)?;
    }
    to.machine.install(from.machine.applied()?)
}

#[test]
fn an_installed_state_is_the_senders_and_goes_on_like_it() {
    for seed in 0..20 {
        let (mut ahead, tables, _) = ahead_and_behind(seed);
        let mut behind = Shard::open(Arc::new(tables));
        transfer(&ahead, &mut behind).expect("the disk is sound");
        assert_eq!(behind.rows(), ahead.rows(), "seed {seed}");
        assert!(behind.told.0.lock().iter().any(|told| told.starts_with("replaced")));
        let more = Dice::new(seed + 1000).entries(30);
        let answers = ahead.apply(&more).expect("the disk is sound");
        assert_eq!(behind.apply(&more).expect("the disk is sound"), answers, "seed {seed}");
        assert_eq!(behind.rows(), ahead.rows(), "seed {seed}");
    }
}

#[test]
fn a_view_is_of_one_moment() {
    let (mut shard, _, _) = ahead_and_behind(3);
    let before = shard.rows();
    let mut rows = shard.machine.view().expect("memory can be read");
    shard.apply(&Dice::new(99).entries(30)).expect("the disk is sound");
    assert_ne!(shard.rows(), before);
    let mut seen = Vec::new();
    while let Some(chunk) = rows.next_chunk(1).expect("memory can be read") {
        assert_eq!(chunk.len(), 1, "at least one row, and no more than the bytes allow");
        seen.extend(chunk);
    }
    assert_eq!(seen, before);
}

#[test]
fn staged_rows_do_not_show() {
    let (ahead, tables, _) = ahead_and_behind(4);
    let mut behind = Shard::open(Arc::new(tables));
    let before = behind.rows();
    behind.machine.begin_install().expect("sound");
    let rows = ahead.machine.view().expect("sound").next_chunk(usize::MAX).expect("sound");
    behind.machine.stage(rows.expect("there are rows")).expect("sound");
    let slots = |rows: Vec<Row>| rows.into_iter().filter(|(key, _)| !is_aside(key));
    assert!(slots(behind.rows()).eq(before.clone()), "only aside");
    assert_ne!(behind.rows(), before);
    let behind = behind.reopen();
    assert_eq!(behind.rows(), before, "an unfinished staging is cleared away");
}

#[test]
fn a_newer_staging_drops_the_older_one() {
    let (ahead, tables, _) = ahead_and_behind(5);
    let mut behind = Shard::open(Arc::new(tables));
    behind.machine.begin_install().expect("sound");
    let stray = keys::head(direct("nobody", "else"));
    behind.machine.stage(vec![(stray, Bytes::from_static(b"x"))]).expect("sound");
    transfer(&ahead, &mut behind).expect("sound");
    assert_eq!(behind.rows(), ahead.rows());
}

#[test]
fn a_foreign_row_is_not_staged() {
    let mut shard = Shard::new();
    let foreign = [
        keys::applied(GroupId(2)),
        keys::outbox(GroupId(2), 1),
        keys::cluster_config(),
        keys::installing(GROUP),
    ];
    for key in foreign {
        assert!(shard.machine.stage(vec![(key, Bytes::new())]).is_err());
    }
}

#[test]
fn a_crash_at_any_point_leaves_the_old_state_or_the_new_one() {
    for seed in [1, 2, 3] {
        let (ahead, _, _) = ahead_and_behind(seed);
        let new = ahead.rows();
        let mut decided_at = None;
        let mut point = 0;
        loop {
            let mut outcomes = Vec::new();
            for share in [0, 1, 2] {
                let (_, tables, _) = ahead_and_behind(seed);
                let old = rows(&tables);
                let (inner, left) = (tables.clone(), AtomicUsize::new(point));
                let mortal = Mortal { inner, left, watch: |_: &MemoryTables| {} };
                let Some(finished) = crash_while_installing(&ahead, Arc::new(mortal)) else {
                    continue;
                };
                let kept = tables.unflushed() * share / 2;
                let after = Shard::open(Arc::new(tables.crash(kept))).rows();
                assert!(after == old || after == new, "seed {seed}: torn at {point}, {share}/2");
                outcomes.push((after == new, finished));
            }
            let all_new = outcomes.iter().all(|(new, _)| *new);
            if all_new && decided_at.is_none() {
                decided_at = Some(point);
            }
            assert!(decided_at.is_none() || all_new, "seed {seed}: undone at {point}");
            if outcomes.iter().all(|(_, finished)| *finished) && !outcomes.is_empty() {
                break;
            }
            point += 1;
        }
        let decided_at = decided_at.expect("it finished at last");
        assert!(decided_at > 3 && decided_at < point, "seed {seed}: {decided_at} of {point}");
    }
}

/// `None` when the tables died before the machine was open, else whether the installation was finished.
fn crash_while_installing(ahead: &Shard, tables: Arc<dyn Tables>) -> Option<bool> {
    let mut behind = Shard::try_open(tables, Arc::new(Nowhere)).ok()?;
    Some(transfer(ahead, &mut behind).is_ok())
}

#[test]
fn a_crash_while_recovering_is_recovered_from() {
    let (ahead, tables, _) = ahead_and_behind(6);
    let new = ahead.rows();
    // Far enough that the decision has fallen, not so far that anything was moved.
    let decided = (0..)
        .find(|point| {
            let (_, tables, _) = ahead_and_behind(6);
            let (inner, left) = (tables.clone(), AtomicUsize::new(*point));
            let mortal = Mortal { inner, left, watch: |_: &MemoryTables| {} };
            crash_while_installing(&ahead, Arc::new(mortal));
            let marked = tables.get(&keys::installing(GROUP)).expect("memory can be read");
            marked.is_some() && tables.unflushed() == 0
        })
        .expect("it is decided at last");
    let (inner, left) = (tables.clone(), AtomicUsize::new(decided));
    let mortal = Mortal { inner, left, watch: |_: &MemoryTables| {} };
    crash_while_installing(&ahead, Arc::new(mortal));
    let mut tables = tables.crash(0);
    for point in 0.. {
        let (inner, left) = (tables.clone(), AtomicUsize::new(point));
        let mortal = Mortal { inner, left, watch: |_: &MemoryTables| {} };
        let opened = Shard::try_open(Arc::new(mortal), Arc::new(Nowhere)).is_ok();
        tables = tables.crash(tables.unflushed() / 2);
        if opened {
            assert!(point > 3, "recovering takes a few writes");
            break;
        }
    }
    assert_eq!(Shard::open(Arc::new(tables)).rows(), new);
}

/// After every single write of an installation, each conversation is whole and has all its messages.
#[test]
fn whoever_reads_meanwhile_sees_whole_conversations() {
    for seed in 0..10 {
        let (ahead, inner, _) = ahead_and_behind(seed);
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        let watch = move |tables: &MemoryTables| {
            let reader = Reader::new(Arc::new(tables.clone()));
            for (key, _) in rows(tables) {
                let Ok(Key::Head(id)) = keys::parse(&key) else { continue };
                // Panics when the rows do not fit together.
                let talk = reader.conversation(id).expect("sound").expect("it has a head");
                let messages = reader.messages(id, Seq(0), None, 1000, false).expect("sound");
                let last = messages.last().map(|message| message.seq).unwrap_or_default();
                assert!(last >= talk.head.last_seq, "seed {seed}: a message is missing");
            }
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let tables = Mortal { inner, left: AtomicUsize::new(usize::MAX), watch };
        let mut behind = Shard::open(Arc::new(tables));
        transfer(&ahead, &mut behind).expect("nobody dies");
        assert!(seen.load(Ordering::Relaxed) > 10, "the rows were moved in many writes");
    }
}

fn is_aside(key: &[u8]) -> bool {
    matches!(keys::parse(key), Ok(Key::Staging(..) | Key::Installing(_)))
}
