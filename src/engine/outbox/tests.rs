#![cfg(feature = "testing")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use rusqlite::Connection;

use super::sealed::opening;
use super::*;
use crate::engine::{App, Builder};
use crate::hook::{SignedRequest, Transport};
use crate::id::Mode;
use crate::store::outbox::Report;
use crate::store::{Access, EachRow, Pace, Value};
use crate::testing::{FakeReceiver, ManualClock, SeededEntropy};
use crate::webhook::{DeliveryFilter, DeliveryOrder, DeliveryState, Format, NewEndpoint, weigh};
use crate::{Budget, NewCustomer, Work};

fn builder(clock: &ManualClock) -> Builder {
    Engine::builder()
        .clock(clock.clone())
        .entropy(SeededEntropy::new(1))
        .seal_key([42; 32])
}

fn endpoint(app: &App, host: &str, order: DeliveryOrder) {
    let new = NewEndpoint::new(format!("https://{host}/hook"), Format::Standard)
        .events(["customer.created", "customer.updated"])
        .ordering(order);
    app.endpoints().add(new).unwrap();
}

fn change(app: &App, uid: &str, name: &str) {
    app.customers().set(NewCustomer::uid(uid).name(name)).unwrap();
}

/// A transaction that has the database say how it is going to find what each statement asks for.
struct Explaining<'a> {
    sql: &'a mut dyn Sql,
    /// Statements with the steps of their plans.
    plans: Vec<(String, Vec<String>)>,
}

impl Explaining<'_> {
    fn explain(&mut self, statement: &str, values: &[Value<'_>]) -> Result<()> {
        let mut steps = Vec::new();
        self.sql
            .each(&format!("EXPLAIN QUERY PLAN {statement}"), values, &mut |row| {
                steps.push(row.text(3)?);
                Ok(())
            })?;
        self.plans.push((statement.to_owned(), steps));
        Ok(())
    }
}

impl Sql for Explaining<'_> {
    fn exec(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        self.explain(sql, values)?;
        self.sql.exec(sql, values)
    }

    fn each(&mut self, sql: &str, values: &[Value<'_>], row: EachRow<'_>) -> Result<()> {
        self.explain(sql, values)?;
        self.sql.each(sql, values, row)
    }

    fn columns(&mut self, table: &str) -> Result<Vec<String>> {
        self.sql.columns(table)
    }
}

#[test]
fn no_statement_of_the_queue_passes_a_delivery_that_it_does_not_ask_for() {
    let clock = ManualClock::new();
    let engine = builder(&clock).open_in_memory().unwrap();
    let app = engine.app("shop", Mode::Test).unwrap();
    for (host, order) in [
        ("none.example", DeliveryOrder::None),
        ("soft.example", DeliveryOrder::Soft),
        ("strict.example", DeliveryOrder::Strict),
    ] {
        endpoint(&app, host, order);
    }
    for (uid, name) in [("a", "1"), ("b", "1"), ("a", "2"), ("a", "3")] {
        change(&app, uid, name);
    }
    // Something is on its way, a lease is over, and the clock is behind: every question is asked.
    engine.claim_deliveries(2).unwrap();
    clock.turn(Duration::from_secs(90));
    let held = engine.claim_deliveries(3).unwrap();
    change(&app, "c", "1");
    clock.turn_back(Duration::from_secs(60));
    let host_now = engine.core.clock.now();
    let world = held[0].world;
    let seal = engine.core.seal.clone();
    let plans = engine
        .core
        .write_raw(Access::Alone, "explained", move |sql| {
            let mut sql = Explaining { sql, plans: Vec::new() };
            let open = opening(seal.as_deref());
            let upcoming = store::outbox::upcoming(&mut sql, world, host_now)?;
            assert_eq!(upcoming.len(), 3);
            assert!(store::outbox::would_claim(&mut sql, world, host_now, 7, &open)?.0);
            store::outbox::next_due(&mut sql, world, host_now)?;
            store::outbox::load(&mut sql, world, 1_000)?;
            let claims = store::outbox::claim(&mut sql, world, host_now, 100, 7, &open)?;
            assert!(!claims.batches.is_empty());
            let later = host_now.plus(Duration::from_secs(600));
            let claims = store::outbox::claim(&mut sql, world, later, 100, 8, &open)?;
            for claimed in claims.batches.iter().flat_map(|batch| &batch.claimed) {
                store::outbox::acknowledge(
                    &mut sql,
                    &[Report {
                        world,
                        delivery: claimed.id.clone(),
                        token: 8,
                        attempt: claimed.attempt,
                        started: later,
                        ended: later,
                        attempted: weigh(
                            claimed.attempt,
                            &TransportOutcome::Answered(Answered::status(204)),
                            later,
                            0,
                        ),
                        is_repeated: false,
                    }],
                )?;
                store::outbox::give_back(&mut sql, world, &claimed.id, 8, later)?;
            }
            Ok(sql.plans)
        })
        .unwrap();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for (statement, steps) in &plans {
        for step in steps {
            assert!(
                !step.starts_with("SCAN d") && !step.contains("tillite_delivery_attempt"),
                "{statement}: {step}"
            );
            assert!(!step.contains("TEMP B-TREE"), "{statement}: {step}");
            if !step.starts_with("SEARCH d ") && !step.contains("SEARCH tillite_delivery ") {
                continue;
            }
            let ways = [
                "PRIMARY KEY (app=? AND mode=? AND id=?)",
                "INDEX tillite_delivery_due (app=? AND mode=? AND endpoint=? AND state=?",
                "INDEX tillite_delivery_lane (app=? AND mode=? AND endpoint=? AND lane=?",
            ];
            let way = ways.iter().find(|way| step.contains(**way));
            assert!(way.is_some(), "{statement}: {step}");
            used.extend(way);
        }
    }
    assert_eq!(used.len(), 3, "{used:?}");
}

/// A pace whose time passes where somebody sleeps, and that lets go of the file once somebody has slept for
/// longer than one does who only waits for a lock.
#[derive(Default)]
struct LetsGo {
    micros: AtomicUsize,
    tries: AtomicUsize,
    neighbour: Mutex<Option<Connection>>,
}

impl Pace for LetsGo {
    fn now(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::SeqCst) as u64)
    }

    fn sleep(&self, time: Duration) {
        let micros = usize::try_from(time.as_micros()).unwrap();
        self.micros.fetch_add(micros, Ordering::SeqCst);
        if time >= Duration::from_millis(10) && self.tries.fetch_add(1, Ordering::SeqCst) == 0 {
            drop(self.neighbour.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    fn park(&self, _at_most: Duration) {
        std::thread::park_timeout(Duration::from_millis(1));
    }

    fn wake(&self, thread: &Thread) {
        thread.unpark();
    }
}

#[test]
fn while_what_came_of_it_cannot_be_written_the_writing_is_tried_again_and_never_the_sending() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let (clock, receiver, pace) = (ManualClock::new(), FakeReceiver::new(), Arc::new(LetsGo::default()));
    let (locking, taking, at) = (Arc::clone(&pace), receiver.clone(), path.clone());
    let engine = builder(&clock)
        .pace(Arc::clone(&pace) as Arc<dyn Pace>)
        .transport(move |request: &SignedRequest| {
            let neighbour = Connection::open(&at).unwrap();
            let mut begin = neighbour.prepare("BEGIN IMMEDIATE").unwrap();
            assert!(begin.query([]).unwrap().next().unwrap().is_none());
            drop(begin);
            *locking.neighbour.lock().unwrap() = Some(neighbour);
            taking.send(request)
        })
        .open(&path)
        .unwrap();
    let app = engine.app("shop", Mode::Test).unwrap();
    endpoint(&app, "shop.example", DeliveryOrder::Soft);
    change(&app, "a", "1");
    let ran = engine.run_due(Budget::items(10).work(Work::DELIVERIES)).unwrap();
    assert_eq!((ran.delivered, ran.undelivered), (1, 0));
    assert_eq!(receiver.requests().len(), 1);
    assert!(pace.tries.load(Ordering::SeqCst) > 0, "the file was held");
    let delivery = app
        .deliveries()
        .list(&DeliveryFilter::all(), 10, None)
        .unwrap()
        .data
        .remove(0);
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1));
}

#[test]
fn what_was_written_down_in_doubt_and_is_brought_again_counts_as_it_did() {
    let clock = ManualClock::new();
    let engine = builder(&clock).open_in_memory().unwrap();
    let app = engine.app("shop", Mode::Test).unwrap();
    endpoint(&app, "shop.example", DeliveryOrder::Soft);
    for status in [204, 500] {
        change(&app, "a", &status.to_string());
        let claimed = engine.claim_deliveries(1).unwrap().remove(0);
        let now = engine.core.clock.now();
        let outcome = TransportOutcome::Answered(Answered::status(status));
        let report = Report {
            world: claimed.world,
            delivery: claimed.id.clone(),
            token: claimed.token,
            attempt: claimed.attempt,
            started: now,
            ended: now,
            attempted: weigh(claimed.attempt, &outcome, now, 0),
            is_repeated: false,
        };
        let bring = |is_repeated, token| {
            let report = Report {
                token,
                is_repeated,
                ..report.clone()
            };
            let write = engine.core.write_raw(Access::Alone, "brought", move |sql| {
                store::outbox::acknowledge(sql, std::slice::from_ref(&report)).map(|mut acked| acked.remove(0))
            });
            write.unwrap().counted
        };
        assert!(bring(false, claimed.token));
        let before = engine.dump().unwrap();
        assert!(bring(true, claimed.token), "{status}");
        assert!(!bring(true, claimed.token + 1), "that is another claim");
        assert!(!bring(false, claimed.token), "nothing was in doubt");
        assert_eq!(engine.dump().unwrap(), before);
        clock.turn(Duration::from_secs(3_600));
        engine
            .acknowledge(&claimed, &TransportOutcome::Answered(Answered::status(204)))
            .unwrap();
    }
}
