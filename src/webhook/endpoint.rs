use ring::rand::{SecureRandom as _, SystemRandom};

use super::Format;
use crate::digest::Fields;
use crate::error::{Error, Invalid};
use crate::id::EndpointId;
use crate::secret::Secret;
use crate::text::{self, Url};
use crate::time::Timestamp;

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
    /// Engine time.
    pub created_at: Timestamp,
    pub(crate) number: i64,
    pub(crate) url_key: String,
    pub(crate) revision: i64,
    /// The sealed secret, only while the endpoint is being made.
    pub(crate) sealed_secret: Option<Vec<u8>>,
}

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

impl Endpoint {
    /// Whether it wants the event of that name in its format.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.events.iter().any(|wanted| wanted == "*" || wanted == name)
    }
}

/// A new endpoint with its signing secret, which is shown to who adds it and to nobody else.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AddedEndpoint {
    /// The endpoint as it is stored.
    pub endpoint: Endpoint,
    /// `whsec_…`
    pub secret: Secret,
}

/// An endpoint to be added; given to `endpoints().add`.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    pub(crate) url: String,
    pub(crate) format: Format,
    pub(crate) events: Vec<String>,
    pub(crate) idempotency_key: Option<String>,
}

impl NewEndpoint {
    /// An endpoint that wants every event of its format.
    #[must_use]
    pub fn new(url: impl Into<String>, format: Format) -> NewEndpoint {
        NewEndpoint {
            url: url.into(),
            format,
            events: vec!["*".to_owned()],
            idempotency_key: None,
        }
    }

    /// Wants these events only, in the format's own names; blanks around a name are dropped.
    #[must_use]
    pub fn events<T: AsRef<str>>(mut self, events: impl IntoIterator<Item = T>) -> Self {
        self.events = events.into_iter().map(|name| name.as_ref().trim().to_owned()).collect();
        self
    }

    /// The same key gives the same endpoint with its secret, after a retry and after a crash: 1 to 255
    /// visible ASCII characters.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// The hash of everything that was asked for, but the key: who repeats a key must repeat it.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let fields = Fields::new().text(&self.url).text(self.format.as_str());
        self.events
            .iter()
            .fold(fields, |fields, name| fields.text(name))
            .finish()
    }

    /// Checks URL and names; `known` says whether the format has an event of a name.
    pub(crate) fn checked(mut self, known: impl Fn(&str) -> bool) -> Result<(NewEndpoint, Url), Error> {
        let url = Url::parse("url", &self.url)?;
        text::key("idempotency_key", self.idempotency_key.as_deref())?;
        self.events.sort_unstable();
        self.events.dedup();
        if self.events.is_empty() {
            return Err(Invalid::new("events", "none", "at least one event, or * for all").into());
        }
        let all = self.events == ["*"];
        for name in &self.events {
            if !all && !known(name) {
                let allowed = format!("an event of the {} format, or * alone", self.format.as_str());
                return Err(Invalid::new("events", name, allowed).into());
            }
        }
        Ok((self, url))
    }
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
