//! From grants to versions: pure functions of grants and time.

use super::{Grant, Holding, Status, Version};
use crate::text::Metadata;
use crate::time::Timestamp;

/// What is visible of an entitlement. Two versions in a row never have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) tier: String,
    pub(crate) status: Status,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) quantity: u32,
    pub(crate) limits: Metadata,
}

/// The versions that the passing of time up to `now` adds, oldest first. Each holds from the start
/// or end of a grant that made it; the same result comes out whoever folds, and however often.
pub(crate) fn fold(holding: &Holding, now: Timestamp) -> Vec<Version> {
    let mut newest = holding.newest.clone();
    let mut added = Vec::new();
    for at in instants(&holding.grants, holding.folded_at, now) {
        if let Some(version) = next_version(newest.as_ref(), &holding.grants, at) {
            newest = Some(version.clone());
            added.push(version);
        }
    }
    added
}

/// The version that the grants as they are make at `at`, if it differs from the newest.
pub(crate) fn next_version(newest: Option<&Version>, grants: &[Grant], at: Timestamp) -> Option<Version> {
    let content = content(grants, at)?;
    if newest.is_some_and(|newest| newest.content == content) {
        return None;
    }
    let number = newest.map_or(0, |newest| newest.number) + 1;
    Some(Version {
        number,
        content,
        changed_at: at,
    })
}

/// The next engine time after `now` at which a grant starts or ends.
pub(crate) fn next_instant(grants: &[Grant], now: Timestamp) -> Option<Timestamp> {
    instants(grants, now, Timestamp::MAX).first().copied()
}

/// Where a further grant of a tier starts that is to follow those in force: where the latest of
/// them ends, or now.
pub(crate) fn start_after_latest(grants: &[Grant], tier: &str, now: Timestamp) -> Timestamp {
    let ends = grants
        .iter()
        .filter(|grant| grant.tier == tier && grant.revoked_at.is_none())
        .map(|grant| grant.ends_at);
    // One that lasts for ever leaves nothing to follow, so the new one runs beside it.
    ends.map(|end| end.unwrap_or(now)).fold(now, Timestamp::max)
}

/// Starts and ends of grants after `from` and up to `to`, in order, each once.
fn instants(grants: &[Grant], from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let mut instants: Vec<Timestamp> = grants
        .iter()
        .flat_map(|grant| [Some(grant.starts_at), grant.end()])
        .flatten()
        .filter(|at| from < *at && *at <= to)
        .collect();
    instants.sort_unstable();
    instants.dedup();
    instants
}

/// What the grants amount to at one time; none if none has ever been in force.
fn content(grants: &[Grant], at: Timestamp) -> Option<Content> {
    match shown(grants, at) {
        Some(shown) => Some(in_force(grants, shown, at)),
        None => ended(grants, at),
    }
}

/// The grant that shows: of the highest rank, the newest among equals.
fn shown(grants: &[Grant], at: Timestamp) -> Option<&Grant> {
    grants
        .iter()
        .filter(|grant| grant.is_live(at))
        .max_by_key(|grant| (grant.rank, grant.number))
}

fn in_force(grants: &[Grant], shown: &Grant, at: Timestamp) -> Content {
    let of_tier = || grants.iter().filter(|grant| grant.tier == shown.tier);
    let live = || of_tier().filter(|grant| grant.is_live(at));
    Content {
        tier: shown.tier.clone(),
        status: Status::Active,
        expires_at: unbroken_end(live(), of_tier()),
        quantity: live().map(|grant| grant.quantity).fold(0, u32::saturating_add),
        limits: shown.limits.clone(),
    }
}

/// When grants of one tier stop to cover time without a gap: the latest end among those in force,
/// carried on by those that start before it. None: never.
fn unbroken_end<'a>(
    live: impl Iterator<Item = &'a Grant>,
    of_tier: impl Iterator<Item = &'a Grant>,
) -> Option<Timestamp> {
    let mut ends = live.map(Grant::end);
    let mut end = ends.try_fold(Timestamp::MIN, |latest, end| end.map(|end| latest.max(end)))?;
    let mut later: Vec<&Grant> = of_tier.collect();
    later.sort_by_key(|grant| grant.starts_at);
    for grant in later {
        // A grant that was taken back before it started covers nothing.
        let covers = grant.end().is_none_or(|ends| grant.starts_at < ends);
        if covers && grant.starts_at <= end {
            end = end.max(grant.end()?);
        }
    }
    Some(end)
}

/// What is left when nothing is in force: the grant that ended last says what it was and how it
/// ended. One that was taken back at the very instant at which it started has been in force: a
/// version of that instant may show it.
fn ended(grants: &[Grant], at: Timestamp) -> Option<Content> {
    let (last, end) = grants
        .iter()
        .filter_map(|grant| grant.end().map(|end| (grant, end)))
        .filter(|(grant, end)| grant.starts_at <= *end && *end <= at)
        .max_by_key(|(grant, end)| (*end, grant.rank, grant.number))?;
    let revoked = last.revoked_at == Some(end);
    Some(Content {
        tier: last.tier.clone(),
        status: if revoked { Status::Revoked } else { Status::Expired },
        expires_at: Some(end),
        quantity: last.quantity,
        limits: last.limits.clone(),
    })
}
