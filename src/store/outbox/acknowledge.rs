//! What came of an attempt: written down, weighed against who holds the delivery, and what follows for its
//! endpoint and for the delivery behind it.

use super::super::Sql;
use super::super::codec::{self, delivery_state, endpoint_state, id, mode_number, small, span};
use super::flow;
use super::lane::promote;
use crate::error::{Error, Result, shortened};
use crate::id::{DeliveryId, EndpointId, World};
use crate::time::{Timestamp, in_millis};
use crate::webhook::{Attempted, DeliveryEvent, DeliveryState, EndpointState, Flow, MAX_ATTEMPTS, next_state};

/// What somebody who claimed a delivery says came of it.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) world: World,
    pub(crate) delivery: DeliveryId,
    pub(crate) token: i64,
    pub(crate) attempt: u32,
    /// Host time.
    pub(crate) started: Timestamp,
    /// Host time.
    pub(crate) ended: Timestamp,
    pub(crate) attempted: Attempted,
}

/// What a report came to.
#[derive(Clone, Debug)]
pub(crate) struct Acked {
    /// Whether it counted: nobody else holds the delivery, and it is not done.
    pub(crate) counted: bool,
    pub(crate) endpoint: EndpointId,
    /// The number of its endpoint, if that has failed for as long as it may.
    pub(crate) to_suspend: Option<i64>,
}

/// A delivery and its endpoint, as they stand.
struct Stored {
    state: DeliveryState,
    token: i64,
    due_at: i64,
    lane: Option<i64>,
    endpoint: EndpointId,
    number: i64,
    is_enabled: bool,
    max_in_flight: u32,
    suspend_after: Option<std::time::Duration>,
    flow: Flow,
}

/// Writes down what came of an attempt.
pub(crate) fn acknowledge(sql: &mut dyn Sql, report: &Report) -> Result<Acked> {
    let Report {
        world,
        delivery,
        attempted,
        ended,
        ..
    } = report;
    let stored = stored(sql, *world, delivery)?;
    put_attempt(sql, report)?;
    let believed = attempted.event == DeliveryEvent::Accepted || stored.token == report.token;
    let after = next_state(stored.state, attempted.event).ok().filter(|_| believed);
    let mut acked = Acked {
        counted: after.is_some(),
        endpoint: stored.endpoint,
        to_suspend: None,
    };
    let Some(after) = after else {
        return Ok(acked);
    };
    codec::one(sql.exec(
        "UPDATE tillite_delivery SET state = $1, due_at = $2, last_status = $3 WHERE app = $4 AND mode = $5 AND id = $6",
        &[
            after.as_str().into(),
            attempted.next.map_or(stored.due_at, Timestamp::as_millis).into(),
            attempted.status.map(i64::from).into(),
            world.app.into(),
            mode_number(world.mode).into(),
            delivery.as_str().into(),
        ],
    )?)?;
    // One that was out of attempts had let the next one go then.
    let could_be_sent = matches!(stored.state, DeliveryState::Pending | DeliveryState::InFlight);
    if let Some(lane) = stored.lane.filter(|_| could_be_sent && after != DeliveryState::Pending) {
        promote(sql, *world, stored.number, lane, *ended)?;
    }
    let flow = stored.flow.after(attempted, stored.max_in_flight, *ended);
    flow::put_flow(sql, *world, stored.number, stored.flow, flow)?;
    let is_to_go = |long| stored.is_enabled && flow.has_failed_for(long, *ended);
    acked.to_suspend = stored.suspend_after.is_some_and(is_to_go).then_some(stored.number);
    Ok(acked)
}

fn stored(sql: &mut dyn Sql, world: World, delivery: &DeliveryId) -> Result<Stored> {
    let mut found = None;
    sql.each(
        &format!(
            "SELECT d.state, d.token, d.due_at, d.lane, w.id, w.number, w.state, w.max_in_flight, w.suspend_after, {} \
             FROM tillite_delivery d JOIN tillite_endpoint w ON w.app = d.app AND w.mode = d.mode \
             AND w.number = d.endpoint LEFT JOIN tillite_endpoint_flow f ON f.app = d.app AND f.mode = d.mode \
             AND f.endpoint = d.endpoint WHERE d.app = $1 AND d.mode = $2 AND d.id = $3",
            flow::COLUMNS
        ),
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            delivery.as_str().into(),
        ],
        &mut |row| {
            found = Some(Stored {
                state: delivery_state(row.str(0)?)?,
                token: row.int(1)?,
                due_at: row.int(2)?,
                lane: row.maybe_int(3)?,
                endpoint: id(row.str(4)?)?,
                number: row.int(5)?,
                is_enabled: endpoint_state(row.str(6)?)? == EndpointState::Enabled,
                max_in_flight: small(row.int(7)?)?,
                suspend_after: row.maybe_int(8)?.map(span).transpose()?,
                flow: flow::from_row(row, 9)?,
            });
            Ok(())
        },
    )?;
    found.ok_or_else(|| Error::NotFound {
        what: "delivery",
        id: shortened(delivery.as_str()),
    })
}

/// Closes a delivery whose last attempt was never heard of again.
pub(super) fn close_lost(
    sql: &mut dyn Sql,
    world: World,
    endpoint: i64,
    delivery: &DeliveryId,
    host_now: Timestamp,
) -> Result<()> {
    let state = next_state(DeliveryState::InFlight, DeliveryEvent::FailedLast)?;
    let (mut lane, mut token) = (None, 0);
    sql.each(
        "UPDATE tillite_delivery SET state = $1 WHERE app = $2 AND mode = $3 AND id = $4 RETURNING lane, token",
        &[
            state.as_str().into(),
            world.app.into(),
            mode_number(world.mode).into(),
            delivery.as_str().into(),
        ],
        &mut |row| {
            (lane, token) = (row.maybe_int(0)?, row.int(1)?);
            Ok(())
        },
    )?;
    if let Some(lane) = lane {
        promote(sql, world, endpoint, lane, host_now)?;
    }
    put_attempt(
        sql,
        &Report {
            world,
            delivery: delivery.clone(),
            token,
            attempt: MAX_ATTEMPTS,
            started: host_now,
            ended: host_now,
            attempted: Attempted::lost(),
        },
    )
}

/// Gives a claim back that was not used: nothing was sent, so the attempt does not count. It is due again
/// at a host time.
pub(crate) fn give_back(
    sql: &mut dyn Sql,
    world: World,
    delivery: &DeliveryId,
    token: i64,
    due_at: Timestamp,
) -> Result<()> {
    let state = next_state(DeliveryState::InFlight, DeliveryEvent::GiveBack)?;
    sql.exec(
        "UPDATE tillite_delivery SET state = $1, attempts = attempts - 1, due_at = $2 \
         WHERE app = $3 AND mode = $4 AND id = $5 AND token = $6 AND state = 'in_flight'",
        &[
            state.as_str().into(),
            due_at.as_millis().into(),
            world.app.into(),
            mode_number(world.mode).into(),
            delivery.as_str().into(),
            token.into(),
        ],
    )?;
    Ok(())
}

/// Writes an attempt down. One that failed or was written off as lost may still turn out to have been
/// accepted; otherwise the first word stands.
fn put_attempt(sql: &mut dyn Sql, report: &Report) -> Result<()> {
    let Report {
        world,
        attempted,
        started,
        ..
    } = report;
    sql.exec(
        "INSERT INTO tillite_delivery_attempt (app, mode, delivery, number, started_at, duration, outcome, status, \
         detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (app, mode, delivery, number) DO UPDATE SET \
         started_at = excluded.started_at, duration = excluded.duration, outcome = excluded.outcome, \
         status = excluded.status, detail = excluded.detail WHERE excluded.outcome = 'delivered'",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            report.delivery.as_str().into(),
            report.attempt.into(),
            started.as_millis().into(),
            in_millis(report.ended.since(*started)).into(),
            attempted.outcome.into(),
            attempted.status.map(i64::from).into(),
            attempted.detail.as_deref().into(),
        ],
    )?;
    Ok(())
}
