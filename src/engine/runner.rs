use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::pace::Patience;
use super::{Budget, Engine};
use crate::alarm::Alarm;
use crate::error::Result;

/// Threads that do what falls due. Dropping it lets them end by themselves; [`Runner::stop`] waits.
#[derive(Debug)]
pub struct Runner {
    engine: Engine,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

const ITEMS: usize = 64;
const NAP: Duration = Duration::from_secs(1);
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(10);

impl Engine {
    /// Starts this many threads (1 to 64) that call `run_due` whenever something is due, until they
    /// are stopped. It is the only call of this crate that starts a thread. An error makes a thread
    /// rest, up to ten seconds, and try again; [`crate::Alarm::RunnerRests`] tells of it.
    #[must_use]
    pub fn spawn_runner(&self, threads: usize) -> Runner {
        let stopping = Arc::new(AtomicBool::new(false));
        let threads = (0..threads.clamp(1, 64))
            .filter_map(|number| {
                let (engine, stopping) = (self.clone(), Arc::clone(&stopping));
                std::thread::Builder::new()
                    .name(format!("tillite-{number}"))
                    .spawn(move || run(&engine, &stopping))
                    .ok()
            })
            .collect();
        Runner {
            engine: self.clone(),
            stopping,
            threads,
        }
    }
}

fn run(engine: &Engine, stopping: &AtomicBool) {
    let mut rest = FIRST_REST;
    while !stopping.load(Ordering::Acquire) {
        // A clock that panics must not end the thread: nobody would notice.
        let worked = catch_unwind(AssertUnwindSafe(|| work(engine)));
        let error = match worked {
            Ok(Ok(())) => {
                rest = FIRST_REST;
                continue;
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        if rest == FIRST_REST {
            engine.core.alarms.tell([Alarm::RunnerRests { error }]);
        }
        take_rest(engine, stopping, rest);
        rest = (rest * 2).min(LONGEST_REST);
    }
}

fn work(engine: &Engine) -> Result<()> {
    match engine.run_due(Budget::items(ITEMS))?.total() {
        0 => engine.wait_due(NAP).map(|_| ()),
        _ => Ok(()),
    }
}

/// Rests as long as it is told, or until it is to stop. Commits do not end it: threads that fail
/// together would wake each other all the time.
fn take_rest(engine: &Engine, stopping: &AtomicBool, rest: Duration) {
    let patience = Patience::of(rest);
    loop {
        let rung = engine.core.bell.count();
        let left = patience.left();
        if left.is_zero() || stopping.load(Ordering::Acquire) {
            return;
        }
        engine.core.bell.wait(rung, left);
    }
}

impl Runner {
    /// How many threads run. Fewer than asked for if the system would not start them all.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Ends the threads after what each is doing, and waits for them as long as it is told, in real
    /// time. True if all have ended. What one was in the middle of is finished, or taken up by
    /// whoever runs next.
    #[must_use]
    pub fn stop(mut self, deadline: Duration) -> bool {
        self.stopping.store(true, Ordering::Release);
        let patience = Patience::of(deadline);
        loop {
            self.engine.core.bell.ring();
            self.threads.retain(|thread| !thread.is_finished());
            if self.threads.is_empty() {
                return true;
            }
            if patience.left().is_zero() {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(5).min(patience.left()));
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.engine.core.bell.ring();
    }
}
