//! Sending again: replays as rows, and the deliveries that they make, a page at a time.
//!
//! A page is one transaction: its deliveries are written together with the place up to which it has come,
//! so a replay that was cut off goes on where it stopped. It waits while as much as a page waits to be
//! sent to its endpoint: what happens meanwhile is then never far behind in the queue.

use super::apply::{hears, put_delivery};
use super::codec::{self, delivery_state, id, instant, mode_number, replay_of, replay_state, small};
use super::head::Tx;
use super::{Row, Sql, Value, endpoint, event, retention, rows};
use crate::error::{Error, Result, shortened};
use crate::event::EventKind;
use crate::id::{DeliveryId, EventId, ReplayId, World, made_at};
use crate::time::Timestamp;
use crate::webhook::{DeliveryState, Endpoint, Replay, ReplayOf, ReplayState};

/// How many events are looked at in one transaction, and how many deliveries may wait for an endpoint while
/// more are made.
pub(crate) const PAGE: u32 = 500;

/// How many replays may be running to one endpoint. Whoever looks for work looks at each of them.
const MAX_RUNNING: u32 = 4;

const COLUMNS: &str = "SELECT r.id, w.id, r.after_seq, r.to_seq, r.which, r.state, r.seen_to, r.made, r.passed, \
     r.actor, r.created_at FROM tillite_replay r \
     LEFT JOIN tillite_endpoint w ON w.app = r.app AND w.mode = r.mode AND w.number = r.endpoint \
     WHERE r.app = $1 AND r.mode = $2";

fn from_row(row: &dyn Row) -> Result<Replay> {
    Ok(Replay {
        id: id(row.str(0)?)?,
        endpoint: id(row.str(1)?)?,
        after: row.int(2)?,
        up_to: row.int(3)?,
        of: replay_of(row.str(4)?)?,
        state: replay_state(row.str(5)?)?,
        position: row.int(6)?,
        made: small(row.int(7)?)?,
        passed: small(row.int(8)?)?,
        actor: row.text(9)?,
        created_at: instant(row.int(10)?)?,
    })
}

fn query(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Replay>> {
    rows(sql, world, COLUMNS, rest, values, from_row)
}

/// A replay.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Replay> {
    query(sql, world, "AND r.id = $3", &[wanted.into()])?
        .pop()
        .ok_or_else(|| Error::NotFound {
            what: "replay",
            id: shortened(wanted),
        })
}

/// Replays, newest first, before an id.
pub(crate) fn list(sql: &mut dyn Sql, world: World, before: Option<&ReplayId>, limit: u32) -> Result<Vec<Replay>> {
    match before {
        None => query(sql, world, "ORDER BY r.id DESC LIMIT $3", &[limit.into()]),
        Some(before) => query(
            sql,
            world,
            "AND r.id < $3 ORDER BY r.id DESC LIMIT $4",
            &[before.as_str().into(), limit.into()],
        ),
    }
}

/// Begins a replay of the events between two positions; one without any is done.
pub(crate) fn begin(tx: &mut Tx<'_>, endpoint: &Endpoint, of: ReplayOf, after: i64, up_to: i64) -> Result<ReplayId> {
    if after >= up_to {
        return put(tx, endpoint, of, ReplayState::Done, (after, up_to), 0);
    }
    let running = running_to(tx.sql, tx.world, endpoint)?;
    if running >= MAX_RUNNING {
        let endpoint = endpoint.id.to_string();
        return Err(Error::ReplaysRunning { endpoint, running });
    }
    put(tx, endpoint, of, ReplayState::Running, (after, up_to), 0)
}

fn running_to(sql: &mut dyn Sql, world: World, endpoint: &Endpoint) -> Result<u32> {
    let mut running = 0;
    sql.each(
        "SELECT count(*) FROM tillite_replay WHERE app = $1 AND mode = $2 AND state = 'running' AND endpoint = $3",
        &[world.app.into(), mode_number(world.mode).into(), endpoint.number.into()],
        &mut |row| {
            running = small(row.int(0)?)?;
            Ok(())
        },
    )?;
    Ok(running)
}

/// Sends the event of a delivery to its endpoint once more.
pub(crate) fn again(tx: &mut Tx<'_>, delivery: &DeliveryId) -> Result<DeliveryId> {
    let mut found = None;
    tx.sql.each(
        "SELECT d.event, e.object_id, w.id FROM tillite_delivery d \
         JOIN tillite_event e ON e.app = d.app AND e.mode = d.mode AND e.seq = d.event \
         JOIN tillite_endpoint w ON w.app = d.app AND w.mode = d.mode AND w.number = d.endpoint \
         WHERE d.app = $1 AND d.mode = $2 AND d.id = $3",
        &[
            tx.world.app.into(),
            mode_number(tx.world.mode).into(),
            delivery.as_str().into(),
        ],
        &mut |row| {
            found = Some((row.int(0)?, row.text(1)?, row.text(2)?));
            Ok(())
        },
    )?;
    let (event, object, endpoint) = found.ok_or_else(|| Error::NotFound {
        what: "delivery",
        id: shortened(delivery.as_str()),
    })?;
    let endpoint = endpoint::live(tx.sql, tx.world, &endpoint)?;
    let past = past(tx.sql, tx.world, event, &endpoint)?;
    let made = put_delivery(tx, &endpoint, event, &object, past.next_generation)?;
    put(tx, &endpoint, ReplayOf::All, ReplayState::Done, (event - 1, event), 1)?;
    Ok(made)
}

fn put(
    tx: &mut Tx<'_>,
    endpoint: &Endpoint,
    of: ReplayOf,
    state: ReplayState,
    (after, up_to): (i64, i64),
    made: i64,
) -> Result<ReplayId> {
    let World { app, mode } = tx.world;
    let id: ReplayId = tx.mint.id(mode);
    let seen_to = if state == ReplayState::Running { after } else { up_to };
    codec::one(tx.sql.exec(
        "INSERT INTO tillite_replay (app, mode, id, endpoint, after_seq, to_seq, which, state, seen_to, made, passed, \
         actor, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, $12)",
        &[
            app.into(),
            mode_number(mode).into(),
            id.as_str().into(),
            endpoint.number.into(),
            after.into(),
            up_to.into(),
            of.as_str().into(),
            state.as_str().into(),
            seen_to.into(),
            made.into(),
            (&tx.actor).into(),
            tx.now.as_millis().into(),
        ],
    )?)?;
    Ok(id)
}

/// Calls a running replay off; what it made stays in the queue.
pub(crate) fn cancel(sql: &mut dyn Sql, world: World, replay: &ReplayId) -> Result<()> {
    codec::one(sql.exec(
        "UPDATE tillite_replay SET state = $1 WHERE app = $2 AND mode = $3 AND id = $4 AND state = 'running'",
        &[
            ReplayState::Canceled.as_str().into(),
            world.app.into(),
            mode_number(world.mode).into(),
            replay.as_str().into(),
        ],
    )?)
}

/// The oldest running replay that can go on: its endpoint is enabled, and little waits for it.
pub(crate) fn next(sql: &mut dyn Sql, world: World) -> Result<Option<Replay>> {
    let found = rows(sql, world, RUNNING, WITH_ROOM, &[PAGE.into()], |row| row.text(0))?;
    found.first().map(|id| get(sql, world, id)).transpose()
}

const RUNNING: &str = "SELECT r.id FROM tillite_replay r JOIN tillite_endpoint w ON w.app = r.app AND w.mode = r.mode \
     AND w.number = r.endpoint WHERE r.app = $1 AND r.mode = $2 AND r.state = 'running' AND w.state = 'enabled'";
const WITH_ROOM: &str = "AND (SELECT count(*) FROM (SELECT 1 FROM tillite_delivery d WHERE d.app = w.app \
     AND d.mode = w.mode AND d.endpoint = w.number AND d.state IN ('pending', 'in_flight') UNION ALL SELECT 1 \
     FROM tillite_delivery d WHERE d.app = w.app AND d.mode = w.mode AND d.endpoint = w.number \
     AND d.state = 'blocked' AND d.state IN ('blocked', 'exhausted', 'canceled') LIMIT $3) AS waiting) < $3 \
     ORDER BY r.id LIMIT 1";

/// Goes on with a replay that can, by up to `limit` events; answers how many were looked at.
pub(crate) fn step(tx: &mut Tx<'_>, limit: u32) -> Result<usize> {
    let Some(replay) = next(tx.sql, tx.world)? else {
        return Ok(0);
    };
    let endpoint = endpoint::get(tx.sql, tx.world, replay.endpoint.as_str())?;
    let (events, seen_to) = candidates(tx.sql, tx.world, &replay, &endpoint, limit)?;
    let forgotten_to = retention::forgotten_to(tx.sql, tx.world)?;
    let mut made = 0;
    for position in &events {
        if let Some(new) = to_make(tx.sql, tx.world, &replay, &endpoint, *position, forgotten_to)? {
            put_delivery(tx, &endpoint, *position, &new.object, new.generation)?;
            made += 1;
        }
    }
    let looked = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let state = if seen_to >= replay.up_to {
        ReplayState::Done
    } else {
        ReplayState::Running
    };
    codec::one(tx.sql.exec(
        "UPDATE tillite_replay SET state = $1, seen_to = $2, made = made + $3, passed = passed + $4 \
         WHERE app = $5 AND mode = $6 AND id = $7 AND state = 'running'",
        &[
            state.as_str().into(),
            seen_to.into(),
            made.into(),
            (looked - made).into(),
            tx.world.app.into(),
            mode_number(tx.world.mode).into(),
            replay.id.as_str().into(),
        ],
    )?)?;
    // A page on which nothing is to be sent is work as well.
    Ok(events.len().max(1))
}

const EXHAUSTED: &str = "SELECT DISTINCT event FROM tillite_delivery WHERE app = $1 AND mode = $2";
const IN_RANGE: &str =
    "AND endpoint = $3 AND state = 'exhausted' AND event > $4 AND event <= $5 ORDER BY event LIMIT $6";

/// The positions of the events that are looked at next, and how far a replay is with them.
fn candidates(
    sql: &mut dyn Sql,
    world: World,
    replay: &Replay,
    endpoint: &Endpoint,
    limit: u32,
) -> Result<(Vec<i64>, i64)> {
    if replay.of != ReplayOf::Exhausted {
        let seen_to = replay.up_to.min(replay.position.saturating_add(limit.into()));
        return Ok(((replay.position + 1..=seen_to).collect(), seen_to));
    }
    // Few of the events may have run out of attempts, and those are known by an index.
    let exhausted = rows(
        sql,
        world,
        EXHAUSTED,
        IN_RANGE,
        &[
            endpoint.number.into(),
            replay.position.into(),
            replay.up_to.into(),
            limit.into(),
        ],
        |row| row.int(0),
    )?;
    let is_full = u32::try_from(exhausted.len()).is_ok_and(|found| found >= limit);
    let last = exhausted.last().copied().filter(|_| is_full);
    Ok((exhausted, last.unwrap_or(replay.up_to)))
}

/// A delivery that is to be made.
struct ToMake {
    object: String,
    generation: i64,
}

/// The delivery that a replay makes of an event, if any.
fn to_make(
    sql: &mut dyn Sql,
    world: World,
    replay: &Replay,
    endpoint: &Endpoint,
    position: i64,
    forgotten_to: Option<Timestamp>,
) -> Result<Option<ToMake>> {
    let mut found: Option<(EventId, Option<EventKind>, String, Timestamp)> = None;
    sql.each(
        "SELECT id, type, object_id, created_at FROM tillite_event WHERE app = $1 AND mode = $2 AND seq = $3",
        &[world.app.into(), mode_number(world.mode).into(), position.into()],
        &mut |row| {
            let kind = EventKind::parse(row.str(1)?);
            found = Some((id(row.str(0)?)?, kind, row.text(2)?, instant(row.int(3)?)?));
            Ok(())
        },
    )?;
    let Some((id, Some(kind), object, created_at)) = found else {
        return Ok(None);
    };
    if !hears(endpoint, &object, kind) || event::rendered(sql, world, position, endpoint.format)?.is_none() {
        return Ok(None);
    }
    let is_old = forgotten_to.is_some_and(|to| made_at(id.as_str()).is_none_or(|made| made <= to));
    let past = past(sql, world, position, endpoint)?;
    let is_wanted = replay
        .of
        .takes(&past.states, is_old && created_at >= endpoint.created_at);
    Ok(is_wanted.then_some(ToMake {
        object,
        generation: past.next_generation,
    }))
}

/// The deliveries of an event to an endpoint so far.
struct Past {
    states: Vec<DeliveryState>,
    /// What the next one gets: the first is that which was made with the event.
    next_generation: i64,
}

const PAST: &str = "SELECT state, generation FROM tillite_delivery WHERE app = $1 AND mode = $2";
const OF_ONE: &str = "AND event = $3 AND endpoint = $4 ORDER BY generation";

fn past(sql: &mut dyn Sql, world: World, event: i64, endpoint: &Endpoint) -> Result<Past> {
    let values = [event.into(), endpoint.number.into()];
    let found = rows(sql, world, PAST, OF_ONE, &values, |row| {
        Ok((delivery_state(row.str(0)?)?, row.int(1)?))
    })?;
    let newest = found.last().map_or(1, |(_, generation)| *generation);
    Ok(Past {
        states: found.into_iter().map(|(state, _)| state).collect(),
        next_generation: newest + 1,
    })
}

#[cfg(test)]
mod tests;
