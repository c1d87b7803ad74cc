//! Disputes.

use super::codec::{self, amount, dispute_state, id, instant, mode_number, small};
use super::{Row, Sql, Value, rows};
use crate::error::{Error, Result};
use crate::id::{ChargeId, DisputeId, World};
use crate::payment::Dispute;

const COLUMNS: &str = "SELECT id, charge, number, session, processor, reference, state, amount, currency, reason, created_at, \
     updated_at, revision FROM tillite_dispute WHERE app = $1 AND mode = $2";

fn from_row(row: &dyn Row) -> Result<Dispute> {
    Ok(Dispute {
        id: id(&row.text(0)?)?,
        charge: id(&row.text(1)?)?,
        number: small(row.int(2)?)?,
        session: id(&row.text(3)?)?,
        processor: row.text(4)?,
        reference: row.text(5)?,
        state: dispute_state(&row.text(6)?)?,
        amount: amount(row.int(7)?, &row.text(8)?)?,
        reason: row.maybe_text(9)?,
        created_at: instant(row.int(10)?)?,
        updated_at: instant(row.int(11)?)?,
        revision: row.int(12)?,
    })
}

fn query(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Dispute>> {
    rows(sql, world, COLUMNS, rest, values, from_row)
}

/// A dispute by its id.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &DisputeId) -> Result<Dispute> {
    let found = query(sql, world, "AND id = $3", &[wanted.as_str().into()])?.pop();
    found.ok_or_else(|| Error::NotFound {
        what: "dispute",
        id: wanted.to_string(),
    })
}

/// The dispute that a service knows by a name.
pub(crate) fn known_as(sql: &mut dyn Sql, world: World, processor: &str, reference: &str) -> Result<Option<Dispute>> {
    let rest = "AND processor = $3 AND reference = $4";
    Ok(query(sql, world, rest, &[processor.into(), reference.into()])?.pop())
}

/// Disputes of a charge, the first one first. They are few.
pub(crate) fn of_charge(sql: &mut dyn Sql, world: World, charge: &ChargeId) -> Result<Vec<Dispute>> {
    query(sql, world, "AND charge = $3 ORDER BY number", &[charge.as_str().into()])
}

/// Disputes, newest first, before an id.
pub(crate) fn list(sql: &mut dyn Sql, world: World, before: Option<&DisputeId>, limit: u32) -> Result<Vec<Dispute>> {
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

pub(super) fn put(sql: &mut dyn Sql, world: World, dispute: &Dispute, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    codec::one(if before > 0 {
        sql.exec(
            "UPDATE tillite_dispute SET state = $1, amount = $2, updated_at = $3, revision = $4 \
             WHERE app = $5 AND mode = $6 AND id = $7 AND revision = $8",
            &[
                dispute.state.as_str().into(),
                dispute.amount.as_minor().into(),
                dispute.updated_at.as_millis().into(),
                dispute.revision.into(),
                world.app.into(),
                mode.into(),
                dispute.id.as_str().into(),
                before.into(),
            ],
        )?
    } else {
        sql.exec(
            "INSERT INTO tillite_dispute (app, mode, id, charge, number, session, processor, reference, state, amount, currency, \
             reason, created_at, updated_at, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
            &[
                world.app.into(),
                mode.into(),
                dispute.id.as_str().into(),
                dispute.charge.as_str().into(),
                dispute.number.into(),
                dispute.session.as_str().into(),
                (&dispute.processor).into(),
                (&dispute.reference).into(),
                dispute.state.as_str().into(),
                dispute.amount.as_minor().into(),
                dispute.amount.currency().code().into(),
                dispute.reason.as_deref().into(),
                dispute.created_at.as_millis().into(),
                dispute.updated_at.as_millis().into(),
                dispute.revision.into(),
            ],
        )?
    })
}
