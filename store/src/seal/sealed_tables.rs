//! Tables whose values are sealed. Keys stay readable: order and ranges depend on them.

use std::sync::Arc;

use bytes::Bytes;

use super::{SealError, Sealer};
use crate::StoreError;
use crate::tables::{Batch, Direction, KeyRange, Row, RowView, Tables};

/// Wraps tables so that every value is sealed on the way in and opened on the way out, bound to its
/// key. A row is sealed anew, under the newest data key, whenever it is written.
pub struct Sealed<T> {
    inner: T,
    sealer: Arc<Sealer>,
}

impl<T: Tables> Sealed<T> {
    /// Seals what `inner` holds. All its rows must have been written through such a wrapper.
    pub fn new(inner: T, sealer: Arc<Sealer>) -> Self {
        Self { inner, sealer }
    }
}

fn open(sealer: &Sealer, key: &[u8], sealed: &[u8]) -> Result<Bytes, StoreError> {
    sealer.open_value(key, sealed).map_err(failure)
}

fn failure(error: SealError) -> StoreError {
    match error {
        SealError::UnknownKey(_) => StoreError::wrong_key("tables"),
        SealError::NotSealed => StoreError::corrupt("tables", 0, "a row that is not sealed"),
        SealError::Altered => StoreError::corrupt("tables", 0, "a sealed row that was altered"),
    }
}

impl<T: Tables> Tables for Sealed<T> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.inner.get(key)? {
            None => Ok(None),
            Some(sealed) => open(&self.sealer, key, &sealed).map(Some),
        }
    }

    fn scan(
        &self,
        range: KeyRange,
        direction: Direction,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = self.inner.scan(range, direction, rows_max)?;
        rows.into_iter()
            .map(|(key, sealed)| {
                let value = open(&self.sealer, &key, &sealed)?;
                Ok((key, value))
            })
            .collect()
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut sealed = Batch::with_capacity(batch.len());
        for change in batch.into_changes() {
            match change.value {
                Some(value) => {
                    let value = self.sealer.seal(&change.key, &value);
                    sealed.put(change.key, value);
                }
                None => sealed.delete(change.key),
            }
        }
        self.inner.write(sealed)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }

    fn view(&self, range: KeyRange) -> Result<Box<dyn RowView>, StoreError> {
        let inner = self.inner.view(range)?;
        Ok(Box::new(SealedView { inner, sealer: Arc::clone(&self.sealer) }))
    }
}

struct SealedView {
    inner: Box<dyn RowView>,
    sealer: Arc<Sealer>,
}

impl RowView for SealedView {
    fn next(&mut self) -> Result<Option<Row>, StoreError> {
        let Some((key, sealed)) = self.inner.next()? else { return Ok(None) };
        let value = open(&self.sealer, &key, &sealed)?;
        Ok(Some((key, value)))
    }
}
