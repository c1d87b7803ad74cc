//! Standard Webhooks 1.0.0: `{type, timestamp, data}`, with the engine's own names.

use super::Envelope;

pub(super) fn body(envelope: &Envelope<'_>, native: &str) -> String {
    // The names hold nothing that JSON would escape, and the object is JSON already.
    format!(
        r#"{{"type":"{}","timestamp":"{}","data":{native}}}"#,
        envelope.kind.as_str(),
        envelope.created_at,
    )
}
