//! What one command writes, as a value.
//!
//! Decisions return a [`Change`]; one place writes it. A row can only get in together with what
//! happened to it, so no object changes without its event.

use crate::entitlement::Holding;
use crate::event::{Happening, Subject};
use crate::id::{AttemptId, CustomerId, Id, Mint, Mode};
use crate::payment::{Attempt, Evidence};
use crate::time::Timestamp;

/// Where and when a decision is taken.
pub(crate) struct Setting<'a> {
    /// The app's slug.
    pub(crate) app: &'a str,
    pub(crate) mode: Mode,
    /// Engine time.
    pub(crate) now: Timestamp,
    /// Host time.
    pub(crate) host_now: Timestamp,
    pub(crate) mint: &'a mut Mint,
}

impl Setting<'_> {
    pub(crate) fn id<T: Id>(&mut self) -> T {
        self.mint.id(self.mode)
    }
}

/// Rows to write, each with what happened, in order.
#[derive(Clone, Debug, Default)]
#[must_use = "a change does nothing until it is applied"]
pub(crate) struct Change {
    pub(crate) entries: Vec<Entry>,
    pub(crate) ledger: Vec<LedgerEntry>,
    pub(crate) folded: Vec<Folded>,
    pub(crate) references: Vec<CustomerReference>,
    pub(crate) remember: Option<Remember>,
}

/// One object as it is afterwards, and what happened to it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) subject: Subject,
    pub(crate) happenings: Vec<Happening>,
}

/// An attempt as it is afterwards, and what was learned about it; none: it is new.
#[derive(Clone, Debug)]
pub(crate) struct LedgerEntry {
    pub(crate) attempt: Attempt,
    pub(crate) evidence: Option<Evidence>,
}

/// How far the passing of time has been worked into an entitlement. Nothing of it is visible.
#[derive(Clone, Debug)]
pub(crate) struct Folded {
    pub(crate) entitlement: String,
    pub(crate) uid: String,
    pub(crate) line: String,
    pub(crate) until: Timestamp,
    pub(crate) next_at: Option<Timestamp>,
}

/// A processor's own name for a customer. The evidence of the attempt is what happened.
#[derive(Clone, Debug)]
pub(crate) struct CustomerReference {
    pub(crate) customer: CustomerId,
    pub(crate) processor: String,
    pub(crate) reference: String,
    pub(crate) attempt: AttemptId,
    /// Engine time.
    pub(crate) at: Timestamp,
}

/// What an idempotency key stands for from now on.
#[derive(Clone, Debug)]
pub(crate) struct Remember {
    pub(crate) scope: &'static str,
    pub(crate) key: String,
    pub(crate) request_hash: [u8; 32],
    pub(crate) result: String,
}

impl Change {
    pub(crate) fn new() -> Change {
        Change::default()
    }

    /// Records an object with what happened to it; the object's revision grows by the number of
    /// happenings, of which there is at least one.
    pub(crate) fn record<const N: usize>(&mut self, subject: Subject, happenings: [Happening; N]) {
        self.record_all(subject, happenings.to_vec());
    }

    /// [`Change::record`] for a number of happenings that is known at run time only. Without any,
    /// nothing is recorded.
    pub(crate) fn record_all(&mut self, mut subject: Subject, happenings: Vec<Happening>) {
        if happenings.is_empty() {
            return;
        }
        subject.count(i64::try_from(happenings.len()).unwrap_or(i64::MAX));
        self.entries.push(Entry { subject, happenings });
    }

    /// Records a new attempt.
    pub(crate) fn begin(&mut self, attempt: Attempt) {
        self.ledger.push(LedgerEntry {
            attempt,
            evidence: None,
        });
    }

    /// Records what was learned about an attempt.
    pub(crate) fn note(&mut self, attempt: Attempt, evidence: Evidence) {
        self.ledger.push(LedgerEntry {
            attempt,
            evidence: Some(evidence),
        });
    }

    /// Whether what was learned changed anything.
    pub(crate) fn has_moved(&self) -> bool {
        let mut evidence = self.ledger.iter().filter_map(|entry| entry.evidence.as_ref());
        evidence.any(|evidence| evidence.moved)
    }

    /// Records how far time has been folded into a holding.
    pub(crate) fn fold(&mut self, holding: &Holding, until: Timestamp, next_at: Option<Timestamp>) {
        self.folded.push(Folded {
            entitlement: holding.id.to_string(),
            uid: holding.uid.clone(),
            line: holding.line.clone(),
            until,
            next_at,
        });
    }

    /// Records what a processor calls a customer.
    pub(crate) fn refer(&mut self, reference: CustomerReference) {
        self.references.push(reference);
    }

    /// Ties the change to an idempotency key.
    pub(crate) fn remember(&mut self, remember: Option<Remember>) {
        self.remember = remember;
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.ledger.is_empty()
            && self.folded.is_empty()
            && self.references.is_empty()
            && self.remember.is_none()
    }
}
