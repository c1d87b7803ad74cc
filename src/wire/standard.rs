//! Standard Webhooks 1.0.0: `{type, timestamp, data}`, with the engine's own names.

use super::{Envelope, PING};
use crate::event::EventKind;

pub(super) fn body(envelope: &Envelope<'_>, native: &str) -> String {
    let (name, data) = match envelope.kind {
        EventKind::EndpointPing => (PING, "{}"),
        kind => (kind.as_str(), native),
    };
    // The names hold nothing that JSON would escape, and the object is JSON already.
    format!(
        r#"{{"type":"{name}","timestamp":"{}","data":{data}}}"#,
        envelope.created_at,
    )
}
