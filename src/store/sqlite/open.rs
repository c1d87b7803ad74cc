//! Opening: the pragmas that durability rests on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::migrate::{check_version, migrate};
use super::os::{self, Identity};
use super::statement::{error, run, run_text};
use super::{BUSY_WAIT, Error, Result, StorageError, StorageKind};
use crate::error::shown_path;
use crate::time::Timestamp;

/// The oldest SQLite that runs the schema (STRICT tables) and the statements (RETURNING).
const OLDEST: i32 = 3_037_000;

/// The library counts the milliseconds of a wait in 32 bits, and panics on more.
const LONGEST_WAIT: Duration = Duration::from_millis(i32::MAX.unsigned_abs() as u64);

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 192;

/// After how many commands the log is worked into the file, before it is known how much they write.
const BETWEEN_CHECKPOINTS: u64 = 64;

/// The same on a simulated disk, which does not live as long.
#[cfg(feature = "testing")]
const BETWEEN_SIMULATED_CHECKPOINTS: u64 = 24;

/// How often the switch to the write-ahead log is tried while others have the file.
const SWITCH_TRIES: usize = 50;

/// Opening is one at a time per process: a file that is being made must not be opened, and then
/// closed, by a second opener, because closing any descriptor of a file drops the process's locks
/// on it.
static OPENING: Mutex<()> = Mutex::new(());

/// Where a database is, and how long its lock is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    path: Option<PathBuf>,
    /// The name of the file system that SQLite is to use; none: the operating system's.
    vfs: Option<String>,
    busy_wait: Duration,
    between_checkpoints: u64,
}

/// A database in memory, gone with its connection.
pub(crate) const MEMORY: Place = Place {
    path: None,
    vfs: None,
    busy_wait: BUSY_WAIT,
    between_checkpoints: BETWEEN_CHECKPOINTS,
};

impl Place {
    pub(crate) fn file(path: &Path) -> Place {
        Place {
            path: Some(plain(path)),
            ..MEMORY
        }
    }

    /// A path in a file system that was registered with SQLite under a name.
    #[cfg(feature = "testing")]
    pub(crate) fn on(vfs: &str, path: &str) -> Place {
        Place {
            path: Some(PathBuf::from(path)),
            vfs: Some(vfs.to_owned()),
            between_checkpoints: BETWEEN_SIMULATED_CHECKPOINTS,
            ..MEMORY
        }
    }

    /// The same place, whose lock is waited for as long as this, or as the library can count.
    pub(crate) fn waiting(self, busy_wait: Duration) -> Place {
        let busy_wait = busy_wait.min(LONGEST_WAIT);
        Place { busy_wait, ..self }
    }

    /// The path of a database that is not in memory.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The path of a file that the operating system can be asked about.
    pub(super) fn on_disk(&self) -> Option<&Path> {
        self.path().filter(|_| self.vfs.is_none())
    }

    pub(super) fn busy_wait(&self) -> Duration {
        self.busy_wait
    }

    /// After how many commands the log is worked into the file at first; later at most after four times
    /// as many.
    pub(super) fn between_checkpoints(&self) -> u64 {
        self.between_checkpoints
    }

    /// Bytes in the write-ahead log.
    pub(super) fn wal_bytes(&self) -> u64 {
        let Some(path) = self.on_disk() else {
            return 0;
        };
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        // The size is asked by name: opening the file here would drop the process's locks on it.
        std::fs::metadata(wal).map_or(0, |meta| meta.len())
    }
}

/// A path that SQLite takes for one: with a point in front of a relative one, so that none is a URI
/// or `:memory:`.
pub(super) fn plain(path: &Path) -> PathBuf {
    if path.is_relative() {
        return Path::new(".").join(path);
    }
    path.to_owned()
}

/// A file that is open and at the current schema.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) identity: Option<Identity>,
}

/// Opens a database, makes it if need be, and brings it to the current schema.
pub(super) fn open(place: &Place, host_now: Timestamp) -> Result<Opened> {
    if rusqlite::version_number() < OLDEST {
        let detail = format!("SQLite {} is older than 3.37", rusqlite::version());
        return Err(StorageError::new(StorageKind::Unsupported, detail).into());
    }
    let _one_at_a_time = place
        .on_disk()
        .map(|_| OPENING.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    if let Some(path) = place.on_disk() {
        create(path).map_err(|found| os::not_made(path, &found))?;
        // Asked before SQLite is: it would make a log beside the file, as read-only as the file, and
        // leave it there when the file has become writable again.
        if let Some(why) = os::write_protection(path) {
            let detail = format!("{}: {why}", shown_path(path));
            return Err(StorageError::new(StorageKind::ReadOnly, detail).into());
        }
    }
    let connection = connect(place)?;
    wait_for_locks(&connection, place.busy_wait)?;
    // Before anything is set: a file that is not ours to write must stay as it is.
    let version = check_version(&connection).map_err(|found| in_its_directory(found, place))?;
    check_writable(&connection, place, version)?;
    harden(&connection, place)?;
    migrate(&connection, host_now)?;
    // Asked again after the first write: an error in switching to the log shows only now.
    if place.path().is_some() {
        confirm(&connection)?;
    }
    let identity = place.on_disk().and_then(Identity::of);
    Ok(Opened { connection, identity })
}

/// Opens another writing connection to a database that [`open`] has seen.
pub(super) fn writer(place: &Place) -> Result<Connection> {
    let connection = connect(place)?;
    wait_for_locks(&connection, place.busy_wait)?;
    check_version(&connection)?;
    harden(&connection, place)?;
    confirm(&connection)?;
    Ok(connection)
}

/// Opens a connection that reads and cannot write.
pub(super) fn reader(place: &Place) -> Result<Connection> {
    let connection = copier(place)?;
    run(&connection, "PRAGMA query_only = ON")?;
    // In KiB: the pages of some ten thousand entitlements, twice over.
    run(&connection, "PRAGMA cache_size = -8192")?;
    Ok(connection)
}

/// Opens a connection that reads, and may write to other files.
pub(super) fn copier(place: &Place) -> Result<Connection> {
    let connection = connect(place)?;
    wait_for_locks(&connection, place.busy_wait)?;
    for pragma in ["PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON"] {
        run(&connection, pragma)?;
    }
    keep_log_at_close(&connection)?;
    Ok(connection)
}

/// Leaves the log beside the file when the last connection is closed. The one that writes knows
/// whether it may be worked in, and is closed last.
pub(super) fn keep_log_at_close(connection: &Connection) -> Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(|found| error(&found))?;
    Ok(())
}

/// Makes an empty file unless there is one, which is not touched, not even opened.
fn create(path: &Path) -> io::Result<()> {
    match os::make(path) {
        Err(found) if found.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn connect(place: &Place) -> Result<Connection> {
    let connection = match place.path() {
        Some(path) => {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            match &place.vfs {
                None => Connection::open_with_flags(path, flags),
                Some(vfs) => {
                    let flags = flags | OpenFlags::SQLITE_OPEN_CREATE;
                    Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())
                }
            }
        }
        None => Connection::open_in_memory(),
    }
    .map_err(|found| not_connected(error(&found), place))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A damaged or hostile file must not be able to make the library write over its own schema.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)
        .map_err(|found| error(&found))?;
    // One plan per statement: without this SQLite compiles many of them anew whenever values are
    // bound, in case others would make for a better plan, and that took a third of a write.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(|found| error(&found))?;
    Ok(connection)
}

/// Says which path cannot be opened, and whether it is a directory.
fn not_connected(found: Error, place: &Place) -> Error {
    match (found, place.path()) {
        (Error::Storage(found), Some(path)) if found.kind == StorageKind::CantOpen => {
            let is_directory = place.on_disk().is_some_and(Path::is_dir);
            let why = if is_directory {
                "it is a directory, name a file in it"
            } else {
                &found.detail
            };
            StorageError::new(found.kind, format!("{}: {why}", shown_path(path))).into()
        }
        (found, _) => found,
    }
}

/// Says what is behind a file that is there and cannot be opened: its log could not be made beside
/// it. SQLite has one word for both.
fn in_its_directory(found: Error, place: &Place) -> Error {
    let cant_open = matches!(&found, Error::Storage(error) if error.kind == StorageKind::CantOpen);
    let (true, Some(path)) = (cant_open, place.on_disk().filter(|path| path.is_file())) else {
        return found;
    };
    let mut probe = path.as_os_str().to_owned();
    probe.push("-tillite-probe");
    let probe = PathBuf::from(probe);
    match create(&probe) {
        Ok(()) => {
            let _ = std::fs::remove_file(probe);
            found
        }
        Err(refused) => os::not_made(path, &refused),
    }
}

/// Waits for locks that others hold, at most as long as this.
pub(super) fn wait_for_locks(connection: &Connection, at_most: Duration) -> Result<()> {
    connection.busy_timeout(at_most).map_err(|found| error(&found))
}

/// Refuses a file that can only be read: SQLite opens one without a word, and the first payment
/// would be the first to hear of it.
fn check_writable(connection: &Connection, place: &Place, version: usize) -> Result<()> {
    // Something that writes and is undone; a transaction alone would not say. Whether the file can
    // be written is decided before its lock is asked for, so this need not wait for anybody.
    let probe = match version {
        0 => "CREATE TABLE tillite_probe (nothing INTEGER)",
        _ => "UPDATE tillite_schema SET version = version WHERE only_row = 0",
    };
    wait_for_locks(connection, Duration::ZERO)?;
    run(connection, "BEGIN")?;
    let probed = run(connection, probe);
    // Some errors have undone the transaction already.
    if !connection.is_autocommit() {
        run(connection, "ROLLBACK")?;
    }
    wait_for_locks(connection, place.busy_wait)?;
    match probed {
        Err(Error::Storage(found)) if found.kind == StorageKind::ReadOnly => Err(found.into()),
        // Whatever else is wrong with the file, the steps that follow meet it too.
        _ => Ok(()),
    }
}

fn harden(connection: &Connection, place: &Place) -> Result<()> {
    if place.path().is_some() {
        let mode = switch_to_log(connection, place.busy_wait)?;
        if mode.as_deref() != Some("wal") {
            let detail = "the write-ahead log cannot be used here (a network file system?)";
            return Err(StorageError::new(StorageKind::Unsupported, detail).into());
        }
    }
    for pragma in [
        "PRAGMA synchronous = FULL",
        "PRAGMA fullfsync = ON",
        "PRAGMA foreign_keys = ON",
        "PRAGMA temp_store = MEMORY",
        "PRAGMA trusted_schema = OFF",
        "PRAGMA cell_size_check = ON",
        "PRAGMA mmap_size = 0",
        "PRAGMA cache_size = -16384",
        // The writer does it: where the library does it by itself, nobody hears of a failure.
        "PRAGMA wal_autocheckpoint = 0",
    ] {
        run(connection, pragma)?;
    }
    Ok(())
}

/// Switches a file to the write-ahead log and answers what it is at now. Where others have the file,
/// they are waited for; after each such wait that ended well it is tried again.
fn switch_to_log(connection: &Connection, busy_wait: Duration) -> Result<Option<String>> {
    for _ in 1..SWITCH_TRIES {
        // For some locks the switch itself waits, for others it does not; a transaction waits for each:
        // for somebody who reads the file, or makes it at the same moment. So only that one waits.
        wait_for_locks(connection, Duration::ZERO)?;
        let switched = run_text(connection, "PRAGMA journal_mode = WAL");
        wait_for_locks(connection, busy_wait)?;
        match switched {
            Err(Error::Storage(found)) if found.kind == StorageKind::Busy => {}
            answer => return answer,
        }
        run(connection, "BEGIN EXCLUSIVE")?;
        run(connection, "ROLLBACK")?;
    }
    run_text(connection, "PRAGMA journal_mode = WAL")
}

fn confirm(connection: &Connection) -> Result<()> {
    let journal = run_text(connection, "PRAGMA journal_mode")?;
    let synchronous = run_text(connection, "PRAGMA synchronous")?;
    if journal.as_deref() == Some("wal") && synchronous.as_deref() == Some("2") {
        return Ok(());
    }
    let detail = format!("journal_mode is {journal:?} and synchronous is {synchronous:?} after they were set");
    Err(StorageError::new(StorageKind::Io, detail).into())
}
