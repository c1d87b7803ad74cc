//! Deliveries as they are read, and what becomes of those whose endpoint is deleted.

use super::Sql;
use super::codec::{self, mode_number};
use crate::error::Result;
use crate::id::World;
use crate::webhook::{DeliveryEvent, DeliveryState, next_state};

/// The number of an endpoint that is deleted and for which something may wait yet.
pub(crate) fn canceling(sql: &mut dyn Sql, world: World) -> Result<Option<i64>> {
    let mut found = None;
    sql.each(
        "SELECT number FROM tillite_endpoint WHERE app = $1 AND mode = $2 AND canceling = 1 ORDER BY number LIMIT 1",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            found = Some(row.int(0)?);
            Ok(())
        },
    )?;
    Ok(found)
}

/// Cancels up to `limit` deliveries that wait for endpoints which are deleted; answers how many.
pub(crate) fn cancel(sql: &mut dyn Sql, world: World, limit: u32) -> Result<usize> {
    let (app, mode) = (world.app, mode_number(world.mode));
    let state = next_state(DeliveryState::Pending, DeliveryEvent::Cancel)?;
    let mut canceled = 0;
    while let Some(endpoint) = canceling(sql, world)? {
        // What is due or on its way has one index, what waits for another in its lane a second.
        for waiting in [
            "state IN ('pending', 'in_flight')",
            "lane IS NOT NULL AND state IN ('pending', 'blocked', 'in_flight')",
        ] {
            canceled += sql.exec(
                &format!(
                    "UPDATE tillite_delivery SET state = $1 WHERE app = $2 AND mode = $3 AND id IN \
                     (SELECT id FROM tillite_delivery WHERE app = $2 AND mode = $3 AND endpoint = $4 AND {waiting} \
                     LIMIT $5)"
                ),
                &[
                    state.as_str().into(),
                    app.into(),
                    mode.into(),
                    endpoint.into(),
                    i64::from(limit)
                        .saturating_sub(i64::try_from(canceled).unwrap_or(i64::MAX))
                        .into(),
                ],
            )?;
        }
        if canceled >= u64::from(limit) {
            break;
        }
        codec::one(sql.exec(
            "UPDATE tillite_endpoint SET canceling = 0 WHERE app = $1 AND mode = $2 AND number = $3",
            &[app.into(), mode.into(), endpoint.into()],
        )?)?;
    }
    Ok(usize::try_from(canceled).unwrap_or(usize::MAX))
}
