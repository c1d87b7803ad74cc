//! One transaction, with each fault at each of its operations: afterwards it took place or it did not,
//! and if it was acknowledged it did.

use rusqlite::Connection;
use tillite_simdisk::{Disk, Fault, Survive};

use crate::kit::{SAFE, Settings, run};

/// More operations than the transaction has; the sweep ends by itself before.
const MANY: u64 = 200;

fn template(settings: Settings) -> Disk {
    let disk = Disk::new(0);
    let connection = settings.open(&disk, "bank.db").unwrap();
    run(
        &connection,
        "CREATE TABLE account (id INTEGER PRIMARY KEY, held INTEGER, note TEXT)",
    )
    .unwrap();
    run(&connection, "INSERT INTO account VALUES (1, 100, ''), (2, 0, '')").unwrap();
    disk
}

/// Moves everything from one account to the other, with pages enough to be torn between them.
fn transfer(connection: &Connection) -> rusqlite::Result<()> {
    run(connection, "BEGIN IMMEDIATE")?;
    run(
        connection,
        "UPDATE account SET held = held - 100, note = hex(zeroblob(5000)) WHERE id = 1",
    )?;
    run(
        connection,
        "UPDATE account SET held = held + 100, note = hex(zeroblob(5000)) WHERE id = 2",
    )?;
    run(connection, "COMMIT")?;
    run(connection, "PRAGMA wal_checkpoint(TRUNCATE)").unwrap_or_default();
    Ok(())
}

#[test]
fn a_fault_at_any_operation_leaves_all_of_a_transaction_or_nothing() {
    let faults = [
        Fault::PowerCut,
        Fault::TornPowerCut,
        Fault::IoError,
        Fault::ShortWrite,
        Fault::Full,
        Fault::SyncError,
    ];
    let survivals = [
        Survive::OnlySynced,
        Survive::Everything,
        Survive::Random { keep_percent: 50 },
    ];
    let careful = Settings {
        journal: "DELETE",
        synchronous: "EXTRA",
    };
    for settings in [SAFE, careful] {
        let template = template(settings);
        for (fault, survive) in faults
            .iter()
            .flat_map(|fault| survivals.map(|survive| (*fault, survive)))
        {
            let mut outcomes = [0, 0];
            for operation in 0..MANY {
                let disk = template.copy(operation);
                let connection = settings.open(&disk, "bank.db").unwrap();
                let before = disk.operations();
                disk.fault_after(operation, fault);
                let acknowledged = transfer(&connection).is_ok();
                let struck = disk.operations() - before > operation;
                drop(connection);
                disk.reboot(survive);
                let again = settings.open(&disk, "bank.db").unwrap();
                let held = run(&again, "SELECT group_concat(held) FROM account").unwrap();
                let moved = match held.as_deref() {
                    Some("0,100") => true,
                    Some("100,0") => false,
                    other => panic!("{settings:?} {fault:?} {survive:?} at {operation}: {other:?}"),
                };
                assert!(
                    moved || !acknowledged,
                    "{settings:?} {fault:?} {survive:?} at {operation}"
                );
                assert_eq!(run(&again, "PRAGMA integrity_check").unwrap().as_deref(), Some("ok"));
                outcomes[usize::from(moved)] += 1;
                if !struck {
                    break;
                }
            }
            assert!(
                outcomes[0] > 1 && outcomes[1] > 0,
                "{settings:?} {fault:?} {survive:?}: {outcomes:?}"
            );
        }
    }
}
