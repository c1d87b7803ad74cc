use crate::error::Refused;
use crate::payment::News;

/// Where a refund stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefundState {
    /// It is committed. The processor is being asked, will be, or has accepted it and will know later.
    Pending,
    /// Nobody knows what came of asking. Only evidence ends this.
    Unknown,
    /// The money went back.
    Succeeded,
    /// It failed for certain; what it had reserved is free again.
    Failed,
    /// It was called off at the processor.
    Canceled,
}

/// The whole machine. What is not listed is refused: such evidence is kept and changes nothing.
///
/// A refund that succeeded may still fail, because a bank may send the money back days later. One
/// that was taken for over and has succeeded after all is believed, since money that left must not
/// be overlooked. Another amount than asked leaves it as unknown as it is, for a person to decide.
pub(super) fn next(state: RefundState, news: News) -> Result<RefundState, Refused> {
    use News as On;
    use RefundState::{Canceled, Failed, Pending, Succeeded, Unknown};
    Ok(match (state, news) {
        (Pending, On::LeaseEnded | On::Unclear) => Unknown,
        (Unknown, On::Pending | On::ActionRequired) => Pending,
        (Pending | Unknown, On::Mismatched) => Unknown,
        (Pending | Unknown | Failed | Canceled, On::Succeeded) => Succeeded,
        (Pending | Unknown | Succeeded, On::Failed) => Failed,
        (Pending | Unknown, On::Canceled) => Canceled,
        (state, news) => {
            return Err(Refused {
                object: "refund",
                state: state.as_str(),
                event: news.as_str(),
            });
        }
    })
}

impl RefundState {
    pub(crate) const ALL: [RefundState; 5] = [
        RefundState::Pending,
        RefundState::Unknown,
        RefundState::Succeeded,
        RefundState::Failed,
        RefundState::Canceled,
    ];

    /// The state as a word, such as `pending`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RefundState::Pending => "pending",
            RefundState::Unknown => "unknown",
            RefundState::Succeeded => "succeeded",
            RefundState::Failed => "failed",
            RefundState::Canceled => "canceled",
        }
    }

    /// Whether the outcome is open: while it is, the amount is reserved.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, RefundState::Pending | RefundState::Unknown)
    }
}
