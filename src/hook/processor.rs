use super::{Cancel, Capabilities, Lookup, Outcome, Post, Reception, Request};
use crate::id::Mode;
use crate::money::Amount;
use crate::time::Timestamp;
/// Moves money: the host's bridge to a payment service.
///
/// # When it is called
/// [`execute`](Processor::execute) is called after the attempt and its frozen request have been
/// committed, and before anything is decided about the outcome. [`lookup`](Processor::lookup) is
/// called by `run_due` for attempts whose outcome is not known, [`cancel`](Processor::cancel) for those
/// whose time is over. [`receive`](Processor::receive) is called when the host was sent something by the
/// service. None is called by `open`.
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
///
/// # Example
/// The least of one. `examples/http_processor` in the repository is a whole one over HTTP, with a service
/// that misbehaves and a test of what each answer means.
///
/// ```
/// use std::time::Duration;
/// use tillite::{Capabilities, Lookup, LookupKey, Outcome, Processor, Request, Timestamp};
/// # struct Client;
/// # struct Reply { status: u16, paid: bool, id: String }
/// # enum Broken { NoConnection, Anywhere }
/// # impl Client {
/// #     fn pay(&self, request: &Request, _until: Timestamp) -> Result<Reply, Broken> {
/// #         Ok(Reply { status: 200, paid: true, id: format!("pay_{}", request.attempt) })
/// #     }
/// #     fn find(&self, request: &Request) -> Result<Reply, Broken> { self.pay(request, Timestamp::MAX) }
/// # }
///
/// struct Till(Client);
///
/// impl Till {
///     fn outcome(reply: Reply, request: &Request) -> Outcome {
///         match (reply.status, request.money()) {
///             (200, Ok(amount)) if reply.paid => Outcome::succeeded(reply.id, amount),
///             // The service says: refused, and nothing was taken.
///             (402, _) => Outcome::Declined { code: "refused".to_owned(), message: String::new(), advice: None },
///             (status, _) => Outcome::Unknown { why: format!("the service answered {status}") },
///         }
///     }
/// }
///
/// impl Processor for Till {
///     fn capabilities(&self) -> Capabilities {
///         Capabilities::new()
///             .idempotency_window(Duration::from_secs(23 * 3_600))
///             .lookup()
///             .not_found_final_after(Duration::from_secs(60))
///     }
///
///     fn execute(&self, request: &Request, deadline: Timestamp) -> Outcome {
///         // The client sends `request.idempotency_key` along, so that a repetition is recognised, and
///         // `request.attempt`, so that a look-up finds it.
///         match self.0.pay(request, deadline) {
///             Ok(reply) => Till::outcome(reply, request),
///             Err(Broken::NoConnection) => Outcome::NotSent { why: "there was no connection".to_owned() },
///             Err(Broken::Anywhere) => Outcome::Unknown { why: "the connection broke".to_owned() },
///         }
///     }
///
///     fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
///         match self.0.find(key.request) {
///             Ok(reply) if reply.status == 404 => Lookup::NotFound,
///             Ok(reply) => match Till::outcome(reply, key.request) {
///                 Outcome::Unknown { why } => Lookup::CannotTell { why },
///                 outcome => Lookup::Found(outcome),
///             },
///             Err(_) => Lookup::CannotTell { why: "the service was not reached".to_owned() },
///         }
///     }
/// }
/// # let capabilities = Till(Client).capabilities();
/// # assert!(capabilities.lookup);
/// ```
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

    /// Says whether what was posted to the host comes from the service, and what it says.
    ///
    /// Called by [`crate::Notifications::receive`], before anything is stored. It must do nothing but
    /// read: check the signature over the exact bytes, compare its time with
    /// [`Post::received_at`], translate. What it answers is stored before the service is answered, and
    /// applied later, by `run_due`. A notice that is not certain from the post alone is
    /// [`NoticeKind::Changed`](crate::NoticeKind::Changed): then the service is asked. Whoever knows the
    /// secret by which the service signs can bring money in and out of the books, so [`Reception::Refused`]
    /// is the answer wherever there is doubt about the sender.
    ///
    /// A panic counts as no answer: nothing is stored, and the host answers so that the service sends it
    /// again. Likewise where it answers more than [`Reception::MAX_NOTICES`].
    ///
    /// A service that posts nothing leaves this as it is.
    fn receive(&self, post: &Post<'_>) -> Reception {
        let _ = post;
        Reception::refused("this processor takes no notifications")
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

    fn receive(&self, post: &Post<'_>) -> Reception {
        (**self).receive(post)
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

impl<'a> LookupKey<'a> {
    /// The attempt of a request, of which no name of the service's is known: for a host that makes the
    /// calls itself, and for the tests of a processor.
    #[must_use]
    pub fn of(request: &'a Request) -> LookupKey<'a> {
        LookupKey {
            request,
            reference: None,
        }
    }

    /// With the service's own name.
    #[must_use]
    pub fn reference(mut self, reference: &'a str) -> Self {
        self.reference = Some(reference);
        self
    }
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
