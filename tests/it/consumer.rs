//! The host's own tables follow the events exactly once, and a consumer that fails stops itself alone.

mod guard;
mod power;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tillite::{
    Alarm, App, Budget, Builder, Consumer, ConsumerError, Engine, Error, Event, EventKind, Follow, HostTx, HostValue,
    Mode, NewCustomer, Work,
};

use crate::file::sql;
use crate::kit::{ManualClock, Receiver, SeededEntropy, Shop, Till, builder, clean, locked};

/// What a row of the host's table says of an event.
pub const ROW: &str = "INSERT INTO seen (app, mode, position, what) VALUES ($1, $2, $3, $4)";
pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS seen (app TEXT, mode TEXT, position INTEGER, what TEXT)";

/// Writes every event down.
pub fn note(tx: &mut HostTx<'_>, event: &Event) -> Result<(), ConsumerError> {
    tx.execute(TABLE, &[])?;
    let (app, mode) = (tx.app().to_owned(), tx.mode().as_str());
    let values: [HostValue<'_>; 4] = [(&app).into(), mode.into(), event.position.into(), (&event.kind).into()];
    tx.execute(ROW, &values)?;
    Ok(())
}

/// A consumer that does what it is told, and notes every event that it takes.
#[derive(Clone, Default)]
struct Told {
    error: Arc<AtomicBool>,
    panic: Arc<AtomicBool>,
    /// The position at which it does so; 0: at every one.
    at: Arc<AtomicU64>,
}

impl Told {
    fn at(position: u64) -> Told {
        let told = Told::default();
        told.at.store(position, Ordering::SeqCst);
        told
    }

    fn fails(self) -> Told {
        self.error.store(true, Ordering::SeqCst);
        self
    }

    fn panics(self) -> Told {
        self.panic.store(true, Ordering::SeqCst);
        self
    }

    fn recovers(&self) {
        self.error.store(false, Ordering::SeqCst);
        self.panic.store(false, Ordering::SeqCst);
    }
}

impl Consumer for Told {
    fn consume(&self, tx: &mut HostTx<'_>, event: &Event) -> Result<(), ConsumerError> {
        note(tx, event)?;
        let at = self.at.load(Ordering::SeqCst);
        if at == 0 || at == u64::try_from(event.position)? {
            assert!(!self.panic.load(Ordering::SeqCst), "told to panic");
            if self.error.load(Ordering::SeqCst) {
                return Err("cannot take it, 4242 4242 4242 4242".into());
            }
        }
        Ok(())
    }
}

/// What the host's table holds of an app and mode, in the order in which it was written.
pub fn seen(path: &Path, app: &str, mode: Mode) -> Vec<(i64, String)> {
    let file = rusqlite::Connection::open(path).unwrap();
    let there = file.prepare("SELECT position, what FROM seen WHERE app = ?1 AND mode = ?2 ORDER BY rowid");
    let Ok(mut rows) = there else {
        return Vec::new();
    };
    let rows = rows.query_map((app, mode.as_str()), |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Every event of an app, as the engine has them.
pub fn logged(app: &App) -> Vec<(i64, String)> {
    let mut all: Vec<(i64, String)> = Vec::new();
    loop {
        let after = all.last().map_or(0, |(position, _)| *position);
        let page = app.events(100, after).unwrap();
        all.extend(page.data.into_iter().map(|event| (event.position, event.kind)));
        if !page.has_more {
            return all;
        }
    }
}

struct Place {
    folder: tempfile::TempDir,
    clock: ManualClock,
    alarms: Arc<Mutex<Vec<Alarm>>>,
    opened: AtomicU64,
}

impl Place {
    fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(),
            alarms: Arc::default(),
            opened: AtomicU64::new(1_000),
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("shop.db")
    }

    fn builder(&self, seed: u64) -> Builder {
        let alarms = Arc::clone(&self.alarms);
        builder(&self.clock, &Till::new(), &Receiver::new())
            .entropy(SeededEntropy::new(seed))
            .on_alarm(move |alarm| locked(&alarms).push(alarm.clone()))
    }

    fn open(&self, with: impl FnOnce(Builder) -> Builder) -> Engine {
        with(self.builder(self.opened.fetch_add(1, Ordering::SeqCst)))
            .open(self.path())
            .unwrap()
    }
}

fn customers(app: &App, from: u32, count: u32) {
    for number in from..from + count {
        app.customers().set(NewCustomer::uid(format!("u_{number}"))).unwrap();
    }
}

fn run(engine: &Engine) -> usize {
    let only = Budget::items(10_000).work(Work::CONSUMERS);
    engine.run_due(only).unwrap().consumed
}

#[test]
fn every_event_of_every_world_is_taken_once_and_in_order() {
    let place = Place::new();
    let engine = place.open(|builder| builder.consumer("notes", note));
    let worlds: Vec<App> = [("a", Mode::Test), ("a", Mode::Live), ("b", Mode::Test)]
        .map(|(slug, mode)| engine.app(slug, mode).unwrap())
        .into();
    for (at, app) in worlds.iter().enumerate() {
        customers(app, 0, 40 * (u32::try_from(at).unwrap() + 1));
    }
    assert!(engine.next_due().unwrap().is_some());
    run(&engine);
    assert_eq!(run(&engine), 0);
    assert_eq!(engine.next_due().unwrap(), None);
    for app in &worlds {
        let slug = app.slug().unwrap();
        assert_eq!(seen(&place.path(), &slug, app.mode()), logged(app));
        let [progress] = &app.consumers().list(100, None).unwrap().data[..] else {
            panic!("one consumer");
        };
        assert_eq!((progress.lag, progress.failures), (0, 0));
    }
    clean(&engine);
}

#[test]
fn what_a_consumer_did_not_take_is_undone_and_comes_again() {
    for told in [Told::at(3).fails(), Told::at(3).panics()] {
        let place = Place::new();
        let engine = place.open(|builder| {
            builder
                .consumer("told", told.clone())
                .consumer("notes", |tx: &mut HostTx<'_>, event: &Event| {
                    tx.execute("CREATE TABLE IF NOT EXISTS others (position INTEGER)", &[])?;
                    tx.execute("INSERT INTO others VALUES ($1)", &[event.position.into()])?;
                    Ok(())
                })
        });
        let app = engine.app("a", Mode::Test).unwrap();
        let other = engine.app("b", Mode::Test).unwrap();
        customers(&app, 0, 5);
        customers(&other, 0, 2);
        run(&engine);
        // What came before it is kept, what it wrote itself is not, and nothing behind it was tried.
        assert_eq!(seen(&place.path(), "a", Mode::Test), logged(&app)[..2]);
        assert_eq!(seen(&place.path(), "b", Mode::Test), logged(&other));
        let list = app.consumers().list(100, None).unwrap().data;
        assert_eq!((list[0].name.as_str(), list[0].position, list[0].lag), ("notes", 5, 0));
        let failing = &list[1];
        assert_eq!((failing.name.as_str(), failing.position, failing.lag), ("told", 2, 3));
        assert_eq!(failing.failures, 1);
        let error = failing.error.clone().unwrap();
        assert!(!error.contains("4242 4242"), "{error}");
        assert_eq!(engine.health().unwrap().failing_consumers, 1);
        // It is left alone for a second, two, four, at last five minutes.
        for rest in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let due = engine.next_due().unwrap().unwrap();
            assert_eq!(due.since(tillite::Clock::now(&place.clock)), Duration::from_secs(rest));
            place.clock.turn(Duration::from_millis(rest * 1_000 - 1));
            assert_eq!(run(&engine), 0);
            place.clock.turn(Duration::from_millis(1));
            assert_eq!(run(&engine), 1);
        }
        let failing: Vec<Alarm> = locked(&place.alarms)
            .iter()
            .filter(|alarm| matches!(alarm, Alarm::ConsumerFailing { .. }))
            .cloned()
            .collect();
        assert!(matches!(&failing[..], [Alarm::ConsumerFailing { consumer, position: 3, .. }] if consumer == "told"));
        told.recovers();
        place.clock.turn(Duration::from_secs(300));
        run(&engine);
        assert_eq!(seen(&place.path(), "a", Mode::Test), logged(&app));
        assert_eq!(engine.health().unwrap().failing_consumers, 0);
        clean(&engine);
    }
}

#[test]
fn an_event_is_passed_over_by_a_persons_word_only() {
    let place = Place::new();
    let engine = place.open(|builder| builder.consumer("told", Told::at(2).fails()));
    let app = engine.app("a", Mode::Test).unwrap();
    customers(&app, 0, 3);
    let none = app.consumers().skip("nobody", 1).unwrap_err();
    assert!(matches!(none, Error::NotFound { what: "consumer", .. }), "{none}");
    run(&engine);
    for position in [3, 9] {
        let refused = app.consumers().skip("told", position).unwrap_err();
        assert!(matches!(refused, Error::Refused(_)), "{refused}");
    }
    let skipped = app.consumers().skip("told", 2).unwrap();
    assert_eq!((skipped.position, skipped.failures, skipped.error), (2, 0, None));
    run(&engine);
    let all = logged(&app);
    assert_eq!(seen(&place.path(), "a", Mode::Test), [all[0].clone(), all[2].clone()]);
    // Nothing is failing, so nothing is passed over; what is behind it already stays so.
    assert!(app.consumers().skip("told", 4).is_err());
    assert_eq!(app.consumers().skip("told", 2).unwrap().position, 3);
}

#[test]
fn a_consumer_that_is_put_back_takes_everything_once_more() {
    let place = Place::new();
    let engine = place.open(|builder| builder.consumer("notes", note));
    let app = engine.app("a", Mode::Test).unwrap();
    customers(&app, 0, 3);
    run(&engine);
    for position in [-1, 4] {
        assert!(matches!(
            app.consumers().rewind("notes", position),
            Err(Error::Invalid(_))
        ));
    }
    assert_eq!(app.consumers().rewind("notes", 1).unwrap().lag, 2);
    run(&engine);
    let all = logged(&app);
    assert_eq!(seen(&place.path(), "a", Mode::Test), [&all[..], &all[1..]].concat());
}

#[test]
fn the_place_moves_over_what_is_not_wanted() {
    let place = Place::new();
    let engine = place.open(|builder| {
        let only = Follow::only([EventKind::CustomerDeleted]);
        builder
            .consumer_of("deleted", only, note)
            .consumer_of("nothing", Follow::only([]), note)
    });
    let app = engine.app("a", Mode::Test).unwrap();
    customers(&app, 0, 120);
    let customer = app.customers().by_uid("u_7").unwrap();
    app.customers().delete(&customer.id).unwrap();
    customers(&app, 200, 5);
    run(&engine);
    assert_eq!(
        seen(&place.path(), "a", Mode::Test),
        [(121, "customer.deleted".to_owned())]
    );
    let list = app.consumers().list(100, None).unwrap().data;
    assert!(list.iter().all(|progress| progress.lag == 0), "{list:?}");
}

#[test]
fn an_event_that_undoes_the_transaction_has_few_others_taken_in_vain() {
    // A statement that undoes everything at once, and one for which the commit is refused.
    for (bad, most) in [
        ("INSERT OR ROLLBACK INTO once VALUES (1)", 20 + 19 + 1),
        ("INSERT INTO child VALUES (77)", 150),
    ] {
        let place = Place::new();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        let engine = place.open(|builder| {
            builder.consumer("c", move |tx: &mut HostTx<'_>, event: &Event| {
                counted.fetch_add(1, Ordering::SeqCst);
                note(tx, event)?;
                tx.execute("CREATE TABLE IF NOT EXISTS once (only_row INTEGER PRIMARY KEY)", &[])?;
                let child = "CREATE TABLE IF NOT EXISTS child \
                             (once INTEGER REFERENCES once (only_row) DEFERRABLE INITIALLY DEFERRED)";
                tx.execute(child, &[])?;
                tx.execute("INSERT OR IGNORE INTO once VALUES (1)", &[])?;
                if event.position == 20 {
                    let _ = tx.execute(bad, &[]);
                }
                Ok(())
            })
        });
        let app = engine.app("a", Mode::Test).unwrap();
        customers(&app, 0, 40);
        run(&engine);
        let calls = || calls.swap(0, Ordering::SeqCst);
        assert_eq!(seen(&place.path(), "a", Mode::Test), logged(&app)[..19], "{bad}");
        let run_to_it = calls();
        assert!(run_to_it <= most, "{bad}: {run_to_it} calls");
        // From then on it is that event alone which is tried.
        for failures in 2..6 {
            place.clock.turn(Duration::from_secs(300));
            assert_eq!(run(&engine), 1);
            assert_eq!(calls(), 1, "{bad}");
            assert_eq!(app.consumers().list(1, None).unwrap().data[0].failures, failures);
        }
        app.consumers().skip("c", 20).unwrap();
        run(&engine);
        assert_eq!((seen(&place.path(), "a", Mode::Test).len(), calls()), (39, 20), "{bad}");
    }
}

#[test]
fn a_failure_behind_unwanted_events_is_at_the_wanted_one() {
    let undoes = |tx: &mut HostTx<'_>, _: &Event| -> Result<(), ConsumerError> {
        tx.execute("CREATE TABLE IF NOT EXISTS once (only_row INTEGER PRIMARY KEY)", &[])?;
        tx.execute("INSERT INTO once VALUES (1)", &[])?;
        let _ = tx.execute("INSERT OR ROLLBACK INTO once VALUES (1)", &[]);
        Ok(())
    };
    for undone in [true, false] {
        let place = Place::new();
        let engine = place.open(|builder| {
            let only = Follow::only([EventKind::CustomerDeleted]);
            if undone {
                builder.consumer_of("c", only, undoes)
            } else {
                builder.consumer_of("c", only, Told::at(0).fails())
            }
        });
        let app = engine.app("a", Mode::Test).unwrap();
        customers(&app, 0, 5);
        let customer = app.customers().by_uid("u_3").unwrap();
        app.customers().delete(&customer.id).unwrap();
        run(&engine);
        let list = app.consumers().list(100, None).unwrap().data;
        assert_eq!((list[0].position, list[0].failures), (5, 1));
        assert_eq!(app.consumers().skip("c", 6).unwrap().lag, 0);
    }
}

#[test]
fn a_consumer_from_now_on_hears_of_nothing_before() {
    let place = Place::new();
    let engine = place.open(|builder| builder);
    let app = engine.app("a", Mode::Test).unwrap();
    customers(&app, 0, 3);
    drop(app);
    drop(engine);
    let engine = place.open(|builder| builder.consumer_of("notes", Follow::all().from_now(), note));
    let app = engine.app("a", Mode::Test).unwrap();
    customers(&app, 3, 2);
    let later = engine.app("later", Mode::Live).unwrap();
    customers(&later, 0, 2);
    run(&engine);
    assert_eq!(seen(&place.path(), "a", Mode::Test), logged(&app)[3..]);
    assert_eq!(seen(&place.path(), "later", Mode::Live), logged(&later));
    // Its place is in the file: the next process goes on from there, not from now.
    drop((app, later));
    drop(engine);
    let engine = place.open(|builder| builder);
    let app = engine.app("a", Mode::Test).unwrap();
    customers(&app, 9, 1);
    assert_eq!(
        (run(&engine), engine.next_due().unwrap()),
        (0, None),
        "it is not this engine's"
    );
    let engine = place.open(|builder| builder.consumer_of("notes", Follow::all().from_now(), note));
    run(&engine);
    assert_eq!(seen(&place.path(), "a", Mode::Test), logged(&app)[3..]);
}

#[test]
fn two_engines_with_one_consumer_take_each_event_once() {
    let place = Place::new();
    let open = |seed| place.builder(seed).consumer("notes", note).open(place.path()).unwrap();
    let engines = [open(1), open(2)];
    let app = engines[0].app("a", Mode::Test).unwrap();
    customers(&app, 0, 300);
    std::thread::scope(|scope| {
        for engine in &engines {
            scope.spawn(|| while run(engine) > 0 {});
        }
    });
    assert_eq!(seen(&place.path(), "a", Mode::Test), logged(&app));
    clean(&engines[0]);
}

#[test]
fn a_consumer_that_calls_an_engine_is_told_so_at_once() {
    type Call = fn(&Engine) -> Result<(), Error>;
    let calls: [(&str, Call); 6] = [
        ("write", |engine| engine.app("new", Mode::Test).map(|_| ())),
        ("read", |engine| engine.apps(10, None).map(|_| ())),
        ("run", |engine| engine.run_due(Budget::items(1)).map(|_| ())),
        ("verify", |engine| {
            engine.verify(&tillite::Expect::nothing()).map(|_| ())
        }),
        ("sale", |engine| {
            engine.find_app("a", Mode::Test)?.entitlements().get("u_1").map(|_| ())
        }),
        ("open", |_| Engine::builder().open_in_memory().map(|_| ())),
    ];
    for in_memory in [false, true] {
        let place = Place::new();
        let own: Arc<Mutex<Option<Engine>>> = Arc::default();
        let heard: Arc<Mutex<BTreeMap<&str, Error>>> = Arc::default();
        let (inner, told) = (Arc::clone(&own), Arc::clone(&heard));
        let builder = place
            .builder(1)
            .consumer("calls", move |_: &mut HostTx<'_>, _: &Event| {
                let engine = locked(&inner).clone().unwrap();
                for (name, call) in calls {
                    locked(&told).insert(name, call(&engine).unwrap_err());
                }
                Ok(())
            });
        let engine = if in_memory {
            builder.open_in_memory().unwrap()
        } else {
            builder.open(place.path()).unwrap()
        };
        *locked(&own) = Some(engine.clone());
        let app = engine.app("a", Mode::Test).unwrap();
        customers(&app, 0, 1);
        assert_eq!(run(&engine), 1);
        let heard = locked(&heard);
        assert_eq!(heard.len(), calls.len());
        assert!(heard.values().all(|error| *error == Error::InConsumer), "{heard:?}");
        // Afterwards the thread may call it as ever.
        customers(&app, 1, 1);
        *locked(&own) = None;
    }
}

#[test]
fn names_are_checked_when_the_file_is_opened() {
    let long = "x".repeat(65);
    for bad in ["", "a b", "ä", &long, "4242424242424242"] {
        let refused = Engine::builder().consumer(bad, note).open_in_memory().unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{bad}: {refused}");
    }
    let twice = Engine::builder().consumer("Notes.v1", note).consumer("Notes.v1", note);
    assert!(matches!(twice.open_in_memory(), Err(Error::Invalid(_))));
    let many = (0..65).fold(Engine::builder(), |builder, number| {
        builder.consumer(format!("c{number}"), note)
    });
    assert!(matches!(many.open_in_memory(), Err(Error::Invalid(_))));
}

#[test]
fn a_consumer_that_fails_keeps_no_sale_from_its_commit() {
    let place = Place::new();
    let engine = place.open(|builder| builder.consumer("told", Told::default().panics()));
    let app = engine.app("a", Mode::Test).unwrap();
    std::thread::scope(|scope| {
        let failing = scope.spawn(|| {
            for _ in 0..40 {
                run(&engine);
                place.clock.turn(Duration::from_secs(300));
            }
        });
        customers(&app, 0, 60);
        failing.join().unwrap();
    });
    assert_eq!(logged(&app).len(), 60);
    assert_eq!(app.consumers().list(1, None).unwrap().data[0].position, 0);
    clean(&engine);
}

#[test]
fn a_consumer_with_a_pile_keeps_no_other_waiting() {
    let place = Place::new();
    let engine = place.open(|builder| builder.consumer("a", note).consumer("b", note).consumer("c", note));
    let app = engine.app("a", Mode::Test).unwrap();
    customers(&app, 0, 50);
    for _ in 0..9 {
        engine.run_due(Budget::items(5).work(Work::CONSUMERS)).unwrap();
    }
    let list = app.consumers().list(100, None).unwrap().data;
    assert!(list.iter().all(|progress| progress.position >= 10), "{list:?}");
}

#[test]
fn work_that_waits_for_the_writer_is_busy_and_not_failing() {
    let place = Place::new();
    let engine = place.open(|builder| builder.consumer("notes", note).busy_wait(Duration::ZERO));
    let app = engine.app("a", Mode::Test).unwrap();
    customers(&app, 0, 2);
    let other = rusqlite::Connection::open(place.path()).unwrap();
    sql(&other, "BEGIN IMMEDIATE");
    let busy = engine.run_due(Budget::items(10).work(Work::CONSUMERS)).unwrap_err();
    assert!(
        matches!(&busy, Error::Storage(error) if error.kind == tillite::StorageKind::Busy),
        "{busy}"
    );
    sql(&other, "ROLLBACK");
    assert_eq!(app.consumers().list(1, None).unwrap().data[0].failures, 0);
    run(&engine);
    assert_eq!(seen(&place.path(), "a", Mode::Test), logged(&app));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order (sales, failures, other engines that come and go, time), the
    /// host's table is the beginning of the log, and the whole of it in the end.
    #[test]
    fn the_hosts_table_is_the_beginning_of_the_log(steps in prop::collection::vec(0_u8..6, 1..40)) {
        let place = Place::new();
        let told = Told::default();
        let open = |seed| place.builder(seed).consumer("told", told.clone()).open(place.path()).unwrap();
        let mut engine = open(0);
        let mut made = 0;
        for (at, step) in steps.into_iter().enumerate() {
            let app = engine.app("a", Mode::Live).unwrap();
            match step {
                0 => {
                    customers(&app, made, 3);
                    made += 3;
                }
                1 => {
                    told.at.store(u64::from(made.max(1)), Ordering::SeqCst);
                    told.error.store(true, Ordering::SeqCst);
                }
                2 => told.recovers(),
                3 => place.clock.turn(Duration::from_secs(5)),
                4 => engine = open(u64::try_from(at).unwrap() + 1),
                _ => {
                    engine.run_due(Budget::items(4).work(Work::CONSUMERS)).unwrap();
                }
            }
            let (seen, all) = (seen(&place.path(), "a", Mode::Live), logged(&app));
            prop_assert_eq!(&seen[..], &all[..seen.len()]);
        }
        told.recovers();
        place.clock.turn(Duration::from_secs(600));
        run(&engine);
        prop_assert_eq!(seen(&place.path(), "a", Mode::Live), logged(&engine.app("a", Mode::Live).unwrap()));
    }
}

#[test]
fn a_shop_in_memory_has_consumers_too() {
    let counted = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&counted);
    let builder = Engine::builder().consumer("counts", move |tx: &mut HostTx<'_>, event: &Event| {
        note(tx, event)?;
        let rows = tx.query("SELECT count(*) FROM seen", &[], |row| row.int(0))?;
        count.store(u64::try_from(rows[0])?, Ordering::SeqCst);
        Ok(())
    });
    let engine = builder.open_in_memory().unwrap();
    let shop = Shop::with(engine, Mode::Test, ManualClock::new(), Till::new(), Receiver::new());
    run(&shop.engine);
    assert_eq!(
        counted.load(Ordering::SeqCst),
        shop.app.events(100, 0).unwrap().data.len() as u64
    );
}
