//! The outbox as a queue: claiming deliveries, acknowledging them, and what is due.
//!
//! A claim counts the attempt before anything is sent, so that a delivery that kills its sender
//! cannot be tried for ever. Claims are fenced: a failure is believed only from the claim that
//! holds the delivery, an acceptance from anybody. Each endpoint has its own quota, so one that
//! does not answer holds up nobody else.

mod acknowledge;
mod claim;
mod due;
mod flow;
mod lane;

pub(crate) use self::acknowledge::{Report, acknowledge, give_back};
pub(crate) use self::claim::{Claimed, claim};
pub(crate) use self::due::{Standing, is_claimable, load, next_due, ready, upcoming};
pub(crate) use self::flow::{flow, put_flow};
pub(super) use self::lane::{New, enqueue};
use super::codec::{delivery_state, id, instant, mode_number, small};
use super::{Row, Sql, Value};
use crate::error::Result;
use crate::id::{DeliveryId, World};
use crate::webhook::{Delivery, DeliveryState};

/// Deliveries, newest first, before an id.
pub(crate) fn list(sql: &mut dyn Sql, world: World, before: Option<&DeliveryId>, limit: u32) -> Result<Vec<Delivery>> {
    const COLUMNS: &str = "SELECT d.id, e.id, w.id, d.state, d.attempts, d.due_at, d.last_status FROM tillite_delivery d \
         JOIN tillite_event e ON e.app = d.app AND e.mode = d.mode AND e.seq = d.event \
         JOIN tillite_endpoint w ON w.app = d.app AND w.mode = d.mode AND w.number = d.endpoint \
         WHERE d.app = $1 AND d.mode = $2";
    let world_values = [world.app.into(), mode_number(world.mode).into()];
    let [app, mode]: [Value<'_>; 2] = world_values;
    let mut found = Vec::new();
    let mut each = |row: &dyn Row| -> Result<()> {
        found.push(Delivery {
            id: id(&row.text(0)?)?,
            event: id(&row.text(1)?)?,
            endpoint: id(&row.text(2)?)?,
            due_at: match delivery_state(&row.text(3)?)? {
                DeliveryState::Pending | DeliveryState::InFlight => Some(instant(row.int(5)?)?),
                _ => None,
            },
            state: delivery_state(&row.text(3)?)?,
            attempts: small(row.int(4)?)?,
            last_status: row.maybe_int(6)?.map(small).transpose()?,
        });
        Ok(())
    };
    match before {
        None => sql.each(
            &format!("{COLUMNS} ORDER BY d.id DESC LIMIT $3"),
            &[app, mode, limit.into()],
            &mut each,
        )?,
        Some(before) => sql.each(
            &format!("{COLUMNS} AND d.id < $3 ORDER BY d.id DESC LIMIT $4"),
            &[app, mode, before.as_str().into(), limit.into()],
            &mut each,
        )?,
    }
    Ok(found)
}
