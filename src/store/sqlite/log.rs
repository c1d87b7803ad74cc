//! The write-ahead log: when it is worked into the file, and when it may not be any more.
//!
//! The library would work it in by itself, in the middle of a commit, and tell nobody if it failed.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rusqlite::Connection;

use super::Place;
use super::open::{self, keep_log_at_close, wait_for_locks};
use super::statement::{self, is_failed_sync, run};
use crate::error::{Result, StorageError, StorageKind};

/// How many pages it is to have when it is worked into the file.
const PAGES: u64 = 1_000;

/// The fewest commands after which it is.
const LEAST: u64 = 8;

/// After how many transactions its length is looked at.
const LOOK: u64 = 16;

/// A log of so many bytes is worked into the file at the first write: it was filled by processes that
/// came and went.
const LONG: u64 = 4 << 20;

/// The length in bytes that it may have.
const LONGEST: u64 = 64 << 20;

/// How long emptying it waits for readers.
const PATIENCE: Duration = Duration::from_millis(100);

const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Whether the log may be worked into the file.
#[derive(Default)]
pub(super) struct Trust {
    /// Why it may not any more.
    failure: OnceLock<StorageError>,
    /// Keeps everybody from beginning the log anew.
    reader: OnceLock<Mutex<Connection>>,
}

impl Trust {
    pub(super) fn failure(&self) -> Option<&StorageError> {
        self.failure.get()
    }

    /// Leaves the log as it is, for good.
    ///
    /// A sync of the file that fails may have dropped what was waiting to be written, all of it, and
    /// the library writes again only what the checkpoint that failed was about. What earlier ones
    /// copied without a sync, because somebody committed meanwhile, it counts as done: the next sync
    /// succeeds, the log begins anew, and after a power cut those pages are gone. Whoever opens the
    /// file when nobody has it open reads the log from its beginning, and that mends it.
    fn end(&self, place: &Place, found: &rusqlite::Error) {
        let detail = format!(
            "the log could not be worked into the file ({found}): nothing is lost, but it only grows until every \
             program has closed the file and one opens it again"
        );
        // Another process may not have noticed, and one that comes later cannot.
        if let Ok(reader) = open::reader(place)
            && run(&reader, "BEGIN")
                .and_then(|()| run(&reader, "SELECT version FROM tillite_schema"))
                .is_ok()
        {
            let _ = self.reader.set(Mutex::new(reader));
        }
        let _ = self.failure.set(StorageError::new(StorageKind::Io, detail));
    }
}

/// What the writer knows of the log.
pub(super) struct Log {
    place: Place,
    trust: Arc<Trust>,
    /// How many transactions there were.
    pub(super) transactions: u64,
    /// How many commands were run since it was last worked into the file.
    unworked: u64,
    /// How many pages it had then.
    pages: u64,
    /// After how many commands it is next: learned from how many pages they fill.
    between: u64,
    /// A connection that works it in while the writer keeps others from writing; none: not needed.
    pub(super) beside: Option<Connection>,
    /// The length in bytes that it may have.
    pub(super) longest: u64,
    /// The length past which it is tried to empty it again, after that failed; else 0.
    try_again_at: u64,
}

/// What came of working the log into the file.
#[derive(Default)]
pub(super) struct WorkedIn {
    /// Everything in it is in the file too.
    pub(super) whole: bool,
    /// It begins anew.
    emptied: bool,
    /// How many pages it has.
    pages: u64,
}

impl Log {
    pub(super) fn of(place: Place, trust: Arc<Trust>) -> Log {
        let is_long = place.wal_bytes() > LONG;
        Log {
            unworked: if is_long { place.between_checkpoints() } else { 0 },
            between: place.between_checkpoints(),
            pages: 0,
            beside: None,
            place,
            trust,
            transactions: 0,
            longest: LONGEST,
            try_again_at: 0,
        }
    }

    /// Prepares a connection that has just been opened: the last one that is closed would work the
    /// log in.
    pub(super) fn adopt(&self, connection: &Connection) -> Result<()> {
        match self.trust.failure() {
            Some(_) => keep_log_at_close(connection),
            None => Ok(()),
        }
    }

    /// Works the log into the file from time to time; called after each transaction, with the number
    /// of its commands.
    ///
    /// The library starts it anew only in a moment without readers, and with many readers there is
    /// none: so where it has grown past its bound they are waited for, and they are short.
    pub(super) fn tend(&mut self, connection: &Connection, commands: usize) {
        self.transactions += 1;
        if self.place.path().is_none() {
            return;
        }
        self.unworked += commands as u64;
        if self.unworked >= self.between {
            // What could not be worked in is no failure of what was committed.
            if let Ok(worked) = self.work_in(connection, PASSIVE) {
                self.learn(&worked);
            }
            self.unworked = 0;
        }
        if !self.transactions.is_multiple_of(LOOK) {
            return;
        }
        let length = self.place.wal_bytes();
        if length > self.longest.max(self.try_again_at) {
            // It is tried again when it is longer by as much: a reader that stays would hold
            // everybody up each time.
            let emptied = self.empty(connection, PATIENCE).is_ok_and(|worked| worked.emptied);
            self.try_again_at = if emptied { 0 } else { length + self.longest };
        }
    }

    /// Sets after how many commands the log is worked in next, so that it has some thousand new pages
    /// then.
    fn learn(&mut self, worked: &WorkedIn) {
        // With fewer than before it has begun anew.
        let fresh = worked.pages.checked_sub(self.pages).unwrap_or(worked.pages);
        let fitting = self.unworked.saturating_mul(PAGES) / fresh.max(1);
        self.between = fitting.clamp(LEAST, 4 * self.place.between_checkpoints());
        self.pages = worked.pages;
        // Each time, somebody has written meanwhile.
        let does_not_begin_anew = worked.pages > 4 * PAGES;
        self.beside = does_not_begin_anew
            .then(|| open::writer(&self.place).ok())
            .flatten()
            .filter(|beside| keep_log_at_close(beside).is_ok());
    }

    /// Whether others never let it be worked in whole, so that it does not begin anew.
    pub(super) fn is_behind(&self) -> bool {
        self.beside.is_some()
    }

    /// Works it in while a transaction of the writer's connection keeps others from writing.
    pub(super) fn catch_up(&mut self, connection: &Connection) {
        if let Some(beside) = self.beside.take() {
            let _ = self.work_in(&beside, PASSIVE);
            // Should that have failed, this one must not work it in either.
            let _ = self.adopt(connection);
        }
    }

    /// Works the log into the file and empties it, as far as those allow who read or write meanwhile.
    pub(super) fn empty(&self, connection: &Connection, patience: Duration) -> Result<WorkedIn> {
        wait_for_locks(connection, patience)?;
        let worked = self.work_in(connection, TRUNCATE);
        wait_for_locks(connection, Duration::ZERO)?;
        worked
    }

    fn work_in(&self, connection: &Connection, pragma: &str) -> Result<WorkedIn> {
        if let Some(failure) = self.trust.failure() {
            return Err(failure.clone().into());
        }
        match checkpoint(connection, pragma) {
            Ok(worked) => Ok(worked),
            Err(found) => {
                if is_failed_sync(&found) {
                    self.trust.end(&self.place, &found);
                    keep_log_at_close(connection)?;
                }
                Err(statement::error(&found))
            }
        }
    }
}

fn checkpoint(connection: &Connection, pragma: &str) -> rusqlite::Result<WorkedIn> {
    let mut worked = WorkedIn::default();
    let mut statement = connection.prepare_cached(pragma)?;
    let mut rows = statement.query([])?;
    // The library says what held it up in a row, and calls it no error: whether anybody did, how many
    // pages the log has, less than none if it was not even looked at, and how many are in the file.
    while let Some(row) = rows.next()? {
        let (held_up, pages, in_file): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        worked = WorkedIn {
            whole: pages == in_file && (pages >= 0 || held_up == 0),
            emptied: held_up == 0,
            pages: u64::try_from(pages).unwrap_or(0),
        };
    }
    Ok(worked)
}
