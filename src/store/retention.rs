//! Forgetting old attempts of deliveries.
//!
//! They are looked through in rounds, in the order of their deliveries' ids, which is that of time.
//! What a delivery needs that is not done stays, so a round leaves rows behind; where it has come to
//! is written down, so that no round looks at a row twice and none has to be finished at once. And
//! how far rounds ever went is written down, so that what is missing can be told from what was lost.

use std::time::Duration;

use super::codec::{self, instant, mode_number};
use super::{Looked, Sql};
use crate::error::Result;
use crate::id::{DeliveryId, World, first_made};
use crate::time::{Timestamp, days};

/// How long an attempt is kept.
const KEPT: Duration = days(14);

/// How long after the end of a round the next one starts at the earliest.
const REST: Duration = days(1);

/// How far attempts have been forgotten.
#[derive(Default)]
struct Progress {
    /// Attempts of deliveries below this may be gone. It never goes back.
    gone_below: String,
    /// The delivery up to which the round under way has come; empty while none is.
    seen_to: String,
}

/// Forgets attempts that are older than two weeks and whose delivery is done, and looks at no more
/// than about `limit`: the attempts of one delivery are looked at together.
pub(crate) fn forget(sql: &mut dyn Sql, world: World, host_now: Timestamp, limit: u32) -> Result<Looked> {
    let old = Timestamp::from_millis_clamped(host_now.as_millis() - millis(KEPT));
    let end = first_made::<DeliveryId>(world.mode, old);
    let before = progress(sql, world)?.map(|(before, _)| before).unwrap_or_default();
    let (seen, last) = next_deliveries(sql, world, &before.seen_to, &end, limit)?;
    let up_to = last.as_ref().unwrap_or(&end);
    let gone = sql.exec(
        "DELETE FROM tillite_delivery_attempt WHERE app = $1 AND mode = $2 AND delivery > $3 AND delivery <= $4 \
         AND started_at <= $5 AND NOT EXISTS (SELECT 1 FROM tillite_delivery d \
         WHERE d.app = $1 AND d.mode = $2 AND d.id = tillite_delivery_attempt.delivery \
         AND d.state IN ('pending', 'in_flight'))",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            (&before.seen_to).into(),
            up_to.into(),
            old.as_millis().into(),
        ],
    )?;
    let next_at = match &last {
        Some(_) => host_now,
        None => host_now.plus(REST),
    };
    let after = Progress {
        gone_below: before.gone_below.max(end),
        seen_to: last.unwrap_or_default(),
    };
    put(sql, world, &after, next_at)?;
    Ok(Looked {
        rows: seen,
        gone: usize::try_from(gone).unwrap_or(usize::MAX),
    })
}

/// How many attempts come next in a round, and the delivery of the last of them; none if the round
/// ends with them.
fn next_deliveries(
    sql: &mut dyn Sql,
    world: World,
    after: &str,
    end: &str,
    limit: u32,
) -> Result<(usize, Option<String>)> {
    let (mut seen, mut last) = (0, None);
    sql.each(
        "SELECT delivery FROM tillite_delivery_attempt WHERE app = $1 AND mode = $2 AND delivery > $3 \
         AND delivery < $4 ORDER BY delivery, number LIMIT $5",
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

/// Host time at which there is something to look through: while there are attempts, a round a day,
/// from when the first of them is old enough. None while there is no attempt.
pub(crate) fn next_look(sql: &mut dyn Sql, world: World, host_now: Timestamp) -> Result<Option<Timestamp>> {
    let mut oldest = None;
    sql.each(
        "SELECT started_at FROM tillite_delivery_attempt WHERE app = $1 AND mode = $2 \
         ORDER BY delivery, number LIMIT 1",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            oldest = Some(instant(row.int(0)?)?);
            Ok(())
        },
    )?;
    let Some(oldest) = oldest else {
        return Ok(None);
    };
    Ok(Some(match progress(sql, world)? {
        None => oldest.plus(KEPT),
        // A clock that was ahead when the last round ended must not put this one off for years.
        Some((_, next_at)) if next_at > host_now.plus(REST) => host_now,
        Some((_, next_at)) => next_at,
    }))
}

/// How far attempts have been forgotten, and the host time from which there is more to look through.
fn progress(sql: &mut dyn Sql, world: World) -> Result<Option<(Progress, Timestamp)>> {
    let mut found = None;
    sql.each(
        "SELECT gone_below, seen_to, next_at FROM tillite_delivery_retention WHERE app = $1 AND mode = $2",
        &[world.app.into(), mode_number(world.mode).into()],
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

fn put(sql: &mut dyn Sql, world: World, progress: &Progress, next_at: Timestamp) -> Result<()> {
    codec::one(sql.exec(
        "INSERT INTO tillite_delivery_retention (app, mode, gone_below, seen_to, next_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (app, mode) DO UPDATE SET gone_below = excluded.gone_below, seen_to = excluded.seen_to, \
         next_at = excluded.next_at",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            (&progress.gone_below).into(),
            (&progress.seen_to).into(),
            next_at.as_millis().into(),
        ],
    )?)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
