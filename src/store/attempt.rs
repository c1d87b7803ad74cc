//! The ledger of attempts, with the evidence of what came of them.

use super::codec::{
    self, amount, awaited, awaiting, corrupt, digest, evidence_source, id, instant, maybe_instant, mode_number,
    operation, small,
};
use super::{Row, Sql, Value, rows};
use crate::error::Result;
use crate::hook::Operation;
use crate::id::{AttemptId, World};
use crate::payment::{Attempt, Await, Evidence, EvidenceRecord, Followup, Known, Said};
use crate::time::Timestamp;

const ATTEMPT: &str = "SELECT a.id, a.operation, a.subject, a.processor, a.key, a.request, a.request_hash, \
     a.reference, a.token, a.next, a.due_at, a.asked, a.unresolved, a.created_at, \
     (SELECT e.host_time FROM tillite_evidence e WHERE e.app = a.app AND e.mode = a.mode AND e.attempt = a.id \
     AND e.number = 1 + coalesce((SELECT max(n.number) FROM tillite_evidence n WHERE n.app = a.app \
     AND n.mode = a.mode AND n.attempt = a.id AND n.outcome = 'not_sent'), 0)), \
     (SELECT count(*) FROM tillite_evidence e WHERE e.app = a.app AND e.mode = a.mode AND e.attempt = a.id), a.ask \
     FROM tillite_attempt a WHERE a.app = $1 AND a.mode = $2";

fn attempt_from_row(row: &dyn Row) -> Result<Attempt> {
    let next = match (row.maybe_text(9)?, row.maybe_int(10)?) {
        (Some(word), Some(due)) => Some((awaited(&word, &row.text(16)?)?, instant(due)?)),
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

/// The attempt that made a charge, a refund or a setup: of a charge that comes with another, that one's.
pub(crate) fn that_made(sql: &mut dyn Sql, world: World, subject: &str) -> Result<Attempt> {
    let rest = "AND a.subject = coalesce((SELECT c.comes_with FROM tillite_charge c WHERE c.app = $1 AND c.mode = $2 \
         AND c.id = $3), $3) AND a.operation NOT IN ('capture', 'void')";
    attempts(sql, world, rest, &[subject.into()])?
        .pop()
        .ok_or_else(|| corrupt("something that no attempt has made"))
}

/// How many attempts of an operation there were about a charge.
pub(crate) fn count_of(sql: &mut dyn Sql, world: World, charge: &str, operation: Operation) -> Result<u32> {
    let rest = "AND a.subject = $3 AND a.operation = $4";
    let found = attempts(sql, world, rest, &[charge.into(), operation.as_str().into()])?;
    Ok(u32::try_from(found.len()).unwrap_or(u32::MAX))
}

/// The attempt about a charge of which something is awaited, if any: what is asked about what it holds
/// comes before what has made it.
pub(crate) fn awaited_of(sql: &mut dyn Sql, world: World, charge: &str) -> Result<Option<Attempt>> {
    let found = attempts(
        sql,
        world,
        "AND a.subject = $3 AND a.next IS NOT NULL",
        &[charge.into()],
    )?;
    Ok(found
        .into_iter()
        .min_by_key(|attempt| Followup::of(attempt.operation).is_none()))
}

/// An attempt by its id.
pub(crate) fn attempt(sql: &mut dyn Sql, world: World, wanted: &AttemptId) -> Result<Option<Attempt>> {
    Ok(attempts(sql, world, "AND a.id = $3", &[wanted.as_str().into()])?.pop())
}

/// The newest attempt at a processor that it knows by a name of its own.
pub(crate) fn known_as(sql: &mut dyn Sql, world: World, processor: &str, reference: &str) -> Result<Option<Attempt>> {
    let rest = "AND a.processor = $3 AND a.reference = $4 ORDER BY a.created_at DESC, a.id DESC LIMIT 1";
    Ok(attempts(sql, world, rest, &[processor.into(), reference.into()])?.pop())
}

/// Has an attempt looked up from a host time on, also one that nothing is awaited of. False if its call is
/// in flight or yet to be made, or if it is being called off: that will tell as well. One that somebody
/// looks up just now is looked up again, since what they hear may be older.
pub(crate) fn look_up(sql: &mut dyn Sql, world: World, attempt: &Attempt, due: Timestamp) -> Result<bool> {
    match attempt.next {
        Some((Await::Answer | Await::Call | Await::Cancel, _)) => Ok(false),
        Some((Await::Lookup, _)) | None => put_next(sql, world, attempt, Await::Lookup, due),
    }
}

/// The attempts about a charge, a refund or a setup after an id, oldest first.
pub(crate) fn about(sql: &mut dyn Sql, world: World, subject: &str, after: &str, limit: u32) -> Result<Vec<Attempt>> {
    let rest = "AND a.subject = $3 AND a.id > $4 ORDER BY a.id LIMIT $5";
    attempts(sql, world, rest, &[subject.into(), after.into(), limit.into()])
}

/// An attempt about a charge, a refund or a setup whose call is in flight at a host time.
pub(crate) fn in_flight(
    sql: &mut dyn Sql,
    world: World,
    subject: &str,
    host_now: Timestamp,
) -> Result<Option<Attempt>> {
    let rest = "AND a.subject = $3 AND a.next = 'answer' AND a.due_at > $4";
    Ok(attempts(sql, world, rest, &[subject.into(), host_now.as_millis().into()])?.pop())
}

/// The attempts that somebody has to decide about: those that are marked so or for whose processor
/// nobody has asked since a host time, where what they are about is open or went over another amount; and
/// charges that are held although they were to be taken.
const UNRESOLVED: &str = "SELECT x.id FROM (SELECT app, mode, id, subject FROM tillite_attempt \
     WHERE app = $1 AND mode = $2 AND unresolved = 1 \
     UNION SELECT app, mode, id, subject FROM tillite_attempt \
     WHERE app = $1 AND mode = $2 AND due_at <= $3 \
     UNION SELECT a.app, a.mode, a.id, a.subject FROM tillite_charge h JOIN tillite_attempt a \
     ON a.app = h.app AND a.mode = h.mode AND a.subject = h.id AND a.operation = 'charge' \
     WHERE h.app = $1 AND h.mode = $2 AND h.state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized') \
     AND h.state = 'authorized' AND h.capture = 'automatic' AND h.asked IS NULL \
     AND a.next IS NULL) AS x \
     LEFT JOIN tillite_charge c ON c.app = x.app AND c.mode = x.mode AND c.id = x.subject \
     LEFT JOIN tillite_refund r ON r.app = x.app AND r.mode = x.mode AND r.id = x.subject \
     LEFT JOIN tillite_setup s ON s.app = x.app AND s.mode = x.mode AND s.id = x.subject \
     WHERE (c.state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized') \
     OR (c.hold = 'mismatch' AND c.state <> 'succeeded' AND c.hold_closed = 0) \
     OR r.state IN ('pending', 'unknown') OR r.mismatched = 1 \
     OR s.state IN ('initiated', 'unknown', 'pending', 'requires_action') OR s.mismatched = 1)";

/// The attempts that somebody has to decide about, oldest first, after an id. What nobody has asked for
/// since `idle_since`, in host time, is among them.
pub(crate) fn unresolved(
    sql: &mut dyn Sql,
    world: World,
    idle_since: Timestamp,
    after: &str,
    limit: u32,
) -> Result<Vec<AttemptId>> {
    let rest = "AND x.id > $4 ORDER BY x.id LIMIT $5";
    let values = [idle_since.as_millis().into(), after.into(), limit.into()];
    rows(sql, world, UNRESOLVED, rest, &values, |row| id(&row.text(0)?))
}

/// How many those are.
pub(crate) fn count_unresolved(sql: &mut dyn Sql, world: World, idle_since: Timestamp) -> Result<u64> {
    count(sql, world, UNRESOLVED, &[idle_since.as_millis().into()])
}

fn count(sql: &mut dyn Sql, world: World, query: &str, values: &[Value<'_>]) -> Result<u64> {
    let query = format!("SELECT count(*) FROM ({query}) AS counted");
    let found = rows(sql, world, &query, "", values, |row| row.int(0))?;
    Ok(found.first().and_then(|count| u64::try_from(*count).ok()).unwrap_or(0))
}

const EVIDENCE: &str = "SELECT number, source, outcome, reference, amount, currency, detail, moved, actor, host_time, \
     engine_time FROM tillite_evidence WHERE app = $1 AND mode = $2";

/// What was learned about an attempt before a piece of it, the newest first.
pub(crate) fn evidence(
    sql: &mut dyn Sql,
    world: World,
    attempt: &AttemptId,
    before: Option<u32>,
    limit: u32,
) -> Result<Vec<EvidenceRecord>> {
    let rest = "AND attempt = $3 AND number < $4 ORDER BY number DESC LIMIT $5";
    let before = before.map_or(i64::MAX, i64::from);
    let values = [attempt.as_str().into(), before.into(), limit.into()];
    rows(sql, world, EVIDENCE, rest, &values, |row| {
        let moved = row.maybe_int(4)?.zip(row.maybe_text(5)?);
        Ok(EvidenceRecord {
            number: small(row.int(0)?)?,
            source: evidence_source(&row.text(1)?)?,
            outcome: row.text(2)?,
            reference: row.maybe_text(3)?,
            amount: moved.map(|(minor, code)| amount(minor, &code)).transpose()?,
            detail: row.maybe_text(6)?,
            moved: row.int(7)? == 1,
            actor: row.text(8)?,
            host_time: instant(row.int(9)?)?,
            engine_time: instant(row.int(10)?)?,
        })
    })
}

/// What was learned about an attempt so far, the newest first, as far as more is weighed by it: of what the
/// service has said by itself over and over, the newest only.
pub(crate) fn known(sql: &mut dyn Sql, world: World, attempt: &AttemptId) -> Result<Vec<Known>> {
    let rest = "AND attempt = $3 AND (source <> 'notification' OR number IN (SELECT max(n.number) \
         FROM tillite_evidence n WHERE n.app = $1 AND n.mode = $2 AND n.attempt = $3 AND n.source = 'notification' \
         GROUP BY n.outcome, n.moved, n.reference, n.amount, n.currency)) ORDER BY number DESC";
    rows(sql, world, EVIDENCE, rest, &[attempt.as_str().into()], |row| {
        let moved = row.maybe_int(4)?.zip(row.maybe_text(5)?);
        Ok(Known {
            source: evidence_source(&row.text(1)?)?,
            amount: moved.as_ref().map(|(minor, code)| amount(*minor, code)).transpose()?,
            said: Said {
                outcome: row.text(2)?,
                reference: row.maybe_text(3)?,
                amount: moved,
                detail: row.maybe_text(6)?,
            },
            moved: row.int(7)? == 1,
        })
    })
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

/// Attempts of the named processors about which these are to be asked at a host time, the longest
/// overdue first.
pub(crate) fn asks_due(
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

/// Takes an attempt for one call: whoever looks in the meantime finds it taken. One that is carried
/// out awaits its answer from then on; one that is looked up or called off is due again when the lease
/// has ended. False if somebody else was first.
pub(crate) fn claim(sql: &mut dyn Sql, world: World, attempt: &Attempt, lease_until: Timestamp) -> Result<bool> {
    match attempt.next {
        Some((Await::Call, _)) => put_next(sql, world, attempt, Await::Answer, lease_until),
        Some((next @ (Await::Lookup | Await::Cancel), _)) => put_next(sql, world, attempt, next, lease_until),
        Some((Await::Answer, _)) | None => Ok(false),
    }
}

/// Says that an attempt is to be called off at a host time. False if its call is in flight, or somebody
/// else has moved it.
pub(crate) fn call_off(sql: &mut dyn Sql, world: World, attempt: &Attempt, due: Timestamp) -> Result<bool> {
    match attempt.next {
        Some((Await::Answer, _)) => Ok(false),
        _ => put_next(sql, world, attempt, Await::Cancel, due),
    }
}

fn put_next(sql: &mut dyn Sql, world: World, attempt: &Attempt, next: Await, due: Timestamp) -> Result<bool> {
    let (next, ask) = awaiting(next);
    // What is awaited may have changed under the same token, by what the call before has answered.
    let (seen_next, seen_ask) = attempt.next.map_or(("", "lookup"), |(seen, _)| awaiting(seen));
    let changed = sql.exec(
        "UPDATE tillite_attempt SET token = token + 1, next = $1, ask = $2, due_at = $3 \
         WHERE app = $4 AND mode = $5 AND id = $6 AND token = $7 AND coalesce(next, '') = $8 AND ask = $9",
        &[
            next.into(),
            ask.into(),
            due.as_millis().into(),
            world.app.into(),
            mode_number(world.mode).into(),
            attempt.id.as_str().into(),
            attempt.token.into(),
            seen_next.into(),
            seen_ask.into(),
        ],
    )?;
    Ok(changed == 1)
}

/// Host time at which an attempt is next due, over the look-ups of some processors and all leases.
pub(crate) fn next_due(sql: &mut dyn Sql, world: World, is_of: impl Fn(&str) -> bool) -> Result<Option<Timestamp>> {
    let mut earliest: Option<Timestamp> = None;
    sql.each(
        "SELECT next, ask, processor, min(due_at) FROM tillite_attempt \
         WHERE app = $1 AND mode = $2 AND due_at IS NOT NULL GROUP BY next, ask, processor",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            let ours = awaited(&row.text(0)?, &row.text(1)?)? == Await::Answer || is_of(&row.text(2)?);
            let due = instant(row.int(3)?)?;
            if ours {
                earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
            }
            Ok(())
        },
    )?;
    Ok(earliest)
}

/// How many charges and refunds wait for evidence.
pub(crate) fn open_attempts(sql: &mut dyn Sql, world: World) -> Result<u64> {
    // From the few that are open to their attempts: the other way round it is every attempt ever.
    let query = "SELECT a.id FROM ( \
         SELECT app, mode, id FROM tillite_charge WHERE app = $1 AND mode = $2 \
         AND state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized') UNION ALL \
         SELECT app, mode, id FROM tillite_refund WHERE app = $1 AND mode = $2 AND state IN ('pending', 'unknown') \
         UNION ALL SELECT app, mode, id FROM tillite_setup WHERE app = $1 AND mode = $2 \
         AND state IN ('initiated', 'unknown', 'pending', 'requires_action') \
         ) AS o CROSS JOIN tillite_attempt a WHERE a.app = o.app AND a.mode = o.mode AND a.subject = o.id \
         AND (a.next IS NOT NULL OR a.unresolved = 1)";
    count(sql, world, query, &[])
}

pub(super) fn put_attempt(sql: &mut dyn Sql, world: World, attempt: &Attempt, fresh: bool) -> Result<()> {
    let mode = mode_number(world.mode);
    let (next, ask) = attempt.next.map(|(awaited, _)| awaiting(awaited)).unzip();
    let ask = ask.unwrap_or("lookup");
    let due_at = attempt.next.map(|(_, due)| due.as_millis());
    codec::one(if fresh {
        sql.exec(
            "INSERT INTO tillite_attempt (app, mode, id, operation, subject, processor, key, request, request_hash, \
             reference, token, next, ask, due_at, asked, unresolved, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
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
                ask.into(),
                due_at.into(),
                attempt.asked.into(),
                attempt.unresolved.into(),
                attempt.created_at.as_millis().into(),
            ],
        )?
    } else {
        // The request is frozen: nothing here writes it again.
        sql.exec(
            "UPDATE tillite_attempt SET reference = $1, next = $2, ask = $3, due_at = $4, asked = $5, unresolved = $6 \
             WHERE app = $7 AND mode = $8 AND id = $9 AND token = $10",
            &[
                attempt.reference.as_deref().into(),
                next.into(),
                ask.into(),
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
