//! A connection from before a reboot is dead, and the dead do no harm.

use rusqlite::ErrorCode;
use tillite_simdisk::{Disk, Survive};

use crate::kit::{SAFE, Settings, TABLE, insert, notes, run};

const JOURNAL: Settings = Settings {
    journal: "DELETE",
    synchronous: "EXTRA",
};

#[test]
fn a_connection_from_before_a_reboot_gets_errors_and_changes_nothing() {
    for settings in [SAFE, JOURNAL] {
        let disk = Disk::new(1);
        let mut old = settings.open(&disk, "notes.db").unwrap();
        run(&old, TABLE).unwrap();
        insert(&mut old, 1, "one").unwrap();
        disk.reboot(Survive::OnlySynced);
        let mut new = settings.open(&disk, "notes.db").unwrap();
        insert(&mut new, 2, "two").unwrap();
        let files = disk.files();
        insert(&mut old, 3, "three").unwrap_err();
        run(&old, "PRAGMA wal_checkpoint(TRUNCATE)").unwrap_or_default();
        drop(old);
        assert_eq!(disk.files(), files, "{settings:?}");
        insert(&mut new, 4, "four").unwrap();
        let ids: Vec<u64> = notes(&new).unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [1, 2, 4], "{settings:?}");
        assert_eq!(run(&new, "PRAGMA integrity_check").unwrap().as_deref(), Some("ok"));
    }
}

/// A rollback journal is made at the first change, long after the transaction has its lock. If one of
/// the dead could make it, whoever opens the database next would roll back to what the dead had read.
#[test]
fn a_transaction_from_before_a_reboot_leaves_no_journal_behind() {
    let disk = Disk::new(1);
    let old = JOURNAL.open(&disk, "notes.db").unwrap();
    run(&old, TABLE).unwrap();
    run(&old, "BEGIN IMMEDIATE").unwrap();
    disk.reboot(Survive::OnlySynced);
    run(&old, "INSERT INTO note VALUES (1, 'dead')").unwrap_err();
    assert_eq!(disk.files(), ["notes.db"]);
}

#[test]
fn a_log_that_was_not_synced_is_lost_with_its_name() {
    let disk = Disk::new(1);
    let connection = SAFE.open(&disk, "notes.db").unwrap();
    run(&connection, TABLE).unwrap();
    drop(connection);
    // A log of before that was deleted could come back instead; the copy's directory knows of none.
    let disk = disk.copy(1);
    let lazy = Settings {
        synchronous: "OFF",
        ..SAFE
    };
    let mut connection = lazy.open(&disk, "notes.db").unwrap();
    insert(&mut connection, 1, "one").unwrap();
    assert_eq!(disk.files(), ["notes.db", "notes.db-wal"]);
    disk.reboot(Survive::OnlySynced);
    assert_eq!(disk.files(), ["notes.db"]);
    assert_eq!(notes(&SAFE.open(&disk, "notes.db").unwrap()).unwrap(), []);
}

#[test]
fn without_power_nothing_opens_and_nothing_is_read() {
    let disk = Disk::new(1);
    let connection = SAFE.open(&disk, "notes.db").unwrap();
    run(&connection, TABLE).unwrap();
    disk.power_off();
    assert!(disk.is_off());
    notes(&connection).unwrap_err();
    let error = SAFE.open(&disk, "notes.db").unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure));
    disk.reboot(Survive::Everything);
    assert!(!disk.is_off());
    notes(&connection).unwrap_err();
    assert_eq!(notes(&SAFE.open(&disk, "notes.db").unwrap()).unwrap(), []);
}

/// The old connections still point into the shared memory that they had. It must not be the new one,
/// and must not be freed under them.
#[test]
fn shared_memory_of_the_dead_is_theirs_alone() {
    let disk = Disk::new(1);
    let mut old: Vec<_> = (0..3).map(|_| SAFE.open(&disk, "notes.db").unwrap()).collect();
    run(&old[0], TABLE).unwrap();
    for id in 0..20 {
        disk.reboot(Survive::Everything);
        let mut new = SAFE.open(&disk, "notes.db").unwrap();
        insert(&mut new, id, "alive").unwrap();
        for dead in &mut old {
            insert(dead, 100 + id, "dead").unwrap_err();
        }
        assert_eq!(notes(&new).unwrap().len() as u64, id + 1);
        old.push(new);
    }
}
