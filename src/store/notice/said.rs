//! What a notice says, as JSON in a column.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::hook::{Action, NoticeKind, Outcome, Receipt, SavedMethod};
use crate::money;
use crate::store::codec::{advice, amount, corrupt, dispute_state, json, maybe_instant};
use crate::time::Timestamp;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Evidence(Came),
    Changed,
    ExternalRefund {
        reference: String,
        amount: Money,
        reason: Option<String>,
    },
    Dispute {
        reference: String,
        state: String,
        amount: Money,
        reason: Option<String>,
    },
    Ignored,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Came {
    Succeeded(Paid),
    Authorized {
        receipt: Paid,
        expires_at: Option<i64>,
    },
    Pending {
        reference: String,
    },
    RequiresAction {
        reference: String,
        action: Action,
        within_ms: u64,
    },
    Declined {
        code: String,
        message: String,
        advice: Option<String>,
    },
    NotSent {
        why: String,
    },
    Canceled {
        why: String,
    },
    Unknown {
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Paid {
    reference: String,
    amount: Money,
    fee: Option<Money>,
    customer_ref: Option<String>,
    saved_method: Option<Method>,
}

#[derive(Serialize, Deserialize)]
struct Method {
    token: String,
    brand: Option<String>,
    last4: Option<String>,
    expiry: Option<(u8, u16)>,
}

#[derive(Serialize, Deserialize)]
struct Money {
    minor: i64,
    currency: String,
}

/// The text that a column holds.
pub(super) fn write(said: &NoticeKind) -> Result<String> {
    json(&match said {
        NoticeKind::Evidence(outcome) => Said::Evidence(Came::of(outcome)),
        NoticeKind::Changed => Said::Changed,
        NoticeKind::ExternalRefund {
            reference,
            amount,
            reason,
        } => Said::ExternalRefund {
            reference: reference.clone(),
            amount: Money::of(*amount),
            reason: reason.clone(),
        },
        NoticeKind::Dispute {
            reference,
            state,
            amount,
            reason,
        } => Said::Dispute {
            reference: reference.clone(),
            state: state.as_str().to_owned(),
            amount: Money::of(*amount),
            reason: reason.clone(),
        },
        NoticeKind::Ignored => Said::Ignored,
    })
}

/// What a column's text says.
pub(super) fn read(text: &str) -> Result<NoticeKind> {
    let said: Said = serde_json::from_str(text).map_err(|_| corrupt("a notice that does not parse"))?;
    Ok(match said {
        Said::Evidence(came) => NoticeKind::Evidence(came.outcome()?),
        Said::Changed => NoticeKind::Changed,
        Said::ExternalRefund {
            reference,
            amount,
            reason,
        } => NoticeKind::ExternalRefund {
            reference,
            amount: amount.amount()?,
            reason,
        },
        Said::Dispute {
            reference,
            state,
            amount,
            reason,
        } => NoticeKind::Dispute {
            reference,
            state: dispute_state(&state)?,
            amount: amount.amount()?,
            reason,
        },
        Said::Ignored => NoticeKind::Ignored,
    })
}

impl Came {
    fn of(outcome: &Outcome) -> Came {
        match outcome.clone() {
            Outcome::Succeeded(receipt) => Came::Succeeded(Paid::of(&receipt)),
            Outcome::Authorized { receipt, expires_at } => Came::Authorized {
                receipt: Paid::of(&receipt),
                expires_at: expires_at.map(Timestamp::as_millis),
            },
            Outcome::Pending { reference } => Came::Pending { reference },
            Outcome::RequiresAction {
                reference,
                action,
                within,
            } => Came::RequiresAction {
                reference,
                action,
                within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            },
            Outcome::Declined { code, message, advice } => Came::Declined {
                code,
                message,
                advice: advice.map(|advice| advice.as_str().to_owned()),
            },
            Outcome::NotSent { why } => Came::NotSent { why },
            Outcome::Canceled { why } => Came::Canceled { why },
            Outcome::Unknown { why } => Came::Unknown { why },
        }
    }

    fn outcome(self) -> Result<Outcome> {
        Ok(match self {
            Came::Succeeded(paid) => Outcome::Succeeded(paid.receipt()?),
            Came::Authorized { receipt, expires_at } => Outcome::Authorized {
                receipt: receipt.receipt()?,
                expires_at: maybe_instant(expires_at)?,
            },
            Came::Pending { reference } => Outcome::Pending { reference },
            Came::RequiresAction {
                reference,
                action,
                within_ms,
            } => Outcome::RequiresAction {
                reference,
                action,
                within: Duration::from_millis(within_ms),
            },
            Came::Declined {
                code,
                message,
                advice: word,
            } => Outcome::Declined {
                code,
                message,
                advice: word.map(|word| advice(&word)).transpose()?,
            },
            Came::NotSent { why } => Outcome::NotSent { why },
            Came::Canceled { why } => Outcome::Canceled { why },
            Came::Unknown { why } => Outcome::Unknown { why },
        })
    }
}

impl Paid {
    fn of(receipt: &Receipt) -> Paid {
        Paid {
            reference: receipt.reference.clone(),
            amount: Money::of(receipt.amount),
            fee: receipt.fee.map(Money::of),
            customer_ref: receipt.customer_ref.clone(),
            saved_method: receipt.saved_method.as_ref().map(Method::of),
        }
    }

    fn receipt(self) -> Result<Receipt> {
        Ok(Receipt {
            reference: self.reference,
            amount: self.amount.amount()?,
            fee: self.fee.map(Money::amount).transpose()?,
            customer_ref: self.customer_ref,
            saved_method: self.saved_method.map(Method::method),
        })
    }
}

impl Method {
    fn of(method: &SavedMethod) -> Method {
        Method {
            token: method.token.clone(),
            brand: method.brand.clone(),
            last4: method.last4.clone(),
            expiry: method.expiry,
        }
    }

    fn method(self) -> SavedMethod {
        SavedMethod {
            token: self.token,
            brand: self.brand,
            last4: self.last4,
            expiry: self.expiry,
        }
    }
}

impl Money {
    fn of(amount: money::Amount) -> Money {
        Money {
            minor: amount.as_minor(),
            currency: amount.currency().to_string(),
        }
    }

    fn amount(self) -> Result<money::Amount> {
        amount(self.minor, &self.currency)
    }
}
