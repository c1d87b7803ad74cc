//! Refunds, with the lines that they are for.

use super::codec::{
    self, amount, failure, grant_effect, id, instant, json, metadata, mode_number, refund_source, refund_state, small,
};
use super::{Row, Sql, Value, rows};
use crate::error::{Error, Result, shortened};
use crate::id::{ChargeId, RefundId, World};
use crate::payment::{GrantEffect, Refund, RefundedLine};

const COLUMNS: &str = "SELECT id, charge, intent, session, number, processor, state, amount, currency, source, \
     effect, reason, metadata, reference, failure_code, failure_message, failure_advice, mismatched, created_at, \
     updated_at, revision FROM tillite_refund WHERE app = $1 AND mode = $2";

fn from_row(row: &dyn Row) -> Result<Refund> {
    Ok(Refund {
        id: id(&row.text(0)?)?,
        charge: id(&row.text(1)?)?,
        intent: id(&row.text(2)?)?,
        session: id(&row.text(3)?)?,
        number: small(row.int(4)?)?,
        processor: row.text(5)?,
        state: refund_state(&row.text(6)?)?,
        amount: amount(row.int(7)?, &row.text(8)?)?,
        source: refund_source(&row.text(9)?)?,
        effect: row.maybe_text(10)?.map(|word| grant_effect(&word)).transpose()?,
        lines: Vec::new(),
        reason: row.maybe_text(11)?,
        metadata: metadata(&row.text(12)?)?,
        reference: row.maybe_text(13)?,
        failure: failure(row, 14)?,
        mismatched: row.int(17)? == 1,
        created_at: instant(row.int(18)?)?,
        updated_at: instant(row.int(19)?)?,
        revision: row.int(20)?,
    })
}

fn query(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Refund>> {
    let mut found = rows(sql, world, COLUMNS, rest, values, from_row)?;
    for refund in &mut found {
        refund.lines = lines(sql, world, &refund.id)?;
    }
    Ok(found)
}

fn lines(sql: &mut dyn Sql, world: World, refund: &RefundId) -> Result<Vec<RefundedLine>> {
    let query = "SELECT position, quantity, amount FROM tillite_refund_line WHERE app = $1 AND mode = $2";
    let rest = "AND refund = $3 ORDER BY position";
    rows(sql, world, query, rest, &[refund.as_str().into()], |row| {
        Ok(RefundedLine {
            position: small(row.int(0)?)?,
            quantity: small(row.int(1)?)?,
            amount: row.int(2)?,
        })
    })
}

/// A refund by its id.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Refund> {
    query(sql, world, "AND id = $3", &[wanted.into()])?
        .pop()
        .ok_or_else(|| Error::NotFound {
            what: "refund",
            id: shortened(wanted),
        })
}

/// All refunds of a charge, in the order of their numbers.
pub(crate) fn of_charge(sql: &mut dyn Sql, world: World, charge: &ChargeId) -> Result<Vec<Refund>> {
    query(sql, world, "AND charge = $3 ORDER BY number", &[charge.as_str().into()])
}

/// The refunds of a charge to which no service gave a name: they have none, or what a person said.
pub(crate) fn unnamed(sql: &mut dyn Sql, world: World, charge: &ChargeId) -> Result<Vec<RefundId>> {
    let query = "SELECT r.id FROM tillite_refund r WHERE r.app = $1 AND r.mode = $2";
    let rest = "AND r.charge = $3 AND r.source <> 'processor' AND NOT EXISTS (SELECT 1 FROM tillite_attempt a \
         JOIN tillite_evidence e ON e.app = a.app AND e.mode = a.mode AND e.attempt = a.id WHERE a.app = r.app \
         AND a.mode = r.mode AND a.subject = r.id AND e.source <> 'operator' AND e.reference IS NOT NULL)";
    rows(sql, world, query, rest, &[charge.as_str().into()], |row| {
        id(&row.text(0)?)
    })
}

/// Refunds, newest first, before an id.
pub(crate) fn list(sql: &mut dyn Sql, world: World, before: Option<&RefundId>, limit: u32) -> Result<Vec<Refund>> {
    match before {
        None => query(sql, world, "ORDER BY id DESC LIMIT $3", &[limit.into()]),
        Some(before) => query(
            sql,
            world,
            "AND id < $3 ORDER BY id DESC LIMIT $4",
            &[before.as_str().into(), limit.into()],
        ),
    }
}

pub(super) fn put(sql: &mut dyn Sql, world: World, refund: &Refund, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let failure = refund.failure.as_ref();
    let (code, message) = (
        failure.map(|failure| failure.code.as_str()),
        failure.map(|failure| failure.message.as_str()),
    );
    let advice = failure
        .and_then(|failure| failure.advice)
        .map(crate::hook::Advice::as_str);
    if before > 0 {
        return codec::one(sql.exec(
            "UPDATE tillite_refund SET state = $1, reference = $2, failure_code = $3, failure_message = $4, \
             failure_advice = $5, mismatched = $6, updated_at = $7, revision = $8 \
             WHERE app = $9 AND mode = $10 AND id = $11 AND revision = $12",
            &[
                refund.state.as_str().into(),
                refund.reference.as_deref().into(),
                code.into(),
                message.into(),
                advice.into(),
                refund.mismatched.into(),
                refund.updated_at.as_millis().into(),
                refund.revision.into(),
                world.app.into(),
                mode.into(),
                refund.id.as_str().into(),
                before.into(),
            ],
        )?);
    }
    let metadata = json(&refund.metadata)?;
    codec::one(sql.exec(
        "INSERT INTO tillite_refund (app, mode, id, charge, intent, session, number, processor, state, amount, \
         currency, source, effect, reason, metadata, reference, failure_code, failure_message, failure_advice, \
         mismatched, created_at, updated_at, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
         $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
        &[
            world.app.into(),
            mode.into(),
            refund.id.as_str().into(),
            refund.charge.as_str().into(),
            refund.intent.as_str().into(),
            refund.session.as_str().into(),
            refund.number.into(),
            (&refund.processor).into(),
            refund.state.as_str().into(),
            refund.amount.as_minor().into(),
            refund.amount.currency().code().into(),
            refund.source.as_str().into(),
            refund.effect.map(GrantEffect::as_str).into(),
            refund.reason.as_deref().into(),
            (&metadata).into(),
            refund.reference.as_deref().into(),
            code.into(),
            message.into(),
            advice.into(),
            refund.mismatched.into(),
            refund.created_at.as_millis().into(),
            refund.updated_at.as_millis().into(),
            refund.revision.into(),
        ],
    )?)?;
    for line in &refund.lines {
        codec::one(sql.exec(
            "INSERT INTO tillite_refund_line (app, mode, refund, position, quantity, amount) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                world.app.into(),
                mode.into(),
                refund.id.as_str().into(),
                i64::try_from(line.position).unwrap_or(i64::MAX).into(),
                line.quantity.into(),
                line.amount.into(),
            ],
        )?)?;
    }
    Ok(())
}
