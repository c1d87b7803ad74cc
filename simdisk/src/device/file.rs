//! One file: what is read, what is on the medium, and what lies between.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bytes::Bytes;
use super::lock::{Level, SharedLocks};
use super::shared_memory::Region;
use crate::chance::Chance;

/// What a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;

/// What one handle has of a file.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    pub(crate) lock: Level,
    pub(crate) shared_locks: SharedLocks,
    pub(crate) uses_shared_memory: bool,
    /// The next sync through this handle syncs the directory too.
    pub(crate) syncs_directory: bool,
    /// A sync through another handle failed, which this one has not been told yet.
    pub(crate) owed_error: bool,
}

#[derive(Debug, Default)]
pub(crate) struct File {
    /// What every process reads.
    cache: Bytes,
    /// What survives for certain.
    medium: Bytes,
    pending: Pending,
    /// By number of the handle.
    pub(crate) openings: BTreeMap<u64, Opening>,
    pub(crate) regions: Vec<Arc<Region>>,
}

/// Changes of the cache since the last good sync, in their order. Their bytes stand in one buffer that
/// is used again, so a long list costs what was written and no more.
#[derive(Debug, Default)]
struct Pending {
    changes: Vec<Change>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Change {
    /// The sectors from `at` on as the cache had them after a write; the next `len` bytes of the
    /// buffer. The last one may be cut short by the end of the file.
    Sectors {
        at: usize,
        len: usize,
    },
    Resize(usize),
}

impl File {
    /// A file of which everything is on the medium.
    pub(crate) fn settled(contents: Bytes) -> File {
        File {
            cache: contents.clone(),
            medium: contents,
            ..File::default()
        }
    }

    pub(crate) fn cache(&self) -> &Bytes {
        &self.cache
    }

    pub(crate) fn write(&mut self, at: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.cache.write(at, data);
        let start = at - at % SECTOR;
        let end = (at + data.len()).next_multiple_of(SECTOR).min(self.cache.len());
        let filled = self.pending.bytes.len();
        self.pending.bytes.resize(filled + end - start, 0);
        self.cache.read(start, &mut self.pending.bytes[filled..]);
        self.pending.changes.push(Change::Sectors {
            at: start,
            len: end - start,
        });
    }

    pub(crate) fn resize(&mut self, len: usize) {
        self.cache.resize(len);
        self.pending.changes.push(Change::Resize(len));
    }

    pub(crate) fn sync(&mut self) {
        self.pending.settle(&mut self.medium);
        self.pending.clear();
    }

    /// A sync that fails: what waited is on the medium or not, and nobody remembers which. Whoever has
    /// the file open is told once, at the next sync.
    pub(crate) fn sync_badly(&mut self, handle: u64, chance: &mut Chance) {
        self.pending.scatter(&mut self.medium, 50, chance);
        self.pending.clear();
        for (other, opening) in &mut self.openings {
            opening.owed_error = *other != handle;
        }
    }

    /// What is found after a power cut that spared nothing.
    pub(crate) fn synced(&self) -> Bytes {
        self.medium.clone()
    }

    /// What is found after a power cut that spared some.
    pub(crate) fn scattered(&self, keep_percent: u8, chance: &mut Chance) -> Bytes {
        let mut found = self.medium.clone();
        self.pending.scatter(&mut found, keep_percent, chance);
        found
    }

    /// What all handles but one have.
    pub(crate) fn others(&self, handle: u64) -> impl Iterator<Item = &Opening> {
        let others = self.openings.iter().filter(move |(other, _)| **other != handle);
        others.map(|(_, opening)| opening)
    }

    /// Whoever uses the shared memory next finds it empty if nobody uses it any more.
    pub(crate) fn leave_shared_memory(&mut self) {
        if !self.openings.values().any(|opening| opening.uses_shared_memory) {
            self.regions.clear();
        }
    }

    /// Turns a bit over, in every version of it that there is.
    pub(crate) fn flip(&mut self, at: usize, bit: u8) {
        self.cache.flip(at, bit);
        self.medium.flip(at, bit);
        self.pending.flip(at, bit);
    }
}

impl Pending {
    fn each(&self) -> impl Iterator<Item = (&Change, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.changes.iter().map(move |change| {
            let len = match change {
                Change::Sectors { len, .. } => *len,
                Change::Resize(_) => 0,
            };
            let (data, after) = rest.split_at(len);
            rest = after;
            (change, data)
        })
    }

    fn settle(&self, medium: &mut Bytes) {
        for (change, data) in self.each() {
            match change {
                Change::Sectors { at, .. } => medium.write(*at, data),
                Change::Resize(len) => medium.resize(*len),
            }
        }
    }

    /// Of the writes, a quarter arrives whole and a quarter not at all; of the others each sector
    /// arrives by a coin of its own. Whole writes that overtake each other are what breaks orders,
    /// torn ones are what breaks pages.
    fn scatter(&self, medium: &mut Bytes, keep_percent: u8, chance: &mut Chance) {
        for (change, data) in self.each() {
            match change {
                Change::Resize(len) => {
                    if chance.percent(keep_percent) {
                        medium.resize(*len);
                    }
                }
                Change::Sectors { at, .. } => match chance.below(4) {
                    0 => {}
                    1 => medium.write(*at, data),
                    _ => {
                        for (index, sector) in data.chunks(SECTOR).enumerate() {
                            if chance.percent(keep_percent) {
                                medium.write(at + index * SECTOR, sector);
                            }
                        }
                    }
                },
            }
        }
    }

    fn flip(&mut self, byte: usize, bit: u8) {
        let mut filled = 0;
        for change in &self.changes {
            if let Change::Sectors { at, len } = change {
                if (*at..at + len).contains(&byte) {
                    self.bytes[filled + byte - at] ^= 1 << (bit % 8);
                }
                filled += len;
            }
        }
    }

    fn clear(&mut self) {
        self.changes.clear();
        self.bytes.clear();
    }
}
