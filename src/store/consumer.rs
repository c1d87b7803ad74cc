//! The places of consumers: how far each has come in each world.

use super::codec::{self, instant, maybe_instant, mode_number};
use super::{Row, Sql, Value, event, rows};
use crate::error::Result;
use crate::event::{Event, EventKind};
use crate::id::World;
use crate::time::Timestamp;

/// Where a consumer stands in a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    /// The position of the last event that it has taken or passed over; 0: none.
    pub(crate) position: i64,
    /// Failures in a row at the event after it.
    pub(crate) failures: i64,
    /// Host time of the first of them.
    pub(crate) failing_since: Option<Timestamp>,
    /// Host time before which it is not tried again.
    pub(crate) due_at: Timestamp,
    /// What the newest failure said.
    pub(crate) error: Option<String>,
}

impl Place {
    /// A consumer that has taken everything up to a position, and fails at nothing.
    pub(crate) fn at(name: &str, position: i64) -> Place {
        Place {
            name: name.to_owned(),
            position,
            failures: 0,
            failing_since: None,
            due_at: Timestamp::MIN,
            error: None,
        }
    }
}

const COLUMNS: &str = "SELECT name, position, failures, failing_since, due_at, error FROM tillite_consumer \
                       WHERE app = $1 AND mode = $2";

fn from_row(row: &dyn Row) -> Result<Place> {
    Ok(Place {
        name: row.text(0)?,
        position: row.int(1)?,
        failures: row.int(2)?,
        failing_since: maybe_instant(row.maybe_int(3)?)?,
        due_at: instant(row.int(4)?)?,
        error: row.maybe_text(5)?,
    })
}

/// Where a consumer stands; none if it has no place in the world yet.
pub(crate) fn place(sql: &mut dyn Sql, world: World, name: &str) -> Result<Option<Place>> {
    let found = rows(sql, world, COLUMNS, "AND name = $3", &[name.into()], from_row)?;
    Ok(found.into_iter().next())
}

/// The position of a world's newest event, and where each consumer stands that has a place there.
pub(crate) fn standing(sql: &mut dyn Sql, world: World) -> Result<(i64, Vec<Place>)> {
    let (mut head, mut places) = (None, Vec::new());
    sql.each(
        "SELECT c.name, c.position, c.failures, c.failing_since, c.due_at, c.error, h.seq FROM tillite_head h \
         LEFT JOIN tillite_consumer c ON c.app = h.app AND c.mode = h.mode WHERE h.app = $1 AND h.mode = $2",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            head = Some(row.int(6)?);
            if row.maybe_str(0)?.is_some() {
                places.push(from_row(row)?);
            }
            Ok(())
        },
    )?;
    let head = head.ok_or_else(|| codec::corrupt("an app without its head row"))?;
    Ok((head, places))
}

/// Where consumers stand, in the order of their names, after one.
pub(crate) fn places(sql: &mut dyn Sql, world: World, after: &str, limit: u32) -> Result<Vec<Place>> {
    rows(
        sql,
        world,
        COLUMNS,
        "AND name > $3 ORDER BY name LIMIT $4",
        &[after.into(), limit.into()],
        from_row,
    )
}

/// Writes down where a consumer stands.
pub(crate) fn put(sql: &mut dyn Sql, world: World, place: &Place) -> Result<()> {
    codec::one(sql.exec(
        "INSERT INTO tillite_consumer (app, mode, name, position, failures, failing_since, due_at, error) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (app, mode, name) DO UPDATE SET \
         position = excluded.position, failures = excluded.failures, failing_since = excluded.failing_since, \
         due_at = excluded.due_at, error = excluded.error",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            (&place.name).into(),
            place.position.into(),
            place.failures.into(),
            place.failing_since.map(Timestamp::as_millis).into(),
            place.due_at.as_millis().into(),
            place.error.as_deref().into(),
        ],
    )?)
}

/// The next wanted events behind a position, and the position up to which there is no other.
pub(crate) fn ahead(
    sql: &mut dyn Sql,
    world: World,
    position: i64,
    kinds: Option<&[EventKind]>,
    limit: u32,
) -> Result<(Vec<Event>, i64)> {
    let (head, _) = event::head(sql, world)?;
    let reach = match kinds {
        None => head,
        Some(_) => head.min(position.saturating_add(event::STRETCH)),
    };
    let events = event::between(sql, world, kinds, (position, reach), limit)?;
    let is_full = events.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let to = events.last().filter(|_| is_full).map_or(reach, |last| last.position);
    Ok((events, to))
}

/// How many consumers fail.
pub(crate) fn failing(sql: &mut dyn Sql, world: World) -> Result<u64> {
    let mut count = 0;
    let values: [Value<'_>; 2] = [world.app.into(), mode_number(world.mode).into()];
    sql.each(
        "SELECT count(*) FROM tillite_consumer WHERE app = $1 AND mode = $2 AND failures > 0",
        &values,
        &mut |row| {
            count = u64::try_from(row.int(0)?).unwrap_or(0);
            Ok(())
        },
    )?;
    Ok(count)
}
