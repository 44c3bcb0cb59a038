//! Whatever batches a crash takes back, the log goes on exactly where the rows end.

use super::*;

#[test]
fn after_a_crash_the_log_goes_on_where_the_rows_end() {
    for seed in 0..60 {
        let dice = Dice::new(seed);
        let entries = dice.entries(80);
        let mut undisturbed = Shard::new();
        undisturbed.apply(&entries).expect("the disk is sound");

        let mut tables = MemoryTables::new();
        let mut shard = Shard::open(Arc::new(tables.clone()));
        let mut crashes = 0;
        loop {
            let next = shard.next_index() as usize;
            if next == entries.len() {
                break;
            }
            let until = (next + 1 + dice.below(6) as usize).min(entries.len());
            shard.apply(&entries[next..until]).expect("the disk is sound");
            match dice.below(8) {
                0 => shard.machine.flush().expect("the disk is sound"),
                1 if crashes < 20 => {
                    crashes += 1;
                    let kept = dice.below(1 + tables.unflushed() as u64) as usize;
                    tables = tables.crash(kept);
                    shard = Shard::open(Arc::new(tables.clone()));
                }
                _ => {}
            }
        }
        assert_eq!(shard.rows(), undisturbed.rows(), "seed {seed} after {crashes} crashes");
    }
}

#[test]
fn what_was_flushed_survives() {
    let tables = MemoryTables::new();
    let mut shard = Shard::open(Arc::new(tables.clone()));
    shard.run(&[say("alice", "bob", 1, "m1", None)]);
    shard.machine.flush().expect("the disk is sound");
    shard.run(&[say("alice", "bob", 1, "m2", None)]);
    let shard = Shard::open(Arc::new(tables.crash(0)));
    assert_eq!(shard.next_index(), 1);
    let head = shard.reader().head(direct("alice", "bob")).expect("sound").expect("it exists");
    assert_eq!(head.last_seq, Seq(1));
}
