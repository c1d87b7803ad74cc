//! Work that falls due: lost calls, look-ups, expiry, lapses, deliveries.

use std::time::Duration;

use super::budget::{Budget, Ran, Work};
use super::pace::Patience;
use super::settling::may_pass;
use super::trace;
use super::{Engine, entitlements, sessions};
use crate::access::Actor;
use crate::error::{Error, Result};
use crate::id::World;
use crate::session::ExpiredReason;
use crate::store;
use crate::time::Timestamp;

/// How many sessions or entitlements are worked on in one transaction.
const BATCH: usize = 32;

/// How many items of one kind of work are done before the next kind has its turn.
const SHARE: usize = BATCH;

/// One kind of work, within a budget.
type Kind = fn(&Engine, Budget, &mut Ran) -> Result<()>;

/// How many deliveries are claimed at once. They are sent one after the other, so it is few.
const CLAIM: usize = 4;

/// How often a waiter looks whether another process has made something due.
const GLANCE: Duration = Duration::from_millis(250);

impl Engine {
    /// Does a bounded amount of what is due, over all apps and both modes, and returns: marks lost
    /// calls as unknown, applies notices, looks up attempts, asks for refunds, closes sessions, writes down
    /// lapses, delivers webhooks and gives events to consumers, in turns ([`Budget`] says how they share); then
    /// makes the deliveries of replays, cancels those of deleted endpoints, and forgets what was kept long enough.
    /// Safe to call from many threads and processes at once; each item is done by one of them, or harmlessly by
    /// two. Idempotent by state: what is done is due no longer.
    ///
    /// # Errors
    /// [`crate::Error::Storage`]; what was done is done, and the other kinds of work were tried.
    ///
    /// # Durability
    /// What was done is on disk when this returns. A process that dies between sending a webhook and
    /// writing that down sends it again.
    ///
    /// # Events
    /// Those of [`Engine::settle`] and [`Engine::acknowledge`]; `checkout.session.expired`;
    /// `entitlement.expired`, `entitlement.updated`.
    pub fn run_due(&self, budget: Budget) -> Result<Ran> {
        let kinds: [(Work, Kind); 6] = [
            (Work::PAYMENTS, Engine::run_recovery),
            (Work::PAYMENTS, Engine::run_notices),
            (Work::PAYMENTS, Engine::run_asks),
            (Work::TIME, Engine::run_time),
            (Work::DELIVERIES, Engine::run_deliveries),
            (Work::CONSUMERS, Engine::run_consumers),
        ];
        let mut ran = Ran::default();
        self.core.ran(self.core.clock.now());
        let mut all = Ok(());
        let mut failing = Work::NONE;
        let mut working = kinds.to_vec();
        working.retain(|(work, _)| budget.work.has(*work));
        while let Some(left) = self.left(budget, ran) {
            let done_before = ran.total();
            let share = left.checked_div(working.len()).unwrap_or(0).clamp(1, SHARE);
            // One kind of work that fails does not keep the others from being done, nor the rest of its own as
            // long as it comes on. But while the file fails, nothing more is asked of a processor: the answer
            // could not be kept.
            working.retain(|(work, kind)| {
                if failing.has(*work) {
                    return false;
                }
                let part = budget.part(ran, share);
                let before = ran.total();
                let done = kind(self, part, &mut ran);
                if matches!(&done, Err(Error::Storage(error)) if may_pass(error.kind)) {
                    failing = failing | *work;
                }
                let goes_on = done.is_ok() || ran.total() > before;
                if all.is_ok() {
                    all = done;
                }
                goes_on
            });
            if ran.total() == done_before {
                break;
            }
        }
        let answer = all
            .and(self.run_replays(budget, &mut ran))
            .and(self.run_retention(budget, &mut ran))
            .map(|()| ran);
        trace::ran(&answer);
        answer
    }

    fn run_recovery(&self, budget: Budget, ran: &mut Ran) -> Result<()> {
        if let Some(left) = self.left(budget, *ran) {
            ran.recovered += self.recover(left)?;
        }
        Ok(())
    }

    fn run_notices(&self, budget: Budget, ran: &mut Ran) -> Result<()> {
        match self.left(budget, *ran) {
            Some(left) => self.apply_notices(left, &mut ran.notified),
            None => Ok(()),
        }
    }

    fn run_asks(&self, budget: Budget, ran: &mut Ran) -> Result<()> {
        while let Some(left) = self.left(budget, *ran) {
            let asks = self.claim_asks(left.min(1))?;
            if asks.is_empty() {
                break;
            }
            for ask in asks {
                self.core.ask_and_settle(&ask)?;
                ran.looked_up += 1;
            }
        }
        Ok(())
    }

    fn run_time(&self, budget: Budget, ran: &mut Ran) -> Result<()> {
        for world in self.core.store.read(store::app::worlds)? {
            while let Some(left) = self.left(budget, *ran) {
                let batch = left.min(BATCH);
                let expired = self.expire_overdue(world, batch)?;
                let lapsed = self.write_lapses(world, batch)?;
                let called_off = self.call_off_lapsed(world, batch)?;
                ran.expired += expired;
                ran.lapsed += lapsed;
                ran.called_off += called_off;
                if expired + lapsed + called_off == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn run_deliveries(&self, budget: Budget, ran: &mut Ran) -> Result<()> {
        while let Some(left) = self.left(budget, *ran) {
            let done = self.deliver(left.min(CLAIM))?;
            ran.delivered += done.accepted;
            ran.undelivered += done.failed;
            // Who was kept waiting by a receiver lets the other kinds of work have their turn.
            if done.was_slow || done.accepted + done.failed == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Waits until something is due, at most as long as it is told, in real time. True if something
    /// is. Commits of this process are noticed at once, those of others within 250 ms.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub fn wait_due(&self, timeout: Duration) -> Result<bool> {
        self.wait_due_for(self.own_work(), timeout)
    }

    /// Waits until some of this kind of work is due, for a host that does part of the work itself:
    /// deliveries count without a transport too. Otherwise as [`Engine::wait_due`].
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub fn wait_due_for(&self, work: Work, timeout: Duration) -> Result<bool> {
        let patience = Patience::of(timeout);
        let mut seen = None;
        let mut next = None;
        loop {
            let rung = self.core.bell.count();
            let commits = (rung, self.core.store.backend().commits_seen()?);
            if seen != Some(commits) {
                seen = Some(commits);
                next = self.next_due_for(work)?;
            }
            let host_now = self.core.clock.now();
            if next.is_some_and(|due| due <= host_now) {
                return Ok(true);
            }
            let left = patience.left();
            if left.is_zero() {
                return Ok(false);
            }
            let until_due = next.map_or(GLANCE, |due| due.since(host_now));
            self.core.bell.wait(rung, left.min(until_due).min(GLANCE));
        }
    }

    /// Host time at which something is next due; none if nothing ever is unless something happens.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub fn next_due(&self) -> Result<Option<Timestamp>> {
        self.next_due_for(self.own_work())
    }

    /// What `run_due` of this engine can do.
    fn own_work(&self) -> Work {
        match self.core.transport {
            Some(_) => Work::ALL,
            None => Work::PAYMENTS | Work::TIME | Work::RETENTION | Work::CONSUMERS | Work::REPLAYS,
        }
    }

    fn next_due_for(&self, work: Work) -> Result<Option<Timestamp>> {
        let host_now = self.core.clock.now();
        let mut earliest: Option<Timestamp> = None;
        for world in self.core.store.read(store::app::worlds)? {
            let processors = &self.core.processors(world.mode).by_name;
            let mut sealed = Vec::new();
            let found = self.core.view(world, |view| {
                // Engine time runs with the host's; what is due in so long there is due in so long
                // here.
                let now = view.now;
                let on_host = |at: Timestamp| host_now.plus(at.since(now));
                let mut due = Vec::new();
                if work.has(Work::TIME) {
                    due.extend(store::session::next_expiry(view.sql, view.world)?.map(on_host));
                    due.extend(store::entitlement::next_lapse(view.sql, view.world)?.map(on_host));
                    due.extend(store::payment::next_lapse(view.sql, view.world)?.map(on_host));
                    due.extend(store::setup::next_lapse(view.sql, view.world)?.map(on_host));
                }
                if work.has(Work::PAYMENTS) {
                    due.extend(store::attempt::next_due(view.sql, view.world, |name| {
                        processors.contains_key(name)
                    })?);
                    due.extend(store::notice::next_due(view.sql, view.world)?);
                }
                if work.has(Work::REPLAYS) {
                    let replay = store::replay::next(view.sql, view.world)?;
                    due.extend(replay.map(|_| host_now));
                }
                if work.has(Work::RETENTION) {
                    let canceling = store::delivery::canceling(view.sql, view.world)?;
                    due.extend(canceling.map(|_| host_now));
                    due.extend(store::idempotency::next_end(view.sql, view.world)?);
                    for rounds in store::retention::Rounds::ALL {
                        due.extend(store::retention::next_look(view.sql, view.world, rounds, host_now)?);
                    }
                }
                if work.has(Work::DELIVERIES) {
                    let (next, shut) = self.core.next_claimable(view.sql, view.world, host_now)?;
                    due.extend(next);
                    sealed = shut;
                }
                if work.has(Work::CONSUMERS) {
                    due.extend(self.core.followers.next_due(view.sql, view.world, host_now)?);
                }
                Ok(due.into_iter().min())
            })?;
            self.core.tell_sealed(world, sealed)?;
            earliest = earliest.into_iter().chain(found).min();
        }
        Ok(earliest)
    }

    /// How much is left of a budget now; none if it is used up or its time has passed.
    pub(super) fn left(&self, budget: Budget, ran: Ran) -> Option<usize> {
        budget.left(ran, self.core.clock.now())
    }

    fn expire_overdue(&self, world: World, limit: usize) -> Result<usize> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let any = self
            .core
            .view(world, |view| store::session::overdue(view.sql, view.world, view.now, 1))?;
        if any.is_empty() {
            return Ok(0);
        }
        let moment = self.core.moment(world, Actor::Runner, "run_due.expiry")?;
        self.core.write_alone(moment, move |tx| {
            // Chosen in the write: somebody may have paid one of them since it was looked at.
            let overdue = store::session::overdue(tx.sql, tx.world, tx.now, limit)?;
            for id in &overdue {
                sessions::expire(tx, id, ExpiredReason::Timeout)?;
            }
            Ok(overdue.len())
        })
    }

    fn write_lapses(&self, world: World, limit: usize) -> Result<usize> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let any = self.core.view(world, |view| {
            store::entitlement::lapsed(view.sql, view.world, view.now, 1)
        })?;
        if any.is_empty() {
            return Ok(0);
        }
        let moment = self.core.moment(world, Actor::Runner, "run_due.lapse")?;
        self.core.write_alone(moment, move |tx| {
            let lapsed = store::entitlement::lapsed(tx.sql, tx.world, tx.now, limit)?;
            let count = lapsed.len();
            for holding in lapsed {
                entitlements::lapse(tx, holding)?;
            }
            Ok(count)
        })
    }
}
