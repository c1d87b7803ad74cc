//! The ledger of attempts, with the evidence of what came of them.

use super::codec::{self, awaited, corrupt, digest, id, instant, maybe_instant, mode_number, operation, small};
use super::{Row, Sql, Value, rows};
use crate::error::Result;
use crate::id::{AttemptId, World};
use crate::payment::{self, Attempt, Await, Evidence, Said};
use crate::time::Timestamp;

const ATTEMPT: &str = "SELECT a.id, a.operation, a.subject, a.processor, a.key, a.request, a.request_hash, \
     a.reference, a.token, a.next, a.due_at, a.asked, a.unresolved, a.created_at, \
     (SELECT e.host_time FROM tillite_evidence e WHERE e.app = a.app AND e.mode = a.mode AND e.attempt = a.id \
     AND e.number = 1), \
     (SELECT count(*) FROM tillite_evidence e WHERE e.app = a.app AND e.mode = a.mode AND e.attempt = a.id) \
     FROM tillite_attempt a WHERE a.app = $1 AND a.mode = $2";

fn attempt_from_row(row: &dyn Row) -> Result<Attempt> {
    let next = match (row.maybe_text(9)?, row.maybe_int(10)?) {
        (Some(word), Some(due)) => Some((awaited(&word)?, instant(due)?)),
        (None, None) => None,
        _ => return Err(corrupt("an attempt that waits for half a thing")),
    };
    Ok(Attempt {
        id: id(&row.text(0)?)?,
        operation: operation(&row.text(1)?)?,
        subject: row.text(2)?,
        processor: row.text(3)?,
        key: row.text(4)?,
        request: row.bytes(5)?,
        request_hash: digest(&row.bytes(6)?)?,
        reference: row.maybe_text(7)?,
        token: row.int(8)?,
        next,
        asked: small(row.int(11)?)?,
        unresolved: row.int(12)? == 1,
        created_at: instant(row.int(13)?)?,
        heard_at: maybe_instant(row.maybe_int(14)?)?,
        evidence: small(row.int(15)?)?,
    })
}

fn attempts(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Attempt>> {
    rows(sql, world, ATTEMPT, rest, values, attempt_from_row)
}

/// An attempt by its id.
pub(crate) fn attempt(sql: &mut dyn Sql, world: World, wanted: &AttemptId) -> Result<Option<Attempt>> {
    Ok(attempts(sql, world, "AND a.id = $3", &[wanted.as_str().into()])?.pop())
}

/// What an attempt's own call has answered so far.
pub(crate) fn answers(sql: &mut dyn Sql, world: World, attempt: &AttemptId) -> Result<Vec<Said>> {
    let query = "SELECT outcome, reference, amount, currency, detail FROM tillite_evidence \
         WHERE app = $1 AND mode = $2";
    let rest = "AND attempt = $3 AND source = 'answer' ORDER BY number";
    rows(sql, world, query, rest, &[attempt.as_str().into()], |row| {
        Ok(Said {
            outcome: row.text(0)?,
            reference: row.maybe_text(1)?,
            amount: row.maybe_int(2)?.zip(row.maybe_text(3)?),
            detail: row.maybe_text(4)?,
        })
    })
}

/// How many look-ups of an attempt have said nothing since something was last learned about it.
pub(crate) fn silent_lookups(sql: &mut dyn Sql, world: World, attempt: &AttemptId) -> Result<u32> {
    let query = "SELECT source, outcome FROM tillite_evidence WHERE app = $1 AND mode = $2";
    let rest = "AND attempt = $3 ORDER BY number DESC";
    let said = rows(sql, world, query, rest, &[attempt.as_str().into()], |row| {
        Ok((row.text(0)?, row.text(1)?))
    })?;
    Ok(payment::silent_lookups(said))
}

/// Attempts whose call has lost its lease at a host time, the longest overdue first.
pub(crate) fn leases_ended(sql: &mut dyn Sql, world: World, host_now: Timestamp, limit: u32) -> Result<Vec<Attempt>> {
    attempts(
        sql,
        world,
        "AND a.due_at <= $3 AND a.next = 'answer' ORDER BY a.due_at, a.id LIMIT $4",
        &[host_now.as_millis().into(), limit.into()],
    )
}

/// Attempts of the named processors that are to be looked up at a host time, the longest overdue
/// first.
pub(crate) fn lookups_due(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
    processors: &[String],
    limit: u32,
) -> Result<Vec<Attempt>> {
    let mut due = Vec::new();
    for processor in processors {
        due.extend(attempts(
            sql,
            world,
            "AND a.due_at <= $3 AND a.next = 'lookup' AND a.processor = $4 ORDER BY a.due_at, a.id LIMIT $5",
            &[host_now.as_millis().into(), processor.into(), limit.into()],
        )?);
    }
    due.sort_by_key(|attempt| attempt.next.map(|(_, due)| due));
    due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(due)
}

/// Takes an attempt for one look-up: whoever looks in the meantime finds it taken. False if
/// somebody else was first.
pub(crate) fn claim_lookup(sql: &mut dyn Sql, world: World, attempt: &Attempt, lease_until: Timestamp) -> Result<bool> {
    let changed = sql.exec(
        "UPDATE tillite_attempt SET token = token + 1, due_at = $1 \
         WHERE app = $2 AND mode = $3 AND id = $4 AND token = $5 AND next = 'lookup'",
        &[
            lease_until.as_millis().into(),
            world.app.into(),
            mode_number(world.mode).into(),
            attempt.id.as_str().into(),
            attempt.token.into(),
        ],
    )?;
    Ok(changed == 1)
}

/// Host time at which an attempt is next due, over the look-ups of some processors and all leases.
pub(crate) fn next_due(sql: &mut dyn Sql, world: World, is_of: impl Fn(&str) -> bool) -> Result<Option<Timestamp>> {
    let mut earliest: Option<Timestamp> = None;
    sql.each(
        "SELECT next, processor, min(due_at) FROM tillite_attempt \
         WHERE app = $1 AND mode = $2 AND due_at IS NOT NULL GROUP BY next, processor",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            let ours = awaited(&row.text(0)?)? == Await::Answer || is_of(&row.text(1)?);
            let due = instant(row.int(2)?)?;
            if ours {
                earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
            }
            Ok(())
        },
    )?;
    Ok(earliest)
}

/// How many attempts wait for evidence, and how many of them for a human.
pub(crate) fn open_attempts(sql: &mut dyn Sql, world: World) -> Result<(i64, i64)> {
    let mut found = (0, 0);
    sql.each(
        // From the few live charges to their attempts: the other way round it is every attempt ever.
        "SELECT count(*), coalesce(sum(a.unresolved), 0) FROM tillite_charge c CROSS JOIN tillite_attempt a \
         WHERE a.app = c.app AND a.mode = c.mode AND a.subject = c.id AND c.app = $1 AND c.mode = $2 \
         AND c.state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized')",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            found = (row.int(0)?, row.int(1)?);
            Ok(())
        },
    )?;
    Ok(found)
}

pub(super) fn put_attempt(sql: &mut dyn Sql, world: World, attempt: &Attempt, fresh: bool) -> Result<()> {
    let mode = mode_number(world.mode);
    let next = attempt.next.map(|(awaited, _)| awaited.as_str());
    let due_at = attempt.next.map(|(_, due)| due.as_millis());
    codec::one(if fresh {
        sql.exec(
            "INSERT INTO tillite_attempt (app, mode, id, operation, subject, processor, key, request, request_hash, \
             reference, token, next, due_at, asked, unresolved, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            &[
                world.app.into(),
                mode.into(),
                attempt.id.as_str().into(),
                attempt.operation.as_str().into(),
                (&attempt.subject).into(),
                (&attempt.processor).into(),
                (&attempt.key).into(),
                attempt.request.as_slice().into(),
                (&attempt.request_hash).into(),
                attempt.reference.as_deref().into(),
                attempt.token.into(),
                next.into(),
                due_at.into(),
                attempt.asked.into(),
                attempt.unresolved.into(),
                attempt.created_at.as_millis().into(),
            ],
        )?
    } else {
        // The request is frozen: nothing here writes it again.
        sql.exec(
            "UPDATE tillite_attempt SET reference = $1, next = $2, due_at = $3, asked = $4, unresolved = $5 \
             WHERE app = $6 AND mode = $7 AND id = $8 AND token = $9",
            &[
                attempt.reference.as_deref().into(),
                next.into(),
                due_at.into(),
                attempt.asked.into(),
                attempt.unresolved.into(),
                world.app.into(),
                mode.into(),
                attempt.id.as_str().into(),
                attempt.token.into(),
            ],
        )?
    })
}

pub(super) fn put_evidence(sql: &mut dyn Sql, world: World, attempt: &AttemptId, evidence: &Evidence) -> Result<()> {
    let verdict = &evidence.verdict;
    let currency = verdict.amount.map(|amount| amount.currency().to_string());
    codec::one(sql.exec(
        "INSERT INTO tillite_evidence (app, mode, attempt, number, source, outcome, reference, amount, currency, \
         detail, moved, actor, host_time, engine_time) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            attempt.as_str().into(),
            evidence.number.into(),
            verdict.source.as_str().into(),
            verdict.outcome.into(),
            verdict.reference.as_deref().into(),
            verdict.amount.map(crate::money::Amount::as_minor).into(),
            currency.as_deref().into(),
            verdict.detail.as_deref().into(),
            evidence.moved.into(),
            (&evidence.actor).into(),
            evidence.host_time.as_millis().into(),
            evidence.engine_time.as_millis().into(),
        ],
    )?)
}
