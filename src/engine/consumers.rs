use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use super::trace;
use super::{App, Budget, Engine, Page, Ran, page, page_size};
use crate::alarm::{Alarm, Hook};
use crate::consumer::{Consumer, Following, HostTx};
use crate::error::{Error, Invalid, Refused, Result, shortened};
use crate::event::Event;
use crate::id::World;
use crate::store::consumer::Place;
use crate::store::{self, Access, Sql};
use crate::text;
use crate::time::Timestamp;

/// The most events that are taken in one transaction: everybody else who writes waits for it.
const BATCH: usize = 32;

/// How long a consumer that failed is left alone, at first and at last.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(300);

/// How much is kept of what a failure says.
const KEPT: usize = 500;

/// The most consumers of one engine.
const MOST: usize = 64;

/// The consumers that an engine was given.
#[derive(Default)]
pub(super) struct Followers {
    all: Vec<Following>,
    /// Whose turn it is.
    turn: AtomicUsize,
}

impl Followers {
    pub(super) fn of(all: Vec<Following>) -> Result<Followers> {
        if all.len() > MOST {
            return Err(Invalid::new("consumer", format!("{} consumers", all.len()), format!("up to {MOST}")).into());
        }
        for (at, following) in all.iter().enumerate() {
            checked_name(&following.name)?;
            if all[..at].iter().any(|other| other.name == following.name) {
                return Err(Invalid::new("consumer", &following.name, "a name once per engine").into());
            }
        }
        Ok(Followers {
            all,
            turn: AtomicUsize::new(0),
        })
    }

    /// The name of each, and whether it begins behind what there is.
    pub(super) fn names(&self) -> Vec<(String, bool)> {
        let named = |following: &Following| (following.name.clone(), following.follow.is_from_now());
        self.all.iter().map(named).collect()
    }

    /// The consumers of a world that have events before them, and from when on each may try.
    fn waiting(&self, sql: &mut dyn Sql, world: World, host_now: Timestamp) -> Result<Vec<(&Following, Timestamp)>> {
        let (head, places) = store::consumer::standing(sql, world)?;
        let of = |following: &Following| places.iter().find(|place| place.name == following.name);
        let standing = self.all.iter().map(|following| match of(following) {
            Some(place) => (following, place.position, due_at(place, host_now)),
            None => (following, 0, Timestamp::MIN),
        });
        let behind = standing.filter(|(_, position, _)| *position < head);
        Ok(behind.map(|(following, _, due)| (following, due)).collect())
    }

    /// Host time at which the first of them is due in a world.
    pub(super) fn next_due(&self, sql: &mut dyn Sql, world: World, host_now: Timestamp) -> Result<Option<Timestamp>> {
        let waiting = self.waiting(sql, world, host_now)?;
        Ok(waiting.into_iter().map(|(_, due)| due).min())
    }
}

/// A consumer's name: 1 to 64 visible ASCII characters.
fn checked_name(name: &str) -> Result<()> {
    if (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text::no_card("consumer", name);
    }
    Err(Invalid::new("consumer", name, "1 to 64 visible ASCII characters").into())
}

/// Where a consumer stands: before everything, unless it has a place.
fn place_of(sql: &mut dyn Sql, world: World, name: &str) -> Result<Place> {
    let found = store::consumer::place(sql, world, name)?;
    Ok(found.unwrap_or_else(|| Place::at(name, 0)))
}

/// From when on a consumer is tried, by the host's clock. One that would rest for longer than any rest is failed
/// while the clock was ahead, and is due: it would stand still until the clock has caught up.
fn due_at(place: &Place, host_now: Timestamp) -> Timestamp {
    match place.due_at > host_now.plus(LONGEST_REST) {
        true => host_now,
        false => place.due_at,
    }
}

/// What came of a batch.
#[derive(Default)]
struct Took {
    /// Events that the consumer was given.
    given: usize,
    /// Whether its place moved.
    moved: bool,
    /// Whether it failed at the last of them.
    failed: bool,
    alarms: Vec<Alarm>,
}

impl Engine {
    /// Gives each consumer a place in every world that there is: from then on it misses nothing.
    pub(super) fn place_consumers(&self) -> Result<()> {
        let followers = &self.core.followers;
        if followers.all.is_empty() {
            return Ok(());
        }
        let worlds = self.core.store.read(|sql| {
            let mut without = Vec::new();
            for world in store::app::worlds(sql)? {
                let (_, places) = store::consumer::standing(sql, world)?;
                let has_place = |following: &Following| places.iter().any(|place| place.name == following.name);
                if !followers.all.iter().all(has_place) {
                    without.push(world);
                }
            }
            Ok(without)
        })?;
        if worlds.is_empty() {
            return Ok(());
        }
        let names = followers.names();
        self.core.write_raw(Access::Alone, "open", move |sql| {
            for world in &worlds {
                let (head, _) = store::event::head(sql, *world)?;
                place(sql, *world, &names, |from_now| if from_now { head } else { 0 })?;
            }
            Ok(())
        })
    }

    /// Has consumers take events. They have their turns one after the other, each in one world.
    pub(super) fn run_consumers(&self, budget: Budget, ran: &mut Ran) -> Result<()> {
        let followers = &self.core.followers;
        if followers.all.is_empty() {
            return Ok(());
        }
        let host_now = self.core.clock.now();
        let mut due = self.core.store.read(|sql| {
            let mut due = Vec::new();
            for world in store::app::worlds(sql)? {
                let waiting = followers.waiting(sql, world, host_now)?.into_iter();
                due.extend(waiting.filter(|(_, at)| *at <= host_now).map(|(who, _)| (world, who)));
            }
            Ok(due)
        })?;
        let first = followers.turn.fetch_add(1, Ordering::Relaxed);
        let count = due.len().max(1);
        due.rotate_left(first % count);
        for (world, following) in due {
            let Some(left) = self.left(budget, *ran) else {
                break;
            };
            // Where the file fails it is no consumer's failure, and the others would meet it too.
            let took = self.take(world, following, left.min(BATCH))?;
            let outcome = if took.failed { "failed" } else { "ok" };
            trace::consumed(&following.name, world, took.given, outcome);
            // A stretch that was passed over is one item.
            ran.consumed += took.given.max(usize::from(took.moved));
            self.core.alarms.tell(took.alarms);
        }
        Ok(())
    }

    /// Has a consumer take up to `limit` events of a world in one transaction.
    fn take(&self, world: World, following: &Following, limit: usize) -> Result<Took> {
        let host_now = self.core.clock.now();
        let mut limit = u32::try_from(limit).unwrap_or(u32::MAX);
        loop {
            let (taking, reached) = (following.clone(), Arc::new(Reached::default()));
            let reaching = Arc::clone(&reached);
            let taken = self.core.write_raw(Access::Alone, "run_due.consumers", move |sql| {
                take(sql, world, &taking, host_now, limit, &reaching)
            });
            // The whole transaction was undone by a statement, or refused at the commit.
            let Err(Error::Statement { why }) = taken else {
                return taken;
            };
            limit = reached.below(limit);
            if limit == 0 {
                let failing = following.clone();
                return self.core.write_raw(Access::Alone, "run_due.consumers", move |sql| {
                    undone(sql, world, &failing, host_now, &why)
                });
            }
        }
    }
}

/// How far a batch has come, which shows when all of it is undone.
#[derive(Default)]
struct Reached {
    /// Events that the consumer took.
    kept: AtomicU32,
    /// Whether it is behind the last of them, at the commit.
    committing: AtomicBool,
}

impl Reached {
    /// With how many events a batch of up to `limit` is tried again: with those before the one that undid it.
    /// Which one a commit was refused for nobody says, so it is looked for by halves. None are left if it is
    /// the first.
    fn below(&self, limit: u32) -> u32 {
        let kept = self.kept.load(Ordering::Acquire);
        let fewer = match self.committing.load(Ordering::Acquire) {
            true => kept / 2,
            false => kept,
        };
        fewer.min(limit.saturating_sub(1))
    }
}

/// Gives consumers their places in a world, those that have none yet.
pub(super) fn place(sql: &mut dyn Sql, world: World, names: &[(String, bool)], at: impl Fn(bool) -> i64) -> Result<()> {
    for (name, from_now) in names {
        if store::consumer::place(sql, world, name)?.is_none() {
            store::consumer::put(sql, world, &Place::at(name, at(*from_now)))?;
        }
    }
    Ok(())
}

/// The batch: as many events as the consumer takes, and its place behind them, in the transaction that is
/// open.
fn take(
    sql: &mut dyn Sql,
    world: World,
    following: &Following,
    host_now: Timestamp,
    limit: u32,
    reached: &Reached,
) -> Result<Took> {
    let mut took = Took::default();
    let mut place = place_of(sql, world, &following.name)?;
    // Another process, or another thread, may have tried it since it was looked at.
    if due_at(&place, host_now) > host_now {
        return Ok(took);
    }
    // Where it failed, what it would take in vain behind that is left alone until it is over it.
    let limit = if place.failures > 0 { 1 } else { limit };
    let kinds = following.follow.kinds();
    let (events, reach) = store::consumer::ahead(sql, world, place.position, kinds, limit)?;
    let app = store::app::slug_of(sql, world.app)?;
    let mut before = place.position;
    for event in &events {
        took.given += 1;
        let Err(failure) = give(sql, &*following.consumer, (&app, world), event)? else {
            before = event.position;
            reached.kept.fetch_add(1, Ordering::AcqRel);
            continue;
        };
        took.failed = true;
        reached.committing.store(true, Ordering::Release);
        if failure.panicked {
            let name = following.name.clone();
            took.alarms.push(Alarm::HookPanicked {
                hook: Hook::Consumer { name },
            });
        }
        place = standing_before(place, event);
        took.alarms
            .extend(fail(sql, world, &mut place, host_now, &failure.why)?);
        return Ok(took);
    }
    reached.committing.store(true, Ordering::Release);
    took.moved = reach.max(before) > place.position;
    if took.moved {
        store::consumer::put(sql, world, &Place::at(&place.name, reach.max(before)))?;
    }
    Ok(took)
}

/// Writes down that the next event cannot be taken, where nothing else of it could be kept.
fn undone(sql: &mut dyn Sql, world: World, following: &Following, host_now: Timestamp, why: &str) -> Result<Took> {
    let mut took = Took::default();
    let mut place = place_of(sql, world, &following.name)?;
    let (events, _) = store::consumer::ahead(sql, world, place.position, following.follow.kinds(), 1)?;
    // Somebody else may have tried it meanwhile.
    if let Some(event) = events.first().filter(|_| due_at(&place, host_now) <= host_now) {
        (took.given, took.failed) = (1, true);
        place = standing_before(place, event);
        took.alarms.extend(fail(sql, world, &mut place, host_now, why)?);
    }
    Ok(took)
}

/// The place right before an event: what stands between is not wanted.
fn standing_before(place: Place, event: &Event) -> Place {
    if event.position - 1 > place.position {
        return Place::at(&place.name, event.position - 1);
    }
    place
}

/// Why a consumer did not take an event.
struct Failure {
    why: String,
    panicked: bool,
}

/// Gives a consumer an event, and undoes what it wrote if it did not take it. After the outer error nothing of
/// the transaction is kept: the file failed, or a statement undid more than the event.
fn give(
    sql: &mut dyn Sql,
    consumer: &dyn Consumer,
    (app, world): (&str, World),
    event: &Event,
) -> Result<Result<(), Failure>> {
    let mut taken = Ok(());
    let mut disk = None;
    let hosted = sql.host(&mut |statements| {
        let mut tx = HostTx::new(statements, app, world.mode);
        // What the error says is said by the host's code as well.
        let called = AssertUnwindSafe(|| consumer.consume(&mut tx, event).map_err(|error| error.to_string()));
        taken = match catch_unwind(called) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(Failure { why, panicked: false }),
            Err(_) => Err(Failure {
                why: "the consumer's code panicked".to_owned(),
                panicked: true,
            }),
        };
        disk = tx.into_failure();
        taken.is_ok()
    });
    // What the disk said first is why the rest failed.
    match disk {
        Some(error) => Err(error),
        None => hosted.map(|()| taken),
    }
}

/// Writes a failure down; an alarm if it is the first in a row.
fn fail(sql: &mut dyn Sql, world: World, place: &mut Place, host_now: Timestamp, why: &str) -> Result<Option<Alarm>> {
    let doublings = u32::try_from(place.failures).unwrap_or(u32::MAX).min(16);
    let rest = (FIRST_REST * 2_u32.pow(doublings)).min(LONGEST_REST);
    place.failures += 1;
    place.failing_since.get_or_insert(host_now);
    place.due_at = host_now.plus(rest);
    place.error = Some(text::kept(why, KEPT));
    store::consumer::put(sql, world, place)?;
    if place.failures > 1 {
        return Ok(None);
    }
    Ok(Some(Alarm::ConsumerFailing {
        app: store::app::slug_of(sql, world.app)?,
        mode: world.mode,
        consumer: place.name.clone(),
        position: place.position + 1,
    }))
}

/// The consumers of an app in a mode: how far each has come.
#[derive(Clone, Copy, Debug)]
pub struct Consumers<'a>(pub(super) &'a App);

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
