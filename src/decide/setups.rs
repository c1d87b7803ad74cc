//! Starting to save a payment method without taking money.

use super::attempt::{Frame, Payer, frozen};
use crate::change::{Change, Setting};
use crate::customer::Customer;
use crate::error::Error;
use crate::event::{EventKind, Happening, Subject};
use crate::hook::{Initiator, Operation};
use crate::money::Amount;
use crate::payment::{Attempt, Await, NewSetup, Setup, SetupState};
use crate::time::Timestamp;

/// By whom a setup is to be done.
pub(crate) struct Means<'a> {
    pub(crate) processor: &'a str,
    /// The processor's own name for the customer.
    pub(crate) customer_ref: Option<String>,
    /// The number of the customer's next setup.
    pub(crate) number: u32,
    /// Host time until which the call may run.
    pub(crate) lease_until: Timestamp,
}

/// Commits to asking.
pub(crate) fn begin(
    new: &NewSetup,
    customer: &Customer,
    means: Means<'_>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Result<(Setup, Attempt), Error> {
    let mut setup = Setup {
        id: at.id(),
        customer: customer.id.clone(),
        number: means.number,
        processor: means.processor.to_owned(),
        currency: new.currency,
        state: SetupState::Initiated,
        method: None,
        reference: None,
        failure: None,
        action: None,
        action_deadline: None,
        mismatched: false,
        created_at: at.now,
        updated_at: at.now,
        revision: 0,
    };
    let payer = Payer {
        initiator: Initiator::BuyerPresent,
        save_method: true,
        customer_ref: means.customer_ref,
    };
    let frame = Frame {
        about: setup.id.as_str(),
        exponent: new.currency.exponent(),
        return_url: new.return_url.clone(),
        operation: Operation::Setup,
        subject: setup.id.as_str(),
        numbered: (customer.id.as_str(), means.number),
        processor: means.processor,
        amount: Amount::zero(new.currency),
        lines: Vec::new(),
        method: new.method.clone(),
        context: new.context.clone(),
        related: None,
        next: (Await::Answer, means.lease_until),
    };
    let attempt = frozen(payer, frame, at)?;
    let created = Happening::created(EventKind::SetupCreated, setup.state.as_str());
    change.record(Subject::Setup(setup.clone()), [created]);
    setup.revision += 1;
    change.begin(attempt.clone());
    Ok((setup, attempt))
}
