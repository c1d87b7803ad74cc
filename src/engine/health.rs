use std::sync::atomic::Ordering;

use super::Engine;
use super::operator::idle_since;
use crate::error::{Result, StorageError};
use crate::store;
use crate::time::Timestamp;

/// How an engine is doing, over all apps and both modes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Host time of this process's newest `run_due`; none if it never ran here.
    pub last_run_due: Option<Timestamp>,
    /// Host time since which something has been due that `run_due` does, be it in another process:
    /// a lost call, a notice, a look-up, an expiry, a lapse, what is to be called off, a delivery; none if
    /// nothing is overdue.
    pub oldest_due: Option<Timestamp>,
    /// Host time since which a delivery to an enabled endpoint has been due; none if none is overdue. It counts
    /// those too that wait with reason: the endpoint asked to be left alone, takes so many at once or one in so
    /// long, or its secret does not open ([`Health::sealed_endpoints`]).
    pub oldest_overdue_delivery: Option<Timestamp>,
    /// Deliveries that wait for their next attempt to an endpoint that is enabled or suspended; not those that are
    /// blocked by another one about the same object. 1,000 in an app and mode stand for more.
    pub pending_deliveries: u64,
    /// Deliveries to such endpoints that somebody sends, or died sending; 1,000 in an app and mode stand for more.
    pub deliveries_in_flight: u64,
    /// Enabled endpoints that have accepted nothing since a failure.
    pub failing_endpoints: u64,
    /// Charges, refunds and setups whose outcome is awaited.
    pub open_charges: u64,
    /// Attempts of charges, refunds and setups that somebody has to decide about, as many as
    /// [`crate::App::unresolved`] lists in all: of which the last eight look-ups said nothing, that cannot
    /// be looked up or do not get through, or that went over another amount. What the processor says is
    /// pending is none of them.
    pub unresolved_charges: u64,
    /// Charges whose money settled nothing and waits for a decision, as many as
    /// [`crate::App::held_charges`] lists; 100 stands for more. A charge that went over another amount is
    /// in both.
    pub held_charges: u64,
    /// Endpoints whose secret this engine cannot open; their deliveries wait.
    pub sealed_endpoints: u64,
    /// Consumers that fail, counted in each app and mode: [`crate::App::consumers`] says at what.
    pub failing_consumers: u64,
    /// Whether there is a transport to deliver with.
    pub has_transport: bool,
    /// Bytes in the write-ahead log.
    pub wal_bytes: u64,
    /// Why the write-ahead log is not worked into the file any more; none if it is. See
    /// [`crate::Alarm::LogKept`].
    pub log_failure: Option<StorageError>,
}

/// How many deliveries of a world are counted.
const COUNTED: u32 = 1_000;

impl Engine {
    /// How the engine is doing.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub fn health(&self) -> Result<Health> {
        let core = &self.core;
        let host_now = core.clock.now();
        let last_run = core.last_run.load(Ordering::Relaxed);
        let mut health = Health {
            last_run_due: Timestamp::from_millis(last_run).ok(),
            has_transport: core.transport.is_some(),
            wal_bytes: core.store.backend().wal_bytes(),
            log_failure: core.store.backend().log_failure(),
            ..Health::default()
        };
        for world in core.store.read(store::app::worlds)? {
            let stored = core.view(world, |view| {
                let (now, sql) = (view.now, &mut *view.sql);
                // Engine time runs with the host's; how long ago it was there it was here.
                let on_host = |at: Timestamp| {
                    let ago = i64::try_from(now.since(at).as_millis()).unwrap_or(i64::MAX);
                    Timestamp::from_millis_clamped(host_now.as_millis().saturating_sub(ago))
                };
                let expiry = store::session::next_expiry(sql, world)?.filter(|at| *at <= now);
                let lapse = store::entitlement::next_lapse(sql, world)?.filter(|at| *at <= now);
                let charges = store::payment::next_lapse(sql, world)?.filter(|at| *at <= now);
                let setups = store::setup::next_lapse(sql, world)?.filter(|at| *at <= now);
                let of_payments = store::attempt::next_due(sql, world, |_| true)?.filter(|due| *due <= host_now);
                let of_notices = store::notice::next_due(sql, world)?.filter(|due| *due <= host_now);
                health.open_charges += store::attempt::open_attempts(sql, world)?;
                health.unresolved_charges += store::attempt::count_unresolved(sql, world, idle_since(host_now))?;
                health.held_charges += store::payment::held(sql, world, "", 100)?.len() as u64;
                health.failing_consumers += store::consumer::failing(sql, world)?;
                let due = store::outbox::next_due(sql, world, host_now)?.filter(|due| *due <= host_now);
                health.oldest_overdue_delivery = health.oldest_overdue_delivery.into_iter().chain(due).min();
                let load = store::outbox::load(sql, world, COUNTED)?;
                health.pending_deliveries += load.pending;
                health.deliveries_in_flight += load.in_flight;
                health.failing_endpoints += load.failing;
                let all = [
                    expiry.map(on_host),
                    lapse.map(on_host),
                    charges.map(on_host),
                    setups.map(on_host),
                    of_payments,
                    of_notices,
                    due,
                    health.oldest_due,
                ];
                health.oldest_due = all.into_iter().flatten().min();
                store::endpoint::all_sealed(sql, world, host_now)
            })?;
            health.sealed_endpoints += core.count_sealed(&stored) as u64;
        }
        Ok(health)
    }
}
