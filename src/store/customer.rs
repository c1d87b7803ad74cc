//! Customers.

use super::codec::{self, id, instant, json, maybe_instant, metadata, mode_number};
use super::{Row, Sql, rows};
use crate::customer::Customer;
use crate::error::{Error, Result, shortened};
use crate::id::{CustomerId, World};
use crate::time::Timestamp;

const COLUMNS: &str = "SELECT id, uid, name, email, phone, metadata, created_at, updated_at, deleted_at, revision \
                       FROM tillite_customer WHERE app = $1 AND mode = $2";

fn from_row(row: &dyn Row) -> Result<Customer> {
    Ok(Customer {
        id: id(&row.text(0)?)?,
        uid: row.maybe_text(1)?,
        name: row.maybe_text(2)?,
        email: row.maybe_text(3)?,
        phone: row.maybe_text(4)?,
        metadata: metadata(&row.text(5)?)?,
        created_at: instant(row.int(6)?)?,
        updated_at: instant(row.int(7)?)?,
        deleted_at: maybe_instant(row.maybe_int(8)?)?,
        revision: row.int(9)?,
    })
}

/// A customer, deleted or not, if there is one of the id.
pub(crate) fn by_id(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Option<Customer>> {
    Ok(rows(sql, world, COLUMNS, "AND id = $3", &[wanted.into()], from_row)?.pop())
}

/// A customer, deleted or not.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &CustomerId) -> Result<Customer> {
    by_id(sql, world, wanted.as_str())?.ok_or_else(|| Error::NotFound {
        what: "customer",
        id: shortened(wanted.as_str()),
    })
}

/// Whoever has a uid; who was deleted has none.
pub(crate) fn by_uid(sql: &mut dyn Sql, world: World, uid: &str) -> Result<Option<Customer>> {
    let rest = "AND uid = $3 AND deleted_at IS NULL";
    Ok(rows(sql, world, COLUMNS, rest, &[uid.into()], from_row)?.pop())
}

/// Whoever has the uid that is given, if one is given.
pub(crate) fn namesake(sql: &mut dyn Sql, world: World, uid: Option<&str>) -> Result<Option<Customer>> {
    uid.map_or(Ok(None), |uid| by_uid(sql, world, uid))
}

/// Customers that were not deleted, newest first, before an id.
pub(crate) fn list(sql: &mut dyn Sql, world: World, before: Option<&CustomerId>, limit: u32) -> Result<Vec<Customer>> {
    let (rest, values) = match before {
        None => ("AND deleted_at IS NULL ORDER BY id DESC LIMIT $3", vec![limit.into()]),
        Some(before) => (
            "AND deleted_at IS NULL AND id < $3 ORDER BY id DESC LIMIT $4",
            vec![before.as_str().into(), limit.into()],
        ),
    };
    rows(sql, world, COLUMNS, rest, &values, from_row)
}

pub(super) fn put(sql: &mut dyn Sql, world: World, customer: &Customer, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let metadata = json(&customer.metadata)?;
    let deleted_at = customer.deleted_at.map(Timestamp::as_millis);
    codec::one(if before == 0 {
        sql.exec(
            "INSERT INTO tillite_customer \
             (app, mode, id, uid, name, email, phone, metadata, created_at, updated_at, deleted_at, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &[
                world.app.into(),
                mode.into(),
                customer.id.as_str().into(),
                customer.uid.as_deref().into(),
                customer.name.as_deref().into(),
                customer.email.as_deref().into(),
                customer.phone.as_deref().into(),
                (&metadata).into(),
                customer.created_at.as_millis().into(),
                customer.updated_at.as_millis().into(),
                deleted_at.into(),
                customer.revision.into(),
            ],
        )?
    } else {
        sql.exec(
            "UPDATE tillite_customer SET uid = $1, name = $2, email = $3, phone = $4, metadata = $5, \
             updated_at = $6, deleted_at = $7, revision = $8 \
             WHERE app = $9 AND mode = $10 AND id = $11 AND revision = $12",
            &[
                customer.uid.as_deref().into(),
                customer.name.as_deref().into(),
                customer.email.as_deref().into(),
                customer.phone.as_deref().into(),
                (&metadata).into(),
                customer.updated_at.as_millis().into(),
                deleted_at.into(),
                customer.revision.into(),
                world.app.into(),
                mode.into(),
                customer.id.as_str().into(),
                before.into(),
            ],
        )?
    })
}
