//! What follows from what was learned about an attempt.
//!
//! There is one way in for all evidence: the processor's answer, a look-up, the end of a lease.
//! Evidence is weighed against what is known; what is older or weaker is written down and changes
//! nothing.

use std::time::Duration;

use super::access;
use crate::change::{Change, Setting};
use crate::entitlement::{GrantSource, Holding, start_after_latest};
use crate::error::{Error, StorageError, StorageKind};
use crate::event::{EventKind, Happening, Subject};
use crate::hook::{Action, Capabilities, Lookup, Outcome};
use crate::payment::{
    Attempt, Await, Charge, ChargeEvent, ChargeState, Evidence, Failure, Finding, Hold, IntentStatus, PaymentIntent,
    Said, Source, Verdict,
};
use crate::session::{ExpiredReason, Session, SessionEvent, SessionState};
use crate::text::{Metadata, kept};
use crate::time::{Timestamp, days};

/// How long after a piece of evidence the next look-up is made: by the number of look-ups so far,
/// then every six hours.
const LOOKUP_GAPS: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1_800),
    Duration::from_secs(7_200),
    Duration::from_secs(21_600),
];

/// The most characters of what a buyer must do.
const MAX_ACTION: usize = 4_096;

/// After so many look-ups in a row from which nothing was learned somebody is told. The look-ups go
/// on. A processor that says "pending" was heard, however often it says so.
const LOOKUPS_UNTIL_UNRESOLVED: u32 = 8;

/// An attempt with everything that its outcome may move.
pub(crate) struct Unsettled {
    pub(crate) attempt: Attempt,
    /// What the call itself has answered before.
    pub(crate) answers: Vec<Said>,
    /// How many look-ups have said nothing since something was last learned.
    pub(crate) silent: u32,
    pub(crate) session: Session,
    /// The beneficiary's holdings in the lines that the session's products belong to.
    pub(crate) holdings: Vec<Holding>,
}

/// What was learned, by whom, when.
pub(crate) struct Learned<'a> {
    pub(crate) finding: &'a Finding,
    pub(crate) actor: String,
    /// The call's token; only the newest call's evidence says when to ask next.
    pub(crate) token: i64,
    /// Host time at which the processor was asked.
    pub(crate) asked_at: Timestamp,
    /// What the processor can do; none where this process does not have it.
    pub(crate) capabilities: Option<&'a Capabilities>,
}

/// Works a finding into the charge, its intent, its session, and what a sale grants.
///
/// # Errors
/// Corrupt storage, if the attempt belongs to no charge of its session.
pub(crate) fn settle(
    found: Unsettled,
    learned: &Learned<'_>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Result<Session, Error> {
    let Unsettled {
        mut attempt,
        answers,
        silent,
        mut session,
        holdings,
    } = found;
    if *learned.finding == Finding::LeaseEnded && !lease_ended(&attempt, at.host_now) {
        return Ok(session);
    }
    let mut intent = session.payment_intent.take().ok_or_else(|| dangling(&attempt))?;
    let before = intent
        .charges
        .iter()
        .find(|charge| charge.id.as_str() == attempt.subject)
        .cloned()
        .ok_or_else(|| dangling(&attempt))?;
    // What the processor has acknowledged has arrived: that it is not found later ends nothing.
    let verdict = learned.finding.weigh(
        before.amount,
        learned.asked_at.since(attempt.heard_at.unwrap_or(attempt.created_at)),
        learned
            .capabilities
            .filter(|_| !before.is_acknowledged())
            .and_then(|known| known.not_found_final_after),
    );

    // A call is made once. The same answer from it is the same news, brought twice.
    if verdict.source == Source::Answer && answers.contains(&verdict.said()) {
        session.payment_intent = Some(intent);
        return Ok(session);
    }

    let mut charge = before.clone();
    // Money over another amount waits for a decision. Nothing that is said later puts it out of
    // sight, but that the amount was taken as asked after all.
    let awaits_decision = before.hold == Some(Hold::Mismatch);
    let weighs = |event| !awaits_decision || event == ChargeEvent::Succeeded;
    let moved = verdict
        .event
        .is_some_and(|event| weighs(event) && (charge.step(event, at.now).is_ok() || planted!(SecondSuccessCounts)));
    let mut charge_moves = Vec::new();
    let mut session_moves = Vec::new();
    if let Some(event) = verdict.event.filter(|_| moved) {
        describe(&mut charge, event, &verdict, learned.finding, at);
        session_moves = match charge.state {
            ChargeState::Succeeded => place_money(&mut charge, &before, &intent, &mut session, at.now)?,
            // It had failed before, so the session is not its concern any more; the money is held.
            ChargeState::Failed if event == ChargeEvent::Mismatched => {
                vec![Happening::plain(EventKind::SessionLatePayment)]
            }
            ChargeState::Failed => reopen(&mut session, at.now)?,
            _ => Vec::new(),
        };
        charge_moves = moves_of(&before, &charge, event);
    }
    if schedule(&mut attempt, &charge, learned, &verdict, silent, at.host_now) {
        charge_moves.push(Happening::plain(EventKind::ChargeUnresolved));
    }
    note(attempt, verdict, moved, learned, at, change);

    let counted = count(&charge_moves);
    change.record_all(Subject::Charge(charge.clone()), charge_moves);
    charge.revision += counted;
    let status_before = intent.status();
    intent.put(charge);
    let intent_moves: Vec<Happening> = intent_move(status_before, intent.status()).into_iter().collect();
    let counted = count(&intent_moves);
    change.record_all(Subject::PaymentIntent(intent.clone()), intent_moves);
    intent.revision += counted;
    session.payment_intent = Some(intent);
    let completed = session_moves
        .iter()
        .any(|moved| moved.kind == EventKind::SessionCompleted);
    let counted = count(&session_moves);
    change.record_all(Subject::Session(Box::new(session.clone())), session_moves);
    session.revision += counted;
    if completed && !(planted!(LookupGrantsNothing) && matches!(learned.finding, Finding::LookedUp(_))) {
        grant_lines(&session, holdings, at, change);
    }
    Ok(session)
}

/// Grants what a completed session's lines sell, to its beneficiary.
pub(crate) fn grant_lines(session: &Session, mut holdings: Vec<Holding>, at: &mut Setting<'_>, change: &mut Change) {
    let Some(uid) = &session.for_uid else {
        return;
    };
    for (position, line) in session.lines.iter().enumerate() {
        let Some(sold) = &line.grants else {
            continue;
        };
        let known = holdings.iter().position(|holding| holding.line == sold.line);
        let holding = if let Some(known) = known {
            &mut holdings[known]
        } else {
            holdings.push(Holding::empty(at.id(), uid, &sold.line, at.now));
            let last = holdings.len() - 1;
            &mut holdings[last]
        };
        let starts_at = start_after_latest(&holding.grants, &sold.tier, at.now);
        let terms = access::Terms {
            source: GrantSource::Sale(format!("{}:{position}", session.id)),
            tier: sold.tier.clone(),
            rank: sold.rank,
            quantity: line.quantity,
            limits: Metadata::default(),
            starts_at,
            ends_at: sold.days.map(|count| starts_at.plus(days(count))),
        };
        access::grant(holding, terms, at, change);
    }
}

/// Whether the call's lease has ended without an answer.
fn lease_ended(attempt: &Attempt, host_now: Timestamp) -> bool {
    matches!(attempt.next, Some((Await::Answer, until)) if until <= host_now)
}

/// Puts into the charge what was learned beside its state.
fn describe(charge: &mut Charge, event: ChargeEvent, verdict: &Verdict, finding: &Finding, at: &Setting<'_>) {
    if verdict.reference.is_some() {
        charge.reference.clone_from(&verdict.reference);
    }
    charge.failure = match (charge.state, event) {
        (ChargeState::Failed, ChargeEvent::Mismatched) => charge.failure.take(),
        (ChargeState::Failed, _) => Some(failure(finding)),
        _ => None,
    };
    charge.hold = (event == ChargeEvent::Mismatched).then_some(Hold::Mismatch);
    charge.action = None;
    charge.action_deadline = None;
    if charge.state == ChargeState::Failed {
        charge.authorized = 0;
        charge.authorized_until = None;
    }
    let (Finding::Executed(outcome) | Finding::LookedUp(Lookup::Found(outcome))) = finding else {
        return;
    };
    match (event, outcome) {
        (ChargeEvent::Succeeded, Outcome::Succeeded(receipt)) => {
            charge.fee = receipt.fee.filter(|fee| fee.currency() == charge.amount.currency());
        }
        (ChargeEvent::ActionRequired, Outcome::RequiresAction { action, within, .. }) => {
            charge.action = Some(match action {
                Action::Redirect(url) => Action::Redirect(kept(url, MAX_ACTION)),
                Action::Client(text) => Action::Client(kept(text, MAX_ACTION)),
            });
            charge.action_deadline = Some(at.now.plus(*within));
        }
        (ChargeEvent::Authorized, Outcome::Authorized { receipt, expires_at }) => {
            charge.authorized = receipt.amount.as_minor();
            // The processor speaks in host time; the same span is kept in engine time.
            charge.authorized_until = expires_at.map(|end| at.now.plus(end.since(at.host_now)));
        }
        _ => {}
    }
}

fn failure(finding: &Finding) -> Failure {
    let (code, message, advice) = match finding {
        Finding::Executed(Outcome::Declined { code, message, advice })
        | Finding::LookedUp(Lookup::Found(Outcome::Declined { code, message, advice })) => {
            (kept(code, 64), kept(message, 500), *advice)
        }
        Finding::LookedUp(Lookup::NotFound) => (
            "never_arrived".to_owned(),
            "The processor never saw the payment.".to_owned(),
            None,
        ),
        _ => (
            "not_sent".to_owned(),
            "The payment was not sent to the processor.".to_owned(),
            None,
        ),
    };
    let code = if code.is_empty() { "declined".to_owned() } else { code };
    Failure { code, message, advice }
}

/// Lets money that arrived settle its session, or holds it where it cannot.
fn place_money(
    charge: &mut Charge,
    before: &Charge,
    intent: &PaymentIntent,
    session: &mut Session,
    now: Timestamp,
) -> Result<Vec<Happening>, Error> {
    charge.captured = charge.amount.as_minor();
    if before.state.is_live() && session.state == SessionState::Processing {
        let from = session.state.as_str();
        session.step(SessionEvent::Paid, now)?;
        charge.settles = true;
        return Ok(vec![Happening::moved(
            EventKind::SessionCompleted,
            from,
            session.state.as_str(),
        )]);
    }
    let settled = intent.charges.iter().any(|other| other.settles);
    charge.hold = Some(if settled { Hold::Surplus } else { Hold::Late });
    Ok(vec![Happening::plain(EventKind::SessionLatePayment)])
}

/// Lets a session be paid again, or closes it if its time passed while the payment was in flight.
fn reopen(session: &mut Session, now: Timestamp) -> Result<Vec<Happening>, Error> {
    let from = session.state.as_str();
    session.step(SessionEvent::PaymentFailed, now)?;
    let open = session.state.as_str();
    let mut moves = vec![Happening::moved(EventKind::PaymentFailed, from, open)];
    if session.is_overdue(now) {
        session.step(SessionEvent::Expire(ExpiredReason::Timeout), now)?;
        moves.push(Happening::moved(
            EventKind::SessionExpired,
            open,
            session.state.as_str(),
        ));
    }
    Ok(moves)
}

fn moves_of(before: &Charge, after: &Charge, event: ChargeEvent) -> Vec<Happening> {
    let kind = match event {
        ChargeEvent::LeaseEnded | ChargeEvent::Unclear => EventKind::ChargeUnknown,
        ChargeEvent::Pending => EventKind::ChargePending,
        ChargeEvent::ActionRequired => EventKind::ChargeRequiresAction,
        ChargeEvent::Authorized => EventKind::ChargeAuthorized,
        ChargeEvent::Succeeded => EventKind::ChargeSucceeded,
        ChargeEvent::Mismatched => EventKind::ChargeMismatch,
        ChargeEvent::Failed => EventKind::ChargeFailed,
    };
    let mut moves = Vec::new();
    if before.state == ChargeState::Failed {
        moves.push(Happening::plain(EventKind::ChargeContradicted));
    }
    moves.push(Happening::moved(kind, before.state.as_str(), after.state.as_str()));
    moves
}

fn intent_move(before: IntentStatus, after: IntentStatus) -> Option<Happening> {
    if before == after {
        return None;
    }
    let kind = match after {
        IntentStatus::Succeeded => EventKind::IntentSucceeded,
        IntentStatus::RequiresAction => EventKind::IntentRequiresAction,
        IntentStatus::RequiresCapture => EventKind::IntentCapturable,
        IntentStatus::RequiresPaymentMethod => EventKind::IntentPaymentFailed,
        IntentStatus::Processing | IntentStatus::Canceled => EventKind::IntentProcessing,
    };
    Some(Happening::moved(kind, before.as_str(), after.as_str()))
}

/// Says what the attempt waits for next. True if it has just become a case for a human.
fn schedule(
    attempt: &mut Attempt,
    charge: &Charge,
    learned: &Learned<'_>,
    verdict: &Verdict,
    silent: u32,
    host_now: Timestamp,
) -> bool {
    if charge.hold == Some(Hold::Mismatch) {
        // Asking again would be answered the same; somebody has to decide.
        attempt.next = None;
        return !std::mem::replace(&mut attempt.unresolved, true);
    }
    if !charge.state.is_live() {
        attempt.next = None;
        attempt.unresolved = false;
        return false;
    }
    let heard = !verdict.is_silent();
    if heard {
        attempt.unresolved = false;
    }
    if learned.token != attempt.token {
        return false;
    }
    if let Finding::LookedUp(_) = learned.finding {
        attempt.asked = attempt.asked.saturating_add(1);
    }
    let can_look_up = learned.capabilities.is_none_or(|known| known.lookup);
    let last_gap = LOOKUP_GAPS.len() - 1;
    let gap = LOOKUP_GAPS[usize::try_from(attempt.asked).unwrap_or(last_gap).min(last_gap)];
    attempt.next = can_look_up.then(|| (Await::Lookup, host_now.plus(gap)));
    let silent = match verdict.source {
        Source::Lookup => silent.saturating_add(1),
        Source::Answer | Source::Lease => 0,
    };
    let stuck = !heard && (!can_look_up || silent >= LOOKUPS_UNTIL_UNRESOLVED);
    stuck && !std::mem::replace(&mut attempt.unresolved, true)
}

fn note(
    mut attempt: Attempt,
    verdict: Verdict,
    moved: bool,
    learned: &Learned<'_>,
    at: &Setting<'_>,
    change: &mut Change,
) {
    attempt.evidence = attempt.evidence.saturating_add(1);
    attempt.heard_at.get_or_insert(at.host_now);
    // Evidence that moved nothing must not rename the payment that is looked up.
    if moved && verdict.reference.is_some() {
        attempt.reference.clone_from(&verdict.reference);
    }
    let evidence = Evidence {
        number: attempt.evidence,
        verdict,
        moved,
        actor: learned.actor.clone(),
        host_time: at.host_now,
        engine_time: at.now,
    };
    change.note(attempt, Some(evidence));
}

fn count(moves: &[Happening]) -> i64 {
    i64::try_from(moves.len()).unwrap_or(i64::MAX)
}

fn dangling(attempt: &Attempt) -> Error {
    let detail = format!("attempt {} belongs to no charge of its session", attempt.id);
    StorageError::new(StorageKind::Corrupt, detail).into()
}
