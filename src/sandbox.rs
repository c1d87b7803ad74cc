//! The built-in processor of test mode.
//!
//! It moves no money and keeps no state: what it answers follows from the method alone, so that a
//! test needs no set-up and a crash loses nothing. A method is an opaque token, as with every other
//! processor; [`method`] gives the token of a test card, so that no card number reaches the engine.
//!
//! | number | expiry | method | what comes of it |
//! | --- | --- | --- | --- |
//! | `5123450000000008` | `01/39` | [`card::APPROVED`] | approved |
//! | `5123450000000008` | `05/39` | [`card::DECLINED`] | declined: `card_declined` |
//! | `5123450000000008` | `04/27` | [`card::EXPIRED`] | declined: `expired_card` |
//! | `5123450000000008` | `08/28` | [`card::NEVER_ANSWERS`] | unknown until it is looked up, by `run_due` or [`Sessions::refresh`](crate::Sessions::refresh); then nothing was charged, and the session can be paid again |
//! | `5123450000000008` | `01/37` | [`card::PROCESSOR_ERROR`] | fails for certain: `processing_error` |
//! | `4000000000003220` | `01/39` | [`card::CHALLENGE`] | asks for 3-D Secure: the charge is `requires_action` until [`Sessions::answer_challenge`](crate::Sessions::answer_challenge), a setup until [`Setups::answer_challenge`](crate::Setups::answer_challenge) |
//! | any other | | [`card::UNKNOWN`] | declined: `unknown_test_card` |
//!
//! With [`NewSession::capture_later`](crate::NewSession::capture_later) approved means held. Every capture,
//! void and refund is approved at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Invalid};
use crate::hook::{
    Ability, Action, Advice, Cancel, Capabilities, Lookup, LookupKey, Notice, NoticeKind, Operation, Outcome, Post,
    Processor, Receipt, Reception, Request, SavedMethod,
};
use crate::id::{AttemptId, Mode};
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
    /// Asks the buyer for 3-D Secure first: approved or failed as
    /// [`Sessions::answer_challenge`](crate::Sessions::answer_challenge) says, or of a setup
    /// [`Setups::answer_challenge`](crate::Setups::answer_challenge), called off after 15 minutes.
    pub const CHALLENGE: &str = "sandbox_challenge";
    /// Fails for certain, with `processing_error`.
    pub const PROCESSOR_ERROR: &str = "sandbox_processor_error";
    /// What every card that the sandbox does not know becomes: declined, with `unknown_test_card`.
    pub const UNKNOWN: &str = "sandbox_unknown_card";
}

const CARDS: [(&str, &str, &str); 6] = [
    ("5123450000000008", "01/39", card::APPROVED),
    ("5123450000000008", "05/39", card::DECLINED),
    ("5123450000000008", "04/27", card::EXPIRED),
    ("5123450000000008", "08/28", card::NEVER_ANSWERS),
    ("5123450000000008", "01/37", card::PROCESSOR_ERROR),
    ("4000000000003220", "01/39", card::CHALLENGE),
];

/// What a buyer makes of 3-D Secure; given to
/// [`Sessions::answer_challenge`](crate::Sessions::answer_challenge) and
/// [`Setups::answer_challenge`](crate::Setups::answer_challenge).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Challenge {
    /// It was the buyer: the payment goes on.
    Approve,
    /// It was not, or they gave up: the payment fails, with `authentication_failed`.
    Fail,
}

impl Challenge {
    /// `approve` or `fail`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Challenge::Approve => "approve",
            Challenge::Fail => "fail",
        }
    }

    /// The answer of a name, such as a page's form posts it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Challenge> {
        [Challenge::Approve, Challenge::Fail]
            .into_iter()
            .find(|known| known.as_str() == name)
    }
}

/// What the sandbox posts when a challenge was answered.
#[derive(Serialize, Deserialize)]
struct Answered {
    challenge: Challenge,
    /// The frozen request, since the sandbox keeps nothing.
    request: Request,
}

/// The body of what the sandbox posts when the challenge of a request was answered.
pub(crate) fn post(answer: Challenge, request: Request) -> Vec<u8> {
    let answered = Answered {
        challenge: answer,
        request,
    };
    // What cannot be written down is an empty post, and that is refused.
    serde_json::to_vec(&answered).unwrap_or_default()
}

/// How long a buyer may take for 3-D Secure.
const TO_ACT: Duration = Duration::from_secs(15 * 60);

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
    let known = CARDS
        .iter()
        .find(|(number, until, _)| digits == *number && expiry == *until);
    Ok(known.map_or(card::UNKNOWN, |(_, _, method)| method))
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
            .declines_are_final()
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

    fn cancel(&self, key: &LookupKey<'_>) -> Cancel {
        match decide(key.request) {
            None => Cancel::NotFound,
            // Only the engine knows whether an answer to a challenge came. Whichever of the two it writes
            // down first stands, here as there.
            Some(Outcome::RequiresAction { .. } | Outcome::Authorized { .. }) => Cancel::Canceled,
            Some(outcome) => Cancel::TooLate(outcome),
        }
    }

    /// Nobody signs here: who knows an attempt's id, which goes to no buyer, is taken for the sandbox. All
    /// that can be had by it is a test payment.
    fn receive(&self, post: &Post<'_>) -> Reception {
        let Ok(Answered { challenge, request }) = serde_json::from_slice(post.body) else {
            return Reception::refused("this is no answer to a challenge");
        };
        // What the post says of its mode is anybody's word; the attempt is of the mode that its id carries.
        if !AttemptId::parse(&request.attempt).is_ok_and(|attempt| attempt.mode() == Mode::Test) {
            return Reception::refused("the sandbox serves test mode only");
        }
        if !matches!(decide(&request), Some(Outcome::RequiresAction { .. })) {
            return Reception::refused("there is no challenge to answer");
        }
        let outcome = match challenge {
            Challenge::Approve => succeeded(&request),
            Challenge::Fail => Outcome::Declined {
                code: "authentication_failed".to_owned(),
                message: "3-D Secure was not passed.".to_owned(),
                advice: Some(Advice::OtherMethod),
            },
        };
        // A challenge is answered once: whichever answer is stored first stands.
        let id = format!("{}_challenge", request.attempt);
        let notice = Notice::new(id, NoticeKind::Evidence(outcome)).attempt(request.attempt);
        Reception::genuine([notice])
    }
}

fn reference(request: &Request) -> String {
    format!("sandbox_{}", request.attempt)
}

fn succeeded(request: &Request) -> Outcome {
    match request.money() {
        Ok(amount) => {
            let receipt = saving(request, Receipt::new(reference(request), amount));
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
        Some(card::CHALLENGE) => Some(Outcome::RequiresAction {
            reference: reference(request),
            action: Action::Client(card::CHALLENGE.to_owned()),
            within: TO_ACT,
        }),
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
