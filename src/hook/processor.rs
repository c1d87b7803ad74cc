use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, StorageError, StorageKind};
use crate::id::{AttemptId, Mode};
use crate::money::{Amount, Currency};
use crate::time::Timestamp;

/// Moves money: the host's bridge to a payment service.
///
/// # When it is called
/// [`execute`](Processor::execute) is called after the attempt and its frozen request have been
/// committed, and before anything is decided about the outcome. [`lookup`](Processor::lookup) is
/// called by `run_due` for attempts whose outcome is not known, [`cancel`](Processor::cancel) for those
/// whose time is over. None is called by `open`.
///
/// # From which thread
/// The one that called the engine. No lock is held and no transaction is open; several calls may
/// run at the same time, for different attempts.
///
/// # How often
/// `execute` is called once per attempt, but for refunds that the engine makes by itself: while they
/// are [`Outcome::NotSent`], they are tried again. Whatever calls it again does so with the same bytes
/// and the same idempotency key, which the implementation passes on to the service, so that the
/// service can tell a repetition from a second payment.
///
/// # What an answer means
/// There is no `Err`. Only [`Outcome::Declined`], [`Outcome::NotSent`] and [`Outcome::Canceled`] free
/// the buyer to try again, so answer them only when the money certainly did not and will not move. A timeout, a
/// broken connection, a 5xx, an answer that does not parse: all of these are
/// [`Outcome::Unknown`]. A panic counts as `Unknown` too. [`stripe_mapping`](crate::stripe_mapping)
/// goes through all that one service says.
///
/// # Amounts
/// A request counts minor units of ISO 4217. A service that counts otherwise gets its number, and is
/// understood, by [`Units`](crate::Units).
///
/// # After a crash
/// An attempt whose answer was never recorded becomes *unknown* when its lease (the call timeout
/// plus ten seconds) has ended, and is looked up. It never becomes failed by time alone.
pub trait Processor: Send + Sync {
    /// What the service can do. Asked before each payment and whenever an outcome is weighed, so it
    /// should be cheap and constant.
    fn capabilities(&self) -> Capabilities;

    /// Asks the service to carry out one operation and says what came of it.
    ///
    /// `deadline` is host time: give up waiting and answer [`Outcome::Unknown`] before it passes.
    fn execute(&self, request: &Request, deadline: Timestamp) -> Outcome;

    /// Asks the service what became of an attempt.
    fn lookup(&self, key: &LookupKey<'_>) -> Lookup;

    /// Asks the service to call an attempt off: an action that the buyer has not taken in time, a
    /// payment that somebody gave up, an amount that was held for too long. Answer
    /// [`Cancel::Canceled`] only if nothing will come of the attempt any more; the buyer pays anew
    /// after that. Asked again until it is answered so, or with what came of the attempt.
    ///
    /// A service that cannot do it leaves this as it is; then such attempts wait for what a look-up
    /// finds.
    fn cancel(&self, key: &LookupKey<'_>) -> Cancel {
        match self.lookup(key) {
            Lookup::Found(outcome) => Cancel::TooLate(outcome),
            Lookup::NotFound => Cancel::NotFound,
            Lookup::CannotTell { why } => Cancel::CannotTell { why },
        }
    }
}

impl<T: Processor + ?Sized> Processor for std::sync::Arc<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn execute(&self, request: &Request, deadline: Timestamp) -> Outcome {
        (**self).execute(request, deadline)
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        (**self).lookup(key)
    }

    fn cancel(&self, key: &LookupKey<'_>) -> Cancel {
        (**self).cancel(key)
    }
}

/// What a service can do. Build it with [`Capabilities::new`] and the setters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How long the service remembers idempotency keys; none if it has no such keys.
    pub idempotency_window: Option<Duration>,
    /// Whether attempts can be looked up.
    pub lookup: bool,
    /// How long after a call a "not found" is final: by then a call that arrived would be visible.
    /// None if it never is.
    pub not_found_final_after: Option<Duration>,
    /// How long one call may take.
    pub call_timeout: Duration,
}

impl Capabilities {
    /// No idempotency keys, no look-ups, calls of up to 30 seconds.
    #[must_use]
    pub fn new() -> Capabilities {
        Capabilities {
            idempotency_window: None,
            lookup: false,
            not_found_final_after: None,
            call_timeout: Duration::from_secs(30),
        }
    }

    /// The service deduplicates by key, and remembers keys for this long.
    #[must_use]
    pub fn idempotency_window(mut self, window: Duration) -> Self {
        self.idempotency_window = Some(window);
        self
    }

    /// Attempts can be looked up.
    #[must_use]
    pub fn lookup(mut self) -> Self {
        self.lookup = true;
        self
    }

    /// A "not found" is final once this much time has passed since the call.
    #[must_use]
    pub fn not_found_final_after(mut self, settled: Duration) -> Self {
        self.not_found_final_after = Some(settled);
        self
    }

    /// How long one call may take, 1 second to 10 minutes; values outside are moved inside.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout.clamp(Duration::from_secs(1), Duration::from_secs(600));
        self
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Capabilities::new()
    }
}

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
    /// Save a payment method without taking money.
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
    /// charge's number, or from the charge and the refund's, so that the same operation always has the
    /// same key.
    pub idempotency_key: String,
    /// What is asked.
    pub operation: Operation,
    /// The amount in minor units of `currency`, by ISO 4217.
    pub amount: i64,
    /// The upper-case ISO 4217 code.
    pub currency: String,
    /// How many decimals the currency has.
    pub exponent: u8,
    /// The app's slug.
    pub app: String,
    /// `test` or `live`.
    pub mode: String,
    /// The checkout session that is paid, or was.
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
    /// [`Receipt::reference`]).
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

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The amount was taken.
    Succeeded(Receipt),
    /// The amount is held and can be captured.
    Authorized {
        /// What is held.
        receipt: Receipt,
        /// Host time at which the authorisation lapses, if the service says.
        expires_at: Option<Timestamp>,
    },
    /// The service accepted the operation and will know later.
    Pending {
        /// The service's own name for the payment, kept as [`Receipt::reference`] is.
        reference: String,
    },
    /// The buyer must do something first, such as 3-D Secure.
    RequiresAction {
        /// The service's own name for the payment, kept as [`Receipt::reference`] is.
        reference: String,
        /// What the buyer must do.
        action: Action,
        /// How long the action is awaited.
        within: Duration,
    },
    /// The service refused for certain; no money moved or will move.
    Declined {
        /// The reason as a word, such as `insufficient_funds`; at most 64 characters are kept.
        code: String,
        /// The reason for people; at most 500 characters are kept.
        message: String,
        /// Whether trying again can help.
        advice: Option<Advice>,
    },
    /// The request certainly never left this machine.
    NotSent {
        /// Why, for the operator.
        why: String,
    },
    /// It was called off at the service, for certain: no money moved or will move, and what was held is
    /// free.
    Canceled {
        /// Why, for the operator.
        why: String,
    },
    /// Nobody knows: a timeout, a broken connection, an answer that makes no sense.
    Unknown {
        /// Why, for the operator.
        why: String,
    },
}

impl Outcome {
    /// The amount was taken, under the service's own name for the payment.
    #[must_use]
    pub fn succeeded(reference: impl Into<String>, amount: Amount) -> Outcome {
        Outcome::Succeeded(Receipt::new(reference, amount))
    }
}

/// What a service says of money that it took or holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The service's own name for the payment, by which it is looked up. It is kept to the byte or
    /// not at all: not if it is empty, longer than 255 characters, holds a control character or
    /// looks like a card number. What was said with it counts all the same, an earlier reference
    /// stays, and the evidence says why this one was not kept; look-ups then go by the attempt's id.
    pub reference: String,
    /// What was taken or is held; anything but the requested amount is held for an operator.
    pub amount: Amount,
    /// What the service keeps of it, in the same currency; none if it does not say.
    pub fee: Option<Amount>,
}

impl Receipt {
    /// An amount under the service's own name for the payment.
    #[must_use]
    pub fn new(reference: impl Into<String>, amount: Amount) -> Receipt {
        Receipt {
            reference: reference.into(),
            amount,
            fee: None,
        }
    }

    /// With what the service keeps of it. A fee in another currency is not kept.
    #[must_use]
    pub fn fee(mut self, fee: Amount) -> Self {
        self.fee = Some(fee);
        self
    }
}

/// What a buyer must do before a payment goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Visit this URL.
    Redirect(String),
    /// Let the host's own page handle this text.
    Client(String),
}

/// What the service advises after a decline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// This method will not work.
    Never,
    /// The same method may work later.
    Later,
    /// Another method may work.
    OtherMethod,
}

impl Advice {
    /// The advice's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Advice::Never => "never",
            Advice::Later => "later",
            Advice::OtherMethod => "other_method",
        }
    }
}

/// Which attempt is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LookupKey<'a> {
    /// The frozen request, with the attempt's id and idempotency key.
    pub request: &'a Request,
    /// The service's own name, exactly as it gave it; none where none was learned, or none that is
    /// kept (see [`Receipt::reference`]). A service must be able to find the attempt without it.
    pub reference: Option<&'a str>,
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// The service knows the attempt: this came of it.
    Found(Outcome),
    /// The service has never seen it. Counts only after `Capabilities::not_found_final_after`.
    NotFound,
    /// The look-up failed, was forbidden, or did not make sense: nothing was learned.
    CannotTell {
        /// Why, for the operator.
        why: String,
    },
}

/// What came of asking to call an attempt off.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cancel {
    /// It is called off, for certain: no money moved or will move, and what was held is free.
    Canceled,
    /// It was not called off: this came of it, so far.
    TooLate(Outcome),
    /// The service has never seen it, and cannot keep it from arriving. Counts as [`Lookup::NotFound`]
    /// does, only after `Capabilities::not_found_final_after`.
    NotFound,
    /// Nothing was learned: it is asked for again.
    CannotTell {
        /// Why, for the operator.
        why: String,
    },
}

/// What a host that makes the calls itself brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The operation was asked for.
    Executed(Outcome),
    /// The attempt was looked up.
    LookedUp(Lookup),
    /// The attempt was to be called off.
    Canceled(Cancel),
}

/// What a routing rule decides by: which of several processors takes a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteInput {
    /// The app's slug.
    pub app: String,
    /// The mode.
    pub mode: Mode,
    /// What is collected.
    pub amount: Amount,
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
