//! Collecting money: payment intents, charges, and the ledger of attempts.
//!
//! An *intent* is the wish to collect one amount. Each try is a *charge*. Whatever a processor is
//! asked to do is an *attempt*: a frozen request with an idempotency key, committed before the
//! processor is called. What goes back is a *refund*. What is learned about an attempt is *evidence*,
//! appended and never changed; a charge leaves the state `unknown` by evidence only.

mod dispute;
mod evidence;
mod method;
mod news;
mod notice;
mod record;
mod refund;
mod setup;
mod state;

pub use dispute::{Dispute, DisputeState};
pub(crate) use dispute::{MAX_DISPUTES, lost_to};
pub use evidence::Source as EvidenceSource;
pub(crate) use evidence::{Evidence, Finding, Known, Past, Said, Source, Verdict};
pub use method::{MethodState, PaymentMethod};
pub(crate) use news::News;
pub(crate) use notice::{Arrived, reference_of};
pub use notice::{Notification, NotificationKind, NotificationState};
pub(crate) use record::note;
pub use record::{AttemptRecord, EvidenceRecord, Resolution, Unresolved};
pub(crate) use refund::{Checked as CheckedRefund, MAX_REFUNDS, Share, Target};
pub use refund::{GrantEffect, NewRefund, Refund, RefundSource, RefundState, RefundedLine};
pub use setup::{NewSetup, Setup, SetupState};
pub use state::ChargeState;

use crate::error::Refused;
use crate::hook::{Action, Operation};
use crate::id::{AttemptId, ChargeId, PaymentIntentId, SessionId};
use crate::money::Amount;
use crate::time::Timestamp;

/// The most charges of one intent. Who needs more is trying cards, not paying.
pub(crate) const MAX_CHARGES: usize = 50;

/// The wish to collect one amount.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PaymentIntent {
    /// The intent's id.
    pub id: PaymentIntentId,
    /// The session that is paid.
    pub session: SessionId,
    /// What is collected.
    pub amount: Amount,
    /// Every try, oldest first.
    pub charges: Vec<Charge>,
    /// Engine time.
    pub created_at: Timestamp,
    /// Engine time; none unless canceled.
    pub canceled_at: Option<Timestamp>,
    pub(crate) revision: i64,
}

/// Where a payment intent stands: a function of its charges, stored nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IntentStatus {
    /// No charge is in flight and none succeeded.
    RequiresPaymentMethod,
    /// A charge is in flight.
    Processing,
    /// The buyer must do something.
    RequiresAction,
    /// The amount is held and can be captured.
    RequiresCapture,
    /// The amount was taken.
    Succeeded,
    /// It will not be collected.
    Canceled,
}

impl IntentStatus {
    /// The status as a word, such as `requires_payment_method`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            IntentStatus::RequiresPaymentMethod => "requires_payment_method",
            IntentStatus::Processing => "processing",
            IntentStatus::RequiresAction => "requires_action",
            IntentStatus::RequiresCapture => "requires_capture",
            IntentStatus::Succeeded => "succeeded",
            IntentStatus::Canceled => "canceled",
        }
    }
}

impl PaymentIntent {
    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> IntentStatus {
        if self.charges.iter().any(|charge| charge.settles) {
            return IntentStatus::Succeeded;
        }
        match self.live_charge().map(|charge| charge.state) {
            Some(ChargeState::RequiresAction) => IntentStatus::RequiresAction,
            Some(ChargeState::Authorized) => IntentStatus::RequiresCapture,
            Some(_) => IntentStatus::Processing,
            None if self.canceled_at.is_some() => IntentStatus::Canceled,
            None => IntentStatus::RequiresPaymentMethod,
        }
    }

    /// The charge whose outcome is not decided yet.
    #[must_use]
    pub fn live_charge(&self) -> Option<&Charge> {
        self.charges.iter().find(|charge| charge.state.is_live())
    }

    /// Why the newest charge failed, if it did.
    #[must_use]
    pub fn last_failure(&self) -> Option<&Failure> {
        self.charges.last().and_then(|charge| charge.failure.as_ref())
    }

    /// Replaces the charge of the same id, or appends it.
    pub(crate) fn put(&mut self, charge: Charge) {
        match self.charges.iter_mut().find(|known| known.id == charge.id) {
            Some(known) => *known = charge,
            None => self.charges.push(charge),
        }
    }
}

/// One try to collect an intent's amount.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Charge {
    /// The charge's id.
    pub id: ChargeId,
    /// The intent that it collects for.
    pub intent: PaymentIntentId,
    /// The session that is paid.
    pub session: SessionId,
    /// 1 for the intent's first charge.
    pub number: u32,
    /// The name of the processor that was asked.
    pub processor: String,
    /// Where it stands.
    pub state: ChargeState,
    /// Whether the amount is taken at once or held first.
    pub capture: CaptureMethod,
    /// What the processor is being asked about what it holds.
    pub asked: Option<Followup>,
    /// What is collected.
    pub amount: Amount,
    /// Minor units held at the processor, not taken.
    pub authorized: i64,
    /// Minor units taken.
    pub captured: i64,
    /// Minor units given back.
    pub refunded: i64,
    /// Minor units that refunds in flight would give back.
    pub refund_reserved: i64,
    /// Minor units that lost disputes took, at most what was captured.
    pub lost: i64,
    /// The charge that it comes with, if it is the second success of that one's attempt: the service took
    /// the money twice, and this is the second time.
    pub comes_with: Option<ChargeId>,
    /// What the processor says it keeps of it.
    pub fee: Option<Amount>,
    /// The processor's own name for it, to the byte; none before one is known, or if it gave none
    /// that is kept (see [`crate::Receipt::reference`]).
    pub reference: Option<String>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// What the buyer must do, if anything.
    pub action: Option<Action>,
    /// Engine time until which the action is awaited.
    pub action_deadline: Option<Timestamp>,
    /// Engine time at which an authorisation lapses.
    pub authorized_until: Option<Timestamp>,
    /// Why its money settled nothing. What of it has not gone back, and is not on its way back, waits
    /// for a decision.
    pub hold: Option<Hold>,
    /// Whether somebody has decided that nothing more becomes of that money here:
    /// [`crate::App::keep_held`], or [`Resolution::SettledOutside`].
    pub hold_closed: bool,
    /// Whether it completed its session.
    pub settles: bool,
    /// Engine time.
    pub created_at: Timestamp,
    /// Engine time.
    pub updated_at: Timestamp,
    pub(crate) revision: i64,
}

impl Charge {
    /// Moves the state machine.
    pub(crate) fn step(&mut self, news: News, at: Timestamp) -> Result<(), Refused> {
        self.state = state::next(self.state, news)?;
        self.updated_at = at;
        Ok(())
    }

    /// Whether it went over another amount than asked, and nobody has decided about that yet.
    pub(crate) fn awaits_decision(&self) -> bool {
        self.hold == Some(Hold::Mismatch) && self.state != ChargeState::Succeeded && !self.hold_closed
    }

    /// Minor units of what it took that can still be given back.
    #[must_use]
    pub fn refundable(&self) -> i64 {
        let gone = self
            .refunded
            .saturating_add(self.refund_reserved)
            .saturating_add(self.lost);
        self.captured.saturating_sub(gone).max(0)
    }
}

/// Why a charge failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The reason as a word, such as `insufficient_funds`.
    pub code: String,
    /// The reason for people.
    pub message: String,
    /// What the processor advises.
    pub advice: Option<crate::hook::Advice>,
}

/// Whether an amount is taken at once or held first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CaptureMethod {
    /// It is taken when the buyer pays.
    #[default]
    Automatic,
    /// It is held when the buyer pays, until the host says how much of it to take.
    Manual,
}

impl CaptureMethod {
    pub(crate) const ALL: [CaptureMethod; 2] = [CaptureMethod::Automatic, CaptureMethod::Manual];

    /// `automatic` or `manual`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CaptureMethod::Automatic => "automatic",
            CaptureMethod::Manual => "manual",
        }
    }
}

/// What can be done with an amount that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Followup {
    /// All of it is taken, or a part; the rest is free.
    Capture,
    /// It is given free.
    Void,
}

impl Followup {
    pub(crate) const ALL: [Followup; 2] = [Followup::Capture, Followup::Void];

    /// `capture` or `void`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Followup::Capture => "capture",
            Followup::Void => "void",
        }
    }

    /// What a processor is asked for it.
    pub(crate) const fn operation(self) -> Operation {
        match self {
            Followup::Capture => Operation::Capture,
            Followup::Void => Operation::Void,
        }
    }

    /// The one that an operation is, if any.
    pub(crate) fn of(operation: Operation) -> Option<Followup> {
        Followup::ALL.into_iter().find(|known| known.operation() == operation)
    }

    /// It as an event of a state machine.
    pub(crate) const fn event(self) -> &'static str {
        match self {
            Followup::Capture => "a capture",
            Followup::Void => "a void",
        }
    }
}

/// Why money that was taken settled nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hold {
    /// It arrived after its session could no longer be paid by it.
    Late,
    /// Another charge had already paid the session.
    Surplus,
    /// The processor took another amount or currency than was asked.
    Mismatch,
}

impl Hold {
    pub(crate) const ALL: [Hold; 3] = [Hold::Late, Hold::Surplus, Hold::Mismatch];

    /// `late`, `surplus` or `mismatch`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Hold::Late => "late",
            Hold::Surplus => "surplus",
            Hold::Mismatch => "mismatch",
        }
    }
}

/// What becomes of money that arrives when there is nothing left to pay with it; given to
/// [`crate::App::set_late_payments`]. Another amount than was asked is held in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LatePayments {
    /// It goes back by itself.
    #[default]
    Refund,
    /// It is held until somebody decides.
    Hold,
}

impl LatePayments {
    pub(crate) const ALL: [LatePayments; 2] = [LatePayments::Refund, LatePayments::Hold];

    /// `refund` or `hold`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LatePayments::Refund => "refund",
            LatePayments::Hold => "hold",
        }
    }
}

/// One operation asked of a processor: the row that is committed before the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) operation: Operation,
    pub(crate) subject: String,
    pub(crate) processor: String,
    pub(crate) key: String,
    pub(crate) request: Vec<u8>,
    pub(crate) request_hash: [u8; 32],
    pub(crate) reference: Option<String>,
    /// Fences the call in flight: an older caller's token no longer matches.
    pub(crate) token: i64,
    /// What is awaited, and the host time at which it is given up or asked for.
    pub(crate) next: Option<(Await, Timestamp)>,
    pub(crate) asked: u32,
    pub(crate) unresolved: bool,
    /// Host time.
    pub(crate) created_at: Timestamp,
    /// Host time of the first evidence since the request was certainly not sent for the last time, or
    /// at all: from then on the call is over. None while one may still be made.
    pub(crate) heard_at: Option<Timestamp>,
    /// How many pieces of evidence there are.
    pub(crate) evidence: u32,
}

/// What an attempt waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Await {
    /// The answer of the call in flight, until its lease ends.
    Answer,
    /// To be carried out, from then on: nobody was asked yet.
    Call,
    /// A look-up, from then on.
    Lookup,
    /// To be called off, from then on.
    Cancel,
}

#[cfg(test)]
mod tests;
