use crate::error::Refused;

/// Where a checkout session stands. `Complete` and `Expired` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionState {
    /// It can be paid.
    Open,
    /// A payment is in flight; nothing else happens until its outcome is known.
    Processing,
    /// It was paid, or there was nothing to pay.
    Complete,
    /// It can no longer be paid.
    Expired(ExpiredReason),
}

/// Why a session can no longer be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExpiredReason {
    /// Its time passed.
    Timeout,
    /// The host closed it.
    Merchant,
    /// The buyer gave up.
    Buyer,
    /// A newer session of the same order took its place.
    Superseded,
}

/// What can happen to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionEvent {
    /// Lines, metadata or URLs are replaced.
    Update,
    /// An attempt to collect the total was committed.
    StartPayment,
    /// There is nothing to collect.
    NothingDue,
    /// An attempt collected the total.
    Paid,
    /// The attempt in flight failed for certain.
    PaymentFailed,
    /// The host gave free what was held.
    Voided,
    /// It is closed.
    Expire(ExpiredReason),
}

/// The whole machine. What is not listed is refused.
pub(super) fn next(state: SessionState, event: SessionEvent) -> Result<SessionState, Refused> {
    use SessionEvent as On;
    use SessionState::{Complete, Expired, Open, Processing};
    Ok(match (state, event) {
        (Open, On::Update) => Open,
        (Open, On::StartPayment) => Processing,
        (Open, On::NothingDue) => Complete,
        (Open, On::Expire(reason)) => Expired(reason),
        (Processing, On::Paid) => Complete,
        (Processing, On::PaymentFailed) => Open,
        (Processing, On::Voided) => Expired(ExpiredReason::Merchant),
        (state, event) => {
            return Err(Refused {
                object: "checkout session",
                state: state.as_str(),
                event: event.as_str(),
            });
        }
    })
}

impl SessionState {
    /// `open`, `processing`, `complete` or `expired`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            SessionState::Open => "open",
            SessionState::Processing => "processing",
            SessionState::Complete => "complete",
            SessionState::Expired(_) => "expired",
        }
    }
}

impl ExpiredReason {
    pub(crate) const ALL: [ExpiredReason; 4] = [
        ExpiredReason::Timeout,
        ExpiredReason::Merchant,
        ExpiredReason::Buyer,
        ExpiredReason::Superseded,
    ];

    /// `timeout`, `merchant`, `buyer` or `superseded`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ExpiredReason::Timeout => "timeout",
            ExpiredReason::Merchant => "merchant",
            ExpiredReason::Buyer => "buyer",
            ExpiredReason::Superseded => "superseded",
        }
    }
}

impl SessionEvent {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            SessionEvent::Update => "an update",
            SessionEvent::StartPayment => "a payment",
            SessionEvent::NothingDue => "completion without payment",
            SessionEvent::Paid => "completion by payment",
            SessionEvent::PaymentFailed => "a failed payment",
            SessionEvent::Voided => "a void",
            SessionEvent::Expire(_) => "expiry",
        }
    }
}
