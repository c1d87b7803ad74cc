//! What was learned about collecting an amount, or about holding it.

use super::progress::{Beside, Progress};
use super::{Case, Learned, Stake, Standing, failure, surplus};
use crate::change::{Change, Setting};
use crate::decide::{capturing, methods};
use crate::entitlement::Holding;
use crate::error::Error;
use crate::event::{EventKind, Happening};
use crate::hook::Outcome;
use crate::payment::{
    Await, CaptureMethod, Charge, ChargeState, Failure, Finding, Followup, Hold, LatePayments, News, PaymentMethod,
    Source, Verdict,
};
use crate::session::Session;

/// An attempt with everything that its outcome may move.
pub(crate) struct Unsettled {
    pub(crate) case: Case,
    pub(crate) session: Session,
    /// The beneficiary's holdings in the lines that the session's products belong to.
    pub(crate) holdings: Vec<Holding>,
    /// What the app does with money that comes too late.
    pub(crate) late_payments: LatePayments,
    /// The customer's payment method under the token that the finding names, if it is known.
    pub(crate) known_method: Option<PaymentMethod>,
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
        session,
        holdings,
        late_payments,
        known_method,
    } = found;
    let mut on = Progress::of(session, &case.attempt)?;
    let Some(verdict) = case.weigh(learned, on.before.amount, at) else {
        return Ok(on.unmoved());
    };
    let mut verdict = case.doubt(verdict, learned, at_stake(&on.before));
    let mut overflows = false;
    match surplus::found(&case, &on.intent, &on.before, &verdict, learned, at) {
        Ok(Some(charge)) => return surplus::record(case, on, charge, (verdict, late_payments), learned, at, change),
        Ok(None) => {}
        Err(()) => overflows = true,
    }
    // Money over another amount waits for a decision. Nothing that is said later puts it out of
    // sight, but that the amount was taken as asked after all.
    let is_mismatched = on.before.hold == Some(Hold::Mismatch);
    let news = verdict.event.map(|news| match news {
        // What is called off because its time is over has lapsed, and is nobody's decision.
        News::Canceled if has_lapsed(&on.before, at) => News::Failed,
        // What somebody says of an amount that is held is that it is free.
        News::Failed if verdict.source == Source::Operator && on.before.state == ChargeState::Authorized => {
            News::Canceled
        }
        news => news,
    });
    let weighs = |news| !is_mismatched || news == News::Succeeded;
    let moved =
        news.filter(|news| weighs(*news) && (on.charge.step(*news, at.now).is_ok() || planted!(SecondSuccessCounts)));
    if let Some(news) = moved {
        describe(&mut on.charge, &on.before, news, &verdict, learned.finding, at);
        match on.charge.state {
            ChargeState::Succeeded => on.place_money(on.charge.amount.as_minor(), at.now)?,
            // It had failed before, so the session is not its concern any more; the money is held.
            ChargeState::Failed | ChargeState::Voided if news == News::Mismatched => {
                on.session_moves.push(Happening::plain(EventKind::SessionLatePayment));
            }
            ChargeState::Failed | ChargeState::Voided => on.reopen(at.now)?,
            _ => {}
        }
        on.charge_moves = moves_of(&on.before, &on.charge, news);
    }
    let confirmed = confirms(&case, &on.before, &verdict);
    if confirmed {
        on.charge.reference.clone_from(&verdict.reference);
        on.charge.updated_at = at.now;
        on.charge_moves.push(Happening::plain(EventKind::ChargeUpdated));
    }
    let is_called_off = matches!(case.attempt.next, Some((Await::Cancel, _)));
    let standing = standing(&on.charge, is_called_off);
    if case.schedule(standing, learned, &verdict, at.host_now) || overflows {
        on.charge_moves.push(Happening::plain(EventKind::ChargeUnresolved));
    }
    let made_by = case.attempt.clone();
    let payer = on.session.customer.as_ref();
    methods::learn(
        &mut verdict,
        (&made_by, on.before.created_at),
        payer,
        known_method,
        at,
        change,
    );
    case.note(verdict, moved.is_some() || confirmed, learned, at, change);
    // The service was asked to take the amount and holds it instead, so it is to take it now.
    let taken_late = moved == Some(News::Authorized) && on.charge.capture == CaptureMethod::Automatic && !is_called_off;
    let capture = taken_late.then(|| {
        on.charge.asked = Some(Followup::Capture);
        capturing::attempt_of(
            &capturing::Of {
                session: &on.session,
                charge: &on.charge,
                made_by: &made_by,
                number: 1,
            },
            Followup::Capture,
            on.charge.amount,
            (Await::Call, at.host_now),
            at,
        )
    });
    let beside = Beside {
        holdings,
        late_payments,
        made_by: &made_by,
        grants: !(planted!(LookupGrantsNothing) && matches!(learned.finding, Finding::LookedUp(_))),
    };
    let session = on.record(beside, at, change)?;
    if let Some(capture) = capture.transpose()? {
        change.begin(capture);
    }
    Ok(session)
}

/// What a decline could end.
fn at_stake(before: &Charge) -> Stake {
    match before.state {
        ChargeState::RequiresAction => Stake::OneTry,
        state if !state.is_live() => Stake::Nothing,
        _ if before.asked.is_some() => Stake::Elsewhere,
        _ => Stake::Outcome,
    }
}

/// How an attempt stands that has made a charge, after what was learned.
fn standing(charge: &Charge, is_called_off: bool) -> Standing {
    match charge.state {
        _ if charge.awaits_decision() => Standing::Held,
        // What is held stays so until the host says something, or its time is over.
        ChargeState::Authorized if !is_called_off => Standing::Settled,
        state if state.is_live() => Standing::Open,
        _ => Standing::Settled,
    }
}

/// Whether the service says what only a person has said so far, and calls it otherwise.
fn confirms(case: &Case, before: &Charge, verdict: &Verdict) -> bool {
    case.past.succeeded_by == Some(Source::Operator)
        && before.state == ChargeState::Succeeded
        && verdict.event == Some(News::Succeeded)
        && verdict.reference.is_some()
        && verdict.reference != before.reference
}

/// Whether the time is over for which an amount is held.
fn has_lapsed(charge: &Charge, at: &Setting<'_>) -> bool {
    charge.state == ChargeState::Authorized && charge.authorized_until.is_some_and(|until| until <= at.now)
}

/// Puts into the charge what was learned beside its state.
fn describe(charge: &mut Charge, before: &Charge, news: News, verdict: &Verdict, finding: &Finding, at: &Setting<'_>) {
    if verdict.reference.is_some() {
        charge.reference.clone_from(&verdict.reference);
    }
    charge.failure = match (charge.state, news) {
        (ChargeState::Failed, News::Mismatched) => charge.failure.take(),
        (ChargeState::Failed, _) if has_lapsed(before, at) => Some(Failure {
            code: "authorization_expired".to_owned(),
            message: "The amount was held for too long.".to_owned(),
            advice: None,
        }),
        (ChargeState::Failed, _) => Some(failure(finding)),
        _ => None,
    };
    charge.hold = (news == News::Mismatched).then_some(Hold::Mismatch);
    charge.hold_closed = false;
    charge.action = None;
    charge.action_deadline = None;
    charge.asked = None;
    if charge.state != ChargeState::Authorized {
        charge.authorized = 0;
        charge.authorized_until = None;
    }
    let Some(outcome) = finding.outcome() else {
        return;
    };
    match (news, outcome) {
        (News::Succeeded, Outcome::Succeeded(receipt)) => {
            charge.fee = receipt.fee.filter(|fee| fee.currency() == charge.amount.currency());
        }
        (News::ActionRequired, Outcome::RequiresAction { action, within, .. }) => {
            charge.action = action.keepable();
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

fn moves_of(before: &Charge, after: &Charge, news: News) -> Vec<Happening> {
    let kind = match news {
        News::LeaseEnded | News::Unclear => EventKind::ChargeUnknown,
        News::Pending => EventKind::ChargePending,
        News::ActionRequired => EventKind::ChargeRequiresAction,
        News::Authorized => EventKind::ChargeAuthorized,
        News::Succeeded => EventKind::ChargeSucceeded,
        News::Mismatched => EventKind::ChargeMismatch,
        News::Canceled if after.state == ChargeState::Voided => EventKind::ChargeVoided,
        News::Failed | News::Canceled => EventKind::ChargeFailed,
    };
    let mut moves = Vec::new();
    if matches!(before.state, ChargeState::Failed | ChargeState::Voided) {
        moves.push(Happening::plain(EventKind::ChargeContradicted));
    }
    moves.push(Happening::moved(kind, before.state.as_str(), after.state.as_str()));
    if before.state == ChargeState::Authorized && after.state == ChargeState::Succeeded {
        moves.push(Happening::plain(EventKind::ChargeCaptured));
    }
    moves
}
