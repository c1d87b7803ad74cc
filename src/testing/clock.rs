use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::hook::Clock;
use crate::time::Timestamp;

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000;

/// A clock that stands still until it is turned. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> ManualClock {
        ManualClock(Arc::new(AtomicI64::new(START)))
    }

    /// Turns it forward, to the millisecond.
    pub fn turn(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.move_by(by);
    }

    /// Turns it back, as a correction from the network does.
    pub fn turn_back(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.move_by(-by);
    }
}

impl ManualClock {
    fn move_by(&self, millis: i64) {
        let moved = |now: i64| Some(now.saturating_add(millis));
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        ManualClock::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis_clamped(self.0.load(Ordering::SeqCst))
    }
}
