/// What can be learned about something that a processor was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
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
    /// It was called off at the processor, and will not happen.
    Canceled,
}

impl News {
    #[cfg(test)]
    pub(crate) const ALL: [News; 9] = [
        News::LeaseEnded,
        News::Unclear,
        News::Pending,
        News::ActionRequired,
        News::Authorized,
        News::Succeeded,
        News::Mismatched,
        News::Failed,
        News::Canceled,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            News::LeaseEnded => "the end of the lease",
            News::Unclear => "an unclear answer",
            News::Pending => "acceptance",
            News::ActionRequired => "a required action",
            News::Authorized => "authorisation",
            News::Succeeded => "success",
            News::Mismatched => "success over another amount",
            News::Failed => "failure",
            News::Canceled => "cancellation",
        }
    }
}
