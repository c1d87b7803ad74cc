//! Granting, taking back, and the passing of time.
//!
//! All three do the same: first what time alone has changed is written down, as of the instants at
//! which it changed; then the grants change; then the next version follows if anything visible did.
//! So a version that somebody read before a write is the version that the write leaves behind it.

use crate::change::{Change, Setting};
use crate::entitlement::{
    Ends, Grant, GrantSource, Holding, NewGrant, Status, Version, fold, next_instant, next_version,
};
use crate::error::{Error, Invalid};
use crate::event::{EventKind, Happening, Step, Subject};
use crate::time::{Timestamp, days};

/// What a new grant is made of.
pub(crate) struct Terms {
    pub(crate) source: GrantSource,
    pub(crate) tier: String,
    pub(crate) rank: i32,
    pub(crate) quantity: u32,
    pub(crate) limits: crate::text::Metadata,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Option<Timestamp>,
}

/// Writes down what time alone has changed.
pub(crate) fn lapse(holding: &mut Holding, at: &Setting<'_>, change: &mut Change) {
    lapse_first(holding, at, change);
    close(holding, at, change);
}

/// Adds a grant.
pub(crate) fn grant(holding: &mut Holding, terms: Terms, at: &mut Setting<'_>, change: &mut Change) -> Grant {
    lapse_first(holding, at, change);
    let newest = holding.grants.iter().map(|known| known.number).max().unwrap_or(0);
    let grant = Grant {
        id: at.id(),
        number: newest.saturating_add(1),
        source: terms.source,
        tier: terms.tier,
        rank: terms.rank,
        quantity: terms.quantity,
        limits: terms.limits,
        starts_at: terms.starts_at,
        // An end past the last representable instant is cut to it. What starts there already, at the
        // end of a row of purchases, never ends.
        ends_at: terms.ends_at.filter(|end| *end > terms.starts_at),
        revoked_at: None,
        revoke_reason: None,
        created_at: at.now,
        entitlement: holding.id.clone(),
        revision: 0,
    };
    holding.grants.push(grant.clone());
    // The version goes first: the grant's row refers to the entitlement's, which it may make.
    advance(holding, at, change);
    change.record(
        Subject::Grant(grant.clone()),
        [Happening::plain(EventKind::GrantCreated)],
    );
    if let Some(kept) = holding.grants.last_mut() {
        kept.revision += 1;
    }
    close(holding, at, change);
    grant
}

/// Takes back of what is in force or still to come what `falls`. Where there is nothing to take
/// back, only the passing of time is written down.
pub(crate) fn revoke(
    holding: &mut Holding,
    falls: impl Fn(&Grant) -> bool,
    reason: &str,
    at: &Setting<'_>,
    change: &mut Change,
) {
    lapse_first(holding, at, change);
    let mut revoked = Vec::new();
    for grant in &mut holding.grants {
        let lasts = grant.end().is_none_or(|end| at.now < end);
        if lasts && grant.revoked_at.is_none() && falls(grant) {
            grant.revoked_at = Some(at.now);
            grant.revoke_reason = Some(reason.to_owned());
            revoked.push(grant.clone());
            grant.revision += 1;
        }
    }
    advance(holding, at, change);
    for grant in revoked {
        change.record(Subject::Grant(grant), [Happening::plain(EventKind::GrantRevoked)]);
    }
    close(holding, at, change);
}

/// When a grant by hand ends.
pub(crate) fn manual_end(new: &NewGrant, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    match new.ends {
        Ends::Never => Ok(None),
        Ends::AfterDays(count) => Ok(Some(now.plus(days(count)))),
        Ends::At(end) if end > now => Ok(Some(end)),
        Ends::At(end) => Err(Invalid::new("until", end, format!("a time after {now}")).into()),
    }
}

fn lapse_first(holding: &mut Holding, at: &Setting<'_>, change: &mut Change) {
    if planted!(TimeNotFolded) {
        return;
    }
    for version in fold(holding, at.now) {
        record(holding, version, at, change);
    }
}

fn advance(holding: &mut Holding, at: &Setting<'_>, change: &mut Change) {
    if let Some(version) = next_version(holding.newest.as_ref(), &holding.grants, at.now) {
        record(holding, version, at, change);
    }
}

/// Notes how far time has been worked in, once the versions are.
fn close(holding: &mut Holding, at: &Setting<'_>, change: &mut Change) {
    holding.folded_at = at.now;
    if holding.newest.is_some() {
        change.fold(holding, at.now, next_instant(&holding.grants, at.now));
    }
}

fn record(holding: &mut Holding, version: Version, at: &Setting<'_>, change: &mut Change) {
    let before = holding
        .newest
        .as_ref()
        .map_or(Status::None, |newest| newest.content.status);
    let after = version.content.status;
    let step = Step {
        id: holding.id.clone(),
        app: at.app.to_owned(),
        uid: holding.uid.clone(),
        line: holding.line.clone(),
        version: version.clone(),
    };
    let happening = Happening::moved(kind(before, after), before.as_str(), after.as_str());
    change.record(Subject::Entitlement(Box::new(step)), [happening]);
    holding.newest = Some(version);
}

/// What an entitlement's move is called.
fn kind(before: Status, after: Status) -> EventKind {
    match (before.is_active(), after) {
        (_, Status::Expired) => EventKind::EntitlementExpired,
        (_, Status::Revoked) => EventKind::EntitlementRevoked,
        (true, _) => EventKind::EntitlementUpdated,
        (false, _) => EventKind::EntitlementGranted,
    }
}
