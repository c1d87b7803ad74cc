//! Setups: payment methods that are saved without taking money.

use super::codec::{self, action, currency, id, instant, json, maybe_instant, mode_number, setup_state, small};
use super::{Row, Sql, Value, rows};
use crate::error::{Error, Result, shortened};
use crate::id::{CustomerId, SetupId, World};
use crate::payment::Setup;
use crate::time::Timestamp;

const COLUMNS: &str = "SELECT id, customer, number, processor, currency, state, method, reference, failure_code, \
     failure_message, failure_advice, action, action_deadline, mismatched, created_at, updated_at, revision \
     FROM tillite_setup WHERE app = $1 AND mode = $2";

fn from_row(row: &dyn Row) -> Result<Setup> {
    Ok(Setup {
        id: id(&row.text(0)?)?,
        customer: id(&row.text(1)?)?,
        number: small(row.int(2)?)?,
        processor: row.text(3)?,
        currency: currency(&row.text(4)?)?,
        state: setup_state(&row.text(5)?)?,
        method: row.maybe_text(6)?.map(|method| id(&method)).transpose()?,
        reference: row.maybe_text(7)?,
        failure: codec::failure(row, 8)?,
        action: action(row.maybe_text(11)?)?,
        action_deadline: maybe_instant(row.maybe_int(12)?)?,
        mismatched: row.int(13)? == 1,
        created_at: instant(row.int(14)?)?,
        updated_at: instant(row.int(15)?)?,
        revision: row.int(16)?,
    })
}

fn query(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Setup>> {
    rows(sql, world, COLUMNS, rest, values, from_row)
}

/// A setup by its id.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Setup> {
    query(sql, world, "AND id = $3", &[wanted.into()])?
        .pop()
        .ok_or_else(|| Error::NotFound {
            what: "setup",
            id: shortened(wanted),
        })
}

/// Setups, newest first, before an id.
pub(crate) fn list(sql: &mut dyn Sql, world: World, before: Option<&SetupId>, limit: u32) -> Result<Vec<Setup>> {
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

/// The number of a customer's next setup.
pub(crate) fn next_number(sql: &mut dyn Sql, world: World, customer: &CustomerId) -> Result<u32> {
    let query = "SELECT coalesce(max(number), 0) + 1 FROM tillite_setup WHERE app = $1 AND mode = $2";
    let found = rows(
        sql,
        world,
        query,
        "AND customer = $3",
        &[customer.as_str().into()],
        |row| small(row.int(0)?),
    )?;
    Ok(found.first().copied().unwrap_or(1))
}

/// The setups with a deadline that nobody calls off yet.
fn not_called_off(selected: &str) -> String {
    format!(
        "SELECT {selected} FROM tillite_setup c WHERE c.app = $1 AND c.mode = $2 AND c.action_deadline IS NOT NULL \
         AND c.state = 'requires_action' AND NOT EXISTS (SELECT 1 FROM tillite_attempt a \
         WHERE a.app = c.app AND a.mode = c.mode AND a.subject = c.id AND a.next IS NOT NULL AND a.ask = 'cancel')"
    )
}

/// Setups whose buyer has not acted in time, and that nobody calls off yet.
pub(crate) fn lapsed(sql: &mut dyn Sql, world: World, now: Timestamp, limit: u32) -> Result<Vec<SetupId>> {
    let rest = "AND c.action_deadline <= $3 ORDER BY c.action_deadline, c.id LIMIT $4";
    let values = [now.as_millis().into(), limit.into()];
    rows(sql, world, &not_called_off("c.id"), rest, &values, |row| {
        id(&row.text(0)?)
    })
}

/// Engine time at which the next of [`lapsed`] will be one, or became one.
pub(crate) fn next_lapse(sql: &mut dyn Sql, world: World) -> Result<Option<Timestamp>> {
    let query = not_called_off("min(c.action_deadline)");
    let found = rows(sql, world, &query, "", &[], |row| maybe_instant(row.maybe_int(0)?))?;
    Ok(found.into_iter().flatten().min())
}

pub(super) fn put(sql: &mut dyn Sql, world: World, setup: &Setup, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let failure = setup.failure.as_ref();
    let (code, message) = (
        failure.map(|failure| failure.code.as_str()),
        failure.map(|failure| failure.message.as_str()),
    );
    let advice = failure
        .and_then(|failure| failure.advice)
        .map(crate::hook::Advice::as_str);
    let action = setup.action.as_ref().map(json).transpose()?;
    let deadline = setup.action_deadline.map(Timestamp::as_millis);
    let method = setup.method.as_ref().map(crate::id::PaymentMethodId::as_str);
    codec::one(if before == 0 {
        sql.exec(
            "INSERT INTO tillite_setup (app, mode, id, customer, number, processor, currency, state, method, \
             reference, failure_code, failure_message, failure_advice, action, action_deadline, mismatched, \
             created_at, updated_at, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
             $15, $16, $17, $18, $19)",
            &[
                world.app.into(),
                mode.into(),
                setup.id.as_str().into(),
                setup.customer.as_str().into(),
                setup.number.into(),
                (&setup.processor).into(),
                setup.currency.code().into(),
                setup.state.as_str().into(),
                method.into(),
                setup.reference.as_deref().into(),
                code.into(),
                message.into(),
                advice.into(),
                action.as_deref().into(),
                deadline.into(),
                setup.mismatched.into(),
                setup.created_at.as_millis().into(),
                setup.updated_at.as_millis().into(),
                setup.revision.into(),
            ],
        )?
    } else {
        sql.exec(
            "UPDATE tillite_setup SET state = $1, method = $2, reference = $3, failure_code = $4, \
             failure_message = $5, failure_advice = $6, action = $7, action_deadline = $8, mismatched = $9, \
             updated_at = $10, revision = $11 WHERE app = $12 AND mode = $13 AND id = $14 AND revision = $15",
            &[
                setup.state.as_str().into(),
                method.into(),
                setup.reference.as_deref().into(),
                code.into(),
                message.into(),
                advice.into(),
                action.as_deref().into(),
                deadline.into(),
                setup.mismatched.into(),
                setup.updated_at.as_millis().into(),
                setup.revision.into(),
                world.app.into(),
                mode.into(),
                setup.id.as_str().into(),
                before.into(),
            ],
        )?
    })
}
