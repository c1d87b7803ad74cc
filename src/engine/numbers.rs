//! Counting what an engine does, for a host's graphs.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Engine;

/// What this engine and its clones have done since it was opened. Other processes count their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Numbers {
    /// Writes that were committed, several of which may have shared a transaction.
    pub commits: u64,
    /// Events that were written.
    pub events: u64,
    /// Calls to processors: charges, refunds, setups, look-ups, callings off.
    pub processor_calls: u64,
    /// Deliveries that were claimed.
    pub claimed: u64,
    /// Deliveries that were accepted.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Deliveries that ran out of attempts.
    pub exhausted: u64,
    /// Claims that were given back without sending.
    pub given_back: u64,
}

/// The same while it is being counted. Each number is right by itself; together they are of about one moment.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) commits: Counter,
    pub(super) events: Counter,
    pub(super) processor_calls: Counter,
    pub(super) claimed: Counter,
    pub(super) delivered: Counter,
    pub(super) failed: Counter,
    pub(super) exhausted: Counter,
    pub(super) given_back: Counter,
}

#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Engine {
    /// What this engine has done since it was opened. Reads no file.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let counted = &self.core.counted;
        Numbers {
            commits: counted.commits.get(),
            events: counted.events.get(),
            processor_calls: counted.processor_calls.get(),
            claimed: counted.claimed.get(),
            delivered: counted.delivered.get(),
            failed: counted.failed.get(),
            exhausted: counted.exhausted.get(),
            given_back: counted.given_back.get(),
        }
    }
}
