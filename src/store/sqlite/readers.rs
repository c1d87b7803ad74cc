//! Connections that read committed state, of which as many are made as are used at once, and what
//! each has noted of the file.
//!
//! A connection is out of the pool while it is used, so no lock is held while the library runs.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::Place;
use super::open;
use super::statement::{Live, run_int};
use crate::error::Result;
use crate::store::{EachRow, Known, Reading, Sql, Value};

/// How many idle reading connections are kept.
const IDLE: usize = 8;

/// How long it is taken for granted that the file is the one at its path.
const BETWEEN_CHECKS: Duration = Duration::from_secs(1);

/// Tells a connection whether another has committed.
const OTHERS_COMMITS: &str = "PRAGMA data_version";

/// Tells the one connection of a database in memory whether it has itself written anything: every
/// write moves a head row.
const OWN_WRITES: &str = "SELECT total_changes()";

/// The reading connections of a file.
#[derive(Default)]
pub(super) struct Readers {
    idle: Mutex<Vec<Reader>>,
    moves: AtomicI64,
    /// In microseconds of the pace's time: from when on it is asked again whether the file is the one
    /// at its path.
    check_at: AtomicU64,
}

/// A connection that reads, and what was noted through it.
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) noted: Noted,
}

/// What was read of a database, and the number that says whether it still holds. The number is one
/// connection's own.
#[derive(Default)]
pub(super) struct Noted {
    number: Option<i64>,
    known: Known,
}

impl Readers {
    /// A connection to the file that was opened, which `check` knows, not to one that took its
    /// place.
    pub(super) fn take(&self, place: &Place, check: impl FnOnce() -> Result<()>) -> Result<Reader> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(reader) = idle {
            return Ok(reader);
        }
        let connection = open::reader(place)?;
        check()?;
        let noted = Noted::default();
        Ok(Reader { connection, noted })
    }

    /// Asks whether the file is the one at its path, once a second: asking costs a part of what a short
    /// read does.
    pub(super) fn check_now_and_then(&self, now: Duration, check: impl FnOnce() -> Result<()>) -> Result<()> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if micros(now) >= self.check_at.load(Ordering::Relaxed) {
            check()?;
            self.check_at.store(micros(now + BETWEEN_CHECKS), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Keeps a connection for the next reader.
    pub(super) fn put_back(&self, reader: Reader) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && reader.connection.is_autocommit() {
            idle.push(reader);
        }
    }

    /// How often a connection has found that somebody had committed. Each finds a commit for
    /// itself, so one commit may count several times.
    pub(super) fn moves(&self) -> i64 {
        self.moves.load(Ordering::SeqCst)
    }
}

/// A connection as a reader has it.
pub(super) struct Looking<'c> {
    connection: &'c Connection,
    noted: &'c mut Noted,
    number: &'static str,
    moves: &'c AtomicI64,
    /// Whether what was noted is known to hold.
    asked: bool,
}

impl<'c> Looking<'c> {
    /// One of a file's connections that read.
    pub(super) fn at_file(connection: &'c Connection, noted: &'c mut Noted, readers: &'c Readers) -> Looking<'c> {
        Looking {
            connection,
            noted,
            number: OTHERS_COMMITS,
            moves: &readers.moves,
            asked: false,
        }
    }

    /// The one connection of a database in memory.
    pub(super) fn in_memory(connection: &'c Connection, noted: &'c mut Noted, readers: &'c Readers) -> Looking<'c> {
        Looking {
            number: OWN_WRITES,
            ..Looking::at_file(connection, noted, readers)
        }
    }
}

impl Sql for Looking<'_> {
    fn exec(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        Live(self.connection).exec(sql, values)
    }

    fn each(&mut self, sql: &str, values: &[Value<'_>], row: EachRow<'_>) -> Result<()> {
        Live(self.connection).each(sql, values, row)
    }

    fn columns(&mut self, table: &str) -> Result<Vec<String>> {
        Live(self.connection).columns(table)
    }
}

impl Reading for Looking<'_> {
    fn known(&mut self) -> Result<&mut Known> {
        if !self.asked {
            let number = run_int(self.connection, self.number)?;
            if number.is_none() || number != self.noted.number {
                self.noted.number = number;
                self.noted.known = Known::default();
                self.moves.fetch_add(1, Ordering::SeqCst);
            }
            self.asked = true;
        }
        Ok(&mut self.noted.known)
    }
}
