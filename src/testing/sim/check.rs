//! What must hold when the power is back.

use std::collections::BTreeMap;

use super::act::uid;
use super::plan::BUYERS;
use super::telling::is_heard;
use super::world::{FILE, World};
use super::{Broken, Invariant, violated};
use crate::catalog::MAIN_LINE;
use crate::engine::{App, Engine, Expect};
use crate::error::Error;

/// Holds a file that has just been opened against what the host was told.
pub(super) fn after_a_start(world: &World, engine: &Engine, app: &App) -> Result<(), Broken> {
    let mut beliefs = world.beliefs();
    let expect = beliefs
        .head
        .iter()
        .cloned()
        .fold(Expect::nothing(), Expect::journal_head);
    let report = engine.verify(&expect)?;
    if !report.is_clean() {
        return violated(Invariant::FileIsClean, format!("{:?}", report.failed));
    }
    for (id, before) in beliefs.sessions.clone() {
        let session = match app.sessions().get(&id) {
            Err(Error::NotFound { .. }) => {
                return violated(Invariant::AnswersStayTrue, format!("{id} is lost"));
            }
            found => found?,
        };
        beliefs.see_session(&session, Some(&before))?;
    }
    for id in beliefs.refunds.keys().cloned().collect::<Vec<_>>() {
        match app.refunds().get(&id) {
            Err(Error::NotFound { .. }) => {
                return violated(Invariant::AnswersStayTrue, format!("refund {id} is lost"));
            }
            found => beliefs.see_refund(&found?)?,
        }
    }
    for id in beliefs.setups.keys().cloned().collect::<Vec<_>>() {
        match app.setups().get(&id) {
            Err(Error::NotFound { .. }) => {
                return violated(Invariant::AnswersStayTrue, format!("setup {id} is lost"));
            }
            found => beliefs.see_setup(&found?)?,
        }
    }
    is_heard(app, &beliefs.told)?;
    for ((session, key), (charge, _)) in &beliefs.paid {
        let stored = app.sessions().get(session)?;
        let mut charges = stored.payment_intent.iter().flat_map(|intent| &intent.charges);
        if !charges.any(|known| known.id.to_string() == *charge) {
            return violated(
                Invariant::AnswersStayTrue,
                format!("charge {charge} of key {key} is lost"),
            );
        }
    }
    for known in beliefs.versions().cloned().collect::<Vec<_>>() {
        match app.entitlements().version(&known.uid, MAIN_LINE, known.version) {
            Ok(stored) if stored == known => {}
            found => {
                return violated(Invariant::VersionsHaveOneContent, format!("{known:?} is {found:?}"));
            }
        }
    }
    for buyer in 0..BUYERS {
        let newest = beliefs.newest.get(&uid(buyer)).copied().unwrap_or(0);
        let held = app.entitlements().get(&uid(buyer))?;
        beliefs.see_entitlement(&held, newest)?;
    }
    let before = beliefs.now;
    beliefs.see_time(app.now()?, before)?;
    beliefs.head = Some(app.journal_head()?);
    drop(beliefs);
    in_the_log(world)?;
    charged_once(world)
}

/// The file says of itself that it is used with a write-ahead log, for reading and for writing.
fn in_the_log(world: &World) -> Result<(), Broken> {
    let file = world.disk.file(FILE).unwrap_or_default();
    if file.get(18..20) == Some(&[2, 2]) {
        return Ok(());
    }
    violated(Invariant::FileHasItsLog, format!("{:?}", file.get(18..20)))
}

/// No two charges that the service was asked for are for one session.
fn charged_once(world: &World) -> Result<(), Broken> {
    let mut by_session: BTreeMap<String, usize> = BTreeMap::new();
    let asked_for = world.till.charges().into_iter().filter(|taken| !taken.is_again());
    for taken in asked_for {
        *by_session.entry(taken.session).or_default() += 1;
    }
    match by_session.iter().find(|(_, count)| **count > 1) {
        Some((session, count)) => violated(Invariant::ChargedOnce, format!("{session} was charged {count} times")),
        None => Ok(()),
    }
}
