//! What was asked of a processor and what was learned about it, as somebody who has to decide reads it,
//! and what they can decide.

use super::Source;
use crate::error::{Error, Invalid};
use crate::hook::Operation;
use crate::id::{AttemptId, SessionId};
use crate::money::Amount;
use crate::text;
use crate::time::Timestamp;

/// The most characters of a note.
const MAX_NOTE: usize = 500;

/// One thing that a processor was asked for: what it is about, what was asked, and what was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptRecord {
    /// The attempt's id; given to [`crate::App::resolve`].
    pub id: AttemptId,
    /// What was asked.
    pub operation: Operation,
    /// The id of the charge, refund or setup that it is about.
    pub about: String,
    /// The session that is paid, or was; none for a setup.
    pub session: Option<SessionId>,
    /// The name of the processor that was asked, or is to be.
    pub processor: String,
    /// The amount that was asked for.
    pub amount: Amount,
    /// The key by which the service recognises the request: look for it there.
    pub idempotency_key: String,
    /// The service's own name for what was asked; none where none was learned. Look for that of the
    /// payment it is about where this is none.
    pub reference: Option<String>,
    /// Host time at which it was committed.
    pub since: Timestamp,
    /// Why somebody has to decide about it; none: nobody has to.
    pub unresolved: Option<Unresolved>,
    /// Host time at which the engine does something about it next: the end of the call's lease, a
    /// look-up, another try; none: nothing is awaited.
    pub next_at: Option<Timestamp>,
    /// What was learned about it, the newest first, up to 20 of it; [`crate::App::evidence`] has the rest.
    pub evidence: Vec<EvidenceRecord>,
    /// How many pieces of evidence there are in all.
    pub evidence_count: u32,
}

/// Why somebody has to decide about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unresolved {
    /// Another amount or currency moved than was asked.
    Mismatch,
    /// The last eight look-ups said nothing; they go on.
    Silent,
    /// The processor cannot be looked up.
    NoLookups,
    /// It does not get through to the service; it goes on being tried.
    NotSent,
    /// What is due about it has been due for a day: no process that has the processor works it off.
    NobodyAsks,
    /// The amount was to be taken and the service holds it instead, and will not take it: capture it
    /// once more, or void it.
    HeldInstead,
}

impl Unresolved {
    /// The reason as a word, such as `mismatch`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Unresolved::Mismatch => "mismatch",
            Unresolved::Silent => "silent",
            Unresolved::NoLookups => "no_lookups",
            Unresolved::NotSent => "not_sent",
            Unresolved::NobodyAsks => "nobody_asks",
            Unresolved::HeldInstead => "held_instead",
        }
    }
}

/// One piece of what was learned about an attempt. It is appended and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvidenceRecord {
    /// 1 for what was learned first.
    pub number: u32,
    /// From whom it was learned.
    pub source: Source,
    /// What was learned, as a word such as `succeeded`, `declined`, `cannot_tell` or `never_arrived`.
    pub outcome: String,
    /// The service's own name for what happened.
    pub reference: Option<String>,
    /// What the service says it moved or holds.
    pub amount: Option<Amount>,
    /// Code, reason or note; card numbers are masked.
    pub detail: Option<String>,
    /// Whether it changed anything. What is older or weaker than what was known does not.
    pub moved: bool,
    /// On whose behalf it was recorded.
    pub actor: String,
    /// Host time at which it was recorded.
    pub host_time: Timestamp,
    /// Engine time at which it was recorded.
    pub engine_time: Timestamp,
}

/// What a person found out at the payment service, or decided; given to [`crate::App::resolve`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// It went through over the amount that was asked: it was taken, held, given free or given back.
    #[non_exhaustive]
    Succeeded {
        /// The service's own name for it, up to 255 characters.
        reference: Option<String>,
    },
    /// It did not go through and will not: it never arrived, was refused or called off, or what was held
    /// for it is free again.
    Failed,
    /// Another amount was taken than asked, in the charge's currency. It pays for nothing and goes back as
    /// any refund does; the session can be paid anew.
    SendBack,
    /// Another amount or currency moved than asked, and whatever was to be done about that was done
    /// elsewhere. It counts as nothing here: a charge as one that took nothing, a refund as one that gave
    /// nothing back.
    SettledOutside,
}

impl Resolution {
    /// It went through, without a name for it.
    #[must_use]
    pub const fn succeeded() -> Resolution {
        Resolution::Succeeded { reference: None }
    }

    /// It went through, under the service's own name for it.
    #[must_use]
    pub fn succeeded_as(reference: impl Into<String>) -> Resolution {
        Resolution::Succeeded {
            reference: Some(reference.into()),
        }
    }

    /// The resolution as a word, such as `send_back`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Resolution::Succeeded { .. } => "succeeded",
            Resolution::Failed => "failed",
            Resolution::SendBack => "send_back",
            Resolution::SettledOutside => "settled_outside",
        }
    }

    /// It as an event of a state machine.
    pub(crate) const fn event(&self) -> &'static str {
        match self {
            Resolution::Succeeded { .. } => "to resolve it as succeeded",
            Resolution::Failed => "to resolve it as failed",
            Resolution::SendBack => "to send back what was taken",
            Resolution::SettledOutside => "to resolve it as settled outside",
        }
    }

    pub(crate) fn checked(self) -> Result<Resolution, Error> {
        Ok(match self {
            Resolution::Succeeded { reference } => Resolution::Succeeded {
                reference: text::optional("reference", reference.as_deref(), super::evidence::MAX_REFERENCE)?,
            },
            other => other,
        })
    }
}

/// A note as it is kept, on one line and with card numbers masked.
///
/// # Errors
/// `Invalid` for one that is empty or too long.
pub(crate) fn note(note: &str) -> Result<String, Error> {
    let length = note.chars().count();
    let is_blank = note.trim().is_empty();
    if is_blank || length > MAX_NOTE {
        let found = if is_blank {
            "nothing but blanks".to_owned()
        } else {
            format!("{length} characters")
        };
        let allowed = format!("1 to {MAX_NOTE} characters that say how this is known");
        return Err(Invalid::new("note", found, allowed).into());
    }
    Ok(text::kept(note, MAX_NOTE))
}
