//! How values stand in columns: one place for each, both ways.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Row;
use crate::entitlement::Status;
use crate::error::{Error, Result, StorageError, StorageKind};
use crate::hook::{Action, Advice, DisputeState, Operation};
use crate::id::{Id, Mode};
use crate::money::{Amount, Currency};
use crate::payment::{
    Await, CaptureMethod, ChargeState, EvidenceSource, Failure, Followup, GrantEffect, Hold, LatePayments, MethodState,
    NotificationKind, NotificationState, RefundSource, RefundState, SetupState,
};
use crate::session::{Dialect, ExpiredReason, SessionState};
use crate::text::Metadata;
use crate::time::Timestamp;
use crate::webhook::{DeliveryOrder, DeliveryOutcome, DeliveryState, EndpointState, Format, ReplayOf, ReplayState};

/// A stored value that this crate never writes.
pub(super) fn corrupt(what: &str) -> Error {
    StorageError::new(StorageKind::Corrupt, format!("found {what}")).into()
}

/// Insists that a statement changed exactly one row: another number means that what was decided
/// upon is not what is there.
pub(super) fn one(changed: u64) -> Result<()> {
    match changed {
        1 => Ok(()),
        changed => Err(corrupt(&format!("{changed} rows where one was to change"))),
    }
}

pub(super) fn mode_number(mode: Mode) -> i64 {
    match mode {
        Mode::Test => 0,
        Mode::Live => 1,
    }
}

pub(super) fn mode(number: i64) -> Result<Mode> {
    match number {
        0 => Ok(Mode::Test),
        1 => Ok(Mode::Live),
        _ => Err(corrupt("a mode that is neither test nor live")),
    }
}

pub(super) fn instant(millis: i64) -> Result<Timestamp> {
    Timestamp::from_millis(millis).map_err(|_| corrupt("a time out of range"))
}

pub(super) fn maybe_instant(millis: Option<i64>) -> Result<Option<Timestamp>> {
    millis.map(instant).transpose()
}

pub(super) fn id<T: Id>(text: &str) -> Result<T> {
    T::parse_text(text).map_err(|_| corrupt("an id of another shape"))
}

pub(super) fn digest(bytes: &[u8]) -> Result<[u8; 32]> {
    bytes.try_into().map_err(|_| corrupt("a hash of another length"))
}

pub(super) fn currency(code: &str) -> Result<Currency> {
    Currency::parse(code).map_err(|_| corrupt("an unknown currency"))
}

pub(super) fn amount(minor: i64, code: &str) -> Result<Amount> {
    Amount::minor(minor, currency(code)?).map_err(|_| corrupt("an amount out of range"))
}

pub(super) fn small<T: TryFrom<i64>>(number: i64) -> Result<T> {
    T::try_from(number).map_err(|_| corrupt("a number out of range"))
}

pub(super) fn metadata(json: &str) -> Result<Metadata> {
    if json == "{}" {
        return Ok(Metadata::default());
    }
    let pairs: BTreeMap<String, String> =
        serde_json::from_str(json).map_err(|_| corrupt("metadata that does not parse"))?;
    Ok(Metadata::from_stored(pairs))
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| corrupt("a value that JSON cannot hold"))
}

pub(super) fn action(json: Option<String>) -> Result<Option<Action>> {
    json.map(|json| serde_json::from_str(&json).map_err(|_| corrupt("an action that does not parse")))
        .transpose()
}

/// The value among `all` whose word this is.
fn word<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, text: &str) -> Result<T> {
    all.iter()
        .copied()
        .find(|value| name(*value) == text)
        .ok_or_else(|| corrupt("a word that no column holds"))
}

pub(super) fn session_state(text: &str, reason: Option<&str>) -> Result<SessionState> {
    Ok(match (text, reason) {
        ("open", None) => SessionState::Open,
        ("processing", None) => SessionState::Processing,
        ("complete", None) => SessionState::Complete,
        ("expired", Some(reason)) => SessionState::Expired(word(&ExpiredReason::ALL, ExpiredReason::as_str, reason)?),
        _ => return Err(corrupt("a session in no known state")),
    })
}

pub(super) fn dialect(text: &str) -> Result<Dialect> {
    word(&Dialect::ALL, Dialect::as_str, text)
}

pub(super) fn charge_state(text: &str) -> Result<ChargeState> {
    word(&ChargeState::ALL, ChargeState::as_str, text)
}

pub(super) fn hold(text: &str) -> Result<Hold> {
    word(&Hold::ALL, Hold::as_str, text)
}

pub(super) fn late_payments(text: &str) -> Result<LatePayments> {
    word(&LatePayments::ALL, LatePayments::as_str, text)
}

pub(super) fn capture(text: &str) -> Result<CaptureMethod> {
    word(&CaptureMethod::ALL, CaptureMethod::as_str, text)
}

pub(super) fn followup(text: &str) -> Result<Followup> {
    word(&Followup::ALL, Followup::as_str, text)
}

pub(super) fn method_state(text: &str) -> Result<MethodState> {
    word(&MethodState::ALL, MethodState::as_str, text)
}

pub(super) fn setup_state(text: &str) -> Result<SetupState> {
    word(&SetupState::ALL, SetupState::as_str, text)
}

pub(super) fn refund_state(text: &str) -> Result<RefundState> {
    word(&RefundState::ALL, RefundState::as_str, text)
}

pub(super) fn refund_source(text: &str) -> Result<RefundSource> {
    word(&RefundSource::ALL, RefundSource::as_str, text)
}

pub(super) fn evidence_source(text: &str) -> Result<EvidenceSource> {
    word(&EvidenceSource::ALL, EvidenceSource::as_str, text)
}

pub(super) fn grant_effect(text: &str) -> Result<GrantEffect> {
    word(&GrantEffect::ALL, GrantEffect::as_str, text)
}

pub(super) fn dispute_state(text: &str) -> Result<DisputeState> {
    word(&DisputeState::ALL, DisputeState::as_str, text)
}

pub(super) fn notification_kind(text: &str) -> Result<NotificationKind> {
    word(&NotificationKind::ALL, NotificationKind::as_str, text)
}

pub(super) fn notification_state(text: &str) -> Result<NotificationState> {
    word(&NotificationState::ALL, NotificationState::as_str, text)
}

/// Why something failed, in three columns from `first` on.
pub(super) fn failure(row: &dyn Row, first: usize) -> Result<Option<Failure>> {
    let Some(code) = row.maybe_text(first)? else {
        return Ok(None);
    };
    Ok(Some(Failure {
        code,
        message: row.maybe_text(first + 1)?.unwrap_or_default(),
        advice: row.maybe_text(first + 2)?.map(|word| advice(&word)).transpose()?,
    }))
}

pub(super) fn advice(text: &str) -> Result<Advice> {
    word(
        &[Advice::Never, Advice::Later, Advice::OtherMethod],
        Advice::as_str,
        text,
    )
}

pub(super) fn operation(text: &str) -> Result<Operation> {
    let all = [
        Operation::Charge,
        Operation::Authorize,
        Operation::Capture,
        Operation::Void,
        Operation::Refund,
        Operation::Setup,
    ];
    word(&all, Operation::as_str, text)
}

/// What is awaited, in two columns: what happens at its time, and what the processor is asked then.
pub(super) fn awaited(next: &str, ask: &str) -> Result<Await> {
    let all = [Await::Answer, Await::Call, Await::Lookup, Await::Cancel];
    let found = all.into_iter().find(|known| awaiting(*known) == (next, ask));
    found.ok_or_else(|| corrupt("an attempt that waits for something unknown"))
}

pub(super) fn awaiting(awaited: Await) -> (&'static str, &'static str) {
    match awaited {
        Await::Answer => ("answer", "lookup"),
        Await::Call => ("lookup", "execute"),
        Await::Lookup => ("lookup", "lookup"),
        Await::Cancel => ("lookup", "cancel"),
    }
}

pub(super) fn status(text: &str) -> Result<Status> {
    word(&Status::STORED, Status::as_str, text)
}

pub(super) fn endpoint_state(text: &str) -> Result<EndpointState> {
    word(&EndpointState::ALL, EndpointState::as_str, text)
}

pub(super) fn delivery_state(text: &str) -> Result<DeliveryState> {
    word(&DeliveryState::ALL, DeliveryState::as_str, text)
}

pub(super) fn delivery_order(text: &str) -> Result<DeliveryOrder> {
    word(&DeliveryOrder::ALL, DeliveryOrder::as_str, text)
}

/// A span that is stored in milliseconds.
pub(super) fn span(millis: i64) -> Result<Duration> {
    small(millis).map(Duration::from_millis)
}

pub(super) fn delivery_outcome(text: &str) -> Result<DeliveryOutcome> {
    word(&DeliveryOutcome::ALL, DeliveryOutcome::as_str, text)
}

pub(super) fn replay_of(text: &str) -> Result<ReplayOf> {
    word(&ReplayOf::ALL, ReplayOf::as_str, text)
}

pub(super) fn replay_state(text: &str) -> Result<ReplayState> {
    word(&ReplayState::ALL, ReplayState::as_str, text)
}

pub(super) fn format(text: &str) -> Result<Format> {
    Format::parse(text).ok_or_else(|| corrupt("an unknown webhook format"))
}
