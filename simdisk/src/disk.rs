//! The disk, as a simulation sees it.

use std::fmt;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use crate::device::{Device, Stats, Survive};
use crate::fault::Fault;
use crate::handle::host_path;
use crate::registry::Shared;
use crate::schedule::Point;
use crate::vfs;

/// A disk in memory. Clones are the same disk; it lives until the last clone and the last connection
/// to it are gone.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

impl Disk {
    /// An empty disk. The seed decides what a [`Survive::Random`] reboot and a failing sync spare.
    #[must_use]
    pub fn new(seed: u64) -> Disk {
        vfs::register();
        Disk(Shared::listed(Device::new(seed)))
    }

    /// Another disk with the files of this one as they are read now, all of it on its medium. The two
    /// share what neither changes, so this is the cheap way to begin from a database that is set up.
    ///
    /// Copy a disk while nothing has it open: a write-ahead log is copied as it stands.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Disk {
        let copy = self.0.device().copy(seed);
        Disk(Shared::listed(copy))
    }

    /// The name of the VFS that SQLite reaches every disk by.
    #[must_use]
    pub fn vfs() -> &'static str {
        vfs::register();
        vfs::NAME
    }

    /// The path of a file on this disk, for [`Connection::open_with_flags_and_vfs`]. It stays the
    /// same over reboots, and no two disks of a process have the same.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        host_path(self.0.number, name)
    }

    /// Opens or creates a database with the default flags.
    ///
    /// # Errors
    /// What SQLite says: for example if the power is off.
    pub fn open(&self, name: &str) -> rusqlite::Result<Connection> {
        Connection::open_with_flags_and_vfs(self.path(name), OpenFlags::default(), Disk::vfs())
    }
}

/// What goes wrong.
impl Disk {
    /// Plans a fault for when `operations` more operations were done: zero is the next one. What
    /// counts is creating, writing, truncating, syncing and deleting.
    pub fn fault_after(&self, operations: u64, fault: Fault) {
        let mut device = self.0.device();
        let at = device.stats().operations.saturating_add(operations);
        device.faults().plan(at, fault);
    }

    /// Plans that a read fails once, when `reads` more reads were done. Only the last such plan
    /// counts.
    pub fn fail_read_after(&self, reads: u64) {
        let mut device = self.0.device();
        let at = device.stats().reads.saturating_add(reads);
        device.faults().plan_read(at);
    }

    /// Cancels what is planned and ends what lasts. Power that is off stays off.
    pub fn clear_faults(&self) {
        *self.0.device().faults() = crate::fault::Faults::default();
    }

    /// Cuts the power: everything fails until [`Disk::reboot`].
    pub fn power_off(&self) {
        self.0.device().power_off();
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.0.device().is_off()
    }

    /// Switches the disk on again, or off and on, with what survived. Faults are cleared. Connections
    /// from before get errors from here on, and change nothing.
    pub fn reboot(&self, survive: Survive) {
        self.0.device().reboot(survive);
    }

    /// Turns one bit of a file over, where it is read and where it is stored. The bit is one of eight,
    /// counted from the lowest. False if the file has no such byte.
    #[must_use = "a file that is too short was not changed"]
    pub fn flip_bit(&self, name: &str, byte: usize, bit: u8) -> bool {
        self.0.device().flip(name, byte, bit)
    }
}

/// What is on it.
impl Disk {
    /// The names of the files, in order.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.0.device().names()
    }

    /// What a process would read from a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.0.device().contents(name)
    }

    /// Puts a file onto the medium. A file that had the name is replaced; whoever has it open keeps
    /// the old one.
    pub fn put_file(&self, name: &str, contents: &[u8]) {
        self.0.device().put(name, contents);
    }

    /// How many operations were done that a fault is counted by.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.stats().operations
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.device().stats()
    }

    /// Starts to write down every operation, from nothing.
    pub fn start_trace(&self) {
        self.0.device().start_trace();
    }

    /// What was written down, one line an operation; writing down ends. Lines name no disk, so those
    /// of a replay are equal.
    #[must_use]
    pub fn take_trace(&self) -> Vec<String> {
        self.0.device().take_trace()
    }
}

/// Who runs when.
impl Disk {
    /// Calls `callback` before SQLite changes the disk, asks for a lock or gives one up, and when it
    /// would wait, on the thread that does it. With several threads on one disk, that is where a
    /// simulation hands the turn from one to another.
    ///
    /// The disk is not locked meanwhile, so the callback may look at it, cut its power, and use other
    /// connections. It must not panic, which would end the process, as it is called through C.
    pub fn on_point(&self, callback: impl Fn(Point) + Send + Sync + 'static) {
        self.0.schedule.set(Some(Arc::new(callback)));
    }

    /// Ends the calls.
    pub fn clear_on_point(&self) {
        self.0.schedule.set(None);
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        formatter
            .debug_struct("Disk")
            .field("number", &self.0.number)
            .field("stats", &stats)
            .finish_non_exhaustive()
    }
}
