//! What the engine tells the crate `tracing`, if the feature of that name is on: names, ids of its own,
//! numbers and words of fixed lists. Never a body, a secret, a card, or anything that a buyer or a payment
//! service said. Nothing is told while a transaction is open.

use crate::error::{Error, Result};
use crate::hook::{Answer, Cancel, Lookup, Outcome};
use crate::id::World;
use crate::webhook::ClaimedDelivery;

use super::asks::Ask;
use super::budget::Ran;

/// Tells of something at the level `DEBUG`, under a target; without the feature nothing is left of it.
macro_rules! tell {
    ($target:literal, $($field:ident = $value:expr),+ $(,)?) => {{
        #[cfg(feature = "tracing")]
        tracing::debug!(target: $target, $($field = $value),+);
        #[cfg(not(feature = "tracing"))]
        let _ = ($(&$value),+);
    }};
}

/// The word for what a call answered.
fn word<T>(answer: &Result<T>) -> &'static str {
    answer.as_ref().map_or_else(Error::code, |_| "ok")
}

/// A write: what was being done, where, and its outcome, which is `ok` or [`Error::code`].
pub(super) fn verb<T>(name: &'static str, world: Option<World>, answer: &Result<T>) {
    tell!(
        "tillite::verb",
        verb = name,
        app = world.map(|world| world.app),
        mode = world.map(|world| world.mode.as_str()),
        outcome = word(answer),
    );
}

/// What one call of `run_due` did.
pub(super) fn ran(answer: &Result<Ran>) {
    let ran = answer.as_ref().copied().unwrap_or_default();
    tell!(
        "tillite::run_due",
        items = ran.total(),
        delivered = ran.delivered,
        undelivered = ran.undelivered,
        consumed = ran.consumed,
        outcome = word(answer),
    );
}

/// A call of a processor, with the kind of its answer.
pub(super) fn asked(ask: &Ask, answer: &Answer) {
    let (call, outcome) = match answer {
        Answer::Executed(outcome) => ("execute", outcome_word(outcome)),
        Answer::LookedUp(Lookup::Found(outcome)) => ("look_up", outcome_word(outcome)),
        Answer::LookedUp(Lookup::NotFound) => ("look_up", "not_found"),
        Answer::LookedUp(Lookup::CannotTell { .. }) => ("look_up", "cannot_tell"),
        Answer::Canceled(Cancel::Canceled) => ("cancel", "canceled"),
        Answer::Canceled(Cancel::TooLate(outcome)) => ("cancel", outcome_word(outcome)),
        Answer::Canceled(Cancel::NotFound) => ("cancel", "not_found"),
        Answer::Canceled(Cancel::CannotTell { .. }) => ("cancel", "cannot_tell"),
    };
    tell!(
        "tillite::processor",
        processor = ask.processor.as_str(),
        operation = ask.request.operation.as_str(),
        attempt = ask.request.attempt.as_str(),
        call = call,
        outcome = outcome,
    );
}

fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded(_) => "succeeded",
        Outcome::Authorized { .. } => "authorized",
        Outcome::Pending { .. } => "pending",
        Outcome::RequiresAction { .. } => "requires_action",
        Outcome::Declined { .. } => "declined",
        Outcome::NotSent { .. } => "not_sent",
        Outcome::Canceled { .. } => "canceled",
        Outcome::Unknown { .. } => "unknown",
    }
}

/// An attempt of a delivery that was written down.
pub(super) fn delivered(delivery: &ClaimedDelivery, status: Option<u16>) {
    tell!(
        "tillite::delivery",
        endpoint = delivery.endpoint.as_str(),
        delivery = delivery.id.as_str(),
        attempt = delivery.attempt,
        status = status,
    );
}

/// A turn of a consumer.
pub(super) fn consumed(name: &str, world: World, events: usize, outcome: &'static str) {
    tell!(
        "tillite::consumer",
        consumer = name,
        app = world.app,
        mode = world.mode.as_str(),
        events = events,
        outcome = outcome,
    );
}
