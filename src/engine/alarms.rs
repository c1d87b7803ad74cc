//! Telling the host what somebody has to look at, and catching what its own code throws.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::core::Core;
use crate::alarm::{Alarm, Hook};
use crate::error::{Error, Result, StorageKind};
use crate::id::EndpointId;

/// How deep callbacks stand in each other at most. One whose calls bring about an alarm each time,
/// as on a disk that fails, would otherwise never come to an end.
const DEEPEST: u32 = 4;

thread_local! {
    /// In how many callbacks this thread is.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// The host's callback, and what it was told that is to be told once.
#[derive(Default)]
pub(super) struct Alarms {
    callback: Option<Box<OnAlarm>>,
    sealed: Mutex<BTreeSet<EndpointId>>,
    /// The host knows that the log is not worked into the file.
    log_kept: AtomicBool,
}

/// What the host does with an alarm.
pub(super) type OnAlarm = dyn Fn(&Alarm) + Send + Sync;

impl Alarms {
    pub(super) fn to(callback: Option<Box<OnAlarm>>) -> Alarms {
        Alarms {
            callback,
            ..Alarms::default()
        }
    }

    /// Tells the host, of all in order.
    pub(super) fn tell(&self, alarms: impl IntoIterator<Item = Alarm>) {
        let Some(callback) = &self.callback else {
            return;
        };
        for alarm in alarms {
            let depth = INSIDE.get();
            if depth >= DEEPEST {
                return;
            }
            INSIDE.set(depth + 1);
            // There is nobody left to tell that this one panicked.
            let _ = catch_unwind(AssertUnwindSafe(|| callback(&alarm)));
            INSIDE.set(depth);
        }
    }

    /// Whether it is new that an endpoint's secret does not open.
    pub(super) fn is_newly_sealed(&self, endpoint: &EndpointId) -> bool {
        let mut sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        sealed.insert(endpoint.clone())
    }
}

impl Core {
    /// The alarm that the log is not worked into the file any more, once.
    pub(super) fn log_is_kept(&self) -> Option<Alarm> {
        let error = self.store.backend().log_failure()?;
        let is_known = self.alarms.log_kept.swap(true, Ordering::SeqCst);
        (!is_known).then_some(Alarm::LogKept { error })
    }
}

/// Notes an alarm for later, once.
pub(super) fn note(alarms: &mut Vec<Alarm>, alarm: Alarm) {
    if !alarms.contains(&alarm) {
        alarms.push(alarm);
    }
}

/// The alarm of an answer that nobody knows the outcome of.
pub(super) fn in_doubt<T>(doing: &'static str, answer: &Result<T>) -> Option<Alarm> {
    match answer {
        Err(Error::Storage(error)) if error.kind == StorageKind::OutcomeUnknown => Some(Alarm::CommitUnknown {
            doing,
            error: error.clone(),
        }),
        _ => None,
    }
}

/// Calls the host's code. A panic in it ends here and is worth an alarm.
pub(super) fn shielded<T>(hook: impl FnOnce() -> Hook, call: impl FnOnce() -> T) -> Result<T, Alarm> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Alarm::HookPanicked { hook: hook() })
}
