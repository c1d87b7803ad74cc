//! Opening with every fault at every operation: a new file, one of each state, an older version, a
//! host's own.

use tillite::testing::{Disk, Survive};
use tillite::{Engine, Error, Result, StorageKind};

use super::stage::{FILE, Start, Template, World, is_clean, shape};
use super::{TROUBLES, Trouble};
use crate::file::sql;

type Make = fn() -> World;

fn copy(start: Start) -> World {
    Template::of(start).world()
}

/// What is opened.
const OPENINGS: &[(&str, Make)] = &[
    ("a file that is not there", || World::new(Disk::new(1))),
    ("a file at rest", || copy(Start::AtRest)),
    ("a file with a log", || copy(Start::AfterACrash)),
    ("a file with a call whose lease has ended", || {
        let world = copy(Start::AfterACrash);
        world.clock.turn(std::time::Duration::from_secs(3_600));
        world
    }),
    ("a file of version 1", || {
        let disk = Disk::new(1);
        disk.put_file(FILE, include_bytes!("../../files/v1.db"));
        let world = World::new(disk);
        world.clock.turn(std::time::Duration::from_secs(18 * 3_600));
        world
    }),
    ("a host's own file", || {
        let disk = Disk::new(1);
        let neighbour = disk.open(FILE).unwrap();
        sql(&neighbour, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)");
        sql(&neighbour, "INSERT INTO orders (note) VALUES ('first')");
        drop(neighbour);
        World::new(disk)
    }),
];

/// The file as a whole, once it is open.
fn held(engine: &Engine) -> String {
    shape(&engine.dump().unwrap())
}

fn strike(case: &str, make: Make, trouble: Trouble, at: usize, after: &str) {
    let world = make();
    trouble.plan(&world, at);
    let opened = world.open(1);
    match trouble {
        Trouble::Cut { survive, .. } => {
            assert!(world.disk.is_off(), "{case}: it was not struck");
            check_refusal(&opened, case);
            drop(opened);
            world.disk.reboot(survive);
        }
        Trouble::Fails(_) | Trouble::BadRead => {
            world.disk.clear_faults();
            check_refusal(&opened, case);
            if let Ok(engine) = opened {
                assert!(held(&engine) == after, "{case}: it was opened and is something else");
            }
        }
    }
    // Again in the same process, where it lives on; in another one after a power cut.
    let engine = world.open(2).unwrap_or_else(|error| panic!("{case}, again: {error}"));
    assert!(held(&engine) == after, "{case}: half of it is in the file");
    is_clean(&engine, case);
    world.disk.power_off();
    drop(engine);
    world.disk.reboot(Survive::OnlySynced);
    let engine = world.open(3).unwrap_or_else(|error| panic!("{case}, later: {error}"));
    assert!(held(&engine) == after, "{case}: something is lost");
    assert_eq!(world.till.requests().len(), 0, "{case}: a hook was called");
}

fn check_refusal(opened: &Result<Engine>, case: &str) {
    use StorageKind::{CantOpen, DiskFull, Io, OutcomeUnknown};
    match opened {
        Ok(_) => {}
        Err(Error::Storage(error)) if matches!(error.kind, Io | CantOpen | DiskFull | OutcomeUnknown) => {}
        Err(error) => panic!("{case}: {error:?}"),
    }
}

#[test]
fn a_fault_while_a_file_is_opened_leaves_it_to_be_opened() {
    let begun = std::time::Instant::now();
    let mut cases = 0;
    for (what, make) in OPENINGS {
        let world = make();
        let reads = world.disk.stats().reads;
        world.disk.start_trace();
        let engine = world.open(1).unwrap();
        let operations = world.disk.take_trace();
        let reads = usize::try_from(world.disk.stats().reads - reads).unwrap();
        let after = held(&engine);
        is_clean(&engine, what);
        for trouble in TROUBLES {
            for at in trouble.places(&operations, reads) {
                let operation = operations.get(at).map_or("", String::as_str);
                strike(
                    &format!("{what} {trouble:?} at {at} {operation}"),
                    *make,
                    *trouble,
                    at,
                    &after,
                );
                cases += 1;
            }
        }
        println!("{what}: {} operations, {reads} reads", operations.len());
    }
    println!("{cases} faults, {:.1?}", begun.elapsed());
}
