//! Apps, their heads and their keys.

use super::codec::{self, digest, id, instant, maybe_instant, mode_number};
use super::{Row, Sql, rows};
use crate::access::ApiKey;
use crate::error::{Error, Result, shortened};
use crate::id::{ApiKeyId, Mode, World};
use crate::payment::LatePayments;
use crate::time::Timestamp;

/// The number of the app with this slug.
pub(crate) fn by_slug(sql: &mut dyn Sql, slug: &str) -> Result<Option<i64>> {
    let mut found = None;
    sql.each(
        "SELECT app FROM tillite_app WHERE slug = $1",
        &[slug.into()],
        &mut |row| {
            found = Some(row.int(0)?);
            Ok(())
        },
    )?;
    Ok(found)
}

/// The slug of a number, refused if no app has it.
pub(crate) fn slug_of(sql: &mut dyn Sql, number: i64) -> Result<String> {
    let mut found = None;
    sql.each(
        "SELECT slug FROM tillite_app WHERE app = $1",
        &[number.into()],
        &mut |row| {
            found = Some(row.text(0)?);
            Ok(())
        },
    )?;
    found.ok_or_else(|| Error::NotFound {
        what: "app",
        id: number.to_string(),
    })
}

/// Slugs in order, after one.
pub(crate) fn slugs(sql: &mut dyn Sql, after: &str, limit: u32) -> Result<Vec<String>> {
    let mut found = Vec::new();
    sql.each(
        "SELECT slug FROM tillite_app WHERE slug > $1 ORDER BY slug LIMIT $2",
        &[after.into(), limit.into()],
        &mut |row| {
            found.push(row.text(0)?);
            Ok(())
        },
    )?;
    Ok(found)
}

/// Every world of the file.
pub(crate) fn worlds(sql: &mut dyn Sql) -> Result<Vec<World>> {
    let mut found = Vec::new();
    sql.each(
        "SELECT app, mode FROM tillite_head ORDER BY app, mode",
        &[],
        &mut |row| {
            found.push(World {
                app: row.int(0)?,
                mode: codec::mode(row.int(1)?)?,
            });
            Ok(())
        },
    )?;
    Ok(found)
}

/// The number of the app with this slug, which is made with its two heads if there is none.
pub(crate) fn ensure(sql: &mut dyn Sql, slug: &str, host_now: Timestamp) -> Result<i64> {
    if let Some(app) = by_slug(sql, slug)? {
        return Ok(app);
    }
    let mut number = 1;
    sql.each("SELECT coalesce(max(app), 0) + 1 FROM tillite_app", &[], &mut |row| {
        number = row.int(0)?;
        Ok(())
    })?;
    let millis = host_now.as_millis();
    codec::one(sql.exec(
        "INSERT INTO tillite_app (app, slug, public_url, created_at) VALUES ($1, $2, NULL, $3)",
        &[number.into(), slug.into(), millis.into()],
    )?)?;
    for mode in [Mode::Test, Mode::Live] {
        codec::one(sql.exec(
            "INSERT INTO tillite_head (app, mode, now, clock_offset, seq, hash) VALUES ($1, $2, $3, 0, 0, $4)",
            &[
                number.into(),
                mode_number(mode).into(),
                millis.into(),
                (&[0; 32]).into(),
            ],
        )?)?;
    }
    Ok(number)
}

pub(crate) fn set_public_url(sql: &mut dyn Sql, number: i64, url: Option<&str>) -> Result<()> {
    codec::one(sql.exec(
        "UPDATE tillite_app SET public_url = $1 WHERE app = $2",
        &[url.into(), number.into()],
    )?)
}

pub(crate) fn set_late_payments(sql: &mut dyn Sql, number: i64, late: LatePayments) -> Result<()> {
    codec::one(sql.exec(
        "UPDATE tillite_app SET late_payments = $1 WHERE app = $2",
        &[late.as_str().into(), number.into()],
    )?)
}

/// What an app does with money that comes too late.
pub(crate) fn late_payments(sql: &mut dyn Sql, number: i64) -> Result<LatePayments> {
    let mut found = LatePayments::default();
    sql.each(
        "SELECT late_payments FROM tillite_app WHERE app = $1",
        &[number.into()],
        &mut |row| {
            found = codec::late_payments(&row.text(0)?)?;
            Ok(())
        },
    )?;
    Ok(found)
}

const KEY_COLUMNS: &str = "SELECT id, lookup, hash, created_at, revoked_at, revision, app, mode FROM tillite_api_key";

fn key_from_row(row: &dyn Row) -> Result<ApiKey> {
    Ok(ApiKey {
        id: id(&row.text(0)?)?,
        prefix: row.text(1)?,
        hash: digest(&row.bytes(2)?)?,
        created_at: instant(row.int(3)?)?,
        revoked_at: maybe_instant(row.maybe_int(4)?)?,
        revision: row.int(5)?,
    })
}

/// The key with this public part, and its world.
pub(crate) fn key_by_lookup(sql: &mut dyn Sql, lookup: &str) -> Result<Option<(World, ApiKey)>> {
    let mut found = None;
    sql.each(
        &format!("{KEY_COLUMNS} WHERE lookup = $1"),
        &[lookup.into()],
        &mut |row| {
            let world = World {
                app: row.int(6)?,
                mode: codec::mode(row.int(7)?)?,
            };
            found = Some((world, key_from_row(row)?));
            Ok(())
        },
    )?;
    Ok(found)
}

/// Keys of a world, newest first, before one.
pub(crate) fn keys(sql: &mut dyn Sql, world: World, before: Option<&ApiKeyId>, limit: u32) -> Result<Vec<ApiKey>> {
    let of_world = format!("{KEY_COLUMNS} WHERE app = $1 AND mode = $2");
    match before {
        None => rows(
            sql,
            world,
            &of_world,
            "ORDER BY id DESC LIMIT $3",
            &[limit.into()],
            key_from_row,
        ),
        Some(before) => rows(
            sql,
            world,
            &of_world,
            "AND id < $3 ORDER BY id DESC LIMIT $4",
            &[before.as_str().into(), limit.into()],
            key_from_row,
        ),
    }
}

pub(crate) fn key(sql: &mut dyn Sql, world: World, wanted: &str) -> Result<ApiKey> {
    let mut found = None;
    sql.each(
        &format!("{KEY_COLUMNS} WHERE app = $1 AND mode = $2 AND id = $3"),
        &[world.app.into(), mode_number(world.mode).into(), wanted.into()],
        &mut |row| {
            found = Some(key_from_row(row)?);
            Ok(())
        },
    )?;
    found.ok_or_else(|| Error::NotFound {
        what: "API key",
        id: shortened(wanted),
    })
}

pub(super) fn put_key(sql: &mut dyn Sql, world: World, key: &ApiKey, before: i64) -> Result<()> {
    let revoked_at = key.revoked_at.map(Timestamp::as_millis);
    let mode = mode_number(world.mode);
    codec::one(if before == 0 {
        sql.exec(
            "INSERT INTO tillite_api_key (app, mode, id, lookup, hash, created_at, revoked_at, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                world.app.into(),
                mode.into(),
                key.id.as_str().into(),
                (&key.prefix).into(),
                (&key.hash).into(),
                key.created_at.as_millis().into(),
                revoked_at.into(),
                key.revision.into(),
            ],
        )?
    } else {
        sql.exec(
            "UPDATE tillite_api_key SET revoked_at = $1, revision = $2 \
             WHERE app = $3 AND mode = $4 AND id = $5 AND revision = $6",
            &[
                revoked_at.into(),
                key.revision.into(),
                world.app.into(),
                mode.into(),
                key.id.as_str().into(),
                before.into(),
            ],
        )?
    })
}
