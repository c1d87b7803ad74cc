//! From the number in a path to the disk.
//!
//! SQLite knows one VFS by its name and says paths to it; the paths say which disk is meant. The
//! registry holds disks weakly: a disk lives as long as somebody has a [`Disk`](crate::Disk) or a
//! connection to it, and takes itself off the list.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::device::Device;
use crate::schedule::Schedule;

/// A disk, shared by its handles and its open files.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Zero for a disk that no path leads to.
    pub(crate) number: u64,
    device: Mutex<Device>,
    pub(crate) schedule: Schedule,
}

static DISKS: Mutex<BTreeMap<u64, Weak<Shared>>> = Mutex::new(BTreeMap::new());

impl Shared {
    /// A disk that paths lead to.
    pub(crate) fn listed(device: Device) -> Arc<Shared> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let disk = Arc::new(Shared::new(number, device));
        locked(&DISKS).insert(number, Arc::downgrade(&disk));
        disk
    }

    /// A disk of its own for a file without a name, which is a temporary one.
    pub(crate) fn private() -> Arc<Shared> {
        Arc::new(Shared::new(0, Device::new(0)))
    }

    fn new(number: u64, device: Device) -> Shared {
        Shared {
            number,
            device: Mutex::new(device),
            schedule: Schedule::default(),
        }
    }

    pub(crate) fn find(number: u64) -> Option<Arc<Shared>> {
        locked(&DISKS).get(&number)?.upgrade()
    }

    pub(crate) fn device(&self) -> MutexGuard<'_, Device> {
        locked(&self.device)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        locked(&DISKS).remove(&self.number);
    }
}

/// A panic elsewhere leaves a device between two operations, never within one.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a path still leads somewhere.
#[cfg(test)]
pub(crate) fn is_listed(number: u64) -> bool {
    locked(&DISKS).contains_key(&number)
}
