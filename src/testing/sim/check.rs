//! What must hold when the power is back, and when everything has come to rest.

use std::collections::BTreeMap;
use std::time::Duration;

use super::act::uid;
use super::plan::{BUYERS, Goods};
use super::world::World;
use super::{Broken, violated};
use crate::catalog::MAIN_LINE;
use crate::engine::{App, Budget, Engine, Expect};
use crate::error::Error;
use crate::hook::Clock as _;
use crate::session::{Session, SessionState};
use crate::webhook::DeliveryState;

/// How long a world takes to come to rest, in host time: short of what makes idempotency keys old.
const REST: Duration = Duration::from_secs(3 * 86_400);

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
        return violated("I11 every invariant of the file", format!("{:?}", report.failed));
    }
    for (id, before) in beliefs.sessions.clone() {
        let session = match app.sessions().get(&id) {
            Err(Error::NotFound { .. }) => {
                return violated("I1 an answer stays true", format!("{id} is lost"));
            }
            found => found?,
        };
        beliefs.see_session(&session, Some(&before))?;
    }
    for ((session, key), (charge, _)) in &beliefs.paid {
        let stored = app.sessions().get(session)?;
        let mut charges = stored.payment_intent.iter().flat_map(|intent| &intent.charges);
        if !charges.any(|known| known.id.to_string() == *charge) {
            return violated(
                "I1 an answer stays true",
                format!("charge {charge} of key {key} is lost"),
            );
        }
    }
    for known in beliefs.versions().cloned().collect::<Vec<_>>() {
        match app.entitlements().version(&known.uid, MAIN_LINE, known.version) {
            Ok(stored) if stored == known => {}
            found => {
                return violated("I7 a version is repeatable", format!("{known:?} is {found:?}"));
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
    charged_once(world)
}

/// No two charges of the service are for one session.
fn charged_once(world: &World) -> Result<(), Broken> {
    let mut by_session: BTreeMap<String, usize> = BTreeMap::new();
    for taken in world.till.charges() {
        *by_session.entry(taken.session).or_default() += 1;
    }
    match by_session.iter().find(|(_, count)| **count > 1) {
        Some((session, count)) => violated(
            "I2 nobody is charged twice",
            format!("{session} was charged {count} times"),
        ),
        None => Ok(()),
    }
}

/// Lets everything come to rest that is due, and holds what is left against the service's ledger and
/// the receiver's list.
pub(super) fn at_rest(world: &World, engine: &Engine, app: &App) -> Result<(), Broken> {
    let until = world.clock.now().plus(REST);
    let mut rounds = 0;
    loop {
        rounds += 1;
        if rounds > 2_000 {
            return violated(
                "I4 nobody stays in flight",
                "there is always more that is due".to_owned(),
            );
        }
        if engine.run_due(Budget::items(1_000))?.total() > 0 {
            continue;
        }
        match engine.next_due()? {
            Some(due) if due <= until => world
                .clock
                .turn(due.since(world.clock.now()).max(Duration::from_millis(1))),
            _ => break,
        }
    }
    after_a_start(world, engine, app)?;
    let sessions = all_sessions(app)?;
    let charged = world.till.charges();
    for session in &sessions {
        if session.state == SessionState::Processing {
            return violated("I4 nobody stays in flight", format!("{} is processing", session.id));
        }
        let taken: Vec<_> = charged
            .iter()
            .filter(|taken| taken.session == session.id.to_string())
            .collect();
        let captured: i64 = session
            .payment_intent
            .iter()
            .flat_map(|intent| &intent.charges)
            .map(|charge| charge.captured)
            .sum();
        let sum: i64 = taken.iter().map(|taken| taken.amount).sum();
        if captured != sum {
            let what = format!("{} has {captured}, the service took {sum}", session.id);
            return violated("I2 rows are the service's ledger", what);
        }
        if session.is_complete() != (sum > 0 || session.is_complete() && session.totals.total == 0) {
            return violated(
                "I2 rows are the service's ledger",
                format!("{} is {:?} for {sum}", session.id, session.state),
            );
        }
    }
    if let Some(stranger) = charged
        .iter()
        .find(|taken| !sessions.iter().any(|session| session.id.to_string() == taken.session))
    {
        return violated(
            "I2 rows are the service's ledger",
            format!("nobody knows of {stranger:?}"),
        );
    }
    deliveries(world, app)?;
    keys_answer_again(world, app)
}

fn all_sessions(app: &App) -> Result<Vec<Session>, Broken> {
    let mut found: Vec<Session> = Vec::new();
    loop {
        let before = found.last().map(|last| last.id.clone());
        let page = app.sessions().list(100, before.as_ref())?;
        found.extend(page.data);
        if !page.has_more {
            return Ok(found);
        }
    }
}

/// Every delivery has ended, and what was delivered has reached the receiver with a good signature.
fn deliveries(world: &World, app: &App) -> Result<(), Broken> {
    let received = world.receiver.received();
    if received.unsigned > 0 {
        return violated("I6 signatures are good", format!("{} were not", received.unsigned));
    }
    let seen: std::collections::BTreeSet<&str> = received
        .requests
        .iter()
        .flat_map(|request| &request.headers)
        .filter(|(name, _)| name.eq_ignore_ascii_case("webhook-id"))
        .map(|(_, id)| id.as_str())
        .collect();
    let mut before = None;
    let mut count = 0;
    loop {
        let page = app.endpoints().deliveries(100, before.as_ref())?;
        for delivery in &page.data {
            count += 1;
            match delivery.state {
                DeliveryState::Delivered if !seen.contains(delivery.event.as_str()) => {
                    let what = format!("{} never came", delivery.event);
                    return violated("I6 delivered is seen", what);
                }
                DeliveryState::Delivered | DeliveryState::Exhausted => {}
                state => {
                    return violated(
                        "I6 every event is seen in the end",
                        format!("{} is {state:?}", delivery.id),
                    );
                }
            }
        }
        before = page.data.last().map(|last| last.id.clone());
        if !page.has_more {
            break;
        }
    }
    // The endpoint wants every event but those about itself and those before it.
    if !seen.is_empty() && count == 0 {
        return violated("I6 every event is seen in the end", "deliveries are gone".to_owned());
    }
    Ok(())
}

/// A key that was answered gives the same answer once more.
fn keys_answer_again(world: &World, app: &App) -> Result<(), Broken> {
    let created: Vec<_> = world.beliefs().created.clone().into_iter().collect();
    for (key, (id, asked)) in created {
        let again = super::act::order(asked)?.idempotency_key(format!("create-{key}"));
        let session = app.sessions().create(again)?;
        if session.id != id {
            return violated(
                "I1 a key has one answer",
                format!("key {key} made {id}, then {}", session.id),
            );
        }
        if asked.goods == Goods::Gift && session.totals.total != 0 {
            return violated("I1 an answer stays true", format!("{id} was a gift"));
        }
    }
    Ok(())
}
