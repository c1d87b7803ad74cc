use super::{Cancel, Capabilities, Lookup, Outcome, Request};
use crate::id::Mode;
use crate::money::Amount;
use crate::time::Timestamp;

/// Moves money: the host's bridge to a payment service.
///
/// # When it is called
/// [`execute`](Processor::execute) is called after the attempt and its frozen request have been
/// committed, and before anything is decided about the outcome. [`lookup`](Processor::lookup) is
/// called by `run_due` for attempts whose outcome is not known, [`cancel`](Processor::cancel) for those
/// whose time is over. None is called by `open`.
///
/// # From which thread
/// The one that called the engine. No lock is held and no transaction is open; several calls may
/// run at the same time, for different attempts.
///
/// # How often
/// `execute` is called once per attempt, but for refunds that the engine makes by itself: while they
/// are [`Outcome::NotSent`], they are tried again. Whatever calls it again does so with the same bytes
/// and the same idempotency key, which the implementation passes on to the service, so that the
/// service can tell a repetition from a second payment.
///
/// # What an answer means
/// There is no `Err`. Only [`Outcome::Declined`], [`Outcome::NotSent`] and [`Outcome::Canceled`] free
/// the buyer to try again, so answer them only when the money certainly did not and will not move. A timeout, a
/// broken connection, a 5xx, an answer that does not parse: all of these are
/// [`Outcome::Unknown`]. A panic counts as `Unknown` too. [`stripe_mapping`](crate::stripe_mapping)
/// goes through all that one service says.
///
/// # Amounts
/// A request counts minor units of ISO 4217. A service that counts otherwise gets its number, and is
/// understood, by [`Units`](crate::Units).
///
/// # After a crash
/// An attempt whose answer was never recorded becomes *unknown* when its lease (the call timeout
/// plus ten seconds) has ended, and is looked up. It never becomes failed by time alone.
pub trait Processor: Send + Sync {
    /// What the service can do. Asked before each payment and whenever an outcome is weighed, so it
    /// should be cheap and constant.
    fn capabilities(&self) -> Capabilities;

    /// Asks the service to carry out one operation and says what came of it.
    ///
    /// `deadline` is host time: give up waiting and answer [`Outcome::Unknown`] before it passes.
    fn execute(&self, request: &Request, deadline: Timestamp) -> Outcome;

    /// Asks the service what became of an attempt.
    fn lookup(&self, key: &LookupKey<'_>) -> Lookup;

    /// Asks the service to call an attempt off: an action that the buyer has not taken in time, a
    /// payment that somebody gave up, an amount that was held for too long. Answer
    /// [`Cancel::Canceled`] only if nothing will come of the attempt any more; the buyer pays anew
    /// after that. Asked again until it is answered so, or with what came of the attempt.
    ///
    /// A service that cannot do it leaves this as it is; then such attempts wait for what a look-up
    /// finds.
    fn cancel(&self, key: &LookupKey<'_>) -> Cancel {
        match self.lookup(key) {
            Lookup::Found(outcome) => Cancel::TooLate(outcome),
            Lookup::NotFound => Cancel::NotFound,
            Lookup::CannotTell { why } => Cancel::CannotTell { why },
        }
    }
}

impl<T: Processor + ?Sized> Processor for std::sync::Arc<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn execute(&self, request: &Request, deadline: Timestamp) -> Outcome {
        (**self).execute(request, deadline)
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        (**self).lookup(key)
    }

    fn cancel(&self, key: &LookupKey<'_>) -> Cancel {
        (**self).cancel(key)
    }
}

/// Which attempt is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LookupKey<'a> {
    /// The frozen request, with the attempt's id and idempotency key.
    pub request: &'a Request,
    /// The service's own name, exactly as it gave it; none where none was learned, or none that is
    /// kept (see [`crate::Receipt::reference`]). A service must be able to find the attempt without it.
    pub reference: Option<&'a str>,
}

/// What a host that makes the calls itself brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The operation was asked for.
    Executed(Outcome),
    /// The attempt was looked up.
    LookedUp(Lookup),
    /// The attempt was to be called off.
    Canceled(Cancel),
}

/// What a routing rule decides by: which of several processors takes a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteInput {
    /// The app's slug.
    pub app: String,
    /// The mode.
    pub mode: Mode,
    /// What is collected.
    pub amount: Amount,
}
