//! The same seed gives the same bytes, those of SQLite's own randomness included. That randomness is
//! one for the process, so this test has a process of its own.

use rusqlite::Connection;
use tillite_simdisk::{Disk, Fault, Survive, seed_sqlite};

/// Everything that a run leaves behind: what was done, and each file's name and bytes.
type Remains = (Vec<String>, Vec<(String, Option<Vec<u8>>)>);

fn write_until_the_power_goes(seed: u64) -> Remains {
    seed_sqlite(seed);
    let disk = Disk::new(seed);
    disk.start_trace();
    for cut in 0..4 {
        disk.fault_after(20 + seed % 40 + cut, Fault::TornPowerCut);
        // What it comes to is seen from the disk.
        let _ = disk.open("notes.db").and_then(|connection| fill(&connection));
        disk.reboot(Survive::Random { keep_percent: 50 });
    }
    let files = disk.files().into_iter();
    let files = files.map(|name| (name.clone(), disk.file(&name))).collect();
    (disk.take_trace(), files)
}

fn fill(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare("PRAGMA journal_mode=WAL")?.query([])?.next()?;
    connection.execute(
        "CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text BLOB)",
        [],
    )?;
    loop {
        connection.execute("INSERT INTO note (text) VALUES (randomblob(900))", [])?;
    }
}

#[test]
fn a_seed_replays_to_the_byte() {
    let first: Vec<Remains> = (1..50).map(write_until_the_power_goes).collect();
    for (seed, remains) in (1..).zip(&first) {
        assert!(write_until_the_power_goes(seed) == *remains, "seed {seed}");
    }
    let with_a_log = |(_, files): &&Remains| files.iter().any(|(name, _)| name.ends_with("-wal"));
    assert!(first.iter().filter(with_a_log).count() > 10);
    assert!(
        first.windows(2).all(|pair| pair[0] != pair[1]),
        "another seed, other bytes"
    );
}
