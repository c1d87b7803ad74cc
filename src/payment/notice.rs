//! What payment services say unasked: stored when it comes, applied when its turn has come.

use sha2::{Digest as _, Sha256};

use super::evidence::MAX_REFERENCE;
use super::method::keepable;
use crate::hook::{Action, Notice, NoticeKind, Outcome, Receipt};
use crate::id::{AttemptId, NotificationId};
use crate::text::{self, kept};
use crate::time::Timestamp;

/// A notice that a payment service gave, as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// The name of the processor whose service gave it.
    pub processor: String,
    /// The service's own name for it; `sha256:` and the hash of that, where the name is longer than 255
    /// characters or holds a control character.
    pub key: String,
    /// What kind of thing it says.
    pub kind: NotificationKind,
    /// The id of the attempt that it is about, as the service says; none where it says none.
    pub attempt: Option<AttemptId>,
    /// The service's own name for what it is about; none where it gave none that can be kept (see
    /// [`crate::Receipt::reference`]).
    pub reference: Option<String>,
    /// How far it has come.
    pub state: NotificationState,
    /// Why it is where it is, where that is not plain.
    pub why: Option<String>,
    /// The id of the attempt that it was found to be about, if any was.
    pub matched: Option<AttemptId>,
    /// Host time at which it arrived.
    pub received_at: Timestamp,
    /// Host time at which it is looked at next; none once it is done.
    pub due_at: Option<Timestamp>,
    /// How often it was looked at in vain.
    pub tries: u32,
    /// Whether it was held because something else was in doubt. It is looked at again when more is known of
    /// that.
    pub in_doubt: bool,
}

/// What kind of thing a notice says: [`NoticeKind`] without what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotificationKind {
    /// What came of an attempt.
    Evidence,
    /// That an attempt is to be looked up.
    Changed,
    /// That a refund was made at the service.
    ExternalRefund,
    /// That a payment is disputed, or what came of that.
    Dispute,
    /// Nothing that matters.
    Ignored,
}

impl NotificationKind {
    pub(crate) const ALL: [NotificationKind; 5] = [
        NotificationKind::Evidence,
        NotificationKind::Changed,
        NotificationKind::ExternalRefund,
        NotificationKind::Dispute,
        NotificationKind::Ignored,
    ];

    /// The kind as a word, such as `evidence`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            NotificationKind::Evidence => "evidence",
            NotificationKind::Changed => "changed",
            NotificationKind::ExternalRefund => "external_refund",
            NotificationKind::Dispute => "dispute",
            NotificationKind::Ignored => "ignored",
        }
    }

    /// The kind of what a notice says.
    pub(crate) const fn of(said: &NoticeKind) -> NotificationKind {
        match said {
            NoticeKind::Evidence(_) => NotificationKind::Evidence,
            NoticeKind::Changed => NotificationKind::Changed,
            NoticeKind::ExternalRefund { .. } => NotificationKind::ExternalRefund,
            NoticeKind::Dispute { .. } => NotificationKind::Dispute,
            NoticeKind::Ignored => NotificationKind::Ignored,
        }
    }
}

/// How far a notice has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotificationState {
    /// It is to be applied, now or when what it is about allows it.
    Waiting,
    /// Nothing here is what it is about. It is looked at again for a few days.
    Parked,
    /// It was applied; what it says may have moved nothing.
    Applied,
    /// It cannot be written down as it is: see [`crate::Alarm::NotificationHeld`] and
    /// [`Notification::why`]. Where only something else is in doubt, it is looked at again when that ends.
    Held,
    /// It says nothing that matters.
    Ignored,
    /// Nothing that it is about was found in time: see [`crate::Alarm::NotificationUnmatched`].
    Unmatched,
}

impl NotificationState {
    pub(crate) const ALL: [NotificationState; 6] = [
        NotificationState::Waiting,
        NotificationState::Parked,
        NotificationState::Applied,
        NotificationState::Held,
        NotificationState::Ignored,
        NotificationState::Unmatched,
    ];

    /// The state as a word, such as `waiting`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            NotificationState::Waiting => "waiting",
            NotificationState::Parked => "parked",
            NotificationState::Applied => "applied",
            NotificationState::Held => "held",
            NotificationState::Ignored => "ignored",
            NotificationState::Unmatched => "unmatched",
        }
    }
}

/// A notice on its way into the file: bounded, and without card numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) key: String,
    pub(crate) attempt: Option<AttemptId>,
    pub(crate) reference: Option<String>,
    pub(crate) said: NoticeKind,
}

impl Arrived {
    /// What is kept of a notice; or why it cannot be told from others, where its name is none or may not be
    /// kept: the hash of a card number can be guessed back.
    pub(crate) fn of(notice: &Notice) -> Result<Arrived, &'static str> {
        if notice.id.trim().is_empty() {
            return Err("a notice has no id: give Notice::new the service's own name for it");
        }
        if text::no_card("id", &notice.id).is_err() {
            return Err("the id of a notice looks like a card number: give Notice::new the service's own name for it");
        }
        Ok(Arrived {
            key: named(&notice.id).unwrap_or_else(|| {
                let hash = Sha256::digest(notice.id.as_bytes());
                format!("sha256:{}", data_encoding::HEXLOWER.encode(&hash))
            }),
            attempt: notice.attempt.as_deref().and_then(|id| AttemptId::parse(id).ok()),
            reference: notice.reference.as_deref().and_then(named),
            said: match &notice.kind {
                NoticeKind::Evidence(outcome) => NoticeKind::Evidence(bounded(outcome)),
                NoticeKind::Changed => NoticeKind::Changed,
                NoticeKind::ExternalRefund {
                    reference,
                    amount,
                    reason,
                } => NoticeKind::ExternalRefund {
                    reference: named(reference).unwrap_or_default(),
                    amount: *amount,
                    reason: reason.as_deref().map(|reason| kept(reason, 500)),
                },
                NoticeKind::Dispute {
                    reference,
                    state,
                    amount,
                    reason,
                } => NoticeKind::Dispute {
                    reference: named(reference).unwrap_or_default(),
                    state: *state,
                    amount: *amount,
                    reason: reason.as_deref().map(|reason| kept(reason, 500)),
                },
                NoticeKind::Ignored => NoticeKind::Ignored,
            },
        })
    }

    /// Whether anything is to be done about it.
    pub(crate) fn matters(&self) -> bool {
        self.said != NoticeKind::Ignored
    }

    /// The name by which the service knows what it is about, wherever that stands in it.
    pub(crate) fn known_as(&self) -> Option<&str> {
        let said = match &self.said {
            NoticeKind::Evidence(outcome) => reference_of(outcome).filter(|reference| !reference.is_empty()),
            _ => None,
        };
        self.reference.as_deref().or(said)
    }
}

/// A service's own name for something, to the byte, if it can be kept.
fn named(name: &str) -> Option<String> {
    text::text("reference", name, MAX_REFERENCE).ok()
}

/// The name that an outcome gives to what it is about.
pub(crate) fn reference_of(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Succeeded(receipt) | Outcome::Authorized { receipt, .. } => Some(&receipt.reference),
        Outcome::Pending { reference } | Outcome::RequiresAction { reference, .. } => Some(reference),
        Outcome::Declined { .. } | Outcome::NotSent { .. } | Outcome::Canceled { .. } | Outcome::Unknown { .. } => None,
    }
}

/// An outcome as it is kept: texts cut and masked, names to the byte or empty.
fn bounded(outcome: &Outcome) -> Outcome {
    let name = |name: &str| named(name).unwrap_or_default();
    let receipt = |receipt: &Receipt| Receipt {
        reference: name(&receipt.reference),
        amount: receipt.amount,
        fee: receipt.fee,
        customer_ref: receipt.customer_ref.as_deref().and_then(named),
        saved_method: receipt.saved_method.as_ref().and_then(|given| keepable(given).0),
    };
    match outcome {
        Outcome::Succeeded(taken) => Outcome::Succeeded(receipt(taken)),
        Outcome::Authorized {
            receipt: held,
            expires_at,
        } => Outcome::Authorized {
            receipt: receipt(held),
            expires_at: *expires_at,
        },
        Outcome::Pending { reference } => Outcome::Pending {
            reference: name(reference),
        },
        Outcome::RequiresAction {
            reference,
            action,
            within,
        } => Outcome::RequiresAction {
            reference: name(reference),
            // One that cannot be followed is as good as none.
            action: action.keepable().unwrap_or_else(|| Action::Client(String::new())),
            within: *within,
        },
        Outcome::Declined { code, message, advice } => Outcome::Declined {
            code: kept(code, 64),
            message: kept(message, 500),
            advice: *advice,
        },
        Outcome::NotSent { why } => Outcome::NotSent { why: kept(why, 500) },
        Outcome::Canceled { why } => Outcome::Canceled { why: kept(why, 500) },
        Outcome::Unknown { why } => Outcome::Unknown { why: kept(why, 500) },
    }
}
