//! xPay subscriptions: everything at the top level, behind `eventId, eventType, eventTime`.

use serde::Serialize;

use super::{Envelope, PING, json};
use crate::event::EventKind;

/// What an endpoint may ask for.
pub(super) const NAMES: &[&str] = &[
    "subscription.created",
    "subscription.trialing",
    "subscription.active",
    "subscription.canceled",
    "subscription.cycle_charged",
    "subscription.unpaid",
    "subscription.completed",
];

pub(super) fn body(envelope: &Envelope<'_>) -> Option<String> {
    (envelope.kind == EventKind::EndpointPing).then(|| {
        json(&EventBody {
            event_id: envelope.id.as_str(),
            event_type: PING,
            event_time: envelope.created_at.with_offset(),
        })
    })
}

#[allow(clippy::struct_field_names, reason = "the format's names")]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventBody<'a> {
    event_id: &'a str,
    event_type: &'static str,
    event_time: String,
}
