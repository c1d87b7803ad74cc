//! What must hold when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use data_encoding::BASE64;

use super::act::{key_to_create, order};
use super::check::after_a_start;
use super::lists::all;
use super::plan::Goods;
use super::telling::{is_applied, tell_the_rest};
use super::world::{FURTHEST_BACK, World};
use super::{Broken, Invariant, violated};
use crate::engine::{App, Budget, Engine};
use crate::event::{Event, EventKind};
use crate::hook::{Clock as _, SignedRequest};
use crate::payment::{Charge, Hold, Setup, SetupState};
use crate::session::{Session, SessionState};
use crate::webhook::DeliveryFilter;
use crate::webhook::{Delivery, DeliveryState, MAX_ATTEMPTS};

/// How long a world takes to come to rest, in host time: short of what makes idempotency keys old.
const REST: Duration = Duration::from_secs(3 * 86_400);

/// How soon after an attempt the next one of a delivery may follow: the first gap is a minute, a lease
/// is longer, and in between the clock may have been set back.
const SOONEST: Duration = Duration::from_secs(60).saturating_sub(FURTHEST_BACK);

/// Lets everything come to rest that is due, and holds what is left against the service's ledger and
/// the receiver's list.
pub(super) fn at_rest(world: &World, engine: &Engine, app: &App) -> Result<(), Broken> {
    let until = world.clock.now().plus(REST);
    let mut rounds = 0;
    tell_the_rest(world, app)?;
    loop {
        rounds += 1;
        if rounds > 2_000 {
            return violated(
                Invariant::NothingStaysInFlight,
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
    let history = History {
        sessions: all(|last: Option<&Session>| app.sessions().list(100, last.map(|session| &session.id)))?,
        events: all(|last: Option<&Event>| app.events(100, last.map_or(0, |event| event.position)))?,
        deliveries: all(|last: Option<&Delivery>| {
            let before = last.map(|delivery| &delivery.id);
            app.deliveries().list(&DeliveryFilter::all(), 100, before)
        })?,
        held: all(|last: Option<&Charge>| app.held_charges(100, last.map(|charge| &charge.id)))?,
    };
    history.is_the_ledger(world)?;
    is_applied(world, app)?;
    saved_is_saved(world, app)?;
    history.adds_up()?;
    history.moves_follow()?;
    history.sales_grant()?;
    history.is_delivered(world)?;
    sent_on_schedule(world)?;
    secrets_stay_secret(world)?;
    world.beliefs().see_journal(&history.events)?;
    keys_answer_again(world, app)
}

/// Everything that an app has.
struct History {
    sessions: Vec<Session>,
    events: Vec<Event>,
    deliveries: Vec<Delivery>,
    held: Vec<Charge>,
}

impl History {
    fn charges(&self) -> impl Iterator<Item = &Charge> {
        let intents = self.sessions.iter().flat_map(|session| &session.payment_intent);
        intents.flat_map(|intent| &intent.charges)
    }

    fn of_kind(&self, kind: EventKind) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.kind == kind.as_str())
    }

    /// What the service took is what the rows say, session by session.
    fn is_the_ledger(&self, world: &World) -> Result<(), Broken> {
        const LEDGER: Invariant = Invariant::ServicesLedger;
        let mut taken: BTreeMap<String, i64> = BTreeMap::new();
        for charge in world.till.charges() {
            *taken.entry(charge.session).or_default() += charge.amount;
        }
        let mut given_back: BTreeMap<String, i64> = BTreeMap::new();
        for refund in world.till.refunds() {
            *given_back.entry(refund.session).or_default() += refund.amount;
        }
        let mut lost: BTreeMap<String, i64> = BTreeMap::new();
        for (session, amount) in world.till.lost() {
            *lost.entry(session).or_default() += amount;
        }
        if let Some(held) = world.till.holds().first() {
            let session = self.sessions.iter().find(|session| session.id.as_str() == held.session);
            let what = format!("{} is still held for {}: {session:?}", held.amount, held.session);
            return violated(LEDGER, what);
        }
        for session in &self.sessions {
            if session.state == SessionState::Processing {
                return violated(Invariant::NothingStaysInFlight, format!("{} is processing", session.id));
            }
            let charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
            let captured: i64 = charges.clone().map(|charge| charge.captured).sum();
            let back: i64 = charges.clone().map(|charge| charge.refunded).sum();
            let given = given_back.remove(session.id.as_str()).unwrap_or(0);
            if back != given || charges.clone().any(|charge| charge.refund_reserved != 0) {
                let what = format!("{} gave back {back}, the service {given}", session.id);
                return violated(LEDGER, what);
            }
            let disputed: i64 = charges.map(|charge| charge.lost).sum();
            let gone = lost.remove(session.id.as_str()).unwrap_or(0);
            if disputed != gone {
                let what = format!("{} lost {disputed} in disputes, at the service {gone}", session.id);
                return violated(LEDGER, what);
            }
            let sum = taken.remove(session.id.as_str()).unwrap_or(0);
            if captured != sum {
                let what = format!("{} has {captured}, the service took {sum}", session.id);
                return violated(LEDGER, what);
            }
            if session.is_complete() != (sum > 0 || session.is_complete() && session.totals.total == 0) {
                return violated(LEDGER, format!("{} is {:?} for {sum}", session.id, session.state));
            }
        }
        match taken.first_key_value().or(given_back.first_key_value()) {
            Some(stranger) => violated(LEDGER, format!("nobody knows of {stranger:?}")),
            None => Ok(()),
        }
    }

    /// The money of the rows is the money of the events, and what settled nothing is held.
    fn adds_up(&self) -> Result<(), Broken> {
        let captured: i64 = self.charges().map(|charge| charge.captured).sum();
        let amounts: BTreeMap<&str, i64> = self
            .charges()
            .map(|charge| (charge.id.as_str(), charge.captured))
            .collect();
        let succeeded = self.of_kind(EventKind::ChargeSucceeded);
        let counted: i64 = succeeded
            .filter_map(|event| amounts.get(event.object_id.as_str()))
            .sum();
        if captured != counted {
            let what = format!("{captured} in rows, {counted} in events");
            return violated(Invariant::MoneyIsConserved, what);
        }
        let waits = |charge: &&Charge| {
            let is_mismatch = charge.hold == Some(Hold::Mismatch);
            charge.hold.is_some() && (is_mismatch || charge.refundable() > 0)
        };
        let held = self.charges().filter(waits).count();
        if held != self.held.len()
            || self
                .held
                .iter()
                .any(|charge| charge.hold == Some(Hold::Surplus) && charge.settles)
        {
            let what = format!("{held} are held, {} are listed", self.held.len());
            return violated(Invariant::ListsAreWhole, what);
        }
        Ok(())
    }

    /// Each event of a session or charge begins where the one before it ended, and nothing follows an
    /// end.
    fn moves_follow(&self) -> Result<(), Broken> {
        let mut states: BTreeMap<&str, &str> = BTreeMap::new();
        let with_states = |event: &&Event| {
            ["cs_", "ch_", "re_", "pm_", "seti_", "dp_"]
                .iter()
                .any(|kind| event.object_id.starts_with(kind))
        };
        for event in self.events.iter().filter(with_states) {
            let Some(to) = &event.to else {
                continue;
            };
            let before = states.insert(&event.object_id, to);
            let is_over = matches!(before, Some("complete" | "expired" | "succeeded"));
            if before != event.from.as_deref() || is_over {
                let what = format!(
                    "{} {} from {:?} after {before:?}",
                    event.kind, event.object_id, event.from
                );
                return violated(Invariant::OneEventPerMove, what);
            }
        }
        Ok(())
    }

    /// What was sold was granted, once.
    fn sales_grant(&self) -> Result<(), Broken> {
        let complete = self.sessions.iter().filter(|session| session.is_complete());
        let lines = complete.flat_map(|session| &session.lines);
        let sold = lines.filter(|line| line.grants.is_some()).count();
        let of_a_sale = |event: &&Event| {
            let body = event.body.as_deref().unwrap_or_default();
            body.contains(r#""source":"sale""#)
        };
        let granted = self.of_kind(EventKind::GrantCreated).filter(of_a_sale).count();
        if sold != granted {
            return violated(Invariant::SalesGrant, format!("{sold} sold, {granted} granted"));
        }
        Ok(())
    }

    /// Every event that happened since there is an endpoint has one delivery; each has ended, and what
    /// was delivered has reached the receiver.
    fn is_delivered(&self, world: &World) -> Result<(), Broken> {
        let of_endpoint = |event: &Event| event.kind.starts_with("endpoint.");
        let first = self.events.iter().rposition(of_endpoint).map_or(0, |at| at + 1);
        let wanted: BTreeSet<&str> = self.events[first..].iter().map(|event| event.id.as_str()).collect();
        let made: BTreeSet<&str> = self.deliveries.iter().map(|delivery| delivery.event.as_str()).collect();
        if made != wanted || made.len() != self.deliveries.len() {
            let what = format!("{} events, {} deliveries", wanted.len(), self.deliveries.len());
            return violated(Invariant::OneDeliveryPerEvent, what);
        }
        let received = world.receiver.requests();
        let seen: BTreeSet<&str> = received.iter().filter_map(event_of).collect();
        for delivery in &self.deliveries {
            match delivery.state {
                DeliveryState::Delivered if !seen.contains(delivery.event.as_str()) => {
                    let what = format!("{} never came", delivery.event);
                    return violated(Invariant::DeliveredWasReceived, what);
                }
                DeliveryState::Delivered | DeliveryState::Exhausted => {}
                state => {
                    let what = format!("{} is {state:?}", delivery.id);
                    return violated(Invariant::DeliveriesEnd, what);
                }
            }
        }
        Ok(())
    }
}

/// What the service saved without taking money is a setup that succeeded, and the other way round.
fn saved_is_saved(world: &World, app: &App) -> Result<(), Broken> {
    let mut saved: BTreeSet<String> = world.till.setups().into_iter().map(|taken| taken.session).collect();
    for setup in all(|last: Option<&Setup>| app.setups().list(100, last.map(|setup| &setup.id)))? {
        let is_saved = saved.remove(setup.id.as_str());
        if setup.state.is_live() {
            return violated(Invariant::NothingStaysInFlight, format!("{setup:?}"));
        }
        if is_saved != (setup.state == SetupState::Succeeded && setup.method.is_some()) {
            let what = format!("the service saved: {is_saved}, {setup:?}");
            return violated(Invariant::ServiceSaved, what);
        }
    }
    match saved.first() {
        Some(stranger) => violated(Invariant::ServiceSaved, format!("nobody knows of {stranger}")),
        None => Ok(()),
    }
}

/// The event that a request is about.
fn event_of(request: &SignedRequest) -> Option<&str> {
    let mut headers = request.headers.iter();
    let found = headers.find(|(name, _)| name.eq_ignore_ascii_case("webhook-id"));
    found.map(|(_, id)| id.as_str())
}

/// The receiver got every event with a good signature, the same bytes each time, no more often than
/// the schedule has attempts, and no sooner after another than a lease or the first gap lasts.
fn sent_on_schedule(world: &World) -> Result<(), Broken> {
    let unsigned = world.receiver.unsigned();
    if unsigned > 0 {
        return violated(Invariant::SignaturesAreGood, format!("{unsigned} were not"));
    }
    let received = world.receiver.requests();
    let mut by_event: BTreeMap<&str, Vec<&SignedRequest>> = BTreeMap::new();
    for request in &received {
        by_event
            .entry(event_of(request).unwrap_or_default())
            .or_default()
            .push(request);
    }
    for (event, mut requests) in by_event {
        // One that was claimed earlier and hung may come later.
        requests.sort_by_key(|request| request.signed_at);
        let too_soon = |pair: &[&SignedRequest]| pair[1].signed_at < pair[0].signed_at.plus(SOONEST);
        let too_often = requests.len() > usize::try_from(MAX_ATTEMPTS).unwrap_or(usize::MAX);
        if too_often || requests.windows(2).any(too_soon) {
            let times: Vec<_> = requests.iter().map(|request| request.signed_at).collect();
            return violated(Invariant::AttemptsFollowSchedule, format!("{event} at {times:?}"));
        }
        if requests.iter().any(|request| request.body != requests[0].body) {
            return violated(Invariant::SameBytesAgain, format!("{event} came with two bodies"));
        }
    }
    Ok(())
}

/// The secret that deliveries are signed with stands in no file, neither as text nor as key.
fn secrets_stay_secret(world: &World) -> Result<(), Broken> {
    let text = world.secret.expose();
    let key = BASE64
        .decode(text.trim_start_matches("whsec_").as_bytes())
        .unwrap_or_default();
    for name in world.disk.files() {
        let file = world.disk.file(&name).unwrap_or_default();
        for canary in [text.as_bytes(), &key] {
            if contains(&file, canary) {
                return violated(Invariant::SecretsAreSealed, name);
            }
        }
    }
    Ok(())
}

fn contains(file: &[u8], wanted: &[u8]) -> bool {
    // Only what begins alike is compared: the files are long, and this is asked in every run.
    let begins = |bytes: &[u8]| bytes.first() == wanted.first();
    file.windows(wanted.len().max(1))
        .any(|bytes| begins(bytes) && bytes == wanted)
}

/// A key that was answered gives the same answer once more.
fn keys_answer_again(world: &World, app: &App) -> Result<(), Broken> {
    let created: Vec<_> = world.beliefs().created.clone().into_iter().collect();
    for (key, (id, asked)) in created {
        let again = order(asked)?.idempotency_key(key_to_create(key));
        let session = app.sessions().create(again)?;
        if session.id != id {
            return violated(
                Invariant::OneAnswerPerKey,
                format!("key {key} made {id}, then {}", session.id),
            );
        }
        if asked.goods == Goods::Gift && session.totals.total != 0 {
            return violated(Invariant::AnswersStayTrue, format!("{id} was a gift"));
        }
    }
    Ok(())
}
