use crate::error::Refused;
use crate::payment::News;

/// Where a setup stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SetupState {
    /// Committed; the processor is being asked.
    Initiated,
    /// Nobody knows what came of asking. Only evidence ends this.
    Unknown,
    /// The processor accepted it and will know later.
    Pending,
    /// The buyer must do something first.
    RequiresAction,
    /// The method is saved.
    Succeeded,
    /// It failed for certain.
    Failed,
    /// It was called off at the processor.
    Canceled,
}

/// The whole machine. What is not listed is refused: such evidence is kept and changes nothing.
///
/// Knowledge only grows. That one which was taken for over has succeeded after all is believed, since
/// the service keeps the method then. A success that brings no method, or that moved money, leaves it as
/// unknown as it is, for a person to decide.
pub(super) fn next(state: SetupState, news: News) -> Result<SetupState, Refused> {
    use News as On;
    use SetupState::{Canceled, Failed, Initiated, Pending, RequiresAction, Succeeded, Unknown};
    Ok(match (state, news) {
        (Initiated, On::LeaseEnded | On::Unclear) => Unknown,
        (Initiated | Unknown | RequiresAction, On::Pending) => Pending,
        (Initiated | Unknown, On::ActionRequired) => RequiresAction,
        (Initiated | Unknown | Pending | RequiresAction, On::Mismatched) => Unknown,
        (Initiated | Unknown | Pending | RequiresAction | Failed | Canceled, On::Succeeded) => Succeeded,
        (Initiated | Unknown | Pending | RequiresAction, On::Failed) => Failed,
        (Initiated | Unknown | Pending | RequiresAction, On::Canceled) => Canceled,
        (state, news) => {
            return Err(Refused {
                object: "setup",
                state: state.as_str(),
                event: news.as_str(),
            });
        }
    })
}

impl SetupState {
    pub(crate) const ALL: [SetupState; 7] = [
        SetupState::Initiated,
        SetupState::Unknown,
        SetupState::Pending,
        SetupState::RequiresAction,
        SetupState::Succeeded,
        SetupState::Failed,
        SetupState::Canceled,
    ];

    /// The state as a word, such as `requires_action`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            SetupState::Initiated => "initiated",
            SetupState::Unknown => "unknown",
            SetupState::Pending => "pending",
            SetupState::RequiresAction => "requires_action",
            SetupState::Succeeded => "succeeded",
            SetupState::Failed => "failed",
            SetupState::Canceled => "canceled",
        }
    }

    /// Whether the outcome is open.
    #[must_use]
    pub const fn is_live(self) -> bool {
        match self {
            SetupState::Initiated | SetupState::Unknown | SetupState::Pending | SetupState::RequiresAction => true,
            SetupState::Succeeded | SetupState::Failed | SetupState::Canceled => false,
        }
    }
}
