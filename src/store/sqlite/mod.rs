//! The SQLite backend: one writer whose transactions are shared by whoever waits for them, readers
//! of their own, every write an explicit transaction.
//!
//! Two things about the library underneath are kept out by the wrappers here and by a lint: calls
//! that step a statement once and drop the error of the commit that follows (`query_row`,
//! `execute_batch`, `pragma_update`), and writes outside `BEGIN IMMEDIATE`, which fail at once when
//! another process writes. An error of `COMMIT` is its own kind: what was written is all there or
//! all gone, and the connection is not used again.

mod backup;
mod group;
mod guest;
mod log;
mod migrate;
mod open;
mod os;
mod readers;
mod statement;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use backup::Part;
use group::{Answer, Group, Turn};
use log::Trust;
use open::Opened;
pub(crate) use open::{MEMORY, Place};
use os::Identity;
use readers::{Looking, Noted, Reader, Readers};
use statement::run;
use writer::Writer;

use super::{Access, Backend, Command, Pace, Reading};
use crate::error::{Error, Result, StorageError, StorageKind};
use crate::time::Timestamp;

/// How long a write waits for its turn and for another process's lock, unless it is told, before it
/// answers that the file is busy.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(5);

/// A database file, or a database in memory.
pub(crate) struct Sqlite {
    place: Place,
    identity: Option<Identity>,
    pace: Arc<dyn Pace>,
    group: Group,
    /// Whether the log may be worked into the file.
    trust: Arc<Trust>,
    readers: Readers,
    /// Whoever leads the group has it. Below the readers, so that it is closed after them: the last
    /// that is closed works the log into the file.
    writer: Mutex<Writer>,
    /// What was noted of a database in memory; out while it is used, under the writer's lock.
    in_memory: Mutex<Noted>,
}

/// What is done with a connection that reads.
type Read<'a> = &'a mut dyn FnMut(&mut dyn Reading) -> Result<()>;

impl Sqlite {
    /// Opens a file, makes it if it is not there, and brings it to the current schema.
    pub(crate) fn open(place: Place, host_now: Timestamp, pace: Arc<dyn Pace>) -> Result<Sqlite> {
        guest::not_inside()?;
        let Opened { connection, identity } = open::open(&place, host_now)?;
        let trust = Arc::default();
        Ok(Sqlite {
            writer: Mutex::new(Writer::new(place.clone(), connection, Arc::clone(&trust))?),
            trust,
            place,
            identity,
            pace,
            group: Group::default(),
            readers: Readers::default(),
            in_memory: Mutex::default(),
        })
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic in a command is caught where it is run, so the connection behind a poisoned lock
        // is in order.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> Option<&Path> {
        self.place.path()
    }

    /// Lends a connection that reads.
    fn reading<T>(&self, work: impl FnOnce(&Connection, Looking<'_>) -> Result<T>) -> Result<T> {
        guest::not_inside()?;
        if self.path().is_none() {
            // A database in memory lives in its one connection.
            let mut writer = self.writer();
            let connection = writer.connection(|| Ok(()))?;
            let mut noted = std::mem::take(&mut *self.noted_in_memory());
            let answer = work(connection, Looking::in_memory(connection, &mut noted, &self.readers));
            *self.noted_in_memory() = noted;
            return answer;
        }
        self.readers
            .check_now_and_then(self.pace.now(), || self.check_identity())?;
        let mut reader = self.readers.take(&self.place, || self.check_identity())?;
        let Reader { connection, noted } = &mut reader;
        let answer = work(connection, Looking::at_file(connection, noted, &self.readers));
        self.readers.put_back(reader);
        answer
    }

    fn noted_in_memory(&self) -> MutexGuard<'_, Noted> {
        self.in_memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a file that is no longer the one at its path: a commit would be lost with the file
    /// that nobody sees any more, and a new connection would be to another.
    fn check_identity(&self) -> Result<()> {
        let Some(path) = self.place.on_disk() else {
            return Ok(());
        };
        if Identity::of(path) == self.identity {
            return Ok(());
        }
        Err(StorageError::new(StorageKind::Moved, "another file, or none, is at the path now").into())
    }
}

impl Backend for Sqlite {
    fn read(&self, command: Read<'_>) -> Result<()> {
        self.reading(|connection, mut looking| {
            run(connection, "BEGIN")?;
            let answer = catch_unwind(AssertUnwindSafe(|| command(&mut looking)));
            let ended = run(connection, "ROLLBACK");
            match answer {
                Ok(answer) => answer.and(ended),
                Err(panic) => resume_unwind(panic),
            }
        })
    }

    fn look(&self, command: Read<'_>) -> Result<()> {
        self.reading(|_, mut looking| command(&mut looking))
    }

    fn write(&self, access: Access, command: Box<dyn Command>) -> Result<()> {
        guest::not_inside()?;
        let until = self.pace.now().saturating_add(self.place.busy_wait());
        let ticket = self.group.join(access, until, command);
        loop {
            match self.group.turn(&ticket, &*self.pace) {
                Turn::Lead => {
                    let leading = self.group.lead(&*self.pace);
                    let mut writer = self.writer();
                    writer.run_batch(&leading, &*self.pace, || self.check_identity());
                }
                Turn::Answered(Answer::Done(answer)) => return answer,
                Turn::Answered(Answer::Panicked(panic)) => resume_unwind(panic),
            }
        }
    }

    fn commits_seen(&self) -> Result<i64> {
        if self.path().is_none() {
            return Ok(0);
        }
        self.look(&mut |reading| reading.known().map(|_| ()))?;
        Ok(self.readers.moves())
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
        self.place.wal_bytes()
    }

    fn log_failure(&self) -> Option<StorageError> {
        self.trust.failure().cloned()
    }

    fn backup(&self, to: &Path) -> Result<()> {
        guest::not_inside()?;
        if self.path().is_some() && self.place.on_disk().is_none() {
            let detail = "only a file of the operating system can be copied to one";
            return Err(StorageError::new(StorageKind::Unsupported, detail).into());
        }
        let part = Part::beside(&open::plain(to))?;
        if self.path().is_none() {
            let mut writer = self.writer();
            part.fill(writer.connection(|| Ok(()))?)?;
        } else {
            // Not one of the readers: those cannot write, and a copy is written.
            self.check_identity()?;
            let connection = open::copier(&self.place)?;
            self.check_identity()?;
            part.fill(&connection)?;
        }
        part.publish()
    }

    fn checkpoint(&self) -> Result<()> {
        guest::not_inside()?;
        if self.path().is_none() {
            return Ok(());
        }
        if self.writer().checkpoint(|| self.check_identity())? {
            return Ok(());
        }
        Err(StorageError::new(StorageKind::Busy, "somebody reads an older state of the file").into())
    }
}

fn unknown(error: &Error) -> Error {
    // The kind's own words say that nothing was written, which nobody knows here.
    let detail = match error {
        Error::Storage(found) => found.detail.clone(),
        other => other.to_string(),
    };
    StorageError::new(StorageKind::OutcomeUnknown, detail).into()
}

#[cfg(test)]
mod tests;
