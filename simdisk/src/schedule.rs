//! Where a simulation may let somebody else run.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::registry::{Shared, locked};

/// What SQLite is about to do with the disk when a schedule is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Point {
    /// Write to a file.
    Write,
    /// Change a file's length.
    Truncate,
    /// Sync a file.
    Sync,
    /// Delete a file.
    Delete,
    /// Ask for a lock on a file.
    Lock,
    /// Give up a lock on a file.
    Unlock,
    /// Ask for a lock in the shared memory beside a write-ahead log.
    SharedLock,
    /// Give up a lock in shared memory.
    SharedUnlock,
    /// Wait, because somebody else has the lock that is wanted. Nothing changes unless somebody else
    /// runs now.
    Sleep,
}

type Callback = dyn Fn(Point) + Send + Sync;

/// The callback of a disk, if it has one.
#[derive(Default)]
pub(crate) struct Schedule {
    /// So that a disk without a callback pays one load.
    installed: AtomicBool,
    callback: Mutex<Option<Arc<Callback>>>,
}

thread_local! {
    /// SQLite sleeps without saying on which disk. It sleeps because a lock was refused, so it is taken
    /// to be the disk with a schedule on which this thread asked for a lock last.
    static ASKED_LAST: RefCell<Weak<Shared>> = const { RefCell::new(Weak::new()) };
}

impl Schedule {
    pub(crate) fn set(&self, callback: Option<Arc<Callback>>) {
        let mut slot = locked(&self.callback);
        self.installed.store(callback.is_some(), Ordering::Release);
        *slot = callback;
    }

    fn reach(&self, point: Point) {
        // Called without a lock: it may run for long, and on other connections to this disk.
        let callback = locked(&self.callback).clone();
        if let Some(callback) = callback {
            callback(point);
        }
    }
}

/// Asks the disk's schedule. The device is not locked.
pub(crate) fn reach(disk: &Arc<Shared>, point: Point) {
    if !disk.schedule.installed.load(Ordering::Acquire) {
        return;
    }
    if matches!(point, Point::Lock | Point::SharedLock) {
        // A thread that is ending sleeps nowhere.
        let _ = ASKED_LAST.try_with(|last| last.replace(Arc::downgrade(disk)));
    }
    disk.schedule.reach(point);
}

/// Gives the turn away on the disk where this thread asked for a lock last; without a schedule there,
/// nothing happens and no time passes.
pub(crate) fn sleep() {
    // Gone while the thread ends is as good as never asked.
    let last = ASKED_LAST.try_with(|last| last.borrow().upgrade()).ok().flatten();
    if let Some(disk) = last {
        disk.schedule.reach(Point::Sleep);
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Schedule")
            .field("installed", &self.installed)
            .finish_non_exhaustive()
    }
}
