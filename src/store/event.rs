//! Reading the event log.

use super::codec::{self, digest, id, instant, mode_number};
use super::{Row, Sql, Value, rows};
use crate::error::Result;
use crate::event::{Event, EventKind};
use crate::id::World;

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

/// Events of some kinds after a position and up to another, in order.
pub(crate) fn of_kinds(
    sql: &mut dyn Sql,
    world: World,
    (after, to): (i64, i64),
    kinds: &[EventKind],
    limit: u32,
) -> Result<Vec<Event>> {
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let mut values: Vec<Value<'_>> = vec![after.into(), to.into()];
    values.extend(kinds.iter().map(|kind| Value::Text(kind.as_str())));
    // The placeholders stand in order of first appearance: the kinds before the limit.
    let listed: Vec<String> = (5..5 + kinds.len()).map(|number| format!("${number}")).collect();
    let rest = format!(
        "AND seq > $3 AND seq <= $4 AND type IN ({}) ORDER BY seq LIMIT ${}",
        listed.join(", "),
        5 + kinds.len()
    );
    values.push(limit.into());
    query(sql, world, &rest, &values)
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
