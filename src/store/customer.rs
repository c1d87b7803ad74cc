//! Customers.

use super::codec::{self, id, instant, json, metadata, mode_number};
use super::{Row, Sql, Value};
use crate::customer::Customer;
use crate::error::Result;
use crate::id::World;

const COLUMNS: &str = "SELECT id, uid, name, email, phone, metadata, created_at, updated_at, revision \
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
        revision: row.int(8)?,
    })
}

fn find(sql: &mut dyn Sql, world: World, condition: &str, value: Value<'_>) -> Result<Option<Customer>> {
    let mut found = None;
    sql.each(
        &format!("{COLUMNS} AND {condition}"),
        &[world.app.into(), mode_number(world.mode).into(), value],
        &mut |row| {
            found = Some(from_row(row)?);
            Ok(())
        },
    )?;
    Ok(found)
}

pub(crate) fn by_id(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<Option<Customer>> {
    find(sql, world, "id = $3", wanted.into())
}

pub(crate) fn by_uid(sql: &mut dyn Sql, world: World, uid: &str) -> Result<Option<Customer>> {
    find(sql, world, "uid = $3 AND deleted_at IS NULL", uid.into())
}

pub(super) fn put(sql: &mut dyn Sql, world: World, customer: &Customer, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let metadata = json(&customer.metadata)?;
    codec::one(if before == 0 {
        sql.exec(
            "INSERT INTO tillite_customer \
             (app, mode, id, uid, name, email, phone, metadata, created_at, updated_at, deleted_at, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11)",
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
                customer.revision.into(),
            ],
        )?
    } else {
        sql.exec(
            "UPDATE tillite_customer SET name = $1, email = $2, phone = $3, metadata = $4, updated_at = $5, \
             revision = $6 WHERE app = $7 AND mode = $8 AND id = $9 AND revision = $10",
            &[
                customer.name.as_deref().into(),
                customer.email.as_deref().into(),
                customer.phone.as_deref().into(),
                (&metadata).into(),
                customer.updated_at.as_millis().into(),
                customer.revision.into(),
                world.app.into(),
                mode.into(),
                customer.id.as_str().into(),
                before.into(),
            ],
        )?
    })
}
