//! Looks at every row of this node once a day, as a restore would: what a disk lost is found before it is needed. Rows of a
//! slot are read in one view, so what is found is of one moment. Assets are looked at by their own sweep, records of the
//! journal beside this.

mod journal;

use std::sync::Arc;
use std::time::Duration;

use store::StoreError;
use store::tables::Tables;
use tokio::time::sleep;

use super::check::{Found, check_slot};
use super::take::{Pace, blocking};
use crate::damage::Damages;

pub(crate) use journal::scrub_journal;

/// How long one round over all slots takes.
const ROUND: Duration = Duration::from_secs(24 * 60 * 60);
/// How much is read at most in a second, about: a twentieth of a slow disk.
const BYTES_PER_SECOND: u64 = 4 << 20;
/// What a row weighs, roughly: what is decoded is not counted.
const ROW_BYTES: u64 = 512;
/// What looks wrong is looked at once more before it is told: a snapshot may be on its way into its place.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Goes round for ever.
pub(crate) async fn scrub(tables: Arc<dyn Tables>, damages: Damages) {
    let mut pace = Pace::new(BYTES_PER_SECOND);
    let pause = ROUND / u32::from(chat::SLOTS);
    loop {
        for slot in 0..chat::SLOTS {
            sleep(pause).await;
            let rows = look_at(&tables, slot, LOOK_AGAIN, &damages).await;
            pace.spend(usize::try_from(rows * ROW_BYTES).unwrap_or(usize::MAX)).await;
        }
        metrics::counter!("synod_scrub_rounds_total").increment(1);
    }
}

/// Looks at a slot and tells what is wrong. Answers how many rows it has.
pub(super) async fn look_at(
    tables: &Arc<dyn Tables>,
    slot: u16,
    again: Duration,
    damages: &Damages,
) -> u64 {
    let place = format!("slot {slot}");
    let look = || {
        let tables = Arc::clone(tables);
        blocking(move || check_slot(&*tables, slot))
    };
    let mut looked = look().await;
    if is_wrong(&looked) {
        sleep(again).await;
        looked = look().await;
    }
    if is_wrong(&looked) {
        metrics::counter!("synod_scrub_problems_total").increment(1);
    } else {
        damages.whole(&place);
    }
    match looked {
        Ok(found) => {
            for problem in &found.problems {
                tracing::error!(slot, %problem, "this node's state is not what it should be");
                damages.found(&place, problem.clone());
            }
            metrics::counter!("synod_scrub_rows_total").increment(found.rows);
            found.rows
        }
        Err(error) => {
            tracing::error!(slot, %error, "this node's rows cannot be read");
            damages.found(&place, error.to_string());
            0
        }
    }
}

fn is_wrong(looked: &Result<Found, StoreError>) -> bool {
    !looked.as_ref().is_ok_and(|found| found.problems.is_empty())
}
