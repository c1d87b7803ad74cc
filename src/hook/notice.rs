//! What a payment service posts by itself.

use super::Outcome;
use crate::money::Amount;
use crate::time::Timestamp;

/// What a payment service posted to the host, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Post<'a> {
    /// Names and values of the headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The exact bytes of the body: a signature is over these.
    pub body: &'a [u8],
    /// Host time at which it arrived. A signature that is older than a few minutes is a repetition by
    /// somebody else.
    pub received_at: Timestamp,
}

impl<'a> Post<'a> {
    /// What was posted at a host time.
    #[must_use]
    pub const fn new(headers: &'a [(&'a str, &'a str)], body: &'a [u8], received_at: Timestamp) -> Post<'a> {
        Post {
            headers,
            body,
            received_at,
        }
    }

    /// The value of the first header of that name, in upper or lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut named = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| *value)
    }
}

/// Whether what was posted comes from the service, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reception {
    /// The service sent it, for certain.
    Genuine {
        /// What it says, in its order; at most [`Reception::MAX_NOTICES`].
        notices: Vec<Notice>,
        /// What the service expects to hear once that is on disk.
        reply: Reply,
    },
    /// Nobody can tell that the service sent it: the signature is missing, wrong or too old.
    Refused {
        /// Why, for the operator. It goes into an error, so repeat nothing of a secret in it.
        why: String,
    },
}

impl Reception {
    /// How many notices one post may hold.
    pub const MAX_NOTICES: usize = 100;

    /// These notices, to be answered with 200 and nothing else.
    #[must_use]
    pub fn genuine(notices: impl Into<Vec<Notice>>) -> Reception {
        Reception::Genuine {
            notices: notices.into(),
            reply: Reply::ok(),
        }
    }

    /// Not from the service, for this reason.
    #[must_use]
    pub fn refused(why: impl Into<String>) -> Reception {
        Reception::Refused { why: why.into() }
    }
}

/// What a payment service hears when its post was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body; none without one.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// 200 with an empty body.
    #[must_use]
    pub fn ok() -> Reply {
        Reply::status(200)
    }

    /// A status with an empty body.
    #[must_use]
    pub fn status(status: u16) -> Reply {
        Reply {
            status,
            content_type: None,
            body: Vec::new(),
        }
    }

    /// With a body of this media type.
    #[must_use]
    pub fn body(mut self, content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        self.content_type = Some(content_type.into());
        self.body = body.into();
        self
    }
}

/// One thing that a payment service says by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// The service's own name for this notice, by which it is recognised when it comes again. Without one, or
    /// with one that looks like a card number, nothing of the post is stored:
    /// [`crate::Error::NotificationUnread`].
    pub id: String,
    /// The id of the attempt that it is about ([`crate::Request::attempt`]), where the service says
    /// it. It goes before the reference.
    pub attempt: Option<String>,
    /// The service's own name for the payment or refund that it is about.
    pub reference: Option<String>,
    /// What it says.
    pub kind: NoticeKind,
}

impl Notice {
    /// A notice under the service's own name for it; say with [`Notice::attempt`] or
    /// [`Notice::reference`] what it is about.
    #[must_use]
    pub fn new(id: impl Into<String>, kind: NoticeKind) -> Notice {
        Notice {
            id: id.into(),
            attempt: None,
            reference: None,
            kind,
        }
    }

    /// About the attempt of this id.
    #[must_use]
    pub fn attempt(mut self, attempt: impl Into<String>) -> Self {
        self.attempt = Some(attempt.into());
        self
    }

    /// About what the service knows by this name.
    #[must_use]
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }
}

/// What a notice says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoticeKind {
    /// This came of the attempt, so far. It counts as what a look-up finds does, but for two outcomes:
    /// a [`Outcome::Declined`] ends nothing by itself where the attempt can be looked up, or where the
    /// buyer may be about to try again on the service's page
    /// ([`Capabilities::declines_are_final`](crate::Capabilities::declines_are_final) says that neither can
    /// be); [`Outcome::Canceled`] is for what nothing will come of any more. And [`Outcome::NotSent`] says
    /// nothing here: it is the caller's word only.
    ///
    /// A success under another name than the one that is known for the attempt is money that was taken a
    /// second time, and goes back: so the reference must be the same name for the same money wherever it is
    /// said, in an answer, a look-up and here.
    Evidence(Outcome),
    /// Something about the attempt has changed: it is looked up by the next `run_due`. The answer for
    /// whatever is not certain from the post alone.
    Changed,
    /// A refund that somebody made at the service, of the payment that the notice is about: it went
    /// through. It becomes a refund here. One that was asked for here is better told as
    /// [`NoticeKind::Evidence`] about its attempt, and counts once whichever way it is told.
    ExternalRefund {
        /// The service's own name for the refund.
        reference: String,
        /// How much went back.
        amount: Amount,
        /// Why, in the service's words.
        reason: Option<String>,
    },
    /// The buyer disputes the payment that the notice is about, or what came of that. One that was lost with
    /// the last of the payment takes back what was sold; that it is won after all does not grant it again, as
    /// the host may have sold it anew meanwhile: see [`crate::Dispute`].
    Dispute {
        /// The service's own name for the dispute.
        reference: String,
        /// Where it stands.
        state: DisputeState,
        /// How much is asked back, or was lost; it may be more than the payment.
        amount: Amount,
        /// Why, in the service's words.
        reason: Option<String>,
    },
    /// Nothing that matters here.
    Ignored,
}

/// Where a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisputeState {
    /// The bank decides.
    Open,
    /// The money stays here.
    Won,
    /// The money is gone.
    Lost,
}

impl DisputeState {
    pub(crate) const ALL: [DisputeState; 3] = [DisputeState::Open, DisputeState::Won, DisputeState::Lost];

    /// `open`, `won` or `lost`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DisputeState::Open => "open",
            DisputeState::Won => "won",
            DisputeState::Lost => "lost",
        }
    }
}
