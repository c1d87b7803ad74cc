use super::News;
use crate::error::Refused;

/// Where a charge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChargeState {
    /// Committed; the processor is being asked.
    Initiated,
    /// Nobody knows what came of asking. Only evidence ends this.
    Unknown,
    /// The processor accepted it and will know later.
    Pending,
    /// The buyer must do something first.
    RequiresAction,
    /// The amount is held, not taken.
    Authorized,
    /// The amount was taken.
    Succeeded,
    /// It failed for certain.
    Failed,
    /// The authorisation was given free.
    Voided,
}

/// The whole machine. What is not listed is refused: such evidence is kept and changes nothing.
///
/// Knowledge only grows: unknown, then pending, an action or an authorisation, then a final state. That a
/// failed or voided charge succeeded is the one contradiction that is believed, because money that
/// moved must not be overlooked; the reverse is not. Another amount than asked that arrives for such a
/// charge leaves it as it is, with the money held.
pub(super) fn next(state: ChargeState, news: News) -> Result<ChargeState, Refused> {
    use ChargeState::{Authorized, Failed, Initiated, Pending, RequiresAction, Succeeded, Unknown, Voided};
    use News as On;
    Ok(match (state, news) {
        (Initiated, On::LeaseEnded | On::Unclear) => Unknown,
        (Initiated | Unknown | RequiresAction, On::Pending) => Pending,
        (Initiated | Unknown, On::ActionRequired) => RequiresAction,
        (Initiated | Unknown | Pending | RequiresAction, On::Authorized) => Authorized,
        (Initiated | Unknown | Pending | RequiresAction | Authorized, On::Succeeded) => Succeeded,
        (Initiated | Unknown | Pending | RequiresAction | Authorized, On::Mismatched) => Unknown,
        (Initiated | Unknown | Pending | RequiresAction | Authorized, On::Failed) => Failed,
        (Initiated | Unknown | Pending | RequiresAction, On::Canceled) => Failed,
        (Authorized, On::Canceled) => Voided,
        (Failed | Voided, On::Succeeded) => Succeeded,
        (Failed, On::Mismatched) => Failed,
        (Voided, On::Mismatched) => Voided,
        (state, news) => {
            return Err(Refused {
                object: "charge",
                state: state.as_str(),
                event: news.as_str(),
            });
        }
    })
}

impl ChargeState {
    pub(crate) const ALL: [ChargeState; 8] = [
        ChargeState::Initiated,
        ChargeState::Unknown,
        ChargeState::Pending,
        ChargeState::RequiresAction,
        ChargeState::Authorized,
        ChargeState::Succeeded,
        ChargeState::Failed,
        ChargeState::Voided,
    ];

    /// The state as a word, such as `requires_action`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ChargeState::Initiated => "initiated",
            ChargeState::Unknown => "unknown",
            ChargeState::Pending => "pending",
            ChargeState::RequiresAction => "requires_action",
            ChargeState::Authorized => "authorized",
            ChargeState::Succeeded => "succeeded",
            ChargeState::Failed => "failed",
            ChargeState::Voided => "voided",
        }
    }

    /// Whether the outcome is open: while it is, no other attempt starts.
    #[must_use]
    pub const fn is_live(self) -> bool {
        match self {
            ChargeState::Initiated
            | ChargeState::Unknown
            | ChargeState::Pending
            | ChargeState::RequiresAction
            | ChargeState::Authorized => true,
            ChargeState::Succeeded | ChargeState::Failed | ChargeState::Voided => false,
        }
    }
}
