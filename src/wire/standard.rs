//! Standard Webhooks 1.0.0: `{type, timestamp, data}`, with the engine's own names.

use super::PING;
use crate::event::EventKind;
use crate::time::Timestamp;

pub(super) fn body(kind: EventKind, created_at: Timestamp, native: &str) -> String {
    let (name, data) = match kind {
        EventKind::EndpointPing => (PING, "{}"),
        kind => (kind.as_str(), native),
    };
    // The names hold nothing that JSON would escape, and the object is JSON already.
    format!(r#"{{"type":"{name}","timestamp":"{created_at}","data":{data}}}"#)
}
