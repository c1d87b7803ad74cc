//! Making a session, changing it, closing it, and starting to collect.

use super::attempt::{Payer, Wanted, attempt_by};
use super::pricing::Priced;
use super::settlement;
use crate::change::{Change, Setting};
use crate::customer::Customer;
use crate::entitlement::Holding;
use crate::error::{Error, OrderState, Refused, shortened};
use crate::event::{EventKind, Happening, Subject};
use crate::hook::{Operation, RequestLine};
use crate::payment::{Attempt, Await, CaptureMethod, Charge, ChargeState, MAX_CHARGES, PaymentIntent};
use crate::session::{Checked, ExpiredReason, Session, SessionEvent, SessionState, SessionUpdate};
use crate::time::Timestamp;

/// Makes a session.
pub(crate) fn create(
    new: Checked,
    priced: Priced,
    customer: Option<Customer>,
    public_url: Option<String>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Session {
    let id: crate::id::SessionId = at.id();
    let mut session = Session {
        url: public_url.as_deref().map(|base| crate::session::page_url(base, &id)),
        id,
        dialect: new.dialect,
        state: SessionState::Open,
        for_uid: new
            .for_uid
            .or_else(|| customer.as_ref().and_then(|payer| payer.uid.clone())),
        customer,
        email: new.email,
        currency: None,
        exponent: 0,
        totals: crate::session::Totals::default(),
        lines: Vec::new(),
        completion: new.completion,
        cancel_url: new.cancel_url,
        capture: new.capture,
        order_key: new.order_key,
        metadata: new.metadata,
        payment_intent: None,
        created_at: at.now,
        updated_at: at.now,
        expires_at: at.now.plus(new.lifetime),
        completed_at: None,
        public_url,
        snapshot: [0; 32],
        revision: 0,
    };
    put_lines(&mut session, priced);
    let created = Happening::created(EventKind::SessionCreated, session.state.as_str());
    change.record(Subject::Session(Box::new(session.clone())), [created]);
    session.revision += 1;
    session
}

/// Makes room for another session of an order, of which this is the one that counts: one that is
/// open is closed, or has been by time.
///
/// # Errors
/// `OrderTaken` if it is being paid or was.
pub(crate) fn supersede(sibling: Session, at: &Setting<'_>, change: &mut Change) -> Result<(), Error> {
    let state = match sibling.state {
        SessionState::Open | SessionState::Expired(_) => {
            return expire(sibling, ExpiredReason::Superseded, at, change).map(drop);
        }
        SessionState::Processing => OrderState::Processing,
        SessionState::Complete => OrderState::Complete,
    };
    Err(Error::OrderTaken {
        order: shortened(sibling.order_key.as_deref().unwrap_or_default()),
        session: sibling.id.to_string(),
        state,
    })
}

/// Changes an open session. Its lines are fixed from the first attempt to pay on.
pub(crate) fn update(
    session: Session,
    update: SessionUpdate,
    priced: Option<Priced>,
    at: &Setting<'_>,
    change: &mut Change,
) -> Result<Session, Error> {
    let mut after = session.clone().at(at.now);
    let from = after.state.as_str();
    after.step(SessionEvent::Update, at.now)?;
    if let Some(priced) = priced {
        if after.payment_intent.is_some() {
            return Err(Refused {
                object: "checkout session",
                state: "open with an attempt to pay",
                event: "a change of its lines",
            }
            .into());
        }
        put_lines(&mut after, priced);
    }
    after.metadata = update.metadata.unwrap_or(after.metadata);
    after.completion = update.completion.unwrap_or(after.completion);
    after.cancel_url = update.cancel_url.apply(after.cancel_url);
    let same = Session {
        updated_at: session.updated_at,
        ..after.clone()
    } == session;
    if same {
        return Ok(session);
    }
    let updated = Happening::moved(EventKind::SessionUpdated, from, after.state.as_str());
    change.record(Subject::Session(Box::new(after.clone())), [updated]);
    after.revision += 1;
    Ok(after)
}

fn put_lines(session: &mut Session, priced: Priced) {
    session.currency = priced.currency;
    session.exponent = priced.exponent;
    session.totals = priced.totals;
    session.lines = priced.lines;
    session.snapshot = session.snapshot_of();
}

/// Closes an open session. One that is closed already stays as it is, so asking twice is harmless.
pub(crate) fn expire(
    session: Session,
    reason: ExpiredReason,
    at: &Setting<'_>,
    change: &mut Change,
) -> Result<Session, Error> {
    if let SessionState::Expired(_) = session.state {
        return Ok(session);
    }
    let from = session.state.as_str();
    let overdue = session.is_overdue(at.now);
    let mut after = session;
    if overdue {
        let when = after.expires_at;
        after.step(SessionEvent::Expire(ExpiredReason::Timeout), when)?;
    } else {
        after.step(SessionEvent::Expire(reason), at.now)?;
    }
    let expired = Happening::moved(EventKind::SessionExpired, from, after.state.as_str());
    change.record(Subject::Session(Box::new(after.clone())), [expired]);
    after.revision += 1;
    Ok(after)
}

/// How a payment is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) processor: String,
    pub(crate) method: Option<String>,
    pub(crate) context: Option<String>,
    pub(crate) payer: Payer,
    /// Host time until which the call may run.
    pub(crate) lease_until: Timestamp,
}

/// What starting to collect came to.
pub(crate) enum Begun {
    /// An attempt is to be committed and the processor asked.
    Attempt(Box<Attempt>),
    /// There was nothing to collect: the session is complete.
    NothingDue,
    /// The session was complete before.
    Already,
}

/// Starts to collect a session's total.
///
/// # Errors
/// `PaymentInProgress` while an attempt is in flight; `Refused` if the session is expired, has no
/// line, or has been tried too often; the error in `means` if there is something to collect and
/// nobody to collect it.
pub(crate) fn begin(
    session: Session,
    means: Result<Means, Error>,
    holdings: Vec<Holding>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Result<(Session, Begun), Error> {
    let mut after = planted!(OverdueIsPaid, session, session.at(at.now));
    if after.state == SessionState::Complete {
        return Ok((after, Begun::Already));
    }
    if after.state == SessionState::Processing {
        let charge = after.payment_intent.as_ref().and_then(PaymentIntent::live_charge);
        return Err(Error::PaymentInProgress {
            attempt: charge.map_or_else(String::new, |charge| charge.id.to_string()),
            since_ms: charge.map_or(after.updated_at, |charge| charge.created_at).as_millis(),
        });
    }
    let refused = |state| Refused {
        object: "checkout session",
        state,
        event: "a payment",
    };
    if let SessionState::Expired(_) = after.state {
        return Err(refused(after.state.as_str()).into());
    }
    let Some(total) = after.total() else {
        return Err(refused("open without lines").into());
    };
    if total.is_zero() {
        let from = after.state.as_str();
        after.step(SessionEvent::NothingDue, at.now)?;
        let completed = Happening::moved(EventKind::SessionCompleted, from, after.state.as_str());
        change.record(Subject::Session(Box::new(after.clone())), [completed]);
        after.revision += 1;
        settlement::grant_lines(&after, holdings, at, change);
        return Ok((after, Begun::NothingDue));
    }
    let means = means?;
    let from = after.state.as_str();
    after.step(SessionEvent::StartPayment, at.now)?;
    let (mut intent, created) = match after.payment_intent.take() {
        Some(intent) => (intent, false),
        None => (new_intent(&after, total, at), true),
    };
    if intent.charges.len() >= MAX_CHARGES {
        return Err(refused("open after too many attempts").into());
    }
    let charge = new_charge(&intent, after.capture, &means.processor, at);
    let attempt = attempt_by(
        means.payer,
        Wanted {
            operation: match after.capture {
                CaptureMethod::Automatic => Operation::Charge,
                CaptureMethod::Manual => Operation::Authorize,
            },
            subject: charge.id.as_str(),
            numbered: (after.id.as_str(), charge.number),
            processor: &means.processor,
            session: &after,
            amount: charge.amount,
            lines: after.lines.iter().map(RequestLine::from).collect(),
            method: means.method,
            context: means.context,
            related: None,
            next: (Await::Answer, means.lease_until),
        },
        at,
    )?;
    change.record(
        Subject::Charge(charge.clone()),
        [Happening::created(EventKind::ChargeInitiated, charge.state.as_str())],
    );
    intent.put(Charge {
        revision: charge.revision + 1,
        ..charge
    });
    let status = intent.status().as_str();
    let mut moves = Vec::new();
    if created {
        moves.push(Happening::created(EventKind::IntentCreated, status));
    }
    moves.push(Happening::moved(
        EventKind::IntentProcessing,
        "requires_payment_method",
        status,
    ));
    let moved = i64::try_from(moves.len()).unwrap_or(i64::MAX);
    change.record_all(Subject::PaymentIntent(intent.clone()), moves);
    intent.revision += moved;
    after.payment_intent = Some(intent);
    let processing = Happening::moved(EventKind::SessionProcessing, from, after.state.as_str());
    change.record(Subject::Session(Box::new(after.clone())), [processing]);
    after.revision += 1;
    change.begin(attempt.clone());
    Ok((after, Begun::Attempt(Box::new(attempt))))
}

fn new_intent(session: &Session, amount: crate::money::Amount, at: &mut Setting<'_>) -> PaymentIntent {
    PaymentIntent {
        id: at.id(),
        session: session.id.clone(),
        amount,
        charges: Vec::new(),
        created_at: at.now,
        canceled_at: None,
        revision: 0,
    }
}

fn new_charge(intent: &PaymentIntent, capture: CaptureMethod, processor: &str, at: &mut Setting<'_>) -> Charge {
    Charge {
        id: at.id(),
        intent: intent.id.clone(),
        session: intent.session.clone(),
        number: u32::try_from(intent.charges.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1),
        processor: processor.to_owned(),
        state: ChargeState::Initiated,
        capture,
        asked: None,
        amount: intent.amount,
        authorized: 0,
        captured: 0,
        refunded: 0,
        refund_reserved: 0,
        lost: 0,
        comes_with: None,
        fee: None,
        reference: None,
        failure: None,
        action: None,
        action_deadline: None,
        authorized_until: None,
        hold: None,
        hold_closed: false,
        settles: false,
        created_at: at.now,
        updated_at: at.now,
        revision: 0,
    }
}
