//! The SQLite backend: one writer, readers of their own, every write an explicit transaction.
//!
//! Two things about the library underneath are kept out by the wrappers here and by a lint: calls
//! that step a statement once and drop the error of the commit that follows (`query_row`,
//! `execute_batch`, `pragma_update`), and writes outside `BEGIN IMMEDIATE`, which fail at once when
//! another process writes. An error of `COMMIT` is its own kind: what was written is all there or
//! all gone, and the connection is not used again.

mod open;
mod statement;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use open::{Identity, Opened};
pub(crate) use open::{MEMORY, Place};
use statement::{Live, run, run_text};

use super::{Access, Backend, Command, Sql};
use crate::error::{Error, Result, StorageError, StorageKind};
use crate::time::Timestamp;

/// How long a write waits for another process's lock, unless it is told, before it answers that the
/// file is busy.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How many idle reading connections are kept.
const IDLE_READERS: usize = 8;

/// A database file, or a database in memory.
pub(crate) struct Sqlite {
    place: Place,
    identity: Option<Identity>,
    writer: Mutex<Writer>,
    readers: Mutex<Vec<Connection>>,
    /// A connection that only asks whether others have committed: the number that tells is one
    /// connection's own.
    watcher: Mutex<Option<Connection>>,
}

/// The writing connection; none after a failure that leaves it in doubt.
struct Writer {
    connection: Option<Connection>,
    access: Access,
}

impl Sqlite {
    /// Opens a file, makes it if it is not there, and brings it to the current schema.
    pub(crate) fn open(place: Place, host_now: Timestamp) -> Result<Sqlite> {
        let Opened { connection, identity } = open::open(&place, host_now)?;
        Ok(Sqlite {
            place,
            identity,
            writer: Mutex::new(Writer {
                connection: Some(connection),
                access: Access::Exact,
            }),
            readers: Mutex::new(Vec::new()),
            watcher: Mutex::new(None),
        })
    }

    /// The writer, with a new connection in place of one that was given up.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        // A panic in a command was rolled back below, so the connection behind a poisoned lock is
        // in order.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.connection.is_none() {
            let connection = open::writer(&self.place)?;
            self.check_identity()?;
            writer.connection = Some(connection);
            writer.access = Access::Exact;
        }
        Ok(writer)
    }

    fn path(&self) -> Option<&Path> {
        self.place.path()
    }

    /// Refuses a file that is no longer the one at its path: a commit would be lost with the file
    /// that nobody sees any more, and a new connection would be to another.
    fn check_identity(&self) -> Result<()> {
        let Some(path) = self.path() else {
            return Ok(());
        };
        if Identity::of(path) == self.identity {
            return Ok(());
        }
        Err(StorageError::new(StorageKind::Moved, "another file, or none, is at the path now").into())
    }

    fn reader(&self) -> Result<Connection> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => self.new_reader(),
        }
    }

    /// Another reading connection to the file that was opened, not to one that took its place.
    fn new_reader(&self) -> Result<Connection> {
        let connection = open::reader(&self.place)?;
        self.check_identity()?;
        Ok(connection)
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
    }
}

impl Backend for Sqlite {
    fn read(&self, command: &mut dyn FnMut(&mut dyn Sql) -> Result<()>) -> Result<()> {
        if self.path().is_none() {
            // A database in memory lives in its one connection.
            let mut writer = self.writer()?;
            let connection = writer.connection()?;
            return read_on(connection, command);
        }
        let connection = self.reader()?;
        let answer = read_on(&connection, command);
        if connection.is_autocommit() {
            self.put_back(connection);
        }
        answer
    }

    fn write(&self, access: Access, mut command: Command) -> Result<()> {
        self.check_identity()?;
        let mut writer = self.writer()?;
        writer.prepare(access)?;
        let connection = writer.connection()?;
        run(connection, "BEGIN IMMEDIATE")?;
        let ran = catch_unwind(AssertUnwindSafe(|| command(&mut Live(connection))));
        match ran {
            Ok(Ok(())) => match run(connection, "COMMIT") {
                Ok(()) => Ok(()),
                Err(error) => {
                    writer.give_up(self.path().is_some());
                    Err(unknown(&error))
                }
            },
            Ok(Err(error)) => {
                writer.roll_back(self.path().is_some());
                Err(error)
            }
            Err(panic) => {
                writer.roll_back(self.path().is_some());
                drop(writer);
                resume_unwind(panic)
            }
        }
    }

    fn foreign_commits(&self) -> Result<i64> {
        if self.path().is_none() {
            return Ok(0);
        }
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match watcher.take() {
            Some(connection) => connection,
            None => self.new_reader()?,
        };
        let version = run_text(&connection, "PRAGMA data_version")?;
        *watcher = Some(connection);
        Ok(version.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    fn check(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        self.read(&mut |sql| {
            for pragma in ["PRAGMA integrity_check(20)", "PRAGMA foreign_key_check"] {
                sql.each(pragma, &[], &mut |row| {
                    let line = row.shown(0)?;
                    if line != "\"ok\"" {
                        found.push(line);
                    }
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn wal_bytes(&self) -> u64 {
        let Some(path) = self.path() else {
            return 0;
        };
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        // The size is asked by name: opening the file here would drop the process's locks on it.
        std::fs::metadata(wal).map_or(0, |meta| meta.len())
    }

    fn checkpoint(&self) -> Result<()> {
        if self.path().is_none() {
            return Ok(());
        }
        let mut writer = self.writer()?;
        let connection = writer.connection()?;
        let mut left = 0;
        // A reader of an older state keeps what came after it in the log; the library says so in a
        // row and calls it no error.
        Live(connection).each("PRAGMA wal_checkpoint(TRUNCATE)", &[], &mut |row| {
            left = row.int(1)? - row.int(2)?;
            Ok(())
        })?;
        match left {
            0 => Ok(()),
            _ => Err(StorageError::new(StorageKind::Busy, "somebody reads an older state of the file").into()),
        }
    }
}

impl Writer {
    fn connection(&mut self) -> Result<&Connection> {
        self.connection
            .as_ref()
            .ok_or_else(|| StorageError::new(StorageKind::Io, "the connection was given up").into())
    }

    /// Sets what a commit waits for. This must stand outside the transaction to take effect.
    fn prepare(&mut self, access: Access) -> Result<()> {
        if self.access == access {
            return Ok(());
        }
        let pragma = match access {
            Access::Exact => "PRAGMA synchronous = FULL",
            Access::Queue => "PRAGMA synchronous = NORMAL",
        };
        run_text(self.connection()?, pragma)?;
        self.access = access;
        Ok(())
    }

    fn roll_back(&mut self, is_file: bool) {
        let undone = match &self.connection {
            Some(connection) => connection.is_autocommit() || run(connection, "ROLLBACK").is_ok(),
            None => true,
        };
        if !undone {
            self.give_up(is_file);
        }
    }

    /// Drops a connection whose transaction is in doubt. One in memory is the database itself and
    /// stays.
    fn give_up(&mut self, is_file: bool) {
        if is_file {
            self.connection = None;
        } else if let Some(connection) = &self.connection
            && !connection.is_autocommit()
        {
            let _ = run(connection, "ROLLBACK");
        }
    }
}

fn read_on(connection: &Connection, command: &mut dyn FnMut(&mut dyn Sql) -> Result<()>) -> Result<()> {
    run(connection, "BEGIN")?;
    let answer = catch_unwind(AssertUnwindSafe(|| command(&mut Live(connection))));
    let ended = run(connection, "ROLLBACK");
    match answer {
        Ok(answer) => answer.and(ended),
        Err(panic) => resume_unwind(panic),
    }
}

fn unknown(error: &Error) -> Error {
    StorageError::new(StorageKind::OutcomeUnknown, error.to_string()).into()
}

#[cfg(test)]
mod tests;
