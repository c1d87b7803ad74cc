//! What every handle shares: the store, the hooks, and the making of moments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::alarms::{Alarms, in_doubt, note};
use super::consumers::Followers;
use super::numbers::Counters;
use super::outbox::Piles;
use super::pace::Bell;
use super::trace;
use crate::access::Actor;
use crate::alarm::Alarm;
use crate::entitlement::Entitlement;
use crate::error::{Error, Result};
use crate::hook::{Clock, Entropy, Processor, RouteInput, Transport};
use crate::id::{Mint, Mode, World};
use crate::seal::SealKey;
use crate::store::{Access, Asked, Moment, Pace, Shown, Sql, Store, Tx, View};
use crate::time::Timestamp;

/// A rule that names the processor of a payment.
pub(super) type Route = dyn Fn(&RouteInput) -> String + Send + Sync;

/// The processors of one mode.
#[derive(Default)]
pub(super) struct Processors {
    pub(super) by_name: BTreeMap<String, Arc<dyn Processor>>,
    /// The one that takes payments unless a route says otherwise.
    pub(super) first: Option<String>,
}

pub(super) struct Core {
    pub(super) store: Store,
    /// Waiting, where it is not for something to fall due.
    pub(super) pace: Arc<dyn Pace>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) live: Processors,
    pub(super) test: Processors,
    pub(super) route: Option<Box<Route>>,
    pub(super) resolved_by_hand: BTreeSet<String>,
    pub(super) transport: Option<Arc<dyn Transport>>,
    pub(super) followers: Followers,
    pub(super) seal: Option<Arc<SealKey>>,
    pub(super) piles: Piles,
    /// How long an idempotency key is kept.
    pub(super) keep_keys: Duration,
    pub(super) bell: Bell,
    pub(super) alarms: Alarms,
    /// Engine time that readers have been shown.
    pub(super) shown: Arc<Shown>,
    /// Host time of the newest `run_due`, or -1.
    pub(super) last_run: AtomicI64,
    pub(super) counted: Counters,
}

impl Core {
    /// A mint for one verb's ids.
    pub(super) fn mint(&self) -> Result<Mint> {
        let mut seed = [0; 32];
        self.entropy.fill(&mut seed).map_err(|_| Error::NoEntropy)?;
        Ok(Mint::new(seed, self.clock.now()))
    }

    /// A random number that fences a claim; never zero or negative.
    pub(super) fn token(&self) -> Result<i64> {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes).map_err(|_| Error::NoEntropy)?;
        Ok((i64::from_be_bytes(bytes) & i64::MAX).max(1))
    }

    pub(super) fn moment(&self, world: World, actor: Actor, cause: &'static str) -> Result<Moment> {
        Ok(Moment {
            world,
            host_now: self.clock.now(),
            shown: Arc::clone(&self.shown),
            mint: self.mint()?,
            actor,
            cause,
            keep_keys: self.keep_keys,
        })
    }

    /// Runs a command in a world and wakes whoever waits for what it made due.
    pub(super) fn write<T: Send + 'static>(
        &self,
        moment: Moment,
        command: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_as(Access::Shared, moment, command)
    }

    /// The same in a transaction of its own, for a command that does much.
    pub(super) fn write_alone<T: Send + 'static>(
        &self,
        moment: Moment,
        command: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_as(Access::Alone, moment, command)
    }

    fn write_as<T: Send + 'static>(
        &self,
        access: Access,
        moment: Moment,
        command: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut alarms = Vec::new();
        let answer = self.write_noting(access, moment, &mut alarms, command);
        self.alarms.tell(alarms);
        answer
    }

    /// The same, for a caller that tells of it later: what somebody has to look at is noted, once.
    pub(super) fn write_noting<T: Send + 'static>(
        &self,
        access: Access,
        moment: Moment,
        alarms: &mut Vec<Alarm>,
        mut command: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (doing, world) = (moment.cause, moment.world);
        let answer = self.store.write(access, moment, move |tx| {
            let value = command(tx)?;
            Ok((value, tx.events()))
        });
        trace::verb(doing, Some(world), &answer);
        self.bell.ring();
        for alarm in in_doubt(doing, &answer).into_iter().chain(self.log_is_kept()) {
            note(alarms, alarm);
        }
        answer.map(|((value, events), raised)| {
            self.counted.commits.add(1);
            self.counted.events.add(events);
            alarms.extend(raised);
            value
        })
    }

    /// Runs a command outside any world, or one that moves none.
    pub(super) fn write_raw<T: Send + 'static>(
        &self,
        access: Access,
        doing: &'static str,
        command: impl FnMut(&mut dyn Sql) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut alarms = Vec::new();
        let answer = self.write_raw_noting(access, doing, &mut alarms, command);
        self.alarms.tell(alarms);
        answer
    }

    /// The same, for a caller that tells of it later: what somebody has to look at is noted, once.
    pub(super) fn write_raw_noting<T: Send + 'static>(
        &self,
        access: Access,
        doing: &'static str,
        alarms: &mut Vec<Alarm>,
        command: impl FnMut(&mut dyn Sql) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let answer = self.store.write_raw(access, command);
        trace::verb(doing, None, &answer);
        for alarm in in_doubt(doing, &answer).into_iter().chain(self.log_is_kept()) {
            note(alarms, alarm);
        }
        self.counted.commits.add(usize::from(answer.is_ok()));
        answer
    }

    pub(super) fn view<T>(&self, world: World, query: impl FnOnce(&mut View<'_>) -> Result<T>) -> Result<T> {
        self.store.view(world, self.clock.now(), &self.shown, query)
    }

    /// What a uid may use in a line now.
    pub(super) fn entitled(&self, world: World, uid: &str, line: &str) -> Result<Entitlement> {
        self.store.entitled(Asked {
            world,
            uid,
            line,
            host_now: self.clock.now(),
            shown: &self.shown,
        })
    }

    pub(super) fn processors(&self, mode: Mode) -> &Processors {
        match mode {
            Mode::Test => &self.test,
            Mode::Live => &self.live,
        }
    }

    pub(super) fn processor(&self, mode: Mode, name: &str) -> Option<&Arc<dyn Processor>> {
        self.processors(mode).by_name.get(name)
    }

    /// Marks that due work was done.
    pub(super) fn ran(&self, at: Timestamp) {
        self.last_run.store(at.as_millis(), Ordering::Relaxed);
    }
}
