//! The same key gives the same answer: after a retry, from another process, after a restart. A key
//! that comes with anything else is refused.

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use tillite::{
    App, ChargeState, Currency, Dialect, Engine, Error, Metadata, Mode, NewCustomer, NewGrant, NewLine, NewPayment,
    NewPrice, NewProduct, NewSession, Outcome, Session, SessionState,
};

use crate::kit::{ManualClock, Receiver, SEAL_KEY, Shop, Till, declined, euro};

const DAY: Duration = Duration::from_secs(86_400);

fn conflict(key: &str) -> Error {
    let key = key.to_owned();
    Error::IdempotencyConflict { key }
}

fn open(path: &Path, clock: &ManualClock, till: &Till) -> Engine {
    let setup = Engine::builder().clock(clock.clone()).seal_key(SEAL_KEY);
    setup.test_processor("till", till.clone()).open(path).unwrap()
}

/// A shop on a file, with randomness of its own in every engine that opens it.
fn shop_on(path: &Path) -> Shop {
    let (clock, till) = (ManualClock::new(), Till::new());
    let engine = open(path, &clock, &till);
    Shop::with(engine, Mode::Test, clock, till, Receiver::new())
}

fn member() -> NewSession {
    NewSession::tier("member", Currency::EUR)
        .customer("u_1")
        .idempotency_key("k")
}

#[test]
fn a_repeated_create_gives_the_same_session_wherever_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let shop = shop_on(&path);
    let first = shop.app.sessions().create(member()).unwrap();
    let stored = shop.app.journal_head().unwrap();
    let again = |app: &App, expected: &Session| {
        assert_eq!(app.sessions().create(member()).unwrap(), *expected);
        assert_eq!(app.journal_head().unwrap().position, stored.position);
    };
    again(&shop.app, &first);
    // The catalogue moves on; the answer does not.
    let other = open(&path, &shop.clock, &shop.till);
    again(&other.app("lixblogs", Mode::Test).unwrap(), &first);
    drop(shop);
    drop(other);
    let clock = ManualClock::new();
    let reopened = open(&path, &clock, &Till::new());
    let app = reopened.app("lixblogs", Mode::Test).unwrap();
    again(&app, &first);
    assert_eq!(app.sessions().list(100, None).unwrap().data.len(), 1);
    // It is the session as it is now that is answered, and years later still this one.
    clock.turn(DAY * 1_000);
    let late = app.sessions().create(member()).unwrap();
    assert_eq!(late, app.sessions().get(&first.id).unwrap());
    crate::kit::clean(&reopened);
}

#[test]
fn a_key_with_another_session_is_refused_and_writes_nothing() {
    let shop = Shop::open();
    let line = || NewLine::inline("A pen", euro(1_00));
    let base = || NewSession::empty().line(line()).idempotency_key("k");
    let tag = || Metadata::new([("a", "b")]).unwrap();
    let check = |first: NewSession, other: NewSession| {
        let shop = Shop::open();
        shop.app.sessions().create(first.clone()).unwrap();
        let before = shop.engine.dump().unwrap();
        let refused = shop.app.sessions().create(other.clone());
        assert_eq!(refused, Err(conflict("k")), "{other:?}");
        assert_eq!(shop.engine.dump().unwrap(), before);
        shop.app.sessions().create(first).unwrap();
    };
    let customer = |customer: NewCustomer| base().customer_details(customer);
    for other in [
        NewSession::empty().idempotency_key("k"),
        base().line(line()),
        NewSession::empty().line(line().quantity(2)).idempotency_key("k"),
        NewSession::empty()
            .line(NewLine::inline("A pen", euro(1_01)))
            .idempotency_key("k"),
        NewSession::empty()
            .line(NewLine::inline("A pencil", euro(1_00)))
            .idempotency_key("k"),
        base().customer("u_1"),
        base().for_uid("u_1"),
        base().email("a@example.com"),
        base().return_to("https://shop.example"),
        base().cancel_url("https://shop.example"),
        base().metadata(tag()),
        base().dialect(Dialect::Elixpo),
        base().expires_after(DAY * 2),
        customer(NewCustomer::guest()),
        customer(NewCustomer::guest().name("a@example.com")),
        customer(NewCustomer::guest().email("a@example.com")),
    ] {
        check(base(), other.clone());
        check(other, base());
    }
    check(
        customer(NewCustomer::uid("u_1").email("a@example.com")),
        customer(NewCustomer::uid("u_1").name("a@example.com")),
    );
    // What is said of the session is not what is said of its payer, and to say that a payer has
    // no metadata is not to say nothing.
    check(
        customer(NewCustomer::uid("u_1")).metadata(tag()),
        customer(NewCustomer::uid("u_1").metadata(tag())),
    );
    check(
        customer(NewCustomer::uid("u_1")),
        customer(NewCustomer::uid("u_1").metadata(Metadata::default())),
    );
    shop.clean();
}

#[test]
fn a_repeated_payment_gets_its_own_outcome_a_decline_included() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let shop = shop_on(&path);
    let session = shop.session("u_1");
    let other = open(&path, &shop.clock, &shop.till);
    let elsewhere = other.app("lixblogs", Mode::Test).unwrap();
    let pay = |app: &App, key: &str| {
        let payment = NewPayment::with("tok_1").idempotency_key(key);
        app.sessions().pay(&session.id, payment)
    };
    shop.till.answer(declined("insufficient_funds", ""));
    let first = pay(&shop.app, "1").unwrap();
    assert_eq!(first.charge.as_ref().unwrap().state, ChargeState::Failed);
    for app in [&shop.app, &elsewhere] {
        assert_eq!(pay(app, "1").unwrap(), first);
    }
    assert_eq!(shop.till.requests().len(), 1);

    // While its attempt is in flight the key has no answer yet.
    shop.till.answer(Outcome::Unknown { why: String::new() });
    let second = pay(&shop.app, "2").unwrap();
    for app in [&shop.app, &elsewhere] {
        for key in ["2", "3"] {
            let refused = pay(app, key).unwrap_err();
            assert!(matches!(refused, Error::PaymentInProgress { .. }), "{refused:?}");
        }
        assert_eq!(pay(app, "1").unwrap().charge, first.charge);
    }
    shop.clock.turn(DAY / 2);
    shop.run();
    let never = pay(&shop.app, "2").unwrap().charge.unwrap();
    assert_eq!(
        (never.state, &never.id),
        (ChargeState::Failed, &second.charge.unwrap().id)
    );

    // The key that was refused made no attempt, so it is as good as new.
    let third = pay(&elsewhere, "3").unwrap();
    assert!(third.is_complete());
    drop(elsewhere);
    drop(other);
    let clock = shop.clock.clone();
    drop(shop.engine);
    drop(shop.app);
    let reopened = open(&path, &clock, &shop.till);
    let app = reopened.app("lixblogs", Mode::Test).unwrap();
    for (key, charge) in [("1", first.charge), ("2", Some(never)), ("3", third.charge)] {
        let again = pay(&app, key).unwrap();
        assert_eq!((again.charge, again.session.state), (charge, SessionState::Complete));
    }
    assert_eq!((shop.till.charges().len(), shop.till.requests().len()), (1, 3));
    crate::kit::clean(&reopened);
}

#[test]
fn a_key_with_another_payment_is_refused_and_writes_nothing() {
    let shop = Shop::open();
    let (session, other) = (shop.session("u_1"), shop.session("u_2"));
    let sessions = shop.app.sessions();
    let payment = || NewPayment::with("tok_1").idempotency_key("k");
    shop.till.answer(declined("insufficient_funds", ""));
    sessions.pay(&session.id, payment()).unwrap();
    let before = shop.engine.dump().unwrap();
    let others = [
        (&other, payment()),
        (&session, NewPayment::with("tok_2").idempotency_key("k")),
        (&session, NewPayment::hosted().idempotency_key("k")),
        (&session, payment().context("x")),
    ];
    for (session, payment) in others {
        assert_eq!(sessions.pay(&session.id, payment), Err(conflict("k")));
        assert_eq!(shop.engine.dump().unwrap(), before);
    }
    assert_eq!(shop.till.requests().len(), 1);
    shop.clean();
}

#[test]
fn a_key_answers_also_where_there_was_nothing_to_collect() {
    let shop = Shop::open();
    let free = NewSession::empty().line(NewLine::inline("A hug", euro(0)));
    let free = shop.app.sessions().create(free).unwrap();
    let paid = shop.session("u_1");
    shop.pay(&paid).unwrap();
    for (session, key) in [(&free, "free"), (&paid, "paid")] {
        let payment = || NewPayment::with("tok_1").idempotency_key(key);
        let first = shop.app.sessions().pay(&session.id, payment()).unwrap();
        assert!(first.is_complete() && first.charge.is_none());
        assert_eq!(shop.app.sessions().pay(&session.id, payment()).unwrap(), first);
    }
    shop.clean();
}

#[test]
fn a_repeated_grant_grants_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let shop = shop_on(&path);
    let grant = || NewGrant::tier("u_1", "member").days(10).idempotency_key("k");
    let first = shop.app.entitlements().grant(grant()).unwrap();
    assert_eq!(first.version, 1);
    let other = open(&path, &shop.clock, &shop.till);
    let elsewhere = other.app("lixblogs", Mode::Test).unwrap();
    let before = shop.engine.dump().unwrap();
    for app in [&shop.app, &elsewhere] {
        assert_eq!(app.entitlements().grant(grant()).unwrap(), first);
        let others = [
            NewGrant::tier("u_2", "member").days(10),
            NewGrant::tier("u_1", "member").days(11),
            NewGrant::tier("u_1", "member"),
            NewGrant::tier("u_1", "member").days(10).quantity(2),
            NewGrant::tier("u_1", "member").until(shop.app.now().unwrap().plus(DAY * 10)),
            NewGrant::tier("u_1", "member")
                .days(10)
                .limits(Metadata::new([("a", "b")]).unwrap()),
        ];
        for other in others {
            assert_eq!(app.entitlements().grant(other.idempotency_key("k")), Err(conflict("k")));
        }
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    drop(shop);
    drop(other);
    drop(elsewhere);
    // After a restart, and long after what was granted is over: it is not granted once more.
    let clock = ManualClock::new();
    let reopened = open(&path, &clock, &Till::new());
    let app = reopened.app("lixblogs", Mode::Test).unwrap();
    assert_eq!(app.entitlements().grant(grant()).unwrap(), first);
    clock.turn(DAY * 11);
    let late = app.entitlements().grant(grant()).unwrap();
    assert_eq!((late.active, late.version), (false, 2));
    crate::kit::clean(&reopened);
}

#[test]
fn a_repeated_grant_is_answered_where_it_went_though_its_tier_has_moved() {
    let shop = Shop::open();
    let entitlements = shop.app.entitlements();
    let grant = || NewGrant::tier("u_1", "member").idempotency_key("k");
    let first = entitlements.grant(grant()).unwrap();
    let moved = NewProduct::new("member", "Membership").line("clubs");
    shop.app.catalog().set(moved).unwrap();
    let before = shop.engine.dump().unwrap();
    assert_eq!(entitlements.grant(grant()).unwrap(), first);
    assert_eq!(shop.engine.dump().unwrap(), before);
    let other = entitlements.grant(NewGrant::tier("u_1", "member")).unwrap();
    assert_eq!((other.line.as_str(), other.version), ("clubs", 1));
    shop.clean();
}

#[test]
fn keys_of_different_verbs_modes_and_apps_do_not_meet() {
    let shop = Shop::open();
    let price = NewPrice::new("member", euro(5_00));
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    let other = shop.engine.app("otherblogs", Mode::Test).unwrap();
    let mut made = Vec::new();
    for app in [&shop.app, &live, &other] {
        app.catalog().set_price(price.clone()).unwrap();
        let session = app.sessions().create(member()).unwrap();
        let payment = NewPayment::with("tok_1").idempotency_key("k");
        assert!(app.sessions().pay(&session.id, payment).unwrap().is_complete());
        let granted = app
            .entitlements()
            .grant(NewGrant::tier("u_1", "member").quantity(3).idempotency_key("k"))
            .unwrap();
        assert!(granted.active);
        made.push(session.id);
    }
    made.dedup();
    assert_eq!(made.len(), 3);
    assert_eq!(shop.till.charges().len(), 3);
    shop.clean();
}

#[test]
fn a_key_that_is_no_key_is_refused() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    let before = shop.engine.dump().unwrap();
    for key in ["", "a b", "ä", "a\n", &"k".repeat(256)] {
        let refused = [
            shop.app.sessions().create(member().idempotency_key(key)).unwrap_err(),
            shop.app
                .sessions()
                .pay(&session.id, NewPayment::with("tok_1").idempotency_key(key))
                .unwrap_err(),
            shop.app
                .entitlements()
                .grant(NewGrant::tier("u_1", "member").idempotency_key(key))
                .unwrap_err(),
        ];
        for refused in refused {
            assert_eq!(refused.field(), Some("idempotency_key"), "{key:?}");
        }
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    let longest = "k".repeat(255);
    shop.app.sessions().create(member().idempotency_key(longest)).unwrap();
}

#[test]
fn two_threads_with_one_key_make_one_thing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let shop = shop_on(&path);
    let second = open(&path, &shop.clock, &shop.till);
    let second = second.app("lixblogs", Mode::Test).unwrap();
    let paid = shop.session("payer");
    // Two threads share an engine, two have one of their own on the file.
    let apps = [&shop.app, &shop.app, &second, &second];
    let start = Barrier::new(apps.len());
    for round in 0..10 {
        let key = format!("k_{round}");
        let uid = format!("u_{round}");
        let new = || NewSession::tier("member", Currency::EUR).idempotency_key(&key);
        let made: Vec<(Session, i64)> = std::thread::scope(|scope| {
            let threads = apps.map(|app| {
                let (start, new, key, uid, paid) = (&start, &new, &key, &uid, &paid);
                scope.spawn(move || {
                    start.wait();
                    let session = app.sessions().create(new()).unwrap();
                    let grant = NewGrant::tier(uid, "member").idempotency_key(key);
                    let granted = app.entitlements().grant(grant).unwrap();
                    let payment = NewPayment::with("tok_1").idempotency_key("pay");
                    match app.sessions().pay(&paid.id, payment) {
                        Ok(payment) => assert!(payment.is_complete()),
                        Err(refused) => assert!(matches!(refused, Error::PaymentInProgress { .. }), "{refused:?}"),
                    }
                    (session, granted.version)
                })
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|one| *one == made[0]), "{made:?}");
    }
    let sessions = shop.app.sessions().list(100, None).unwrap().data;
    assert_eq!(sessions.len(), 11);
    let events = shop.engine.dump().unwrap();
    assert_eq!(
        events.lines().filter(|line| line.starts_with("tillite_grant ")).count(),
        11
    );
    assert_eq!((shop.till.charges().len(), shop.till.requests().len()), (1, 1));
    shop.clean();
}
