//! Idempotency keys: what was answered under each, and until when that is known.

use super::codec::{self, instant, mode_number};
use super::head::Tx;
use super::{Looked, Sql};
use crate::change::Remember;
use crate::error::{Error, Result, shortened};
use crate::id::World;
use crate::time::Timestamp;

/// How much longer a key is kept that names something in flight.
const ANOTHER: std::time::Duration = crate::time::days(1);

/// What was answered under an idempotency key before, if it was used.
///
/// # Errors
/// `IdempotencyConflict` if it was used with other parameters.
pub(crate) fn remembered(tx: &mut Tx<'_>, scope: &str, key: &str, request_hash: &[u8; 32]) -> Result<Option<String>> {
    let mut found = None;
    tx.sql.each(
        "SELECT request_hash, result FROM tillite_idempotency WHERE app = $1 AND mode = $2 AND scope = $3 AND key = $4",
        &[
            tx.world.app.into(),
            mode_number(tx.world.mode).into(),
            scope.into(),
            key.into(),
        ],
        &mut |row| {
            found = Some((codec::digest(&row.bytes(0)?)?, row.text(1)?));
            Ok(())
        },
    )?;
    match found {
        Some((hash, result)) if hash == *request_hash || planted!(KeyNotCompared) => Ok(Some(result)),
        Some(_) => Err(Error::IdempotencyConflict { key: shortened(key) }),
        None => Ok(None),
    }
}

pub(super) fn put(tx: &mut Tx<'_>, remember: &Remember) -> Result<()> {
    codec::one(tx.sql.exec(
        "INSERT INTO tillite_idempotency (app, mode, scope, key, request_hash, result, created_at, keep_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            tx.world.app.into(),
            mode_number(tx.world.mode).into(),
            remember.scope.into(),
            (&remember.key).into(),
            (&remember.request_hash).into(),
            (&remember.result).into(),
            tx.host_now.as_millis().into(),
            tx.host_now.plus(tx.keep_keys).as_millis().into(),
        ],
    )?)
}

/// Forgets keys whose time is over by the host's clock, the longest over first, and looks at no more than `limit`. One
/// that names a charge, refund or setup whose outcome is awaited, or a session that can be paid or is being
/// paid, is kept on: it is all that ties a caller who asks again to what could be paid twice otherwise.
pub(crate) fn forget(
    sql: &mut dyn Sql,
    world: World,
    host_now: Timestamp,
    now: Timestamp,
    limit: u32,
) -> Result<Looked> {
    let (app, mode) = (world.app, mode_number(world.mode));
    let mut ended = Vec::new();
    sql.each(
        "SELECT i.scope, i.key, coalesce(c.id, r.id, s.id, u.id) FROM tillite_idempotency i LEFT JOIN tillite_charge c \
         ON c.app = i.app AND c.mode = i.mode AND c.id = i.result \
         AND c.state IN ('initiated', 'unknown', 'pending', 'requires_action', 'authorized') \
         LEFT JOIN tillite_refund r ON r.app = i.app AND r.mode = i.mode AND r.id = i.result \
         AND r.state IN ('pending', 'unknown') \
         LEFT JOIN tillite_setup u ON u.app = i.app AND u.mode = i.mode AND u.id = i.result \
         AND u.state IN ('initiated', 'unknown', 'pending', 'requires_action') \
         LEFT JOIN tillite_session s ON s.app = i.app AND s.mode = i.mode AND s.id = i.result \
         AND (s.state = 'processing' OR s.state = 'open' AND s.expires_at > $1) \
         WHERE i.app = $2 AND i.mode = $3 AND i.keep_until <= $4 ORDER BY i.keep_until LIMIT $5",
        &[
            now.as_millis().into(),
            app.into(),
            mode.into(),
            host_now.as_millis().into(),
            limit.into(),
        ],
        &mut |row| {
            ended.push((row.text(0)?, row.text(1)?, row.maybe_text(2)?.is_some()));
            Ok(())
        },
    )?;
    let mut looked = Looked::default();
    for (scope, key, awaited) in &ended {
        looked.rows += 1;
        if *awaited {
            codec::one(sql.exec(
                "UPDATE tillite_idempotency SET keep_until = $1 \
                 WHERE app = $2 AND mode = $3 AND scope = $4 AND key = $5",
                &[
                    host_now.plus(ANOTHER).as_millis().into(),
                    app.into(),
                    mode.into(),
                    scope.into(),
                    key.into(),
                ],
            )?)?;
        } else {
            codec::one(sql.exec(
                "DELETE FROM tillite_idempotency WHERE app = $1 AND mode = $2 AND scope = $3 AND key = $4",
                &[app.into(), mode.into(), scope.into(), key.into()],
            )?)?;
            looked.gone += 1;
        }
    }
    Ok(looked)
}

/// Host time at which the next key may be forgotten.
pub(crate) fn next_end(sql: &mut dyn Sql, world: World) -> Result<Option<Timestamp>> {
    let mut found = None;
    sql.each(
        "SELECT keep_until FROM tillite_idempotency WHERE app = $1 AND mode = $2 ORDER BY keep_until LIMIT 1",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            found = Some(instant(row.int(0)?)?);
            Ok(())
        },
    )?;
    Ok(found)
}
