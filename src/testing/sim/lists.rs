//! Paging through everything while others write.

use std::collections::BTreeMap;

use super::act::{Host, Seen, uid};
use super::{Invariant, violated};
use crate::catalog::MAIN_LINE;
use crate::engine::Page;
use crate::entitlement::Entitlement;
use crate::error::Result;
use crate::event::Event;
use crate::session::Session;
use crate::webhook::DeliveryFilter;
use crate::webhook::{Delivery, DeliveryState};

const WHOLE: Invariant = Invariant::ListsAreWhole;

impl Host<'_> {
    /// All sessions: each is there once, in order, and none is missing that was answered before.
    pub(super) fn page(&self, size: u32) -> Seen {
        let believed = self.world.beliefs().sessions.clone();
        let pages = all(|last: Option<&Session>| self.app.sessions().list(size, last.map(|session| &session.id)));
        self.answered(pages, |found| {
            if !found.windows(2).all(|pair| pair[0].id > pair[1].id) {
                return violated(WHOLE, "sessions are out of order".to_owned());
            }
            let mut ids = found.iter().map(|session| &session.id).collect::<Vec<_>>();
            ids.sort_unstable();
            if let Some(missing) = believed.keys().find(|id| ids.binary_search(id).is_err()) {
                return violated(WHOLE, format!("{missing} is missing"));
            }
            let mut beliefs = self.world.beliefs();
            for session in &found {
                beliefs.see_session(session, believed.get(&session.id))?;
            }
            Ok(format!("{} sessions", found.len()))
        })
    }

    /// All events: positions without a gap, those seen before as they were.
    pub(super) fn journal(&self, size: u32) -> Seen {
        let known = self.world.beliefs().journal.len();
        let pages = all(|last: Option<&Event>| self.app.events(size, last.map_or(0, |event| event.position)));
        self.answered(pages, |found| {
            if found.len() < known {
                return violated(WHOLE, format!("{} events after {known}", found.len()));
            }
            self.world.beliefs().see_journal(&found)?;
            Ok(format!("{} events", found.len()))
        })
    }

    /// All deliveries: each is there once, none is missing that was seen before, and what was
    /// delivered stays so.
    pub(super) fn deliveries(&self, size: u32) -> Seen {
        let believed = self.world.beliefs().deliveries.clone();
        let pages = all(|last: Option<&Delivery>| {
            let before = last.map(|delivery| &delivery.id);
            self.app.deliveries().list(&DeliveryFilter::all(), size, before)
        });
        self.answered(pages, |found| {
            if !found.windows(2).all(|pair| pair[0].id > pair[1].id) {
                return violated(WHOLE, "deliveries are out of order".to_owned());
            }
            let now = found.iter().map(|delivery| (&delivery.id, delivery.state));
            let now: BTreeMap<_, _> = now.collect();
            for (id, before) in &believed {
                match now.get(id) {
                    None => return violated(WHOLE, format!("{id} is missing")),
                    Some(state) if *before == DeliveryState::Delivered && state != before => {
                        return violated(Invariant::DeliveredStays, format!("{id} is {state:?}"));
                    }
                    Some(_) => {}
                }
            }
            let mut beliefs = self.world.beliefs();
            for delivery in &found {
                beliefs.see_delivery(delivery);
            }
            Ok(format!("{} deliveries", found.len()))
        })
    }

    /// All versions of what a buyer may use: the newest first, without a gap, each as it was seen.
    pub(super) fn history(&self, buyer: u64, size: u32) -> Seen {
        let uid = uid(buyer);
        let newest = self.world.beliefs().newest.get(&uid).copied().unwrap_or(0);
        let pages = all(|last: Option<&Entitlement>| {
            let before = last.map(|version| version.version);
            self.app.entitlements().history(&uid, MAIN_LINE, size, before)
        });
        self.answered(pages, |found| {
            let numbers = found.iter().rev().map(|version| version.version);
            if !numbers.eq(1..=i64::try_from(found.len()).unwrap_or(0)) {
                return violated(Invariant::VersionsHaveNoGaps, format!("{found:?}"));
            }
            if i64::try_from(found.len()).unwrap_or(0) < newest {
                return violated(WHOLE, format!("{} versions after {newest}", found.len()));
            }
            let mut beliefs = self.world.beliefs();
            for version in &found {
                beliefs.see_version(version)?;
            }
            Ok(format!("{} versions", found.len()))
        })
    }
}

/// Everything of a list, page by page.
pub(super) fn all<T>(mut page: impl FnMut(Option<&T>) -> Result<Page<T>>) -> Result<Vec<T>> {
    let mut found = Vec::new();
    loop {
        let next = page(found.last())?;
        found.extend(next.data);
        if !next.has_more {
            return Ok(found);
        }
    }
}
