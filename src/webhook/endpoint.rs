use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

use super::{DeliveryOrder, Format};
use crate::digest::Fields;
use crate::error::{Error, Invalid, Refused};
use crate::id::EndpointId;
use crate::secret::Secret;
use crate::text::{self, Url};
use crate::time::{Timestamp, days, in_millis};

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

/// How many deliveries are on their way to an endpoint at once, unless it is told otherwise.
pub(crate) const IN_FLIGHT: u32 = 4;

/// The most that an endpoint can be told.
const MAX_IN_FLIGHT: u32 = 64;

/// The furthest that two attempts can be kept apart.
pub(crate) const MAX_GAP: Duration = Duration::from_secs(3_600);

/// For how long every attempt may have to fail before an endpoint is suspended: at least, at most.
const SUSPEND_AFTER: [Duration; 2] = [Duration::from_secs(60), days(365)];

/// An endpoint to be added; given to `endpoints().add`.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    pub(crate) url: String,
    pub(crate) format: Format,
    pub(crate) events: Vec<String>,
    pub(crate) ed25519: bool,
    pub(crate) ordering: DeliveryOrder,
    pub(crate) max_in_flight: u32,
    rate: Option<(u32, Duration)>,
    pub(crate) suspend_after: Option<Duration>,
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
            ed25519: false,
            ordering: DeliveryOrder::default(),
            max_in_flight: IN_FLIGHT,
            rate: None,
            suspend_after: None,
            idempotency_key: None,
        }
    }

    /// Wants these events only, in the format's own names; blanks around a name are dropped.
    #[must_use]
    pub fn events<T: AsRef<str>>(mut self, events: impl IntoIterator<Item = T>) -> Self {
        self.events = trimmed(events);
        self
    }

    /// Signs with an Ed25519 key as well, drawn for this endpoint (`v1a` in `webhook-signature`): programs
    /// that have only its public half can check what comes and cannot forge it.
    #[must_use]
    pub fn ed25519(mut self) -> Self {
        self.ed25519 = true;
        self
    }

    /// Gets events about one object in this order; unless told, [`DeliveryOrder::Soft`].
    #[must_use]
    pub fn ordering(mut self, ordering: DeliveryOrder) -> Self {
        self.ordering = ordering;
        self
    }

    /// Has at most so many deliveries on their way to it at once, 1 to 64; unless told, four.
    #[must_use]
    pub fn max_in_flight(mut self, deliveries: u32) -> Self {
        self.max_in_flight = deliveries;
        self
    }

    /// Gets at most so many attempts in such a time. They are spread: each starts at least
    /// `per` / `attempts` after the one before, in whole milliseconds, from one to an hour.
    #[must_use]
    pub fn at_most(mut self, attempts: u32, per: Duration) -> Self {
        self.rate = Some((attempts, per));
        self
    }

    /// Is suspended once every attempt has failed for so long, a minute to a year, and a delivery has run
    /// out of attempts in that time. Its deliveries wait then, and so do those of what happens meanwhile.
    #[must_use]
    pub fn suspend_after(mut self, failing: Duration) -> Self {
        self.suspend_after = Some(failing);
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
        let names = self.events.iter().fold(fields, |fields, name| fields.text(name));
        // Where nothing of this is asked for it is what it was before it could be: stored keys go on to fit.
        let keyed = if self.ed25519 { names.maybe(None) } else { names };
        let flow = (self.ordering, self.max_in_flight, self.rate, self.suspend_after);
        if flow == (DeliveryOrder::default(), IN_FLIGHT, None, None) {
            return keyed.finish();
        }
        let suspend_after = self.suspend_after.map_or(0, in_millis);
        keyed
            .maybe(Some(self.ordering.as_str()))
            .int(i64::from(self.max_in_flight))
            .int(in_millis(self.min_gap()))
            .int(suspend_after)
            .finish()
    }

    /// How far apart two attempts start at the least: whole milliseconds, rather more than less.
    pub(crate) fn min_gap(&self) -> Duration {
        let millis = |(attempts, per): (u32, Duration)| {
            // In nanoseconds, so that what is less than a millisecond does not become nothing.
            let gap = per.as_nanos().div_ceil(u128::from(attempts.max(1)) * 1_000_000);
            Duration::from_millis(u64::try_from(gap).unwrap_or(u64::MAX))
        };
        self.rate.map_or(Duration::ZERO, millis)
    }

    /// Checks how fast deliveries are to leave.
    fn check_flow(&self) -> Result<(), Invalid> {
        if !(1..=MAX_IN_FLIGHT).contains(&self.max_in_flight) {
            return Err(Invalid::new("max_in_flight", self.max_in_flight, "1 to 64"));
        }
        if let Some((attempts, per)) = self.rate
            && (attempts == 0 || per.is_zero() || self.min_gap() > MAX_GAP)
        {
            let allowed = "at least one attempt, and attempts that are at most an hour apart";
            return Err(Invalid::new("at_most", format!("{attempts} in {per:?}"), allowed));
        }
        match self.suspend_after {
            Some(after) if !(SUSPEND_AFTER[0]..=SUSPEND_AFTER[1]).contains(&after) => Err(Invalid::new(
                "suspend_after",
                format!("{after:?}"),
                "a minute to 365 days",
            )),
            _ => Ok(()),
        }
    }

    /// Checks URL, names and numbers; `known` says whether the format has an event of a name.
    pub(crate) fn checked(mut self, known: impl Fn(&str) -> bool) -> Result<(NewEndpoint, Url), Error> {
        let url = Url::parse_endpoint("url", &self.url)?;
        text::key("idempotency_key", self.idempotency_key.as_deref())?;
        self.check_flow()?;
        if self.ed25519 && self.format == Format::XPaySubscriptions {
            let allowed = "any format but xpay-subscriptions, which has no place for a second signature";
            return Err(Invalid::new("ed25519", self.format.as_str(), allowed).into());
        }
        self.events = checked_events(self.events, self.format, known)?;
        Ok((self, url))
    }
}

/// The names of the events that an endpoint is to get, trimmed as they came.
fn trimmed<T: AsRef<str>>(events: impl IntoIterator<Item = T>) -> Vec<String> {
    events.into_iter().map(|name| name.as_ref().trim().to_owned()).collect()
}

/// Names of events in order, each once; `known` says whether the format has an event of a name.
fn checked_events(
    mut events: Vec<String>,
    format: Format,
    known: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Invalid> {
    events.sort_unstable();
    events.dedup();
    if events.is_empty() {
        return Err(Invalid::new("events", "none", "at least one event, or * for all"));
    }
    let all = events == ["*"];
    if let Some(name) = events.iter().find(|name| !all && !known(name)) {
        let allowed = format!("an event of the {} format, or * alone", format.as_str());
        return Err(Invalid::new("events", name, allowed));
    }
    Ok(events)
}

/// What is to change of an endpoint; given to `endpoints().update`. What is not named stays as it is,
/// and so do the format and the secret.
#[derive(Clone, Debug, Default)]
pub struct EndpointUpdate {
    url: Option<String>,
    events: Option<Vec<String>>,
}

impl EndpointUpdate {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> EndpointUpdate {
        EndpointUpdate::default()
    }

    /// Where it is from now on; an attempt that is on its way goes to where it was.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Wants these events only, of what happens from now on, in the format's own names; `*` alone for all.
    /// Blanks around a name are dropped.
    #[must_use]
    pub fn events<T: AsRef<str>>(mut self, events: impl IntoIterator<Item = T>) -> Self {
        self.events = Some(trimmed(events));
        self
    }

    /// The URL as it will be stored, if there is another.
    pub(crate) fn checked_url(&self) -> Result<Option<Url>, Error> {
        self.url.as_deref().map(|url| Url::parse_endpoint("url", url)).transpose()
    }

    /// The endpoint with what is to change; `url` is what [`EndpointUpdate::checked_url`] answered, and
    /// `known` says whether the endpoint's format has an event of a name.
    pub(crate) fn applied(
        &self,
        endpoint: &Endpoint,
        url: Option<&Url>,
        known: impl Fn(&str) -> bool,
    ) -> Result<Endpoint, Error> {
        let mut after = endpoint.clone();
        if let (Some(text), Some(url)) = (&self.url, url) {
            after.url.clone_from(text);
            after.url_key = url.key();
        }
        if let Some(events) = &self.events {
            after.events = checked_events(events.clone(), endpoint.format, known)?;
        }
        Ok(after)
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

#[cfg(test)]
mod tests;
