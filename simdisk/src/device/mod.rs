//! The device: files, names and power, and what every operation does to them. Nothing here knows
//! SQLite's functions; nothing here is called while somebody else may run.

mod bytes;
mod file;
mod lock;
mod shared_memory;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::chance::Chance;
use crate::fault::{Fault, Faults};
use bytes::Bytes;
pub(crate) use file::SECTOR;
use file::{File, Opening};
use lock::SharedLocks;
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

/// Power.
impl Device {
    /// The power is on again and a new generation begins, with no plans for faults.
    pub(crate) fn reboot(&mut self, survive: Survive) {
        let names = match survive {
            Survive::OnlySynced => std::mem::take(&mut self.names_on_medium),
            Survive::Everything => std::mem::take(&mut self.names),
            Survive::Random { .. } => self.scattered_names(),
        };
        let files = std::mem::take(&mut self.files);
        (self.names, self.names_on_medium) = (Names::new(), Names::new());
        for (name, file) in &names {
            let Some(file) = files.get(file) else { continue };
            let contents = match survive {
                Survive::OnlySynced => file.synced(),
                Survive::Everything => file.cache().clone(),
                Survive::Random { keep_percent } => file.scattered(keep_percent, &mut self.chance),
            };
            self.settle(name, contents);
        }
        self.generation += 1;
        self.powered = true;
        self.faults = Faults::default();
        self.stats.reboots += 1;
        self.note(|| format!("reboot {survive:?}"));
    }

    /// Where the directory and what is on the medium differ, either may be found.
    fn scattered_names(&mut self) -> Names {
        let all: BTreeSet<&String> = self.names.keys().chain(self.names_on_medium.keys()).collect();
        let mut found = Names::new();
        for name in all {
            let (new, old) = (self.names.get(name), self.names_on_medium.get(name));
            let which = if new == old || self.chance.percent(50) {
                new
            } else {
                old
            };
            if let Some(file) = which {
                found.insert(name.clone(), *file);
            }
        }
        found
    }

    /// Counts an operation and says what strikes it.
    fn step(&mut self, line: impl FnOnce() -> String) -> Option<Fault> {
        let operation = self.stats.operations;
        self.stats.operations += 1;
        let hit = self.faults.strike(operation);
        self.note(|| match hit {
            None => line(),
            Some(fault) => format!("{} {fault:?}", line()),
        });
        hit
    }

    /// What comes of a fault, once what it left of the operation is done.
    fn suffer(&mut self, hit: Option<Fault>) -> Result<(), Failure> {
        match hit {
            None => Ok(()),
            Some(fault) => {
                if matches!(fault, Fault::PowerCut | Fault::TornPowerCut) {
                    self.powered = false;
                }
                Err(Failure::Io)
            }
        }
    }

    fn is_of_now(&self, generation: u64) -> Result<(), Failure> {
        if self.powered && generation == self.generation {
            Ok(())
        } else {
            Err(Failure::Io)
        }
    }
}

/// Names and handles.
impl Device {
    pub(crate) fn open(&mut self, generation: u64, name: &str, mode: Mode) -> Result<Ticket, Failure> {
        self.is_of_now(generation)?;
        let file = match self.names.get(name) {
            Some(_) if mode.create && mode.must_be_new => return Err(Failure::Io),
            Some(file) => *file,
            None if mode.create => self.create(name)?,
            None => return Err(Failure::Missing),
        };
        let handle = self.number();
        let opening = Opening {
            syncs_directory: mode.syncs_directory,
            ..Opening::default()
        };
        let opened = self.files.get_mut(&file).ok_or(Failure::Missing)?;
        opened.openings.insert(handle, opening);
        Ok(Ticket {
            generation,
            file,
            handle,
            name: name.to_owned(),
        })
    }

    fn create(&mut self, name: &str) -> Result<u64, Failure> {
        let hit = self.step(|| format!("create {name}"));
        self.suffer(hit)?;
        if self.faults.full {
            return Err(Failure::Full);
        }
        let file = self.number();
        self.files.insert(file, File::default());
        self.names.insert(name.to_owned(), file);
        Ok(file)
    }

    pub(crate) fn close(&mut self, ticket: &Ticket) {
        if ticket.generation == self.generation
            && let Some(file) = self.files.get_mut(&ticket.file)
        {
            file.openings.remove(&ticket.handle);
            file.leave_shared_memory();
            self.forget_files();
        }
    }

    pub(crate) fn delete(&mut self, generation: u64, name: &str, sync_directory: bool) -> Result<(), Failure> {
        self.is_of_now(generation)?;
        if !self.names.contains_key(name) {
            return Err(Failure::Missing);
        }
        let hit = self.step(|| format!("delete {name}"));
        self.suffer(hit)?;
        self.names.remove(name);
        if sync_directory {
            self.sync_directory()?;
        }
        self.forget_files();
        Ok(())
    }

    fn sync_directory(&mut self) -> Result<(), Failure> {
        if self.faults.strike_sync(None) {
            return Err(Failure::Io);
        }
        if !self.faults.sync_lies {
            self.names_on_medium.clone_from(&self.names);
        }
        Ok(())
    }

    /// Whether there is such a file, and something in it unless `even_empty`.
    pub(crate) fn exists(&self, generation: u64, name: &str, even_empty: bool) -> Result<bool, Failure> {
        self.is_of_now(generation)?;
        let file = self.names.get(name).and_then(|file| self.files.get(file));
        Ok(file.is_some_and(|file| even_empty || file.cache().len() > 0))
    }

    /// Frees what has no name, not even on the medium, and no handle.
    fn forget_files(&mut self) {
        let (now, then) = (&self.names, &self.names_on_medium);
        let is_named = |number: &u64| now.values().chain(then.values()).any(|named| named == number);
        self.files
            .retain(|number, file| !file.openings.is_empty() || is_named(number));
    }
}

/// What handles do.
impl Device {
    /// The file behind a handle, unless it is from before a reboot or the power is off.
    fn file(&mut self, ticket: &Ticket) -> Result<&mut File, Failure> {
        self.is_of_now(ticket.generation)?;
        self.files.get_mut(&ticket.file).ok_or(Failure::Io)
    }

    /// How many bytes there were from `at` on, up to as many as `out` holds.
    pub(crate) fn read(&mut self, ticket: &Ticket, at: usize, out: &mut [u8]) -> Result<usize, Failure> {
        self.is_of_now(ticket.generation)?;
        let read = self.stats.reads;
        self.stats.reads += 1;
        if self.faults.strike_read(read) {
            self.note(|| format!("read {} {at}+{} fails", ticket.name, out.len()));
            return Err(Failure::Io);
        }
        Ok(self.file(ticket)?.cache().read(at, out))
    }

    pub(crate) fn len(&mut self, ticket: &Ticket) -> Result<usize, Failure> {
        Ok(self.file(ticket)?.cache().len())
    }

    pub(crate) fn write(&mut self, ticket: &Ticket, at: usize, data: &[u8]) -> Result<(), Failure> {
        let len = self.file(ticket)?.cache().len();
        self.stats.writes += 1;
        self.stats.written_bytes += data.len() as u64;
        let hit = self.step(|| format!("write {} {at}+{}", ticket.name, data.len()));
        let end = if self.faults.full { len } else { LARGEST };
        let room = end.saturating_sub(at).min(data.len());
        let done = match hit {
            None => room,
            Some(Fault::TornPowerCut | Fault::ShortWrite) => room.min(data.len() / 2),
            Some(_) => 0,
        };
        self.file(ticket)?.write(at, &data[..done]);
        self.suffer(hit)?;
        if room < data.len() { Err(Failure::Full) } else { Ok(()) }
    }

    pub(crate) fn resize(&mut self, ticket: &Ticket, len: usize) -> Result<(), Failure> {
        let now = self.file(ticket)?.cache().len();
        let hit = self.step(|| format!("truncate {} {len}", ticket.name));
        self.suffer(hit)?;
        if len > if self.faults.full { now } else { LARGEST } {
            return Err(Failure::Full);
        }
        self.file(ticket)?.resize(len);
        Ok(())
    }

    pub(crate) fn sync(&mut self, ticket: &Ticket) -> Result<(), Failure> {
        self.file(ticket)?;
        self.stats.syncs += 1;
        let hit = self.step(|| format!("sync {}", ticket.name));
        if matches!(hit, Some(Fault::PowerCut | Fault::TornPowerCut)) {
            return self.suffer(hit);
        }
        let Some(file) = self.files.get_mut(&ticket.file) else {
            return Err(Failure::Io);
        };
        if self.faults.strike_sync(hit) {
            file.sync_badly(&mut self.chance);
            return Err(Failure::Io);
        }
        if self.faults.sync_lies {
            return Ok(());
        }
        file.sync();
        let opening = file.openings.get_mut(&ticket.handle);
        if opening.is_some_and(|opening| std::mem::take(&mut opening.syncs_directory)) {
            self.sync_directory()?;
            self.forget_files();
        }
        Ok(())
    }

    pub(crate) fn lock(&mut self, ticket: &Ticket, wanted: Level) -> Result<(), Failure> {
        let file = self.file(ticket)?;
        let others = file.others(ticket.handle).map(|other| other.lock);
        let others = others.max().unwrap_or_default();
        let mine = file.openings.get_mut(&ticket.handle).ok_or(Failure::Io)?;
        mine.lock = mine.lock.ask(wanted, others);
        if mine.lock < wanted { Err(Failure::Busy) } else { Ok(()) }
    }

    /// Goes down to a level. Without power and after a reboot there is nothing to give up.
    pub(crate) fn unlock(&mut self, ticket: &Ticket, down_to: Level) {
        if let Ok(file) = self.file(ticket)
            && let Some(mine) = file.openings.get_mut(&ticket.handle)
        {
            mine.lock = mine.lock.min(down_to);
        }
    }

    /// Whether anybody is about to write.
    pub(crate) fn is_reserved(&mut self, ticket: &Ticket) -> Result<bool, Failure> {
        let file = self.file(ticket)?;
        Ok(file.openings.values().any(|opening| opening.lock >= Level::Reserved))
    }
}

/// Shared memory.
impl Device {
    /// A region by its number; nothing if there are not so many and none is to be made.
    pub(crate) fn region(&mut self, ticket: &Ticket, index: usize, make: bool) -> Result<Option<Arc<Region>>, Failure> {
        let file = self.file(ticket)?;
        let mine = file.openings.get_mut(&ticket.handle).ok_or(Failure::Io)?;
        mine.uses_shared_memory = true;
        if make && file.regions.len() <= index {
            file.regions.resize_with(index + 1, || Arc::new(Region::zeroed()));
        }
        Ok(file.regions.get(index).cloned())
    }

    pub(crate) fn lock_shared(&mut self, ticket: &Ticket, ask: SharedAsk) -> Result<(), Failure> {
        let file = self.file(ticket)?;
        let others = file.others(ticket.handle).map(|other| other.shared_locks);
        let others = others.fold(SharedLocks::default(), SharedLocks::and);
        let mine = file.openings.get_mut(&ticket.handle).ok_or(Failure::Io)?;
        if mine.shared_locks.take(ask, others) {
            Ok(())
        } else {
            Err(Failure::Busy)
        }
    }

    pub(crate) fn unlock_shared(&mut self, ticket: &Ticket, ask: SharedAsk) {
        if let Ok(file) = self.file(ticket)
            && let Some(mine) = file.openings.get_mut(&ticket.handle)
        {
            mine.shared_locks.give_up(ask);
        }
    }

    pub(crate) fn leave_shared(&mut self, ticket: &Ticket) {
        if let Ok(file) = self.file(ticket)
            && let Some(mine) = file.openings.get_mut(&ticket.handle)
        {
            mine.shared_locks = SharedLocks::default();
            mine.uses_shared_memory = false;
            file.leave_shared_memory();
        }
    }
}
