//! Forgetting old deliveries, their attempts, and replays.
//!
//! Each table is looked through in rounds, in the order of its ids, which is that of time. What is not
//! done stays, so a round leaves rows behind; where it has come to is written down, so that no round
//! looks at a row twice and none has to be finished at once. And how far rounds ever went is written
//! down, so that what is missing can be told from what was lost.

use std::time::Duration;

use super::codec::{self, instant, mode_number};
use super::{Looked, Sql, Value};
use crate::error::Result;
use crate::id::{DeliveryId, Mode, ReplayId, World, first_made, made_at};
use crate::time::{Timestamp, days};

/// How long after the end of a round the next one starts at the earliest.
const REST: Duration = days(1);

/// How long a delivery is kept that ran out of attempts: somebody may want to send it again.
const EXHAUSTED_KEPT: Duration = days(90);

/// What is forgotten in rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounds {
    /// Attempts of deliveries, two weeks after they were made.
    Attempts,
    /// Deliveries that were made or canceled, after thirty days, and those that ran out of attempts, after
    /// ninety. None goes before its attempts, nor before an older one of the same event to the same endpoint:
    /// else one that was given up would stand there as if nothing had been sent since.
    Deliveries,
    /// Replays that are not running any more, after thirty days.
    Replays,
}

/// The table that rounds look through.
struct Table {
    what: &'static str,
    name: &'static str,
    /// The column by whose order a round goes, and the columns that order it in full.
    id: &'static str,
    order: &'static str,
    /// How old a row is before any round looks at it.
    kept: Duration,
    first: fn(Mode, Timestamp) -> String,
    /// Which of the rows that are old enough go.
    gone: &'static str,
}

impl Rounds {
    pub(crate) const ALL: [Rounds; 3] = [Rounds::Attempts, Rounds::Deliveries, Rounds::Replays];

    const fn table(self) -> Table {
        match self {
            Rounds::Attempts => Table {
                what: "attempt",
                name: "tillite_delivery_attempt",
                id: "delivery",
                order: "delivery, number",
                kept: days(14),
                first: first_made::<DeliveryId>,
                gone: "started_at <= $5 AND NOT EXISTS (SELECT 1 FROM tillite_delivery d \
                       WHERE d.app = $1 AND d.mode = $2 AND d.id = tillite_delivery_attempt.delivery \
                       AND d.state IN ('pending', 'in_flight'))",
            },
            Rounds::Deliveries => Table {
                what: "delivery",
                name: "tillite_delivery",
                id: "id",
                order: "id",
                kept: days(30),
                first: first_made::<DeliveryId>,
                gone: "(state = 'delivered' OR state = 'canceled' OR state = 'exhausted' AND id < $5) \
                       AND NOT EXISTS (SELECT 1 FROM tillite_delivery_attempt a \
                       WHERE a.app = $1 AND a.mode = $2 AND a.delivery = tillite_delivery.id) \
                       AND (generation = 1 OR NOT EXISTS (SELECT 1 FROM tillite_delivery o \
                       WHERE o.app = $1 AND o.mode = $2 AND o.event = tillite_delivery.event \
                       AND o.endpoint = tillite_delivery.endpoint AND o.generation < tillite_delivery.generation))",
            },
            Rounds::Replays => Table {
                what: "replay",
                name: "tillite_replay",
                id: "id",
                order: "id",
                kept: days(30),
                first: first_made::<ReplayId>,
                gone: "state <> 'running'",
            },
        }
    }
}

/// How far rounds have come.
#[derive(Default)]
struct Progress {
    /// Rows with lesser ids may be gone. It never goes back.
    gone_below: String,
    /// The row up to which the round under way has come; empty while none is.
    seen_to: String,
}

/// Forgets rows that are old enough and done, and looks at no more than about `limit`: the attempts of one
/// delivery are looked at together.
pub(crate) fn forget(
    sql: &mut dyn Sql,
    world: World,
    rounds: Rounds,
    host_now: Timestamp,
    limit: u32,
) -> Result<Looked> {
    let table = rounds.table();
    let ago = |span: Duration| Timestamp::from_millis_clamped(host_now.as_millis() - millis(span));
    let end = (table.first)(world.mode, ago(table.kept));
    let exhausted_end = (table.first)(world.mode, ago(EXHAUSTED_KEPT));
    let before = progress(sql, world, &table)?
        .map(|(before, _)| before)
        .unwrap_or_default();
    let (seen, last) = next_rows(sql, world, &table, &before.seen_to, &end, limit)?;
    let mut values: Vec<Value<'_>> = vec![
        world.app.into(),
        mode_number(world.mode).into(),
        (&before.seen_to).into(),
        last.as_ref().unwrap_or(&end).into(),
    ];
    match rounds {
        Rounds::Attempts => values.push(ago(table.kept).as_millis().into()),
        Rounds::Deliveries => values.push((&exhausted_end).into()),
        Rounds::Replays => {}
    }
    let Table { name, id, gone, .. } = table;
    let gone = sql.exec(
        &format!("DELETE FROM {name} WHERE app = $1 AND mode = $2 AND {id} > $3 AND {id} <= $4 AND {gone}"),
        &values,
    )?;
    let next_at = match &last {
        Some(_) => host_now,
        None => host_now.plus(REST),
    };
    let after = Progress {
        gone_below: before.gone_below.max(end),
        seen_to: last.unwrap_or_default(),
    };
    put(sql, world, &table, &after, next_at)?;
    Ok(Looked {
        rows: seen,
        gone: usize::try_from(gone).unwrap_or(usize::MAX),
    })
}

/// How many rows come next in a round, and the id of the last of them; none if the round ends with them.
fn next_rows(
    sql: &mut dyn Sql,
    world: World,
    table: &Table,
    after: &str,
    end: &str,
    limit: u32,
) -> Result<(usize, Option<String>)> {
    let Table { name, id, order, .. } = table;
    let (mut seen, mut last) = (0, None);
    sql.each(
        &format!(
            "SELECT {id} FROM {name} WHERE app = $1 AND mode = $2 AND {id} > $3 AND {id} < $4 ORDER BY {order} LIMIT $5"
        ),
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            after.into(),
            end.into(),
            limit.into(),
        ],
        &mut |row| {
            seen += 1;
            last = Some(row.text(0)?);
            Ok(())
        },
    )?;
    let is_full = u32::try_from(seen).is_ok_and(|seen| seen >= limit);
    Ok((seen, last.filter(|_| is_full)))
}

/// Host time at which there is something to look through: while there are rows, a round a day, from when
/// the first of them is old enough. None while there is no row.
pub(crate) fn next_look(
    sql: &mut dyn Sql,
    world: World,
    rounds: Rounds,
    host_now: Timestamp,
) -> Result<Option<Timestamp>> {
    let table = rounds.table();
    let Table { name, id, order, .. } = table;
    let mut oldest = None;
    sql.each(
        &format!("SELECT {id} FROM {name} WHERE app = $1 AND mode = $2 ORDER BY {order} LIMIT 1"),
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            oldest = made_at(row.str(0)?);
            Ok(())
        },
    )?;
    let Some(oldest) = oldest else {
        return Ok(None);
    };
    Ok(Some(match progress(sql, world, &table)? {
        None => oldest.plus(table.kept),
        // A clock that was ahead when the last round ended must not put this one off for years.
        Some((_, next_at)) if next_at > host_now.plus(REST) => host_now,
        Some((_, next_at)) => next_at,
    }))
}

/// Host time before which deliveries were made that may be forgotten.
pub(super) fn forgotten_before(sql: &mut dyn Sql, world: World) -> Result<Option<Timestamp>> {
    let progress = progress(sql, world, &Rounds::Deliveries.table())?;
    Ok(progress.and_then(|(progress, _)| made_at(&progress.gone_below)))
}

/// How far rounds have come, and the host time from which there is more to look through.
fn progress(sql: &mut dyn Sql, world: World, table: &Table) -> Result<Option<(Progress, Timestamp)>> {
    let mut found = None;
    sql.each(
        "SELECT gone_below, seen_to, next_at FROM tillite_retention WHERE app = $1 AND mode = $2 AND what = $3",
        &[world.app.into(), mode_number(world.mode).into(), table.what.into()],
        &mut |row| {
            let progress = Progress {
                gone_below: row.text(0)?,
                seen_to: row.text(1)?,
            };
            found = Some((progress, instant(row.int(2)?)?));
            Ok(())
        },
    )?;
    Ok(found)
}

fn put(sql: &mut dyn Sql, world: World, table: &Table, progress: &Progress, next_at: Timestamp) -> Result<()> {
    codec::one(sql.exec(
        "INSERT INTO tillite_retention (app, mode, what, gone_below, seen_to, next_at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (app, mode, what) DO UPDATE SET gone_below = excluded.gone_below, seen_to = excluded.seen_to, \
         next_at = excluded.next_at",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            table.what.into(),
            (&progress.gone_below).into(),
            (&progress.seen_to).into(),
            next_at.as_millis().into(),
        ],
    )?)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
