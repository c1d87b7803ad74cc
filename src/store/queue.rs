//! The outbox as a queue: claiming deliveries, acknowledging them, and what is due.
//!
//! A claim counts the attempt before anything is sent, so that a delivery that kills its sender
//! cannot be tried for ever. Claims are fenced: a failure is believed only from the claim that
//! holds the delivery, an acceptance from anybody. Each endpoint has its own quota, so one that
//! does not answer holds up nobody else.

use super::codec::{self, corrupt, delivery_state, id, instant, mode_number, small};
use super::{Sql, endpoint, event};
use crate::error::{Error, Result, shortened};
use crate::event::EventKind;
use crate::id::{DeliveryId, EndpointId, EventId, World};
use crate::time::Timestamp;
use crate::webhook::{
    Attempted, DeliveryEvent, DeliveryState, Endpoint, LEASE, MAX_ATTEMPTS, MAX_IN_FLIGHT, SealedSecret, next_state,
};

/// A claimed delivery with everything that sending it needs.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) id: DeliveryId,
    pub(crate) endpoint: Endpoint,
    pub(crate) event: EventId,
    pub(crate) kind: EventKind,
    pub(crate) attempt: u32,
    pub(crate) lease_until: Timestamp,
    pub(crate) body: Vec<u8>,
    pub(crate) sealed_secrets: Vec<SealedSecret>,
}

/// What a round of claiming came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    pub(crate) claimed: Vec<Claimed>,
    /// Deliveries that were closed because their last attempt was never heard of again.
    pub(crate) exhausted: Vec<(EndpointId, DeliveryId)>,
}

/// Claims up to `limit` due deliveries of a world's endpoints whose secrets can be opened. `token`
/// is random: it fences the claim and says with which endpoint the round starts.
pub(crate) fn claim(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
    limit: usize,
    token: i64,
    openable: &[i64],
) -> Result<Claims> {
    let mut endpoints = endpoint::enabled(sql, world)?;
    endpoints.retain(|endpoint| openable.contains(&endpoint.number));
    if !endpoints.is_empty() {
        let start = usize::try_from(token.unsigned_abs()).unwrap_or(0) % endpoints.len();
        endpoints.rotate_left(start);
    }
    let mut claims = Claims::default();
    for endpoint in endpoints {
        let left = limit.saturating_sub(claims.claimed.len());
        if left == 0 {
            break;
        }
        let secrets = endpoint::sealed_secrets(sql, world, endpoint.number, host_now)?;
        claim_of(sql, world, host_now, left, token, &endpoint, &secrets, &mut claims)?;
    }
    Ok(claims)
}

#[allow(
    clippy::too_many_arguments,
    reason = "one step of the loop above, split off for reading"
)]
fn claim_of(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
    left: usize,
    token: i64,
    endpoint: &Endpoint,
    secrets: &[SealedSecret],
    claims: &mut Claims,
) -> Result<()> {
    let (app, mode) = (world.app, mode_number(world.mode));
    let in_flight = in_flight(sql, world, endpoint, host_now)?.0;
    let quota = MAX_IN_FLIGHT
        .saturating_sub(in_flight)
        .min(i64::try_from(left).unwrap_or(i64::MAX));
    if quota <= 0 {
        return Ok(());
    }
    let lease_until = host_now.plus(LEASE);
    let held_until = planted!(ClaimWithoutLease, host_now, lease_until);
    let claimed_state = next_state(DeliveryState::Pending, DeliveryEvent::Claim)?;
    let mut taken: Vec<(DeliveryId, i64, u32)> = Vec::new();
    sql.each(
        "UPDATE tillite_delivery SET state = $1, attempts = attempts + 1, due_at = $2, token = $3 \
         WHERE app = $4 AND mode = $5 AND id IN (SELECT id FROM tillite_delivery WHERE app = $4 AND mode = $5 \
         AND endpoint = $6 AND state IN ('pending', 'in_flight') AND due_at <= $7 ORDER BY due_at, event LIMIT $8) \
         RETURNING id, event, attempts",
        &[
            claimed_state.as_str().into(),
            held_until.as_millis().into(),
            token.into(),
            app.into(),
            mode.into(),
            endpoint.number.into(),
            host_now.as_millis().into(),
            quota.into(),
        ],
        &mut |row| {
            taken.push((id(&row.text(0)?)?, row.int(1)?, small(row.int(2)?)?));
            Ok(())
        },
    )?;
    // RETURNING promises no order; first tries leave in the order of their events.
    taken.sort_unstable_by_key(|(_, event, _)| *event);
    for (id, event, attempt) in taken {
        if attempt > MAX_ATTEMPTS {
            close_lost(sql, world, &id, host_now)?;
            claims.exhausted.push((endpoint.id.clone(), id));
            continue;
        }
        let rendered = event::rendered(sql, world, event, endpoint.format)?;
        let (event, kind, body) = rendered.ok_or_else(|| corrupt("a delivery without its body"))?;
        claims.claimed.push(Claimed {
            id,
            endpoint: endpoint.clone(),
            event,
            kind,
            attempt,
            lease_until,
            body,
            sealed_secrets: secrets.to_vec(),
        });
    }
    Ok(())
}

/// How many deliveries of an endpoint are on their way, and when the first of their leases ends.
fn in_flight(
    sql: &mut dyn Sql,
    world: World,
    endpoint: &Endpoint,
    host_now: Timestamp,
) -> Result<(i64, Option<Timestamp>)> {
    let mut found = (0, None);
    sql.each(
        "SELECT count(*), min(due_at) FROM tillite_delivery WHERE app = $1 AND mode = $2 AND endpoint = $3 \
         AND state IN ('pending', 'in_flight') AND state = 'in_flight' AND due_at > $4",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            endpoint.number.into(),
            host_now.as_millis().into(),
        ],
        &mut |row| {
            found = (row.int(0)?, row.maybe_int(1)?.map(instant).transpose()?);
            Ok(())
        },
    )?;
    Ok(found)
}

/// Closes a delivery whose last attempt was never heard of again.
fn close_lost(sql: &mut dyn Sql, world: World, id: &DeliveryId, host_now: Timestamp) -> Result<()> {
    let state = next_state(DeliveryState::InFlight, DeliveryEvent::FailedLast)?;
    codec::one(sql.exec(
        "UPDATE tillite_delivery SET state = $1, attempts = attempts - 1 WHERE app = $2 AND mode = $3 AND id = $4",
        &[
            state.as_str().into(),
            world.app.into(),
            mode_number(world.mode).into(),
            id.as_str().into(),
        ],
    )?)?;
    log(sql, world, id, MAX_ATTEMPTS, host_now, 0, "lost", None, None)
}

/// Writes down what came of an attempt. False if it was too late to count: somebody else holds the
/// delivery, or it is done.
#[allow(clippy::too_many_arguments, reason = "the parts of one report")]
pub(crate) fn acknowledge(
    sql: &mut dyn Sql,
    world: World,
    delivery: &DeliveryId,
    token: i64,
    attempt: u32,
    started: Timestamp,
    ended: Timestamp,
    attempted: &Attempted,
) -> Result<bool> {
    let (app, mode) = (world.app, mode_number(world.mode));
    let mut found = None;
    sql.each(
        "SELECT state, token, due_at FROM tillite_delivery WHERE app = $1 AND mode = $2 AND id = $3",
        &[app.into(), mode.into(), delivery.as_str().into()],
        &mut |row| {
            found = Some((delivery_state(&row.text(0)?)?, row.int(1)?, row.int(2)?));
            Ok(())
        },
    )?;
    let (state, holder, due_at) = found.ok_or_else(|| Error::NotFound {
        what: "delivery",
        id: shortened(delivery.as_str()),
    })?;
    let duration = i64::try_from(ended.since(started).as_millis()).unwrap_or(i64::MAX);
    let detail = attempted.detail.as_deref();
    log(
        sql,
        world,
        delivery,
        attempt,
        started,
        duration,
        attempted.outcome,
        attempted.status,
        detail,
    )?;
    let believed = attempted.event == DeliveryEvent::Accepted || holder == token;
    let Some(after) = next_state(state, attempted.event).ok().filter(|_| believed) else {
        return Ok(false);
    };
    codec::one(sql.exec(
        "UPDATE tillite_delivery SET state = $1, due_at = $2, last_status = $3 WHERE app = $4 AND mode = $5 AND id = $6",
        &[
            after.as_str().into(),
            attempted.next.map_or(due_at, Timestamp::as_millis).into(),
            attempted.status.map(i64::from).into(),
            app.into(),
            mode.into(),
            delivery.as_str().into(),
        ],
    )?)?;
    Ok(true)
}

/// Gives a claim back that was not used: nothing was sent, so the attempt does not count.
pub(crate) fn give_back(
    sql: &mut dyn Sql,
    world: World,
    delivery: &DeliveryId,
    token: i64,
    host_now: Timestamp,
) -> Result<()> {
    let state = next_state(DeliveryState::InFlight, DeliveryEvent::GiveBack)?;
    sql.exec(
        "UPDATE tillite_delivery SET state = $1, attempts = attempts - 1, due_at = $2 \
         WHERE app = $3 AND mode = $4 AND id = $5 AND token = $6 AND state = 'in_flight'",
        &[
            state.as_str().into(),
            host_now.as_millis().into(),
            world.app.into(),
            mode_number(world.mode).into(),
            delivery.as_str().into(),
            token.into(),
        ],
    )?;
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "one row, column by column")]
fn log(
    sql: &mut dyn Sql,
    world: World,
    delivery: &DeliveryId,
    attempt: u32,
    started: Timestamp,
    duration: i64,
    outcome: &str,
    status: Option<u16>,
    detail: Option<&str>,
) -> Result<()> {
    // An attempt that failed or was written off as lost may still turn out to have been accepted;
    // otherwise the first word stands.
    sql.exec(
        "INSERT INTO tillite_delivery_attempt (app, mode, delivery, number, started_at, duration, outcome, status, \
         detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (app, mode, delivery, number) DO UPDATE SET \
         started_at = excluded.started_at, duration = excluded.duration, outcome = excluded.outcome, \
         status = excluded.status, detail = excluded.detail WHERE excluded.outcome = 'delivered'",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            delivery.as_str().into(),
            attempt.into(),
            started.as_millis().into(),
            duration.into(),
            outcome.into(),
            status.map(i64::from).into(),
            detail.into(),
        ],
    )?;
    Ok(())
}

/// Host time at which the next delivery of an enabled endpoint is due, whether or not it can be
/// claimed.
pub(crate) fn next_due(sql: &mut dyn Sql, world: World) -> Result<Option<Timestamp>> {
    let mut earliest: Option<Timestamp> = None;
    for endpoint in endpoint::enabled(sql, world)? {
        let next = next_of(sql, world, &endpoint)?;
        earliest = earliest.into_iter().chain(next).min();
    }
    Ok(earliest)
}

/// Host time at which the next delivery can be claimed of the endpoints whose secrets can be
/// opened. One whose endpoint has all its places taken waits for the first of them: whoever
/// answers frees it sooner, and that is a commit, which every waiter notices.
pub(crate) fn next_claimable(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
    openable: &[i64],
) -> Result<Option<Timestamp>> {
    let mut earliest: Option<Timestamp> = None;
    for endpoint in endpoint::enabled(sql, world)? {
        if !openable.contains(&endpoint.number) {
            continue;
        }
        let next = match in_flight(sql, world, &endpoint, host_now)? {
            (taken, Some(lease_ends)) if taken >= MAX_IN_FLIGHT => Some(lease_ends),
            _ => next_of(sql, world, &endpoint)?,
        };
        earliest = earliest.into_iter().chain(next).min();
    }
    Ok(earliest)
}

fn next_of(sql: &mut dyn Sql, world: World, endpoint: &Endpoint) -> Result<Option<Timestamp>> {
    let mut next = None;
    sql.each(
        "SELECT due_at FROM tillite_delivery WHERE app = $1 AND mode = $2 AND endpoint = $3 \
         AND state IN ('pending', 'in_flight') ORDER BY due_at, event LIMIT 1",
        &[world.app.into(), mode_number(world.mode).into(), endpoint.number.into()],
        &mut |row| {
            next = Some(instant(row.int(0)?)?);
            Ok(())
        },
    )?;
    Ok(next)
}
