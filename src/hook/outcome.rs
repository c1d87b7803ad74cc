//! What a payment service says of what it was asked.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::money::Amount;
use crate::text;
use crate::time::Timestamp;

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
        /// The service's own name for the payment, kept as [`crate::Receipt::reference`] is.
        reference: String,
    },
    /// The buyer must do something first, such as 3-D Secure.
    RequiresAction {
        /// The service's own name for the payment, kept as [`crate::Receipt::reference`] is.
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
    /// The payment method that the service has saved, for later charges of the customer.
    pub saved_method: Option<SavedMethod>,
    /// The service's own name for the customer, which later requests about the same customer carry. It
    /// is kept as [`Receipt::reference`] is: to the byte or not at all.
    pub customer_ref: Option<String>,
}

impl Receipt {
    /// An amount under the service's own name for the payment.
    #[must_use]
    pub fn new(reference: impl Into<String>, amount: Amount) -> Receipt {
        Receipt {
            reference: reference.into(),
            amount,
            fee: None,
            saved_method: None,
            customer_ref: None,
        }
    }

    /// With what the service keeps of it. A fee in another currency is not kept.
    #[must_use]
    pub fn fee(mut self, fee: Amount) -> Self {
        self.fee = Some(fee);
        self
    }

    /// With the payment method that the service has saved. It is kept for the customer of the session or
    /// of the setup, asked for or not, and only where there is one.
    #[must_use]
    pub fn saved_method(mut self, method: SavedMethod) -> Self {
        self.saved_method = Some(method);
        self
    }

    /// With the service's own name for the customer. The newest one counts.
    #[must_use]
    pub fn customer_ref(mut self, reference: impl Into<String>) -> Self {
        self.customer_ref = Some(reference.into());
        self
    }
}

/// A payment method that a service keeps, and by what of it a buyer recognises it. Never a card number.
///
/// What cannot be kept is left out, the success counts all the same, and the evidence says why: the
/// token to the byte or the method not at all, by the rule of [`Receipt::reference`]; the rest field by
/// field.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedMethod {
    /// The service's own opaque token, by which it charges the method; up to 255 characters.
    pub token: String,
    /// The brand as a word of up to 32 letters, digits, `_` and `-`, such as `visa`.
    pub brand: Option<String>,
    /// The last four digits of the number, exactly four.
    pub last4: Option<String>,
    /// The month after which it is not good any more: 1 to 12, and the year in four digits from 2000 to
    /// 2199.
    pub expiry: Option<(u8, u16)>,
}

impl SavedMethod {
    /// A method that is charged by this token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> SavedMethod {
        SavedMethod {
            token: token.into(),
            brand: None,
            last4: None,
            expiry: None,
        }
    }

    /// With the brand as a word, such as `visa`.
    #[must_use]
    pub fn brand(mut self, brand: impl Into<String>) -> Self {
        self.brand = Some(brand.into());
        self
    }

    /// With the last four digits of the number.
    #[must_use]
    pub fn last4(mut self, last4: impl Into<String>) -> Self {
        self.last4 = Some(last4.into());
        self
    }

    /// With the last month in which it is good, 1 to 12, and its year in four digits.
    #[must_use]
    pub fn expiry(mut self, month: u8, year: u16) -> Self {
        self.expiry = Some((month, year));
        self
    }
}

/// Without what the service gave: it may be anything.
impl fmt::Debug for SavedMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedMethod").finish_non_exhaustive()
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

/// The most characters of what a buyer must do.
const MAX_ACTION: usize = 4_096;

impl Action {
    /// It as it is kept: to the byte or not at all, since half of a link leads nowhere. Digits in a link may
    /// look like a card's and are none, as services put no card numbers there.
    pub(crate) fn keepable(&self) -> Option<Action> {
        let (Action::Redirect(given) | Action::Client(given)) = self;
        let fits = (1..=MAX_ACTION).contains(&given.chars().count()) && !given.chars().any(char::is_control);
        let is_link = matches!(self, Action::Redirect(_));
        (fits && (is_link || text::no_card("action", given).is_ok())).then(|| self.clone())
    }
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
