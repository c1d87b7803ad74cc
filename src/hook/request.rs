//! What is asked of a payment service.

use serde::{Deserialize, Serialize};

use crate::error::{Error, StorageError, StorageKind};
use crate::id::AttemptId;
use crate::money::{Amount, Currency};

/// What is asked of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Take the amount.
    Charge,
    /// Hold the amount, to be captured or voided later.
    Authorize,
    /// Take an authorised amount.
    Capture,
    /// Give an authorised amount free.
    Void,
    /// Give a taken amount back.
    Refund,
    /// Save a payment method without taking money. Answered by [`crate::Outcome::Succeeded`] over the amount
    /// of the request, which is zero, with [`crate::Receipt::saved_method`].
    Setup,
}

impl Operation {
    /// The operation's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::Charge => "charge",
            Operation::Authorize => "authorize",
            Operation::Capture => "capture",
            Operation::Void => "void",
            Operation::Refund => "refund",
            Operation::Setup => "setup",
        }
    }
}

/// Who started an operation: services and banks treat the two differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Initiator {
    /// The buyer is there and can answer a challenge.
    BuyerPresent,
    /// The merchant charges a saved method.
    OffSession,
}

/// One frozen request to a service.
///
/// Its bytes are committed before the service is called and are the same for every call about the
/// attempt. They hold no card number: `method` is the service's own opaque token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Request {
    /// The attempt's id, for the service's own records.
    pub attempt: String,
    /// The key by which the service recognises a repetition. It is derived from the session and the
    /// charge's number, from the charge and the refund's, or from the customer and the setup's, so that the
    /// same operation always has the same key.
    pub idempotency_key: String,
    /// What is asked.
    pub operation: Operation,
    /// The amount in minor units of `currency`, by ISO 4217; zero of a setup, which takes no money.
    pub amount: i64,
    /// The upper-case ISO 4217 code.
    pub currency: String,
    /// How many decimals the currency has.
    pub exponent: u8,
    /// The app's slug.
    pub app: String,
    /// `test` or `live`.
    pub mode: String,
    /// The checkout session that is paid, or was; of a setup the setup's id.
    pub session: String,
    /// Who started it.
    pub initiator: Initiator,
    /// Whether the method should be saved for later charges.
    pub save_method: bool,
    /// The payment method's opaque token; none for a service that asks the buyer itself.
    pub method: Option<String>,
    /// The service's own name for the customer, if it has one.
    pub customer_ref: Option<String>,
    /// What is bought.
    pub lines: Vec<RequestLine>,
    /// Where the buyer goes after an action on the service's page.
    pub return_url: Option<String>,
    /// What the host gave for its processor's eyes, at most 4,096 characters.
    pub context: Option<String>,
    /// The payment that is captured, voided or refunded; none for an operation that starts one.
    #[serde(default)]
    pub related: Option<Related>,
}

/// The payment that another operation is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Related {
    /// The id of the attempt that made it.
    pub attempt: String,
    /// The key under which it was made.
    pub idempotency_key: String,
    /// The service's own name for it, exactly as it gave it, and after a capture the name that the capture
    /// was answered with; none where none was learned, or none that is kept (see
    /// [`crate::Receipt::reference`]).
    pub reference: Option<String>,
}

/// One line of what is bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RequestLine {
    /// What the buyer reads.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// The line's total in minor units.
    pub total: i64,
}

impl Request {
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|_| unreadable())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Request, Error> {
        serde_json::from_slice(bytes).map_err(|_| unreadable())
    }
}

fn unreadable() -> Error {
    StorageError::new(StorageKind::Corrupt, "a stored processor request does not parse").into()
}

impl Request {
    /// The amount with its currency.
    ///
    /// # Errors
    /// Never for a request that the engine made.
    pub fn money(&self) -> Result<Amount, Error> {
        Amount::minor(self.amount, Currency::parse(&self.currency)?)
    }

    /// The attempt's typed id.
    ///
    /// # Errors
    /// Never for a request that the engine made.
    pub fn attempt_id(&self) -> Result<AttemptId, Error> {
        AttemptId::parse(&self.attempt)
    }
}
