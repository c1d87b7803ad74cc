//! What goes wrong, and when.

/// Something that goes wrong at a planned operation. Operations are what changes the disk: creating,
/// writing, truncating, syncing and deleting a file; see [`Disk::fault_after`](crate::Disk::fault_after).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The power goes before the operation does anything. It and everything after it fails, until
    /// [`Disk::reboot`](crate::Disk::reboot).
    PowerCut,
    /// The first half of a write is done, then the power goes. As [`Fault::PowerCut`] if the
    /// operation is not a write.
    TornPowerCut,
    /// The operation does nothing and fails, once. A sync fails as with [`Fault::SyncError`].
    IoError,
    /// The first half of a write is done, then it fails, once. As [`Fault::IoError`] if the operation
    /// is not a write.
    ShortWrite,
    /// From here on there is no room: no file is created, and of a write only what lies within the
    /// file's length is done. Until [`Disk::clear_faults`](crate::Disk::clear_faults).
    Full,
    /// The next sync of a file or the directory fails, from this operation on, once: each waiting
    /// sector is on the medium or not, by coin, and is not written again. Each other handle that has
    /// the file open is told too, once, by its own next sync: so does Linux since 4.13.
    SyncError,
    /// From here on a sync says that it succeeded and does nothing. Until
    /// [`Disk::clear_faults`](crate::Disk::clear_faults).
    SyncLies,
}

/// The faults that are planned, and those that last.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// By number of operation; what stands first strikes first.
    planned: Vec<(u64, Fault)>,
    read: Option<u64>,
    pub(crate) full: bool,
    pub(crate) sync_lies: bool,
    sync_fails: bool,
}

impl Faults {
    pub(crate) fn plan(&mut self, operation: u64, fault: Fault) {
        self.planned.push((operation, fault));
    }

    pub(crate) fn plan_read(&mut self, read: u64) {
        self.read = Some(read);
    }

    /// What strikes this operation by itself. What lasts, or waits for a sync, is switched on. If
    /// several faults would strike, the others wait for the next operation.
    pub(crate) fn strike(&mut self, operation: u64) -> Option<Fault> {
        let mut hit = None;
        let mut left = Vec::new();
        for (at, fault) in std::mem::take(&mut self.planned) {
            match fault {
                _ if at > operation => left.push((at, fault)),
                Fault::Full => self.full = true,
                Fault::SyncLies => self.sync_lies = true,
                Fault::SyncError => self.sync_fails = true,
                _ if hit.is_none() => hit = Some(fault),
                _ => left.push((at, fault)),
            }
        }
        self.planned = left;
        hit
    }

    pub(crate) fn strike_read(&mut self, read: u64) -> bool {
        self.read.take_if(|planned| *planned <= read).is_some()
    }

    /// Whether the sync that is under way fails; the next one will not.
    pub(crate) fn strike_sync(&mut self, hit: Option<Fault>) -> bool {
        std::mem::take(&mut self.sync_fails) || hit.is_some()
    }
}
