//! Payment intents and charges.

use super::codec::{
    self, action, amount, capture, charge_state, corrupt, followup, hold, id, instant, json, maybe_instant,
    mode_number, small,
};
use super::{Row, Sql, Value, rows};
use crate::error::Result;
use crate::id::{ChargeId, SessionId, World};
use crate::payment::{Charge, Followup, Hold, PaymentIntent};
use crate::time::Timestamp;

const CHARGE: &str = "SELECT id, intent, session, number, processor, state, amount, currency, authorized, captured, \
     refund_reserved, refunded, reference, failure_code, failure_message, failure_advice, action, action_deadline, \
     authorized_until, hold, settles, created_at, updated_at, revision, fee, capture, asked, lost, comes_with, \
     hold_closed FROM tillite_charge WHERE app = $1 AND mode = $2";

fn charge_from_row(row: &dyn Row) -> Result<Charge> {
    Ok(Charge {
        id: id(&row.text(0)?)?,
        intent: id(&row.text(1)?)?,
        session: id(&row.text(2)?)?,
        number: small(row.int(3)?)?,
        processor: row.text(4)?,
        state: charge_state(&row.text(5)?)?,
        capture: capture(&row.text(25)?)?,
        asked: row.maybe_text(26)?.map(|word| followup(&word)).transpose()?,
        amount: amount(row.int(6)?, &row.text(7)?)?,
        authorized: row.int(8)?,
        captured: row.int(9)?,
        refund_reserved: row.int(10)?,
        refunded: row.int(11)?,
        lost: row.int(27)?,
        comes_with: row.maybe_text(28)?.map(|text| id(&text)).transpose()?,
        fee: row.maybe_int(24)?.map(|fee| amount(fee, &row.text(7)?)).transpose()?,
        reference: row.maybe_text(12)?,
        failure: codec::failure(row, 13)?,
        action: action(row.maybe_text(16)?)?,
        action_deadline: maybe_instant(row.maybe_int(17)?)?,
        authorized_until: maybe_instant(row.maybe_int(18)?)?,
        hold: row.maybe_text(19)?.map(|word| hold(&word)).transpose()?,
        hold_closed: row.int(29)? == 1,
        settles: row.int(20)? == 1,
        created_at: instant(row.int(21)?)?,
        updated_at: instant(row.int(22)?)?,
        revision: row.int(23)?,
    })
}

fn charges(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Charge>> {
    rows(sql, world, CHARGE, rest, values, charge_from_row)
}

/// An intent with all its charges.
pub(super) fn intent(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<PaymentIntent> {
    let mut found = None;
    sql.each(
        "SELECT id, session, amount, currency, created_at, canceled_at, revision FROM tillite_payment_intent \
         WHERE app = $1 AND mode = $2 AND id = $3",
        &[world.app.into(), mode_number(world.mode).into(), wanted.into()],
        &mut |row| {
            found = Some(PaymentIntent {
                id: id(&row.text(0)?)?,
                session: id(&row.text(1)?)?,
                amount: amount(row.int(2)?, &row.text(3)?)?,
                charges: Vec::new(),
                created_at: instant(row.int(4)?)?,
                canceled_at: maybe_instant(row.maybe_int(5)?)?,
                revision: row.int(6)?,
            });
            Ok(())
        },
    )?;
    let mut intent = found.ok_or_else(|| corrupt("a session whose payment intent is missing"))?;
    intent.charges = charges(sql, world, "AND intent = $3 ORDER BY number", &[wanted.into()])?;
    Ok(intent)
}

/// Charges whose money settled nothing, has not gone back and is not on its way, oldest first, after
/// an id.
pub(crate) fn held(sql: &mut dyn Sql, world: World, after: &str, limit: u32) -> Result<Vec<Charge>> {
    charges(
        sql,
        world,
        "AND hold IS NOT NULL AND hold_closed = 0 AND (hold = 'mismatch' AND state <> 'succeeded' \
         OR refund_reserved + refunded + lost < captured) AND id > $3 ORDER BY id LIMIT $4",
        &[after.into(), limit.into()],
    )
}

/// What has a deadline: the column that it stands in, and the state in which it counts. Each has an
/// index of its own.
const DEADLINES: [(&str, &str); 2] = [
    ("action_deadline", "requires_action"),
    ("authorized_until", "authorized"),
];

/// The charges with a deadline in a column that nobody calls off yet.
fn not_called_off(selected: &str, column: &str, state: &str) -> String {
    format!(
        "SELECT {selected} FROM tillite_charge c WHERE c.app = $1 AND c.mode = $2 AND c.{column} IS NOT NULL \
         AND c.state = '{state}' AND c.asked IS NULL AND NOT EXISTS (SELECT 1 FROM tillite_attempt a \
         WHERE a.app = c.app AND a.mode = c.mode AND a.subject = c.id AND a.next IS NOT NULL AND a.ask = 'cancel')"
    )
}

/// Charges whose buyer has not acted in time, or whose amount was held for too long, and that nobody
/// calls off yet.
pub(crate) fn lapsed(sql: &mut dyn Sql, world: World, now: Timestamp, limit: u32) -> Result<Vec<ChargeId>> {
    let mut found = Vec::new();
    for (column, state) in DEADLINES {
        let query = not_called_off("c.id", column, state);
        let rest = format!("AND c.{column} <= $3 ORDER BY c.{column}, c.id LIMIT $4");
        let values = [now.as_millis().into(), limit.into()];
        found.extend(rows(sql, world, &query, &rest, &values, |row| id(&row.text(0)?))?);
    }
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// Engine time at which the next of [`lapsed`] will be one, or became one.
pub(crate) fn next_lapse(sql: &mut dyn Sql, world: World) -> Result<Option<Timestamp>> {
    let mut ends = Vec::new();
    for (column, state) in DEADLINES {
        let query = not_called_off(&format!("min(c.{column})"), column, state);
        ends.extend(rows(sql, world, &query, "", &[], |row| {
            maybe_instant(row.maybe_int(0)?)
        })?);
    }
    Ok(ends.into_iter().flatten().min())
}

/// A charge by its id.
pub(crate) fn charge(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Option<Charge>> {
    Ok(charges(sql, world, "AND id = $3", &[wanted.into()])?.pop())
}

/// The charge of money that was taken a second time, which the service knows by a name.
pub(crate) fn surplus_known_as(
    sql: &mut dyn Sql,
    world: World,
    processor: &str,
    reference: &str,
) -> Result<Option<ChargeId>> {
    let rest = "AND processor = $3 AND reference = $4 AND comes_with IS NOT NULL";
    let found = charges(sql, world, rest, &[processor.into(), reference.into()])?.pop();
    Ok(found.map(|charge| charge.id))
}

/// The session that a charge is for, if there is such a charge.
pub(crate) fn session_of_charge(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Option<SessionId>> {
    Ok(charge(sql, world, wanted)?.map(|charge| charge.session))
}

pub(super) fn put_intent(sql: &mut dyn Sql, world: World, intent: &PaymentIntent, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let canceled_at = intent.canceled_at.map(Timestamp::as_millis);
    codec::one(if before == 0 {
        sql.exec(
            "INSERT INTO tillite_payment_intent \
             (app, mode, id, session, amount, currency, created_at, canceled_at, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                world.app.into(),
                mode.into(),
                intent.id.as_str().into(),
                intent.session.as_str().into(),
                intent.amount.as_minor().into(),
                intent.amount.currency().code().into(),
                intent.created_at.as_millis().into(),
                canceled_at.into(),
                intent.revision.into(),
            ],
        )?
    } else {
        sql.exec(
            "UPDATE tillite_payment_intent SET canceled_at = $1, revision = $2 \
             WHERE app = $3 AND mode = $4 AND id = $5 AND revision = $6",
            &[
                canceled_at.into(),
                intent.revision.into(),
                world.app.into(),
                mode.into(),
                intent.id.as_str().into(),
                before.into(),
            ],
        )?
    })
}

pub(super) fn put_charge(sql: &mut dyn Sql, world: World, charge: &Charge, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let currency = charge.amount.currency();
    if before == 0 {
        codec::one(sql.exec(
            "INSERT INTO tillite_charge (app, mode, id, intent, session, number, processor, state, capture, amount, \
             currency, comes_with, reference, hold, created_at, updated_at, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
            &[
                world.app.into(),
                mode.into(),
                charge.id.as_str().into(),
                charge.intent.as_str().into(),
                charge.session.as_str().into(),
                charge.number.into(),
                (&charge.processor).into(),
                charge.state.as_str().into(),
                charge.capture.as_str().into(),
                charge.amount.as_minor().into(),
                currency.code().into(),
                charge.comes_with.as_ref().map(ChargeId::as_str).into(),
                charge.reference.as_deref().into(),
                charge.hold.map(Hold::as_str).into(),
                charge.created_at.as_millis().into(),
                charge.updated_at.as_millis().into(),
                charge.revision.into(),
            ],
        )?)?;
        // One that begins has nothing but what stands there.
        if charge.comes_with.is_none() {
            return Ok(());
        }
    }
    let before = if before == 0 { charge.revision } else { before };
    let action = charge.action.as_ref().map(json).transpose()?;
    let failure = charge.failure.as_ref();
    codec::one(sql.exec(
        "UPDATE tillite_charge SET state = $1, authorized = $2, captured = $3, refund_reserved = $4, refunded = $5, \
         reference = $6, failure_code = $7, failure_message = $8, failure_advice = $9, action = $10, \
         action_deadline = $11, authorized_until = $12, hold = $13, settles = $14, fee = $15, asked = $16, \
         lost = $17, hold_closed = $18, updated_at = $19, revision = $20 \
         WHERE app = $21 AND mode = $22 AND id = $23 AND revision = $24",
        &[
            charge.state.as_str().into(),
            charge.authorized.into(),
            charge.captured.into(),
            charge.refund_reserved.into(),
            charge.refunded.into(),
            charge.reference.as_deref().into(),
            failure.map(|failure| failure.code.as_str()).into(),
            failure.map(|failure| failure.message.as_str()).into(),
            failure.and_then(|failure| failure.advice).map(crate::hook::Advice::as_str).into(),
            action.as_deref().into(),
            charge.action_deadline.map(Timestamp::as_millis).into(),
            charge.authorized_until.map(Timestamp::as_millis).into(),
            charge.hold.map(Hold::as_str).into(),
            charge.settles.into(),
            charge.fee.map(crate::money::Amount::as_minor).into(),
            charge.asked.map(Followup::as_str).into(),
            charge.lost.into(),
            charge.hold_closed.into(),
            charge.updated_at.as_millis().into(),
            charge.revision.into(),
            world.app.into(),
            mode.into(),
            charge.id.as_str().into(),
            before.into(),
        ],
    )?)
}
