//! Payment methods that a service keeps for a customer, to be charged by its token.

use std::time::Duration;

use crate::error::{Error, Unusable};
use crate::hook::SavedMethod;
use crate::id::{AttemptId, CustomerId, PaymentMethodId};
use crate::text;
use crate::time::Timestamp;

/// A month is over where it ends last, twelve hours after it is in UTC: until then a card is good
/// somewhere.
const LAST_ZONE: Duration = Duration::from_secs(12 * 3_600);

/// The most characters of a token, and of a service's own name for a customer.
pub(crate) const MAX_TOKEN: usize = 255;

/// The most characters of a brand.
const MAX_BRAND: usize = 32;

/// A payment method that a payment service keeps for a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PaymentMethod {
    /// The method's id.
    pub id: PaymentMethodId,
    /// Whose it is.
    pub customer: CustomerId,
    /// The name of the processor that keeps it, the only one that can charge it.
    pub processor: String,
    /// The processor's own opaque token for it.
    pub token: String,
    /// The brand as a word, such as `visa`; none if the service does not say.
    pub brand: Option<String>,
    /// The last four digits of the number; none if the service does not say.
    pub last4: Option<String>,
    /// The last month in which it is good, 1 to 12, with its year; none if it does not end, or the
    /// service does not say.
    pub expiry: Option<(u8, u16)>,
    /// Whether it can be charged.
    pub state: MethodState,
    /// Engine time.
    pub created_at: Timestamp,
    /// Engine time.
    pub updated_at: Timestamp,
    /// The attempt whose success told of it last.
    pub(crate) attempt: AttemptId,
    /// Engine time at which it was detached: what was asked for before attaches it no more.
    pub(crate) detached_at: Option<Timestamp>,
    pub(crate) revision: i64,
}

/// Whether a payment method can be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MethodState {
    /// It can.
    Attached,
    /// It was detached from its customer, and is charged no more.
    Detached,
}

impl MethodState {
    pub(crate) const ALL: [MethodState; 2] = [MethodState::Attached, MethodState::Detached];

    /// `attached` or `detached`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MethodState::Attached => "attached",
            MethodState::Detached => "detached",
        }
    }
}

impl PaymentMethod {
    /// Whether its last month is over at an engine time, everywhere.
    #[must_use]
    pub fn is_expired(&self, at: Timestamp) -> bool {
        let end = self
            .expiry
            .and_then(|(month, year)| Timestamp::after_month(month, year));
        end.is_some_and(|end| at >= end.plus(LAST_ZONE))
    }

    /// The method, if a customer can be charged by it at an engine time.
    ///
    /// # Errors
    /// `MethodUnusable`.
    pub(crate) fn chargeable(&self, customer: Option<&CustomerId>, at: Timestamp) -> Result<&PaymentMethod, Error> {
        let why = if customer != Some(&self.customer) {
            Unusable::NotOfThisCustomer
        } else if self.state == MethodState::Detached && !planted!(DetachedIsCharged) {
            Unusable::Detached
        } else if self.is_expired(at) {
            Unusable::Expired
        } else {
            return Ok(self);
        };
        Err(Error::MethodUnusable {
            method: self.id.to_string(),
            why,
        })
    }
}

/// What of a saved method can be kept, and why not the rest.
pub(crate) fn keepable(given: &SavedMethod) -> (Option<SavedMethod>, Vec<String>) {
    let mut dropped = Vec::new();
    let token = match text::text("saved_method.token", &given.token, MAX_TOKEN) {
        Ok(token) => token,
        Err(refused) => return (None, vec![refused.to_string()]),
    };
    let mut fits = |field: &str, is_good: bool| {
        if !is_good {
            dropped.push(format!("saved_method.{field}"));
        }
        is_good
    };
    let is_word = |brand: &String| {
        let of_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        (1..=MAX_BRAND).contains(&brand.len()) && brand.bytes().all(of_word) && text::no_card("brand", brand).is_ok()
    };
    let is_last4 = |last4: &String| last4.len() == 4 && last4.bytes().all(|byte| byte.is_ascii_digit());
    let is_month = |(month, year): &(u8, u16)| (1..=12).contains(month) && (2000..=2199).contains(year);
    let kept = SavedMethod {
        token,
        brand: given.brand.clone().filter(|brand| fits("brand", is_word(brand))),
        last4: given.last4.clone().filter(|last4| fits("last4", is_last4(last4))),
        expiry: given.expiry.filter(|expiry| fits("expiry", is_month(expiry))),
    };
    (Some(kept), dropped)
}
