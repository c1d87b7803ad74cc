//! Two times side by side: engine time, which sells and lapses and can be moved in test mode, and
//! the host's, which rules leases, deliveries and signatures and is never moved.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tillite::webhook::Format;
use tillite::{
    Answered, Begun, Budget, Clock, Currency, DeliveryFilter, Engine, Entropy, EntropyFailed, Error, ExpiredReason,
    MAIN_LINE, Mode, NewGrant, NewProduct, NewSession, SessionState, SignedRequest, Status, SystemEntropy, Timestamp,
    TransportOutcome, WhatNow, Work,
};

use crate::file::{Disk, sell};
use crate::kit::{ManualClock, Receiver, Shop, Till, builder, clean, locked, verified};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Longer than any machine needs; only a test that fails waits as long.
const PATIENCE: Duration = Duration::from_secs(120);

fn open_session(shop: &Shop) -> tillite::Session {
    let new = NewSession::tier("member", Currency::EUR).customer("u_1");
    shop.app.sessions().create(new).unwrap()
}

#[test]
fn engine_time_never_goes_back_when_the_hosts_clock_does() {
    let shop = Shop::open();
    let session = open_session(&shop);
    shop.clock.turn(25 * HOUR);
    shop.engine.run_due(Budget::items(10)).unwrap();
    let late = shop.app.now().unwrap();
    assert_eq!(late, shop.clock.now());
    shop.clock.turn_back(3 * HOUR);
    assert_eq!(shop.app.now().unwrap(), late);
    // What expired stays expired, and what is made now is made after it.
    let expired = SessionState::Expired(ExpiredReason::Timeout);
    assert_eq!(shop.app.sessions().get(&session.id).unwrap().state, expired);
    let next = open_session(&shop);
    assert_eq!(next.created_at, late);
    assert_eq!(next.expires_at, late.plus(24 * HOUR));
    shop.clock.turn(2 * HOUR);
    sell(&shop, "u_2").unwrap();
    shop.clock.turn(2 * HOUR);
    sell(&shop, "u_3").unwrap();
    let events = shop.app.events(100, 0).unwrap().data;
    assert!(events.len() > 20);
    assert!(events.windows(2).all(|pair| pair[0].created_at <= pair[1].created_at));
    assert_eq!(events[events.len() - 1].created_at, shop.clock.now());
    shop.clean();
}

#[test]
fn the_test_clock_moves_sales_and_not_the_wire() {
    let shop = Shop::open();
    let secrets = [Format::XPay, Format::Standard].map(|format| (format, shop.endpoint(format)));
    shop.receiver.answer(TransportOutcome::Answered(Answered::status(500)));
    let session = open_session(&shop);
    sell(&shop, "u_2").unwrap();
    shop.engine.run_due(Budget::items(100)).unwrap();
    let sent = shop.receiver.requests().len();
    let failed = due_deliveries(&shop);
    let wait = failed[0].since(shop.clock.now());
    assert!(failed.len() == 1 && (MINUTE..=MINUTE + MINUTE / 10).contains(&wait));
    let claim_of = || shop.engine.claim_deliveries(100).unwrap().len();
    assert_eq!(claim_of(), 0);

    let before = shop.app.now().unwrap();
    let year = 365 * DAY;
    assert_eq!(shop.app.advance(year).unwrap(), before.plus(year));
    assert_eq!(shop.app.now().unwrap(), before.plus(year));

    // Sessions and entitlements feel the year at once, stored or not.
    assert_eq!(
        shop.app.sessions().get(&session.id).unwrap().state,
        SessionState::Expired(ExpiredReason::Timeout)
    );
    assert_eq!(shop.app.entitlements().get("u_2").unwrap().status, Status::Expired);
    // The delivery that failed waits for its minute all the same.
    assert_eq!(due_deliveries(&shop), failed);
    assert_eq!(claim_of(), 0);
    assert_eq!(shop.receiver.requests().len(), sent);

    // What the year brought is signed with the host's time, so that a stock verifier accepts it.
    let ran = shop.engine.run_due(Budget::items(100)).unwrap();
    assert_eq!((ran.expired, ran.lapsed), (1, 1));
    let requests = shop.receiver.requests();
    assert!(requests.len() > sent);
    for request in &requests[sent..] {
        assert_eq!(request.signed_at, shop.clock.now());
        let (format, secret) = secrets
            .iter()
            .find(|(format, _)| request.url.ends_with(format.as_str()))
            .unwrap();
        assert!(verified(*format, secret, request, shop.clock.now()));
    }
    // The test clock goes on ticking from where it was put.
    shop.clock.turn(HOUR);
    assert_eq!(shop.app.now().unwrap(), before.plus(year).plus(HOUR));
    shop.clean();
}

/// Due times of the deliveries that are still to be made.
fn due_deliveries(shop: &Shop) -> Vec<Timestamp> {
    let all = shop
        .app
        .deliveries()
        .list(&DeliveryFilter::all(), 100, None)
        .unwrap()
        .data;
    all.into_iter().filter_map(|delivery| delivery.due_at).collect()
}

#[test]
fn a_call_in_flight_and_a_claim_are_not_ended_by_an_advance() {
    let shop = Shop::open();
    shop.endpoint(Format::XPay);
    let session = open_session(&shop);
    let Begun::Ask(ask) = shop.app.sessions().begin_payment(&session.id, "tok").unwrap() else {
        panic!("nothing to ask");
    };
    let claimed = shop.engine.claim_deliveries(1).unwrap();
    assert_eq!(claimed.len(), 1);
    shop.app.advance(365 * DAY).unwrap();
    let ran = shop
        .engine
        .run_due(Budget::items(100).work(Work::PAYMENTS | Work::TIME))
        .unwrap();
    assert_eq!(ran.total(), 0, "{ran:?}");
    assert_eq!(
        shop.app.sessions().get(&session.id).unwrap().state,
        SessionState::Processing
    );
    assert!(shop.engine.claim_deliveries(100).unwrap().is_empty());
    let outcome = tillite::Outcome::succeeded("till_1", ask.request.money().unwrap());
    let paid = shop.engine.settle(&ask, &tillite::Answer::Executed(outcome)).unwrap();
    assert!(paid.payment().unwrap().is_complete());
    shop.clean();
}

#[test]
fn live_time_is_moved_by_nobody() {
    let shop = Shop::open_in(Mode::Live);
    let test = shop.engine.app("lixblogs", Mode::Test).unwrap();
    let other = shop.engine.app("another", Mode::Test).unwrap();
    sell(&shop, "u_1").unwrap();
    let before = shop.engine.dump().unwrap();
    let error = shop.app.advance(DAY).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert_eq!(error.what_now(), WhatNow::FixInput);
    assert_eq!(shop.engine.dump().unwrap(), before);
    let host = shop.clock.now();
    test.advance(400 * DAY).unwrap();
    assert_eq!(test.now().unwrap(), host.plus(400 * DAY));
    assert_eq!(shop.app.now().unwrap(), host);
    assert_eq!(other.now().unwrap(), host);
    assert!(shop.app.entitlements().get("u_1").unwrap().active);
    shop.clean();
}

#[test]
fn the_test_clock_stops_at_the_end_of_time_and_goes_on_selling() {
    let shop = Shop::open();
    sell(&shop, "u_1").unwrap();
    assert_eq!(shop.app.advance(Duration::MAX).unwrap(), Timestamp::MAX);
    for _ in 0..2 {
        shop.clock.turn(HOUR);
        assert_eq!(shop.app.now().unwrap(), Timestamp::MAX);
        assert!(!shop.app.entitlements().get("u_1").unwrap().active);
        shop.app.entitlements().grant(NewGrant::tier("u_2", "member")).unwrap();
        let a_day = NewGrant::tier("u_3", "member").days(1);
        assert!(shop.app.entitlements().grant(a_day).unwrap().active);
        shop.engine.run_due(Budget::items(10)).unwrap();
        assert_eq!(shop.app.advance(DAY).unwrap(), Timestamp::MAX);
    }
    shop.clean();
}

#[test]
fn what_is_due_next_is_told_in_host_time() {
    let shop = Shop::open();
    let engine = &shop.engine;
    let now = || shop.clock.now();
    assert_eq!(engine.next_due().unwrap(), None);
    assert!(!engine.wait_due(Duration::ZERO).unwrap());

    // A grant's end, moved nearer by the test clock.
    let grant = NewGrant::tier("u_1", "member").days(10);
    shop.app.entitlements().grant(grant).unwrap();
    assert_eq!(engine.next_due().unwrap(), Some(now().plus(10 * DAY)));
    shop.app.advance(9 * DAY).unwrap();
    assert_eq!(engine.next_due().unwrap(), Some(now().plus(DAY)));

    // A session's expiry, then an attempt's lease.
    let session = open_session(&shop);
    shop.clock.turn(HOUR);
    assert_eq!(engine.next_due().unwrap(), Some(now().plus(23 * HOUR)));
    shop.app.sessions().begin_payment(&session.id, "tok").unwrap();
    assert_eq!(
        engine.next_due().unwrap(),
        Some(now().plus(Duration::from_secs(40))),
        "the call's 30 seconds and the margin of ten"
    );
    assert!(!engine.wait_due(Duration::ZERO).unwrap());
    shop.clock.turn(Duration::from_secs(40));
    assert!(engine.wait_due(Duration::ZERO).unwrap());
    assert_eq!(engine.run_due(Budget::items(1)).unwrap().recovered, 1);
    engine.run_due(Budget::items(100)).unwrap();
    engine.run_due(Budget::items(100)).unwrap();
    assert_ne!(engine.next_due().unwrap(), Some(now()));

    // A delivery, at once.
    shop.endpoint(Format::Standard);
    sell(&shop, "u_2").unwrap();
    assert_eq!(engine.next_due().unwrap(), Some(now()));
    assert!(engine.wait_due(PATIENCE).unwrap());
    engine.run_due(Budget::items(100)).unwrap();
    assert!(!engine.wait_due(Duration::ZERO).unwrap());
    shop.clean();
}

#[test]
fn an_engine_that_cannot_send_does_not_wake_for_deliveries() {
    let disk = Disk::new();
    let shop = disk.shop();
    shop.endpoint(Format::XPay);
    let grant = NewGrant::tier("u_1", "member");
    shop.app.entitlements().grant(grant).unwrap();
    sell(&shop, "u_2").unwrap();
    assert!(shop.engine.wait_due(Duration::ZERO).unwrap());
    let silent = Engine::builder().clock(shop.clock.clone()).open(disk.path()).unwrap();
    assert_ne!(silent.next_due().unwrap(), Some(shop.clock.now()));
    assert!(!silent.wait_due(Duration::ZERO).unwrap());
    assert_eq!(silent.run_due(Budget::items(100)).unwrap().total(), 0);
}

#[test]
fn a_waiter_is_woken_by_a_commit_here_and_by_one_elsewhere() {
    let disk = Disk::new();
    let shop = disk.shop();
    let neighbour = disk.shop();
    shop.endpoint(Format::XPay);
    for seller in [&shop, &neighbour] {
        assert!(!shop.engine.wait_due(Duration::ZERO).unwrap());
        let (told, hears) = mpsc::channel();
        let engine = shop.engine.clone();
        let waiter = std::thread::spawn(move || told.send(engine.wait_due(PATIENCE)).unwrap());
        sell(seller, "u_1").unwrap();
        assert!(hears.recv_timeout(PATIENCE).unwrap().unwrap());
        waiter.join().unwrap();
        shop.engine.run_due(Budget::items(100)).unwrap();
    }
}

#[test]
fn after_its_time_a_run_starts_nothing() {
    let shop = Shop::open();
    let id = open_session(&shop).id;
    let Begun::Ask(_) = shop.app.sessions().begin_payment(&id, "tok_1").unwrap() else {
        panic!("nothing to ask");
    };
    shop.clock.turn(HOUR);
    let passed = Budget::items(100).until(Timestamp::MIN);
    assert_eq!(shop.engine.run_due(passed).unwrap().total(), 0);
    let ran = shop.engine.run_due(Budget::items(100).until(shop.clock.now())).unwrap();
    assert_eq!(ran.recovered, 1);
}

/// A clock that counts how often the threads of a runner read it.
struct Counted(ManualClock, Arc<AtomicUsize>);

impl Clock for Counted {
    fn now(&self) -> Timestamp {
        let reader = std::thread::current();
        if reader.name().is_some_and(|name| name.starts_with("tillite-")) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
        self.0.now()
    }
}

#[test]
fn a_runner_that_fails_rests_whoever_rings() {
    let disk = Disk::new();
    let count = Arc::new(AtomicUsize::new(0));
    let path = disk.path();
    let clock = Counted(disk.clock.clone(), Arc::clone(&count));
    let engine = disk.builder().clock(clock).open(disk.path()).unwrap();
    let shop = Shop::with(
        engine,
        Mode::Test,
        disk.clock.clone(),
        disk.till.clone(),
        disk.receiver.clone(),
    );
    open_session(&shop);
    shop.clock.turn(25 * HOUR);
    // Another file at the path: what is due can be read and not be done.
    std::fs::rename(&path, path.with_extension("away")).unwrap();
    std::fs::write(&path, "").unwrap();
    let runner = shop.engine.spawn_runner(2);
    // Each refused write rings all the same.
    let rings = 20_000;
    for _ in 0..rings {
        assert!(shop.app.advance(MINUTE).is_err());
    }
    assert!(runner.stop(PATIENCE));
    let reads = count.load(Ordering::Relaxed);
    // How many there are beside that depends on how long the machine takes for it.
    assert!(reads < rings / 10, "{reads} reads of the clock");
}

#[test]
fn a_runner_delivers_what_falls_due_until_it_is_stopped() {
    let (clock, till) = (ManualClock::new(), Till::new());
    let (sent, arrives) = mpsc::channel();
    let engine = builder(&clock, &till, &Receiver::new())
        .transport(move |request: &SignedRequest| {
            sent.send(request.clone()).unwrap();
            TransportOutcome::Answered(Answered::status(204))
        })
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, Receiver::new());
    let secret = shop.endpoint(Format::XPay);
    let runner = shop.engine.spawn_runner(3);
    assert_eq!(runner.threads(), 3);
    for uid in ["u_1", "u_2"] {
        sell(&shop, uid).unwrap();
        // The customer, the charge, the session.
        for _ in 0..3 {
            let request = arrives.recv_timeout(PATIENCE).unwrap();
            assert!(verified(Format::XPay, &secret, &request, shop.clock.now()));
        }
    }
    assert!(runner.stop(PATIENCE));
    assert!(arrives.try_recv().is_err(), "one delivery each, and no more");
    sell(&shop, "u_3").unwrap();
    assert!(shop.engine.wait_due(Duration::ZERO).unwrap());
    assert!(arrives.try_recv().is_err(), "a stopped runner sends nothing");
    shop.clean();
}

/// Randomness that does something else first, once: what others do while a verb is on its way.
#[derive(Clone, Default)]
struct Meanwhile(Arc<Mutex<Option<Action>>>);

type Action = Box<dyn FnOnce() + Send>;

impl Entropy for Meanwhile {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyFailed> {
        let first = locked(&self.0).take();
        if let Some(first) = first {
            first();
        }
        SystemEntropy::new().fill(bytes)
    }
}

#[test]
fn a_write_that_was_kept_waiting_is_not_dated_before_what_others_read_meanwhile() {
    let (clock, meanwhile) = (ManualClock::new(), Meanwhile::default());
    let engine = Engine::builder()
        .clock(clock.clone())
        .entropy(meanwhile.clone())
        .open_in_memory()
        .unwrap();
    let app = engine.app("shop", Mode::Test).unwrap();
    app.catalog().set(NewProduct::new("member", "Membership")).unwrap();
    app.entitlements().grant(NewGrant::tier("u", "member").days(1)).unwrap();
    clock.turn(23 * HOUR);
    let seen = Arc::new(Mutex::new(None));
    let (reader, note, turned) = (app.clone(), Arc::clone(&seen), clock.clone());
    *locked(&meanwhile.0) = Some(Box::new(move || {
        turned.turn(2 * HOUR);
        *locked(&note) = Some(reader.entitlements().get("u").unwrap());
    }));
    app.entitlements().grant(NewGrant::tier("u", "member").days(9)).unwrap();
    let seen = locked(&seen).take().unwrap();
    assert_eq!((seen.version, seen.active), (2, false));
    assert_eq!(app.entitlements().version("u", MAIN_LINE, 2).unwrap(), seen);
    assert_eq!(app.entitlements().get("u").unwrap().version, 3);
    clean(&engine);
}
