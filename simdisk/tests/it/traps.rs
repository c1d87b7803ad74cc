//! Where a caller is told that something succeeded which did not, or that will be lost.
//!
//! A statement that gives rows commits by itself when it is reset, after its last row; calls that look
//! at the first row and drop the rest drop the error of that commit with it. And what a commit is worth
//! depends on those before it.

#![allow(clippy::disallowed_methods, reason = "these calls are what is shown to lose errors")]

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tillite_simdisk::{Disk, Fault, Survive};

use crate::kit::{SAFE, TABLE, insert, notes, run};

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

/// Whether the last of three commits is found after a power cut, where it was acknowledged. The first
/// is made with this setting; the second fails, because its sync does, and its connection is given up;
/// the third is made on a new one. Somebody reads meanwhile, so that the log stays as it is.
fn an_acknowledged_commit_is_found(first: &'static str, survive: Survive, seed: u64) -> bool {
    let disk = Disk::new(seed);
    let mut connection = SAFE.open(&disk, "notes.db").unwrap();
    run(&connection, TABLE).unwrap();
    let reader = SAFE.open(&disk, "notes.db").unwrap();
    assert_eq!(notes(&reader), Ok(vec![]));
    run(&connection, &format!("PRAGMA synchronous={first}")).unwrap();
    insert(&mut connection, 1, "one").unwrap();
    run(&connection, "PRAGMA synchronous=FULL").unwrap();
    disk.fault_after(0, Fault::SyncError);
    insert(&mut connection, 2, "two").unwrap_err();
    drop(connection);
    let mut connection = SAFE.open(&disk, "notes.db").unwrap();
    insert(&mut connection, 3, "three").unwrap();
    disk.power_off();
    drop((connection, reader));
    disk.reboot(survive);
    let found = notes(&SAFE.open(&disk, "notes.db").unwrap()).unwrap();
    found.iter().any(|(id, _)| *id == 3)
}

#[test]
fn one_commit_that_did_not_wait_for_the_disk_can_cost_a_later_one_that_did() {
    for survive in [Survive::OnlySynced, Survive::Random { keep_percent: 50 }] {
        let lost = |first| {
            (0..100)
                .filter(|seed| !an_acknowledged_commit_is_found(first, survive, *seed))
                .count()
        };
        // What stood unsynced in front of the failed sync is never written again, and the log is read
        // up to the first gap.
        assert!(lost("NORMAL") > 20, "{survive:?}");
        assert_eq!(lost("FULL"), 0, "{survive:?}");
    }
}

/// Whether everything that was acknowledged is found after a power cut, where a checkpoint failed to
/// sync the file, and `mend` is done before it is tried again. Once before, a checkpoint copied a part
/// of the log and did not sync it, because somebody read meanwhile.
fn a_failed_checkpoint_loses_nothing(seed: u64, mend: impl FnOnce(Connection) -> Connection) -> bool {
    const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";
    let disk = Disk::new(seed);
    let mut connection = SAFE.open(&disk, "notes.db").unwrap();
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .unwrap();
    run(&connection, "PRAGMA wal_autocheckpoint=0").unwrap();
    run(&connection, TABLE).unwrap();
    let text = "long enough for more than one page ".repeat(200);
    insert(&mut connection, 1, &text).unwrap();
    let reader = SAFE.open(&disk, "notes.db").unwrap();
    run(&reader, "BEGIN").unwrap();
    assert_eq!(notes(&reader).unwrap().len(), 1);
    insert(&mut connection, 2, &text).unwrap();
    run(&connection, CHECKPOINT).unwrap();
    drop(reader);
    // Behind the sync of the log.
    disk.fault_after(1, Fault::SyncError);
    run(&connection, CHECKPOINT).unwrap_err();
    connection = mend(connection);
    run(&connection, CHECKPOINT).unwrap();
    // The log begins anew.
    insert(&mut connection, 3, "three").unwrap();
    disk.power_off();
    drop(connection);
    disk.reboot(Survive::OnlySynced);
    let Ok(connection) = SAFE.open(&disk, "notes.db") else {
        return false;
    };
    let is_whole = run(&connection, "PRAGMA integrity_check").ok().flatten().as_deref() == Some("ok");
    is_whole && notes(&connection).is_ok_and(|notes| notes == [(1, text.clone()), (2, text), (3, "three".to_owned())])
}

#[test]
fn a_checkpoint_that_failed_and_is_tried_again_loses_what_an_earlier_one_had_not_synced() {
    let lost = |mend: fn(Connection) -> Connection| {
        (0..100)
            .filter(|seed| !a_failed_checkpoint_loses_nothing(*seed, mend))
            .count()
    };
    assert!(lost(|connection| connection) > 20);
    // Whoever opens a file that nobody has open reads its log from the beginning.
    let open_again: fn(Connection) -> Connection = |connection| {
        let path = connection.path().unwrap().to_owned();
        drop(connection);
        Connection::open_with_flags_and_vfs(path, OpenFlags::default(), Disk::vfs()).unwrap()
    };
    assert_eq!(lost(open_again), 0);
}
