//! What callers ask of an endpoint, when it is added and when it is changed.

use std::time::Duration;

use super::Endpoint;
use crate::digest::Fields;
use crate::error::{Error, Invalid};
use crate::text::{self, Patch, Url};
use crate::time::{days, in_millis};
use crate::webhook::{DeliveryOrder, Format};

/// How many deliveries are on their way to an endpoint at once, unless it is told otherwise.
const IN_FLIGHT: u32 = 4;

/// The most that an endpoint can be told.
const MAX_IN_FLIGHT: u32 = 64;

/// The furthest that two attempts can be kept apart.
const MAX_GAP: Duration = Duration::from_secs(3_600);

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
    rate: Option<Rate>,
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

    /// Gets at most so many attempts in such a time. They are spread: each is claimed at least
    /// `per` / `attempts` after the one before, in whole milliseconds, from one to an hour.
    #[must_use]
    pub fn at_most(mut self, attempts: u32, per: Duration) -> Self {
        self.rate = Some(Rate { attempts, per });
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
        // What is asked for by default adds nothing, so that a key stays good when there is more to ask for.
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

    /// How far apart two attempts start at the least.
    pub(crate) fn min_gap(&self) -> Duration {
        min_gap(self.rate)
    }

    /// Checks URL, names and numbers; `known` says whether the format has an event of a name.
    pub(crate) fn checked(mut self, known: impl Fn(&str) -> bool) -> Result<(NewEndpoint, Url), Error> {
        let url = Url::parse_endpoint("url", &self.url)?;
        text::key("idempotency_key", self.idempotency_key.as_deref())?;
        check_flow(Some(self.max_in_flight), self.rate, self.suspend_after)?;
        if self.ed25519 && self.format == Format::XPaySubscriptions {
            let allowed = "any format but xpay-subscriptions, which has no place for a second signature";
            return Err(Invalid::new("ed25519", self.format.as_str(), allowed).into());
        }
        self.events = checked_events(self.events, self.format, known)?;
        Ok((self, url))
    }
}

/// So many attempts in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    attempts: u32,
    per: Duration,
}

/// How far apart two attempts start at the least: whole milliseconds, rather more than less.
fn min_gap(rate: Option<Rate>) -> Duration {
    let millis = |Rate { attempts, per }: Rate| {
        // In nanoseconds, so that what is less than a millisecond does not become nothing.
        let gap = per.as_nanos().div_ceil(u128::from(attempts.max(1)) * 1_000_000);
        Duration::from_millis(u64::try_from(gap).unwrap_or(u64::MAX))
    };
    rate.map_or(Duration::ZERO, millis)
}

/// Checks what is asked for of how fast deliveries are to leave.
fn check_flow(max_in_flight: Option<u32>, rate: Option<Rate>, suspend_after: Option<Duration>) -> Result<(), Invalid> {
    if let Some(most) = max_in_flight
        && !(1..=MAX_IN_FLIGHT).contains(&most)
    {
        return Err(Invalid::new("max_in_flight", most, "1 to 64"));
    }
    if let Some(Rate { attempts, per }) = rate
        && (attempts == 0 || per.is_zero() || min_gap(rate) > MAX_GAP)
    {
        let allowed = "at least one attempt, and attempts that are at most an hour apart";
        return Err(Invalid::new("at_most", format!("{attempts} in {per:?}"), allowed));
    }
    match suspend_after {
        Some(after) if !(SUSPEND_AFTER[0]..=SUSPEND_AFTER[1]).contains(&after) => Err(Invalid::new(
            "suspend_after",
            format!("{after:?}"),
            "a minute to 365 days",
        )),
        _ => Ok(()),
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

/// What is to change of an endpoint; given to `endpoints().update`. What is not named stays as it is.
///
/// The format stays, and so does the order: for what a delivery waits is written down with the delivery, and those
/// in the queue would keep to the old order. Who wants another deletes the endpoint, adds it anew and has
/// [`Deliveries::replay_range`](crate::Deliveries::replay_range) send what waited.
#[derive(Clone, Debug, Default)]
pub struct EndpointUpdate {
    url: Option<String>,
    events: Option<Vec<String>>,
    max_in_flight: Option<u32>,
    rate: Patch<Rate>,
    suspend_after: Patch<Duration>,
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

    /// Has at most so many deliveries on their way to it at once, 1 to 64. Those that are on their way beyond
    /// that end as they would.
    #[must_use]
    pub fn max_in_flight(mut self, deliveries: u32) -> Self {
        self.max_in_flight = Some(deliveries);
        self
    }

    /// Gets at most so many attempts in such a time, as by [`NewEndpoint::at_most`].
    #[must_use]
    pub fn at_most(mut self, attempts: u32, per: Duration) -> Self {
        self.rate = Patch::Set(Rate { attempts, per });
        self
    }

    /// Gets attempts as they come: takes [`EndpointUpdate::at_most`] away.
    #[must_use]
    pub fn as_they_come(mut self) -> Self {
        self.rate = Patch::Remove;
        self
    }

    /// Is suspended once every attempt has failed for so long, as by [`NewEndpoint::suspend_after`]. For how long
    /// it has been failing already counts.
    #[must_use]
    pub fn suspend_after(mut self, failing: Duration) -> Self {
        self.suspend_after = Patch::Set(failing);
        self
    }

    /// Is never suspended: takes [`EndpointUpdate::suspend_after`] away. One that is suspended stays so until it
    /// is switched on.
    #[must_use]
    pub fn never_suspend(mut self) -> Self {
        self.suspend_after = Patch::Remove;
        self
    }

    /// Checks the numbers; answers the URL as it will be stored, if there is another.
    pub(crate) fn checked(&self) -> Result<Option<Url>, Error> {
        let (rate, suspend_after) = (self.rate.clone().apply(None), self.suspend_after.clone().apply(None));
        check_flow(self.max_in_flight, rate, suspend_after)?;
        self.url
            .as_deref()
            .map(|url| Url::parse_endpoint("url", url))
            .transpose()
    }

    /// The endpoint with what is to change; `url` is what [`EndpointUpdate::checked`] answered, and `known` says
    /// whether the endpoint's format has an event of a name.
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
        after.max_in_flight = self.max_in_flight.unwrap_or(endpoint.max_in_flight);
        after.min_gap = match &self.rate {
            Patch::Keep => endpoint.min_gap,
            Patch::Remove => min_gap(None),
            Patch::Set(rate) => min_gap(Some(*rate)),
        };
        after.suspend_after = self.suspend_after.clone().apply(endpoint.suspend_after);
        Ok(after)
    }
}
