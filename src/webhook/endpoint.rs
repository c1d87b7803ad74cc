use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

use super::{DeliveryOrder, Format};
use crate::error::{Error, Refused};
use crate::id::EndpointId;
use crate::secret::Secret;
use crate::time::Timestamp;

mod input;

pub use input::{EndpointUpdate, NewEndpoint};

/// Where webhooks of one app and mode go. An endpoint speaks one format.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// The endpoint's id.
    pub id: EndpointId,
    /// Where it is.
    pub url: String,
    /// What it speaks.
    pub format: Format,
    /// The names of the events that it wants, in the format's own words; `*` alone for all.
    pub events: Vec<String>,
    /// Whether it gets deliveries.
    pub state: EndpointState,
    /// In which order it gets events about one object.
    pub ordering: DeliveryOrder,
    /// How many deliveries are on their way to it at once, at the most.
    pub max_in_flight: u32,
    /// How far apart two attempts start at the least; zero: as they come.
    pub min_gap: Duration,
    /// For how long every attempt may fail before it is suspended; none: it never is.
    pub suspend_after: Option<Duration>,
    /// Engine time.
    pub created_at: Timestamp,
    pub(crate) number: i64,
    pub(crate) url_key: String,
    pub(crate) revision: i64,
    /// Secrets that take the place of what it has, only while they are being written.
    pub(crate) fresh: Option<FreshSecrets>,
}

/// Sealed secrets on their way into the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FreshSecrets {
    /// Each becomes a row, the signing secret last: the newest row is the one that is asked for.
    pub(crate) sealed: Vec<Vec<u8>>,
    /// Host time until which the current ones go on signing; none: they are gone at once.
    pub(crate) overlap_until: Option<Timestamp>,
}

/// A sealed secret as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedSecret {
    pub(crate) bytes: Vec<u8>,
    /// Whether it is in force without an end.
    pub(crate) current: bool,
}

/// How long an old secret signs beside the one that replaces it.
pub(crate) const OVERLAP: Duration = Duration::from_secs(24 * 3_600);

/// Whether an endpoint gets deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointState {
    /// It does.
    Enabled,
    /// The host switched it off.
    Disabled,
    /// It was switched off because it kept failing.
    Suspended,
    /// It is gone.
    Deleted,
}

impl EndpointState {
    pub(crate) const ALL: [EndpointState; 4] = [
        EndpointState::Enabled,
        EndpointState::Disabled,
        EndpointState::Suspended,
        EndpointState::Deleted,
    ];

    /// The state as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            EndpointState::Enabled => "enabled",
            EndpointState::Disabled => "disabled",
            EndpointState::Suspended => "suspended",
            EndpointState::Deleted => "deleted",
        }
    }
}

/// What can happen to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointEvent {
    /// The host switches it off.
    Disable,
    /// The host switches it on.
    Enable,
    /// The host deletes it.
    Delete,
}

impl EndpointEvent {
    const fn as_str(self) -> &'static str {
        match self {
            EndpointEvent::Disable => "being disabled",
            EndpointEvent::Enable => "being enabled",
            EndpointEvent::Delete => "being deleted",
        }
    }
}

/// The whole machine. What is not listed is refused.
pub(crate) fn next(state: EndpointState, event: EndpointEvent) -> Result<EndpointState, Refused> {
    use EndpointEvent as On;
    use EndpointState::{Deleted, Disabled, Enabled, Suspended};
    Ok(match (state, event) {
        (Enabled | Disabled | Suspended, On::Disable) => Disabled,
        (Enabled | Disabled | Suspended, On::Enable) => Enabled,
        (Enabled | Disabled | Suspended | Deleted, On::Delete) => Deleted,
        (Deleted, On::Disable | On::Enable) => {
            return Err(Refused {
                object: "webhook endpoint",
                state: state.as_str(),
                event: event.as_str(),
            });
        }
    })
}

impl Endpoint {
    /// Whether it wants the event of that name in its format.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.events.iter().any(|wanted| wanted == "*" || wanted == name)
    }
}

/// An endpoint with its new signing secret, which is shown to who adds it or rotates it and to nobody
/// else.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AddedEndpoint {
    /// The endpoint as it is stored.
    pub endpoint: Endpoint,
    /// `whsec_…`
    pub secret: Secret,
    /// `whpk_…`, by which `v1a` signatures are checked, if the endpoint has an Ed25519 key. It is no
    /// secret and can be read again.
    pub public_key: Option<String>,
}

/// Draws a signing secret from the operating system: `whsec_` and 40 letters and digits that are
/// base64 of 30 random bytes, drawn again until no other character is in it. So the text can be
/// used as it is by formats that sign with the text, and decoded by those that sign with bytes.
pub(crate) fn draw_secret() -> Result<Secret, Error> {
    loop {
        let mut bytes = [0; 30];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Error::NoEntropy)?;
        let text = data_encoding::BASE64.encode(&bytes);
        if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Secret::new(format!("whsec_{text}")));
        }
    }
}

#[cfg(test)]
mod tests;
