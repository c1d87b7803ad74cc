//! One caller at a time: each verb beside a baseline that writes the same rows.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use rusqlite::Connection;
use tempfile::TempDir;
use tillite::webhook::{Format, NewEndpoint};
use tillite::{Answer, Answered, Begun, Outcome, TransportOutcome, sandbox};

use crate::reads;
use crate::recording::{Recording, Turns, Writes};
use crate::shop::{Shop, connect, run};

/// The cases by name, in the order of the table.
pub(crate) const CASES: [(&str, Make); 6] = [
    ("create a session", create),
    ("create and pay a session", create_and_pay),
    ("entitlement, first read", reads::first),
    ("entitlement, read again", reads::again),
    ("entitlement beside a writer", reads::beside_a_writer),
    ("deliver a webhook, in fours", deliver),
];

/// Makes a case, a small one if it is only to be seen to run.
pub(crate) type Make = fn(quick: bool) -> Case;

/// A verb and its baseline. A turn is prepared out of sight of the watch, and timed.
pub(crate) struct Case {
    /// How many things one turn does.
    pub(crate) size: u32,
    pub(crate) engine: Side,
    pub(crate) baseline: Side,
    pub(crate) _place: TempDir,
}

/// Prepares a turn and answers what is to be timed.
pub(crate) type Side = Box<dyn FnMut() -> Box<dyn FnOnce()>>;

impl Case {
    pub(crate) fn under(&mut self, criterion: &mut Criterion, name: &str) {
        let mut group = criterion.benchmark_group(name);
        for (who, side) in [("engine", &mut self.engine), ("baseline", &mut self.baseline)] {
            group.bench_function(who, |bencher| {
                bencher.iter_batched(&mut *side, |turn| turn(), BatchSize::PerIteration);
            });
        }
        group.finish();
    }

    /// Lets the two sides take turns and compares their medians.
    pub(crate) fn compare(&mut self, rounds: usize, name: &str) -> String {
        let mut engine = Vec::new();
        let mut baseline = Vec::new();
        for _ in 0..rounds {
            engine.push(timed(&mut self.engine));
            baseline.push(timed(&mut self.baseline));
        }
        let engine = median(engine).as_secs_f64() / f64::from(self.size);
        let baseline = median(baseline).as_secs_f64() / f64::from(self.size);
        format!(
            "{:<28} {:>9.1} us {:>9.1} us   {:.2}",
            name,
            engine * 1e6,
            baseline * 1e6,
            baseline / engine
        )
    }
}

fn timed(side: &mut Side) -> Duration {
    let turn = side();
    let started = Instant::now();
    turn();
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// One caller makes a session.
fn create(_quick: bool) -> Case {
    let place = TempDir::new().unwrap();
    let (shop, bare) = (Shop::open(&place, "engine.db"), Shop::open(&place, "bare.db"));
    let recording = Recording::begin(&bare.path);
    let session = bare.session();
    let writes = recording.end(&[&session.uid]);
    let connection = bare.into_connection();
    Case {
        size: 1,
        engine: Box::new(move || {
            let (app, order) = (shop.app.clone(), shop.order());
            Box::new(move || drop(black_box(app.sessions().create(order.0).unwrap())))
        }),
        baseline: replay(connection, vec![writes]),
        _place: place,
    }
}

/// One caller makes a session and pays it through the sandbox, which answers at once: three
/// transactions.
fn create_and_pay(_quick: bool) -> Case {
    let place = TempDir::new().unwrap();
    let (shop, bare) = (Shop::open(&place, "engine.db"), Shop::open(&place, "bare.db"));

    let recording = Recording::begin(&bare.path);
    let session = bare.session();
    let created = recording.end(&[&session.uid]);
    let recording = created.then(&bare.path);
    let pay = bare.app.sessions().begin_payment(&session.id, sandbox::card::APPROVED);
    let ask = match pay.unwrap() {
        Begun::Ask(ask) => Some(ask),
        Begun::Done(_) => None,
    };
    let ask = ask.unwrap();
    let begun = recording.end(&[&ask.request.idempotency_key]);
    let recording = begun.then(&bare.path);
    let outcome = Outcome::succeeded(format!("sandbox_{}", ask.request.attempt), ask.request.money().unwrap());
    let settled = bare.engine.settle(&ask, &Answer::Executed(outcome)).unwrap();
    assert!(settled.payment().unwrap().is_complete());
    let settled = recording.end(&[]);

    let connection = bare.into_connection();
    Case {
        size: 1,
        engine: Box::new(move || {
            let (app, order) = (shop.app.clone(), shop.order());
            Box::new(move || {
                let session = app.sessions().create(order.0).unwrap();
                let payment = app.sessions().pay(&session.id, sandbox::card::APPROVED).unwrap();
                assert!(payment.is_complete());
            })
        }),
        baseline: replay(connection, vec![created, begun, settled]),
        _place: place,
    }
}

/// One caller claims a batch of deliveries, sends each to an endpoint that accepts it at once, and
/// acknowledges it.
fn deliver(_quick: bool) -> Case {
    const BATCH: u32 = 4;
    let place = TempDir::new().unwrap();
    let (shop, bare) = (Shop::open(&place, "engine.db"), Shop::open(&place, "bare.db"));
    add_endpoint(&shop);
    add_endpoint(&bare);
    let connection: &'static Connection = Box::leak(Box::new(connect(&bare.path)));
    Case {
        size: BATCH,
        engine: Box::new(move || {
            (0..BATCH).for_each(|_| drop(shop.session()));
            let engine = shop.engine.clone();
            Box::new(move || {
                let claimed = engine.claim_deliveries(BATCH as usize).unwrap();
                assert_eq!(claimed.len(), BATCH as usize);
                for delivery in claimed {
                    let accepted = TransportOutcome::Answered(Answered::status(204));
                    assert!(engine.acknowledge(&delivery, &accepted).unwrap());
                }
            })
        }),
        baseline: Box::new(move || {
            (0..BATCH).for_each(|_| drop(bare.session()));
            Box::new(move || deliver_bare(connection, BATCH))
        }),
        _place: place,
    }
}

fn deliver_bare(connection: &Connection, batch: u32) {
    run(connection, "BEGIN IMMEDIATE");
    let claimed: Vec<(String, Vec<u8>)> = {
        let mut claim = connection
            .prepare_cached(
                "UPDATE tillite_delivery SET state = 'in_flight', attempts = attempts + 1, due_at = due_at + 90000, \
                 token = 1 WHERE app = 1 AND mode = 0 AND id IN (SELECT id FROM tillite_delivery WHERE app = 1 \
                 AND mode = 0 AND endpoint = 1 AND state IN ('pending', 'in_flight') ORDER BY due_at, event LIMIT ?1) \
                 RETURNING id, event",
            )
            .unwrap();
        let mut body = connection
            .prepare_cached(
                "SELECT bytes FROM tillite_event_body WHERE app = 1 AND mode = 0 AND seq = ?1 AND format = 'standard'",
            )
            .unwrap();
        let rows = claim.query_map([batch], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let taken: Vec<(String, i64)> = rows.collect::<rusqlite::Result<_>>().unwrap();
        taken
            .into_iter()
            .map(|(id, event)| (id, body.query_row([event], |row| row.get(0)).unwrap()))
            .collect()
    };
    run(connection, "COMMIT");
    assert_eq!(claimed.len(), batch as usize);
    for (id, body) in claimed {
        black_box(body);
        run(connection, "BEGIN IMMEDIATE");
        let mut log = connection
            .prepare_cached(
                "INSERT INTO tillite_delivery_attempt (app, mode, delivery, number, started_at, duration, outcome, \
                 status) VALUES (1, 0, ?1, 1, 1767225600000, 0, 'delivered', 204)",
            )
            .unwrap();
        let mut close = connection
            .prepare_cached(
                "UPDATE tillite_delivery SET state = 'delivered', last_status = 204 \
                 WHERE app = 1 AND mode = 0 AND id = ?1",
            )
            .unwrap();
        assert_eq!(log.execute([&id]).unwrap() + close.execute([&id]).unwrap(), 2);
        run(connection, "COMMIT");
    }
}

/// A side that writes what was recorded, each turn with ids of its own.
fn replay(connection: Connection, writes: Vec<Writes>) -> Side {
    let connection: &'static Connection = Box::leak(Box::new(connection));
    let mut turns = Turns::of(writes);
    Box::new(move || {
        let turn = turns.next();
        Box::new(move || turn.write(connection))
    })
}

/// An endpoint that wants to hear of new sessions.
fn add_endpoint(shop: &Shop) {
    let endpoint = NewEndpoint::new("https://shop.example/hooks", Format::Standard);
    shop.app
        .endpoints()
        .add(endpoint.events(["checkout.session.created"]))
        .unwrap();
}
