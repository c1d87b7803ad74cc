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

/// What can be learned about a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChargeEvent {
    /// The call's lease ended and nobody recorded an answer.
    LeaseEnded,
    /// The processor or the connection gave no usable answer.
    Unclear,
    /// The processor accepted it and will know later.
    Pending,
    /// The buyer must act.
    ActionRequired,
    /// The amount is held.
    Authorized,
    /// The amount was taken, as asked.
    Succeeded,
    /// Another amount or currency was taken than asked.
    Mismatched,
    /// It failed for certain.
    Failed,
}

/// The whole machine. What is not listed is refused: such evidence is kept and changes nothing.
///
/// Knowledge only grows: unknown, then pending, an action or an authorisation, then a final state. `Failed` to
/// `Succeeded` is the one contradiction that is believed, because money that moved must not be
/// overlooked; the reverse is not. Another amount than asked that arrives for a failed charge
/// leaves it failed, with the money held.
pub(super) fn next(state: ChargeState, event: ChargeEvent) -> Result<ChargeState, Refused> {
    use ChargeEvent as On;
    use ChargeState::{Authorized, Failed, Initiated, Pending, RequiresAction, Succeeded, Unknown};
    Ok(match (state, event) {
        (Initiated, On::LeaseEnded | On::Unclear) => Unknown,
        (Initiated | Unknown | RequiresAction, On::Pending) => Pending,
        (Initiated | Unknown, On::ActionRequired) => RequiresAction,
        (Initiated | Unknown, On::Authorized) => Authorized,
        (Initiated | Unknown | Pending | RequiresAction | Authorized, On::Succeeded) => Succeeded,
        (Initiated | Unknown | Pending | RequiresAction | Authorized, On::Mismatched) => Unknown,
        (Initiated | Unknown | Pending | RequiresAction | Authorized, On::Failed) => Failed,
        (Failed, On::Succeeded) => Succeeded,
        (Failed, On::Mismatched) => Failed,
        (state, event) => {
            return Err(Refused {
                object: "charge",
                state: state.as_str(),
                event: event.as_str(),
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

impl ChargeEvent {
    #[cfg(test)]
    pub(super) const ALL: [ChargeEvent; 8] = [
        ChargeEvent::LeaseEnded,
        ChargeEvent::Unclear,
        ChargeEvent::Pending,
        ChargeEvent::ActionRequired,
        ChargeEvent::Authorized,
        ChargeEvent::Succeeded,
        ChargeEvent::Mismatched,
        ChargeEvent::Failed,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            ChargeEvent::LeaseEnded => "the end of the lease",
            ChargeEvent::Unclear => "an unclear answer",
            ChargeEvent::Pending => "acceptance",
            ChargeEvent::ActionRequired => "a required action",
            ChargeEvent::Authorized => "authorisation",
            ChargeEvent::Succeeded => "success",
            ChargeEvent::Mismatched => "success over another amount",
            ChargeEvent::Failed => "failure",
        }
    }
}
