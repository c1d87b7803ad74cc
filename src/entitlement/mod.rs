//! What somebody may use: a versioned view over grants.
//!
//! A *grant* is one reason why somebody may use a tier: a purchase, or a decision by hand. An
//! *entitlement* is what all grants of one uid and line together amount to: the tier of the
//! highest-ranked grant in force. Each visible change makes the next version; versions have no
//! gaps, are never changed, and can be read back by number or by time. A grant's end needs no
//! daemon: whoever reads after it sees the version that storing it will make.

mod fold;
mod input;

pub(crate) use fold::{Content, fold, next_instant, next_version, start_after_latest};
pub(crate) use input::Ends;
pub use input::NewGrant;

use crate::id::{EntitlementId, GrantId, SessionId};
use crate::text::Metadata;
use crate::time::Timestamp;

/// What somebody may use in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entitlement {
    /// The app's slug.
    pub app: String,
    /// The host's own name for whom it is.
    pub uid: String,
    /// The line.
    pub line: String,
    /// The tier; the last one after it ended; `free` if there never was one.
    pub tier: String,
    /// Where it stands.
    pub status: Status,
    /// Whether the tier may be used now.
    pub active: bool,
    /// Engine time at which it ends or ended; none: never.
    pub expires_at: Option<Timestamp>,
    /// How many, summed over the grants that show.
    pub quantity: u32,
    /// What the tier allows, as it was granted.
    pub limits: Metadata,
    /// Grows by one with each visible change; 0 if there never was one.
    pub version: i64,
    /// Engine time from which this version holds.
    pub changed_at: Option<Timestamp>,
}

/// Where an entitlement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// There never was one.
    None,
    /// In force.
    Active,
    /// In force until it expires; it will not be renewed.
    Cancelled,
    /// In force although a payment is overdue.
    Grace,
    /// Its time passed.
    Expired,
    /// It was taken back.
    Revoked,
}

impl Status {
    /// The statuses that are stored; `None` is the absence of a row.
    pub(crate) const STORED: [Status; 5] = [
        Status::Active,
        Status::Cancelled,
        Status::Grace,
        Status::Expired,
        Status::Revoked,
    ];

    /// The status as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::None => "none",
            Status::Active => "active",
            Status::Cancelled => "cancelled",
            Status::Grace => "grace",
            Status::Expired => "expired",
            Status::Revoked => "revoked",
        }
    }

    /// Whether what is entitled may be used.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Status::Active | Status::Cancelled | Status::Grace)
    }
}

/// One reason why somebody may use something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The grant's id.
    pub id: GrantId,
    /// 1 for the entitlement's first grant; the newest has the highest.
    pub number: u32,
    /// Where it comes from.
    pub source: GrantSource,
    /// The tier.
    pub tier: String,
    /// The tier's rank when it was granted.
    pub rank: i32,
    /// How many.
    pub quantity: u32,
    /// What the tier allows.
    pub limits: Metadata,
    /// Engine time.
    pub starts_at: Timestamp,
    /// Engine time, exclusive; none: for ever.
    pub ends_at: Option<Timestamp>,
    /// Engine time from which it no longer counts.
    pub revoked_at: Option<Timestamp>,
    /// Why it was taken back.
    pub revoke_reason: Option<String>,
    /// Engine time.
    pub created_at: Timestamp,
    pub(crate) entitlement: EntitlementId,
    pub(crate) revision: i64,
}

impl Grant {
    /// The engine time at which it stops to count; none: never.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        match (self.ends_at, self.revoked_at) {
            (Some(end), Some(revoked)) => Some(end.min(revoked)),
            (end, revoked) => end.or(revoked),
        }
    }

    /// Whether it counts at this engine time.
    pub(crate) fn is_live(&self, at: Timestamp) -> bool {
        self.starts_at <= at && self.end().is_none_or(|end| at < end)
    }
}

/// Where a grant comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GrantSource {
    /// A line of a paid checkout session: `cs_test_…:0`.
    Sale(String),
    /// A decision by hand.
    Manual,
}

impl GrantSource {
    /// The sale of a session's line.
    pub(crate) fn of_line(session: &SessionId, position: usize) -> GrantSource {
        GrantSource::Sale(format!("{session}:{position}"))
    }

    /// The kind of source.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            GrantSource::Sale(_) => "sale",
            GrantSource::Manual => "manual",
        }
    }
}

/// The stored entitlement of one uid and line, and the grants behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) id: EntitlementId,
    pub(crate) uid: String,
    pub(crate) line: String,
    /// The newest stored version; none before the first.
    pub(crate) newest: Option<Version>,
    /// Engine time up to which starts and ends of grants are in the versions.
    pub(crate) folded_at: Timestamp,
    pub(crate) grants: Vec<Grant>,
}

/// One version of an entitlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) number: i64,
    pub(crate) content: Content,
    /// Engine time from which it holds.
    pub(crate) changed_at: Timestamp,
}

impl Holding {
    /// The holding of somebody who was never granted anything.
    pub(crate) fn empty(id: EntitlementId, uid: &str, line: &str, now: Timestamp) -> Holding {
        Holding {
            id,
            uid: uid.to_owned(),
            line: line.to_owned(),
            newest: None,
            folded_at: now,
            grants: Vec::new(),
        }
    }

    /// The version at an engine time, whether or not what time changed is stored yet.
    pub(crate) fn version_at(&self, now: Timestamp) -> Option<Version> {
        fold(self, now).pop().or_else(|| self.newest.clone())
    }

    /// What it shows at an engine time.
    pub(crate) fn shown_at(&self, app: &str, now: Timestamp) -> Entitlement {
        match self.version_at(now) {
            Some(version) => version.to_entitlement(app, &self.uid, &self.line),
            None => Entitlement::never(app, &self.uid, &self.line),
        }
    }
}

impl Version {
    pub(crate) fn to_entitlement(&self, app: &str, uid: &str, line: &str) -> Entitlement {
        Entitlement {
            app: app.to_owned(),
            uid: uid.to_owned(),
            line: line.to_owned(),
            tier: self.content.tier.clone(),
            status: self.content.status,
            active: self.content.status.is_active(),
            expires_at: self.content.expires_at,
            quantity: self.content.quantity,
            limits: self.content.limits.clone(),
            version: self.number,
            changed_at: Some(self.changed_at),
        }
    }
}

impl Entitlement {
    /// What somebody has who was never granted anything: `free`, `none`, version 0.
    pub(crate) fn never(app: &str, uid: &str, line: &str) -> Entitlement {
        Entitlement {
            app: app.to_owned(),
            uid: uid.to_owned(),
            line: line.to_owned(),
            tier: "free".to_owned(),
            status: Status::None,
            active: false,
            expires_at: None,
            quantity: 0,
            limits: Metadata::default(),
            version: 0,
            changed_at: None,
        }
    }
}

#[cfg(test)]
mod tests;
