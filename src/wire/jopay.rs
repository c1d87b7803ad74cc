//! JoPay: `{event, data, created_at}`, a flat session, times in whole seconds, the currency in lower
//! case. The service's own sample checks the signature over what it parsed and printed again, so
//! these bodies have to come out of JavaScript as they went in: see the property in the tests.

use serde::Serialize;

use super::{Empty, Envelope, PING, json};
use crate::event::{EventKind, Subject};
use crate::session::{Session, SessionState};
use crate::text::Metadata;

pub(super) fn name(kind: EventKind) -> Option<&'static str> {
    match kind {
        EventKind::SessionCompleted => Some("checkout.session.completed"),
        EventKind::SessionExpired => Some("checkout.session.expired"),
        EventKind::PaymentFailed => Some("checkout.payment.failed"),
        _ => None,
    }
}

pub(super) fn body(envelope: &Envelope<'_>, subject: &Subject) -> Option<String> {
    let created_at = envelope.created_at.in_seconds();
    if envelope.kind == EventKind::EndpointPing {
        return Some(json(&EventBody {
            event: PING,
            data: Empty {},
            created_at,
        }));
    }
    let event = name(envelope.kind)?;
    let Subject::Session(session) = subject else {
        return None;
    };
    Some(json(&EventBody {
        event,
        data: SessionData::from(&**session),
        created_at,
    }))
}

#[derive(Serialize)]
struct EventBody<D> {
    event: &'static str,
    data: D,
    created_at: String,
}

#[derive(Serialize)]
struct SessionData<'a> {
    id: &'a str,
    status: &'static str,
    amount_cents: i64,
    currency: Option<String>,
    customer_email: Option<&'a str>,
    metadata: &'a Metadata,
    completed_at: Option<String>,
}

impl<'a> From<&'a Session> for SessionData<'a> {
    fn from(session: &'a Session) -> Self {
        let payer = session.customer.as_ref().and_then(|customer| customer.email.as_deref());
        SessionData {
            id: session.id.as_str(),
            status: match session.state {
                SessionState::Open | SessionState::Processing => "pending",
                SessionState::Complete => "completed",
                SessionState::Expired(_) => "expired",
            },
            amount_cents: session.totals.total,
            currency: session.currency.map(|currency| currency.to_string().to_lowercase()),
            customer_email: session.email.as_deref().or(payer),
            metadata: &session.metadata,
            completed_at: session.completed_at.map(crate::time::Timestamp::in_seconds),
        }
    }
}
