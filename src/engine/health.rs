use std::sync::atomic::Ordering;

use super::Engine;
use crate::error::Result;
use crate::store;
use crate::time::Timestamp;

/// How an engine is doing, over all apps and both modes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Host time of this process's newest `run_due`; none if it never ran here.
    pub last_run_due: Option<Timestamp>,
    /// Host time since which a delivery has been due; none if none is overdue.
    pub oldest_overdue_delivery: Option<Timestamp>,
    /// Charges whose outcome is awaited.
    pub open_charges: u64,
    /// Charges among them that look-ups could not resolve: somebody has to look.
    pub unresolved_charges: u64,
    /// Charges whose money settled nothing and waits for a decision; 100 stands for more.
    pub held_charges: u64,
    /// Endpoints whose secret this engine cannot open; their deliveries wait.
    pub sealed_endpoints: u64,
    /// Whether there is a transport to deliver with.
    pub has_transport: bool,
    /// Bytes in the write-ahead log.
    pub wal_bytes: u64,
}

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
            ..Health::default()
        };
        for world in core.store.read(store::app::worlds)? {
            let sealed = core.store.read(|sql| {
                let (open, unresolved) = store::payment::open_attempts(sql, world)?;
                health.open_charges += u64::try_from(open).unwrap_or(0);
                health.unresolved_charges += u64::try_from(unresolved).unwrap_or(0);
                health.held_charges += store::payment::held(sql, world, "", 100)?.len() as u64;
                let due = store::queue::next_due(sql, world)?.filter(|due| *due <= host_now);
                health.oldest_overdue_delivery = health.oldest_overdue_delivery.into_iter().chain(due).min();
                store::endpoint::all_sealed(sql, world)
            })?;
            health.sealed_endpoints += sealed
                .iter()
                .filter(|(endpoint, secret)| core.open_secret(endpoint, secret).is_none())
                .count() as u64;
        }
        Ok(health)
    }
}
