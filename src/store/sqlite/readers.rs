//! Connections that read committed state, of which as many are made as are used at once.

use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::Place;
use super::open;
use super::statement::run_text;
use crate::error::Result;

/// How many idle reading connections are kept.
const IDLE: usize = 8;

/// The reading connections of a file.
#[derive(Default)]
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    /// A connection that only asks whether others have committed: the number that tells is one
    /// connection's own.
    watcher: Mutex<Option<Connection>>,
}

impl Readers {
    /// A connection to the file that was opened, which `check` knows, not to one that took its
    /// place.
    pub(super) fn take(&self, place: &Place, check: impl FnOnce() -> Result<()>) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => connect(place, check),
        }
    }

    /// Keeps a connection for the next reader.
    pub(super) fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && connection.is_autocommit() {
            idle.push(connection);
        }
    }

    /// A number that changes when anybody has committed.
    pub(super) fn version(&self, place: &Place, check: impl FnOnce() -> Result<()>) -> Result<i64> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match watcher.take() {
            Some(connection) => connection,
            None => connect(place, check)?,
        };
        let version = run_text(&connection, "PRAGMA data_version")?;
        *watcher = Some(connection);
        Ok(version.and_then(|text| text.parse().ok()).unwrap_or(0))
    }
}

fn connect(place: &Place, check: impl FnOnce() -> Result<()>) -> Result<Connection> {
    let connection = open::reader(place)?;
    check()?;
    Ok(connection)
}
