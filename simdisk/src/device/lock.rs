//! Who may hold which lock beside whom.

/// A lock on a file, as SQLite counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    #[default]
    None,
    Shared,
    /// Will write; others may still read.
    Reserved,
    /// Waits for the readers to leave; no new ones come.
    Pending,
    Exclusive,
}

impl Level {
    /// What a handle that has `self` holds after asking for `wanted`, with the highest level that
    /// another handle holds. It was refused if that is less than `wanted`.
    pub(crate) fn ask(self, wanted: Level, others: Level) -> Level {
        if self >= wanted {
            return self;
        }
        let granted = match wanted {
            Level::None => true,
            Level::Shared => others < Level::Pending,
            Level::Reserved => others < Level::Reserved,
            Level::Pending | Level::Exclusive => others == Level::None,
        };
        if granted {
            wanted
        } else if wanted == Level::Exclusive && self == Level::Reserved {
            // Readers are still there. New ones are kept out, so that it is granted in the end.
            Level::Pending
        } else {
            self
        }
    }
}

/// The locks of one handle in shared memory, a bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SharedLocks {
    pub(crate) shared: u16,
    pub(crate) exclusive: u16,
}

/// A request for locks in shared memory, as a bit for each that is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SharedAsk {
    Shared(u16),
    Exclusive(u16),
}

impl SharedLocks {
    pub(crate) fn and(self, other: SharedLocks) -> SharedLocks {
        SharedLocks {
            shared: self.shared | other.shared,
            exclusive: self.exclusive | other.exclusive,
        }
    }

    /// Takes what is asked for, all or nothing, and says whether it could, with the locks of all
    /// other handles together.
    pub(crate) fn take(&mut self, ask: SharedAsk, others: SharedLocks) -> bool {
        match ask {
            SharedAsk::Shared(bits) if others.exclusive & bits == 0 => self.shared |= bits,
            SharedAsk::Exclusive(bits) if (others.exclusive | others.shared) & bits == 0 => self.exclusive |= bits,
            SharedAsk::Shared(_) | SharedAsk::Exclusive(_) => return false,
        }
        true
    }

    pub(crate) fn give_up(&mut self, ask: SharedAsk) {
        match ask {
            SharedAsk::Shared(bits) => self.shared &= !bits,
            SharedAsk::Exclusive(bits) => self.exclusive &= !bits,
        }
    }
}
