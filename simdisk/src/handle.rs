//! Paths and open files, between SQLite's functions and the device.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use crate::device::{Failure, Level, Mode, Region, SharedAsk, Ticket};
use crate::registry::{Shared, locked};
use crate::schedule::{Point, reach};

const PREFIX: &str = "/simdisk-";

/// What a host opens: `/simdisk-7/shop.db`. It stays the same over reboots.
pub(crate) fn host_path(disk: u64, name: &str) -> String {
    format!("{PREFIX}{disk}/{name}")
}

/// What SQLite makes of it when it opens a database: `/simdisk-7.2/shop.db`, with the generation. It
/// derives the names of journals from that, and asks for them without saying for which connection:
/// so a connection from before a reboot betrays itself.
pub(crate) fn full_path(path: &str) -> Option<String> {
    let place = Place::parse(path)?;
    let generation = match place.generation {
        Some(generation) => generation,
        None => Shared::find(place.disk)?.device().generation(),
    };
    Some(format!("{PREFIX}{}.{generation}/{}", place.disk, place.name))
}

pub(crate) fn exists(path: &str, even_empty: bool) -> Result<bool, Failure> {
    let (disk, generation, name) = locate(path)?;
    let device = disk.device();
    device.exists(generation, name, even_empty)
}

pub(crate) fn delete(path: &str, sync_directory: bool) -> Result<(), Failure> {
    let (disk, generation, name) = locate(path)?;
    reach(&disk, Point::Delete);
    let mut device = disk.device();
    device.delete(generation, name, sync_directory)
}

pub(crate) struct Place<'p> {
    pub(crate) disk: u64,
    generation: Option<u64>,
    name: &'p str,
}

impl Place<'_> {
    pub(crate) fn parse(path: &str) -> Option<Place<'_>> {
        let (disk, name) = path.strip_prefix(PREFIX)?.split_once('/')?;
        let (disk, generation) = match disk.split_once('.') {
            Some((disk, generation)) => (disk, Some(generation.parse().ok()?)),
            None => (disk, None),
        };
        Some(Place {
            disk: disk.parse().ok()?,
            generation,
            name,
        })
    }
}

fn locate(path: &str) -> Result<(Arc<Shared>, u64, &str), Failure> {
    let place = Place::parse(path).ok_or(Failure::Missing)?;
    let disk = Shared::find(place.disk).ok_or(Failure::Missing)?;
    let generation = place.generation.unwrap_or_else(|| disk.device().generation());
    Ok((disk, generation, place.name))
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Handle {
    disk: Arc<Shared>,
    ticket: Ticket,
    /// The shared memory that SQLite was given pointers into. It outlives a reboot for whoever still
    /// holds them.
    regions: Mutex<Vec<Arc<Region>>>,
}

impl Handle {
    pub(crate) fn open(path: &str, mode: Mode) -> Result<Handle, Failure> {
        let (disk, generation, name) = locate(path)?;
        let ticket = disk.device().open(generation, name, mode)?;
        Ok(Handle::new(disk, ticket))
    }

    /// A file that nobody else can open, on a disk of its own that never fails.
    pub(crate) fn temporary() -> Result<Handle, Failure> {
        let disk = Shared::private();
        let mode = Mode {
            create: true,
            ..Mode::default()
        };
        let ticket = disk.device().open(0, "temporary", mode)?;
        Ok(Handle::new(disk, ticket))
    }

    fn new(disk: Arc<Shared>, ticket: Ticket) -> Handle {
        Handle {
            disk,
            ticket,
            regions: Mutex::default(),
        }
    }

    pub(crate) fn read(&self, at: usize, out: &mut [u8]) -> Result<usize, Failure> {
        self.disk.device().read(&self.ticket, at, out)
    }

    pub(crate) fn len(&self) -> Result<usize, Failure> {
        self.disk.device().len(&self.ticket)
    }

    pub(crate) fn write(&self, at: usize, data: &[u8]) -> Result<(), Failure> {
        reach(&self.disk, Point::Write);
        self.disk.device().write(&self.ticket, at, data)
    }

    pub(crate) fn resize(&self, len: usize) -> Result<(), Failure> {
        reach(&self.disk, Point::Truncate);
        self.disk.device().resize(&self.ticket, len)
    }

    pub(crate) fn sync(&self) -> Result<(), Failure> {
        reach(&self.disk, Point::Sync);
        self.disk.device().sync(&self.ticket)
    }

    pub(crate) fn lock(&self, wanted: Level) -> Result<(), Failure> {
        reach(&self.disk, Point::Lock);
        self.disk.device().lock(&self.ticket, wanted)
    }

    pub(crate) fn unlock(&self, down_to: Level) {
        reach(&self.disk, Point::Unlock);
        self.disk.device().unlock(&self.ticket, down_to);
    }

    pub(crate) fn is_reserved(&self) -> Result<bool, Failure> {
        self.disk.device().is_reserved(&self.ticket)
    }

    /// The start of a region of shared memory, which stays valid until `leave_shared` or the end of
    /// the handle.
    pub(crate) fn region(&self, index: usize, make: bool) -> Result<Option<*mut u64>, Failure> {
        let Some(region) = self.disk.device().region(&self.ticket, index, make)? else {
            return Ok(None);
        };
        let start = region.start();
        locked(&self.regions).push(region);
        Ok(Some(start))
    }

    pub(crate) fn lock_shared(&self, ask: SharedAsk) -> Result<(), Failure> {
        reach(&self.disk, Point::SharedLock);
        self.disk.device().lock_shared(&self.ticket, ask)
    }

    pub(crate) fn unlock_shared(&self, ask: SharedAsk) {
        reach(&self.disk, Point::SharedUnlock);
        self.disk.device().unlock_shared(&self.ticket, ask);
    }

    pub(crate) fn leave_shared(&self) {
        self.disk.device().leave_shared(&self.ticket);
        locked(&self.regions).clear();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.disk.device().close(&self.ticket);
    }
}
