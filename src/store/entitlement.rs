//! Entitlements, their versions, and the grants behind them.

use super::codec::{self, corrupt, id, instant, json, maybe_instant, metadata, mode_number, small, status};
use super::head::{self, Head};
use super::{Row, Sql, Value, rows};
use crate::change::Folded;
use crate::entitlement::{Content, Grant, GrantSource, Holding, Version};
use crate::error::Result;
use crate::event::Step;
use crate::id::World;
use crate::time::Timestamp;

const HOLDING: &str = "SELECT id, uid, line, version, tier, status, expires_at, quantity, limits, changed_at, folded_at \
                       FROM tillite_entitlement WHERE app = $1 AND mode = $2";

fn content(row: &dyn Row, first: usize) -> Result<Content> {
    Ok(Content {
        tier: row.text(first)?,
        status: status(row.str(first + 1)?)?,
        expires_at: maybe_instant(row.maybe_int(first + 2)?)?,
        quantity: small(row.int(first + 3)?)?,
        limits: metadata(row.str(first + 4)?)?,
    })
}

fn holding_from_row(row: &dyn Row) -> Result<Holding> {
    Ok(Holding {
        id: id(row.str(0)?)?,
        uid: row.text(1)?,
        line: row.text(2)?,
        newest: Some(Version {
            number: row.int(3)?,
            content: content(row, 4)?,
            changed_at: instant(row.int(9)?)?,
        }),
        folded_at: instant(row.int(10)?)?,
        grants: Vec::new(),
    })
}

fn query(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Holding>> {
    let mut found = rows(sql, world, HOLDING, rest, values, holding_from_row)?;
    for holding in &mut found {
        holding.grants = grants(sql, world, holding.id.as_str())?;
    }
    Ok(found)
}

/// What a uid holds in one line.
pub(crate) fn holding(sql: &mut dyn Sql, world: World, uid: &str, line: &str) -> Result<Option<Holding>> {
    Ok(query(sql, world, "AND uid = $3 AND line = $4", &[uid.into(), line.into()])?.pop())
}

/// What a grant counts towards.
pub(crate) fn of_grant(sql: &mut dyn Sql, world: World, grant: &str) -> Result<Holding> {
    let rest = "AND id = (SELECT entitlement FROM tillite_grant WHERE app = $1 AND mode = $2 AND id = $3)";
    query(sql, world, rest, &[grant.into()])?
        .pop()
        .ok_or_else(|| corrupt("a key that stands for a grant that is not there"))
}

/// What is stored of one uid and line, and the head of its world, at one state of the file.
pub(super) struct Stored {
    pub(super) head: Head,
    /// None: nothing was ever granted.
    pub(super) newest: Option<Version>,
    /// Engine time at which a grant starts or ends that the newest version does not show.
    pub(super) next_at: Option<Timestamp>,
}

/// What is stored of what a uid holds in one line, but for the grants; none if the world is not
/// there as it should be. One statement, so it needs no transaction to be of one state.
pub(super) fn stored(sql: &mut dyn Sql, world: World, uid: &str, line: &str) -> Result<Option<Stored>> {
    let mut found = None;
    sql.each(
        "SELECT s.version, now, clock_offset, seq, \
         e.version, tier, status, expires_at, quantity, limits, changed_at, next_at \
         FROM tillite_schema AS s CROSS JOIN tillite_head AS h LEFT JOIN tillite_entitlement AS e \
         ON e.app = h.app AND e.mode = h.mode AND uid = $1 AND line = $2 WHERE h.app = $3 AND h.mode = $4",
        &[
            uid.into(),
            line.into(),
            world.app.into(),
            mode_number(world.mode).into(),
        ],
        &mut |row| {
            head::check_version(row.int(0)?)?;
            let version = |number| -> Result<Version> {
                Ok(Version {
                    number,
                    content: content(row, 5)?,
                    changed_at: instant(row.int(10)?)?,
                })
            };
            found = Some(Stored {
                head: Head::from_row(row, 1)?,
                newest: row.maybe_int(4)?.map(version).transpose()?,
                next_at: maybe_instant(row.maybe_int(11)?)?,
            });
            Ok(())
        },
    )?;
    Ok(found)
}

/// What a uid holds in all lines, by line.
pub(crate) fn holdings(sql: &mut dyn Sql, world: World, uid: &str, limit: u32) -> Result<Vec<Holding>> {
    query(
        sql,
        world,
        "AND uid = $3 ORDER BY line LIMIT $4",
        &[uid.into(), limit.into()],
    )
}

/// Holdings in which a grant has started or ended that no version shows yet.
pub(crate) fn lapsed(sql: &mut dyn Sql, world: World, now: Timestamp, limit: u32) -> Result<Vec<Holding>> {
    query(
        sql,
        world,
        "AND next_at <= $3 ORDER BY next_at, id LIMIT $4",
        &[now.as_millis().into(), limit.into()],
    )
}

/// Engine time at which the next grant starts or ends.
pub(crate) fn next_lapse(sql: &mut dyn Sql, world: World) -> Result<Option<Timestamp>> {
    let mut found = None;
    sql.each(
        "SELECT min(next_at) FROM tillite_entitlement WHERE app = $1 AND mode = $2 AND next_at IS NOT NULL",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            found = maybe_instant(row.maybe_int(0)?)?;
            Ok(())
        },
    )?;
    Ok(found)
}

fn grants(sql: &mut dyn Sql, world: World, entitlement: &str) -> Result<Vec<Grant>> {
    let mut found = Vec::new();
    sql.each(
        "SELECT id, entitlement, source, source_id, tier, rank, quantity, limits, starts_at, ends_at, revoked_at, \
         revoke_reason, created_at, revision, number FROM tillite_grant \
         WHERE app = $1 AND mode = $2 AND entitlement = $3 ORDER BY number",
        &[world.app.into(), mode_number(world.mode).into(), entitlement.into()],
        &mut |row| {
            let source = match row.str(2)? {
                "sale" => GrantSource::Sale(row.text(3)?),
                "manual" => GrantSource::Manual,
                _ => return Err(corrupt("a grant from an unknown source")),
            };
            found.push(Grant {
                id: id(row.str(0)?)?,
                entitlement: id(row.str(1)?)?,
                source,
                tier: row.text(4)?,
                rank: small(row.int(5)?)?,
                quantity: small(row.int(6)?)?,
                limits: metadata(row.str(7)?)?,
                starts_at: instant(row.int(8)?)?,
                ends_at: maybe_instant(row.maybe_int(9)?)?,
                revoked_at: maybe_instant(row.maybe_int(10)?)?,
                revoke_reason: row.maybe_text(11)?,
                created_at: instant(row.int(12)?)?,
                revision: row.int(13)?,
                number: small(row.int(14)?)?,
            });
            Ok(())
        },
    )?;
    Ok(found)
}

/// Stored versions of an entitlement, newest first, of a number below `before`.
pub(crate) fn versions(
    sql: &mut dyn Sql,
    world: World,
    entitlement: &str,
    before: i64,
    limit: u32,
) -> Result<Vec<Version>> {
    let mut found = Vec::new();
    sql.each(
        "SELECT version, tier, status, expires_at, quantity, limits, changed_at FROM tillite_entitlement_version \
         WHERE app = $1 AND mode = $2 AND entitlement = $3 AND version < $4 ORDER BY version DESC LIMIT $5",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            entitlement.into(),
            before.into(),
            limit.into(),
        ],
        &mut |row| {
            found.push(Version {
                number: row.int(0)?,
                content: content(row, 1)?,
                changed_at: instant(row.int(6)?)?,
            });
            Ok(())
        },
    )?;
    Ok(found)
}

/// The number of the newest stored version that held at an engine time.
pub(crate) fn version_at(sql: &mut dyn Sql, world: World, entitlement: &str, at: Timestamp) -> Result<Option<i64>> {
    let mut found = None;
    sql.each(
        "SELECT max(version) FROM tillite_entitlement_version \
         WHERE app = $1 AND mode = $2 AND entitlement = $3 AND changed_at <= $4",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            entitlement.into(),
            at.as_millis().into(),
        ],
        &mut |row| {
            found = row.maybe_int(0)?;
            Ok(())
        },
    )?;
    Ok(found)
}

/// Writes a version: its own row, and the entitlement's row as it now stands.
pub(super) fn put_step(sql: &mut dyn Sql, world: World, step: &Step) -> Result<()> {
    let Version {
        number,
        content,
        changed_at,
    } = &step.version;
    let mode = mode_number(world.mode);
    let limits = json(&content.limits)?;
    let expires_at = content.expires_at.map(Timestamp::as_millis);
    let before = number - 1;
    codec::one(if before == 0 {
        sql.exec(
            "INSERT INTO tillite_entitlement (app, mode, id, uid, line, tier, status, expires_at, quantity, limits, \
             version, changed_at, folded_at, next_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, NULL)",
            &[
                world.app.into(),
                mode.into(),
                step.id.as_str().into(),
                (&step.uid).into(),
                (&step.line).into(),
                (&content.tier).into(),
                content.status.as_str().into(),
                expires_at.into(),
                content.quantity.into(),
                (&limits).into(),
                (*number).into(),
                changed_at.as_millis().into(),
                changed_at.as_millis().into(),
            ],
        )?
    } else {
        sql.exec(
            "UPDATE tillite_entitlement SET tier = $1, status = $2, expires_at = $3, quantity = $4, limits = $5, \
             version = $6, changed_at = $7 WHERE app = $8 AND mode = $9 AND id = $10 AND version = $11",
            &[
                (&content.tier).into(),
                content.status.as_str().into(),
                expires_at.into(),
                content.quantity.into(),
                (&limits).into(),
                (*number).into(),
                changed_at.as_millis().into(),
                world.app.into(),
                mode.into(),
                step.id.as_str().into(),
                before.into(),
            ],
        )?
    })?;
    codec::one(sql.exec(
        "INSERT INTO tillite_entitlement_version (app, mode, entitlement, version, tier, status, expires_at, \
         quantity, limits, changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            world.app.into(),
            mode.into(),
            step.id.as_str().into(),
            (*number).into(),
            (&content.tier).into(),
            content.status.as_str().into(),
            expires_at.into(),
            content.quantity.into(),
            (&limits).into(),
            changed_at.as_millis().into(),
        ],
    )?)
}

pub(super) fn put_folded(sql: &mut dyn Sql, world: World, folded: &Folded) -> Result<()> {
    codec::one(sql.exec(
        "UPDATE tillite_entitlement SET folded_at = $1, next_at = $2 WHERE app = $3 AND mode = $4 AND id = $5",
        &[
            folded.until.as_millis().into(),
            folded.next_at.map(Timestamp::as_millis).into(),
            world.app.into(),
            mode_number(world.mode).into(),
            (&folded.entitlement).into(),
        ],
    )?)
}

pub(super) fn put_grant(sql: &mut dyn Sql, world: World, grant: &Grant, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let limits = json(&grant.limits)?;
    let revoked_at = grant.revoked_at.map(Timestamp::as_millis);
    let source_id = match &grant.source {
        GrantSource::Sale(line) => line.as_str(),
        GrantSource::Manual => grant.id.as_str(),
    };
    codec::one(if before == 0 {
        sql.exec(
            "INSERT INTO tillite_grant (app, mode, id, entitlement, number, source, source_id, tier, rank, quantity, limits, \
             starts_at, ends_at, revoked_at, revoke_reason, created_at, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
            &[
                world.app.into(),
                mode.into(),
                grant.id.as_str().into(),
                grant.entitlement.as_str().into(),
                grant.number.into(),
                grant.source.as_str().into(),
                source_id.into(),
                (&grant.tier).into(),
                i64::from(grant.rank).into(),
                grant.quantity.into(),
                (&limits).into(),
                grant.starts_at.as_millis().into(),
                grant.ends_at.map(Timestamp::as_millis).into(),
                revoked_at.into(),
                grant.revoke_reason.as_deref().into(),
                grant.created_at.as_millis().into(),
                grant.revision.into(),
            ],
        )?
    } else {
        sql.exec(
            "UPDATE tillite_grant SET revoked_at = $1, revoke_reason = $2, revision = $3 \
             WHERE app = $4 AND mode = $5 AND id = $6 AND revision = $7",
            &[
                revoked_at.into(),
                grant.revoke_reason.as_deref().into(),
                grant.revision.into(),
                world.app.into(),
                mode.into(),
                grant.id.as_str().into(),
                before.into(),
            ],
        )?
    })
}
