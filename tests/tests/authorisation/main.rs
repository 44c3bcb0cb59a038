//! The authorisation matrix: every call of the public interface, by everybody who could try it, and what must come of it.
//!
//! The calls are not listed here: REST and operations come from the tables that the routers are built from, frames from
//! the schema's own enums by exhaustive matches, lanes from the peer plane. A call without a row fails the test or does
//! not compile. Each cell says who is allowed and with which code the others are refused; whoever is refused also
//! learns nothing of what was said and changes nothing. What an allowed call does is claimed in other files.

mod callers;
mod forged;
mod frames;
mod judge;
mod peers;
mod ports;
mod rest;
mod world;

use judge::Judge;
use world::World;

/// Fewer cells than this means that rows or callers have gone missing.
const CELLS_MIN: usize = 2600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_granted_to_those_who_may_and_to_nobody_else() {
    let mut world = World::begin().await;
    let judge = Judge::default();
    rest::judge(&world, &judge).await;
    ports::judge(&world, &judge).await;
    frames::judge(&mut world, &judge).await;
    peers::judge(&mut world, &judge).await;
    world.end().await;
    judge.close(CELLS_MIN);
}
