//! Two connections exclude each other, whether in one process or in two.

use rusqlite::{Connection, ErrorCode};
use tillite_simdisk::Disk;

use crate::kit::{SAFE, Settings, TABLE, insert, notes, run};

const JOURNAL: Settings = Settings {
    journal: "DELETE",
    synchronous: "FULL",
};

fn two(settings: Settings) -> (Connection, Connection) {
    let disk = Disk::new(1);
    let a = settings.open(&disk, "notes.db").unwrap();
    run(&a, TABLE).unwrap();
    let b = settings.open(&disk, "notes.db").unwrap();
    (a, b)
}

fn is_busy<T: std::fmt::Debug>(result: rusqlite::Result<T>) -> bool {
    result.unwrap_err().sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

#[test]
fn there_is_one_writer_at_a_time() {
    for settings in [SAFE, JOURNAL] {
        let (a, mut b) = two(settings);
        run(&a, "BEGIN IMMEDIATE").unwrap();
        run(&a, "INSERT INTO note VALUES (1, 'a')").unwrap();
        assert!(is_busy(insert(&mut b, 2, "b")), "{settings:?}");
        assert_eq!(notes(&b).unwrap(), [], "what is not committed is not seen");
        run(&a, "COMMIT").unwrap();
        insert(&mut b, 2, "b").unwrap();
        assert_eq!(notes(&a).unwrap().len(), 2);
    }
}

#[test]
fn with_a_log_a_reader_keeps_its_view_while_another_writes() {
    let (reader, mut writer) = two(SAFE);
    run(&reader, "BEGIN").unwrap();
    assert_eq!(notes(&reader).unwrap(), []);
    insert(&mut writer, 1, "one").unwrap();
    assert_eq!(notes(&reader).unwrap(), []);
    let busy = run(&writer, "PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert_eq!(
        busy.as_deref(),
        Some("1"),
        "the reader still needs what the log would lose"
    );
    run(&reader, "COMMIT").unwrap();
    assert_eq!(notes(&reader).unwrap().len(), 1);
}

#[test]
fn with_a_journal_a_reader_holds_up_the_commit_and_no_new_one_comes() {
    let (reader, writer) = two(JOURNAL);
    run(&reader, "BEGIN").unwrap();
    assert_eq!(notes(&reader).unwrap(), []);
    run(&writer, "BEGIN IMMEDIATE").unwrap();
    run(&writer, "INSERT INTO note VALUES (1, 'one')").unwrap();
    assert!(is_busy(run(&writer, "COMMIT")));
    run(&reader, "COMMIT").unwrap();
    assert!(is_busy(notes(&reader)), "the writer waits for its turn");
    run(&writer, "COMMIT").unwrap();
    assert_eq!(notes(&reader).unwrap().len(), 1);
}

#[test]
fn an_upgrade_of_an_old_view_is_refused() {
    let (stale, mut writer) = two(SAFE);
    run(&stale, "BEGIN").unwrap();
    assert_eq!(notes(&stale).unwrap(), []);
    insert(&mut writer, 1, "one").unwrap();
    assert!(is_busy(run(&stale, "INSERT INTO note VALUES (2, 'two')")));
}

#[test]
fn a_connection_that_closes_gives_up_its_locks() {
    for settings in [SAFE, JOURNAL] {
        let (a, mut b) = two(settings);
        run(&a, "BEGIN IMMEDIATE").unwrap();
        run(&a, "INSERT INTO note VALUES (1, 'a')").unwrap();
        drop(a);
        insert(&mut b, 2, "b").unwrap();
        assert_eq!(notes(&b).unwrap().len(), 1);
    }
}

#[test]
fn disks_do_not_see_each_other() {
    let (one, two) = (Disk::new(1), Disk::new(1));
    let a = SAFE.open(&one, "notes.db").unwrap();
    run(&a, TABLE).unwrap();
    run(&a, "BEGIN EXCLUSIVE").unwrap();
    let b = SAFE.open(&two, "notes.db").unwrap();
    run(&b, TABLE).unwrap();
    assert_ne!(one.path("notes.db"), two.path("notes.db"));
}
