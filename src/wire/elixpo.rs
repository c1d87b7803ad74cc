//! Elixpo Pay: `{id, type, created, data}`. It knows of one entitlement per buyer, so it hears of the
//! main line only, and of payments only where they entitle somebody.

use serde::Serialize;

use super::{Empty, Envelope, PING, Sale, json};
use crate::catalog::MAIN_LINE;
use crate::entitlement::Status;
use crate::event::{EventKind, Step, Subject};
use crate::payment::Charge;

pub(super) fn name(kind: EventKind) -> Option<&'static str> {
    match kind {
        EventKind::EntitlementGranted
        | EventKind::EntitlementUpdated
        | EventKind::EntitlementExpired
        | EventKind::EntitlementRevoked => Some("entitlement.updated"),
        EventKind::ChargeSucceeded => Some("payment.captured"),
        _ => None,
    }
}

pub(super) fn body(envelope: &Envelope<'_>, subject: &Subject) -> Option<String> {
    if envelope.kind == EventKind::EndpointPing {
        return Some(written(envelope, PING, Empty {}));
    }
    let name = name(envelope.kind)?;
    match subject {
        Subject::Entitlement(step) if step.line == MAIN_LINE => {
            Some(written(envelope, name, EntitlementData::from(&**step)))
        }
        Subject::Charge(charge) => Some(written(
            envelope,
            name,
            PaymentData::of(envelope.app, envelope.sale?, charge),
        )),
        _ => None,
    }
}

fn written(envelope: &Envelope<'_>, name: &'static str, data: impl Serialize) -> String {
    let id = envelope.id.as_str();
    json(&EventBody {
        id: format!("whd_{}", id.strip_prefix("evt_").unwrap_or(id)),
        r#type: name,
        created: envelope.created_at.as_secs(),
        data,
    })
}

#[derive(Serialize)]
struct EventBody<D> {
    id: String,
    r#type: &'static str,
    created: i64,
    data: D,
}

#[derive(Serialize)]
struct EntitlementData<'a> {
    app: &'a str,
    uid: &'a str,
    tier: &'a str,
    status: &'static str,
    active: bool,
    expires_at: Option<String>,
    version: i64,
}

impl<'a> From<&'a Step> for EntitlementData<'a> {
    fn from(step: &'a Step) -> Self {
        let content = &step.version.content;
        EntitlementData {
            app: &step.app,
            uid: &step.uid,
            tier: &content.tier,
            status: match content.status {
                // The format has no word for it.
                Status::Grace => Status::Active.as_str(),
                status => status.as_str(),
            },
            active: content.status.is_active(),
            expires_at: content.expires_at.map(crate::time::Timestamp::spaced),
            version: step.version.number,
        }
    }
}

#[derive(Serialize)]
struct PaymentData<'a> {
    app: &'a str,
    uid: &'a str,
    transaction_id: String,
    provider_payment_id: Option<&'a str>,
    provider_order_id: &'a str,
    currency: String,
    amount: i64,
    tier: Option<&'a str>,
}

impl<'a> PaymentData<'a> {
    /// The transaction's id follows from the charge's, so that both are found by either.
    fn of(app: &'a str, sale: &'a Sale, charge: &'a Charge) -> Self {
        let id = charge.id.as_str();
        PaymentData {
            app,
            uid: &sale.uid,
            transaction_id: format!("txn_{}", id.strip_prefix("ch_").unwrap_or(id)),
            provider_payment_id: charge.reference.as_deref(),
            provider_order_id: charge.intent.as_str(),
            currency: charge.amount.currency().to_string(),
            amount: charge.captured,
            tier: sale.tier.as_deref(),
        }
    }
}
