//! What was learned about a charge, its session, and what a sale grants.

use super::{Case, Learned, Standing, count, dangling, failure};
use crate::change::{Change, Setting};
use crate::decide::access;
use crate::decide::refunding::{self, Given, Intended, Wish};
use crate::entitlement::{GrantSource, Holding, start_after_latest};
use crate::error::Error;
use crate::event::{EventKind, Happening, Subject};
use crate::hook::{Action, Lookup, Outcome};
use crate::payment::{
    Attempt, Await, Charge, ChargeState, Finding, GrantEffect, Hold, IntentStatus, LatePayments, News, PaymentIntent,
    RefundSource, Share, Verdict,
};
use crate::session::{ExpiredReason, Session, SessionEvent, SessionState};
use crate::text::{Metadata, kept};
use crate::time::{Timestamp, days};

/// The most characters of what a buyer must do.
const MAX_ACTION: usize = 4_096;

/// An attempt with everything that its outcome may move.
pub(crate) struct Unsettled {
    pub(crate) case: Case,
    pub(crate) session: Session,
    /// The beneficiary's holdings in the lines that the session's products belong to.
    pub(crate) holdings: Vec<Holding>,
    /// What the app does with money that comes too late.
    pub(crate) late_payments: LatePayments,
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
        mut case,
        mut session,
        holdings,
        late_payments,
    } = found;
    let mut intent = session
        .payment_intent
        .take()
        .ok_or_else(|| dangling(&case.attempt, "charge of its session"))?;
    let before = intent
        .charges
        .iter()
        .find(|charge| charge.id.as_str() == case.attempt.subject)
        .cloned()
        .ok_or_else(|| dangling(&case.attempt, "charge of its session"))?;
    let Some(verdict) = case.weigh(learned, before.amount, at) else {
        session.payment_intent = Some(intent);
        return Ok(session);
    };

    let mut charge = before.clone();
    // Money over another amount waits for a decision. Nothing that is said later puts it out of
    // sight, but that the amount was taken as asked after all.
    let awaits_decision = before.hold == Some(Hold::Mismatch);
    let weighs = |event| !awaits_decision || event == News::Succeeded;
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
            ChargeState::Failed | ChargeState::Voided if event == News::Mismatched => {
                vec![Happening::plain(EventKind::SessionLatePayment)]
            }
            ChargeState::Failed | ChargeState::Voided => reopen(&mut session, at.now)?,
            _ => Vec::new(),
        };
        charge_moves = moves_of(&before, &charge, event);
    }
    let standing = match (charge.hold, charge.state.is_live()) {
        (Some(Hold::Mismatch), _) => Standing::Held,
        (_, true) => Standing::Open,
        (_, false) => Standing::Settled,
    };
    if case.schedule(standing, learned, &verdict, at.host_now) {
        charge_moves.push(Happening::plain(EventKind::ChargeUnresolved));
    }
    let made_by = case.attempt.clone();
    case.note(verdict, moved, learned, at, change);

    let arrived = charge.state == ChargeState::Succeeded && before.state != ChargeState::Succeeded;
    let refund = match late_payments {
        LatePayments::Refund if arrived => send_back(&charge, &session, &made_by, at)?,
        LatePayments::Refund | LatePayments::Hold => None,
    };
    if let Some(refund) = &refund {
        charge = refund.charge.clone();
    }
    let counted = count(&charge_moves);
    change.record_all(Subject::Charge(charge.clone()), charge_moves);
    charge.revision += counted;
    if let Some(refund) = refund {
        refund.record(change);
    }
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
            source: GrantSource::of_line(&session.id, position),
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

/// Puts into the charge what was learned beside its state.
fn describe(charge: &mut Charge, event: News, verdict: &Verdict, finding: &Finding, at: &Setting<'_>) {
    if verdict.reference.is_some() {
        charge.reference.clone_from(&verdict.reference);
    }
    charge.failure = match (charge.state, event) {
        (ChargeState::Failed, News::Mismatched) => charge.failure.take(),
        (ChargeState::Failed, _) => Some(failure(finding)),
        _ => None,
    };
    charge.hold = (event == News::Mismatched).then_some(Hold::Mismatch);
    charge.action = None;
    charge.action_deadline = None;
    if matches!(charge.state, ChargeState::Failed | ChargeState::Voided) {
        charge.authorized = 0;
        charge.authorized_until = None;
    }
    let (Finding::Executed(outcome) | Finding::LookedUp(Lookup::Found(outcome))) = finding else {
        return;
    };
    match (event, outcome) {
        (News::Succeeded, Outcome::Succeeded(receipt)) => {
            charge.fee = receipt.fee.filter(|fee| fee.currency() == charge.amount.currency());
        }
        (News::ActionRequired, Outcome::RequiresAction { action, within, .. }) => {
            charge.action = Some(match action {
                Action::Redirect(url) => Action::Redirect(kept(url, MAX_ACTION)),
                Action::Client(text) => Action::Client(kept(text, MAX_ACTION)),
            });
            charge.action_deadline = Some(at.now.plus(*within));
        }
        (News::Authorized, Outcome::Authorized { receipt, expires_at }) => {
            charge.authorized = receipt.amount.as_minor();
            // The processor speaks in host time; the same span is kept in engine time.
            charge.authorized_until = expires_at.map(|end| at.now.plus(end.since(at.host_now)));
        }
        _ => {}
    }
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

/// The refund of what settled nothing, where its amount is the one that was asked.
fn send_back(
    charge: &Charge,
    session: &Session,
    made_by: &Attempt,
    at: &mut Setting<'_>,
) -> Result<Option<Intended>, Error> {
    let source = match charge.hold {
        Some(Hold::Late) => RefundSource::Late,
        Some(Hold::Surplus) => RefundSource::Surplus,
        Some(Hold::Mismatch) | None => return Ok(None),
    };
    let given = Given {
        session,
        charge: charge.clone(),
        made_by,
        refunds: &[],
    };
    let wish = Wish {
        share: Share::Rest,
        source,
        // What was granted was paid for by something else, if at all.
        effect: Some(GrantEffect::Keep),
        reason: None,
        metadata: Metadata::default(),
    };
    refunding::intend(given, wish, (Await::Call, at.host_now), at).map(Some)
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

fn moves_of(before: &Charge, after: &Charge, event: News) -> Vec<Happening> {
    let kind = match event {
        News::LeaseEnded | News::Unclear => EventKind::ChargeUnknown,
        News::Pending => EventKind::ChargePending,
        News::ActionRequired => EventKind::ChargeRequiresAction,
        News::Authorized => EventKind::ChargeAuthorized,
        News::Succeeded => EventKind::ChargeSucceeded,
        News::Mismatched => EventKind::ChargeMismatch,
        News::Failed => EventKind::ChargeFailed,
        News::Canceled if after.state == ChargeState::Voided => EventKind::ChargeVoided,
        News::Canceled => EventKind::ChargeFailed,
    };
    let mut moves = Vec::new();
    if matches!(before.state, ChargeState::Failed | ChargeState::Voided) {
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
