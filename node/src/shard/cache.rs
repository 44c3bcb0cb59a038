//! What the machine remembers between batches, so that a message in a busy conversation reads no row to be decided.
//!
//! Bounded in rows, because one group of a thousand members weighs as much as five hundred direct conversations. Trimmed
//! between batches only: within one, what an earlier command changed is nowhere but here.

use std::hash::Hash;

use lru::LruCache;

/// Rows that one cache of one shard holds between batches. At 100 to 200 bytes a row this is about 10 MB for each of
/// the two caches of a shard, so below a third of a gigabyte for the default of 16 shards; and it is about 9,000 direct
/// conversations, more than a shard hears of in the few seconds in which most answers to a message come.
pub(super) const CACHED_ROWS_MAX: usize = 65_536;

const _: () = assert!(
    CACHED_ROWS_MAX > 4 * chat::limits::MEMBERS_MAX,
    "the largest group must fit without driving everything else out"
);

/// How many rows a value was made of, itself included.
pub(super) trait Weigh {
    /// At least 1, so that a value of nothing is bounded, too.
    fn rows(&self) -> usize;
}

/// Values by key, the least recently used leaving first.
pub(super) struct Cache<K: Hash + Eq, V> {
    values: LruCache<K, Weighed<V>>,
    rows: usize,
    rows_max: usize,
}

struct Weighed<V> {
    value: V,
    rows: usize,
}

impl<K: Hash + Eq + Clone, V: Weigh> Cache<K, V> {
    pub(super) fn new(rows_max: usize) -> Self {
        Self { values: LruCache::unbounded(), rows: 0, rows_max }
    }

    /// The value of `key`, loaded if it is not here. Grows beyond the bound until [`Cache::settle`].
    pub(super) fn load<E>(
        &mut self,
        key: &K,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<&mut V, E> {
        let total = &mut self.rows;
        let weighed = self.values.try_get_or_insert_mut(key.clone(), || {
            let value = load()?;
            let rows = value.rows();
            *total += rows;
            Ok(Weighed { value, rows })
        })?;
        Ok(&mut weighed.value)
    }

    /// The value of `key`, which a command of this batch has loaded.
    pub(super) fn loaded(&self, key: &K) -> &V {
        let weighed = self.values.peek(key);
        &weighed.expect("nothing leaves the cache within a batch").value
    }

    /// After a batch: weighs again what it changed, and lets the least recently used go.
    pub(super) fn settle<'a>(&mut self, changed: impl Iterator<Item = &'a K>)
    where
        K: 'a,
    {
        for key in changed {
            if let Some(weighed) = self.values.peek_mut(key) {
                self.rows -= weighed.rows;
                weighed.rows = weighed.value.rows();
                self.rows += weighed.rows;
            }
        }
        while self.rows > self.rows_max
            && let Some((_, gone)) = self.values.pop_lru()
        {
            self.rows -= gone.rows;
        }
        assert!(self.rows <= self.rows_max, "an empty cache weighs nothing");
    }

    #[cfg(test)]
    pub(super) fn hold_at_most(&mut self, rows: usize) {
        self.rows_max = rows;
        self.settle([].iter());
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.rows = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for Vec<u8> {
        fn rows(&self) -> usize {
            self.len().max(1)
        }
    }

    fn load(cache: &mut Cache<u8, Vec<u8>>, key: u8, rows: usize) -> bool {
        let mut loaded = false;
        let value = cache.load(&key, || {
            loaded = true;
            Ok::<_, ()>(vec![key; rows])
        });
        assert_eq!(value.map(|value| value.len()), Ok(rows));
        loaded
    }

    #[test]
    fn the_least_recently_used_leaves_and_only_between_batches() {
        let mut cache = Cache::new(5);
        assert!(load(&mut cache, 1, 3));
        assert!(load(&mut cache, 2, 3));
        assert_eq!(cache.loaded(&1).len(), 3, "beyond the bound, but within a batch");
        assert!(!load(&mut cache, 1, 3), "used again");
        cache.settle([].iter());
        assert!(!load(&mut cache, 1, 3), "the one used last stayed");
        assert!(load(&mut cache, 2, 3), "the other left");
    }

    #[test]
    fn what_grew_is_weighed_again() {
        let mut cache = Cache::new(5);
        load(&mut cache, 1, 2);
        load(&mut cache, 2, 2);
        cache.settle([].iter());
        cache.load(&2, || Err(())).expect("it is here").extend([0; 2]);
        cache.settle([2].iter());
        assert!(load(&mut cache, 1, 2), "it had to leave");
    }

    #[test]
    fn a_failed_load_leaves_nothing_behind() {
        let mut cache: Cache<u8, Vec<u8>> = Cache::new(5);
        assert_eq!(cache.load(&1, || Err("disk")).map(|_| ()), Err("disk"));
        assert!(load(&mut cache, 1, 2));
    }
}
