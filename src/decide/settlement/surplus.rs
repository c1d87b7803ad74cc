//! A second success of one attempt: the service took the money twice, under two names.

use super::progress::{Beside, Progress};
use super::{Case, Learned};
use crate::change::{Change, Setting};
use crate::entitlement::Holding;
use crate::error::Error;
use crate::event::{EventKind, Happening};
use crate::hook::{Operation, Outcome};
use crate::payment::{Charge, ChargeState, Hold, LatePayments, MAX_CHARGES, PaymentIntent, Source, Verdict};
use crate::session::Session;

/// The charge of a second success, if that is what a verdict tells of: of an attempt that took its amount
/// already, under another name, and of which nobody has heard yet. A name that a person gave is no other:
/// sending back what the service calls otherwise would send back all there is. The error is that there can be
/// no row for it: it is over another currency or more than was asked, or there are too many.
pub(super) fn found(
    case: &Case,
    intent: &PaymentIntent,
    before: &Charge,
    verdict: &Verdict,
    learned: &Learned<'_>,
    at: &mut Setting<'_>,
) -> Result<Option<Charge>, ()> {
    let Some(Outcome::Succeeded(receipt)) = learned.finding.outcome() else {
        return Ok(None);
    };
    let (Some(known), Some(reference)) = (&before.reference, &verdict.reference) else {
        return Ok(None);
    };
    let is_known = |charge: &Charge| charge.reference.as_ref() == Some(reference) && !planted!(SurplusCountsAgain);
    let is_second = case.attempt.operation == Operation::Charge
        && before.state == ChargeState::Succeeded
        && known != reference
        && !intent.charges.iter().any(is_known);
    if !is_second || planted!(SurplusOverlooked) {
        return Ok(None);
    }
    if case.past.succeeded_by == Some(Source::Operator) {
        return (receipt.amount == before.amount).then_some(None).ok_or(());
    }
    let fits = receipt.amount.currency() == before.amount.currency()
        && (1..=before.amount.as_minor()).contains(&receipt.amount.as_minor());
    if !fits || intent.charges.len() >= MAX_CHARGES {
        return Err(());
    }
    Ok(Some(Charge {
        id: at.id(),
        number: u32::try_from(intent.charges.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1),
        comes_with: Some(before.id.clone()),
        amount: receipt.amount,
        captured: receipt.amount.as_minor(),
        refunded: 0,
        refund_reserved: 0,
        lost: 0,
        fee: receipt.fee.filter(|fee| fee.currency() == receipt.amount.currency()),
        reference: Some(reference.clone()),
        hold: Some(Hold::Surplus),
        hold_closed: false,
        settles: false,
        created_at: at.now,
        updated_at: at.now,
        revision: 0,
        ..before.clone()
    }))
}

/// Writes down a second success, and sends the money back where the app wants that.
pub(super) fn record(
    case: Case,
    on: Progress,
    surplus: Charge,
    (verdict, late_payments): (Verdict, LatePayments),
    learned: &Learned<'_>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Result<Session, Error> {
    let (made_by, name) = (case.attempt.clone(), case.attempt.reference.clone());
    case.note(verdict, true, learned, at, change);
    // The attempt keeps the name of its own money.
    if let Some(entry) = change.ledger.last_mut() {
        entry.attempt.reference = name;
    }
    let arrived = Progress {
        before: Charge {
            state: ChargeState::Initiated,
            ..surplus.clone()
        },
        charge_moves: vec![Happening::created(EventKind::ChargeSucceeded, surplus.state.as_str())],
        charge: surplus,
        session_moves: vec![Happening::plain(EventKind::SessionLatePayment)],
        ..on
    };
    let beside = Beside {
        holdings: Vec::<Holding>::new(),
        late_payments,
        made_by: &made_by,
        grants: false,
    };
    arrived.record(beside, at, change)
}
