//! Payment methods that services keep for customers, and what the services call the customers.

use super::codec::{self, id, instant, maybe_instant, method_state, mode_number, small};
use super::{Row, Sql, Value, rows};
use crate::change::CustomerReference;
use crate::error::{Error, Result, shortened};
use crate::id::{CustomerId, PaymentMethodId, World};
use crate::payment::PaymentMethod;
use crate::time::Timestamp;

const COLUMNS: &str = "SELECT id, customer, processor, coalesce(token, ''), brand, last4, expiry_month, expiry_year, \
     state, attempt, created_at, updated_at, detached_at, revision \
     FROM tillite_payment_method WHERE app = $1 AND mode = $2";

fn from_row(row: &dyn Row) -> Result<PaymentMethod> {
    let month = row.maybe_int(6)?.map(small).transpose()?;
    let year = row.maybe_int(7)?.map(small).transpose()?;
    Ok(PaymentMethod {
        id: id(&row.text(0)?)?,
        customer: id(&row.text(1)?)?,
        processor: row.text(2)?,
        token: row.text(3)?,
        brand: row.maybe_text(4)?,
        last4: row.maybe_text(5)?,
        expiry: month.zip(year),
        state: method_state(&row.text(8)?)?,
        attempt: id(&row.text(9)?)?,
        created_at: instant(row.int(10)?)?,
        updated_at: instant(row.int(11)?)?,
        detached_at: maybe_instant(row.maybe_int(12)?)?,
        revision: row.int(13)?,
    })
}

fn query(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<PaymentMethod>> {
    rows(sql, world, COLUMNS, rest, values, from_row)
}

/// A payment method, attached or not.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &PaymentMethodId) -> Result<PaymentMethod> {
    query(sql, world, "AND id = $3", &[wanted.as_str().into()])?
        .pop()
        .ok_or_else(|| Error::NotFound {
            what: "payment method",
            id: shortened(wanted.as_str()),
        })
}

/// The method that a processor keeps for a customer under a token, attached or not.
pub(crate) fn by_token(
    sql: &mut dyn Sql,
    world: World,
    customer: &CustomerId,
    processor: &str,
    token: &str,
) -> Result<Option<PaymentMethod>> {
    let rest = "AND customer = $3 AND processor = $4 AND token = $5";
    let values = [customer.as_str().into(), processor.into(), token.into()];
    Ok(query(sql, world, rest, &values)?.pop())
}

/// What can be charged of a customer, newest first, after an id.
pub(crate) fn list(
    sql: &mut dyn Sql,
    world: World,
    customer: &CustomerId,
    after: Option<&PaymentMethodId>,
    limit: u32,
) -> Result<Vec<PaymentMethod>> {
    let customer = customer.as_str();
    match after {
        None => query(
            sql,
            world,
            "AND customer = $3 AND state = 'attached' ORDER BY id DESC LIMIT $4",
            &[customer.into(), limit.into()],
        ),
        Some(after) => query(
            sql,
            world,
            "AND customer = $3 AND state = 'attached' AND id < $4 ORDER BY id DESC LIMIT $5",
            &[customer.into(), after.as_str().into(), limit.into()],
        ),
    }
}

/// Everything that can be charged of a customer, oldest first.
pub(crate) fn attached(sql: &mut dyn Sql, world: World, customer: &CustomerId) -> Result<Vec<PaymentMethod>> {
    let rest = "AND customer = $3 AND state = 'attached' ORDER BY id";
    query(sql, world, rest, &[customer.as_str().into()])
}

/// Whether something was begun after a method was detached whose outcome may attach it again: a setup of
/// its customer, also one that failed, since its service may say otherwise later, or a payment that is open.
pub(crate) fn asked_since(sql: &mut dyn Sql, world: World, method: &PaymentMethod) -> Result<bool> {
    let Some(detached) = method.detached_at else {
        return Ok(false);
    };
    let query = "SELECT 1 FROM (SELECT app, mode FROM tillite_setup WHERE app = $1 AND mode = $2 \
         AND customer = $3 AND processor = $4 AND created_at > $5 \
         UNION ALL SELECT c.app, c.mode FROM tillite_charge c JOIN tillite_session s \
         ON s.app = c.app AND s.mode = c.mode AND s.id = c.session WHERE c.app = $1 AND c.mode = $2 \
         AND c.state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized') \
         AND s.customer = $3 AND c.processor = $4 AND c.created_at > $5) AS begun LIMIT 1";
    let values = [
        method.customer.as_str().into(),
        method.processor.as_str().into(),
        detached.as_millis().into(),
    ];
    Ok(!rows(sql, world, query, "", &values, |row| row.int(0))?.is_empty())
}

/// What a processor calls a customer, if that is known.
pub(crate) fn reference(
    sql: &mut dyn Sql,
    world: World,
    customer: &CustomerId,
    processor: &str,
) -> Result<Option<String>> {
    let query = "SELECT reference FROM tillite_customer_reference WHERE app = $1 AND mode = $2";
    let rest = "AND customer = $3 AND processor = $4";
    let values = [customer.as_str().into(), processor.into()];
    let found = rows(sql, world, query, rest, &values, |row| row.maybe_text(0))?;
    Ok(found.into_iter().flatten().next())
}

pub(super) fn put(sql: &mut dyn Sql, world: World, method: &PaymentMethod, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let (month, year) = method.expiry.unzip();
    let (month, year) = (month.map(i64::from), year.map(i64::from));
    let detached_at = method.detached_at.map(Timestamp::as_millis);
    codec::one(if before == 0 {
        sql.exec(
            "INSERT INTO tillite_payment_method (app, mode, id, customer, processor, token, brand, last4, \
             expiry_month, expiry_year, state, attempt, created_at, updated_at, detached_at, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            &[
                world.app.into(),
                mode.into(),
                method.id.as_str().into(),
                method.customer.as_str().into(),
                (&method.processor).into(),
                (&method.token).into(),
                method.brand.as_deref().into(),
                method.last4.as_deref().into(),
                month.into(),
                year.into(),
                method.state.as_str().into(),
                method.attempt.as_str().into(),
                method.created_at.as_millis().into(),
                method.updated_at.as_millis().into(),
                detached_at.into(),
                method.revision.into(),
            ],
        )?
    } else {
        sql.exec(
            "UPDATE tillite_payment_method SET brand = $1, last4 = $2, expiry_month = $3, expiry_year = $4, \
             state = $5, attempt = $6, updated_at = $7, detached_at = $8, revision = $9 \
             WHERE app = $10 AND mode = $11 AND id = $12 AND revision = $13",
            &[
                method.brand.as_deref().into(),
                method.last4.as_deref().into(),
                month.into(),
                year.into(),
                method.state.as_str().into(),
                method.attempt.as_str().into(),
                method.updated_at.as_millis().into(),
                detached_at.into(),
                method.revision.into(),
                world.app.into(),
                mode.into(),
                method.id.as_str().into(),
                before.into(),
            ],
        )?
    })
}

pub(super) fn put_reference(sql: &mut dyn Sql, world: World, known: &CustomerReference) -> Result<()> {
    codec::one(sql.exec(
        "INSERT INTO tillite_customer_reference (app, mode, customer, processor, reference, attempt, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (app, mode, customer, processor) DO UPDATE SET \
         reference = excluded.reference, attempt = excluded.attempt, updated_at = excluded.updated_at",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            known.customer.as_str().into(),
            (&known.processor).into(),
            (&known.reference).into(),
            known.attempt.as_str().into(),
            known.at.as_millis().into(),
        ],
    )?)
}
