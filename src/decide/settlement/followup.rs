//! What was learned about taking an amount that is held, or about giving it free.

use super::charge::Unsettled;
use super::progress::{Beside, Progress};
use super::{Case, Learned, Stake, Standing, failure};
use crate::change::{Change, Setting};
use crate::decide::methods;
use crate::error::Error;
use crate::event::{EventKind, Happening};
use crate::hook::{Outcome, Request};
use crate::money::Amount;
use crate::payment::{Attempt, CaptureMethod, Charge, ChargeState, Failure, Followup, Hold, News, Verdict};
use crate::session::Session;

/// Works a finding about a capture or a void into the charge, its intent, its session, and what a sale
/// grants. `made_by` is the attempt that made the charge. Answers also why it failed, where the amount
/// is held on.
///
/// # Errors
/// Corrupt storage, if the attempt belongs to no charge of its session, or its request does not parse.
pub(crate) fn settle_followup(
    found: Unsettled,
    followup: Followup,
    made_by: &Attempt,
    learned: &Learned<'_>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Result<(Session, Option<Failure>), Error> {
    let Unsettled {
        mut case,
        session,
        holdings,
        late_payments,
        known_method,
    } = found;
    let asked = Request::from_bytes(&case.attempt.request)?.money()?;
    let mut on = Progress::of(session, &case.attempt)?;
    // One that was found not to have been done is over, and another may be in flight since: what its own
    // call says late ends nothing of that.
    let is_open = case.attempt.next.is_some() || case.attempt.unresolved;
    let Some(verdict) = case.weigh(learned, asked, at) else {
        return Ok((on.unmoved(), None));
    };
    let stake = if is_open { Stake::Outcome } else { Stake::Nothing };
    let mut verdict = case.doubt(verdict, learned, stake);
    let news = match (followup, verdict.event) {
        (Followup::Capture, Some(news @ (News::Succeeded | News::Mismatched | News::Canceled))) => Some(news),
        // To give free what is held is to call it off, whatever amount is named with it.
        (Followup::Void, Some(News::Succeeded | News::Mismatched | News::Canceled)) => Some(News::Canceled),
        _ => None,
    };
    let moved = news.filter(|news| on.before.hold != Some(Hold::Mismatch) && on.charge.step(*news, at.now).is_ok());
    // The amount is held on, and the host may say again what is to become of it.
    let is_in_doubt = matches!(verdict.event, Some(News::Unclear | News::LeaseEnded));
    let is_refused = verdict.event == Some(News::Failed) || planted!(CaptureInDoubtIsFailed) && is_in_doubt;
    let is_own = is_open && on.before.asked == Some(followup);
    // What the engine takes by itself, because it was to be taken at once, is asked for until it is.
    let retried = verdict.is_not_sent() && is_own && on.before.capture == CaptureMethod::Automatic;
    let declined = is_refused && is_own && !retried;
    if let Some(news) = moved {
        move_on(&mut on, news, followup, &verdict, asked, learned, at)?;
    } else if declined {
        on.charge.asked = None;
        on.charge.updated_at = at.now;
        on.charge_moves.push(Happening::plain(EventKind::ChargeUpdated));
        if on.charge.capture == CaptureMethod::Automatic {
            // The host did not ask for it, so it has to be told that the amount is held on.
            on.charge_moves.push(Happening::plain(EventKind::ChargeUnresolved));
        }
    } else if took_too(&case, &on.before, &verdict, followup) {
        on.charge.updated_at = at.now;
        on.charge_moves.push(Happening::plain(EventKind::ChargeContradicted));
        case.attempt.reference.clone_from(&verdict.reference);
    }
    if retried {
        case.try_again(at.host_now);
    } else {
        let standing = match on.charge.state {
            _ if on.charge.awaits_decision() => Standing::Held,
            _ if is_open && on.charge.asked == Some(followup) => Standing::Open,
            _ => Standing::Settled,
        };
        if case.schedule(standing, learned, &verdict, at.host_now) {
            on.charge_moves.push(Happening::plain(EventKind::ChargeUnresolved));
        }
    }
    let payer = on.session.customer.as_ref();
    methods::learn(
        &mut verdict,
        (&case.attempt, on.before.created_at),
        payer,
        known_method,
        at,
        change,
    );
    case.note(verdict, moved.is_some() || declined, learned, at, change);
    let beside = Beside {
        holdings,
        late_payments,
        made_by,
        grants: true,
    };
    let session = on.record(beside, at, change)?;
    Ok((session, declined.then(|| failure(learned.finding))))
}

/// Moves a charge, and its session, by what became of the amount that it held.
fn move_on(
    on: &mut Progress,
    news: News,
    followup: Followup,
    verdict: &Verdict,
    asked: Amount,
    learned: &Learned<'_>,
    at: &Setting<'_>,
) -> Result<(), Error> {
    on.charge.asked = None;
    if verdict.reference.is_some() && followup == Followup::Capture {
        on.charge.reference.clone_from(&verdict.reference);
    }
    on.charge.hold = (news == News::Mismatched).then_some(Hold::Mismatch);
    on.charge.hold_closed = false;
    if on.charge.state != ChargeState::Failed {
        on.charge.failure = None;
    }
    if let (News::Succeeded, Some(Outcome::Succeeded(receipt))) = (news, learned.finding.outcome()) {
        on.charge.fee = receipt.fee.filter(|fee| fee.currency() == asked.currency());
    }
    let kind = match on.charge.state {
        _ if news == News::Mismatched => EventKind::ChargeMismatch,
        ChargeState::Succeeded => EventKind::ChargeSucceeded,
        _ => EventKind::ChargeVoided,
    };
    if !on.before.state.is_live() {
        on.charge_moves.push(Happening::plain(EventKind::ChargeContradicted));
    }
    let (from, to) = (on.before.state.as_str(), on.charge.state.as_str());
    on.charge_moves.push(Happening::moved(kind, from, to));
    match on.charge.state {
        // It was over before, so the session is not its concern any more; the money is held.
        ChargeState::Failed | ChargeState::Voided if news == News::Mismatched => {
            on.session_moves.push(Happening::plain(EventKind::SessionLatePayment));
        }
        ChargeState::Succeeded => {
            on.charge_moves.push(Happening::plain(EventKind::ChargeCaptured));
            on.place_money(asked.as_minor(), at.now)?;
        }
        ChargeState::Voided => {
            on.charge.authorized = 0;
            on.charge.authorized_until = None;
            match followup {
                Followup::Void => on.close(at.now)?,
                // It was given free behind the host's back; the buyer may pay anew.
                Followup::Capture => on.reopen(at.now)?,
            }
        }
        _ => {
            on.charge.authorized = 0;
            on.charge.authorized_until = None;
        }
    }
    Ok(())
}

/// Whether a capture took money although the charge had taken its own by then: after the capture had failed
/// for certain, or under another name. It is booked nowhere, and is for somebody to see. The attempt takes
/// the name of it, so that it is told of once.
fn took_too(case: &Case, before: &Charge, verdict: &Verdict, followup: Followup) -> bool {
    let is_another = verdict.reference.is_some() && verdict.reference != before.reference;
    matches!(verdict.event, Some(News::Succeeded | News::Mismatched))
        && followup == Followup::Capture
        && before.state == ChargeState::Succeeded
        && case.attempt.reference.is_none()
        && (case.past.failed || is_another)
}
