//! Webhook endpoints and their sealed secrets.

use std::time::Duration;

use super::codec::{
    self, corrupt, delivery_order, endpoint_state, format, id, instant, json, mode_number, small, span,
};
use super::{Row, Sql, Value, rows};
use crate::error::{Error, Result, shortened};
use crate::id::World;
use crate::time::{Timestamp, in_millis};
use crate::webhook::{Endpoint, EndpointState, FreshSecrets, OVERLAP, SealedSecret};

/// How far ahead the end of an overlap can lie. One that lies further was set while the host's clock was ahead, and
/// counts as over; a clock that is set back by less than an overlap only makes it longer.
const FURTHEST_OVERLAP: Duration = Duration::from_secs(2 * OVERLAP.as_secs());

const COLUMNS: &str = "SELECT id, url, url_key, format, types, state, created_at, number, revision, \
                       ordering, max_in_flight, min_gap, suspend_after FROM tillite_endpoint WHERE app = $1 AND mode = $2";

fn from_row(row: &dyn Row) -> Result<Endpoint> {
    Ok(Endpoint {
        id: id(&row.text(0)?)?,
        url: row.text(1)?,
        url_key: row.text(2)?,
        format: format(&row.text(3)?)?,
        events: serde_json::from_str(&row.text(4)?).map_err(|_| corrupt("event names that do not parse"))?,
        state: endpoint_state(&row.text(5)?)?,
        created_at: instant(row.int(6)?)?,
        number: row.int(7)?,
        revision: row.int(8)?,
        ordering: delivery_order(&row.text(9)?)?,
        max_in_flight: small(row.int(10)?)?,
        min_gap: span(row.int(11)?)?,
        suspend_after: row.maybe_int(12)?.map(span).transpose()?,
        fresh: None,
    })
}

fn query(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Endpoint>> {
    rows(sql, world, COLUMNS, rest, values, from_row)
}

/// Endpoints that are not deleted are found by an index that holds no others, in which `state <> 'deleted'` has to
/// stand in the statement: every write asks who listens, and deleted ones are kept for ever.
const LISTENING: &str = "AND state <> 'deleted' AND state IN ('enabled', 'suspended') ORDER BY number";
/// The order of ids must not be taken for a way to find them.
const LISTED: &str = "AND state <> 'deleted' AND id || '' > $3 ORDER BY id || '' LIMIT $4";

/// The endpoints that get deliveries, those included that get theirs later: nobody chose to lose what happens
/// while an endpoint is suspended.
pub(super) fn listening(sql: &mut dyn Sql, world: World) -> Result<Vec<Endpoint>> {
    query(sql, world, LISTENING, &[])
}

/// An endpoint and the sealed secrets that sign for it at a host time; none if there is none of that number.
pub(crate) fn with_sealed(
    sql: &mut dyn Sql,
    world: World,
    number: i64,
    host_now: Timestamp,
) -> Result<Option<(Endpoint, Vec<SealedSecret>)>> {
    match query(sql, world, "AND number = $3", &[number.into()])?.pop() {
        Some(endpoint) => Ok(Some((endpoint, sealed_secrets(sql, world, number, host_now)?))),
        None => Ok(None),
    }
}

/// The endpoints that are not deleted, by age, after an id.
pub(crate) fn list(sql: &mut dyn Sql, world: World, after: &str, limit: u32) -> Result<Vec<Endpoint>> {
    query(sql, world, LISTED, &[after.into(), limit.into()])
}

/// The endpoint of a URL, if there is one that is not deleted.
pub(crate) fn by_url_key(sql: &mut dyn Sql, world: World, key: &str) -> Result<Option<Endpoint>> {
    Ok(query(sql, world, "AND state <> 'deleted' AND url_key = $3", &[key.into()])?.pop())
}

/// An endpoint, whatever its state.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Endpoint> {
    query(sql, world, "AND id = $3", &[wanted.into()])?
        .pop()
        .ok_or_else(|| Error::NotFound {
            what: "webhook endpoint",
            id: shortened(wanted),
        })
}

/// An endpoint that is not deleted.
pub(crate) fn live(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Endpoint> {
    let endpoint = get(sql, world, wanted)?;
    is_live(&endpoint)?;
    Ok(endpoint)
}

/// Refuses an endpoint that is deleted.
pub(crate) fn is_live(endpoint: &Endpoint) -> Result<()> {
    if endpoint.state == EndpointState::Deleted {
        return Err(Error::Deleted {
            what: "webhook endpoint",
            id: shortened(endpoint.id.as_str()),
        });
    }
    Ok(())
}

/// How many endpoints there are that are not deleted.
pub(crate) fn count(sql: &mut dyn Sql, world: World) -> Result<i64> {
    let mut found = 0;
    sql.each(
        "SELECT count(*) FROM tillite_endpoint WHERE app = $1 AND mode = $2 AND state <> 'deleted'",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            found = row.int(0)?;
            Ok(())
        },
    )?;
    Ok(found)
}

/// The number that the next endpoint gets.
pub(crate) fn next_number(sql: &mut dyn Sql, world: World) -> Result<i64> {
    let mut number = 1;
    sql.each(
        "SELECT coalesce(max(number), 0) + 1 FROM tillite_endpoint WHERE app = $1 AND mode = $2",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            number = row.int(0)?;
            Ok(())
        },
    )?;
    Ok(number)
}

/// The sealed secrets that sign for an endpoint at a host time, the newest first.
pub(crate) fn sealed_secrets(
    sql: &mut dyn Sql,
    world: World,
    endpoint: i64,
    host_now: Timestamp,
) -> Result<Vec<SealedSecret>> {
    let mut found = Vec::new();
    sql.each(
        "SELECT sealed, expires_at FROM tillite_endpoint_secret WHERE app = $1 AND mode = $2 AND endpoint = $3 \
         AND (expires_at IS NULL OR expires_at > $4 AND expires_at <= $5) ORDER BY number DESC",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            endpoint.into(),
            host_now.as_millis().into(),
            host_now.plus(FURTHEST_OVERLAP).as_millis().into(),
        ],
        &mut |row| {
            found.push(SealedSecret {
                bytes: row.bytes(0)?,
                current: row.maybe_int(1)?.is_none(),
            });
            Ok(())
        },
    )?;
    Ok(found)
}

/// Whether there are secrets that were replaced while the host's clock was ahead by more than an overlap. They sign
/// no more, and must not sign again when that time has come.
pub(crate) fn has_overlong(sql: &mut dyn Sql, world: World, host_now: Timestamp) -> Result<bool> {
    let furthest = host_now.plus(FURTHEST_OVERLAP).as_millis();
    let id = |row: &dyn Row| row.int(0);
    let secrets = "SELECT endpoint FROM tillite_endpoint_secret WHERE app = $1 AND mode = $2";
    let found = rows(
        sql,
        world,
        secrets,
        "AND expires_at > $3 LIMIT 1",
        &[furthest.into()],
        id,
    )?;
    Ok(!found.is_empty())
}

/// Removes them.
pub(crate) fn remove_overlong(sql: &mut dyn Sql, world: World, host_now: Timestamp) -> Result<()> {
    sql.exec(
        "DELETE FROM tillite_endpoint_secret WHERE app = $1 AND mode = $2 AND expires_at > $3",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            host_now.plus(FURTHEST_OVERLAP).as_millis().into(),
        ],
    )?;
    Ok(())
}

/// Every endpoint of a world with the sealed secrets that sign for it at a host time.
pub(crate) fn all_sealed(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
) -> Result<Vec<(Endpoint, Vec<SealedSecret>)>> {
    let mut found = Vec::new();
    for endpoint in query(sql, world, "AND state <> 'deleted' ORDER BY number", &[])? {
        let secrets = sealed_secrets(sql, world, endpoint.number, host_now)?;
        found.push((endpoint, secrets));
    }
    Ok(found)
}

pub(super) fn put(sql: &mut dyn Sql, world: World, endpoint: &Endpoint, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let types = json(&endpoint.events)?;
    let suspend_after = endpoint.suspend_after.map(in_millis);
    if before != 0 {
        if let Some(fresh) = &endpoint.fresh {
            put_secrets(sql, world, endpoint, fresh)?;
        }
        let flow_ends = endpoint.state == EndpointState::Deleted || is_switched_on(sql, world, endpoint)?;
        let number = [world.app.into(), mode.into(), endpoint.number.into()];
        if flow_ends {
            let flow = "DELETE FROM tillite_endpoint_flow WHERE app = $1 AND mode = $2 AND endpoint = $3";
            sql.exec(flow, &number)?;
        }
        if endpoint.state == EndpointState::Deleted {
            let secrets = "DELETE FROM tillite_endpoint_secret WHERE app = $1 AND mode = $2 AND endpoint = $3";
            sql.exec(secrets, &number)?;
            let replays = "UPDATE tillite_replay SET state = 'canceled' WHERE app = $1 AND mode = $2 AND endpoint = $3 \
                           AND id IN (SELECT id FROM tillite_replay WHERE app = $1 AND mode = $2 AND state = 'running')";
            sql.exec(replays, &number)?;
            let canceling = "UPDATE tillite_endpoint SET canceling = 1 WHERE app = $1 AND mode = $2 AND number = $3";
            codec::one(sql.exec(canceling, &number)?)?;
        }
        return codec::one(sql.exec(
            "UPDATE tillite_endpoint SET url = $1, url_key = $2, types = $3, state = $4, revision = $5, ordering = $6, \
             max_in_flight = $7, min_gap = $8, suspend_after = $9 \
             WHERE app = $10 AND mode = $11 AND number = $12 AND revision = $13",
            &[
                (&endpoint.url).into(),
                (&endpoint.url_key).into(),
                (&types).into(),
                endpoint.state.as_str().into(),
                endpoint.revision.into(),
                endpoint.ordering.as_str().into(),
                endpoint.max_in_flight.into(),
                in_millis(endpoint.min_gap).into(),
                suspend_after.into(),
                world.app.into(),
                mode.into(),
                endpoint.number.into(),
                before.into(),
            ],
        )?);
    }
    codec::one(sql.exec(
        "INSERT INTO tillite_endpoint (app, mode, number, id, url, url_key, format, types, state, created_at, revision, \
         ordering, max_in_flight, min_gap, suspend_after) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        &[
            world.app.into(),
            mode.into(),
            endpoint.number.into(),
            endpoint.id.as_str().into(),
            (&endpoint.url).into(),
            (&endpoint.url_key).into(),
            endpoint.format.as_str().into(),
            (&types).into(),
            endpoint.state.as_str().into(),
            endpoint.created_at.as_millis().into(),
            endpoint.revision.into(),
            endpoint.ordering.as_str().into(),
            endpoint.max_in_flight.into(),
            in_millis(endpoint.min_gap).into(),
            suspend_after.into(),
        ],
    )?)?;
    match &endpoint.fresh {
        Some(fresh) => put_secrets(sql, world, endpoint, fresh),
        None => Err(corrupt("a new endpoint without a secret")),
    }
}

/// Whether an endpoint that is about to be written as enabled is not yet: how it was doing before it was
/// switched off or suspended says nothing of how it will do.
fn is_switched_on(sql: &mut dyn Sql, world: World, endpoint: &Endpoint) -> Result<bool> {
    let mut off = false;
    if endpoint.state == EndpointState::Enabled {
        off = get(sql, world, endpoint.id.as_str())?.state != EndpointState::Enabled;
    }
    Ok(off)
}

/// Writes new secrets. The current ones get an end or go; those that had an end already go, so that no
/// more than two generations sign.
fn put_secrets(sql: &mut dyn Sql, world: World, endpoint: &Endpoint, fresh: &FreshSecrets) -> Result<()> {
    let (app, mode) = (world.app, mode_number(world.mode));
    let gone = match fresh.overlap_until {
        Some(_) => " AND expires_at IS NOT NULL",
        None => "",
    };
    sql.exec(
        &format!("DELETE FROM tillite_endpoint_secret WHERE app = $1 AND mode = $2 AND endpoint = $3{gone}"),
        &[app.into(), mode.into(), endpoint.number.into()],
    )?;
    if let Some(until) = fresh.overlap_until {
        sql.exec(
            "UPDATE tillite_endpoint_secret SET expires_at = $1 WHERE app = $2 AND mode = $3 AND endpoint = $4",
            &[
                until.as_millis().into(),
                app.into(),
                mode.into(),
                endpoint.number.into(),
            ],
        )?;
    }
    for sealed in &fresh.sealed {
        codec::one(sql.exec(
            "INSERT INTO tillite_endpoint_secret (app, mode, endpoint, number, sealed, expires_at) \
             VALUES ($1, $2, $3, (SELECT coalesce(max(number), 0) + 1 FROM tillite_endpoint_secret \
             WHERE app = $1 AND mode = $2 AND endpoint = $3), $4, NULL)",
            &[
                app.into(),
                mode.into(),
                endpoint.number.into(),
                sealed.as_slice().into(),
            ],
        )?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
