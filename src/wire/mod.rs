//! Bodies of webhooks, one file per format. Nothing here decides; it only says how a format
//! spells what happened.
//!
//! Every body is compact JSON that a JavaScript receiver can parse and print again unchanged:
//! integers only, members in a fixed order, keys that look like numbers first.

mod native;
mod standard;
mod xpay;

use crate::event::{EventKind, Subject};
use crate::id::{EventId, Mode};
use crate::time::Timestamp;
use crate::webhook::Format;

/// What stands around an object in a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) id: &'a EventId,
    pub(crate) kind: EventKind,
    /// The event's place among the events about its object.
    pub(crate) object_seq: i64,
    /// Engine time of the commit.
    pub(crate) created_at: Timestamp,
    pub(crate) mode: Mode,
}

/// What a format calls an event; none if it does not know it.
pub(crate) fn name(format: Format, kind: EventKind) -> Option<&'static str> {
    match format {
        Format::XPay => xpay::name(kind),
        Format::Standard => Some(kind.as_str()),
    }
}

/// Whether a format has an event of that name.
pub(crate) fn knows(format: Format, wanted: &str) -> bool {
    EventKind::ALL.iter().any(|kind| name(format, *kind) == Some(wanted))
}

/// The object after the event, in the engine's own words: what the event log keeps.
pub(crate) fn native_object(envelope: &Envelope<'_>, subject: &Subject) -> String {
    native::object(envelope, subject)
}

/// The exact bytes of a body; none if the format does not know the event. `native` is what
/// [`native_object`] made of the same event.
pub(crate) fn body(format: Format, envelope: &Envelope<'_>, subject: &Subject, native: &str) -> Option<String> {
    match format {
        Format::XPay => xpay::body(envelope, subject),
        Format::Standard => Some(standard::body(envelope, native)),
    }
}

/// Compact JSON of a value that is made of structs, texts and integers only, which cannot fail.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
