//! Many callers who make sessions at once, beside two hand-written programs that write the same rows
//! with the same bytes: one in which a leader writes for all who wait, and one in which each caller
//! takes a mutex and commits for itself.

use std::hint::black_box;
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::line::Line;
use crate::recording::{Recording, Turns};
use crate::shop::Shop;

/// The head of the table that [`create`] answers rows of.
pub(crate) fn head() -> String {
    format!(
        "{:<22} {:>12} {:>12} {:>12}   engine/leader   engine/mutex",
        "", "engine", "leader", "mutex"
    )
}

/// So many callers make sessions, each of them one after the other.
pub(crate) fn create(criterion: &mut Criterion, callers: usize, quick: bool) -> String {
    let (rounds, each) = match (quick, callers) {
        (true, _) => (1, 2),
        (false, 1) => (15, 200),
        (false, _) => (15, 30),
    };
    let place = TempDir::new().unwrap();
    let shop = Shop::open(&place, "engine.db");
    let (mut led, mut locked) = (Bare::open(&place, "leader.db"), Bare::open(&place, "mutex.db"));
    let (line, lock) = (Line::new(led.connection()), Mutex::new(locked.connection()));
    let app = &shop.app;
    let mut by_engine = |each: usize| {
        let orders = share(callers, each, || shop.order().0);
        timed(orders, |order| drop(black_box(app.sessions().create(order).unwrap())))
    };
    let mut by_leader = |each: usize| timed(share(callers, each, || led.turns.next()), |turn| line.write(turn));
    let mut by_mutex = |each: usize| {
        timed(share(callers, each, || locked.turns.next()), |turn| {
            turn.write(&lock.lock().unwrap());
        })
    };
    let mut group = criterion.benchmark_group(format!("create, {callers} callers"));
    under(&mut group, "engine", callers, &mut by_engine);
    under(&mut group, "leader", callers, &mut by_leader);
    under(&mut group, "mutex", callers, &mut by_mutex);
    group.finish();
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        times[0].push(by_engine(each));
        times[1].push(by_leader(each));
        times[2].push(by_mutex(each));
    }
    let count = f64::from(u32::try_from(callers * each).unwrap());
    let [engine, leader, mutex] = times.map(|times| count / median(times).as_secs_f64());
    format!(
        "{:<22} {engine:>10.0}/s {leader:>10.0}/s {mutex:>10.0}/s   {:>13.2}   {:>12.2}",
        format!("create, {callers} callers"),
        engine / leader,
        engine / mutex
    )
}

fn under(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    callers: usize,
    side: &mut impl FnMut(usize) -> Duration,
) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|sessions| {
            let each = usize::try_from(sessions).unwrap().div_ceil(callers);
            side(each) * u32::try_from(sessions).unwrap() / u32::try_from(each * callers).unwrap()
        });
    });
}

/// A file into which the bare database writes what the engine wrote for a session.
pub(crate) struct Bare {
    pub(crate) turns: Turns,
    connection: Option<Connection>,
}

impl Bare {
    pub(crate) fn open(place: &TempDir, name: &str) -> Bare {
        let shop = Shop::open(place, name);
        let recording = Recording::begin(&shop.path);
        let session = shop.session();
        let writes = recording.end(&[&session.uid]);
        Bare {
            turns: Turns::of(vec![writes]),
            connection: Some(shop.into_connection()),
        }
    }

    pub(crate) fn connection(&mut self) -> Connection {
        self.connection.take().unwrap()
    }
}

/// What each caller does in a round.
pub(crate) fn share<T>(callers: usize, each: usize, mut make: impl FnMut() -> T) -> Vec<Vec<T>> {
    (0..callers).map(|_| (0..each).map(|_| make()).collect()).collect()
}

/// Lets every caller do its share in a thread of its own, all at once.
pub(crate) fn timed<T: Send>(shares: Vec<Vec<T>>, work: impl Fn(T) + Sync) -> Duration {
    let start = Barrier::new(shares.len() + 1);
    let (start, work) = (&start, &work);
    std::thread::scope(|scope| {
        let callers: Vec<_> = shares
            .into_iter()
            .map(|share| {
                scope.spawn(move || {
                    start.wait();
                    share.into_iter().for_each(work);
                })
            })
            .collect();
        start.wait();
        let started = Instant::now();
        for caller in callers {
            caller.join().unwrap();
        }
        started.elapsed()
    })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
