//! The device: files, names and power, and what every operation does to them. Nothing here knows
//! SQLite's functions; nothing here is called while somebody else may run.

mod bytes;
mod file;
mod lock;
mod names;
mod operations;
mod power;
mod shared_memory;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::chance::Chance;
use crate::fault::Faults;
use bytes::Bytes;
use file::File;
pub(crate) use file::SECTOR;
pub(crate) use lock::{Level, SharedAsk};
pub(crate) use shared_memory::{REGION, Region};

/// The longest that a file gets, in bytes. A damaged database may ask for anything.
const LARGEST: usize = 1 << 30;

/// What is found when the power comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Survive {
    /// What was synced, and nothing else.
    OnlySynced,
    /// Everything that was written: the process died and the machine did not.
    Everything,
    /// What was synced, and of everything else some, by the disk's seed. A quarter of the writes
    /// arrived whole and a quarter not at all; of the others each sector, and each change of a
    /// length, arrived with this probability; each change of a name with one half.
    Random {
        /// In percent; more than 100 is 100.
        keep_percent: u8,
    },
}

/// What was done to a disk since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What faults are counted by: files created, written to, cut, synced and deleted.
    pub operations: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes that were to be written.
    pub written_bytes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Reboots.
    pub reboots: u64,
}

/// Why an operation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The disk does not do it: a fault, no power, or a handle from before a reboot.
    Io,
    /// There is no room.
    Full,
    /// Somebody else has the lock.
    Busy,
    /// There is no such file.
    Missing,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    pub(crate) create: bool,
    pub(crate) must_be_new: bool,
    /// The first sync makes the name durable too.
    pub(crate) syncs_directory: bool,
}

/// What an open file is known by.
#[derive(Debug)]
pub(crate) struct Ticket {
    generation: u64,
    file: u64,
    handle: u64,
    name: String,
}

type Names = BTreeMap<String, u64>;

#[derive(Debug)]
pub(crate) struct Device {
    generation: u64,
    powered: bool,
    files: BTreeMap<u64, File>,
    names: Names,
    names_on_medium: Names,
    faults: Faults,
    chance: Chance,
    stats: Stats,
    trace: Option<Vec<String>>,
    /// The last number that a file or a handle was given.
    numbered: u64,
}

impl Device {
    pub(crate) fn new(seed: u64) -> Device {
        Device {
            generation: 0,
            powered: true,
            files: BTreeMap::new(),
            names: Names::new(),
            names_on_medium: Names::new(),
            faults: Faults::default(),
            chance: Chance::seeded(seed),
            stats: Stats::default(),
            trace: None,
            numbered: 0,
        }
    }

    /// A new disk with the files of this one as they are read now, all of it on the medium.
    pub(crate) fn copy(&self, seed: u64) -> Device {
        let mut copy = Device::new(seed);
        for (name, file) in &self.names {
            if let Some(file) = self.files.get(file) {
                copy.settle(name, file.cache().clone());
            }
        }
        copy
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn is_off(&self) -> bool {
        !self.powered
    }

    pub(crate) fn power_off(&mut self) {
        self.note(|| "power off".to_owned());
        self.powered = false;
    }

    pub(crate) fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    pub(crate) fn start_trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }
}

/// The files by their names, from outside.
impl Device {
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub(crate) fn contents(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.files.get(self.names.get(name)?)?.cache().to_vec())
    }

    /// A file that is on the medium, in the place of one that had the name.
    pub(crate) fn put(&mut self, name: &str, contents: &[u8]) {
        self.settle(name, Bytes::from(contents));
        self.forget_files();
    }

    fn settle(&mut self, name: &str, contents: Bytes) {
        let file = self.number();
        self.files.insert(file, File::settled(contents));
        self.names.insert(name.to_owned(), file);
        self.names_on_medium.insert(name.to_owned(), file);
    }

    pub(crate) fn flip(&mut self, name: &str, byte: usize, bit: u8) -> bool {
        let file = self.names.get(name).and_then(|file| self.files.get_mut(file));
        let Some(file) = file.filter(|file| byte < file.cache().len()) else {
            return false;
        };
        file.flip(byte, bit);
        true
    }
}
