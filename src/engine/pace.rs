//! Waiting: where threads sleep and park. A waiter is woken by this process's own commits.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::store::Pace;

/// The operating system's monotonic time and its threads.
pub(super) struct RealPace(Instant);

impl RealPace {
    pub(super) fn new() -> RealPace {
        RealPace(Instant::now())
    }
}

impl Pace for RealPace {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn park(&self, at_most: Duration) {
        std::thread::park_timeout(at_most);
    }

    fn wake(&self, thread: &Thread) {
        thread.unpark();
    }
}

/// A bell that commits ring and waiters hear.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<u64>,
    heard: Condvar,
}

impl Bell {
    /// Wakes everybody who waits.
    pub(super) fn ring(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = rung.wrapping_add(1);
        self.heard.notify_all();
    }

    /// How often it has rung; to be passed to [`Bell::wait`].
    pub(super) fn count(&self) -> u64 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it rings again, or as long as it is told.
    pub(super) fn wait(&self, since: u64, at_most: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let unheard = |rung: &mut u64| *rung == since;
        let _ = self.heard.wait_timeout_while(rung, at_most, unheard);
    }
}

/// How much of a waiting time is left.
pub(super) struct Patience {
    until: Option<Instant>,
}

impl Patience {
    pub(super) fn of(timeout: Duration) -> Patience {
        Patience {
            until: Instant::now().checked_add(timeout),
        }
    }

    /// What is left; zero when it is over.
    pub(super) fn left(&self) -> Duration {
        self.until
            .map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
    }
}
