//! Giving money back.

mod input;
mod state;

pub use input::NewRefund;
pub(crate) use input::{Checked, Share, Target};
pub use state::RefundState;

use super::{Failure, News};
use crate::error::Refused;
use crate::id::{ChargeId, PaymentIntentId, RefundId, SessionId};
use crate::money::Amount;
use crate::text::Metadata;
use crate::time::Timestamp;

/// The most refunds of one charge.
pub(crate) const MAX_REFUNDS: u32 = 1_000;

/// Money on its way back to a buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refund {
    /// The refund's id.
    pub id: RefundId,
    /// The charge whose money goes back.
    pub charge: ChargeId,
    /// The charge's intent.
    pub intent: PaymentIntentId,
    /// The session that the charge was for.
    pub session: SessionId,
    /// 1 for the charge's first refund.
    pub number: u32,
    /// The name of the processor that made the charge.
    pub processor: String,
    /// How much goes back.
    pub amount: Amount,
    /// Where it stands.
    pub state: RefundState,
    /// Why it is made.
    pub source: RefundSource,
    /// What it does to what the sale granted, once the money is back; none: nothing, unless it leaves
    /// nothing of a charge that paid for its session, and then that is taken back.
    pub effect: Option<GrantEffect>,
    /// The lines of the session that it is for, in their order; empty: for no line in particular.
    pub lines: Vec<RefundedLine>,
    /// The reason in the host's words.
    pub reason: Option<String>,
    /// What the host attached.
    pub metadata: Metadata,
    /// The processor's own name for it, to the byte; none before one is known, or if it gave none
    /// that is kept (see [`crate::Receipt::reference`]).
    pub reference: Option<String>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// Whether the processor gave back another amount than was asked, so that somebody has to decide.
    pub mismatched: bool,
    /// Engine time.
    pub created_at: Timestamp,
    /// Engine time.
    pub updated_at: Timestamp,
    pub(crate) revision: i64,
}

/// So many units of one line of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefundedLine {
    /// The line's place in the session, 0 for the first.
    pub position: usize,
    /// How many units.
    pub quantity: u32,
    /// What goes back for them, in minor units.
    pub amount: i64,
}

/// Who wanted a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefundSource {
    /// The host asked for it.
    Requested,
    /// The money came too late to pay for anything.
    Late,
    /// Another charge had already paid the session, or the service took the money twice.
    Surplus,
    /// Another amount was taken than was asked, and somebody decided that it goes back.
    Mismatch,
    /// Somebody made it at the service.
    Processor,
}

/// What a refund does to what the sale granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GrantEffect {
    /// Nothing.
    Keep,
    /// It is taken back at once.
    Revoke,
    /// What has an end may be used until then; what has none is taken back at once.
    AtPeriodEnd,
}

impl Refund {
    /// Moves the state machine.
    pub(crate) fn step(&mut self, news: News, at: Timestamp) -> Result<(), Refused> {
        self.state = state::next(self.state, news)?;
        self.updated_at = at;
        Ok(())
    }

    /// Whether the engine decided on it by itself, and so sees to it that it gets through.
    pub(crate) fn is_automatic(&self) -> bool {
        match self.source {
            RefundSource::Requested | RefundSource::Processor => false,
            RefundSource::Late | RefundSource::Surplus | RefundSource::Mismatch => true,
        }
    }
}

impl RefundSource {
    pub(crate) const ALL: [RefundSource; 5] = [
        RefundSource::Requested,
        RefundSource::Late,
        RefundSource::Surplus,
        RefundSource::Mismatch,
        RefundSource::Processor,
    ];

    /// The source as a word, such as `requested`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RefundSource::Requested => "requested",
            RefundSource::Late => "late",
            RefundSource::Surplus => "surplus",
            RefundSource::Mismatch => "mismatch",
            RefundSource::Processor => "processor",
        }
    }
}

impl GrantEffect {
    pub(crate) const ALL: [GrantEffect; 3] = [GrantEffect::Keep, GrantEffect::Revoke, GrantEffect::AtPeriodEnd];

    /// `keep`, `revoke` or `at_period_end`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            GrantEffect::Keep => "keep",
            GrantEffect::Revoke => "revoke",
            GrantEffect::AtPeriodEnd => "at_period_end",
        }
    }
}

#[cfg(test)]
mod tests;
