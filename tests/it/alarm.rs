//! Alarms: what somebody has to look at is told once, when it is in the file, and whatever the
//! callback does with it harms nobody.

use std::sync::mpsc::{Receiver as Heard, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    Alarm, Answer, Answered, App, Begun, Budget, Builder, Capabilities, ChargeState, DeliveryFilter, Engine, Error,
    Hold, Hook, LatePayments, Lookup, LookupKey, Mode, NewLine, NewSession, Outcome, Processor, Request, Session,
    SessionId, StorageKind, Timestamp, TransportOutcome, Work,
};

use crate::file::{Disk, sell, sql};
use crate::kit::{ManualClock, SeededEntropy, Shop, Till, Told, euro, locked};

const PRICE: i64 = 199_00;
const DAY: Duration = Duration::from_secs(86_400);

/// What a callback does beside listening.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Quiet,
    Panics,
    /// Reads, writes and works, through the engine.
    CallsBack,
}

/// What was told, and what the file said of it at that moment.
#[derive(Clone, Default)]
struct Watch {
    told: Arc<Mutex<Vec<(Alarm, String)>>>,
    engine: Arc<OnceLock<Engine>>,
}

impl Watch {
    fn callback(&self, manner: Manner) -> impl Fn(&Alarm) + Send + Sync + 'static {
        let watch = self.clone();
        move |alarm| {
            let engine = watch.engine.get().unwrap();
            let row = row(engine, alarm);
            locked(&watch.told).push((alarm.clone(), row));
            match manner {
                Manner::Quiet => {}
                Manner::Panics => panic!("told to panic"),
                Manner::CallsBack => {
                    let app = engine.find_app("lixblogs", Mode::Test).unwrap();
                    let gift = NewSession::empty().line(NewLine::inline("A gift", euro(0)));
                    let gift = app.sessions().create(gift).unwrap();
                    app.sessions().expire(&gift.id).unwrap();
                    engine.run_due(Budget::items(10).work(Work::TIME)).unwrap();
                }
            }
        }
    }

    fn take(&self) -> Vec<(Alarm, String)> {
        std::mem::take(&mut *locked(&self.told))
    }
}

/// What the file says of the thing that an alarm is about.
fn row(engine: &Engine, alarm: &Alarm) -> String {
    let app = |slug: &str| engine.find_app(slug, Mode::Test).unwrap();
    match alarm {
        Alarm::ChargeUnresolved {
            app: slug,
            session,
            charge,
            ..
        } => {
            let found = charge_of(&app(slug), session);
            assert_eq!(found.id, *charge);
            format!(
                "{} {}",
                found.state.as_str(),
                engine.health().unwrap().unresolved_charges
            )
        }
        Alarm::ChargeHeld {
            app: slug,
            session,
            charge,
            ..
        } => {
            let held = app(slug).held_charges(10, None).unwrap().data;
            assert!(held.iter().any(|held| (&held.id, &held.session) == (charge, session)));
            format!(
                "{} {}",
                held[0].hold.unwrap().as_str(),
                engine.health().unwrap().held_charges
            )
        }
        Alarm::DeliveryExhausted {
            app: slug,
            endpoint,
            delivery,
            ..
        } => {
            let all = app(slug)
                .deliveries()
                .list(&DeliveryFilter::all(), 100, None)
                .unwrap()
                .data;
            let found = all.iter().find(|found| found.id == *delivery).unwrap();
            assert_eq!(found.endpoint, *endpoint);
            found.state.as_str().to_owned()
        }
        Alarm::EndpointSealed {
            app: slug, endpoint, ..
        } => {
            let all = app(slug).endpoints().list(100, None).unwrap().data;
            assert!(all.iter().any(|found| found.id == *endpoint));
            engine.health().unwrap().sealed_endpoints.to_string()
        }
        _ => String::new(),
    }
}

fn charge_of(app: &App, session: &SessionId) -> tillite::Charge {
    let intent = app.sessions().get(session).unwrap().payment_intent.unwrap();
    intent.charges.into_iter().next().unwrap()
}

/// All that an alarm says, in words: only the engine makes one.
fn words(alarm: &Alarm) -> String {
    match alarm {
        Alarm::ChargeUnresolved {
            app, session, charge, ..
        } => format!("unresolved {app} {session} {charge}"),
        Alarm::ChargeHeld {
            app,
            session,
            charge,
            why,
            ..
        } => format!("held {app} {session} {charge} {}", why.as_str()),
        Alarm::DeliveryExhausted {
            app,
            endpoint,
            delivery,
            ..
        } => format!("exhausted {app} {endpoint} {delivery}"),
        Alarm::EndpointSealed { app, endpoint, .. } => format!("sealed {app} {endpoint}"),
        Alarm::HookPanicked {
            hook: Hook::Processor { name, mode, .. },
            ..
        } => format!("panicked {name} {mode}"),
        Alarm::HookPanicked { hook, .. } => format!("panicked {hook:?}"),
        other => format!("{other:?}"),
    }
}

/// Runs a story with each manner of callback; it answers what was to be told, in order.
fn story(setup: fn(&Disk, Builder) -> Builder, tell: fn(&Shop, &Watch) -> Vec<(String, &'static str)>) {
    for manner in [Manner::Quiet, Manner::Panics, Manner::CallsBack] {
        let disk = Disk::new();
        let watch = Watch::default();
        let engine = setup(&disk, disk.builder().on_alarm(watch.callback(manner)));
        let engine = engine.open(disk.path()).unwrap();
        assert!(watch.engine.set(engine.clone()).is_ok());
        let (clock, till, receiver) = (disk.clock.clone(), disk.till.clone(), disk.receiver.clone());
        let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
        let wanted = tell(&shop, &watch);
        // Whatever is done from here on, nothing of it is told a second time.
        for _ in 0..3 {
            shop.clock.turn(DAY);
            let _ = shop.engine.run_due(Budget::items(100));
        }
        let told = watch.take();
        let told: Vec<(String, &str)> = told.iter().map(|(alarm, row)| (words(alarm), row.as_str())).collect();
        assert_eq!(told, wanted, "{manner:?}");
        shop.clean();
    }
}

fn as_it_is(_: &Disk, builder: Builder) -> Builder {
    builder
}

fn succeeded(minor: i64) -> Answer {
    Answer::Executed(Outcome::succeeded("p_1", euro(minor)))
}

fn begin(shop: &Shop, session: &Session) -> tillite::Ask {
    match shop.app.sessions().begin_payment(&session.id, "tok_1").unwrap() {
        Begun::Ask(ask) => *ask,
        other @ Begun::Done(_) => panic!("{other:?}"),
    }
}

fn held(shop: &Shop, session: &Session, why: Hold) -> String {
    let charge = charge_of(&shop.app, &session.id).id;
    format!("held lixblogs {} {charge} {}", session.id, why.as_str())
}

fn unresolved(shop: &Shop, session: &Session) -> String {
    let charge = charge_of(&shop.app, &session.id).id;
    format!("unresolved lixblogs {} {charge}", session.id)
}

#[test]
fn a_charge_that_cannot_be_looked_up_is_told_of_at_once() {
    story(as_it_is, |shop, _| {
        shop.till.set_capabilities(Capabilities::new());
        let session = shop.session("u_1");
        shop.till.tell(Told::TakeAndLose);
        shop.pay(&session).unwrap();
        vec![(unresolved(shop, &session), "unknown 1")]
    });
}

#[test]
fn a_charge_that_eight_look_ups_did_not_resolve_is_told_of_by_the_eighth() {
    story(as_it_is, |shop, watch| {
        let session = shop.session("u_1");
        shop.till.tell(Told::TakeAndLose);
        shop.pay(&session).unwrap();
        for look_up in 1..=12 {
            let why = "nobody is there".to_owned();
            shop.till.answer_lookup(Lookup::CannotTell { why });
            shop.clock.turn(DAY);
            assert_eq!(shop.run().looked_up, 1);
            assert_eq!(locked(&watch.told).len(), usize::from(look_up >= 8), "{look_up}");
        }
        vec![(unresolved(shop, &session), "unknown 1")]
    });
}

#[test]
fn money_that_is_held_is_told_of_with_the_reason() {
    // Another amount than asked is unresolved as well, and one case.
    story(as_it_is, |shop, _| {
        let session = shop.session("u_1");
        let ask = begin(shop, &session);
        for _ in 0..3 {
            shop.engine.settle(&ask, &succeeded(PRICE + 1)).unwrap();
        }
        vec![(held(shop, &session, Hold::Mismatch), "mismatch 1")]
    });
    // Money that comes when its attempt was closed, and when another one had paid.
    story(as_it_is, |shop, _| {
        shop.app.set_late_payments(LatePayments::Hold).unwrap();
        let session = shop.session("u_1");
        let ask = begin(shop, &session);
        shop.clock.turn(Duration::from_secs(3_600));
        shop.run();
        shop.clock.turn(Duration::from_secs(3_600));
        shop.run();
        assert_eq!(charge_of(&shop.app, &session.id).state, ChargeState::Failed);
        shop.engine.settle(&ask, &succeeded(PRICE)).unwrap();
        shop.engine.settle(&ask, &succeeded(PRICE)).unwrap();
        vec![(held(shop, &session, Hold::Late), "late 1")]
    });
    story(as_it_is, |shop, _| {
        shop.app.set_late_payments(LatePayments::Hold).unwrap();
        let session = shop.session("u_1");
        let ask = begin(shop, &session);
        shop.clock.turn(Duration::from_secs(3_600));
        shop.run();
        shop.clock.turn(Duration::from_secs(3_600));
        shop.run();
        assert!(shop.pay(&session).unwrap().is_complete());
        shop.engine.settle(&ask, &succeeded(PRICE)).unwrap();
        vec![(held(shop, &session, Hold::Surplus), "surplus 1")]
    });
}

/// An endpoint that hears of one thing only.
fn endpoint(shop: &Shop) -> tillite::EndpointId {
    let new = NewEndpoint::new("https://shop.example/hook", Format::Standard).events(["checkout.session.completed"]);
    shop.app.endpoints().add(new).unwrap().endpoint.id
}

fn exhausted(shop: &Shop, endpoint: &tillite::EndpointId) -> String {
    let delivery = shop
        .app
        .deliveries()
        .list(&DeliveryFilter::all(), 100, None)
        .unwrap()
        .data
        .remove(0);
    format!("exhausted lixblogs {endpoint} {}", delivery.id)
}

#[test]
fn a_delivery_is_told_of_when_it_has_failed_for_the_last_time() {
    story(as_it_is, |shop, watch| {
        let endpoint = endpoint(shop);
        sell(shop, "u_1").unwrap();
        for attempt in 1..=5 {
            shop.receiver.answer(TransportOutcome::Answered(Answered::status(500)));
            assert_eq!(shop.run().undelivered, 1);
            assert_eq!(locked(&watch.told).len(), usize::from(attempt == 5));
            shop.clock.turn(DAY);
        }
        vec![(exhausted(shop, &endpoint), "exhausted")]
    });
    // Those who took it were never heard of again; what they say later is no news.
    story(as_it_is, |shop, watch| {
        let endpoint = endpoint(shop);
        sell(shop, "u_1").unwrap();
        sell(shop, "u_2").unwrap();
        let mut claims = Vec::new();
        for _ in 0..5 {
            claims.extend(shop.engine.claim_deliveries(10).unwrap());
            shop.clock.turn(DAY);
        }
        assert_eq!((claims.len(), locked(&watch.told).len()), (10, 0));
        assert!(shop.engine.claim_deliveries(10).unwrap().is_empty());
        let refused = TransportOutcome::Answered(Answered::status(500));
        assert!(!shop.engine.acknowledge(&claims[9], &refused).unwrap());
        let of = |claim: &tillite::ClaimedDelivery| format!("exhausted lixblogs {endpoint} {}", claim.id);
        vec![(of(&claims[8]), "exhausted"), (of(&claims[9]), "exhausted")]
    });
}

#[test]
fn an_endpoint_whose_secret_does_not_open_is_told_of_once_by_each_engine() {
    fn with_an_endpoint(disk: &Disk, builder: Builder) -> Builder {
        let shop = disk.shop();
        endpoint(&shop);
        sell(&shop, "u_0").unwrap();
        builder.seal_key([7; 32])
    }
    for _ in 0..2 {
        story(with_an_endpoint, |shop, _| {
            let endpoint = shop.app.endpoints().list(10, None).unwrap().data.remove(0).id;
            sell(shop, "u_1").unwrap();
            for _ in 0..3 {
                assert_eq!(shop.run().delivered, 0);
                shop.engine.wait_due(Duration::ZERO).unwrap();
            }
            vec![(format!("sealed lixblogs {endpoint}"), "1")]
        });
    }
}

#[test]
fn a_commit_whose_outcome_nobody_knows_is_told_of() {
    let spoil = |disk: &Disk| {
        let raw = disk.raw();
        // A violation that only the commit notices.
        sql(&raw, "CREATE TABLE parent (id INTEGER PRIMARY KEY)");
        sql(
            &raw,
            "CREATE TABLE child (id REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
        );
        sql(
            &raw,
            "CREATE TRIGGER spoil AFTER UPDATE ON tillite_head BEGIN INSERT INTO child VALUES (1); END",
        );
    };
    let told = |alarms: &[Alarm]| -> Vec<&'static str> {
        let doing = |alarm: &Alarm| match alarm {
            Alarm::CommitUnknown { doing, error, .. } if error.kind == StorageKind::OutcomeUnknown => *doing,
            other => panic!("{other:?}"),
        };
        alarms.iter().map(doing).collect()
    };
    let disk = Disk::new();
    let heard: Arc<Mutex<Vec<Alarm>>> = Arc::default();
    let engine: Arc<OnceLock<Engine>> = Arc::default();
    let (note, callee) = (Arc::clone(&heard), Arc::clone(&engine));
    let calls_back = disk.builder().on_alarm(move |alarm| {
        locked(&note).push(alarm.clone());
        // A callback that runs into the same each time comes to an end all the same.
        let app = callee.get().unwrap().find_app("lixblogs", Mode::Test).unwrap();
        assert!(app.advance(DAY).is_err());
    });
    let opened = calls_back.open(disk.path()).unwrap();
    assert!(engine.set(opened.clone()).is_ok());
    let (clock, till, receiver) = (disk.clock.clone(), disk.till.clone(), disk.receiver.clone());
    let shop = Shop::with(opened, Mode::Test, clock, till, receiver);
    let session = shop.session("u_1");
    spoil(&disk);
    let error = shop.app.sessions().expire(&session.id).unwrap_err();
    assert!(matches!(&error, Error::Storage(error) if error.kind == StorageKind::OutcomeUnknown));
    assert_eq!(
        told(&std::mem::take(&mut *locked(&heard))),
        ["sessions.expire", "advance", "advance", "advance"]
    );
    sql(&disk.raw(), "DROP TRIGGER spoil");
    shop.app.sessions().expire(&session.id).unwrap();
    assert_eq!(told(&locked(&heard)).len(), 0);
    shop.clean();
}

/// A sync that fails is answered to whoever was waiting for it, or told of: the file is worked on by
/// the way, in nobody's name.
#[test]
fn a_log_that_could_not_be_worked_into_the_file_is_told_of_once() {
    let mut told_of = 0;
    for operation in (0..600).step_by(7) {
        let disk = tillite_simdisk::Disk::new(operation);
        let heard: Arc<Mutex<Vec<Alarm>>> = Arc::default();
        let note = Arc::clone(&heard);
        let engine = Engine::builder()
            .clock(ManualClock::new())
            .entropy(SeededEntropy::new(1))
            .on_alarm(move |alarm| locked(&note).push(alarm.clone()))
            .open_on(&disk, "shop.db")
            .unwrap();
        let app = engine.app("lixblogs", Mode::Test).unwrap();
        disk.fault_after(operation, tillite_simdisk::Fault::SyncError);
        let mut failed = 0;
        for _ in 0..60 {
            let gift = NewSession::empty().line(NewLine::inline("A gift", euro(0)));
            failed += usize::from(app.sessions().create(gift).is_err());
        }
        let heard = std::mem::take(&mut *locked(&heard));
        match engine.health().unwrap().log_failure {
            None => assert_eq!((failed, heard.len()), (1, 1), "{heard:?}"),
            Some(failure) => {
                assert_eq!(failed, 0);
                assert!(
                    matches!(&heard[..], [Alarm::LogKept { error, .. }] if *error == failure),
                    "{heard:?}"
                );
                engine.close().unwrap_err();
                told_of += 1;
            }
        }
    }
    assert!(told_of > 0);
}

/// A processor whose code panics where it is told to.
struct Fragile {
    till: Till,
    capabilities: bool,
    execute: bool,
    lookup: bool,
}

impl Processor for Fragile {
    fn capabilities(&self) -> Capabilities {
        assert!(!self.capabilities, "in capabilities");
        self.till.capabilities()
    }

    fn execute(&self, request: &Request, deadline: Timestamp) -> Outcome {
        assert!(!self.execute, "in execute");
        self.till.execute(request, deadline)
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        assert!(!self.lookup, "in lookup");
        self.till.lookup(key)
    }
}

fn panicked(hook: &str) -> String {
    format!("panicked {hook}")
}

fn fragile() -> String {
    panicked("fragile test")
}

#[test]
fn a_hook_that_panics_is_told_of_when_what_came_of_it_is_in_the_file() {
    fn with(disk: &Disk, builder: Builder, part: &str) -> Builder {
        let processor = Fragile {
            till: disk.till.clone(),
            capabilities: part == "capabilities",
            execute: part == "execute",
            lookup: part == "lookup",
        };
        builder
            .test_processor("fragile", processor)
            .route(|_| "fragile".to_owned())
    }
    story(
        |disk, builder| with(disk, builder, "execute"),
        |shop, watch| {
            let session = shop.session("u_1");
            shop.pay(&session).unwrap();
            assert_eq!(locked(&watch.told).len(), 1);
            vec![(fragile(), "")]
        },
    );
    story(
        |disk, builder| with(disk, builder, "lookup"),
        |shop, watch| {
            let session = shop.session("u_1");
            shop.till.tell(Told::TakeAndLose);
            shop.pay(&session).unwrap();
            assert_eq!(locked(&watch.told).len(), 0);
            shop.clock.turn(DAY);
            // One per call: this one and the three of the days to come.
            assert_eq!(shop.run().looked_up, 1);
            vec![(fragile(), ""); 4]
        },
    );
    // Asked before the attempt and, of its answer, after it.
    story(
        |disk, builder| with(disk, builder, "capabilities"),
        |shop, _| {
            let session = shop.session("u_1");
            assert!(shop.pay(&session).unwrap().is_complete());
            vec![(fragile(), ""); 2]
        },
    );
    story(
        |_, builder| builder.route(|_| panic!("in the rule")),
        |shop, _| {
            let session = shop.session("u_1");
            assert!(matches!(shop.pay(&session), Err(Error::NoProcessor { .. })));
            vec![(panicked("Route"), "")]
        },
    );
    story(
        |_, builder| builder.transport(|_: &tillite::SignedRequest| -> TransportOutcome { panic!("in the transport") }),
        |shop, watch| {
            endpoint(shop);
            sell(shop, "u_1").unwrap();
            for time in 1..=7 {
                assert_eq!(shop.run().undelivered, 1);
                assert_eq!(locked(&watch.told).len(), time);
                shop.clock.turn(DAY);
            }
            // It costs no attempt, so the three days to come bring it as well.
            vec![(panicked("Transport"), ""); 10]
        },
    );
}

#[test]
fn a_hook_that_panics_is_told_of_behind_the_commit_of_what_it_counts_as() {
    let disk = Disk::new();
    let (tell, told) = channel();
    let engine: Arc<OnceLock<Engine>> = Arc::default();
    let reader = Arc::clone(&engine);
    let opened = disk
        .builder()
        .on_alarm(move |_| {
            let app = reader.get().unwrap().find_app("lixblogs", Mode::Test).unwrap();
            let session = app.sessions().list(1, None).unwrap().data.remove(0);
            tell.send(charge_of(&app, &session.id).state).unwrap();
        })
        .open(disk.path())
        .unwrap();
    assert!(engine.set(opened.clone()).is_ok());
    let (clock, till, receiver) = (disk.clock.clone(), disk.till.clone(), disk.receiver.clone());
    let shop = Shop::with(opened, Mode::Test, clock, till, receiver);
    shop.till.tell(Told::Panic);
    shop.pay(&shop.session("u_1")).unwrap();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [ChargeState::Unknown]);
}

/// A clock that tells of each reading by a runner's thread, and panics there while it is told to.
struct Stopping {
    clock: ManualClock,
    reads: Mutex<Sender<()>>,
    broken: Arc<Mutex<bool>>,
}

impl tillite::Clock for Stopping {
    fn now(&self) -> Timestamp {
        let thread = std::thread::current();
        if thread.name().is_some_and(|name| name.starts_with("tillite-")) {
            let _ = locked(&self.reads).send(());
            let broken = *locked(&self.broken);
            assert!(!broken, "the clock is broken");
        }
        self.clock.now()
    }
}

#[test]
fn a_runners_thread_that_fails_is_told_of_and_again_only_after_it_has_worked() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let disk = Disk::new();
    let (tell, told) = channel();
    let (reads, read) = channel();
    let broken = Arc::new(Mutex::new(false));
    let clock = Stopping {
        clock: disk.clock.clone(),
        reads: Mutex::new(reads),
        broken: Arc::clone(&broken),
    };
    let tell = Mutex::new(tell);
    let engine = disk
        .builder()
        .clock(clock)
        .entropy(SeededEntropy::new(7))
        .on_alarm(move |alarm| locked(&tell).send(alarm.clone()).unwrap())
        .open(disk.path())
        .unwrap();
    let app = engine.app("lixblogs", Mode::Test).unwrap();
    let raw = disk.raw();
    let version = sql(&raw, "SELECT version FROM tillite_schema").remove(0);
    let wait = |read: &Heard<()>, times: usize| {
        while read.try_recv().is_ok() {}
        for _ in 0..times {
            read.recv_timeout(PATIENCE).unwrap();
        }
    };
    sql(&raw, "UPDATE tillite_schema SET version = 99");
    let runner = engine.spawn_runner(1);
    let first = told.recv_timeout(PATIENCE).unwrap();
    let schema_moved = |alarm: &Alarm| {
        matches!(
            alarm,
            Alarm::RunnerRests {
                error: Some(Error::SchemaMoved { found: 99, .. }),
                ..
            }
        )
    };
    assert!(schema_moved(&first), "{first:?}");
    // It fails twice more, and that is no news.
    wait(&read, 2);
    assert!(told.try_recv().is_err());
    sql(&raw, &format!("UPDATE tillite_schema SET version = {version}"));
    // More than one round can do: when all is done it has worked.
    for _ in 0..65 {
        app.sessions().create(NewSession::empty()).unwrap();
    }
    disk.clock.turn(2 * DAY);
    let since = std::time::Instant::now();
    while engine.health().unwrap().oldest_due.is_some() {
        assert!(since.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    *locked(&broken) = true;
    let panicked = told.recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(panicked, Alarm::RunnerRests { error: None, .. }),
        "{panicked:?}"
    );
    wait(&read, 2);
    assert!(told.try_recv().is_err());
    *locked(&broken) = false;
    // The thread outlived it.
    wait(&read, 2);
    assert!(runner.stop(PATIENCE));
}

#[test]
fn what_was_found_while_opening_is_told_before_it_is_open() {
    let disk = Disk::new();
    let shop = disk.shop();
    shop.till.set_capabilities(Capabilities::new());
    let session = shop.session("u_1");
    drop(begin(&shop, &session));
    let wanted = unresolved(&shop, &session);
    drop(shop);
    disk.clock.turn(DAY);
    let heard: Arc<Mutex<Vec<Alarm>>> = Arc::default();
    let open = || {
        let note = Arc::clone(&heard);
        disk.builder()
            .on_alarm(move |alarm| locked(&note).push(alarm.clone()))
            .open(disk.path())
            .unwrap()
    };
    let engine = open();
    assert_eq!(locked(&heard).iter().map(words).collect::<Vec<_>>(), [wanted]);
    assert_eq!(engine.health().unwrap().unresolved_charges, 1);
    drop((engine, open()));
    assert_eq!(locked(&heard).len(), 1);
}

#[test]
fn without_a_callback_health_knows_what_still_is_so() {
    let disk = Disk::new();
    let shop = disk.shop();
    endpoint(&shop);
    shop.till.set_capabilities(Capabilities::new());
    let (lost, over) = (shop.session("u_1"), shop.session("u_2"));
    shop.till.tell(Told::TakeAndLose);
    shop.pay(&lost).unwrap();
    shop.engine.settle(&begin(&shop, &over), &succeeded(PRICE + 1)).unwrap();
    drop(shop);
    let engine = disk.builder().seal_key([7; 32]).open(disk.path()).unwrap();
    let health = engine.health().unwrap();
    let seen = (health.open_charges, health.unresolved_charges, health.held_charges);
    assert_eq!(seen, (2, 2, 1));
    assert_eq!((health.sealed_endpoints, health.last_run_due), (1, None));
}

#[test]
fn health_says_since_when_the_oldest_of_what_is_due_has_been_waiting() {
    let hours = |hours: u64| Duration::from_secs(3_600 * hours);
    let shop = Shop::open();
    let oldest = || {
        let due = shop.engine.health().unwrap().oldest_due;
        due.map(|due| {
            use tillite::Clock as _;
            shop.clock.now().since(due)
        })
    };
    assert_eq!(oldest(), None);
    // A session that is over after a day, seen three hours late; the test clock ran ahead of it.
    shop.app.advance(hours(1_000)).unwrap();
    let session = shop.session("u_1");
    let lasts = session.expires_at.since(session.created_at);
    assert_eq!(oldest(), None);
    shop.clock.turn(lasts + hours(3));
    assert_eq!(oldest(), Some(hours(3)));
    shop.run();
    assert_eq!(oldest(), None);
    // An entitlement that lapses.
    sell(&shop, "u_1").unwrap();
    let held = shop.app.entitlements().get("u_1").unwrap();
    shop.clock
        .turn(held.expires_at.unwrap().since(shop.app.now().unwrap()) + hours(4));
    assert_eq!(oldest(), Some(hours(4)));
    shop.run();
    assert_eq!(oldest(), None);
    // A lost call, whose lease ends after 40 seconds.
    let session = shop.session("u_2");
    drop(begin(&shop, &session));
    shop.clock.turn(Duration::from_secs(40) + hours(5));
    assert_eq!(oldest(), Some(hours(5)));
    shop.run();
    shop.clock.turn(hours(1));
    shop.run();
    assert_eq!(oldest(), None);
    // A look-up, the first of which is due at once.
    shop.till.tell(Told::TakeAndLose);
    shop.pay(&shop.session("u_4")).unwrap();
    shop.clock.turn(hours(2));
    assert_eq!(oldest(), Some(hours(2)));
    shop.run();
    assert_eq!(oldest(), None);
    // A delivery, of which health speaks apart as well.
    endpoint(&shop);
    sell(&shop, "u_3").unwrap();
    shop.clock.turn(hours(6));
    assert_eq!(oldest(), Some(hours(6)));
    let health = shop.engine.health().unwrap();
    assert_eq!(health.oldest_overdue_delivery, health.oldest_due);
    shop.run();
    assert_eq!(oldest(), None);
    assert_eq!(
        shop.engine.health().unwrap().last_run_due,
        Some(tillite::Clock::now(&shop.clock))
    );
}

#[test]
fn an_alarm_prints_as_a_line_that_says_what_it_is_about() {
    let disk = Disk::new();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let note = Arc::clone(&heard);
    let engine = disk
        .builder()
        .on_alarm(move |alarm| locked(&note).push(alarm.to_string()))
        .open(disk.path())
        .unwrap();
    let (clock, till, receiver) = (disk.clock.clone(), disk.till.clone(), disk.receiver.clone());
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    let session = shop.session("u_1");
    shop.engine.settle(&begin(&shop, &session), &succeeded(1)).unwrap();
    shop.till.tell(Told::Panic);
    shop.pay(&shop.session("u_2")).unwrap();
    let charge = charge_of(&shop.app, &session.id).id;
    assert_eq!(
        *locked(&heard),
        [
            format!(
                "lixblogs: charge {charge} of session {} took money that settles nothing (mismatch); decide about it",
                session.id
            ),
            "the processor \"till\" of test mode panicked".to_owned(),
        ]
    );
}
