//! What is done to an open file.

use std::sync::Arc;

use super::file::File;
use super::lock::SharedLocks;
use super::{Device, Failure, LARGEST, Level, Region, SharedAsk, Ticket};
use crate::fault::Fault;

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
            file.sync_badly(ticket.handle, &mut self.chance);
            self.note(|| format!("sync {} fails", ticket.name));
            return Err(Failure::Io);
        }
        if self.faults.sync_lies {
            return Ok(());
        }
        file.sync();
        let Some(opening) = file.openings.get_mut(&ticket.handle) else {
            return Err(Failure::Io);
        };
        if std::mem::take(&mut opening.owed_error) {
            self.note(|| format!("sync {} tells that another failed", ticket.name));
            return Err(Failure::Io);
        }
        if std::mem::take(&mut opening.syncs_directory) {
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
