use super::{App, Page, page, page_size};
use crate::catalog::MAIN_LINE;
use crate::change::{Change, Remember};
use crate::customer::MAX_UID;
use crate::decide::access;
use crate::entitlement::{Entitlement, Grant, GrantSource, Holding, NewGrant, Version, fold};
use crate::error::{Error, Invalid, Result, shortened};
use crate::store::{self, Tx, View};
use crate::text;
use crate::time::Timestamp;

/// What somebody may use, in an app and mode.
#[derive(Clone, Copy, Debug)]
pub struct Entitlements<'a>(pub(super) &'a App);

/// The scope of keys given to [`Entitlements::grant`].
const GRANT: &str = "entitlements.grant";

/// The most lines of which one uid's entitlements are listed or revoked at once.
const MAX_LINES: u32 = 100;

impl Entitlements<'_> {
    /// What a uid may use now, in the main line. Somebody who was never granted anything has tier
    /// `free`, status `none`, version 0.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn get(&self, uid: &str) -> Result<Entitlement> {
        self.get_in(uid, MAIN_LINE)
    }

    /// What a uid may use now, in one line.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn get_in(&self, uid: &str, line: &str) -> Result<Entitlement> {
        self.0.core.entitled(self.0.world, uid, line)
    }

    /// What a uid holds or held, in every line, by line; at most 100.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn list(&self, uid: &str) -> Result<Vec<Entitlement>> {
        self.0.core.view(self.0.world, |view| {
            let holdings = store::entitlement::holdings(view.sql, view.world, uid, MAX_LINES)?;
            Ok(holdings
                .iter()
                .map(|holding| holding.shown_at(&view.app, view.now))
                .collect())
        })
    }

    /// Every version of what a uid held in a line, newest first, up to `limit` (1 to 100) of a
    /// number below `before`. What time has changed and nobody stored yet is in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::Storage`].
    pub fn history(&self, uid: &str, line: &str, limit: u32, before: Option<i64>) -> Result<Page<Entitlement>> {
        let limit = page_size(limit)?;
        let before = before.unwrap_or(i64::MAX);
        self.0.core.view(self.0.world, |view| {
            let Some(holding) = store::entitlement::holding(view.sql, view.world, uid, line)? else {
                return Ok(Page {
                    data: Vec::new(),
                    has_more: false,
                });
            };
            let mut versions = fold(&holding, view.now);
            versions.reverse();
            versions.retain(|version| version.number < before);
            versions.extend(store::entitlement::versions(
                view.sql,
                view.world,
                holding.id.as_str(),
                before,
                limit + 1,
            )?);
            let shown = versions
                .iter()
                .map(|version| version.to_entitlement(&view.app, uid, line))
                .collect();
            Ok(page(shown, limit))
        })
    }

    /// What a uid could use in a line at an engine time in the past, or now.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a time after now; [`Error::Storage`].
    pub fn as_of(&self, uid: &str, line: &str, at: Timestamp) -> Result<Entitlement> {
        self.0.core.view(self.0.world, |view| {
            if at > view.now {
                return Err(Invalid::new("at", at, format!("a time up to now, {}", view.now)).into());
            }
            let Some(holding) = store::entitlement::holding(view.sql, view.world, uid, line)? else {
                return Ok(Entitlement::never(&view.app, uid, line));
            };
            let version = match fold(&holding, at).pop() {
                Some(version) => Some(version),
                None => match store::entitlement::version_at(view.sql, view.world, holding.id.as_str(), at)? {
                    Some(number) => stored(view, &holding, number)?,
                    None => None,
                },
            };
            Ok(match version {
                Some(version) => version.to_entitlement(&view.app, uid, line),
                None => Entitlement::never(&view.app, uid, line),
            })
        })
    }

    /// One version of what a uid held in a line.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such version; [`Error::Storage`].
    pub fn version(&self, uid: &str, line: &str, number: i64) -> Result<Entitlement> {
        self.0.core.view(self.0.world, |view| {
            let missing = || Error::NotFound {
                what: "entitlement version",
                id: shortened(&format!("{uid} v{number}")),
            };
            let holding = store::entitlement::holding(view.sql, view.world, uid, line)?.ok_or_else(missing)?;
            let lapsed = fold(&holding, view.now)
                .into_iter()
                .find(|version| version.number == number);
            let version = match lapsed {
                Some(version) => Some(version),
                None => stored(view, &holding, number)?,
            };
            let version = version.ok_or_else(missing)?;
            Ok(version.to_entitlement(&view.app, uid, line))
        })
    }

    /// Grants something by hand, at once. With an idempotency key the same request grants once and is
    /// answered with what the uid has by then, in the line that the grant went to; without one, each
    /// call adds a grant.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field; [`Error::NotFound`] for a tier that is not in the
    /// catalogue; [`Error::IdempotencyConflict`]; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `grant.created`, and `entitlement.granted` or `.updated` if anything visible changed.
    pub fn grant(&self, grant: NewGrant) -> Result<Entitlement> {
        let new = grant.checked()?;
        let request_hash = new.fingerprint();
        let moment = self.0.moment(GRANT)?;
        self.0.core.write(moment, move |tx| {
            if let Some(key) = &new.idempotency_key
                && let Some(grant) = store::remembered(tx, GRANT, key, &request_hash)?
            {
                let holding = store::entitlement::of_grant(tx.sql, tx.world, &grant)?;
                return Ok(holding.shown_at(&tx.app, tx.now));
            }
            let product = store::catalog::product(tx.sql, tx.world, &new.tier)?.ok_or_else(|| Error::NotFound {
                what: "tier in the catalogue",
                id: shortened(&new.tier),
            })?;
            let known = store::entitlement::holding(tx.sql, tx.world, &new.uid, &product.line)?;
            let ends_at = access::manual_end(&new, tx.now)?;
            let mut change = Change::new();
            let mut at = tx.setting();
            let mut holding = known.unwrap_or_else(|| Holding::empty(at.id(), &new.uid, &product.line, at.now));
            let terms = access::Terms {
                source: GrantSource::Manual,
                tier: product.tier.clone(),
                rank: product.rank,
                quantity: new.quantity,
                limits: new.limits.clone(),
                starts_at: at.now,
                ends_at,
            };
            let granted = access::grant(&mut holding, terms, &mut at, &mut change);
            change.remember(new.idempotency_key.clone().map(|key| Remember {
                scope: GRANT,
                key,
                request_hash,
                result: granted.id.to_string(),
            }));
            tx.apply(&change)?;
            Ok(holding.shown_at(&tx.app, tx.now))
        })
    }

    /// Takes back what a uid holds, of one tier or of all, in every line. The reason is 1 to 500
    /// characters. Answers what the uid has in each line afterwards. Idempotent by state.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `grant.revoked` per grant, and `entitlement.revoked` or `.updated` per line that changed.
    pub fn revoke(&self, uid: &str, tier: Option<&str>, reason: &str) -> Result<Vec<Entitlement>> {
        let uid = text::text("uid", uid, MAX_UID)?;
        let tier = tier.map(|tier| text::name("tier", tier, 64)).transpose()?;
        let reason = text::text("reason", reason, 500)?;
        let moment = self.0.moment("entitlements.revoke")?;
        self.0.core.write(moment, move |tx| {
            let holdings = store::entitlement::holdings(tx.sql, tx.world, &uid, MAX_LINES)?;
            let mut change = Change::new();
            let mut after = Vec::new();
            let falls = |grant: &Grant| tier.as_deref().is_none_or(|tier| tier == grant.tier);
            for mut holding in holdings {
                access::revoke(&mut holding, falls, &reason, &tx.setting(), &mut change);
                after.push(holding.shown_at(&tx.app, tx.now));
            }
            tx.apply(&change)?;
            Ok(after)
        })
    }
}

/// Writes down what time has changed in one holding.
pub(super) fn lapse(tx: &mut Tx<'_>, mut holding: Holding) -> Result<()> {
    let mut change = Change::new();
    access::lapse(&mut holding, &tx.setting(), &mut change);
    tx.apply(&change)
}

fn stored(view: &mut View<'_>, holding: &Holding, number: i64) -> Result<Option<Version>> {
    let above = number.saturating_add(1);
    let found = store::entitlement::versions(view.sql, view.world, holding.id.as_str(), above, 1)?;
    Ok(found.into_iter().find(|version| version.number == number))
}
