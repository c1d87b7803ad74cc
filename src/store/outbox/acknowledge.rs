//! What came of an attempt: written down, weighed against who holds the delivery, and what follows for its
//! endpoint and for the delivery behind it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::super::Sql;
use super::super::codec::{self, corrupt, delivery_state, endpoint_state, id, mode_number, small, span};
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

/// A delivery, as it stands.
struct Stored {
    state: DeliveryState,
    token: i64,
    due_at: i64,
    lane: Option<i64>,
    /// Its endpoint's number.
    endpoint: i64,
}

/// An endpoint, as far as what comes of its deliveries concerns it.
struct Side {
    id: EndpointId,
    state: EndpointState,
    max_in_flight: u32,
    suspend_after: Option<std::time::Duration>,
    /// How it does in the file.
    stored: Flow,
    /// How it does by what was brought.
    flow: Flow,
}

/// Writes down what came of attempts.
pub(crate) fn acknowledge(sql: &mut dyn Sql, reports: &[Report]) -> Result<Vec<Acked>> {
    let mut sides = BTreeMap::new();
    let mut acked = Vec::new();
    for report in reports {
        acked.push(bring(sql, report, &mut sides)?);
    }
    for ((world, number), side) in sides {
        flow::put_flow(sql, world, number, side.stored, side.flow)?;
    }
    Ok(acked)
}

fn bring(sql: &mut dyn Sql, report: &Report, sides: &mut BTreeMap<(World, i64), Side>) -> Result<Acked> {
    let Report {
        world,
        delivery,
        attempted,
        ended,
        ..
    } = report;
    let stored = stored(sql, *world, delivery)?;
    let side = match sides.entry((*world, stored.endpoint)) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(side(sql, *world, stored.endpoint)?),
    };
    let mut acked = Acked {
        counted: true,
        endpoint: side.id.clone(),
        to_suspend: None,
    };
    if report.is_repeated && stored.holds(report) {
        acked.to_suspend = side.is_to_go(*ended).then_some(stored.endpoint);
        return Ok(acked);
    }
    put_attempt(sql, report)?;
    let believed = attempted.event == DeliveryEvent::Accepted || stored.token == report.token;
    let Some(after) = next_state(stored.state, attempted.event).ok().filter(|_| believed) else {
        acked.counted = false;
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
        promote(sql, *world, stored.endpoint, lane, *ended)?;
    }
    // Of an endpoint that is gone nobody asks any more how it does.
    if side.state != EndpointState::Deleted {
        let took = ended.since(report.started);
        side.flow = side.flow.after(attempted, side.max_in_flight, took, *ended);
        acked.to_suspend = side.is_to_go(*ended).then_some(stored.endpoint);
    }
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

impl Side {
    /// Whether it has failed for as long as it may.
    fn is_to_go(&self, now: Timestamp) -> bool {
        let is_enabled = self.state == EndpointState::Enabled;
        is_enabled
            && self
                .suspend_after
                .is_some_and(|long| self.flow.has_failed_for(long, now))
    }
}

fn stored(sql: &mut dyn Sql, world: World, delivery: &DeliveryId) -> Result<Stored> {
    let mut found = None;
    sql.each(
        "SELECT state, token, due_at, lane, endpoint FROM tillite_delivery WHERE app = $1 AND mode = $2 AND id = $3",
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
                endpoint: row.int(4)?,
            });
            Ok(())
        },
    )?;
    found.ok_or_else(|| Error::NotFound {
        what: "delivery",
        id: shortened(delivery.as_str()),
    })
}

fn side(sql: &mut dyn Sql, world: World, endpoint: i64) -> Result<Side> {
    let mut found = None;
    sql.each(
        &format!(
            "SELECT w.id, w.state, w.max_in_flight, w.suspend_after, {} FROM tillite_endpoint w \
             LEFT JOIN tillite_endpoint_flow f ON f.app = w.app AND f.mode = w.mode AND f.endpoint = w.number \
             WHERE w.app = $1 AND w.mode = $2 AND w.number = $3",
            flow::COLUMNS
        ),
        &[world.app.into(), mode_number(world.mode).into(), endpoint.into()],
        &mut |row| {
            let flow = flow::from_row(row, 4)?;
            found = Some(Side {
                id: id(row.str(0)?)?,
                state: endpoint_state(row.str(1)?)?,
                max_in_flight: small(row.int(2)?)?,
                suspend_after: row.maybe_int(3)?.map(span).transpose()?,
                stored: flow,
                flow,
            });
            Ok(())
        },
    )?;
    found.ok_or_else(|| corrupt("a delivery to an endpoint that is not there"))
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
