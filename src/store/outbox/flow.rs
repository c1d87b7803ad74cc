//! How an endpoint is doing, in a row that is there only while not all is well.

use super::super::codec::{self, maybe_instant, mode_number, small};
use super::super::{Row, Sql};
use crate::error::Result;
use crate::id::World;
use crate::time::Timestamp;
use crate::webhook::Flow;

/// The columns of a row that may be missing, by the name that statements give to its table.
pub(super) const COLUMNS: &str = "f.in_flight, f.paused_until, f.next_at, f.failing_since, f.failures, f.exhausted";

/// From six columns.
pub(super) fn from_row(row: &dyn Row, first: usize) -> Result<Flow> {
    Ok(Flow {
        in_flight: row.maybe_int(first)?.map(small).transpose()?,
        paused_until: maybe_instant(row.maybe_int(first + 1)?)?,
        next_at: maybe_instant(row.maybe_int(first + 2)?)?,
        failing_since: maybe_instant(row.maybe_int(first + 3)?)?,
        failures: row.maybe_int(first + 4)?.unwrap_or(0),
        exhausted: row.maybe_int(first + 5)?.unwrap_or(0),
    })
}

/// How an endpoint is doing.
pub(crate) fn flow(sql: &mut dyn Sql, world: World, endpoint: i64) -> Result<Flow> {
    let mut found = Flow::default();
    sql.each(
        &format!("SELECT {COLUMNS} FROM tillite_endpoint_flow f WHERE f.app = $1 AND f.mode = $2 AND f.endpoint = $3"),
        &[world.app.into(), mode_number(world.mode).into(), endpoint.into()],
        &mut |row| {
            found = from_row(row, 0)?;
            Ok(())
        },
    )?;
    Ok(found)
}

/// Writes down how an endpoint is doing, unless that is as it was.
pub(crate) fn put_flow(sql: &mut dyn Sql, world: World, endpoint: i64, before: Flow, after: Flow) -> Result<()> {
    let (app, mode) = (world.app, mode_number(world.mode));
    if before == after {
        return Ok(());
    }
    if after == Flow::default() {
        sql.exec(
            "DELETE FROM tillite_endpoint_flow WHERE app = $1 AND mode = $2 AND endpoint = $3",
            &[app.into(), mode.into(), endpoint.into()],
        )?;
        return Ok(());
    }
    codec::one(sql.exec(
        "INSERT INTO tillite_endpoint_flow (app, mode, endpoint, in_flight, paused_until, next_at, failing_since, \
         failures, exhausted) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (app, mode, endpoint) DO UPDATE \
         SET in_flight = excluded.in_flight, paused_until = excluded.paused_until, next_at = excluded.next_at, \
         failing_since = excluded.failing_since, failures = excluded.failures, exhausted = excluded.exhausted",
        &[
            app.into(),
            mode.into(),
            endpoint.into(),
            after.in_flight.into(),
            after.paused_until.map(Timestamp::as_millis).into(),
            after.next_at.map(Timestamp::as_millis).into(),
            after.failing_since.map(Timestamp::as_millis).into(),
            after.failures.into(),
            after.exhausted.into(),
        ],
    )?)
}
