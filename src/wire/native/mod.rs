//! The engine's own objects: `snake_case`, times as ISO 8601 with milliseconds, amounts as minor
//! units. Every object carries `sequence`, its event's place among the events about it, so that a
//! receiver can drop what arrives late.

mod method;
mod payment;

use serde::Serialize;

use self::method::{MethodBody, SetupBody};
use self::payment::{ChargeBody, DisputeBody, IntentBody, RefundBody};
use super::{Envelope, json};
use crate::access::ApiKey;
use crate::catalog::{Price, Product};
use crate::customer::Customer;
use crate::entitlement::Grant;
use crate::event::{Step, Subject};
use crate::session::{Completion, ExpiredReason, Line, Session, SessionState, Totals};
use crate::text::Metadata;
use crate::time::Timestamp;
use crate::webhook::Endpoint;

pub(super) fn object(envelope: &Envelope<'_>, subject: &Subject) -> String {
    let object = Object {
        sequence: envelope.object_seq,
        livemode: envelope.mode == crate::id::Mode::Live,
        body: match subject {
            Subject::Product(product) => Body::Product(product.into()),
            Subject::Price(price) => Body::Price(price.into()),
            Subject::Customer(customer) => Body::Customer(customer.into()),
            Subject::Setup(setup) => Body::Setup(setup.into()),
            Subject::PaymentMethod(method) => Body::Method(method.into()),
            Subject::Session(session) => Body::Session(Box::new((&**session).into())),
            Subject::PaymentIntent(intent) => Body::Intent(intent.into()),
            Subject::Charge(charge) => Body::Charge(charge.into()),
            Subject::Refund(refund) => Body::Refund(refund.into()),
            Subject::Dispute(dispute) => Body::Dispute(dispute.into()),
            Subject::Grant(grant) => Body::Grant(grant.into()),
            Subject::Entitlement(step) => Body::Entitlement((&**step).into()),
            Subject::Endpoint(endpoint) => Body::Endpoint(endpoint.into()),
            Subject::ApiKey(key) => Body::ApiKey(key.into()),
        },
    };
    json(&object)
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    body: Body<'a>,
    livemode: bool,
    sequence: i64,
}

#[derive(Serialize)]
#[serde(tag = "object")]
enum Body<'a> {
    #[serde(rename = "product")]
    Product(ProductBody<'a>),
    #[serde(rename = "price")]
    Price(PriceBody<'a>),
    #[serde(rename = "customer")]
    Customer(CustomerBody<'a>),
    #[serde(rename = "setup")]
    Setup(SetupBody<'a>),
    #[serde(rename = "payment_method")]
    Method(MethodBody<'a>),
    #[serde(rename = "checkout.session")]
    Session(Box<SessionBody<'a>>),
    #[serde(rename = "payment_intent")]
    Intent(IntentBody<'a>),
    #[serde(rename = "charge")]
    Charge(ChargeBody<'a>),
    #[serde(rename = "refund")]
    Refund(RefundBody<'a>),
    #[serde(rename = "dispute")]
    Dispute(DisputeBody<'a>),
    #[serde(rename = "grant")]
    Grant(GrantBody<'a>),
    #[serde(rename = "entitlement")]
    Entitlement(EntitlementBody<'a>),
    #[serde(rename = "endpoint")]
    Endpoint(EndpointBody<'a>),
    #[serde(rename = "api_key")]
    ApiKey(ApiKeyBody<'a>),
}

fn time(at: Timestamp) -> String {
    at.to_string()
}

fn maybe(at: Option<Timestamp>) -> Option<String> {
    at.map(time)
}

#[derive(Serialize)]
struct ProductBody<'a> {
    id: &'a str,
    tier: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    line: &'a str,
    rank: i32,
    created_at: String,
    archived_at: Option<String>,
}

impl<'a> From<&'a Product> for ProductBody<'a> {
    fn from(product: &'a Product) -> Self {
        ProductBody {
            id: product.id.as_str(),
            tier: &product.tier,
            name: &product.name,
            description: product.description.as_deref(),
            line: &product.line,
            rank: product.rank,
            created_at: time(product.created_at),
            archived_at: maybe(product.archived_at),
        }
    }
}

#[derive(Serialize)]
struct PriceBody<'a> {
    id: &'a str,
    product: &'a str,
    unit_amount: i64,
    currency: String,
    r#type: &'static str,
    interval: Option<&'static str>,
    interval_count: Option<u16>,
    created_at: String,
    archived_at: Option<String>,
}

impl<'a> From<&'a Price> for PriceBody<'a> {
    fn from(price: &'a Price) -> Self {
        let interval = price.terms.interval();
        PriceBody {
            id: price.id.as_str(),
            product: price.product.as_str(),
            unit_amount: price.unit_amount.as_minor(),
            currency: price.unit_amount.currency().to_string(),
            r#type: price.terms.kind(),
            interval: interval.map(|interval| interval.unit().as_str()),
            interval_count: interval.map(crate::time::Interval::count),
            created_at: time(price.created_at),
            archived_at: maybe(price.archived_at),
        }
    }
}

#[derive(Serialize)]
struct CustomerBody<'a> {
    id: &'a str,
    uid: Option<&'a str>,
    name: Option<&'a str>,
    email: Option<&'a str>,
    phone: Option<&'a str>,
    metadata: &'a Metadata,
    created_at: String,
    updated_at: String,
    deleted_at: Option<String>,
}

impl<'a> From<&'a Customer> for CustomerBody<'a> {
    fn from(customer: &'a Customer) -> Self {
        CustomerBody {
            id: customer.id.as_str(),
            uid: customer.uid.as_deref(),
            name: customer.name.as_deref(),
            email: customer.email.as_deref(),
            phone: customer.phone.as_deref(),
            metadata: &customer.metadata,
            created_at: time(customer.created_at),
            updated_at: time(customer.updated_at),
            deleted_at: maybe(customer.deleted_at),
        }
    }
}

#[derive(Serialize)]
struct SessionBody<'a> {
    id: &'a str,
    status: &'static str,
    expired_reason: Option<&'static str>,
    payment_status: &'static str,
    url: Option<&'a str>,
    currency: Option<String>,
    #[serde(flatten)]
    totals: TotalsBody,
    lines: Vec<LineBody<'a>>,
    customer: Option<CustomerBody<'a>>,
    for_uid: Option<&'a str>,
    email: Option<&'a str>,
    completion: &'static str,
    return_url: Option<String>,
    cancel_url: Option<&'a str>,
    capture: &'static str,
    order_key: Option<&'a str>,
    payment_intent: Option<IntentBody<'a>>,
    metadata: &'a Metadata,
    created_at: String,
    updated_at: String,
    expires_at: String,
    completed_at: Option<String>,
}

#[derive(Serialize)]
struct TotalsBody {
    subtotal: i64,
    discount: i64,
    tax: i64,
    total: i64,
}

impl From<Totals> for TotalsBody {
    fn from(totals: Totals) -> Self {
        let Totals {
            subtotal,
            discount,
            tax,
            total,
        } = totals;
        TotalsBody {
            subtotal,
            discount,
            tax,
            total,
        }
    }
}

#[derive(Serialize)]
struct LineBody<'a> {
    name: &'a str,
    quantity: u32,
    unit_amount: i64,
    #[serde(flatten)]
    totals: TotalsBody,
    price: Option<&'a str>,
    product: Option<&'a str>,
    tier: Option<&'a str>,
}

impl<'a> From<&'a Line> for LineBody<'a> {
    fn from(line: &'a Line) -> Self {
        LineBody {
            name: &line.name,
            quantity: line.quantity,
            unit_amount: line.unit_amount,
            totals: line.totals.into(),
            price: line.price.as_ref().map(crate::id::PriceId::as_str),
            product: line.product.as_ref().map(crate::id::ProductId::as_str),
            tier: line.grants.as_ref().map(|grants| grants.tier.as_str()),
        }
    }
}

impl<'a> From<&'a Session> for SessionBody<'a> {
    fn from(session: &'a Session) -> Self {
        SessionBody {
            id: session.id.as_str(),
            status: session.state.as_str(),
            expired_reason: match session.state {
                SessionState::Expired(reason) => Some(ExpiredReason::as_str(reason)),
                _ => None,
            },
            payment_status: session.payment_status(),
            url: session.url.as_deref(),
            currency: session.currency.map(|currency| currency.to_string()),
            totals: session.totals.into(),
            lines: session.lines.iter().map(LineBody::from).collect(),
            customer: session.customer.as_ref().map(CustomerBody::from),
            for_uid: session.for_uid.as_deref(),
            email: session.email.as_deref(),
            completion: match session.completion {
                Completion::Redirect(_) => "redirect",
                Completion::HostedConfirmation => "hosted_confirmation",
            },
            return_url: session.return_url(),
            cancel_url: session.cancel_url.as_deref(),
            capture: session.capture.as_str(),
            order_key: session.order_key.as_deref(),
            payment_intent: session.payment_intent.as_ref().map(IntentBody::from),
            metadata: &session.metadata,
            created_at: time(session.created_at),
            updated_at: time(session.updated_at),
            expires_at: time(session.expires_at),
            completed_at: maybe(session.completed_at),
        }
    }
}

#[derive(Serialize)]
struct GrantBody<'a> {
    id: &'a str,
    entitlement: &'a str,
    source: &'static str,
    tier: &'a str,
    rank: i32,
    quantity: u32,
    limits: &'a Metadata,
    starts_at: String,
    ends_at: Option<String>,
    revoked_at: Option<String>,
    revoke_reason: Option<&'a str>,
    created_at: String,
}

impl<'a> From<&'a Grant> for GrantBody<'a> {
    fn from(grant: &'a Grant) -> Self {
        GrantBody {
            id: grant.id.as_str(),
            entitlement: grant.entitlement.as_str(),
            source: grant.source.as_str(),
            tier: &grant.tier,
            rank: grant.rank,
            quantity: grant.quantity,
            limits: &grant.limits,
            starts_at: time(grant.starts_at),
            ends_at: maybe(grant.ends_at),
            revoked_at: maybe(grant.revoked_at),
            revoke_reason: grant.revoke_reason.as_deref(),
            created_at: time(grant.created_at),
        }
    }
}

#[derive(Serialize)]
struct EntitlementBody<'a> {
    id: &'a str,
    app: &'a str,
    uid: &'a str,
    line: &'a str,
    tier: &'a str,
    status: &'static str,
    active: bool,
    expires_at: Option<String>,
    quantity: u32,
    limits: &'a Metadata,
    version: i64,
    changed_at: String,
}

impl<'a> From<&'a Step> for EntitlementBody<'a> {
    fn from(step: &'a Step) -> Self {
        let content = &step.version.content;
        EntitlementBody {
            id: step.id.as_str(),
            app: &step.app,
            uid: &step.uid,
            line: &step.line,
            tier: &content.tier,
            status: content.status.as_str(),
            active: content.status.is_active(),
            expires_at: maybe(content.expires_at),
            quantity: content.quantity,
            limits: &content.limits,
            version: step.version.number,
            changed_at: time(step.version.changed_at),
        }
    }
}

#[derive(Serialize)]
struct EndpointBody<'a> {
    id: &'a str,
    url: &'a str,
    format: &'static str,
    events: &'a [String],
    state: &'static str,
    created_at: String,
}

impl<'a> From<&'a Endpoint> for EndpointBody<'a> {
    fn from(endpoint: &'a Endpoint) -> Self {
        EndpointBody {
            id: endpoint.id.as_str(),
            url: &endpoint.url,
            format: endpoint.format.as_str(),
            events: &endpoint.events,
            state: endpoint.state.as_str(),
            created_at: time(endpoint.created_at),
        }
    }
}

/// Without the start of the secret, by which people know a key: it comes from the operating
/// system's randomness, and two runs of one story must give the same chain of events.
#[derive(Serialize)]
struct ApiKeyBody<'a> {
    id: &'a str,
    created_at: String,
    revoked_at: Option<String>,
}

impl<'a> From<&'a ApiKey> for ApiKeyBody<'a> {
    fn from(key: &'a ApiKey) -> Self {
        ApiKeyBody {
            id: key.id.as_str(),
            created_at: time(key.created_at),
            revoked_at: maybe(key.revoked_at),
        }
    }
}
