//! Where the order is strict: in a lane, the deliveries about one object to one endpoint, one may be
//! sent at a time, and the others are blocked. The verdict is stored, so that no claim has to pass them.

use super::super::Sql;
use super::super::codec::{self, delivery_state, mode_number};
use crate::digest::Fields;
use crate::error::Result;
use crate::id::{DeliveryId, World};
use crate::time::Timestamp;
use crate::webhook::{DeliveryEvent, DeliveryOrder, DeliveryState, Endpoint, next_state};

/// A delivery that is to be made.
pub(crate) struct New<'a> {
    pub(crate) id: &'a DeliveryId,
    pub(crate) endpoint: &'a Endpoint,
    /// The event's position.
    pub(crate) event: i64,
    /// The object that it happened to.
    pub(crate) object: &'a str,
    /// 1, more for each replay.
    pub(crate) generation: i64,
    /// Host time.
    pub(crate) due_at: Timestamp,
}

/// Puts a delivery into the queue. Where the order is strict and another one about the same object is
/// not done, it waits for that.
pub(crate) fn enqueue(sql: &mut dyn Sql, world: World, new: &New<'_>) -> Result<()> {
    let (app, mode) = (world.app, mode_number(world.mode));
    let lane = (new.endpoint.ordering == DeliveryOrder::Strict).then(|| lane_of(new.object));
    let mut state = DeliveryState::Pending;
    if let Some(lane) = lane {
        sql.each(
            "SELECT 1 FROM tillite_delivery WHERE app = $1 AND mode = $2 AND endpoint = $3 AND lane = $4 \
             AND lane IS NOT NULL AND state IN ('pending', 'blocked', 'in_flight') LIMIT 1",
            &[app.into(), mode.into(), new.endpoint.number.into(), lane.into()],
            &mut |_| {
                state = DeliveryState::Blocked;
                Ok(())
            },
        )?;
    }
    codec::one(sql.exec(
        "INSERT INTO tillite_delivery (app, mode, id, endpoint, event, generation, state, attempts, due_at, token, \
         last_status, lane) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, 0, NULL, $9)",
        &[
            app.into(),
            mode.into(),
            new.id.as_str().into(),
            new.endpoint.number.into(),
            new.event.into(),
            new.generation.into(),
            state.as_str().into(),
            new.due_at.as_millis().into(),
            lane.into(),
        ],
    )?)
}

/// Lets the next delivery of a lane go, the one of the earliest event. Whoever ends the one of the lane that
/// could be sent calls this in the same transaction.
pub(crate) fn promote(sql: &mut dyn Sql, world: World, endpoint: i64, lane: i64, host_now: Timestamp) -> Result<()> {
    let (app, mode) = (world.app, mode_number(world.mode));
    let mut first = None;
    sql.each(
        "SELECT id, state FROM tillite_delivery WHERE app = $1 AND mode = $2 AND endpoint = $3 AND lane = $4 \
         AND lane IS NOT NULL AND state IN ('pending', 'blocked', 'in_flight') ORDER BY event, id LIMIT 1",
        &[app.into(), mode.into(), endpoint.into(), lane.into()],
        &mut |row| {
            first = Some((row.text(0)?, delivery_state(&row.text(1)?)?));
            Ok(())
        },
    )?;
    let Some((id, DeliveryState::Blocked)) = first else {
        return Ok(());
    };
    let state = next_state(DeliveryState::Blocked, DeliveryEvent::Promoted)?;
    codec::one(sql.exec(
        "UPDATE tillite_delivery SET state = $1, due_at = $2 WHERE app = $3 AND mode = $4 AND id = $5",
        &[
            state.as_str().into(),
            host_now.as_millis().into(),
            app.into(),
            mode.into(),
            (&id).into(),
        ],
    )?)
}

/// The lane of an object: 63 bits of a hash of its id. Two objects that share one wait for each other.
fn lane_of(object: &str) -> i64 {
    i64::try_from(Fields::new().text(object).short() >> 1).unwrap_or(0)
}
