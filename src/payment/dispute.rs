//! Money that a buyer asks back from their bank.

use crate::error::Refused;
use crate::id::{ChargeId, DisputeId, SessionId};
use crate::money::Amount;
use crate::time::Timestamp;

pub use crate::hook::DisputeState;

/// A charge that a buyer disputes with their bank. What becomes of it is decided there: the engine writes
/// it down, and a lost one takes its amount off what can be given back of the charge, as far as there is any.
///
/// What was sold is taken back with the last of what the charge took. A dispute that is won after it was lost
/// gives the money back and not that: whoever is to have it again is granted it
/// ([`crate::Entitlements::grant`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dispute {
    /// The dispute's id.
    pub id: DisputeId,
    /// The charge whose money is asked back.
    pub charge: ChargeId,
    /// 1 for the charge's first dispute.
    pub number: u32,
    /// The session that the charge was for.
    pub session: SessionId,
    /// The name of the processor that made the charge.
    pub processor: String,
    /// The service's own name for it.
    pub reference: String,
    /// Where it stands.
    pub state: DisputeState,
    /// How much is asked back, or was lost; it may be more than the charge took.
    pub amount: Amount,
    /// The reason in the service's words.
    pub reason: Option<String>,
    /// Engine time.
    pub created_at: Timestamp,
    /// Engine time.
    pub updated_at: Timestamp,
    pub(crate) revision: i64,
}

impl Dispute {
    /// Moves the state machine.
    pub(crate) fn step(&mut self, to: DisputeState, at: Timestamp) -> Result<(), Refused> {
        self.state = next(self.state, to)?;
        self.updated_at = at;
        Ok(())
    }

    /// Minor units that it took, if what was captured sufficed for that.
    fn lost(&self) -> i64 {
        match self.state {
            DisputeState::Lost => self.amount.as_minor(),
            DisputeState::Open | DisputeState::Won => 0,
        }
    }
}

/// How many disputes of one charge are written down.
pub(crate) const MAX_DISPUTES: u32 = 100;

/// Minor units that the disputes of a charge took of what was captured. A bank may ask back more than that,
/// but nothing more of the charge can be gone.
pub(crate) fn lost_to<'a>(disputes: impl IntoIterator<Item = &'a Dispute>, captured: i64) -> i64 {
    let took = |sum: i64, dispute: &Dispute| sum.saturating_add(dispute.lost());
    disputes.into_iter().fold(0, took).min(captured)
}

/// The whole machine. What is not listed is refused: it is older than what is known. A lost one may be won
/// after all; that a won one was lost came late.
pub(crate) fn next(state: DisputeState, heard: DisputeState) -> Result<DisputeState, Refused> {
    use DisputeState::{Lost, Open, Won};
    match (state, heard) {
        (Open, Won | Lost) | (Lost, Won) => Ok(heard),
        (Open | Won | Lost, heard) => Err(Refused {
            object: "dispute",
            state: state.as_str(),
            event: heard.as_str(),
        }),
    }
}
