//! What was learned about an attempt, inside the transaction: what it may move is loaded, weighed and written,
//! and what waited for it is woken.

use super::payments::Payment;
use super::settling::{Heard, Settled, dangling, holdings, settled};
use crate::change::Change;
use crate::customer::Customer;
use crate::decide::settlement::{self, Case, Learned, Unsettled, UnsettledRefund, UnsettledSetup};
use crate::error::Result;
use crate::hook::{Capabilities, Operation, Outcome};
use crate::id::AttemptId;
use crate::payment::{Attempt, Finding, Followup, LatePayments, PaymentMethod, Refund, Setup, reference_of};
use crate::session::SessionState;
use crate::store::{self, Tx};

/// Works what was learned about an attempt into the file. Answers also whether it moved anything.
pub(super) fn weigh_in(
    tx: &mut Tx<'_>,
    attempt: Attempt,
    heard: &Heard,
    capabilities: Option<&Capabilities>,
) -> Result<(Settled, bool)> {
    let learned = Learned {
        finding: &heard.finding,
        actor: heard.actor.to_string(),
        token: heard.token,
        asked_at: heard.asked_at,
        capabilities,
    };
    let known = store::attempt::known(tx.sql, tx.world, &attempt.id)?;
    weigh_case(tx, Case::of(attempt, known), &learned)
}

/// The same for a case that is loaded.
pub(super) fn weigh_case(tx: &mut Tx<'_>, case: Case, learned: &Learned<'_>) -> Result<(Settled, bool)> {
    let attempt = case.attempt.id.clone();
    let (settled, moved) = match case.attempt.operation {
        Operation::Setup => {
            let (setup, moved) = settle_setup(tx, case, learned)?;
            (Settled::Setup(Box::new(setup)), moved)
        }
        Operation::Refund => {
            let (refund, moved) = settle_refund(tx, case, learned)?;
            (Settled::Refund(Box::new(refund)), moved)
        }
        _ => {
            let (payment, moved) = settle_charge(tx, case, learned)?;
            (Settled::Payment(Box::new(payment)), moved)
        }
    };
    if store::notice::any_waits(tx.sql, tx.world)? {
        wake(tx, &attempt, &settled, learned)?;
    }
    Ok((settled, moved))
}

/// Has those notices looked at that waited for this, or for the name that came with it. One about a payment
/// waits under the attempt that made it, also for what becomes of its capture and its refunds.
fn wake(tx: &mut Tx<'_>, attempt: &AttemptId, settled: &Settled, learned: &Learned<'_>) -> Result<()> {
    let reference = learned.finding.outcome().and_then(reference_of);
    store::notice::wake(tx.sql, tx.world, attempt, reference, tx.host_now)?;
    let charge = match settled {
        Settled::Payment(payment) => payment.charge.as_ref().map(|charge| &charge.id),
        Settled::Refund(refund) => Some(&refund.charge),
        Settled::Setup(_) => None,
    };
    if let Some(charge) = charge {
        let made_by = store::attempt::that_made(tx.sql, tx.world, charge.as_str())?;
        store::notice::wake(tx.sql, tx.world, &made_by.id, None, tx.host_now)?;
    }
    Ok(())
}

fn settle_charge(tx: &mut Tx<'_>, case: Case, learned: &Learned<'_>) -> Result<(Payment, bool)> {
    let subject = match learned.finding {
        Finding::Kept { charge, .. } => charge.to_string(),
        _ => case.attempt.subject.clone(),
    };
    let charge = store::payment::charge(tx.sql, tx.world, &subject)?.ok_or_else(|| dangling(&subject))?;
    let session = store::session::get(tx.sql, tx.world, &charge.session)?;
    let found = Unsettled {
        holdings: holdings(tx, &session)?,
        known_method: known_method(tx, &case.attempt.processor, session.customer.as_ref(), learned)?,
        case,
        // What a charge that is live takes pays for its session, and is never late.
        late_payments: if charge.state.is_live() && session.state == SessionState::Processing {
            LatePayments::default()
        } else {
            store::app::late_payments(tx.sql, tx.world.app)?
        },
        session,
    };
    let is_decision = matches!(
        learned.finding,
        Finding::Kept { .. } | Finding::Resolved { outcome: None, .. }
    );
    let mut change = Change::new();
    let (session, declined) = if is_decision {
        let made_by = store::attempt::that_made(tx.sql, tx.world, &subject)?;
        let session = settlement::close(found, &made_by, learned, &mut tx.setting(), &mut change)?;
        (session, None)
    } else if let Some(followup) = Followup::of(found.case.attempt.operation) {
        let made_by = store::attempt::that_made(tx.sql, tx.world, &subject)?;
        let mut at = tx.setting();
        settlement::settle_followup(found, followup, &made_by, learned, &mut at, &mut change)?
    } else {
        let session = settlement::settle(found, learned, &mut tx.setting(), &mut change)?;
        (session, None)
    };
    tx.apply(&change)?;
    let payment = Payment {
        declined,
        ..settled(session.at(tx.now), Some(&subject))
    };
    Ok((payment, change.has_moved()))
}

/// The customer's payment method under the token that a finding names, if it is known.
fn known_method(
    tx: &mut Tx<'_>,
    processor: &str,
    customer: Option<&Customer>,
    learned: &Learned<'_>,
) -> Result<Option<PaymentMethod>> {
    let token = match learned.finding.outcome() {
        Some(Outcome::Succeeded(receipt) | Outcome::Authorized { receipt, .. }) => {
            receipt.saved_method.as_ref().map(|method| &method.token)
        }
        _ => None,
    };
    match customer.zip(token) {
        Some((customer, token)) => store::method::by_token(tx.sql, tx.world, &customer.id, processor, token),
        None => Ok(None),
    }
}

fn settle_setup(tx: &mut Tx<'_>, case: Case, learned: &Learned<'_>) -> Result<(Setup, bool)> {
    let setup = store::setup::get(tx.sql, tx.world, &case.attempt.subject)?;
    let customer = store::customer::get(tx.sql, tx.world, &setup.customer)?;
    let found = UnsettledSetup {
        known_method: known_method(tx, &case.attempt.processor, Some(&customer), learned)?,
        case,
        setup,
        customer,
    };
    let mut change = Change::new();
    let setup = settlement::settle_setup(found, learned, &mut tx.setting(), &mut change);
    tx.apply(&change)?;
    Ok((setup, change.has_moved()))
}

fn settle_refund(tx: &mut Tx<'_>, case: Case, learned: &Learned<'_>) -> Result<(Refund, bool)> {
    let refund = store::refund::get(tx.sql, tx.world, &case.attempt.subject)?;
    let session = store::session::get(tx.sql, tx.world, &refund.session)?;
    let found = UnsettledRefund {
        case,
        refunds: store::refund::of_charge(tx.sql, tx.world, &refund.charge)?,
        refund,
        holdings: holdings(tx, &session)?,
        session,
    };
    let mut change = Change::new();
    let refund = settlement::settle_refund(found, learned, &mut tx.setting(), &mut change)?;
    tx.apply(&change)?;
    Ok((refund, change.has_moved()))
}
