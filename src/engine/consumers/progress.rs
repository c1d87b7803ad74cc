//! How far each consumer has come, and putting one somewhere else by a person's word.

use super::super::{App, Page, page, page_size};
use super::due_at;
use crate::error::{Error, Invalid, Refused, Result, shortened};
use crate::store::consumer::Place;
use crate::store::{self, Access};
use crate::time::Timestamp;

/// The consumers of an app in a mode: how far each has come.
#[derive(Clone, Copy, Debug)]
pub struct Consumers<'a>(pub(in crate::engine) &'a App);

/// How far a consumer has come in an app and mode.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerProgress {
    /// The name that the host gave it.
    pub name: String,
    /// The position of the last event that it has taken or passed over; 0 before the first.
    pub position: i64,
    /// How many events are behind that, wanted or not.
    pub lag: i64,
    /// Failures in a row at the event at `position` + 1; 0 if it fails at none.
    pub failures: i64,
    /// Host time of the first of them.
    pub failing_since: Option<Timestamp>,
    /// Host time before which it is not tried again.
    pub retry_at: Option<Timestamp>,
    /// What the newest of them said, at most 500 characters.
    pub error: Option<String>,
}

impl ConsumerProgress {
    fn of(place: Place, head: i64, host_now: Timestamp) -> ConsumerProgress {
        ConsumerProgress {
            lag: head - place.position,
            retry_at: place.failing_since.map(|_| due_at(&place, host_now)),
            name: place.name,
            position: place.position,
            failures: place.failures,
            failing_since: place.failing_since,
            error: place.error,
        }
    }
}

impl Consumers<'_> {
    /// How far each has come, in the order of their names, up to `limit` (1 to 100) after one: those of this
    /// engine, and all that have a place here, be they of another program or of none any more. A consumer gets
    /// its place when an engine is opened with it or makes an app; in an app that another engine makes, when it
    /// first takes an event.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the limit; [`Error::Storage`].
    pub fn list(&self, limit: u32, after: Option<&str>) -> Result<Page<ConsumerProgress>> {
        let limit = page_size(limit)?;
        let host_now = self.0.core.clock.now();
        self.0.core.view(self.0.world, |view| {
            let (head, _) = store::event::head(view.sql, view.world)?;
            let after = after.unwrap_or("");
            let mut places = store::consumer::places(view.sql, view.world, after, limit + 1)?;
            for own in &self.0.core.followers.all {
                if own.name.as_str() > after && store::consumer::place(view.sql, view.world, &own.name)?.is_none() {
                    places.push(Place::at(&own.name, 0));
                }
            }
            places.sort_by(|one, other| one.name.cmp(&other.name));
            let all = places
                .into_iter()
                .map(|place| ConsumerProgress::of(place, head, host_now));
            Ok(page(all.collect(), limit))
        })
    }

    /// Passes a consumer over the event at a position, at which it fails ([`ConsumerProgress::position`] + 1),
    /// and answers where it is then. What the event was about is missing in the host's tables from then on,
    /// so this is a person's decision. Idempotent by state: an event that it has come over already is not
    /// asked about again.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a consumer without a place here; [`Error::Refused`] if it does not fail at that
    /// event; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// None.
    pub fn skip(&self, name: &str, position: i64) -> Result<ConsumerProgress> {
        self.moved(name, "skip_event", move |place| {
            if position <= place.position {
                return Ok(None);
            }
            if place.failures == 0 || position != place.position + 1 {
                return Err(Refused {
                    object: "consumer",
                    state: "not failing at that event",
                    event: "passing over it",
                }
                .into());
            }
            Ok(Some(position))
        })
    }

    /// Puts a consumer back behind an event that it has come over already (0: before the first), so that it
    /// takes everything after it once more, and answers where it is then. What it wrote stays in the host's
    /// tables: empty them first, or let it recognise what is there. Idempotent by state, as long as it takes
    /// nothing in between.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a consumer without a place here; [`Error::Invalid`] for a position that it has
    /// not come to; [`Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// None.
    pub fn rewind(&self, name: &str, position: i64) -> Result<ConsumerProgress> {
        self.moved(name, "rewind_consumer", move |place| {
            if !(0..=place.position).contains(&position) {
                let allowed = format!("0 to {}", place.position);
                return Err(Invalid::new("position", position, allowed).into());
            }
            Ok((position < place.position).then_some(position))
        })
    }

    /// Puts a consumer where it is to be, if that is somewhere else.
    fn moved(
        self,
        name: &str,
        doing: &'static str,
        to: impl Fn(&Place) -> Result<Option<i64>> + Send + 'static,
    ) -> Result<ConsumerProgress> {
        let (core, world, name) = (&self.0.core, self.0.world, name.to_owned());
        let host_now = core.clock.now();
        let progress = core.write_raw(Access::Shared, doing, move |sql| {
            let found = store::consumer::place(sql, world, &name)?;
            let mut place = found.ok_or_else(|| Error::NotFound {
                what: "consumer",
                id: shortened(&name),
            })?;
            if let Some(position) = to(&place)? {
                place = Place::at(&name, position);
                store::consumer::put(sql, world, &place)?;
            }
            let (head, _) = store::event::head(sql, world)?;
            Ok(ConsumerProgress::of(place, head, host_now))
        });
        core.bell.ring();
        progress
    }
}
