//! Two threads on one disk, of which one runs at a time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use tillite_simdisk::{Disk, Point};

use crate::kit::{Numbers, SAFE, TABLE, insert, notes, run};

/// What the two hand to each other. Who holds it runs.
struct Baton {
    turn: Mutex<(usize, Numbers)>,
    handed: Condvar,
    finished: AtomicUsize,
}

thread_local! {
    static ME: std::cell::Cell<usize> = const { std::cell::Cell::new(usize::MAX) };
}

impl Baton {
    fn new(seed: u64) -> Baton {
        Baton {
            turn: Mutex::new((0, Numbers::new(seed))),
            handed: Condvar::new(),
            finished: AtomicUsize::new(0),
        }
    }

    /// Waits for the first turn.
    fn begin(&self, me: usize) {
        ME.set(me);
        let turn = self.turn.lock().unwrap();
        drop(self.handed.wait_while(turn, |turn| turn.0 != me).unwrap());
    }

    /// Hands it over sometimes, and always if there is nothing to do but wait.
    fn reach(&self, point: Point) {
        let me = ME.get();
        let mut turn = self.turn.lock().unwrap();
        if me > 1 || self.finished.load(Ordering::SeqCst) > 0 {
            return;
        }
        if point == Point::Sleep || turn.1.below(3) == 0 {
            turn.0 = 1 - me;
            self.handed.notify_all();
            drop(self.handed.wait_while(turn, |turn| turn.0 != me).unwrap());
        }
    }

    fn end(&self) {
        self.finished.fetch_add(1, Ordering::SeqCst);
        self.turn.lock().unwrap().0 = 1 - ME.get();
        self.handed.notify_all();
    }
}

/// Lets two threads write ten rows each, and says who committed when and what the disk was told.
fn both_write(seed: u64) -> (Vec<usize>, Vec<String>) {
    let disk = Disk::new(seed);
    let setup = SAFE.open(&disk, "notes.db").unwrap();
    run(&setup, TABLE).unwrap();
    drop(setup);
    disk.start_trace();
    let baton = Arc::new(Baton::new(seed));
    let commits = Mutex::new(Vec::new());
    let caller = Arc::clone(&baton);
    disk.on_point(move |point| caller.reach(point));
    thread::scope(|scope| {
        for me in 0..2 {
            let (disk, baton, commits) = (disk.clone(), Arc::clone(&baton), &commits);
            scope.spawn(move || {
                baton.begin(me);
                let mut connection = SAFE.open(&disk, "notes.db").unwrap();
                for round in 0..10 {
                    insert(&mut connection, round * 2 + me as u64, "both").unwrap();
                    commits.lock().unwrap().push(me);
                }
                drop(connection);
                baton.end();
            });
        }
    });
    disk.clear_on_point();
    let trace = disk.take_trace();
    let rows = notes(&SAFE.open(&disk, "notes.db").unwrap()).unwrap();
    assert_eq!(rows.len(), 20, "seed {seed}");
    (commits.into_inner().unwrap(), trace)
}

#[test]
fn two_threads_that_hand_over_the_turn_both_get_everything_in() {
    let orders: BTreeSet<Vec<usize>> = (0..20).map(|seed| both_write(seed).0).collect();
    assert!(orders.len() > 10, "{orders:?}");
}

#[test]
fn the_seed_decides_who_runs_when() {
    for seed in 0..10 {
        assert_eq!(both_write(seed), both_write(seed), "seed {seed}");
    }
}

#[test]
fn the_callback_hears_of_every_kind_of_point_and_may_use_the_disk() {
    let disk = Disk::new(1);
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    let (listener, same) = (Arc::clone(&heard), disk.clone());
    disk.on_point(move |point| {
        assert!(!same.is_off());
        listener.lock().unwrap().insert(point);
    });
    let one = disk.open("notes.db").unwrap();
    run(&one, TABLE).unwrap();
    run(&one, "PRAGMA journal_mode=WAL").unwrap();
    let two = disk.open("notes.db").unwrap();
    run(&one, "BEGIN IMMEDIATE").unwrap();
    run(&two, "BEGIN IMMEDIATE").unwrap_err();
    run(&one, "COMMIT").unwrap();
    run(&one, "PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    disk.clear_on_point();
    let all = [
        Point::Write,
        Point::Truncate,
        Point::Sync,
        Point::Delete,
        Point::Lock,
        Point::Unlock,
        Point::SharedLock,
        Point::SharedUnlock,
        Point::Sleep,
    ];
    let heard = heard.lock().unwrap();
    assert!(all.iter().all(|point| heard.contains(point)), "{heard:?}");
}

/// Without a callback nobody else could run, so it waits as often as it would, in no time, and gives
/// up.
#[test]
fn a_busy_wait_ends_without_a_callback() {
    let disk = Disk::new(1);
    let one = SAFE.open(&disk, "notes.db").unwrap();
    run(&one, "BEGIN IMMEDIATE").unwrap();
    let two = SAFE.open(&disk, "notes.db").unwrap();
    two.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    run(&two, "BEGIN IMMEDIATE").unwrap_err();
}
