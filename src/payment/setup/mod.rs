//! Setups: a payment method is saved without taking money.

mod state;

pub use state::SetupState;

use super::{Failure, News};
use crate::digest::Fields;
use crate::error::{Error, Refused};
use crate::hook::Action;
use crate::id::{CustomerId, PaymentMethodId, SetupId};
use crate::money::Currency;
use crate::text::{self, Url};
use crate::time::Timestamp;

/// One try to save a payment method of a customer without taking money.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setup {
    /// The setup's id.
    pub id: SetupId,
    /// Whose method is saved.
    pub customer: CustomerId,
    /// 1 for the customer's first setup.
    pub number: u32,
    /// The name of the processor that was asked.
    pub processor: String,
    /// The currency in which the method is to be charged later.
    pub currency: Currency,
    /// Where it stands.
    pub state: SetupState,
    /// The method that was saved; none before it is, or where its customer was deleted meanwhile.
    pub method: Option<PaymentMethodId>,
    /// The processor's own name for it, to the byte; none before one is known, or if it gave none that is
    /// kept (see [`crate::Receipt::reference`]).
    pub reference: Option<String>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// What the buyer must do, if anything.
    pub action: Option<Action>,
    /// Engine time until which the action is awaited.
    pub action_deadline: Option<Timestamp>,
    /// Whether the processor told of a success that brings no method that could be kept, or that moved
    /// money: somebody has to look.
    pub mismatched: bool,
    /// Engine time.
    pub created_at: Timestamp,
    /// Engine time.
    pub updated_at: Timestamp,
    pub(crate) revision: i64,
}

impl Setup {
    /// Moves the state machine.
    pub(crate) fn step(&mut self, news: News, at: Timestamp) -> Result<(), Refused> {
        self.state = state::next(self.state, news)?;
        self.updated_at = at;
        Ok(())
    }
}

/// A payment method to be saved; given to `setups().create`.
#[derive(Clone, Debug)]
pub struct NewSetup {
    pub(crate) customer: CustomerId,
    pub(crate) currency: Currency,
    pub(crate) method: Option<String>,
    pub(crate) context: Option<String>,
    pub(crate) return_url: Option<String>,
    pub(crate) idempotency_key: Option<String>,
}

impl NewSetup {
    /// For a customer whose method is to be charged in this currency later. Nothing is taken.
    #[must_use]
    pub fn new(customer: &CustomerId, currency: Currency) -> NewSetup {
        NewSetup {
            customer: customer.clone(),
            currency,
            method: None,
            context: None,
            return_url: None,
            idempotency_key: None,
        }
    }

    /// With the processor's opaque token for the method, up to 500 characters. Never a card number.
    /// Without one the processor asks the buyer itself.
    #[must_use]
    pub fn method(mut self, token: impl Into<String>) -> Self {
        self.method = Some(token.into());
        self
    }

    /// Something for the processor's eyes, up to 4,096 characters. It is stored with the attempt.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// Where the buyer goes after an action on the service's page: an absolute http or https URL.
    #[must_use]
    pub fn return_to(mut self, url: impl Into<String>) -> Self {
        self.return_url = Some(url.into());
        self
    }

    /// The same key makes one setup, and a repetition gets it as it is by then. 1 to 255 visible ASCII
    /// characters.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    pub(crate) fn checked(self) -> Result<NewSetup, Error> {
        text::optional("method", self.method.as_deref(), 500)?;
        text::optional("context", self.context.as_deref(), 4_096)?;
        text::key("idempotency_key", self.idempotency_key.as_deref())?;
        if let Some(url) = &self.return_url {
            Url::parse("return_url", url)?;
        }
        Ok(self)
    }

    /// The hash of everything that was asked for, but the key.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        Fields::new()
            .text(self.customer.as_str())
            .text(self.currency.code())
            .maybe(self.method.as_deref())
            .maybe(self.context.as_deref())
            .maybe(self.return_url.as_deref())
            .finish()
    }
}

#[cfg(test)]
mod tests;
