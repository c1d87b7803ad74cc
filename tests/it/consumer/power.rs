//! The power goes and the disk fails at any moment: the host's table is the beginning of the log, each event
//! once and in order, and the whole of it when all is well again.

use std::time::Duration;

use tillite::testing::{Disk, Fault, ManualClock, SeededEntropy, Survive};
use tillite::{App, Budget, Engine, Error, Mode, NewCustomer, Work};

use super::{logged, note};
use crate::kit::clean;

const FILE: &str = "shop.db";
const FAULTS: [Fault; 6] = [
    Fault::PowerCut,
    Fault::TornPowerCut,
    Fault::IoError,
    Fault::ShortWrite,
    Fault::SyncError,
    Fault::Full,
];

fn open(disk: &Disk, clock: &ManualClock, seed: u64) -> tillite::Result<Engine> {
    let builder = Engine::builder().clock(clock.clone()).entropy(SeededEntropy::new(seed));
    builder.consumer("notes", note).virtual_waiting().open_on(disk, FILE)
}

fn seen(disk: &Disk) -> Vec<(i64, String)> {
    let file = disk.open(FILE).unwrap();
    let Ok(mut rows) = file.prepare("SELECT position, what FROM seen ORDER BY rowid") else {
        return Vec::new();
    };
    let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// A day of sales and consuming, until something fails.
fn day(engine: &Engine, app: &App, made: &mut u32) -> Result<(), Error> {
    for _ in 0..4 {
        for _ in 0..5 {
            *made += 1;
            app.customers().set(NewCustomer::uid(format!("u_{made}")))?;
        }
        engine.run_due(Budget::items(7).work(Work::CONSUMERS))?;
    }
    Ok(())
}

#[test]
fn each_event_is_in_the_hosts_table_once_after_every_crash() {
    let (mut crashes, mut taken_in_doubt) = (0, 0);
    for seed in 0..60_u64 {
        let disk = Disk::new(seed);
        let clock = ManualClock::new();
        drop(open(&disk, &clock, 0).unwrap().app("a", Mode::Test).unwrap());
        let mut made = 0;
        for at in 0..4_u64 {
            let number = seed * 4 + at;
            let engine = open(&disk, &clock, number).unwrap();
            let app = engine.find_app("a", Mode::Test).unwrap();
            let fault = FAULTS[usize::try_from(number).unwrap() % FAULTS.len()];
            disk.fault_after(number * 37 % 120, fault);
            let before = seen(&disk).len();
            let ended = day(&engine, &app, &mut made);
            crashes += u32::from(ended.is_err());
            drop((app, engine));
            if disk.is_off() {
                disk.reboot(Survive::Random { keep_percent: 50 });
            }
            disk.clear_faults();
            clock.turn(Duration::from_secs(1));
            let engine = open(&disk, &clock, number).unwrap();
            let app = engine.find_app("a", Mode::Test).unwrap();
            let (seen, all) = (seen(&disk), logged(&app));
            assert_eq!(seen, all[..seen.len()], "seed {seed}, {fault:?}");
            taken_in_doubt += u32::from(ended.is_err() && seen.len() > before);
            let progress = &app.consumers().list(1, None).unwrap().data[0];
            assert_eq!(
                usize::try_from(progress.position).unwrap(),
                seen.len(),
                "seed {seed}, {fault:?}"
            );
            assert_eq!(progress.failures, 0, "a disk that fails is no failure of the consumer");
            clean(&engine);
        }
        let engine = open(&disk, &clock, 1000 + seed).unwrap();
        engine.run_due(Budget::items(1_000).work(Work::CONSUMERS)).unwrap();
        assert_eq!(
            seen(&disk),
            logged(&engine.find_app("a", Mode::Test).unwrap()),
            "seed {seed}"
        );
    }
    assert!(
        crashes > 100 && taken_in_doubt > 20,
        "{crashes} crashes, {taken_in_doubt} behind something taken"
    );
}
