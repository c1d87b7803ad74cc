//! Reading the event log.

use super::codec::{self, digest, id, instant, mode_number};
use super::{Row, Sql, Value, rows};
use crate::error::{Error, Result, shortened};
use crate::event::{Event, EventKind};
use crate::id::{EventId, World};
use crate::time::Timestamp;
use crate::webhook::Format;
use crate::wire;

const COLUMNS: &str = "SELECT seq, id, type, object_id, object_seq, from_state, to_state, cause, actor, created_at, body \
                       FROM tillite_event WHERE app = $1 AND mode = $2";

fn from_row(row: &dyn Row) -> Result<Event> {
    Ok(Event {
        position: row.int(0)?,
        id: id(&row.text(1)?)?,
        kind: row.text(2)?,
        object_id: row.text(3)?,
        sequence: row.int(4)?,
        from: row.maybe_text(5)?,
        to: row.maybe_text(6)?,
        cause: row.text(7)?,
        actor: row.text(8)?,
        created_at: instant(row.int(9)?)?,
        body: row.maybe_text(10)?,
    })
}

fn query(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Event>> {
    rows(sql, world, COLUMNS, rest, values, from_row)
}

/// Events after a position, in order.
pub(crate) fn after(sql: &mut dyn Sql, world: World, position: i64, limit: u32) -> Result<Vec<Event>> {
    query(
        sql,
        world,
        "AND seq > $3 ORDER BY seq LIMIT $4",
        &[position.into(), limit.into()],
    )
}

/// What happened to one object after its n-th event, in order.
pub(crate) fn of_object(sql: &mut dyn Sql, world: World, object: &str, after: i64, limit: u32) -> Result<Vec<Event>> {
    query(
        sql,
        world,
        "AND object_id = $3 AND object_seq > $4 ORDER BY object_seq LIMIT $5",
        &[object.into(), after.into(), limit.into()],
    )
}

/// How many positions one look for events of some kinds goes over: reading a row that is passed over costs about
/// a microsecond, and others wait.
pub(crate) const STRETCH: i64 = 1_000;

/// Events of some kinds, or of every kind where none are named, after a position and up to another, in order.
pub(crate) fn between(
    sql: &mut dyn Sql,
    world: World,
    kinds: Option<&[EventKind]>,
    (after, up_to): (i64, i64),
    limit: u32,
) -> Result<Vec<Event>> {
    let mut values: Vec<Value<'_>> = vec![after.into(), up_to.into()];
    // The placeholders stand in order of first appearance: the kinds before the limit.
    let of_kinds = match kinds {
        None => String::new(),
        Some([]) => return Ok(Vec::new()),
        Some(kinds) => {
            values.extend(kinds.iter().map(|kind| Value::Text(kind.as_str())));
            let listed: Vec<String> = (5..5 + kinds.len()).map(|number| format!("${number}")).collect();
            format!("AND type IN ({}) ", listed.join(", "))
        }
    };
    values.push(limit.into());
    let last = values.len() + 2;
    let rest = format!("AND seq > $3 AND seq <= $4 {of_kinds}ORDER BY seq LIMIT ${last}");
    query(sql, world, &rest, &values)
}

/// An event by its id.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &EventId) -> Result<Event> {
    query(sql, world, "AND id = $3", &[wanted.as_str().into()])?
        .pop()
        .ok_or_else(|| Error::NotFound {
            what: "event",
            id: shortened(wanted.as_str()),
        })
}

/// The bytes of an event in a format: those that were committed with it, or in a format that says what the event
/// log keeps, those that would have been; none in another one that nobody wanted then, and of what was erased.
pub(crate) fn rendered(
    sql: &mut dyn Sql,
    world: World,
    position: i64,
    format: Format,
) -> Result<Option<(EventId, EventKind, Vec<u8>)>> {
    let mut found = None;
    sql.each(
        "SELECT e.id, e.type, b.bytes, e.body, e.created_at FROM tillite_event e LEFT JOIN tillite_event_body b \
         ON b.app = e.app AND b.mode = e.mode AND b.seq = e.seq AND b.format = $1 \
         WHERE e.app = $2 AND e.mode = $3 AND e.seq = $4",
        &[
            format.as_str().into(),
            world.app.into(),
            mode_number(world.mode).into(),
            position.into(),
        ],
        &mut |row| {
            let kind = kind(row.str(1)?)?;
            let created_at = instant(row.int(4)?)?;
            let native = row.maybe_str(3)?;
            let again = || wire::rendered_again(format, kind, created_at, native?).map(String::into_bytes);
            let bytes = row.maybe_bytes(2)?.or_else(again);
            found = bytes
                .map(|bytes| Ok::<_, Error>((id(row.str(0)?)?, kind, bytes)))
                .transpose()?;
            Ok(())
        },
    )?;
    Ok(found)
}

fn kind(name: &str) -> Result<EventKind> {
    EventKind::parse(name).ok_or_else(|| codec::corrupt("an event of an unknown kind"))
}

/// The position of the newest event before a time; 0 if there is none. Engine time never goes back from one
/// event to the next, so it is found by halving.
pub(crate) fn last_before(sql: &mut dyn Sql, world: World, at: Timestamp) -> Result<i64> {
    let (mut before, mut after) = (0, head(sql, world)?.0 + 1);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        let mut is_before = false;
        sql.each(
            "SELECT created_at FROM tillite_event WHERE app = $1 AND mode = $2 AND seq = $3",
            &[world.app.into(), mode_number(world.mode).into(), middle.into()],
            &mut |row| {
                is_before = row.int(0)? < at.as_millis();
                Ok(())
            },
        )?;
        if is_before {
            before = middle;
        } else {
            after = middle;
        }
    }
    Ok(before)
}

/// The position and hash of the newest event.
pub(crate) fn head(sql: &mut dyn Sql, world: World) -> Result<(i64, [u8; 32])> {
    let mut found = None;
    sql.each(
        "SELECT seq, hash FROM tillite_head WHERE app = $1 AND mode = $2",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            found = Some((row.int(0)?, digest(&row.bytes(1)?)?));
            Ok(())
        },
    )?;
    found.ok_or_else(|| codec::corrupt("an app without its head row"))
}
