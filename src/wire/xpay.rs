//! XPay: `{id, object, api_version, created, type, livemode, data: {object}}`. The object is what
//! reading it back gives at that moment; a session in flight shows as open.

use serde::Serialize;

use super::{Envelope, json};
use crate::customer::Customer;
use crate::event::{EventKind, Subject};
use crate::id::Mode;
use crate::payment::{Charge, ChargeState, Failure, PaymentIntent, Refund, RefundState};
use crate::session::{Completion, Line, Session, SessionState};
use crate::text::Metadata;
use crate::webhook::Format;

const API_VERSION: &str = "3.1.0";

pub(super) fn name(kind: EventKind) -> Option<&'static str> {
    match kind {
        EventKind::SessionCompleted => Some("checkout.session.completed"),
        EventKind::SessionExpired => Some("checkout.session.expired"),
        EventKind::PaymentFailed => Some("payment_intent.payment_failed"),
        EventKind::ChargeSucceeded => Some("charge.succeeded"),
        EventKind::ChargeFailed => Some("charge.failed"),
        EventKind::ChargeRefunded => Some("charge.refunded"),
        EventKind::RefundCreated => Some("refund.created"),
        EventKind::RefundFailed => Some("refund.failed"),
        EventKind::CustomerCreated => Some("customer.created"),
        EventKind::CustomerUpdated => Some("customer.updated"),
        EventKind::CustomerDeleted => Some("customer.deleted"),
        _ => None,
    }
}

pub(super) fn body(envelope: &Envelope<'_>, subject: &Subject) -> Option<String> {
    let r#type = super::name(Format::XPay, envelope.kind)?;
    let object = match subject {
        _ if envelope.kind == EventKind::EndpointPing => None,
        Subject::Session(session) if envelope.kind == EventKind::PaymentFailed => {
            Some(Object::Intent(session.payment_intent.as_ref()?.into()))
        }
        Subject::Session(session) => Some(Object::Session(Box::new((&**session).into()))),
        Subject::Charge(charge) => Some(Object::Charge(charge.into())),
        Subject::Refund(refund) => Some(Object::Refund(refund.into())),
        Subject::Customer(customer) => Some(Object::Customer(customer.into())),
        _ => return None,
    };
    Some(json(&EventBody {
        id: envelope.id.as_str(),
        object: "event",
        api_version: API_VERSION,
        created: envelope.created_at.to_string(),
        r#type,
        livemode: envelope.mode == Mode::Live,
        data: Data { object },
    }))
}

#[derive(Serialize)]
struct EventBody<'a> {
    id: &'a str,
    object: &'static str,
    api_version: &'static str,
    created: String,
    r#type: &'static str,
    livemode: bool,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Object<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Object<'a> {
    Session(Box<SessionObject<'a>>),
    Intent(FailedIntent<'a>),
    Charge(ChargeObject<'a>),
    Refund(RefundObject<'a>),
    Customer(CustomerObject<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionObject<'a> {
    id: &'a str,
    object: &'static str,
    status: &'static str,
    payment_status: &'static str,
    url: Option<&'a str>,
    amount_subtotal: i64,
    amount_total: i64,
    currency: Option<String>,
    after_completion: AfterCompletion,
    cancel_url: Option<&'a str>,
    line_items: Vec<LineItem<'a>>,
    customer_id: Option<&'a str>,
    customer: Option<CustomerObject<'a>>,
    payment_intent: Option<IntentSummary<'a>>,
    metadata: &'a Metadata,
    livemode: bool,
    created_at: String,
    updated_at: String,
    expires_at: String,
}

#[derive(Serialize)]
struct AfterCompletion {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect: Option<Redirect>,
}

#[derive(Serialize)]
struct Redirect {
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LineItem<'a> {
    id: String,
    quantity: u32,
    amount_subtotal: i64,
    amount_total: i64,
    price: LinePrice<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinePrice<'a> {
    id: String,
    currency: Option<String>,
    unit_amount: i64,
    product: LineProduct<'a>,
}

#[derive(Serialize)]
struct LineProduct<'a> {
    id: String,
    name: &'a str,
}

#[derive(Serialize)]
struct IntentSummary<'a> {
    id: &'a str,
    status: &'static str,
}

impl<'a> From<&'a Session> for SessionObject<'a> {
    fn from(session: &'a Session) -> Self {
        SessionObject {
            id: session.id.as_str(),
            object: "checkout.session",
            status: match session.state {
                SessionState::Open | SessionState::Processing => "open",
                SessionState::Complete => "complete",
                SessionState::Expired(_) => "expired",
            },
            payment_status: session.payment_status(),
            url: session.url.as_deref(),
            amount_subtotal: session.totals.subtotal,
            amount_total: session.totals.total,
            currency: session.currency.map(|currency| currency.to_string()),
            after_completion: AfterCompletion {
                r#type: match session.completion {
                    Completion::Redirect(_) => "redirect",
                    Completion::HostedConfirmation => "hosted_confirmation",
                },
                redirect: session.return_url().map(|url| Redirect { url }),
            },
            cancel_url: session.cancel_url.as_deref(),
            line_items: session
                .lines
                .iter()
                .enumerate()
                .map(|(position, line)| line_item(session, position, line))
                .collect(),
            customer_id: session.customer.as_ref().map(|customer| customer.id.as_str()),
            customer: session.customer.as_ref().map(CustomerObject::from),
            payment_intent: session.payment_intent.as_ref().map(|intent| IntentSummary {
                id: intent.id.as_str(),
                status: intent.status().as_str(),
            }),
            metadata: &session.metadata,
            livemode: session.mode() == Mode::Live,
            created_at: session.created_at.to_string(),
            updated_at: session.updated_at.to_string(),
            expires_at: session.expires_at.to_string(),
        }
    }
}

/// A line in XPay's shape. What a caller priced inline has no price and product of its own; the
/// ids that the format wants there follow from the session's id and the line's position.
fn line_item<'a>(session: &Session, position: usize, line: &'a Line) -> LineItem<'a> {
    let derived = |prefix: &str| {
        let body = session.id.as_str().trim_start_matches("cs_");
        format!("{prefix}_{body}{position}")
    };
    LineItem {
        id: derived("li"),
        quantity: line.quantity,
        amount_subtotal: line.totals.subtotal,
        amount_total: line.totals.total,
        price: LinePrice {
            id: line
                .price
                .as_ref()
                .map_or_else(|| derived("price"), ToString::to_string),
            currency: session.currency.map(|currency| currency.to_string()),
            unit_amount: line.unit_amount,
            product: LineProduct {
                id: line
                    .product
                    .as_ref()
                    .map_or_else(|| derived("prod"), ToString::to_string),
                name: &line.name,
            },
        },
    }
}

#[derive(Serialize)]
struct CustomerObject<'a> {
    id: &'a str,
    object: &'static str,
    r#type: &'static str,
    name: Option<&'a str>,
    email: Option<&'a str>,
    phone: Option<&'a str>,
    metadata: &'a Metadata,
}

impl<'a> From<&'a Customer> for CustomerObject<'a> {
    fn from(customer: &'a Customer) -> Self {
        CustomerObject {
            id: customer.id.as_str(),
            object: "customer",
            r#type: if customer.uid.is_some() { "registered" } else { "guest" },
            name: customer.name.as_deref(),
            email: customer.email.as_deref(),
            phone: customer.phone.as_deref(),
            metadata: &customer.metadata,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailedIntent<'a> {
    id: &'a str,
    object: &'static str,
    status: &'static str,
    amount: i64,
    currency: String,
    checkout_session_id: &'a str,
    last_payment_error: Option<PaymentError<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentError<'a> {
    r#type: &'static str,
    code: &'a str,
    message: &'a str,
}

impl<'a> From<&'a Failure> for PaymentError<'a> {
    fn from(failure: &'a Failure) -> Self {
        PaymentError {
            r#type: if failure.code == "processing_error" {
                "processor_error"
            } else {
                "card_error"
            },
            code: &failure.code,
            message: &failure.message,
        }
    }
}

impl<'a> From<&'a PaymentIntent> for FailedIntent<'a> {
    fn from(intent: &'a PaymentIntent) -> Self {
        FailedIntent {
            id: intent.id.as_str(),
            object: "payment_intent",
            status: intent.status().as_str(),
            amount: intent.amount.as_minor(),
            currency: intent.amount.currency().to_string(),
            checkout_session_id: intent.session.as_str(),
            last_payment_error: intent.last_failure().map(PaymentError::from),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChargeObject<'a> {
    id: &'a str,
    object: &'static str,
    amount: i64,
    amount_refunded: i64,
    currency: String,
    status: &'static str,
    paid: bool,
    refunded: bool,
    failure_code: Option<&'a str>,
    failure_message: Option<&'a str>,
    payment_intent_id: &'a str,
    checkout_session_id: &'a str,
    created_at: String,
}

impl<'a> From<&'a Charge> for ChargeObject<'a> {
    fn from(charge: &'a Charge) -> Self {
        let paid = charge.state == ChargeState::Succeeded;
        ChargeObject {
            id: charge.id.as_str(),
            object: "charge",
            amount: charge.amount.as_minor(),
            amount_refunded: charge.refunded,
            currency: charge.amount.currency().to_string(),
            status: if paid { "SUCCEEDED" } else { "FAILED" },
            paid,
            refunded: charge.refunded > 0 && charge.refunded == charge.captured,
            failure_code: charge.failure.as_ref().map(|failure| failure.code.as_str()),
            failure_message: charge.failure.as_ref().map(|failure| failure.message.as_str()),
            payment_intent_id: charge.intent.as_str(),
            checkout_session_id: charge.session.as_str(),
            created_at: charge.created_at.to_string(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefundObject<'a> {
    id: &'a str,
    object: &'static str,
    amount: i64,
    currency: String,
    status: &'static str,
    payment_intent_id: &'a str,
    charge_id: &'a str,
    reason: Option<&'a str>,
    metadata: &'a Metadata,
    created_at: String,
}

impl<'a> From<&'a Refund> for RefundObject<'a> {
    fn from(refund: &'a Refund) -> Self {
        RefundObject {
            id: refund.id.as_str(),
            object: "refund",
            amount: refund.amount.as_minor(),
            currency: refund.amount.currency().to_string(),
            status: match refund.state {
                RefundState::Pending | RefundState::Unknown => "PENDING",
                RefundState::Succeeded => "SUCCEEDED",
                RefundState::Failed => "FAILED",
                RefundState::Canceled => "CANCELED",
            },
            payment_intent_id: refund.intent.as_str(),
            charge_id: refund.charge.as_str(),
            reason: refund.reason.as_deref(),
            metadata: &refund.metadata,
            created_at: refund.created_at.to_string(),
        }
    }
}
