//! Members who are removed from groups and taken in again while they and the others send: what becomes of a message that
//! races with a removal is decided by the place where both commit, and by nothing else.

use std::sync::Arc;
use std::time::Duration;

use checkers::{Conn, F, Kind};
use client::{CallError, Certainty};
use tokio::time::sleep;

use super::native::Native;
use super::world::World;
use crate::dice::Dice;
use crate::record::Spot;

/// A rover that is out when the run stops is taken in again, if that is possible at all.
const LAST_TRIES_MAX: u32 = 3;

/// Moves the rover of one group, again and again, until the run stops; at the end it is a member.
pub(crate) async fn rove(world: Arc<World>, owner: Arc<Native>, chat: usize, mut dice: Dice) {
    let (Some(rover), Some(group)) =
        (world.cast.chats[chat].rover, world.cast.chats[chat].group.clone())
    else {
        return;
    };
    let rovers = world.cast.chats.iter().filter(|chat| chat.rover.is_some()).count() as u64;
    let per_mille = u64::from(world.plan.workload.moves).max(1);
    let mean_ms = 1_000_000 * rovers / per_mille;
    let mut process = world.tape.process();
    let (mut inside, mut last_tries) = (true, 0);
    let user = world.cast.actors[rover].user.clone();
    loop {
        let stopping = world.stopping();
        last_tries += u32::from(stopping);
        if stopping && (inside || last_tries > LAST_TRIES_MAX) {
            return;
        }
        if !stopping {
            sleep(dice.between(mean_ms / 4, mean_ms * 7 / 4)).await;
        }
        let Some(client) = owner.client() else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (c, by) = (world.cs[chat], world.seats[owner.actor()].d);
        let (add, remove) = match inside {
            true => (Vec::new(), vec![world.seats[rover].u]),
            false => (vec![world.seats[rover].u], Vec::new()),
        };
        let said = |error| {
            let (add, remove) = (add.clone(), remove.clone());
            F::Members { c, by, add, remove, at: None, error }
        };
        let spot = Spot { process, node: 0, conn: Conn::Rest };
        world.tape.note(spot, Kind::Invoke, said(None));
        let done = match inside {
            true => client.remove_member(&group, &user).await,
            false => client.add_members(&group, std::slice::from_ref(&user)).await,
        };
        match done {
            Ok(()) => {
                world.tape.note(spot, Kind::Ok, said(None));
                inside = !inside;
            }
            Err(error) => {
                let unknown = error.certainty() == Certainty::Unknown;
                let kind = if unknown { Kind::Info } else { Kind::Fail };
                world.tape.note(spot, kind, said(Some(world.tape.code(code(&error)))));
                if unknown {
                    process = world.tape.process();
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// One word for what went wrong.
pub(crate) fn code(error: &CallError) -> &str {
    match error {
        CallError::Refused { problem, .. } => &problem.code,
        CallError::Unavailable(_) => "unavailable",
        CallError::Unknown(_) => "unanswered",
        CallError::BadAnswer(_) => "bad_answer",
        CallError::BadConfig(_) => "bad_config",
    }
}
