//! Files put onto a disk and taken from it, disks made from disks, and files without a name.

use rusqlite::ErrorCode;
use tillite_simdisk::{Disk, Fault, Survive};

use crate::kit::{SAFE, TABLE, insert, notes, run};

fn template() -> Disk {
    let disk = Disk::new(0);
    let mut connection = SAFE.open(&disk, "notes.db").unwrap();
    run(&connection, TABLE).unwrap();
    insert(&mut connection, 1, "one").unwrap();
    drop(connection);
    disk
}

#[test]
fn a_database_can_be_carried_from_disk_to_disk() {
    let image = template().file("notes.db").unwrap();
    let disk = Disk::new(1);
    disk.put_file("copy.db", &image);
    disk.reboot(Survive::OnlySynced);
    let connection = SAFE.open(&disk, "copy.db").unwrap();
    assert_eq!(notes(&connection).unwrap().len(), 1);
    assert_eq!(disk.file("none"), None);
}

#[test]
fn a_copy_of_a_disk_goes_its_own_way() {
    let template = template();
    let image = template.file("notes.db");
    let (a, b) = (template.copy(1), template.copy(2));
    let mut connection = SAFE.open(&a, "notes.db").unwrap();
    insert(&mut connection, 2, "two").unwrap();
    drop(connection);
    assert_eq!(template.file("notes.db"), image);
    assert_eq!(b.file("notes.db"), image);
    assert_ne!(a.file("notes.db"), image);
    b.reboot(Survive::OnlySynced);
    assert_eq!(b.file("notes.db"), image, "a copy is on the medium");
}

#[test]
fn temporary_files_need_no_disk() {
    let disk = template();
    let connection = SAFE.open(&disk, "notes.db").unwrap();
    for sql in [
        "PRAGMA temp_store=FILE",
        "PRAGMA cache_size=2",
        "CREATE TEMP TABLE scratch (text TEXT)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO scratch SELECT hex(randomblob(100)) FROM n",
        "CREATE TABLE sorted AS SELECT text FROM scratch ORDER BY text",
        "VACUUM",
    ] {
        run(&connection, sql).unwrap();
    }
    assert_eq!(
        run(&connection, "SELECT count(*) FROM sorted").unwrap().as_deref(),
        Some("3000")
    );
    drop(connection);
    assert_eq!(disk.files(), ["notes.db"]);
}

#[test]
fn a_full_disk_can_be_read_and_written_again_after_it_was_cleared() {
    let disk = template();
    let mut connection = SAFE.open(&disk, "notes.db").unwrap();
    disk.fault_after(0, Fault::Full);
    let error = insert(&mut connection, 2, "two").unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DiskFull));
    assert_eq!(notes(&connection).unwrap().len(), 1);
    disk.clear_faults();
    insert(&mut connection, 2, "two").unwrap();
}

#[test]
fn a_read_that_fails_is_an_error_and_the_next_one_works() {
    let disk = template();
    let connection = SAFE.open(&disk, "notes.db").unwrap();
    disk.fail_read_after(0);
    let error = notes(&connection).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure));
    assert_eq!(notes(&connection).unwrap().len(), 1);
}

#[test]
fn the_clock_stands() {
    let connection = Disk::new(1).open("notes.db").unwrap();
    let now = run(&connection, "SELECT datetime('now')").unwrap();
    assert_eq!(now.as_deref(), Some("1970-01-01 00:00:00"));
}

#[test]
fn what_was_done_is_counted_and_can_be_read() {
    let disk = Disk::new(1);
    disk.start_trace();
    let connection = disk.open("notes.db").unwrap();
    run(&connection, TABLE).unwrap();
    disk.reboot(Survive::Everything);
    let (stats, trace) = (disk.stats(), disk.take_trace());
    let count = |kind: &str| trace.iter().filter(|line| line.starts_with(kind)).count() as u64;
    assert_eq!(stats.operations, disk.operations());
    assert_eq!(stats.operations, trace.len() as u64 - count("reboot"));
    assert_eq!(
        (stats.writes, stats.syncs, stats.reboots),
        (count("write"), count("sync"), 1)
    );
    assert!(stats.reads > 0 && stats.written_bytes > 8192, "{stats:?}");
    assert!(
        trace.iter().all(|line| !line.contains("simdisk")),
        "a replay on another disk reads the same"
    );
}
