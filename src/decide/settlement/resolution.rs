//! What a person found out at the payment service, or decided.
//!
//! That something came about as it was asked for, or did not, is evidence like any other and is weighed
//! as such. What becomes of money that went over another amount, or that settled nothing, is a decision,
//! and is worked in here.

use super::charge::Unsettled;
use super::progress::{Beside, Progress};
use super::{Case, Learned, Standing, failure};
use crate::change::{Change, Setting};
use crate::error::{Error, Refused};
use crate::event::{EventKind, Happening};
use crate::hook::{Operation, Outcome, Receipt, Request};
use crate::payment::{
    Attempt, Await, CaptureMethod, Charge, ChargeState, Finding, Hold, LatePayments, News, Refund, RefundState,
    Resolution, Setup, SetupState, Unresolved,
};
use crate::session::Session;
use crate::time::Timestamp;

/// What an attempt is about.
pub(crate) enum About<'a> {
    Charge(&'a Charge),
    Refund(&'a Refund),
    Setup(&'a Setup),
}

impl About<'_> {
    fn is_open(&self) -> bool {
        match self {
            About::Charge(charge) => charge.state.is_live(),
            About::Refund(refund) => refund.state.is_open(),
            About::Setup(setup) => setup.state.is_live(),
        }
    }

    fn is_mismatched(&self) -> bool {
        match self {
            About::Charge(charge) => charge.awaits_decision(),
            About::Refund(refund) => refund.mismatched,
            About::Setup(setup) => setup.mismatched,
        }
    }

    /// Why somebody has to decide about an attempt, if they have to. What was due in host time at
    /// `idle_since` and was not done is nobody's any more.
    pub(crate) fn unresolved(&self, attempt: &Attempt, idle_since: Timestamp) -> Option<Unresolved> {
        let (is_open, is_mismatched) = (self.is_open(), self.is_mismatched());
        let is_idle = attempt.next.is_some_and(|(_, due)| due <= idle_since);
        if attempt.unresolved && is_mismatched {
            return Some(Unresolved::Mismatch);
        }
        if attempt.unresolved && is_open {
            return Some(match attempt.next {
                None => Unresolved::NoLookups,
                Some((Await::Call | Await::Answer, _)) => Unresolved::NotSent,
                Some((Await::Lookup | Await::Cancel, _)) => Unresolved::Silent,
            });
        }
        if is_idle && (is_open || is_mismatched) {
            return Some(Unresolved::NobodyAsks);
        }
        match self {
            About::Charge(charge) => (attempt.operation == Operation::Charge
                && attempt.next.is_none()
                && charge.state == ChargeState::Authorized
                && charge.capture == CaptureMethod::Automatic
                && charge.asked.is_none())
            .then_some(Unresolved::HeldInstead),
            About::Refund(_) | About::Setup(_) => None,
        }
    }

    /// Whether what somebody says is so already.
    fn is_so(&self, resolution: &Resolution, case: &Case) -> bool {
        let attempt = &case.attempt;
        let is_over = attempt.next.is_none() && !attempt.unresolved;
        match (self, resolution) {
            (About::Refund(refund), Resolution::Succeeded { .. }) => refund.state == RefundState::Succeeded,
            (About::Refund(refund), Resolution::Failed) => !refund.mismatched && is_failed(refund),
            (About::Refund(refund), Resolution::SettledOutside) => {
                !refund.mismatched && is_failed(refund) && case.past.settled_outside
            }
            (About::Setup(setup), Resolution::Succeeded { .. }) => setup.state == SetupState::Succeeded,
            (About::Setup(setup), Resolution::Failed | Resolution::SettledOutside) => {
                !setup.mismatched && matches!(setup.state, SetupState::Failed | SetupState::Canceled)
            }
            (About::Refund(_) | About::Setup(_), Resolution::SendBack) => false,
            (About::Charge(charge), Resolution::SendBack) => {
                charge.hold == Some(Hold::Mismatch) && charge.state == ChargeState::Succeeded
            }
            (About::Charge(charge), Resolution::SettledOutside) => {
                charge.hold == Some(Hold::Mismatch) && charge.hold_closed && charge.state != ChargeState::Succeeded
            }
            (About::Charge(charge), Resolution::Succeeded { .. }) => match attempt.operation {
                Operation::Void => charge.state == ChargeState::Voided,
                Operation::Authorize if charge.state == ChargeState::Authorized => true,
                _ => charge.state == ChargeState::Succeeded && charge.hold != Some(Hold::Mismatch),
            },
            (About::Charge(charge), Resolution::Failed) => match attempt.operation {
                Operation::Void => is_over && charge.state != ChargeState::Voided,
                Operation::Capture => {
                    is_over && charge.state != ChargeState::Succeeded && charge.hold != Some(Hold::Mismatch)
                }
                _ => {
                    matches!(charge.state, ChargeState::Failed | ChargeState::Voided)
                        && charge.hold != Some(Hold::Mismatch)
                }
            },
        }
    }
}

fn is_failed(refund: &Refund) -> bool {
    matches!(refund.state, RefundState::Failed | RefundState::Canceled)
}

/// What somebody says of an attempt, as it is learned; none where it is so already.
///
/// # Errors
/// `Refused` for a setup that is said to have succeeded, since nobody can say which method it saved; corrupt
/// storage, if the attempt's request does not parse.
pub(crate) fn finding(
    resolution: Resolution,
    note: String,
    case: &Case,
    about: &About<'_>,
) -> Result<Option<Finding>, Error> {
    if about.is_so(&resolution, case) {
        return Ok(None);
    }
    let attempt = &case.attempt;
    if let (About::Setup(setup), Resolution::Succeeded { .. }) = (about, &resolution) {
        return Err(Refused {
            object: "setup",
            state: setup.state.as_str(),
            event: "to resolve it as succeeded, since only its service can say which method it saved (resolve it as \
                    failed, and make another),",
        }
        .into());
    }
    let outcome = match &resolution {
        Resolution::Succeeded { reference } => {
            let asked = Request::from_bytes(&attempt.request)?.money()?;
            let receipt = Receipt::new(reference.as_deref().unwrap_or_default(), asked);
            Some(match attempt.operation {
                Operation::Authorize => Outcome::Authorized {
                    receipt,
                    expires_at: None,
                },
                _ => Outcome::Succeeded(receipt),
            })
        }
        Resolution::Failed => Some(Outcome::Declined {
            code: String::new(),
            message: String::new(),
            advice: None,
        }),
        Resolution::SendBack | Resolution::SettledOutside => None,
    };
    Ok(Some(Finding::Resolved {
        resolution,
        outcome,
        note,
    }))
}

/// That money which settled nothing stays where it is, as it is learned; none where that is so already.
pub(crate) fn finding_of_keeping(charge: &Charge, note: String) -> Option<Finding> {
    let is_kept = charge.hold_closed && charge.state == ChargeState::Succeeded;
    (!is_kept).then(|| Finding::Kept {
        charge: charge.id.clone(),
        note,
    })
}

/// Works a decision about a charge's money into it, its intent and its session. `made_by` is the attempt
/// that made the charge.
///
/// # Errors
/// `Refused` where there is nothing of the kind to decide; corrupt storage, if the attempt belongs to no
/// charge of its session.
pub(crate) fn close(
    found: Unsettled,
    made_by: &Attempt,
    learned: &Learned<'_>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Result<Session, Error> {
    let Unsettled {
        mut case,
        session,
        holdings,
        ..
    } = found;
    let subject = match learned.finding {
        Finding::Kept { charge, .. } => charge.as_str(),
        _ => &case.attempt.subject,
    };
    let mut on = Progress::on(session, &case.attempt, subject)?;
    let Some(mut verdict) = case.weigh(learned, on.before.amount, at) else {
        return Ok(on.unmoved());
    };
    match learned.finding {
        Finding::Resolved {
            resolution: Resolution::SendBack,
            ..
        } if on.before.awaits_decision() => {
            let event = Resolution::SendBack.event();
            let refused = |state| Refused {
                object: "charge",
                state,
                event,
            };
            let taken = case.past.moved.ok_or_else(|| refused("held over another amount"))?;
            if taken.currency() != on.charge.amount.currency() {
                return Err(refused("paid in another currency").into());
            }
            verdict.amount = Some(taken);
            on.charge.step(News::Succeeded, at.now)?;
            on.charge.captured = taken.as_minor();
            on.charge.failure = None;
            let (from, to) = (on.before.state.as_str(), on.charge.state.as_str());
            on.charge_moves
                .push(Happening::moved(EventKind::ChargeSucceeded, from, to));
            if on.before.state.is_live() {
                on.reopen(at.now)?;
                on.session_moves.push(Happening::plain(EventKind::SessionLatePayment));
            }
        }
        Finding::Resolved {
            resolution: Resolution::SettledOutside,
            ..
        } if on.before.awaits_decision() => {
            on.charge.hold_closed = true;
            on.charge.updated_at = at.now;
            if on.before.state.is_live() {
                on.charge.step(News::Failed, at.now)?;
                on.charge.failure = Some(failure(learned.finding));
                let (from, to) = (on.before.state.as_str(), on.charge.state.as_str());
                on.charge_moves
                    .push(Happening::moved(EventKind::ChargeFailed, from, to));
                on.reopen(at.now)?;
            } else {
                on.charge_moves.push(Happening::plain(EventKind::ChargeUpdated));
            }
        }
        Finding::Kept { .. } if on.before.hold.is_some() && on.before.refundable() > 0 => {
            on.charge.hold_closed = true;
            on.charge.updated_at = at.now;
            on.charge_moves.push(Happening::plain(EventKind::ChargeUpdated));
        }
        _ => {}
    }
    let moved = !on.charge_moves.is_empty();
    // Of money that is kept nothing was awaited: what is due about its attempt is due for another reason.
    if !matches!(learned.finding, Finding::Kept { .. }) {
        case.schedule(Standing::Settled, learned, &verdict, at.host_now);
    }
    case.note(verdict, moved, learned, at, change);
    let beside = Beside {
        holdings,
        // Whoever says that it goes back says so in place of the app's rule.
        late_payments: LatePayments::Refund,
        made_by,
        grants: false,
    };
    on.record(beside, at, change)
}
