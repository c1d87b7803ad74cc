//! What a processor is asked for, frozen before it is asked.

use sha2::{Digest as _, Sha256};

use crate::change::Setting;
use crate::error::Error;
use crate::hook::{Initiator, Operation, Related, Request, RequestLine};
use crate::money::Amount;
use crate::payment::{Attempt, Await, Charge};
use crate::session::Session;
use crate::time::Timestamp;

/// An operation that is to be asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) operation: Operation,
    /// The id of what it moves.
    pub(crate) subject: &'a str,
    /// What the idempotency key is derived from: the id of what the subject belongs to, and its number
    /// there. Nothing that is made with the attempt, so that even an attempt whose commit was lost
    /// comes back with its key.
    pub(crate) numbered: (&'a str, u32),
    pub(crate) processor: &'a str,
    pub(crate) session: &'a Session,
    pub(crate) amount: Amount,
    pub(crate) lines: Vec<RequestLine>,
    pub(crate) method: Option<String>,
    pub(crate) context: Option<String>,
    pub(crate) related: Option<Related>,
    /// What it waits for, and the host time of that.
    pub(crate) next: (Await, Timestamp),
}

/// Who pays, and by what of it a service knows them.
#[derive(Clone, Debug)]
pub(crate) struct Payer {
    pub(crate) initiator: Initiator,
    pub(crate) save_method: bool,
    /// The processor's own name for the customer.
    pub(crate) customer_ref: Option<String>,
}

/// An attempt about a payment that was made, with its frozen request.
pub(crate) fn attempt(wanted: Wanted<'_>, at: &mut Setting<'_>) -> Result<Attempt, Error> {
    let nobody = Payer {
        initiator: Initiator::OffSession,
        save_method: false,
        customer_ref: None,
    };
    attempt_by(nobody, wanted, at)
}

/// An attempt that somebody pays by, with its frozen request.
pub(crate) fn attempt_by(payer: Payer, wanted: Wanted<'_>, at: &mut Setting<'_>) -> Result<Attempt, Error> {
    let session = wanted.session;
    let frame = Frame {
        about: session.id.as_str(),
        exponent: session.exponent,
        return_url: match wanted.operation {
            Operation::Charge | Operation::Authorize | Operation::Setup => session.return_url(),
            Operation::Capture | Operation::Void | Operation::Refund => None,
        },
        operation: wanted.operation,
        subject: wanted.subject,
        numbered: wanted.numbered,
        processor: wanted.processor,
        amount: wanted.amount,
        lines: wanted.lines,
        method: wanted.method,
        context: wanted.context,
        related: wanted.related,
        next: wanted.next,
    };
    frozen(payer, frame, at)
}

/// Everything that an attempt is made of.
pub(super) struct Frame<'a> {
    /// The session that is paid, or was; of a setup its own id.
    pub(super) about: &'a str,
    pub(super) exponent: u8,
    pub(super) return_url: Option<String>,
    pub(super) operation: Operation,
    pub(super) subject: &'a str,
    pub(super) numbered: (&'a str, u32),
    pub(super) processor: &'a str,
    pub(super) amount: Amount,
    pub(super) lines: Vec<RequestLine>,
    pub(super) method: Option<String>,
    pub(super) context: Option<String>,
    pub(super) related: Option<Related>,
    pub(super) next: (Await, Timestamp),
}

pub(super) fn frozen(payer: Payer, wanted: Frame<'_>, at: &mut Setting<'_>) -> Result<Attempt, Error> {
    let id: crate::id::AttemptId = at.id();
    let key = key(wanted.operation, wanted.numbered);
    let request = Request {
        attempt: id.to_string(),
        idempotency_key: key.clone(),
        operation: wanted.operation,
        amount: wanted.amount.as_minor(),
        currency: wanted.amount.currency().to_string(),
        exponent: wanted.exponent,
        app: at.app.to_owned(),
        mode: at.mode.to_string(),
        session: wanted.about.to_owned(),
        initiator: payer.initiator,
        save_method: payer.save_method,
        method: wanted.method,
        customer_ref: payer.customer_ref,
        lines: wanted.lines,
        return_url: wanted.return_url,
        context: wanted.context,
        related: wanted.related,
    };
    let bytes = request.to_bytes()?;
    Ok(Attempt {
        id,
        operation: wanted.operation,
        subject: wanted.subject.to_owned(),
        processor: wanted.processor.to_owned(),
        key,
        request_hash: Sha256::digest(&bytes).into(),
        request: bytes,
        reference: None,
        token: 1,
        next: Some(wanted.next),
        asked: 0,
        unresolved: false,
        created_at: at.host_now,
        heard_at: None,
        evidence: 0,
    })
}

/// What an operation says of the payment that it is about.
pub(crate) fn related(made_by: &Attempt, charge: &Charge) -> Related {
    Related {
        attempt: made_by.id.to_string(),
        idempotency_key: made_by.key.clone(),
        reference: charge.reference.clone(),
    }
}

fn key(operation: Operation, (of, number): (&str, u32)) -> String {
    let hash = Sha256::digest(format!("tillite {} {of} {number}", operation.as_str()));
    format!("tillite_{}", data_encoding::HEXLOWER.encode(&hash[..20]))
}
