//! Where a caller of rusqlite is told that something succeeded which did not. A statement that gives
//! rows commits by itself when it is reset, after its last row; calls that look at the first row and
//! drop the rest drop the error of that commit with it.

#![allow(clippy::disallowed_methods, reason = "these calls are what is shown to lose errors")]

use rusqlite::{Connection, TransactionBehavior};
use tillite_simdisk::{Disk, Fault};

use crate::kit::{SAFE, TABLE, run};

const RETURNING: &str = "INSERT INTO note VALUES (7, 'seven') RETURNING id";

/// A database in which the sync of the next commit fails.
fn before_a_bad_sync() -> Connection {
    let disk = Disk::new(1);
    let connection = SAFE.open(&disk, "notes.db").unwrap();
    run(&connection, TABLE).unwrap();
    disk.fault_after(0, Fault::SyncError);
    connection
}

fn rows(connection: &Connection) -> Option<String> {
    run(connection, "SELECT count(*) FROM note").unwrap()
}

#[test]
fn query_row_says_that_an_insert_succeeded_of_which_the_row_is_gone() {
    let connection = before_a_bad_sync();
    let id: rusqlite::Result<i64> = connection.query_row(RETURNING, [], |row| row.get(0));
    assert_eq!(id, Ok(7));
    assert_eq!(rows(&connection).as_deref(), Some("0"));
}

#[test]
fn stepping_to_the_end_sees_the_error_of_the_commit() {
    let connection = before_a_bad_sync();
    run(&connection, RETURNING).unwrap_err();
    assert_eq!(rows(&connection).as_deref(), Some("0"));
}

#[test]
fn a_commit_of_its_own_sees_its_error() {
    let mut connection = before_a_bad_sync();
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let id: i64 = transaction.query_row(RETURNING, [], |row| row.get(0)).unwrap();
    assert_eq!(id, 7);
    transaction.commit().unwrap_err();
    assert_eq!(rows(&connection).as_deref(), Some("0"));
}

/// How often, over every operation and fault while a new database is switched to a write-ahead log,
/// `switch` says that it was and after a first write the file turns out to be in another mode.
fn silent_failures(switch: impl Fn(&Connection) -> rusqlite::Result<String>) -> usize {
    let mut silent = 0;
    for operation in 0..40 {
        for fault in [Fault::IoError, Fault::SyncError, Fault::ShortWrite] {
            let disk = Disk::new(operation);
            let connection = disk.open("notes.db").unwrap();
            disk.fault_after(operation, fault);
            let said = switch(&connection);
            let written = run(&connection, "BEGIN IMMEDIATE")
                .and_then(|_| run(&connection, TABLE))
                .and_then(|_| run(&connection, "COMMIT"));
            let mode_after_a_write = run(&connection, "PRAGMA journal_mode").unwrap();
            let believed = said.as_deref() == Ok("wal") && written.is_ok();
            if believed && mode_after_a_write.as_deref() != Some("wal") {
                silent += 1;
            }
        }
    }
    silent
}

fn first_row_only(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))
}

#[test]
fn a_switch_to_the_log_can_fail_in_silence_and_a_question_after_the_first_write_shows_it() {
    assert!(silent_failures(first_row_only) > 0);
}

#[test]
fn asking_again_at_once_repeats_the_mistake() {
    let asked_twice = |connection: &Connection| {
        first_row_only(connection)?;
        connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))
    };
    assert!(silent_failures(asked_twice) > 0);
}

#[test]
fn a_switch_that_is_stepped_to_its_end_does_not_fail_in_silence() {
    let stepped = |connection: &Connection| Ok(run(connection, "PRAGMA journal_mode=WAL")?.unwrap());
    assert_eq!(silent_failures(stepped), 0);
}
