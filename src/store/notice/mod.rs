//! What payment services said unasked, until it is applied and after.

mod said;

use super::codec::{self, id, instant, maybe_instant, mode_number, notification_kind, notification_state, small};
use super::{Row, Sql, Tx, Value, rows};
use crate::error::{Error, Result};
use crate::hook::NoticeKind;
use crate::id::{AttemptId, NotificationId, World};
use crate::payment::{Arrived, Notification, NotificationKind, NotificationState};
use crate::time::Timestamp;

/// A stored notice with what it says.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) number: i64,
    pub(crate) notice: Notification,
    pub(crate) said: NoticeKind,
}

const COLUMNS: &str = "SELECT number, id, processor, key, kind, said, attempt, reference, state, why, matched, due_at, \
     tries, in_doubt, received_at FROM tillite_notice WHERE app = $1 AND mode = $2";

fn from_row(row: &dyn Row) -> Result<Stored> {
    let attempt = |column| row.maybe_text(column)?.map(|text| id::<AttemptId>(&text)).transpose();
    Ok(Stored {
        number: row.int(0)?,
        said: said::read(&row.text(5)?)?,
        notice: Notification {
            id: id(&row.text(1)?)?,
            processor: row.text(2)?,
            key: row.text(3)?,
            kind: notification_kind(&row.text(4)?)?,
            attempt: attempt(6)?,
            reference: row.maybe_text(7)?,
            state: notification_state(&row.text(8)?)?,
            why: row.maybe_text(9)?,
            matched: attempt(10)?,
            due_at: maybe_instant(row.maybe_int(11)?)?,
            tries: small(row.int(12)?)?,
            in_doubt: row.int(13)? == 1,
            received_at: instant(row.int(14)?)?,
        },
    })
}

fn query(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Stored>> {
    rows(sql, world, COLUMNS, rest, values, from_row)
}

/// Stores a post, its body without card numbers, and those of its notices that did not come before. Answers
/// how many those are.
pub(crate) fn put(tx: &mut Tx<'_>, processor: &str, body: &[u8], arrived: &[Arrived]) -> Result<usize> {
    let post = next_number(tx.sql, tx.world)?;
    let mut number = post;
    for notice in arrived {
        if is_known(tx.sql, tx.world, processor, &notice.key)? && !planted!(NoticeNotDeduplicated) {
            continue;
        }
        if number == post {
            put_post(tx, post, processor, body)?;
        }
        put_notice(tx, post, number, processor, notice)?;
        number += 1;
    }
    small(number - post)
}

fn next_number(sql: &mut dyn Sql, world: World) -> Result<i64> {
    let newest = query(sql, world, "ORDER BY number DESC LIMIT 1", &[])?.pop();
    Ok(newest.map_or(0, |newest| newest.number) + 1)
}

fn is_known(sql: &mut dyn Sql, world: World, processor: &str, key: &str) -> Result<bool> {
    let rest = "AND processor = $3 AND key = $4";
    Ok(!query(sql, world, rest, &[processor.into(), key.into()])?.is_empty())
}

fn put_post(tx: &mut Tx<'_>, number: i64, processor: &str, body: &[u8]) -> Result<()> {
    codec::one(tx.sql.exec(
        "INSERT INTO tillite_post (app, mode, number, processor, body, received_at) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            tx.world.app.into(),
            mode_number(tx.world.mode).into(),
            number.into(),
            processor.into(),
            body.into(),
            tx.host_now.as_millis().into(),
        ],
    )?)
}

fn put_notice(tx: &mut Tx<'_>, post: i64, number: i64, processor: &str, arrived: &Arrived) -> Result<()> {
    let id: NotificationId = tx.mint.id(tx.world.mode);
    let (state, due_at) = if arrived.matters() {
        (NotificationState::Waiting, Some(tx.host_now.as_millis()))
    } else {
        (NotificationState::Ignored, None)
    };
    codec::one(tx.sql.exec(
        "INSERT INTO tillite_notice (app, mode, number, id, post, processor, key, kind, said, attempt, reference, \
         state, due_at, received_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        &[
            tx.world.app.into(),
            mode_number(tx.world.mode).into(),
            number.into(),
            id.as_str().into(),
            post.into(),
            processor.into(),
            (&arrived.key).into(),
            NotificationKind::of(&arrived.said).as_str().into(),
            (&said::write(&arrived.said)?).into(),
            arrived.attempt.as_ref().map(AttemptId::as_str).into(),
            arrived.known_as().into(),
            state.as_str().into(),
            due_at.into(),
            tx.host_now.as_millis().into(),
        ],
    )?)
}

/// The notices that are to be looked at at a host time, in the order in which they came, and those of which
/// nothing is known behind the others: their numbers and processors.
pub(crate) fn due(sql: &mut dyn Sql, world: World, host_now: Timestamp, limit: u32) -> Result<Vec<(i64, String)>> {
    let query = "SELECT number, processor FROM tillite_notice WHERE app = $1 AND mode = $2";
    let rest = "AND due_at <= $3 ORDER BY CASE state WHEN 'parked' THEN 1 ELSE 0 END, number LIMIT $4";
    rows(
        sql,
        world,
        query,
        rest,
        &[host_now.as_millis().into(), limit.into()],
        |row| Ok((row.int(0)?, row.text(1)?)),
    )
}

/// Those of them that are about an attempt, as the service says.
pub(crate) fn due_about(
    sql: &mut dyn Sql,
    world: World,
    attempt: &AttemptId,
    host_now: Timestamp,
) -> Result<Vec<(i64, String)>> {
    let query = "SELECT number, processor FROM tillite_notice WHERE app = $1 AND mode = $2";
    let rest = "AND attempt = $3 AND due_at <= $4 ORDER BY number";
    rows(
        sql,
        world,
        query,
        rest,
        &[attempt.as_str().into(), host_now.as_millis().into()],
        |row| Ok((row.int(0)?, row.text(1)?)),
    )
}

/// Host time at which a notice is looked at next.
pub(crate) fn next_due(sql: &mut dyn Sql, world: World) -> Result<Option<Timestamp>> {
    let query = "SELECT min(due_at) FROM tillite_notice WHERE app = $1 AND mode = $2";
    let found = rows(sql, world, query, "AND due_at IS NOT NULL", &[], |row| {
        maybe_instant(row.maybe_int(0)?)
    })?;
    Ok(found.into_iter().flatten().next())
}

/// The notice of a number, if it is to be looked at at a host time.
pub(crate) fn if_due(sql: &mut dyn Sql, world: World, number: i64, host_now: Timestamp) -> Result<Option<Stored>> {
    let rest = "AND number = $3 AND due_at <= $4";
    Ok(query(sql, world, rest, &[number.into(), host_now.as_millis().into()])?.pop())
}

/// Host time at which an earlier notice about an attempt is looked at, if one is yet to be applied.
pub(crate) fn before(sql: &mut dyn Sql, world: World, attempt: &AttemptId, number: i64) -> Result<Option<Timestamp>> {
    let rest = "AND matched = $3 AND due_at IS NOT NULL AND matched IS NOT NULL AND number < $4 \
         AND kind IN ('evidence', 'changed') ORDER BY number LIMIT 1";
    let first = query(sql, world, rest, &[attempt.as_str().into(), number.into()])?.pop();
    Ok(first.and_then(|first| first.notice.due_at))
}

/// Writes down how far a notice has come.
pub(crate) fn put_progress(sql: &mut dyn Sql, world: World, number: i64, notice: &Notification) -> Result<()> {
    codec::one(sql.exec(
        "UPDATE tillite_notice SET state = $1, why = $2, matched = $3, due_at = $4, tries = $5, \
         in_doubt = $6 WHERE app = $7 AND mode = $8 AND number = $9",
        &[
            notice.state.as_str().into(),
            notice.why.as_deref().into(),
            notice.matched.as_ref().map(AttemptId::as_str).into(),
            notice.due_at.map(Timestamp::as_millis).into(),
            notice.tries.into(),
            notice.in_doubt.into(),
            world.app.into(),
            mode_number(world.mode).into(),
            number.into(),
        ],
    )?)
}

/// Has a notice be looked at at a later host time, whatever stands in it.
pub(crate) fn put_off(sql: &mut dyn Sql, world: World, number: i64, until: Timestamp) -> Result<()> {
    sql.exec(
        "UPDATE tillite_notice SET due_at = $1, tries = tries + 1 \
         WHERE app = $2 AND mode = $3 AND number = $4 AND due_at IS NOT NULL",
        &[
            until.as_millis().into(),
            world.app.into(),
            mode_number(world.mode).into(),
            number.into(),
        ],
    )?;
    Ok(())
}

/// Whether any notice waits to be applied, or for a doubt to end.
pub(crate) fn any_waits(sql: &mut dyn Sql, world: World) -> Result<bool> {
    let query = "SELECT 1 FROM tillite_notice WHERE app = $1 AND mode = $2";
    for rest in ["AND due_at IS NOT NULL LIMIT 1", "AND in_doubt = 1 LIMIT 1"] {
        if !rows(sql, world, query, rest, &[], |_| Ok(()))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Has those notices looked at now that wait for something to be heard of an attempt, or of what it
/// turned out to be called, and those that are held because it was in doubt.
pub(crate) fn wake(
    sql: &mut dyn Sql,
    world: World,
    attempt: &AttemptId,
    reference: Option<&str>,
    host_now: Timestamp,
) -> Result<()> {
    let (app, mode, now) = (world.app, mode_number(world.mode), host_now.as_millis());
    sql.exec(
        "UPDATE tillite_notice SET due_at = $1 WHERE app = $2 AND mode = $3 AND matched = $4 AND due_at > $1 \
         AND due_at IS NOT NULL AND matched IS NOT NULL",
        &[now.into(), app.into(), mode.into(), attempt.as_str().into()],
    )?;
    sql.exec(
        "UPDATE tillite_notice SET state = 'waiting', due_at = $1 WHERE app = $2 AND mode = $3 AND matched = $4 \
         AND in_doubt = 1 AND state = 'held'",
        &[now.into(), app.into(), mode.into(), attempt.as_str().into()],
    )?;
    if let Some(reference) = reference {
        sql.exec(
            "UPDATE tillite_notice SET due_at = $1 WHERE app = $2 AND mode = $3 AND reference = $4 AND due_at > $1 \
             AND state = 'parked' AND reference IS NOT NULL",
            &[now.into(), app.into(), mode.into(), reference.into()],
        )?;
    }
    Ok(())
}

/// Notices, newest first, before an id.
pub(crate) fn list(
    sql: &mut dyn Sql,
    world: World,
    before: Option<&NotificationId>,
    limit: u32,
) -> Result<Vec<Notification>> {
    let found = match before {
        None => query(sql, world, "ORDER BY number DESC LIMIT $3", &[limit.into()])?,
        Some(before) => query(
            sql,
            world,
            "AND number < (SELECT b.number FROM tillite_notice b WHERE b.app = $1 AND b.mode = $2 AND b.id = $3) \
             ORDER BY number DESC LIMIT $4",
            &[before.as_str().into(), limit.into()],
        )?,
    };
    Ok(found.into_iter().map(|stored| stored.notice).collect())
}

/// A notice by its id.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &NotificationId) -> Result<Notification> {
    let found = query(sql, world, "AND id = $3", &[wanted.as_str().into()])?.pop();
    found.map(|stored| stored.notice).ok_or_else(|| not_found(wanted))
}

/// The body of the post that brought a notice first.
pub(crate) fn body(sql: &mut dyn Sql, world: World, wanted: &NotificationId) -> Result<Vec<u8>> {
    let query = "SELECT body FROM tillite_post WHERE app = $1 AND mode = $2";
    let rest = "AND number = (SELECT n.post FROM tillite_notice n WHERE n.app = $1 AND n.mode = $2 AND n.id = $3)";
    let found = rows(sql, world, query, rest, &[wanted.as_str().into()], |row| row.bytes(0))?;
    found.into_iter().next().ok_or_else(|| not_found(wanted))
}

fn not_found(wanted: &NotificationId) -> Error {
    Error::NotFound {
        what: "notification",
        id: wanted.to_string(),
    }
}
