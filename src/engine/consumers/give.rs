//! Events are given to consumers, batch by batch, and what came of it is written down.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::{Budget, Engine, Ran, trace};
use super::{LONGEST_REST, due_at, place_of};
use crate::alarm::{Alarm, Hook};
use crate::consumer::{Consumer, Following, HostTx};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::id::World;
use crate::store::consumer::Place;
use crate::store::{self, Access, Sql};
use crate::text;
use crate::time::Timestamp;

/// The most events that are taken in one transaction: everybody else who writes waits for it.
const BATCH: usize = 32;

/// How long a consumer that failed is left alone at first.
const FIRST_REST: Duration = Duration::from_secs(1);

/// How much is kept of what a failure says.
const KEPT: usize = 500;

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
    /// Has consumers take events. They have their turns one after the other, each in one world.
    pub(in crate::engine) fn run_consumers(&self, budget: Budget, ran: &mut Ran) -> Result<()> {
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
                // What the consumer itself said of it says more than what came of that.
                let failure = reached.failure().take().unwrap_or(Failure { why, panicked: false });
                return self.core.write_raw(Access::Alone, "run_due.consumers", move |sql| {
                    undone(sql, world, &failing, host_now, &failure)
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
    /// Whether it took all that it was given, so that what is left is the commit.
    committing: AtomicBool,
    /// Why it did not take the one behind them.
    failure: Mutex<Option<Failure>>,
}

impl Reached {
    /// With how many events a batch of up to `limit` is tried again: with those before the one that undid it.
    /// Which one a commit was refused for nobody says, so it is looked for by halves. None are left if it is
    /// the first. One that the consumer did not take is the likely one.
    fn below(&self, limit: u32) -> u32 {
        let kept = self.kept.load(Ordering::Acquire);
        let is_at_commit = self.committing.load(Ordering::Acquire);
        let fewer = if is_at_commit { kept / 2 } else { kept };
        fewer.min(limit.saturating_sub(1))
    }

    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        took.alarms.extend(failure.alarm(following));
        place = standing_before(place, event);
        took.alarms
            .extend(fail(sql, world, &mut place, host_now, &failure.why)?);
        *reached.failure() = Some(failure);
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
fn undone(
    sql: &mut dyn Sql,
    world: World,
    following: &Following,
    host_now: Timestamp,
    failure: &Failure,
) -> Result<Took> {
    let mut took = Took::default();
    let mut place = place_of(sql, world, &following.name)?;
    let (events, _) = store::consumer::ahead(sql, world, place.position, following.follow.kinds(), 1)?;
    // Somebody else may have tried it meanwhile.
    if let Some(event) = events.first().filter(|_| due_at(&place, host_now) <= host_now) {
        (took.given, took.failed) = (1, true);
        took.alarms.extend(failure.alarm(following));
        place = standing_before(place, event);
        took.alarms
            .extend(fail(sql, world, &mut place, host_now, &failure.why)?);
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

impl Failure {
    fn alarm(&self, following: &Following) -> Option<Alarm> {
        let name = following.name.clone();
        self.panicked.then_some(Alarm::HookPanicked {
            hook: Hook::Consumer { name },
        })
    }
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
