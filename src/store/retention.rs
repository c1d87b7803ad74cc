//! Forgetting old deliveries, their attempts, and replays.
//!
//! Each table is looked through in rounds, in the order of its ids, which is that of time. What is not
//! done stays, so a round leaves rows behind; where it has come to is written down, so that no round
//! looks at a row twice and none has to be finished at once. And the newest row that ever went is written
//! down, so that what was forgotten can be told from what was lost.
//!
//! What is forgotten does not come back, and a host's clock may be ahead for a while. So a round takes the
//! time by more than the clock: see [`Progress::round_at`].

use std::time::Duration;

use super::codec::{self, instant, mode_number};
use super::{Looked, Sql, Value};
use crate::error::Result;
use crate::id::{DeliveryId, Mode, ReplayId, World, first_made, made_at};
use crate::time::{Timestamp, days, in_millis};

/// How long after the end of a round the next one starts at the earliest.
const REST: Duration = days(1);

/// How much later than the one before a round can take the time to be.
const STRIDE: Duration = days(7);

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
struct Progress {
    /// The greatest id of which a row was forgotten; empty while none was. It never goes back.
    gone_to: String,
    /// The row up to which the round under way has come; empty while none is.
    seen_to: String,
    /// Host time as the round under way takes it, or the newest one took it: see [`believed`].
    round_at: Timestamp,
    /// Host time from which there is more to look through.
    next_at: Timestamp,
}

/// What time it is for a round: what the host's clock says, but no more than a [`STRIDE`] after the time of the
/// round before. One look at a clock that is ahead then forgets what is a few days too young at the most, and
/// the next look at the right one takes the time from that. As long as no row is old enough there is nothing to
/// lose, so a time without rows is passed at once; the first round of all forgets nothing.
fn believed(before: Option<&Progress>, oldest: Timestamp, kept: Duration, host_now: Timestamp) -> Timestamp {
    let latest = match before {
        Some(before) if !before.seen_to.is_empty() => before.round_at,
        Some(before) => before.round_at.plus(STRIDE).max(oldest.plus(kept)),
        None => oldest.plus(kept),
    };
    latest.min(host_now)
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
    let Some(oldest) = oldest(sql, world, &table)? else {
        return Ok(Looked::default());
    };
    let before = progress(sql, world, &table)?;
    // Another process may have ended the round since this one saw that there is one.
    if next_at(before.as_ref(), oldest, &table, host_now) > host_now {
        return Ok(Looked::default());
    }
    let round_at = believed(before.as_ref(), oldest, table.kept, host_now);
    let ago = |span: Duration| Timestamp::from_millis_clamped(round_at.as_millis() - in_millis(span));
    let end = (table.first)(world.mode, ago(table.kept));
    let exhausted_end = (table.first)(world.mode, ago(EXHAUSTED_KEPT));
    let (mut gone_to, seen_to) = before.map_or_else(Default::default, |before| (before.gone_to, before.seen_to));
    let (seen, last) = next_rows(sql, world, &table, &seen_to, &end, limit)?;
    let mut values: Vec<Value<'_>> = vec![
        world.app.into(),
        mode_number(world.mode).into(),
        (&seen_to).into(),
        last.as_ref().unwrap_or(&end).into(),
    ];
    match rounds {
        Rounds::Attempts => values.push(ago(table.kept).as_millis().into()),
        Rounds::Deliveries => values.push((&exhausted_end).into()),
        Rounds::Replays => {}
    }
    let Table { name, id, gone, .. } = table;
    let delete = format!(
        "DELETE FROM {name} WHERE app = $1 AND mode = $2 AND {id} > $3 AND {id} <= $4 AND {gone} RETURNING {id}"
    );
    let mut forgotten = 0;
    sql.each(&delete, &values, &mut |row| {
        forgotten += 1;
        if row.str(0)? > gone_to.as_str() {
            gone_to = row.text(0)?;
        }
        Ok(())
    })?;
    let next_at = match &last {
        Some(_) => host_now,
        None => host_now.plus(REST),
    };
    let after = Progress {
        gone_to,
        seen_to: last.unwrap_or_default(),
        round_at,
        next_at,
    };
    put(sql, world, &table, &after)?;
    Ok(Looked {
        rows: seen,
        gone: forgotten,
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

/// Host time at which the oldest row was made; none while there is no row.
fn oldest(sql: &mut dyn Sql, world: World, table: &Table) -> Result<Option<Timestamp>> {
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
    Ok(oldest)
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
    let Some(oldest) = oldest(sql, world, &table)? else {
        return Ok(None);
    };
    let before = progress(sql, world, &table)?;
    Ok(Some(next_at(before.as_ref(), oldest, &table, host_now)))
}

fn next_at(before: Option<&Progress>, oldest: Timestamp, table: &Table, host_now: Timestamp) -> Timestamp {
    match before {
        None => oldest.plus(table.kept),
        // A clock that was ahead when the last round ended must not put this one off for years.
        Some(before) if before.next_at > host_now.plus(REST) => host_now,
        Some(before) => before.next_at,
    }
}

/// Host time up to which deliveries were made that may be forgotten.
pub(super) fn forgotten_to(sql: &mut dyn Sql, world: World) -> Result<Option<Timestamp>> {
    let progress = progress(sql, world, &Rounds::Deliveries.table())?;
    Ok(progress.and_then(|progress| made_at(&progress.gone_to)))
}

fn progress(sql: &mut dyn Sql, world: World, table: &Table) -> Result<Option<Progress>> {
    let mut found = None;
    sql.each(
        "SELECT gone_to, seen_to, round_at, next_at FROM tillite_retention WHERE app = $1 AND mode = $2 AND what = $3",
        &[world.app.into(), mode_number(world.mode).into(), table.what.into()],
        &mut |row| {
            found = Some(Progress {
                gone_to: row.text(0)?,
                seen_to: row.text(1)?,
                round_at: instant(row.int(2)?)?,
                next_at: instant(row.int(3)?)?,
            });
            Ok(())
        },
    )?;
    Ok(found)
}

fn put(sql: &mut dyn Sql, world: World, table: &Table, progress: &Progress) -> Result<()> {
    codec::one(sql.exec(
        "INSERT INTO tillite_retention (app, mode, what, gone_to, seen_to, round_at, next_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (app, mode, what) DO UPDATE SET gone_to = excluded.gone_to, \
         seen_to = excluded.seen_to, round_at = excluded.round_at, next_at = excluded.next_at",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            table.what.into(),
            (&progress.gone_to).into(),
            (&progress.seen_to).into(),
            progress.round_at.as_millis().into(),
            progress.next_at.as_millis().into(),
        ],
    )?)
}
