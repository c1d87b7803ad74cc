//! The built-in processor of test mode.
//!
//! It moves no money and keeps no state: what it answers follows from the method alone, so that a
//! test needs no set-up and a crash loses nothing. A method is an opaque token, as with every other
//! processor; [`method`] gives the token of a test card, so that no card number reaches the engine.

use std::time::Duration;

use crate::error::{Error, Invalid};
use crate::hook::{
    Ability, Advice, Capabilities, Lookup, LookupKey, Operation, Outcome, Processor, Receipt, Request, SavedMethod,
};
use crate::id::Mode;
use crate::time::Timestamp;

/// The name under which the sandbox stands in charges.
pub const NAME: &str = "sandbox";

/// The methods that the sandbox knows.
pub mod card {
    /// Always approved.
    pub const APPROVED: &str = "sandbox_approved";
    /// Always declined, with `card_declined`.
    pub const DECLINED: &str = "sandbox_declined";
    /// Always declined, with `expired_card`.
    pub const EXPIRED: &str = "sandbox_expired_card";
    /// Never answers; looked up, it turns out that nothing was charged.
    pub const NEVER_ANSWERS: &str = "sandbox_never_answers";
    /// Fails for certain, with `processing_error`.
    pub const PROCESSOR_ERROR: &str = "sandbox_processor_error";
    /// What every card that the sandbox does not know becomes: declined, with `unknown_test_card`.
    pub const UNKNOWN: &str = "sandbox_unknown_card";
}

const TEST_CARD: &str = "5123450000000008";
const CARDS: [(&str, &str); 5] = [
    ("01/39", card::APPROVED),
    ("05/39", card::DECLINED),
    ("04/27", card::EXPIRED),
    ("08/28", card::NEVER_ANSWERS),
    ("01/37", card::PROCESSOR_ERROR),
];

/// The method of a test card. Number (blanks allowed) and expiry (`MM/YY`) choose the outcome; a
/// pair that the sandbox does not know is a method that is declined.
///
/// # Errors
/// [`Error::Invalid`] if the number is not made of 12 to 19 digits or the expiry not `MM/YY`.
pub fn method(number: &str, expiry: &str) -> Result<&'static str, Error> {
    let digits: String = number.chars().filter(|c| *c != ' ').collect();
    if !(12..=19).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // The number itself is not repeated: somebody may have typed a real one.
        return Err(Invalid::new("card_number", "something else", "12 to 19 digits").into());
    }
    let is_expiry = expiry.split_once('/').is_some_and(|(month, year)| {
        let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        two_digits(month) && two_digits(year) && ("01"..="12").contains(&month)
    });
    if !is_expiry {
        return Err(Invalid::new("exp", "something else", "MM/YY").into());
    }
    let known = CARDS.iter().find(|(known, _)| digits == TEST_CARD && *known == expiry);
    Ok(known.map_or(card::UNKNOWN, |(_, method)| method))
}

/// The processor of test mode; the engine uses it unless the host names another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sandbox;

impl Processor for Sandbox {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            .idempotency_window(Duration::from_secs(86_400))
            .lookup()
            .not_found_final_after(Duration::ZERO)
            .can(Ability::SaveMethods)
            .can(Ability::Setup)
    }

    fn execute(&self, request: &Request, _deadline: Timestamp) -> Outcome {
        decide(request).unwrap_or_else(|| Outcome::Unknown {
            why: "the sandbox did not answer".to_owned(),
        })
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        decide(key.request).map_or(Lookup::NotFound, Lookup::Found)
    }
}

fn succeeded(request: &Request) -> Outcome {
    match request.money() {
        Ok(amount) => {
            let receipt = saving(request, Receipt::new(format!("sandbox_{}", request.attempt), amount));
            match request.operation {
                Operation::Authorize => Outcome::Authorized {
                    receipt,
                    expires_at: None,
                },
                _ => Outcome::Succeeded(receipt),
            }
        }
        Err(error) => Outcome::NotSent { why: error.to_string() },
    }
}

/// A receipt with the test card, if it is to be saved. The sandbox keeps nothing, so that a saved card is
/// charged by the token that it has anyway.
fn saving(request: &Request, receipt: Receipt) -> Receipt {
    let saves = request.save_method || request.operation == Operation::Setup;
    match request.method.as_deref().filter(|_| saves) {
        Some(token) => {
            let card = SavedMethod::new(token)
                .brand("mastercard")
                .last4("0008")
                .expiry(1, 2039);
            receipt.saved_method(card)
        }
        None => receipt,
    }
}

/// What the sandbox makes of a request; none if it never saw it.
fn decide(request: &Request) -> Option<Outcome> {
    let declined = |code: &str, message: &str, advice| {
        Some(Outcome::Declined {
            code: code.to_owned(),
            message: message.to_owned(),
            advice: Some(advice),
        })
    };
    match request.method.as_deref() {
        // Whatever it is configured as, nothing here may look like real money.
        _ if request.mode != Mode::Test.as_str() => Some(Outcome::NotSent {
            why: "the sandbox serves test mode only".to_owned(),
        }),
        // What is done with a payment that was made has no method of its own.
        _ if request.related.is_some() => Some(succeeded(request)),
        Some(card::APPROVED) => Some(succeeded(request)),
        Some(card::NEVER_ANSWERS) => None,
        Some(card::DECLINED) => declined("card_declined", "The card was declined.", Advice::OtherMethod),
        Some(card::EXPIRED) => declined("expired_card", "The card has expired.", Advice::Never),
        Some(card::PROCESSOR_ERROR) => declined(
            "processing_error",
            "The processor failed; nothing was charged.",
            Advice::Later,
        ),
        _ => declined(
            "unknown_test_card",
            "This is not a test card that the sandbox knows.",
            Advice::Never,
        ),
    }
}

#[cfg(test)]
mod tests;
