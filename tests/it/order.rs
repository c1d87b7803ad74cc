//! An order is paid once: of its sessions at most one can be paid or was, whoever makes another, and
//! from wherever.

use std::sync::Barrier;
use std::time::Duration;

use tillite::{
    App, Budget, Currency, Error, ExpiredReason, Mode, NewSession, OrderState, Outcome, Session, SessionState, WhatNow,
    Work,
};

use crate::file::{Disk, sql};
use crate::kit::{Shop, clean, declined};

const DAY: Duration = Duration::from_secs(86_400);

fn of(order: &str) -> NewSession {
    NewSession::tier("member", Currency::EUR)
        .customer("u_1")
        .order_key(order)
}

fn create(app: &App, order: &str) -> tillite::Result<Session> {
    app.sessions().create(of(order))
}

fn taken(order: &str, session: &Session) -> Error {
    Error::OrderTaken {
        order: order.to_owned(),
        session: session.id.to_string(),
        state: match session.state {
            SessionState::Processing => OrderState::Processing,
            SessionState::Complete => OrderState::Complete,
            other => panic!("{other:?} takes no order"),
        },
    }
}

#[test]
fn a_second_session_of_an_order_takes_the_place_of_an_open_one() {
    let shop = Shop::open();
    let first = create(&shop.app, "o_1").unwrap();
    assert_eq!(first.order_key.as_deref(), Some("o_1"));
    let before = shop.app.journal_head().unwrap().position;
    let second = create(&shop.app, "o_1").unwrap();
    assert_ne!(first.id, second.id);
    let closed = shop.read(&first);
    assert_eq!(closed.state, SessionState::Expired(ExpiredReason::Superseded));
    assert_eq!(shop.read(&second), second);
    // One transaction: the old one goes before the new one comes, and history says on what account.
    let told = shop.app.events(100, before).unwrap().data;
    let told: Vec<_> = told
        .iter()
        .map(|event| (event.kind.as_str(), event.object_id.as_str(), event.cause.as_str()))
        .collect();
    let create = "sessions.create";
    let expected = [
        ("checkout.session.expired", first.id.as_str(), create),
        ("checkout.session.created", second.id.as_str(), create),
    ];
    assert_eq!(told, expected);
    // Who still has the old page open cannot pay it.
    let refused = shop.pay(&first).unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused:?}");
    assert!(shop.pay(&second).unwrap().is_complete());
    assert_eq!(shop.till.charges().len(), 1);
    shop.clean();
}

#[test]
fn an_order_that_is_being_paid_or_was_gets_no_other_session() {
    let shop = Shop::open();
    let refused = |session: &Session, what_now: WhatNow| {
        let before = shop.engine.dump().unwrap();
        // Also where the payer's data would be changed by the same call.
        let other = of("o_1").customer_details(tillite::NewCustomer::uid("u_1").name("Ada"));
        let error = shop.app.sessions().create(other).unwrap_err();
        assert_eq!(error, taken("o_1", &shop.read(session)));
        assert_eq!((error.what_now(), error.code()), (what_now, "order_taken"));
        assert_eq!(shop.engine.dump().unwrap(), before);
    };
    let session = create(&shop.app, "o_1").unwrap();
    shop.till.answer(Outcome::Unknown { why: String::new() });
    shop.pay(&session).unwrap();
    refused(&session, WhatNow::RetryLater);
    // What is in flight stays in the way however long it takes.
    shop.clock.turn(DAY * 2);
    refused(&session, WhatNow::RetryLater);
    shop.till
        .answer_lookup(tillite::Lookup::CannotTell { why: String::new() });
    shop.run();
    refused(&session, WhatNow::RetryLater);

    shop.clock.turn(DAY);
    shop.run();
    let second = create(&shop.app, "o_1").unwrap();
    assert!(shop.pay(&second).unwrap().is_complete());
    refused(&second, WhatNow::FixInput);
    shop.clock.turn(DAY * 1_000);
    refused(&second, WhatNow::FixInput);
    shop.clean();
}

#[test]
fn an_order_whose_session_failed_or_ended_can_be_tried_again() {
    let shop = Shop::open();
    let first = create(&shop.app, "o_1").unwrap();
    shop.till.answer(declined("card_declined", ""));
    shop.pay(&first).unwrap();
    let second = create(&shop.app, "o_1").unwrap();
    let state = |session: &Session| shop.read(session).state;
    assert_eq!(state(&first), SessionState::Expired(ExpiredReason::Superseded));
    shop.app.sessions().expire(&second.id).unwrap();
    let third = create(&shop.app, "o_1").unwrap();
    assert_eq!(state(&second), SessionState::Expired(ExpiredReason::Merchant));
    shop.app.sessions().cancel(&third.id).unwrap();
    let fourth = create(&shop.app, "o_1").unwrap();
    assert_eq!(state(&third), SessionState::Expired(ExpiredReason::Buyer));
    assert_eq!(state(&fourth), SessionState::Open);
    shop.clean();
}

#[test]
fn a_session_that_time_has_closed_is_not_said_to_be_superseded() {
    let shop = Shop::open();
    for swept in [false, true] {
        let order = format!("o_{swept}");
        let first = create(&shop.app, &order).unwrap();
        shop.clock.turn(DAY);
        if swept {
            shop.engine.run_due(Budget::items(100).work(Work::TIME)).unwrap();
        }
        let read = shop.read(&first);
        assert_eq!(read.state, SessionState::Expired(ExpiredReason::Timeout));
        let second = create(&shop.app, &order).unwrap();
        // What somebody has read is what is stored.
        assert_eq!(shop.read(&first), read);
        let expired = |kind: &&String| *kind == "checkout.session.expired";
        assert_eq!(shop.kinds(&first.id).iter().filter(expired).count(), 1);
        assert!(shop.pay(&second).unwrap().is_complete());
    }
    shop.clean();
}

#[test]
fn a_repeated_key_gets_its_session_and_closes_none() {
    let shop = Shop::open();
    let keyed = || of("o_1").idempotency_key("k");
    let first = shop.app.sessions().create(keyed()).unwrap();
    let repeat = |expected: SessionState| {
        let before = shop.engine.dump().unwrap();
        let again = shop.app.sessions().create(keyed()).unwrap();
        assert_eq!((&again.id, again.state), (&first.id, expected));
        assert_eq!(shop.engine.dump().unwrap(), before);
    };
    repeat(SessionState::Open);
    // Another order under the same key is another request.
    for other in [of("o_2"), NewSession::tier("member", Currency::EUR).customer("u_1")] {
        let refused = shop.app.sessions().create(other.idempotency_key("k")).unwrap_err();
        assert!(matches!(refused, Error::IdempotencyConflict { .. }), "{refused:?}");
    }
    let second = create(&shop.app, "o_1").unwrap();
    repeat(SessionState::Expired(ExpiredReason::Superseded));
    assert!(shop.pay(&second).unwrap().is_complete());
    repeat(SessionState::Expired(ExpiredReason::Superseded));
    shop.clean();
}

#[test]
fn orders_of_different_names_modes_and_apps_do_not_meet() {
    let shop = Shop::open();
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    let other = shop.engine.app("otherblogs", Mode::Test).unwrap();
    let price = tillite::NewPrice::new("member", crate::kit::euro(5_00));
    let mut made = Vec::new();
    for app in [&shop.app, &live, &other] {
        app.catalog().set_price(price.clone()).unwrap();
        for order in ["o", "O", "o_", "p"] {
            let session = create(app, order).unwrap();
            assert!(app.sessions().pay(&session.id, "tok_1").unwrap().is_complete());
            made.push((app, session));
        }
        // Sessions of no order are as many as one likes.
        for _ in 0..2 {
            app.sessions().create(NewSession::empty()).unwrap();
        }
    }
    for (app, session) in made {
        assert!(app.sessions().get(&session.id).unwrap().is_complete());
    }
    shop.clean();
}

#[test]
fn two_engines_that_make_sessions_of_one_order_leave_one_that_counts() {
    let disk = Disk::new();
    let (one, two) = (disk.shop(), disk.shop());
    let apps = [&one.app, &one.app, &two.app, &two.app];
    let start = Barrier::new(apps.len());
    for round in 0..10 {
        let order = format!("o_{round}");
        let mut made: Vec<(Session, bool)> = std::thread::scope(|scope| {
            let threads = apps.map(|app| {
                let (start, order) = (&start, &order);
                scope.spawn(move || {
                    start.wait();
                    match create(app, order) {
                        // Whoever got in pays at once; somebody else's session may come in between.
                        Ok(session) => match app.sessions().pay(&session.id, "tok_1") {
                            Ok(paid) => Some((paid.session, true)),
                            Err(Error::Refused(_)) => Some((session, false)),
                            Err(other) => panic!("{other:?}"),
                        },
                        Err(Error::OrderTaken { .. }) => None,
                        Err(other) => panic!("{other:?}"),
                    }
                })
            });
            threads
                .into_iter()
                .filter_map(|thread| thread.join().unwrap())
                .collect()
        });
        made.retain(|(_, paid)| *paid);
        assert_eq!(made.len(), 1, "one of them is paid: {made:?}");
        assert_eq!(create(&two.app, &order), Err(taken(&order, &made[0].0)));
    }
    assert_eq!(disk.till.charges().len(), 10);
    clean(&one.engine);
}

#[test]
fn the_file_itself_takes_no_second_session_that_counts() {
    let disk = Disk::new();
    let shop = disk.shop();
    let first = create(&shop.app, "o_1").unwrap();
    let second = create(&shop.app, "o_1").unwrap();
    let raw = disk.raw();
    let open = format!(
        "UPDATE tillite_session SET state = 'open', expired_reason = NULL WHERE id = '{}'",
        first.id
    );
    let refused = raw.prepare(&open).unwrap().execute([]).unwrap_err();
    assert!(refused.to_string().contains("UNIQUE"), "{refused}");
    shop.pay(&second).unwrap();
    let refused = raw.prepare(&open).unwrap().execute([]).unwrap_err();
    assert!(refused.to_string().contains("UNIQUE"), "{refused}");
    drop(raw);
    assert_eq!(sql(&disk.raw(), "SELECT count(*) FROM tillite_session"), ["2"]);
    shop.clean();
}
