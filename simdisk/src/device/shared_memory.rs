//! The memory that connections with a write-ahead log share.

use std::fmt;
use std::sync::atomic::AtomicU64;

/// The size that SQLite asks for.
pub(crate) const REGION: usize = 32 * 1024;

/// Memory that SQLite alone reads and writes, through a pointer. Atomics because that is how memory
/// is made that somebody else may change; nothing here looks into it.
pub(crate) struct Region(Box<[AtomicU64]>);

impl Region {
    pub(crate) fn zeroed() -> Region {
        Region((0..REGION / 8).map(|_| AtomicU64::new(0)).collect())
    }

    /// The first of `REGION` bytes. They stay where they are for as long as the region lives.
    pub(crate) fn start(&self) -> *mut u64 {
        self.0.as_ptr().cast::<u64>().cast_mut()
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Region")
    }
}
