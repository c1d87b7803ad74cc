//! Waiting, as the store needs it: it decides when a batch ends, never what is written.

use std::thread::Thread;
use std::time::Duration;

/// Monotonic time and the putting to sleep of threads. The engine supplies it.
pub(crate) trait Pace: Send + Sync {
    /// Time since some moment; it never goes back.
    fn now(&self) -> Duration;

    /// Blocks the calling thread for as long as this.
    fn sleep(&self, time: Duration);

    /// Blocks the calling thread until it is woken, at most as long as this. It may return early; a
    /// wake that came before is not lost.
    fn park(&self, at_most: Duration);

    /// Wakes a thread that parks, or that parks next.
    fn wake(&self, thread: &Thread);
}

/// A pace for tests: its time passes only where somebody sleeps or turns it.
#[cfg(any(test, feature = "testing"))]
#[derive(Default)]
pub(crate) struct ByHand(std::sync::atomic::AtomicU64);

#[cfg(any(test, feature = "testing"))]
impl ByHand {
    pub(crate) fn turn(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.0.fetch_add(micros, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(any(test, feature = "testing"))]
impl Pace for ByHand {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }

    fn sleep(&self, time: Duration) {
        self.turn(time);
    }

    fn park(&self, _at_most: Duration) {
        // Long enough not to spin; whatever it is waiting for is looked at again.
        std::thread::park_timeout(Duration::from_millis(1));
    }

    fn wake(&self, thread: &Thread) {
        thread.unpark();
    }
}
