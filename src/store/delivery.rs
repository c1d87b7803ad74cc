//! Deliveries as they are read, and what becomes of those whose endpoint is deleted.

use std::time::Duration;

use super::codec::{self, delivery_outcome, delivery_state, id, instant, mode_number, small};
use super::{Row, Sql, Value, rows};
use crate::error::{Error, Result, shortened};
use crate::id::{DeliveryId, World};
use crate::webhook::{Delivery, DeliveryAttempt, DeliveryEvent, DeliveryFilter, DeliveryState, next_state};

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

/// Cancels up to `limit` deliveries that wait for endpoints which are deleted; answers how many. An endpoint for
/// which nothing waits any more is done with, and how it was doing last goes too: what was on its way when it was
/// deleted may have written it down since.
pub(crate) fn cancel(sql: &mut dyn Sql, world: World, limit: u32) -> Result<usize> {
    let (app, mode) = (world.app, mode_number(world.mode));
    let state = next_state(DeliveryState::Pending, DeliveryEvent::Cancel)?;
    let mut canceled = 0;
    while let Some(endpoint) = canceling(sql, world)? {
        let waiting = waiting(sql, world, endpoint, i64::from(limit) - canceled)?;
        for id in &waiting {
            codec::one(sql.exec(
                "UPDATE tillite_delivery SET state = $1 WHERE app = $2 AND mode = $3 AND id = $4",
                &[state.as_str().into(), app.into(), mode.into(), id.into()],
            )?)?;
            canceled += 1;
        }
        if canceled >= i64::from(limit) {
            break;
        }
        let number = [app.into(), mode.into(), endpoint.into()];
        let flow = "DELETE FROM tillite_endpoint_flow WHERE app = $1 AND mode = $2 AND endpoint = $3";
        sql.exec(flow, &number)?;
        let canceling = "UPDATE tillite_endpoint SET canceling = 0 WHERE app = $1 AND mode = $2 AND number = $3";
        codec::one(sql.exec(canceling, &number)?)?;
    }
    Ok(usize::try_from(canceled).unwrap_or(usize::MAX))
}

const IDS: &str = "SELECT id FROM tillite_delivery WHERE app = $1 AND mode = $2";

/// What waits for its attempt or is on its way.
const UNDER_WAY: &str = "AND endpoint = $3 AND state IN ('pending', 'in_flight') LIMIT $4";

/// What waits for another in its lane.
const BLOCKED: &str =
    "AND endpoint = $3 AND state = 'blocked' AND state IN ('blocked', 'exhausted', 'canceled') LIMIT $4";

/// Up to `limit` deliveries that wait for an endpoint or are on their way. Those that wait for another come
/// first, so that whoever ends them a few at a time leaves none without the one that it waits for.
fn waiting(sql: &mut dyn Sql, world: World, endpoint: i64, limit: i64) -> Result<Vec<String>> {
    let text = |row: &dyn Row| row.text(0);
    let mut found = rows(sql, world, IDS, BLOCKED, &[endpoint.into(), limit.into()], text)?;
    let left = limit.saturating_sub(i64::try_from(found.len()).unwrap_or(i64::MAX));
    if left > 0 {
        found.extend(rows(sql, world, IDS, UNDER_WAY, &[endpoint.into(), left.into()], text)?);
    }
    Ok(found)
}

/// `a` is looked for in an index that holds all that is asked of it, `d` is the same row: a table that is kept in
/// the order of its key is gone through in that order otherwise, whatever its other indexes are.
const COLUMNS: &str = "SELECT d.id, e.id, w.id, d.generation, d.state, d.attempts, d.due_at, d.last_status \
     FROM tillite_delivery a JOIN tillite_delivery d ON d.app = a.app AND d.mode = a.mode AND d.id = a.id \
     LEFT JOIN tillite_event e ON e.app = d.app AND e.mode = d.mode AND e.seq = d.event \
     LEFT JOIN tillite_endpoint w ON w.app = d.app AND w.mode = d.mode AND w.number = d.endpoint \
     WHERE a.app = $1 AND a.mode = $2";

fn from_row(row: &dyn Row) -> Result<Delivery> {
    let state = delivery_state(row.str(4)?)?;
    let due_at = match state {
        DeliveryState::Pending | DeliveryState::InFlight => Some(instant(row.int(6)?)?),
        _ => None,
    };
    Ok(Delivery {
        id: id(row.str(0)?)?,
        event: id(row.str(1)?)?,
        endpoint: id(row.str(2)?)?,
        generation: small(row.int(3)?)?,
        state,
        attempts: small(row.int(5)?)?,
        due_at,
        last_status: row.maybe_int(7)?.map(small).transpose()?,
    })
}

/// The statement that lists deliveries, behind its columns, and its values from `$3` on.
///
/// What is held up and what is in no state in particular is found in an index in the order of ids, so that a page
/// reads a page. What waits or is on its way stands in the order in which it is due, because every claim pays for
/// an index and few ask for a list: of it a page reads all. `|| ''` keeps an index from being used that would pass
/// more; of two conditions on a state the first is the one that is looked for, the second is there for the index.
fn listing<'v>(filter: &'v DeliveryFilter, before: Option<&'v str>, limit: u32) -> (String, Vec<Value<'v>>) {
    const OF_EVENT: &str = "(SELECT seq FROM tillite_event WHERE app = $1 AND mode = $2 AND id = ?)";
    const TO_ENDPOINT: &str = "(SELECT number FROM tillite_endpoint WHERE app = $1 AND mode = $2 AND id = ?)";
    const AMONG: &str = "AND a.id IN (SELECT b.id FROM tillite_delivery b WHERE b.app = $1 AND b.mode = $2";
    const AMONG_ALL: &str = "AND a.id IN (SELECT b.id FROM tillite_endpoint n CROSS JOIN tillite_delivery b \
                             WHERE n.app = $1 AND n.mode = $2 AND b.app = n.app AND b.mode = n.mode \
                             AND b.endpoint = n.number";
    const NEWEST: &str = "ORDER BY b.id || '' DESC LIMIT ?) ORDER BY a.id DESC";
    use DeliveryState::{Blocked, Canceled, Exhausted, InFlight, Pending};
    let (mut rest, mut values) = (String::new(), Vec::new());
    let mut push = |condition: &str, value: Option<Value<'v>>| {
        values.extend(value);
        rest.push(' ');
        rest.push_str(&condition.replace('?', &format!("${}", values.len() + 2)));
    };
    let word = filter.state.map_or("", DeliveryState::as_str);
    let endpoint = filter.endpoint.as_ref().map(|id| id.as_str().into());
    let event = filter.event.as_ref().map(|id| id.as_str().into());
    let before = before.map(Value::from);
    let among = event.is_some() || matches!(filter.state, Some(Pending | InFlight));
    match (event.is_some(), filter.state) {
        (true, _) => {
            push(&format!("{AMONG} AND b.event = {OF_EVENT}"), event);
            match endpoint {
                Some(_) => push(
                    &format!("AND b.endpoint = {TO_ENDPOINT} AND b.generation > 0"),
                    endpoint,
                ),
                None => push("AND b.endpoint > 0", None),
            }
            if filter.state.is_some() {
                push(&format!("AND b.state || '' = '{word}'"), None);
            }
        }
        (false, Some(Pending | InFlight)) => {
            match endpoint {
                Some(_) => push(&format!("{AMONG} AND b.endpoint = {TO_ENDPOINT}"), endpoint),
                None => push(AMONG_ALL, None),
            }
            push(
                &format!("AND b.state = '{word}' AND b.state IN ('pending', 'in_flight')"),
                None,
            );
        }
        (false, state) => {
            if endpoint.is_some() {
                push(&format!("AND a.endpoint = {TO_ENDPOINT}"), endpoint);
            }
            match state {
                Some(Blocked | Exhausted | Canceled) => push(
                    &format!("AND a.state = '{word}' AND a.state IN ('blocked', 'exhausted', 'canceled')"),
                    None,
                ),
                Some(_) => push(&format!("AND d.state = '{word}'"), None),
                None => {}
            }
        }
    }
    let limit = Some(limit.into());
    if among {
        if before.is_some() {
            push("AND b.id || '' < ?", before);
        }
        push(NEWEST, limit);
    } else {
        if before.is_some() {
            push("AND a.id < ?", before);
        }
        push("ORDER BY a.id DESC LIMIT ?", limit);
    }
    (rest, values)
}

/// Deliveries, newest first, before an id.
pub(crate) fn list(
    sql: &mut dyn Sql,
    world: World,
    filter: &DeliveryFilter,
    before: Option<&DeliveryId>,
    limit: u32,
) -> Result<Vec<Delivery>> {
    let (rest, values) = listing(filter, before.map(DeliveryId::as_str), limit);
    rows(sql, world, COLUMNS, &rest, &values, from_row)
}

/// A delivery.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Delivery> {
    rows(sql, world, COLUMNS, "AND a.id = $3", &[wanted.into()], from_row)?
        .pop()
        .ok_or_else(|| Error::NotFound {
            what: "delivery",
            id: shortened(wanted),
        })
}

/// The attempts of a delivery that are known, in order.
pub(crate) fn attempts(sql: &mut dyn Sql, world: World, delivery: &DeliveryId) -> Result<Vec<DeliveryAttempt>> {
    rows(
        sql,
        world,
        "SELECT number, started_at, duration, outcome, status, detail FROM tillite_delivery_attempt \
         WHERE app = $1 AND mode = $2",
        "AND delivery = $3 ORDER BY number",
        &[delivery.as_str().into()],
        |row| {
            Ok(DeliveryAttempt {
                number: small(row.int(0)?)?,
                started_at: instant(row.int(1)?)?,
                duration: Duration::from_millis(small(row.int(2)?)?),
                outcome: delivery_outcome(row.str(3)?)?,
                status: row.maybe_int(4)?.map(small).transpose()?,
                detail: row.maybe_text(5)?,
            })
        },
    )
}

#[cfg(test)]
pub(in crate::store) mod tests;
