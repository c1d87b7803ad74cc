//! A bit that turns over is noticed, or hits nothing that is read; in a log it is never read as data.

use rusqlite::ErrorCode;
use tillite_simdisk::{Disk, Survive};

use crate::kit::{Numbers, SAFE, TABLE, insert, notes, run};

/// What the first page begins with, before its part of the tree.
const DATABASE_HEADER: usize = 100;

fn filled() -> Disk {
    let disk = Disk::new(0);
    let mut connection = SAFE.open(&disk, "notes.db").unwrap();
    run(&connection, TABLE).unwrap();
    for id in 0..50 {
        insert(&mut connection, id, &"text ".repeat(40)).unwrap();
    }
    drop(connection);
    disk
}

/// Each page of a tree begins with what kind it is and how many cells it has, where.
#[test]
fn a_turned_bit_in_the_head_of_any_page_is_noticed() {
    let filled = filled();
    let pages = filled.file("notes.db").unwrap().len() / 4096;
    assert!(pages > 3);
    for page in 0..pages {
        let head = page * 4096 + if page == 0 { DATABASE_HEADER } else { 0 };
        // The kind, then the number of cells, high byte and low byte.
        for (byte, bit) in (0..8).map(|bit| (head, bit)).chain([(head + 3, 1), (head + 4, 0)]) {
            let disk = filled.copy(1);
            assert!(disk.flip_bit("notes.db", byte, bit));
            let found = SAFE.open(&disk, "notes.db");
            let found = found.and_then(|connection| run(&connection, "PRAGMA integrity_check"));
            assert_ne!(
                found.ok().flatten().as_deref(),
                Some("ok"),
                "page {page}, byte {byte}, bit {bit}"
            );
        }
    }
}

#[test]
fn a_damaged_page_is_an_error_when_it_is_read() {
    let disk = filled();
    // A leaf becomes something that no tree has.
    assert!(disk.flip_bit("notes.db", 3 * 4096, 5));
    let error = notes(&SAFE.open(&disk, "notes.db").unwrap()).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt));
}

/// A frame with a wrong checksum ends the log: what is found is a beginning of what was committed.
#[test]
fn a_turned_bit_in_the_log_ends_it_and_is_never_read() {
    let disk = Disk::new(0);
    let mut connection = SAFE.open(&disk, "notes.db").unwrap();
    run(&connection, TABLE).unwrap();
    run(&connection, "PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut committed = Vec::new();
    for id in 0..12 {
        let text = format!("text {id} ").repeat(30);
        insert(&mut connection, id, &text).unwrap();
        committed.push((id, text));
    }
    disk.reboot(Survive::OnlySynced);
    let log = disk.file("notes.db-wal").unwrap().len();
    let mut numbers = Numbers::new(9);
    let mut shortest = committed.len();
    for _ in 0..400 {
        let disk = disk.copy(1);
        let byte = usize::try_from(numbers.below(log as u64)).unwrap();
        assert!(disk.flip_bit("notes.db-wal", byte, u8::try_from(numbers.below(8)).unwrap()));
        let connection = SAFE.open(&disk, "notes.db").unwrap();
        let found = notes(&connection).unwrap();
        assert!(committed.starts_with(&found), "byte {byte}: {found:?}");
        assert_eq!(
            run(&connection, "PRAGMA integrity_check").unwrap().as_deref(),
            Some("ok")
        );
        shortest = shortest.min(found.len());
    }
    assert_eq!(shortest, 0, "some bit was in the first frame");
}
