//! An in-memory disk for SQLite that tears, reorders and forgets.
//!
//! SQLite keeps its promises on a disk that keeps its own. Whether a program keeps *its* promises
//! shows when the power goes in the middle of a commit, a sync fails or the disk is full. A
//! [`Disk`] does all that in memory, thousands of times a second, the same way for the same seed.
//!
//! ```
//! use tillite_simdisk::{Disk, Fault, Survive, rusqlite};
//!
//! # fn main() -> rusqlite::Result<()> {
//! let disk = Disk::new(7);
//! let shop = disk.open("shop.db")?;
//! shop.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
//! shop.pragma_update(None, "synchronous", "FULL")?;
//! shop.execute("CREATE TABLE sold (id INTEGER PRIMARY KEY)", [])?;
//! shop.execute("INSERT INTO sold VALUES (1)", [])?;            // acknowledged
//!
//! disk.fault_after(1, Fault::PowerCut);                        // in the middle of the next commit
//! assert!(shop.execute("INSERT INTO sold VALUES (2)", []).is_err());
//! drop(shop);
//!
//! disk.reboot(Survive::OnlySynced);
//! let shop = disk.open("shop.db")?;
//! let sold: i64 = shop.query_row("SELECT count(*) FROM sold", [], |row| row.get(0))?;
//! assert_eq!(sold, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # The model
//! * A file is what a running process reads (the operating system's cache), what is on the medium,
//!   and the changes between the two since its last successful sync.
//! * When the power goes, each sector of 512 bytes ends up as any one of the contents that the cache
//!   had for it since then, or as the medium had it; each change of a file's length happens or not.
//!   [`Survive`] says who chooses.
//! * A name in the directory is on the medium once the directory was synced. As SQLite's own VFS for
//!   Unix does it, that is at the first sync of a journal or log through each handle, and when a file
//!   is deleted with that request.
//! * A failed sync is Linux's: each sector that was waiting is on the medium or not, and is not
//!   written again until something changes it again. The cache goes on showing it. Every handle that
//!   has the file open is told of it once.
//! * Locks belong to a handle, as open file descriptions have them, so two connections of one process
//!   exclude each other as those of two processes do.
//! * Shared memory (the `-shm` file) is lost at every reboot, and when its last user closes.
//! * The clock stands at 1970-01-01. A busy wait takes no time: it is a [`Point::Sleep`].
//!
//! # Two generations
//! A reboot starts a new generation. Connections from before it get errors for everything and change
//! nothing any more, not even by creating or deleting a journal; opening the same path again gives
//! the new generation.
//!
//! # Replay
//! The same seed and the same operations give the same bytes, once [`seed_sqlite`] has fixed the
//! randomness that SQLite puts into its logs. That generator is one per process, so byte-equal
//! replays want one simulation per process at a time.
//!
//! # Limits
//! * A commit over several attached files in a rollback journal mode is not recovered after a reboot:
//!   opening says so with an I/O error. With a write-ahead log such commits are per file anyway.
//! * Everything that was written since a file's last sync is kept, so with `synchronous=OFF` memory
//!   grows with what is written.
//! * No time passes while SQLite waits, so with threads that nobody takes turns with a busy timeout is
//!   over at once. [`Disk::on_point`] is where turns are taken.
//! * No memory-mapped reading: `mmap_size` has no effect.
//! * Sectors are written whole or not at all, and do not disturb their neighbours.

mod chance;
mod device;
mod disk;
mod fault;
mod handle;
mod registry;
mod schedule;
#[allow(
    unsafe_code,
    reason = "SQLite calls its disk through C function pointers; nothing else here needs it"
)]
mod vfs;

pub use chance::Chance;
pub use device::{Stats, Survive};
pub use disk::Disk;
pub use fault::Fault;
/// The rusqlite of [`Disk::open`]'s connections, for programs that name none themselves.
pub use rusqlite;
pub use schedule::Point;
pub use vfs::seed_sqlite;

/// The README's example is compiled and run too.
/// That it names no crate which its TOML does not list is asked in `tests/it/readme.rs`: a test here has
/// every dependency of this crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
