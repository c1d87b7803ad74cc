//! Products and prices.

use super::codec::{self, amount, corrupt, id, instant, maybe_instant, mode_number, small};
use super::{Row, Sql, rows};
use crate::catalog::{Price, Product, Terms};
use crate::error::{Error, Result, shortened};
use crate::id::World;
use crate::money::Currency;
use crate::time::{Interval, Timestamp, Unit};

const PRODUCT: &str = "p.id, p.tier, p.name, p.description, p.line, p.rank, p.created_at, p.archived_at, p.revision";
const PRODUCT_WIDTH: usize = 9;
const PRICE: &str = "c.id, c.product, c.unit_amount, c.currency, c.exponent, c.kind, c.unit, c.unit_count, \
                     c.trial_days, c.access_days, c.created_at, c.archived_at, c.revision";

fn product_from_row(row: &dyn Row) -> Result<Product> {
    Ok(Product {
        id: id(&row.text(0)?)?,
        tier: row.text(1)?,
        name: row.text(2)?,
        description: row.maybe_text(3)?,
        line: row.text(4)?,
        rank: small(row.int(5)?)?,
        created_at: instant(row.int(6)?)?,
        archived_at: maybe_instant(row.maybe_int(7)?)?,
        revision: row.int(8)?,
    })
}

fn price_from_row(row: &dyn Row, first: usize) -> Result<Price> {
    let unit = row
        .maybe_text(first + 6)?
        .map(|unit| Unit::parse(&unit).ok_or_else(|| corrupt("an unknown unit")));
    let interval = match (unit.transpose()?, row.maybe_int(first + 7)?) {
        (Some(unit), Some(count)) => {
            Some(Interval::new(unit, small(count)?).map_err(|_| corrupt("an interval out of range"))?)
        }
        (None, None) => None,
        _ => return Err(corrupt("half an interval")),
    };
    let days = |column: usize| -> Result<Option<u32>> { row.maybe_int(first + column)?.map(small).transpose() };
    let terms = match (row.text(first + 5)?.as_str(), interval) {
        ("one_time", lasting) => Terms::OneTime {
            lasting,
            access_days: days(9)?,
        },
        ("recurring", Some(every)) => Terms::Recurring {
            every,
            trial_days: days(8)?,
        },
        _ => return Err(corrupt("a price of no known kind")),
    };
    Ok(Price {
        id: id(&row.text(first)?)?,
        product: id(&row.text(first + 1)?)?,
        unit_amount: amount(row.int(first + 2)?, &row.text(first + 3)?)?,
        exponent: small(row.int(first + 4)?)?,
        terms,
        created_at: instant(row.int(first + 10)?)?,
        archived_at: maybe_instant(row.maybe_int(first + 11)?)?,
        revision: row.int(first + 12)?,
    })
}

/// The product of a tier.
pub(crate) fn product(sql: &mut dyn Sql, world: World, tier: &str) -> Result<Option<Product>> {
    let mut found = None;
    sql.each(
        &format!("SELECT {PRODUCT} FROM tillite_product p WHERE p.app = $1 AND p.mode = $2 AND p.tier = $3"),
        &[world.app.into(), mode_number(world.mode).into(), tier.into()],
        &mut |row| {
            found = Some(product_from_row(row)?);
            Ok(())
        },
    )?;
    Ok(found)
}

/// Products by tier, after a tier.
pub(crate) fn products(sql: &mut dyn Sql, world: World, after: &str, limit: u32) -> Result<Vec<Product>> {
    let mut found = Vec::new();
    sql.each(
        &format!(
            "SELECT {PRODUCT} FROM tillite_product p \
             WHERE p.app = $1 AND p.mode = $2 AND p.tier > $3 ORDER BY p.tier LIMIT $4"
        ),
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            after.into(),
            limit.into(),
        ],
        &mut |row| {
            found.push(product_from_row(row)?);
            Ok(())
        },
    )?;
    Ok(found)
}

/// The prices of a product that are on sale.
pub(crate) fn on_sale(sql: &mut dyn Sql, world: World, product: &Product) -> Result<Vec<Price>> {
    let mut found = Vec::new();
    sql.each(
        &format!(
            "SELECT {PRICE} FROM tillite_price c \
             WHERE c.app = $1 AND c.mode = $2 AND c.product = $3 AND c.archived_at IS NULL"
        ),
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            product.id.as_str().into(),
        ],
        &mut |row| {
            found.push(price_from_row(row, 0)?);
            Ok(())
        },
    )?;
    // Sorted here: asked for an order, SQLite walks every price of the world in it.
    found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

/// A price, archived or not.
pub(crate) fn price(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Price> {
    let mut found = None;
    sql.each(
        &format!("SELECT {PRICE} FROM tillite_price c WHERE c.app = $1 AND c.mode = $2 AND c.id = $3"),
        &[world.app.into(), mode_number(world.mode).into(), wanted.into()],
        &mut |row| {
            found = Some(price_from_row(row, 0)?);
            Ok(())
        },
    )?;
    found.ok_or_else(|| Error::NotFound {
        what: "price",
        id: shortened(wanted),
    })
}

/// What is on sale for a tier in a currency.
pub(crate) fn offers_of_tier(
    sql: &mut dyn Sql,
    world: World,
    tier: &str,
    currency: Currency,
) -> Result<Vec<(Product, Price)>> {
    offers(
        sql,
        world,
        "AND p.tier = $3 AND c.currency = $4",
        &[tier.into(), currency.code().into()],
    )
}

/// What is on sale under a price id.
pub(crate) fn offer_of_price(sql: &mut dyn Sql, world: World, price: &str) -> Result<Vec<(Product, Price)>> {
    offers(sql, world, "AND c.id = $3", &[price.into()])
}

fn offers(
    sql: &mut dyn Sql,
    world: World,
    condition: &str,
    values: &[super::Value<'_>],
) -> Result<Vec<(Product, Price)>> {
    rows(
        sql,
        world,
        &format!(
            "SELECT {PRODUCT}, {PRICE} FROM tillite_price c \
             JOIN tillite_product p ON p.app = c.app AND p.mode = c.mode AND p.id = c.product \
             WHERE c.app = $1 AND c.mode = $2 AND c.archived_at IS NULL AND p.archived_at IS NULL"
        ),
        condition,
        values,
        |row| Ok((product_from_row(row)?, price_from_row(row, PRODUCT_WIDTH)?)),
    )
}

pub(super) fn put_product(sql: &mut dyn Sql, world: World, product: &Product, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let archived_at = product.archived_at.map(Timestamp::as_millis);
    codec::one(if before == 0 {
        sql.exec(
            "INSERT INTO tillite_product \
             (app, mode, id, tier, name, description, line, rank, created_at, archived_at, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            &[
                world.app.into(),
                mode.into(),
                product.id.as_str().into(),
                (&product.tier).into(),
                (&product.name).into(),
                product.description.as_deref().into(),
                (&product.line).into(),
                i64::from(product.rank).into(),
                product.created_at.as_millis().into(),
                archived_at.into(),
                product.revision.into(),
            ],
        )?
    } else {
        sql.exec(
            "UPDATE tillite_product SET name = $1, description = $2, line = $3, rank = $4, archived_at = $5, \
             revision = $6 WHERE app = $7 AND mode = $8 AND id = $9 AND revision = $10",
            &[
                (&product.name).into(),
                product.description.as_deref().into(),
                (&product.line).into(),
                i64::from(product.rank).into(),
                archived_at.into(),
                product.revision.into(),
                world.app.into(),
                mode.into(),
                product.id.as_str().into(),
                before.into(),
            ],
        )?
    })
}

pub(super) fn put_price(sql: &mut dyn Sql, world: World, price: &Price, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let archived_at = price.archived_at.map(Timestamp::as_millis);
    let interval = price.terms.interval();
    let (trial_days, access_days) = match price.terms {
        Terms::OneTime { access_days, .. } => (None, access_days),
        Terms::Recurring { trial_days, .. } => (trial_days, None),
    };
    let currency = price.unit_amount.currency();
    codec::one(if before == 0 {
        sql.exec(
            "INSERT INTO tillite_price (app, mode, id, product, currency, exponent, unit_amount, kind, unit, \
             unit_count, trial_days, access_days, created_at, archived_at, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
            &[
                world.app.into(),
                mode.into(),
                price.id.as_str().into(),
                price.product.as_str().into(),
                currency.code().into(),
                i64::from(price.exponent).into(),
                price.unit_amount.as_minor().into(),
                price.terms.kind().into(),
                interval.map(|interval| interval.unit().as_str()).into(),
                interval.map(|interval| i64::from(interval.count())).into(),
                trial_days.into(),
                access_days.into(),
                price.created_at.as_millis().into(),
                archived_at.into(),
                price.revision.into(),
            ],
        )?
    } else {
        // Nothing else of a price ever changes.
        sql.exec(
            "UPDATE tillite_price SET archived_at = $1, revision = $2 \
             WHERE app = $3 AND mode = $4 AND id = $5 AND revision = $6",
            &[
                archived_at.into(),
                price.revision.into(),
                world.app.into(),
                mode.into(),
                price.id.as_str().into(),
                before.into(),
            ],
        )?
    })
}
