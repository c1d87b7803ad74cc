//! What came of an attempt: written down, weighed against who holds the delivery, and what follows for its
//! endpoint and for the delivery behind it.

use super::super::Sql;
use super::super::codec::{self, delivery_state, endpoint_state, id, mode_number, small, span};
use super::flow;
use super::lane::promote;
use crate::error::{Error, Result, shortened};
use crate::id::{DeliveryId, EndpointId, World};
use crate::time::{Timestamp, in_millis};
use crate::webhook::{Attempted, DeliveryEvent, DeliveryState, EndpointState, Flow, next_state};

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
    /// Whether it was brought before, and nobody knows whether that was written down.
    pub(crate) is_repeated: bool,
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
    endpoint_state: EndpointState,
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
    let is_enabled = stored.endpoint_state == EndpointState::Enabled;
    let is_to_go = |flow: Flow, long| is_enabled && flow.has_failed_for(long, *ended);
    if report.is_repeated && stored.holds(report) {
        return Ok(Acked {
            counted: true,
            endpoint: stored.endpoint,
            to_suspend: stored
                .suspend_after
                .is_some_and(|long| is_to_go(stored.flow, long))
                .then_some(stored.number),
        });
    }
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
    // Of an endpoint that is gone nobody asks any more how it does.
    if stored.endpoint_state == EndpointState::Deleted {
        return Ok(acked);
    }
    let took = ended.since(report.started);
    let flow = stored.flow.after(attempted, stored.max_in_flight, took, *ended);
    flow::put_flow(sql, *world, stored.number, stored.flow, flow)?;
    acked.to_suspend = stored
        .suspend_after
        .is_some_and(|long| is_to_go(flow, long))
        .then_some(stored.number);
    Ok(acked)
}

impl Stored {
    /// Whether it stands as it does after a report. While it is held by the claim that the report is of,
    /// nobody else has written there.
    fn holds(&self, report: &Report) -> bool {
        let after = next_state(DeliveryState::InFlight, report.attempted.event);
        let due_at = report.attempted.next.map_or(self.due_at, Timestamp::as_millis);
        self.token == report.token && after.is_ok_and(|after| after == self.state) && due_at == self.due_at
    }
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
                endpoint_state: endpoint_state(row.str(6)?)?,
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

/// Closes a delivery of which there is no other attempt: the last one was never heard of again, or there is
/// nothing to be sent.
pub(super) fn close(
    sql: &mut dyn Sql,
    world: World,
    endpoint: i64,
    (delivery, attempt): (&DeliveryId, u32),
    attempted: Attempted,
    host_now: Timestamp,
) -> Result<()> {
    let state = next_state(DeliveryState::InFlight, attempted.event)?;
    let (mut lane, mut token) = (None, 0);
    sql.each(
        "UPDATE tillite_delivery SET state = $1, attempts = $2 WHERE app = $3 AND mode = $4 AND id = $5 \
         RETURNING lane, token",
        &[
            state.as_str().into(),
            attempt.into(),
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
            attempt,
            started: host_now,
            ended: host_now,
            attempted,
            is_repeated: false,
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
