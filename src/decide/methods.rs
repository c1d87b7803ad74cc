//! Payment methods of a customer: saved by what a processor says, and detached.

use crate::change::{Change, CustomerReference, Setting};
use crate::customer::Customer;
use crate::event::{EventKind, Happening, Subject};
use crate::hook::SavedMethod;
use crate::payment::{Attempt, MethodState, News, PaymentMethod, Verdict};
use crate::time::Timestamp;

/// Keeps what a success tells of the customer, and says in the verdict what it could not keep. `asked_at` is
/// the engine time of what was asked for, `known` the method that is known under the token that the success
/// names. Answers the method, if there is one.
pub(crate) fn learn(
    verdict: &mut Verdict,
    (attempt, asked_at): (&Attempt, Timestamp),
    customer: Option<&Customer>,
    known: Option<PaymentMethod>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Option<PaymentMethod> {
    let is_success = matches!(verdict.event, Some(News::Succeeded | News::Authorized));
    if !is_success || (verdict.saved_method.is_none() && verdict.customer_ref.is_none()) {
        return None;
    }
    let Some(customer) = customer.filter(|customer| customer.deleted_at.is_none()) else {
        verdict.not_kept("what is told of a customer, as there is none");
        return None;
    };
    if let Some(reference) = &verdict.customer_ref {
        change.refer(CustomerReference {
            customer: customer.id.clone(),
            processor: attempt.processor.clone(),
            reference: reference.clone(),
            attempt: attempt.id.clone(),
            at: at.now,
        });
    }
    let given = verdict.saved_method.clone()?;
    let known = match known {
        Some(known) => {
            let is_older = known.detached_at.is_some_and(|detached| asked_at <= detached);
            if is_older {
                // It was detached since this was asked for.
                verdict.not_kept("a payment method that was detached");
                return None;
            }
            known
        }
        None => PaymentMethod {
            id: at.id(),
            customer: customer.id.clone(),
            processor: attempt.processor.clone(),
            token: given.token.clone(),
            brand: None,
            last4: None,
            expiry: None,
            state: MethodState::Attached,
            attempt: attempt.id.clone(),
            created_at: at.now,
            updated_at: at.now,
            detached_at: None,
            revision: 0,
        },
    };
    Some(attach(known, given, attempt, at, change))
}

/// The method as it is known from now on; what changes nothing writes nothing.
fn attach(
    before: PaymentMethod,
    given: SavedMethod,
    attempt: &Attempt,
    at: &Setting<'_>,
    change: &mut Change,
) -> PaymentMethod {
    let mut after = PaymentMethod {
        brand: given.brand.or_else(|| before.brand.clone()),
        last4: given.last4.or_else(|| before.last4.clone()),
        expiry: given.expiry.or(before.expiry),
        state: MethodState::Attached,
        ..before.clone()
    };
    if after == before && before.revision > 0 {
        return before;
    }
    after.attempt = attempt.id.clone();
    after.updated_at = at.now;
    let word = after.state.as_str();
    let attached = match before.revision {
        0 => Happening::created(EventKind::MethodAttached, word),
        _ => Happening::moved(EventKind::MethodAttached, before.state.as_str(), word),
    };
    recorded(after, attached, change)
}

/// Detaches a method. One that is detached already stays as it is, so asking twice is harmless; but if
/// something was `asked_since` of which the outcome may attach it again, it is detached from that too.
pub(crate) fn detach(before: PaymentMethod, asked_since: bool, at: &Setting<'_>, change: &mut Change) -> PaymentMethod {
    if before.state == MethodState::Detached && !asked_since {
        return before;
    }
    let detached = Happening::moved(
        EventKind::MethodDetached,
        before.state.as_str(),
        MethodState::Detached.as_str(),
    );
    let after = PaymentMethod {
        state: MethodState::Detached,
        updated_at: at.now,
        detached_at: Some(at.now),
        ..before
    };
    recorded(after, detached, change)
}

fn recorded(mut after: PaymentMethod, happening: Happening, change: &mut Change) -> PaymentMethod {
    change.record(Subject::PaymentMethod(after.clone()), [happening]);
    after.revision += 1;
    after
}
