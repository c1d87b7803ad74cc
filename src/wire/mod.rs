//! Bodies of webhooks, one file per format. Nothing here decides; it only says how a format
//! spells what happened.
//!
//! Every body is compact JSON that a JavaScript receiver can parse and print again unchanged:
//! integers only, members in a fixed order, keys that look like numbers first.

mod elixpo;
mod jopay;
mod native;
mod standard;
mod subscriptions;
mod xpay;

use serde::Serialize;

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
    /// The app's slug.
    pub(crate) app: &'a str,
    /// What a charge paid for, where a format says so.
    pub(crate) sale: Option<&'a Sale>,
}

/// Who a charge entitles, and to what.
#[derive(Clone, Debug)]
pub(crate) struct Sale {
    pub(crate) uid: String,
    /// The tier that the first line to grant one grants.
    pub(crate) tier: Option<String>,
}

/// What every format calls a test event.
const PING: &str = "ping";

/// A `data` without members.
#[derive(Serialize)]
struct Empty {}

/// What a format calls an event; none if it does not know it.
pub(crate) fn name(format: Format, kind: EventKind) -> Option<&'static str> {
    if kind == EventKind::EndpointPing {
        return Some(PING);
    }
    match format {
        Format::XPay => xpay::name(kind),
        Format::JoPay => jopay::name(kind),
        Format::Elixpo => elixpo::name(kind),
        // The other events of that format come with subscriptions.
        Format::XPaySubscriptions => None,
        Format::Standard => Some(kind.as_str()),
    }
}

/// Whether an endpoint of a format can ask for an event of that name. A test event comes unasked.
pub(crate) fn knows(format: Format, wanted: &str) -> bool {
    match format {
        _ if wanted == PING => false,
        Format::XPaySubscriptions => subscriptions::NAMES.contains(&wanted),
        format => EventKind::ALL.iter().any(|kind| name(format, *kind) == Some(wanted)),
    }
}

/// The object after the event, in the engine's own words: what the event log keeps.
pub(crate) fn native_object(envelope: &Envelope<'_>, subject: &Subject) -> String {
    native::object(envelope, subject)
}

/// The exact bytes of a body; none if the format does not know the event or says nothing of this one. `native` is what
/// [`native_object`] made of the same event.
pub(crate) fn body(format: Format, envelope: &Envelope<'_>, subject: &Subject, native: &str) -> Option<String> {
    match format {
        Format::XPay => xpay::body(envelope, subject),
        Format::JoPay => jopay::body(envelope, subject),
        Format::Elixpo => elixpo::body(envelope, subject),
        Format::XPaySubscriptions => subscriptions::body(envelope),
        Format::Standard => rendered_again(format, envelope.kind, envelope.created_at, native),
    }
}

/// The exact bytes that [`body`] gave or would have given, of what the event log keeps; none in a format that says
/// other things than that.
pub(crate) fn rendered_again(format: Format, kind: EventKind, created_at: Timestamp, native: &str) -> Option<String> {
    (format == Format::Standard).then(|| standard::body(kind, created_at, native))
}

/// Compact JSON of a value that is made of structs, texts and integers only, which cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
