use std::collections::BTreeSet;
use std::time::Duration;

use super::method::{MAX_TOKEN, keepable};
use super::{News, Resolution};
use crate::hook::{Cancel, Lookup, Outcome, Receipt, SavedMethod};
use crate::id::ChargeId;
use crate::money::Amount;
use crate::text::{self, kept};

/// From whom something was learned about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The call itself.
    Answer,
    /// A later look-up, or a later call to have it called off.
    Lookup,
    /// The service, unasked.
    Notification,
    /// Nobody: the call's lease ended.
    Lease,
    /// A person: [`crate::App::resolve`].
    Operator,
}

impl Source {
    pub(crate) const ALL: [Source; 5] = [
        Source::Answer,
        Source::Lookup,
        Source::Notification,
        Source::Lease,
        Source::Operator,
    ];

    /// The source as a word, such as `lookup`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Answer => "answer",
            Source::Lookup => "lookup",
            Source::Notification => "notification",
            Source::Lease => "lease",
            Source::Operator => "operator",
        }
    }
}

const NOT_SENT: &str = "not_sent";
const DECLINED: &str = "declined";
const SUCCEEDED: &str = "succeeded";

/// The outcomes by which an attempt is over without having moved money.
const FAILING: [&str; 5] = [NOT_SENT, DECLINED, "never_arrived", "canceled", "failed"];

/// The outcomes from which nothing is learned: whoever was asked did not say that they know of it.
const SILENT: [&str; 4] = ["not_found", "cannot_tell", "unknown", "no_answer"];

/// The outcomes by which a processor says that it knows of what it was asked for.
const ACKNOWLEDGING: [&str; 4] = ["pending", "requires_action", "authorized", SUCCEEDED];

/// What was learned about an attempt before, as far as more is weighed by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// How many look-ups have said nothing since something was last learned.
    pub(crate) silent: u32,
    /// Whether the processor has said that it knows of the attempt. Whether that came with a reference
    /// that could be kept does not matter.
    pub(crate) acknowledged: bool,
    /// How many times in a row it was not sent, up to now.
    pub(crate) not_sent: u32,
    /// Whether it was found to have failed, and never to have succeeded.
    pub(crate) failed: bool,
    /// Whether somebody said that it was settled elsewhere.
    pub(crate) settled_outside: bool,
    /// What was said to have been taken over another amount than asked; the newest word of it.
    pub(crate) moved: Option<Amount>,
    /// The name that the service itself gave last in what counted, whatever it said by that.
    pub(crate) called: Option<String>,
    /// What was said of its having succeeded.
    pub(crate) successes: Successes,
}

/// What was said of an attempt's having succeeded, over whichever amount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Successes {
    /// Whether one counted, by whomever it was said.
    pub(crate) counted: bool,
    /// The names that the service itself gave.
    pub(crate) names: BTreeSet<String>,
    /// Whether the service has said that it moved more than nothing.
    pub(crate) money: bool,
}

impl Past {
    /// From what was written down, the newest first.
    pub(crate) fn of(newest_first: &[Known]) -> Past {
        let mut past = Past::default();
        let (mut heard, mut sent, mut failed, mut succeeded) = (false, false, false, false);
        for known in newest_first {
            let outcome = known.said.outcome.as_str();
            heard |= !SILENT.contains(&outcome);
            sent |= outcome != NOT_SENT;
            past.acknowledged |= ACKNOWLEDGING.contains(&outcome);
            failed |= FAILING.contains(&outcome) && known.moved;
            succeeded |= outcome == SUCCEEDED;
            past.successes.counted |= outcome == SUCCEEDED && known.moved;
            if known.source != Source::Operator {
                past.hear(known);
            }
            past.settled_outside |= outcome == Resolution::SettledOutside.as_str() && known.moved;
            if !heard && known.source == Source::Lookup {
                past.silent = past.silent.saturating_add(1);
            }
            // Only what was asked for can turn out not to have been sent.
            if !sent && known.source != Source::Notification {
                past.not_sent = past.not_sent.saturating_add(1);
            }
            if past.moved.is_none() && outcome == SUCCEEDED {
                past.moved = known.amount;
            }
        }
        past.failed = failed && !succeeded;
        past
    }

    /// Takes in what the service itself has said.
    fn hear(&mut self, known: &Known) {
        if self.called.is_none() && known.moved {
            self.called.clone_from(&known.said.reference);
        }
        if known.said.outcome == SUCCEEDED {
            self.successes.names.extend(known.said.reference.clone());
            self.successes.money |= known.amount.is_some_and(|amount| !amount.is_zero());
        }
    }
}

/// A piece of evidence as it was written down, as far as more is weighed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) source: Source,
    pub(crate) said: Said,
    pub(crate) amount: Option<Amount>,
    pub(crate) moved: bool,
}

/// What was learned, before it is weighed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The processor answered.
    Executed(Outcome),
    /// The processor was looked up.
    LookedUp(Lookup),
    /// The processor was asked to call it off.
    Canceled(Cancel),
    /// The processor said so by itself.
    Notified(Outcome),
    /// Nobody recorded an answer in time.
    LeaseEnded,
    /// Somebody found out, or decided.
    Resolved {
        resolution: Resolution,
        /// What was asked for, as far as it came about.
        outcome: Option<Outcome>,
        note: String,
    },
    /// Somebody decided that money which settled nothing stays where it is.
    Kept { charge: ChargeId, note: String },
}

/// A finding weighed: what it means for the charge and what is written down of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) source: Source,
    /// What it does to the charge; none: nothing was learned.
    pub(crate) event: Option<News>,
    /// The outcome's name.
    pub(crate) outcome: &'static str,
    /// The processor's own name for the payment, to the byte; none if it gave none that is kept.
    pub(crate) reference: Option<String>,
    pub(crate) amount: Option<Amount>,
    /// Code or reason, shortened, card numbers masked; or why something was not kept.
    pub(crate) detail: Option<String>,
    /// The payment method that the processor has saved, as far as it can be kept.
    pub(crate) saved_method: Option<SavedMethod>,
    /// The processor's own name for the customer, to the byte; none if it gave none that can be kept.
    pub(crate) customer_ref: Option<String>,
}

/// What a verdict says, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) outcome: String,
    pub(crate) reference: Option<String>,
    /// In minor units, with the currency's code.
    pub(crate) amount: Option<(i64, String)>,
    pub(crate) detail: Option<String>,
}

impl Said {
    /// As [`Verdict::is_not_sent`].
    pub(crate) fn is_not_sent(&self) -> bool {
        self.outcome == NOT_SENT
    }
}

impl Verdict {
    /// Says what else was not kept.
    pub(crate) fn not_kept(&mut self, what: &str) {
        self.detail = Some(match self.detail.take() {
            None => kept(&format!("not kept: {what}"), MAX_DETAIL),
            Some(before) => kept(&format!("{before}; not kept: {what}"), MAX_DETAIL),
        });
    }

    /// Whether nothing is learned from it.
    pub(crate) fn is_silent(&self) -> bool {
        SILENT.contains(&self.outcome)
    }

    /// Whether the request certainly never left.
    pub(crate) fn is_not_sent(&self) -> bool {
        self.outcome == NOT_SENT
    }

    /// Whether the service itself says that it went through, over whichever amount.
    pub(crate) fn is_told_success(&self) -> bool {
        self.outcome == SUCCEEDED && self.source != Source::Operator
    }

    /// Whether the service itself says no.
    pub(crate) fn is_declined(&self) -> bool {
        self.outcome == DECLINED
    }

    pub(crate) fn said(&self) -> Said {
        Said {
            outcome: self.outcome.to_owned(),
            reference: self.reference.clone(),
            amount: self
                .amount
                .map(|amount| (amount.as_minor(), amount.currency().to_string())),
            detail: self.detail.clone(),
        }
    }
}

/// A verdict as it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) number: u32,
    pub(crate) verdict: Verdict,
    /// Whether it changed anything.
    pub(crate) moved: bool,
    pub(crate) actor: String,
    pub(crate) host_time: crate::time::Timestamp,
    pub(crate) engine_time: crate::time::Timestamp,
}

pub(super) const MAX_REFERENCE: usize = 255;
const MAX_DETAIL: usize = 500;

impl Finding {
    /// What the processor says came of it, if it says that.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Finding::Executed(outcome)
            | Finding::LookedUp(Lookup::Found(outcome))
            | Finding::Canceled(Cancel::TooLate(outcome))
            | Finding::Notified(outcome) => Some(outcome),
            Finding::Resolved { outcome, .. } => outcome.as_ref(),
            Finding::LookedUp(Lookup::NotFound | Lookup::CannotTell { .. })
            | Finding::Canceled(Cancel::Canceled | Cancel::NotFound | Cancel::CannotTell { .. })
            | Finding::LeaseEnded
            | Finding::Kept { .. } => None,
        }
    }

    /// Weighs a finding about an attempt to move `asked`.
    ///
    /// `age` is how long the call has been over, none if it may still be made, and
    /// `not_found_final_after` what the processor promises: a "not found" younger than that says
    /// nothing, because the call may still arrive.
    pub(crate) fn weigh(
        &self,
        asked: Amount,
        age: Option<Duration>,
        not_found_final_after: Option<Duration>,
    ) -> Verdict {
        match self {
            Finding::Executed(outcome) => weigh_outcome(Source::Answer, outcome, asked),
            Finding::LookedUp(Lookup::Found(outcome)) => weigh_outcome(Source::Lookup, outcome, asked),
            Finding::LookedUp(Lookup::NotFound) | Finding::Canceled(Cancel::NotFound) => {
                let settled = age.zip(not_found_final_after);
                let is_final = planted!(NotFoundIsFinal) || settled.is_some_and(|(age, settled)| age >= settled);
                Verdict {
                    event: is_final.then_some(News::Failed),
                    ..nothing(Source::Lookup, if is_final { "never_arrived" } else { "not_found" })
                }
            }
            Finding::Canceled(Cancel::TooLate(outcome)) => weigh_outcome(Source::Lookup, outcome, asked),
            Finding::Canceled(Cancel::Canceled) => Verdict {
                event: Some(News::Canceled),
                ..nothing(Source::Lookup, "canceled")
            },
            Finding::Canceled(Cancel::CannotTell { .. }) if planted!(CancelNotConfirmed) => Verdict {
                event: Some(News::Canceled),
                ..nothing(Source::Lookup, "canceled")
            },
            Finding::LookedUp(Lookup::CannotTell { why }) | Finding::Canceled(Cancel::CannotTell { why }) => Verdict {
                detail: Some(kept(why, MAX_DETAIL)),
                ..nothing(Source::Lookup, "cannot_tell")
            },
            // Only who made the call knows that it was not sent, or that its answer is in doubt.
            Finding::Notified(Outcome::NotSent { why } | Outcome::Unknown { why }) => Verdict {
                detail: Some(kept(why, MAX_DETAIL)),
                ..nothing(Source::Notification, "unknown")
            },
            Finding::Notified(outcome) => weigh_outcome(Source::Notification, outcome, asked),
            Finding::LeaseEnded => Verdict {
                event: Some(planted!(LostCallIsFailed, News::Failed, News::LeaseEnded)),
                ..nothing(Source::Lease, "no_answer")
            },
            Finding::Resolved {
                outcome: Some(outcome),
                note,
                ..
            } => {
                let found = weigh_outcome(Source::Operator, outcome, asked);
                Verdict {
                    // What failed by somebody's word was not declined by the service's.
                    outcome: if found.is_declined() { "failed" } else { found.outcome },
                    detail: Some(note.clone()),
                    ..found
                }
            }
            Finding::Resolved { resolution, note, .. } => Verdict {
                event: (*resolution == Resolution::SettledOutside).then_some(News::Failed),
                detail: Some(note.clone()),
                ..nothing(Source::Operator, resolution.as_str())
            },
            Finding::Kept { note, .. } => Verdict {
                detail: Some(note.clone()),
                ..nothing(Source::Operator, "kept")
            },
        }
    }
}

fn weigh_outcome(source: Source, outcome: &Outcome, asked: Amount) -> Verdict {
    let referring = |event, outcome, reference: &str| {
        let (reference, detail) = named(reference);
        Verdict {
            event: Some(event),
            reference,
            detail,
            ..nothing(source, outcome)
        }
    };
    // What was taken or held must be what was asked for, to the minor unit.
    let received = |event, outcome, receipt: &Receipt| {
        let event = if receipt.amount == asked {
            event
        } else {
            News::Mismatched
        };
        let mut verdict = Verdict {
            amount: Some(receipt.amount),
            ..referring(event, outcome, &receipt.reference)
        };
        remembered(&mut verdict, receipt);
        verdict
    };
    match outcome {
        Outcome::Succeeded(receipt) => received(News::Succeeded, "succeeded", receipt),
        Outcome::Authorized { receipt, .. } => received(News::Authorized, "authorized", receipt),
        Outcome::Pending { reference } => referring(News::Pending, "pending", reference),
        Outcome::RequiresAction { reference, .. } => referring(News::ActionRequired, "requires_action", reference),
        Outcome::Declined { code, .. } => Verdict {
            event: Some(News::Failed),
            detail: Some(kept(code, MAX_DETAIL)),
            ..nothing(source, DECLINED)
        },
        Outcome::NotSent { why } => Verdict {
            event: Some(News::Failed),
            detail: Some(kept(why, MAX_DETAIL)),
            ..nothing(source, NOT_SENT)
        },
        Outcome::Canceled { why } => Verdict {
            event: Some(News::Canceled),
            detail: Some(kept(why, MAX_DETAIL)),
            ..nothing(source, "canceled")
        },
        Outcome::Unknown { why } => Verdict {
            event: Some(planted!(NoAnswerIsFailed, News::Failed, News::Unclear)),
            detail: Some(kept(why, MAX_DETAIL)),
            ..nothing(source, "unknown")
        },
    }
}

/// A reference as it is kept, or why it is not. It is what the processor is asked by later, so half
/// of one, or one with stars in it, would name nothing or something else.
fn named(reference: &str) -> (Option<String>, Option<String>) {
    match text::text("reference", reference, MAX_REFERENCE) {
        Ok(reference) => (Some(reference), None),
        Err(refused) => (None, Some(kept(&format!("not kept: {refused}"), MAX_DETAIL))),
    }
}

/// What a receipt tells of the customer, as far as it can be kept.
fn remembered(verdict: &mut Verdict, receipt: &Receipt) {
    if let Some(given) = &receipt.saved_method {
        let (kept, dropped) = keepable(given);
        verdict.saved_method = kept;
        for what in dropped {
            verdict.not_kept(&what);
        }
    }
    if let Some(given) = &receipt.customer_ref {
        match text::text("customer_ref", given, MAX_TOKEN) {
            Ok(reference) => verdict.customer_ref = Some(reference),
            Err(refused) => verdict.not_kept(&refused.to_string()),
        }
    }
}

fn nothing(source: Source, outcome: &'static str) -> Verdict {
    Verdict {
        source,
        event: None,
        outcome,
        reference: None,
        amount: None,
        detail: None,
        saved_method: None,
        customer_ref: None,
    }
}
