use std::time::Duration;

use crate::id::Mode;
use crate::time::Timestamp;

/// Carries one signed webhook to its endpoint.
///
/// # When it is called
/// By `run_due`, for each delivery that is due, from the calling thread, with no lock held and no
/// transaction open. Deliveries of different threads run at the same time.
///
/// # What it must do
/// POST exactly the given body and headers to exactly the given URL, once; a header that would end a line is
/// refused. Follow no redirect, send no
/// cookie, take no proxy from the environment, and count the deadline over everything, the
/// reading of the reply included. The reply's body is cut at [`Answered::MAX_BODY`] bytes; one that breaks off, or
/// does not come in time, leaves the status as it is.
/// `testing::transport_conformance` tries all that.
///
/// A URL is what somebody gave: dial what [`AddressPolicy`](crate::transport::AddressPolicy) lets through, and
/// nothing else.
///
/// # What an answer means
/// A status from 200 to 299 is final: the delivery is done. Every other status, and
/// [`TransportOutcome::Failed`], is tried again on the schedule. Code that panics is no answer: the delivery
/// is tried again after five minutes, and it costs no attempt. A wrong answer is harmless: a
/// receiver sees an event at least once and recognises a repetition by `webhook-id`.
pub trait Transport: Send + Sync {
    /// Sends the request and waits for the reply.
    fn send(&self, request: &SignedRequest) -> TransportOutcome;
}

impl<F> Transport for F
where
    F: Fn(&SignedRequest) -> TransportOutcome + Send + Sync,
{
    fn send(&self, request: &SignedRequest) -> TransportOutcome {
        self(request)
    }
}

/// A webhook, ready to be sent. Timestamp and signature were made for this attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedRequest {
    /// Where it goes; http or https.
    pub url: String,
    /// Names and values of all headers, names as the services write them. Receivers read them in any case, and
    /// transports over the crate `http`, the ready-made one among them, send them in small letters.
    pub headers: Vec<(&'static str, String)>,
    /// The exact bytes of the body.
    pub body: Vec<u8>,
    /// The mode of the sale that it tells of: where test webhooks may go, live ones may not have to.
    pub mode: Mode,
    /// How long everything may take.
    pub timeout: Duration,
    /// Host time at which the attempt was signed.
    pub signed_at: Timestamp,
}

/// What came of sending.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportOutcome {
    /// The endpoint answered.
    Answered(Answered),
    /// No answer came: name resolution, connection, TLS, the deadline.
    Failed {
        /// Why, for the operator, and whole: card numbers and secrets are masked before it is cut, at 500
        /// characters.
        why: String,
    },
}

/// An endpoint's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The start of the reply's body.
    pub body: Vec<u8>,
    /// The value of the reply's header `Retry-After`, as it came.
    pub retry_after: Option<String>,
}

impl Answered {
    /// How many bytes of a reply are kept.
    pub const MAX_BODY: usize = 1_024;

    /// An answer without a body.
    #[must_use]
    pub fn status(status: u16) -> Answered {
        Answered {
            status,
            body: Vec::new(),
            retry_after: None,
        }
    }

    /// With the value of the reply's header `Retry-After`: seconds, or a date of HTTP.
    #[must_use]
    pub fn retry_after(mut self, value: impl Into<String>) -> Self {
        self.retry_after = Some(value.into());
        self
    }

    /// With the start of the reply's body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}
