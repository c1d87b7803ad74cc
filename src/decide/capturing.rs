//! Taking an amount that is held, or giving it free.

use super::attempt::{Wanted, attempt, related};
use crate::change::{Change, Setting};
use crate::error::{Error, Invalid, Refused};
use crate::event::{EventKind, Happening, Subject};
use crate::hook::RequestLine;
use crate::money::Amount;
use crate::payment::{Attempt, Await, Charge, ChargeState, Followup, PaymentIntent};
use crate::session::{ExpiredReason, Session, SessionState};
use crate::time::Timestamp;

/// A charge with how it was made.
pub(crate) struct Of<'a> {
    pub(crate) session: &'a Session,
    pub(crate) charge: &'a Charge,
    /// The attempt that made the charge.
    pub(crate) made_by: &'a Attempt,
    /// 1 for the first time that this is asked of the charge.
    pub(crate) number: u32,
}

/// The charge of a session that a capture or a void is about, and none where it was done before.
///
/// # Errors
/// `PaymentInProgress` while a payment or another of these is in flight; `Refused` where nothing is
/// held, or where the other thing was done with it.
pub(crate) fn held(session: &Session, followup: Followup, amount: Option<Amount>) -> Result<Option<&Charge>, Error> {
    let intent = session.payment_intent.as_ref();
    let refused = |state| Refused {
        object: "checkout session",
        state,
        event: followup.event(),
    };
    if let Some(charge) = intent.and_then(PaymentIntent::live_charge) {
        if charge.state == ChargeState::Authorized && charge.asked.is_none() {
            return Ok(Some(charge));
        }
        return Err(Error::PaymentInProgress {
            attempt: charge.id.to_string(),
            since_ms: charge.created_at.as_millis(),
        });
    }
    let mut charges = intent.into_iter().flat_map(|intent| &intent.charges);
    let settled = charges.clone().find(|charge| charge.settles);
    let is_voided = charges.any(|charge| charge.state == ChargeState::Voided);
    match (followup, session.state) {
        (Followup::Capture, SessionState::Complete) => {
            let same = |charge: &Charge| amount.is_none_or(|amount| amount.as_minor() == charge.captured);
            match settled {
                Some(charge) if same(charge) => Ok(None),
                Some(_) => Err(refused("complete with another amount").into()),
                None => Err(refused("complete with nothing to pay").into()),
            }
        }
        (Followup::Void, SessionState::Expired(ExpiredReason::Merchant)) if is_voided => Ok(None),
        (_, state) => Err(refused(state.as_str()).into()),
    }
}

/// Commits to asking what becomes of a held amount. Without an amount a capture takes all of it.
///
/// # Errors
/// `PaymentInProgress` while the amount is being called off; `Invalid` for an amount that is none, more
/// than is held, or of another currency.
pub(crate) fn begin(
    mut session: Session,
    of: &Of<'_>,
    followup: Followup,
    amount: Option<Amount>,
    next: (Await, Timestamp),
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Result<(Session, Attempt), Error> {
    if let Some((Await::Cancel, _)) = of.made_by.next {
        // The service is being asked to give it free: whichever of the two came first, the other would
        // be weighed against an amount that it does not mean.
        return Err(Error::PaymentInProgress {
            attempt: of.charge.id.to_string(),
            since_ms: of.charge.created_at.as_millis(),
        });
    }
    let held = Amount::minor(of.charge.authorized, of.charge.amount.currency())?;
    let amount = amount.unwrap_or(held);
    let fits = (1..=held.as_minor()).contains(&amount.as_minor());
    if amount.currency() != held.currency() || !fits {
        return Err(Invalid::new("amount", amount, format!("above 0, up to the {held} that are held")).into());
    }
    let mut charge = of.charge.clone();
    charge.asked = Some(followup);
    charge.updated_at = at.now;
    let attempt = attempt_of(of, followup, amount, next, at)?;
    change.record(
        Subject::Charge(charge.clone()),
        [Happening::plain(EventKind::ChargeUpdated)],
    );
    charge.revision += 1;
    change.begin(attempt.clone());
    if let Some(intent) = &mut session.payment_intent {
        intent.put(charge);
    }
    Ok((session, attempt))
}

/// The attempt that asks for it.
pub(crate) fn attempt_of(
    of: &Of<'_>,
    followup: Followup,
    amount: Amount,
    next: (Await, Timestamp),
    at: &mut Setting<'_>,
) -> Result<Attempt, Error> {
    let wanted = Wanted {
        operation: followup.operation(),
        subject: of.charge.id.as_str(),
        numbered: (of.charge.id.as_str(), of.number),
        processor: &of.charge.processor,
        session: of.session,
        amount,
        lines: of.session.lines.iter().map(RequestLine::from).collect(),
        method: None,
        context: None,
        related: Some(related(of.made_by, of.charge)),
        next,
    };
    attempt(wanted, at)
}
