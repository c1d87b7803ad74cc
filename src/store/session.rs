//! Checkout sessions with their lines, payer and payment.

use super::codec::{
    self, capture, corrupt, currency, dialect, digest, id, instant, json, maybe_instant, metadata, mode_number,
    session_state, small,
};
use super::{Row, Sql, Value, customer, payment, rows};
use crate::error::{Error, Result, shortened};
use crate::id::{SessionId, World};
use crate::session::{Completion, ExpiredReason, GrantTerms, Line, Session, SessionState, Totals};
use crate::time::Timestamp;

const COLUMNS: &str = "SELECT id, dialect, state, expired_reason, customer, for_uid, email, currency, exponent, \
     subtotal, discount, tax, total, snapshot, completion, return_url, cancel_url, public_url, order_key, \
     metadata, intent, created_at, updated_at, expires_at, completed_at, revision, capture \
     FROM tillite_session WHERE app = $1 AND mode = $2";

/// A session's own columns, and the ids under which the rest of it is found.
struct Loaded {
    session: Session,
    customer: Option<String>,
    intent: Option<String>,
}

fn from_row(row: &dyn Row) -> Result<Loaded> {
    let id: SessionId = id(&row.text(0)?)?;
    let return_url = row.maybe_text(15)?;
    let completion = match (row.text(14)?.as_str(), return_url) {
        ("redirect", Some(url)) => Completion::Redirect(url),
        ("hosted_confirmation", None) => Completion::HostedConfirmation,
        _ => return Err(corrupt("a session that ends in no known way")),
    };
    let public_url = row.maybe_text(17)?;
    let session = Session {
        dialect: dialect(&row.text(1)?)?,
        state: session_state(&row.text(2)?, row.maybe_text(3)?.as_deref())?,
        customer: None,
        for_uid: row.maybe_text(5)?,
        email: row.maybe_text(6)?,
        currency: row.maybe_text(7)?.map(|code| currency(&code)).transpose()?,
        exponent: row.maybe_int(8)?.map(small).transpose()?.unwrap_or(0),
        totals: totals(row, 9)?,
        lines: Vec::new(),
        completion,
        cancel_url: row.maybe_text(16)?,
        url: public_url.as_deref().map(|base| crate::session::page_url(base, &id)),
        order_key: row.maybe_text(18)?,
        metadata: metadata(&row.text(19)?)?,
        payment_intent: None,
        created_at: instant(row.int(21)?)?,
        updated_at: instant(row.int(22)?)?,
        expires_at: instant(row.int(23)?)?,
        completed_at: maybe_instant(row.maybe_int(24)?)?,
        public_url,
        snapshot: digest(&row.bytes(13)?)?,
        revision: row.int(25)?,
        capture: capture(&row.text(26)?)?,
        id,
    };
    Ok(Loaded {
        session,
        customer: row.maybe_text(4)?,
        intent: row.maybe_text(20)?,
    })
}

fn totals(row: &dyn Row, first: usize) -> Result<Totals> {
    Ok(Totals {
        subtotal: row.int(first)?,
        discount: row.int(first + 1)?,
        tax: row.int(first + 2)?,
        total: row.int(first + 3)?,
    })
}

fn query(sql: &mut dyn Sql, world: World, rest: &str, values: &[Value<'_>]) -> Result<Vec<Session>> {
    let loaded = rows(sql, world, COLUMNS, rest, values, from_row)?;
    loaded.into_iter().map(|loaded| complete(sql, world, loaded)).collect()
}

fn complete(sql: &mut dyn Sql, world: World, loaded: Loaded) -> Result<Session> {
    let Loaded {
        mut session,
        customer,
        intent,
    } = loaded;
    session.lines = lines(sql, world, &session.id)?;
    if let Some(customer) = customer {
        session.customer = customer::by_id(sql, world, &customer)?;
    }
    if let Some(intent) = intent {
        session.payment_intent = Some(payment::intent(sql, world, &intent)?);
    }
    Ok(session)
}

fn lines(sql: &mut dyn Sql, world: World, session: &SessionId) -> Result<Vec<Line>> {
    let mut found = Vec::new();
    sql.each(
        "SELECT price, product, name, quantity, unit_amount, subtotal, discount, tax, total, tier, line, rank, \
         access_days FROM tillite_session_line WHERE app = $1 AND mode = $2 AND session = $3 ORDER BY position",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            session.as_str().into(),
        ],
        &mut |row| {
            let grants = match (row.maybe_text(9)?, row.maybe_text(10)?, row.maybe_int(11)?) {
                (Some(tier), Some(line), Some(rank)) => Some(GrantTerms {
                    tier,
                    line,
                    rank: small(rank)?,
                    days: row.maybe_int(12)?.map(small).transpose()?,
                }),
                _ => None,
            };
            found.push(Line {
                price: row.maybe_text(0)?.map(|text| id(&text)).transpose()?,
                product: row.maybe_text(1)?.map(|text| id(&text)).transpose()?,
                name: row.text(2)?,
                quantity: small(row.int(3)?)?,
                unit_amount: row.int(4)?,
                totals: totals(row, 5)?,
                grants,
            });
            Ok(())
        },
    )?;
    Ok(found)
}

/// A session as it is stored, not as time has made it since.
pub(crate) fn get(sql: &mut dyn Sql, world: World, wanted: &SessionId) -> Result<Session> {
    query(sql, world, "AND id = $3", &[wanted.as_str().into()])?
        .pop()
        .ok_or_else(|| Error::NotFound {
            what: "checkout session",
            id: shortened(wanted.as_str()),
        })
}

/// The session of an order that can be paid, is being paid or was, as it is stored.
pub(crate) fn of_order(sql: &mut dyn Sql, world: World, order: &str) -> Result<Option<Session>> {
    // The states stand here as they do in the index that keeps a second one out.
    let rest = "AND order_key = $3 AND state IN ('open', 'processing', 'complete')";
    Ok(query(sql, world, rest, &[order.into()])?.pop())
}

/// Sessions, newest first, before an id.
pub(crate) fn list(sql: &mut dyn Sql, world: World, before: Option<&SessionId>, limit: u32) -> Result<Vec<Session>> {
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

/// Open sessions whose time has passed, the longest overdue first.
pub(crate) fn overdue(sql: &mut dyn Sql, world: World, now: Timestamp, limit: u32) -> Result<Vec<SessionId>> {
    let mut found = Vec::new();
    sql.each(
        "SELECT id FROM tillite_session WHERE app = $1 AND mode = $2 AND state = 'open' AND expires_at <= $3 \
         ORDER BY expires_at, id LIMIT $4",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            now.as_millis().into(),
            limit.into(),
        ],
        &mut |row| {
            found.push(id(&row.text(0)?)?);
            Ok(())
        },
    )?;
    Ok(found)
}

/// Engine time at which the next open session expires.
pub(crate) fn next_expiry(sql: &mut dyn Sql, world: World) -> Result<Option<Timestamp>> {
    let mut found = None;
    sql.each(
        "SELECT min(expires_at) FROM tillite_session WHERE app = $1 AND mode = $2 AND state = 'open'",
        &[world.app.into(), mode_number(world.mode).into()],
        &mut |row| {
            found = maybe_instant(row.maybe_int(0)?)?;
            Ok(())
        },
    )?;
    Ok(found)
}

pub(super) fn put(sql: &mut dyn Sql, world: World, session: &Session, before: i64) -> Result<()> {
    let mode = mode_number(world.mode);
    let metadata = json(&session.metadata)?;
    let (completion, return_url) = match &session.completion {
        Completion::Redirect(url) => ("redirect", Some(url.as_str())),
        Completion::HostedConfirmation => ("hosted_confirmation", None),
    };
    let expired_reason = match session.state {
        SessionState::Expired(reason) => Some(ExpiredReason::as_str(reason)),
        _ => None,
    };
    let completed_at = session.completed_at.map(Timestamp::as_millis);
    let intent = session.payment_intent.as_ref().map(|intent| intent.id.as_str());
    let customer = session.customer.as_ref().map(|customer| customer.id.as_str());
    let code = session.currency.map(|currency| currency.to_string());
    let exponent = session.currency.map(|_| i64::from(session.exponent));
    if before == 0 {
        codec::one(sql.exec(
            "INSERT INTO tillite_session (app, mode, id, dialect, state, expired_reason, customer, for_uid, email, \
             currency, exponent, subtotal, discount, tax, total, snapshot, completion, return_url, cancel_url, \
             public_url, order_key, metadata, intent, created_at, updated_at, expires_at, completed_at, revision, capture) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
             $21, $22, $23, $24, $25, $26, $27, $28, $29)",
            &[
                world.app.into(),
                mode.into(),
                session.id.as_str().into(),
                session.dialect.as_str().into(),
                session.state.as_str().into(),
                expired_reason.into(),
                customer.into(),
                session.for_uid.as_deref().into(),
                session.email.as_deref().into(),
                code.as_deref().into(),
                exponent.into(),
                session.totals.subtotal.into(),
                session.totals.discount.into(),
                session.totals.tax.into(),
                session.totals.total.into(),
                (&session.snapshot).into(),
                completion.into(),
                return_url.into(),
                session.cancel_url.as_deref().into(),
                session.public_url.as_deref().into(),
                session.order_key.as_deref().into(),
                (&metadata).into(),
                intent.into(),
                session.created_at.as_millis().into(),
                session.updated_at.as_millis().into(),
                session.expires_at.as_millis().into(),
                completed_at.into(),
                session.revision.into(),
                session.capture.as_str().into(),
            ],
        )?)?;
        return put_lines(sql, world, session);
    }
    // Whether the lines changed is asked before the row's snapshot is written over.
    let repriced = snapshot_of(sql, world, &session.id)? != session.snapshot;
    codec::one(sql.exec(
        "UPDATE tillite_session SET state = $1, expired_reason = $2, currency = $3, exponent = $4, subtotal = $5, \
         discount = $6, tax = $7, total = $8, snapshot = $9, completion = $10, return_url = $11, cancel_url = $12, \
         metadata = $13, intent = $14, updated_at = $15, completed_at = $16, revision = $17 \
         WHERE app = $18 AND mode = $19 AND id = $20 AND revision = $21",
        &[
            session.state.as_str().into(),
            expired_reason.into(),
            code.as_deref().into(),
            exponent.into(),
            session.totals.subtotal.into(),
            session.totals.discount.into(),
            session.totals.tax.into(),
            session.totals.total.into(),
            (&session.snapshot).into(),
            completion.into(),
            return_url.into(),
            session.cancel_url.as_deref().into(),
            (&metadata).into(),
            intent.into(),
            session.updated_at.as_millis().into(),
            completed_at.into(),
            session.revision.into(),
            world.app.into(),
            mode.into(),
            session.id.as_str().into(),
            before.into(),
        ],
    )?)?;
    if repriced {
        sql.exec(
            "DELETE FROM tillite_session_line WHERE app = $1 AND mode = $2 AND session = $3",
            &[world.app.into(), mode.into(), session.id.as_str().into()],
        )?;
        put_lines(sql, world, session)?;
    }
    Ok(())
}

fn snapshot_of(sql: &mut dyn Sql, world: World, session: &SessionId) -> Result<[u8; 32]> {
    let mut found = None;
    sql.each(
        "SELECT snapshot FROM tillite_session WHERE app = $1 AND mode = $2 AND id = $3",
        &[
            world.app.into(),
            mode_number(world.mode).into(),
            session.as_str().into(),
        ],
        &mut |row| {
            found = Some(digest(&row.bytes(0)?)?);
            Ok(())
        },
    )?;
    found.ok_or_else(|| corrupt("a change of a session that is not there"))
}

fn put_lines(sql: &mut dyn Sql, world: World, session: &Session) -> Result<()> {
    for (position, line) in session.lines.iter().enumerate() {
        let grants = line.grants.as_ref();
        codec::one(sql.exec(
            "INSERT INTO tillite_session_line (app, mode, session, position, price, product, name, quantity, \
             unit_amount, subtotal, discount, tax, total, tier, line, rank, access_days) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
            &[
                world.app.into(),
                mode_number(world.mode).into(),
                session.id.as_str().into(),
                i64::try_from(position).unwrap_or(i64::MAX).into(),
                line.price.as_ref().map(crate::id::PriceId::as_str).into(),
                line.product.as_ref().map(crate::id::ProductId::as_str).into(),
                (&line.name).into(),
                line.quantity.into(),
                line.unit_amount.into(),
                line.totals.subtotal.into(),
                line.totals.discount.into(),
                line.totals.tax.into(),
                line.totals.total.into(),
                grants.map(|grants| grants.tier.as_str()).into(),
                grants.map(|grants| grants.line.as_str()).into(),
                grants.map(|grants| i64::from(grants.rank)).into(),
                grants.and_then(|grants| grants.days).into(),
            ],
        )?)?;
    }
    Ok(())
}
