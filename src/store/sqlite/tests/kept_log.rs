//! A log that could not be worked into the file, on a disk that forgets what it did not sync.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::config::DbConfig;
use tillite_simdisk::{Disk, Fault, Point, Survive};

use super::*;
use crate::store::Sql;

/// A table of the host's own.
const TABLE: &str = "CREATE TABLE host_note (text TEXT)";
const NOTE: &str = "INSERT INTO host_note (text) VALUES (hex(randomblob(3000)))";

const ROWS: &str = "SELECT count(*) FROM host_note";

struct MakeTable;

impl Command for MakeTable {
    fn run(&mut self, sql: &mut dyn Sql) -> Result<()> {
        sql.exec(TABLE, &[]).map(|_| ())
    }

    fn committed(&mut self) {}
}

fn on(disk: &Disk) -> Store {
    Store::new(open(Place::on(Disk::vfs(), &disk.path("shop.db")), 0).unwrap())
}

fn note(store: &Store) {
    store.write_raw(Access::Shared, |sql| sql.exec(NOTE, &[])).unwrap();
}

fn notes(store: &Store) -> i64 {
    let mut rows = None;
    store
        .read(|sql| {
            sql.each(ROWS, &[], &mut |row| {
                rows = Some(row.int(0)?);
                Ok(())
            })
        })
        .unwrap();
    rows.unwrap()
}

/// So many notes are in a whole file when the power is back.
fn found_after_a_cut(disk: &Disk, wanted: i64, seed: u64) {
    disk.reboot(Survive::OnlySynced);
    let store = on(disk);
    assert_eq!(notes(&store), wanted, "seed {seed}");
    assert_eq!(store.backend().check().unwrap(), [""; 0]);
}

/// A checkpoint fails after another has copied a part of the log without a sync, because somebody read
/// meanwhile. The one who reads stays as a host's own connection. A read may fail as well, so many
/// reads later.
fn with_a_failed_checkpoint(disk: &Disk, bad_read: Option<u64>) -> (Store, Connection) {
    let store = on(disk);
    store.write_raw(Access::Shared, |sql| sql.exec(TABLE, &[])).unwrap();
    note(&store);
    let host = disk.open("shop.db").unwrap();
    run(&host, "BEGIN").unwrap();
    run(&host, ROWS).unwrap();
    note(&store);
    store.backend().checkpoint().unwrap_err();
    run(&host, "ROLLBACK").unwrap();
    assert_eq!(store.backend().log_failure(), None, "a reader is no failure");
    // The first sync is the log's.
    disk.fault_after(1, Fault::SyncError);
    if let Some(after) = bad_read {
        disk.fail_read_after(after);
    }
    let failed = store.backend().checkpoint().unwrap_err();
    assert!(
        matches!(&failed, Error::Storage(error) if error.kind == StorageKind::Io),
        "{failed:?}"
    );
    assert!(store.backend().log_failure().is_some() || bad_read.is_some());
    (store, host)
}

#[test]
fn a_failed_checkpoint_loses_nothing() {
    for seed in 0..40 {
        let disk = Disk::new(seed);
        let (store, host) = with_a_failed_checkpoint(&disk, None);
        store.backend().checkpoint().unwrap_err();
        for _ in 0..60 {
            note(&store);
        }
        disk.power_off();
        drop((store, host));
        found_after_a_cut(&disk, 62, seed);
    }
}

#[test]
fn nobody_else_begins_the_log_anew_after_a_failed_checkpoint() {
    for seed in 0..40 {
        let disk = Disk::new(seed);
        let (store, host) = with_a_failed_checkpoint(&disk, None);
        // This one comes later, so its disk tells it nothing.
        let late = disk.open("shop.db").unwrap();
        for connection in [&host, &late, &late] {
            let _ = run(connection, "PRAGMA wal_checkpoint(RESTART)");
            run(connection, "INSERT INTO host_note (text) VALUES ('a')").unwrap();
        }
        disk.power_off();
        drop((store, host, late));
        found_after_a_cut(&disk, 5, seed);
    }
}

#[test]
fn closing_everything_and_opening_again_mends_a_log_that_was_kept() {
    for seed in 0..120 {
        let disk = Disk::new(seed);
        // So that what is done about it fails too, sooner or later.
        let (store, host) = with_a_failed_checkpoint(&disk, seed.checked_sub(40));
        disk.clear_faults();
        let is_reopened = seed % 4 >= 2;
        if is_reopened {
            // A commit in doubt, so that the next has another connection.
            disk.fault_after(0, Fault::SyncError);
            store.write_raw(Access::Shared, |sql| sql.exec(NOTE, &[])).unwrap_err();
            note(&store);
        }
        // Whoever goes last may work the log in.
        if seed % 2 == 0 {
            drop((store, host));
        } else {
            drop((host, store));
        }
        let store = on(&disk);
        assert_eq!(store.backend().log_failure(), None);
        store.backend().checkpoint().unwrap();
        note(&store);
        disk.power_off();
        drop(store);
        found_after_a_cut(&disk, 3 + i64::from(is_reopened), seed);
    }
}

#[test]
fn no_sync_fails_unnoticed() {
    const MANY_PAGES: &str = "INSERT INTO host_note (text) VALUES (hex(randomblob(130000)))";
    let disk = Disk::new(1);
    let before = |disk: &Disk| {
        let store = on(disk);
        store.write_raw(Access::Shared, |sql| sql.exec(TABLE, &[])).unwrap();
        store
    };
    let sell = |store: &Store| {
        let mut failures = 0;
        for _ in 0..30 {
            failures += usize::from(
                store
                    .write_raw(Access::Shared, |sql| sql.exec(MANY_PAGES, &[]))
                    .is_err(),
            );
        }
        failures
    };
    let store = before(&disk);
    let start = disk.operations();
    assert_eq!(sell(&store), 0);
    let operations = disk.operations() - start;
    for operation in (0..operations - 200).step_by(101) {
        let disk = Disk::new(1);
        let store = before(&disk);
        disk.fault_after(operation, Fault::SyncError);
        let failures = sell(&store);
        assert!(
            failures > 0 || store.backend().log_failure().is_some(),
            "operation {operation} of {operations}"
        );
    }
}

#[test]
fn a_writer_hears_that_the_log_is_kept_also_where_another_connection_works_it_in() {
    let disk = Disk::new(1);
    let place = Place::on(Disk::vfs(), &disk.path("shop.db"));
    let sqlite = open(place.clone(), 0).unwrap();
    sqlite.writer().log.beside = Some(open::writer(&place).unwrap());
    // The first sync is the log's.
    disk.fault_after(1, Fault::SyncError);
    sqlite.write(Access::Shared, Box::new(MakeTable)).unwrap();
    assert!(sqlite.log_failure().is_some());
    let mut writer = sqlite.writer();
    let connection = writer.connection(|| Ok(())).unwrap();
    assert!(
        connection
            .db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
            .unwrap()
    );
}

/// The log is on the medium and its name in the directory; what is not in the log any more is in the
/// file.
#[test]
fn the_log_is_worked_in_after_so_many_commands_and_when_the_last_connection_goes() {
    let disk = Disk::new(1);
    let store = on(&disk);
    let log = || disk.file("shop.db-wal").map(|log| log.len());
    store.write_raw(Access::Shared, |sql| sql.exec(TABLE, &[])).unwrap();
    let lengths: Vec<usize> = std::iter::repeat_with(|| {
        note(&store);
        log().unwrap()
    })
    .take(400)
    .collect();
    // It is begun anew from time to time, so it stops growing.
    assert_eq!(lengths[250], lengths[399]);
    // Those who read leave the log as it is; the one who writes goes after them.
    notes(&store);
    drop(store);
    assert_eq!(log(), None);
}

/// The library begins a log anew only where a checkpoint was about all of it, and beside processes that
/// are busy somebody has always written meanwhile.
#[test]
fn a_log_to_which_somebody_writes_during_each_checkpoint_is_begun_anew_all_the_same() {
    const THIRTY_PAGES: &str = "INSERT INTO host_note (text) VALUES (hex(randomblob(60000)))";
    let disk = Disk::new(1);
    let store = on(&disk);
    store.write_raw(Access::Shared, |sql| sql.exec(TABLE, &[])).unwrap();
    let host = disk.open("shop.db").unwrap();
    run(&host, "PRAGMA wal_autocheckpoint = 0").unwrap();
    host.busy_timeout(Duration::ZERO).unwrap();
    let (host, turn) = (Mutex::new(host), Arc::new(AtomicBool::new(false)));
    let its_turn = Arc::clone(&turn);
    disk.on_point(move |point| {
        // What the host does comes here too. While somebody else writes it is refused, so that leaves
        // the writes of checkpoints.
        if let (Point::Write, true, Ok(host)) = (point, its_turn.load(Ordering::Relaxed), host.try_lock()) {
            its_turn.store(run(&host, NOTE).is_err(), Ordering::Relaxed);
        }
    });
    let longest = (0..300)
        .map(|_| {
            turn.store(true, Ordering::Relaxed);
            store
                .write_raw(Access::Shared, |sql| sql.exec(THIRTY_PAGES, &[]))
                .unwrap();
            disk.file("shop.db-wal").map_or(0, |log| log.len())
        })
        .max();
    disk.clear_on_point();
    // Past four thousand pages something is done about it.
    assert!(longest < Some(24 << 20), "{longest:?}");
}
