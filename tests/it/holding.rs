//! Payments that take their time: an amount that is held until the host says what to take, a buyer
//! who has to do something first, and what is called off.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tillite::{
    Action, Alarm, Answer, AskKind, Begun, Budget, Cancel, Capabilities, CaptureMethod, ChargeState, Currency, Engine,
    Error, ExpiredReason, Followup, IntentStatus, Lookup, LookupKey, Mode, NewRefund, NewSession, Operation, Outcome,
    Processor, Receipt, RefundState, Request, Session, SessionState, Timestamp, Work,
};

use crate::kit::{ManualClock, Receiver, Shop, Till, Told, builder, declined, euro, locked, unknown};

const PRICE: i64 = 199_00;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A session whose payment is to be held, and was.
fn held(shop: &Shop) -> Session {
    let new = NewSession::tier("member", Currency::EUR)
        .customer("u_1")
        .capture_later();
    let session = shop.app.sessions().create(new).unwrap();
    let paid = shop.pay(&session).unwrap();
    assert_eq!(paid.session.state, SessionState::Processing);
    session
}

fn charge(shop: &Shop, session: &Session) -> tillite::Charge {
    let intent = shop.read(session).payment_intent.unwrap();
    intent.charges.last().unwrap().clone()
}

/// Says what is to be called off, without asking for it yet; answers of how many payments.
fn mark_lapsed(shop: &Shop) -> usize {
    shop.engine
        .run_due(Budget::items(10).work(Work::TIME))
        .unwrap()
        .called_off
}

fn status(shop: &Shop, session: &Session) -> IntentStatus {
    shop.read(session).payment_intent.unwrap().status()
}

#[test]
fn what_is_held_is_taken_when_the_host_says_so() {
    let shop = Shop::open();
    let session = held(&shop);
    let before = charge(&shop, &session);
    assert_eq!(
        (before.state, before.capture),
        (ChargeState::Authorized, CaptureMethod::Manual)
    );
    assert_eq!((before.authorized, before.captured), (PRICE, 0));
    assert_eq!(status(&shop, &session), IntentStatus::RequiresCapture);
    assert!(!shop.app.entitlements().get("u_1").unwrap().active);
    assert_eq!(shop.till.holds().len(), 1);
    assert_eq!(shop.till.charges(), []);

    let taken = shop.app.sessions().capture(&session.id, None).unwrap();
    assert!(taken.is_complete());
    let after = taken.charge.unwrap();
    assert_eq!(
        (after.state, after.captured, after.authorized),
        (ChargeState::Succeeded, PRICE, 0)
    );
    assert!(after.settles && after.asked.is_none());
    assert_eq!(status(&shop, &session), IntentStatus::Succeeded);
    assert!(shop.app.entitlements().get("u_1").unwrap().active);
    assert_eq!(shop.till.holds(), []);
    assert_eq!(shop.till.charges()[0].amount, PRICE);
    assert_eq!(
        shop.kinds(&after.id),
        [
            "charge.initiated",
            "charge.authorized",
            "charge.updated",
            "charge.succeeded",
            "charge.captured",
        ]
    );
    let [authorized, captured] = <[_; 2]>::try_from(shop.till.requests()).unwrap();
    assert_eq!(
        (authorized.operation, captured.operation),
        (Operation::Authorize, Operation::Capture)
    );
    let related = captured.related.unwrap();
    assert_eq!(related.idempotency_key, authorized.idempotency_key);
    assert_eq!(related.attempt, authorized.attempt);
    assert_eq!(related.reference, before.reference);
    assert_ne!(captured.idempotency_key, authorized.idempotency_key);
    shop.clean();
}

#[test]
fn a_part_can_be_taken_and_the_rest_is_free() {
    let shop = Shop::open();
    let session = held(&shop);
    let taken = shop.app.sessions().capture(&session.id, Some(euro(50_00))).unwrap();
    assert!(taken.is_complete());
    assert_eq!(taken.charge.as_ref().unwrap().captured, 50_00);
    assert_eq!(shop.till.charges()[0].amount, 50_00);
    // What was not taken cannot go back either.
    let back = |minor| {
        shop.app
            .refunds()
            .create(NewRefund::session(&session.id).amount(euro(minor)))
    };
    assert!(matches!(back(50_01), Err(Error::RefundTooLarge { .. })));
    assert_eq!(back(50_00).unwrap().state, RefundState::Succeeded);
    shop.clean();

    let again = |amount| shop.app.sessions().capture(&session.id, amount);
    assert!(again(None).unwrap().is_complete());
    assert!(again(Some(euro(50_00))).unwrap().is_complete());
    assert!(matches!(again(Some(euro(49_00))), Err(Error::Refused(_))));
    assert_eq!(shop.till.charges().len(), 1);
}

#[test]
fn an_amount_that_is_not_held_is_refused() {
    let shop = Shop::open();
    let session = held(&shop);
    let dollars = tillite::Amount::minor(1_00, Currency::USD).unwrap();
    for amount in [euro(0), euro(PRICE + 1), dollars] {
        let error = shop.app.sessions().capture(&session.id, Some(amount)).unwrap_err();
        assert_eq!(error.field(), Some("amount"), "{amount}: {error}");
    }
    let open = shop.session("u_2");
    let paid = shop.session("u_3");
    assert!(shop.pay(&paid).unwrap().is_complete());
    for nothing_held in [&open, &paid] {
        for error in [
            shop.app.sessions().void(&nothing_held.id).unwrap_err(),
            shop.app
                .sessions()
                .capture(&nothing_held.id, Some(euro(1)))
                .unwrap_err(),
        ] {
            assert!(matches!(error, Error::Refused(_)), "{error}");
        }
    }
    assert_eq!(shop.till.requests().len(), 2);
    shop.clean();
}

#[test]
fn what_is_given_free_closes_the_session() {
    let shop = Shop::open();
    let session = held(&shop);
    let voided = shop.app.sessions().void(&session.id).unwrap();
    assert_eq!(voided.session.state, SessionState::Expired(ExpiredReason::Merchant));
    let after = charge(&shop, &session);
    assert_eq!((after.state, after.authorized), (ChargeState::Voided, 0));
    assert_eq!(status(&shop, &session), IntentStatus::Canceled);
    assert_eq!(shop.till.holds(), []);
    assert_eq!(shop.till.charges(), []);
    assert_eq!(shop.kinds(&after.id).last().unwrap(), "charge.voided");
    let intent = shop.read(&session).payment_intent.unwrap().id;
    assert_eq!(shop.kinds(&intent).last().unwrap(), "payment_intent.canceled");
    assert_eq!(shop.kinds(&session.id).last().unwrap(), "checkout.session.expired");

    let again = shop.app.sessions().void(&session.id).unwrap();
    assert_eq!(again.session.state, voided.session.state);
    assert!(matches!(
        shop.app.sessions().capture(&session.id, None),
        Err(Error::Refused(_))
    ));
    assert_eq!(shop.till.requests().len(), 2);
    shop.clean();
}

#[test]
fn what_the_processor_declines_leaves_the_amount_held() {
    let shop = Shop::open();
    let session = held(&shop);
    for (number, followup) in [(1, Followup::Capture), (2, Followup::Capture), (3, Followup::Void)] {
        shop.till.answer(declined("too_late", "It is too late."));
        let sessions = shop.app.sessions();
        let answered = match followup {
            Followup::Capture => sessions.capture(&session.id, None),
            _ => sessions.void(&session.id),
        };
        let answered = answered.unwrap();
        assert_eq!(answered.declined.unwrap().code, "too_late", "{number}");
        let charge = answered.charge.unwrap();
        assert_eq!(
            (charge.state, charge.asked, charge.authorized),
            (ChargeState::Authorized, None, PRICE)
        );
        assert_eq!(answered.session.state, SessionState::Processing);
    }
    // Each was a request of its own, under a key of its own.
    let mut keys: Vec<_> = shop
        .till
        .requests()
        .into_iter()
        .map(|request| request.idempotency_key)
        .collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4);
    assert!(shop.app.sessions().capture(&session.id, None).unwrap().is_complete());
    shop.clean();
}

#[test]
fn while_a_capture_is_in_doubt_nothing_else_is_asked_and_a_look_up_ends_it() {
    for (told, complete) in [(Told::TakeAndLose, true), (Told::LoseRequest, false)] {
        let shop = Shop::open();
        let session = held(&shop);
        shop.till.tell(told);
        let in_doubt = shop.app.sessions().capture(&session.id, None).unwrap();
        let charge = in_doubt.charge.unwrap();
        assert_eq!(
            (charge.state, charge.asked),
            (ChargeState::Authorized, Some(Followup::Capture))
        );
        let sessions = shop.app.sessions();
        for refused in [
            sessions.capture(&session.id, None).unwrap_err(),
            sessions.void(&session.id).unwrap_err(),
            sessions.pay(&session.id, "tok_1").unwrap_err(),
        ] {
            assert!(matches!(refused, Error::PaymentInProgress { .. }), "{refused}");
        }
        assert_eq!(shop.till.requests().len(), 2);
        shop.clean();
        shop.clock.turn(2 * MINUTE);
        assert_eq!(shop.run().looked_up, 1);
        assert_eq!(shop.read(&session).is_complete(), complete);
        if !complete {
            // It never arrived, so it may be said again.
            assert!(sessions.capture(&session.id, None).unwrap().is_complete());
        }
        assert_eq!(shop.till.charges().len(), 1);
        shop.clean();
    }
}

#[test]
fn a_capture_of_another_amount_is_held_for_a_decision() {
    let shop = Shop::open();
    let session = held(&shop);
    shop.till.answer(Outcome::succeeded("till_x", euro(PRICE - 1)));
    let answered = shop.app.sessions().capture(&session.id, None).unwrap();
    assert!(!answered.is_complete());
    assert_eq!(shop.app.held_charges(100, None).unwrap().data.len(), 1);
    assert!(!shop.app.entitlements().get("u_1").unwrap().active);
    shop.clean();
}

#[test]
fn an_amount_that_is_held_for_too_long_is_called_off_and_the_session_can_be_paid_anew() {
    let shop = Shop::open();
    let new = NewSession::tier("member", Currency::EUR)
        .customer("u_1")
        .capture_later();
    let session = shop.app.sessions().create(new).unwrap();
    let until = Timestamp::from_millis(shop.app.now().unwrap().as_millis() + 3_600_000).unwrap();
    shop.till.answer(Outcome::Authorized {
        receipt: Receipt::new("till_1", euro(PRICE)),
        expires_at: Some(until),
    });
    shop.pay(&session).unwrap();
    assert_eq!(charge(&shop, &session).authorized_until, Some(until));
    shop.clock.turn(59 * MINUTE);
    assert_eq!(shop.run().called_off, 0);
    assert!(shop.engine.next_due().unwrap().is_some_and(|due| due <= until));
    shop.clock.turn(MINUTE);
    assert_eq!(shop.run().called_off, 1);
    shop.run();
    let after = charge(&shop, &session);
    assert_eq!(after.state, ChargeState::Failed);
    assert_eq!(after.failure.unwrap().code, "authorization_expired");
    assert_eq!(shop.read(&session).state, SessionState::Open);
    shop.clean();
    assert!(matches!(
        shop.pay(&session).unwrap().charge.unwrap().state,
        ChargeState::Authorized
    ));
    shop.clean();
}

#[test]
fn a_service_that_holds_what_it_was_to_take_is_asked_to_take_it() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.till.answer(Outcome::Authorized {
        receipt: Receipt::new("till_1", euro(PRICE)),
        expires_at: None,
    });
    let paid = shop.pay(&session).unwrap();
    let charge = paid.charge.unwrap();
    assert_eq!(
        (charge.state, charge.asked),
        (ChargeState::Authorized, Some(Followup::Capture))
    );
    shop.till.answer(Outcome::succeeded("till_1", euro(PRICE)));
    shop.run();
    assert!(shop.read(&session).is_complete());
    shop.clean();
}

/// A session whose buyer is to do something.
fn acting(shop: &Shop) -> Session {
    let session = shop.session("u_1");
    shop.till.tell(Told::AskBuyer);
    let paid = shop.pay(&session).unwrap();
    assert_eq!(paid.charge.unwrap().state, ChargeState::RequiresAction);
    session
}

#[test]
fn a_buyer_who_acts_has_paid_when_the_page_asks() {
    for approves in [true, false] {
        let shop = Shop::open();
        let session = acting(&shop);
        let waiting = charge(&shop, &session);
        let Some(Action::Redirect(url)) = waiting.action else {
            panic!("{:?}", waiting.action);
        };
        assert!(url.starts_with("https://till.example/act/at_test_"));
        assert_eq!(waiting.action_deadline, Some(shop.app.now().unwrap().plus(15 * MINUTE)));
        assert_eq!(status(&shop, &session), IntentStatus::RequiresAction);
        let refresh = || shop.app.sessions().refresh(&session.id).unwrap();
        assert_eq!(refresh().session.state, SessionState::Processing);
        assert!(matches!(shop.pay(&session), Err(Error::PaymentInProgress { .. })));

        assert!(shop.till.act(&session.id, approves));
        let answered = refresh();
        assert_eq!(answered.is_complete(), approves);
        let after = charge(&shop, &session);
        assert_eq!((after.action, after.action_deadline), (None, None));
        assert_eq!(shop.app.entitlements().get("u_1").unwrap().active, approves);
        // Asked again, nothing is in flight any more.
        let looked_up = shop.till.looked_up();
        assert_eq!(refresh().session.state, answered.session.state);
        assert_eq!(shop.till.looked_up(), looked_up);
        shop.clean();
    }
}

#[test]
fn an_action_that_is_not_taken_in_time_is_called_off_before_the_session_opens_again() {
    let shop = Shop::open();
    let session = acting(&shop);
    shop.clock.turn(15 * MINUTE);
    // Only said so far: the processor has not confirmed it.
    assert_eq!(mark_lapsed(&shop), 1);
    assert_eq!(mark_lapsed(&shop), 0);
    assert_eq!(shop.read(&session).state, SessionState::Processing);
    assert!(matches!(shop.pay(&session), Err(Error::PaymentInProgress { .. })));

    shop.run();
    let after = charge(&shop, &session);
    assert_eq!(
        (after.state, after.failure.unwrap().code.as_str()),
        (ChargeState::Failed, "canceled")
    );
    assert_eq!(shop.read(&session).state, SessionState::Open);
    // Whatever the buyer does now on the old page comes to nothing.
    assert!(!shop.till.act(&session.id, true));
    assert!(shop.pay(&session).unwrap().is_complete());
    assert_eq!(shop.till.charges().len(), 1);
    shop.clean();
}

#[test]
fn a_buyer_who_acts_in_the_last_moment_has_paid() {
    let shop = Shop::open();
    let session = acting(&shop);
    shop.clock.turn(15 * MINUTE);
    assert_eq!(mark_lapsed(&shop), 1);
    assert!(shop.till.act(&session.id, true));
    shop.run();
    assert!(shop.read(&session).is_complete());
    assert_eq!(shop.till.charges().len(), 1);
    shop.clean();
}

#[test]
fn what_cannot_be_called_off_yet_goes_on_being_asked() {
    let shop = Shop::open();
    let session = acting(&shop);
    shop.clock.turn(15 * MINUTE);
    let asks = || {
        mark_lapsed(&shop);
        let mut asks = shop.engine.claim_asks(10).unwrap();
        assert_eq!(asks.len(), 1);
        assert_eq!(asks[0].kind, AskKind::Cancel);
        asks.remove(0)
    };
    let why = || "the service does not answer".to_owned();
    let still = Outcome::Pending {
        reference: "till_1".to_owned(),
    };
    for found in [
        Cancel::CannotTell { why: why() },
        Cancel::TooLate(unknown()),
        Cancel::TooLate(still),
    ] {
        let ask = asks();
        shop.engine.settle(&ask, &Answer::Canceled(found)).unwrap();
        assert_eq!(shop.read(&session).state, SessionState::Processing);
        shop.clock.turn(6 * HOUR);
    }
    let ask = asks();
    shop.engine.settle(&ask, &Answer::Canceled(Cancel::Canceled)).unwrap();
    assert_eq!(charge(&shop, &session).state, ChargeState::Failed);
    shop.clean();
}

#[test]
fn a_payment_can_be_called_off_by_the_host() {
    let shop = Shop::open();
    let session = acting(&shop);
    let called_off = shop.app.sessions().cancel_payment(&session.id).unwrap();
    assert_eq!(called_off.session.state, SessionState::Open);
    assert_eq!(called_off.charge.unwrap().state, ChargeState::Failed);
    // Where nothing is in flight there is nothing to do.
    let again = shop.app.sessions().cancel_payment(&session.id).unwrap();
    assert_eq!(again.session.state, SessionState::Open);
    assert!(shop.pay(&session).unwrap().is_complete());

    // The call itself cannot be overtaken, and what is held is given free in another way.
    let flying = shop.session("u_2");
    let Begun::Ask(_) = shop.app.sessions().begin_payment(&flying.id, "tok_1").unwrap() else {
        panic!("nothing to ask");
    };
    let refused = shop.app.sessions().cancel_payment(&flying.id).unwrap_err();
    assert!(matches!(refused, Error::PaymentInProgress { .. }), "{refused}");
    let holding = held(&shop);
    shop.clean();
    let refused = shop.app.sessions().cancel_payment(&holding.id).unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
    shop.clean();
}

#[test]
fn what_a_buyer_must_do_is_kept_to_the_byte_or_not_at_all() {
    let long = format!("https://bank.example/{}", "a".repeat(4_096));
    for (action, kept) in [
        (
            Action::Redirect("https://bank.example/3ds?id=4111111111111111".to_owned()),
            true,
        ),
        (Action::Redirect("bank-app://approve/1".to_owned()), true),
        (Action::Redirect(long), false),
        (Action::Redirect("https://bank.example/\u{0}".to_owned()), false),
        (Action::Redirect(String::new()), false),
        (Action::Client("{\"secret\":\"pi_1_secret_2\"}".to_owned()), true),
        (Action::Client("{\"card\":\"4111111111111111\"}".to_owned()), false),
    ] {
        let shop = Shop::open();
        let session = shop.session("u_1");
        shop.till.answer(Outcome::RequiresAction {
            reference: "till_1".to_owned(),
            action: action.clone(),
            within: MINUTE,
        });
        let charge = shop.pay(&session).unwrap().charge.unwrap();
        assert_eq!(charge.action, kept.then_some(action));
        // Without it the buyer can do nothing, and it is called off in its time.
        shop.clock.turn(MINUTE);
        assert_eq!(shop.run().called_off, 1);
    }
}

#[test]
fn a_look_up_of_what_was_called_off_says_so() {
    let shop = Shop::open();
    let session = acting(&shop);
    shop.till.answer_lookup(Lookup::Found(Outcome::Canceled {
        why: "by hand at the service".to_owned(),
    }));
    let answered = shop.app.sessions().refresh(&session.id).unwrap();
    assert_eq!(answered.session.state, SessionState::Open);
    let failure = answered.charge.unwrap().failure.unwrap();
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        ("canceled", "by hand at the service")
    );
    shop.clean();
}

#[test]
fn what_an_older_capture_says_late_ends_nothing_of_a_newer_one() {
    let shop = Shop::open();
    let session = held(&shop);
    let sessions = shop.app.sessions();
    let Begun::Ask(slept) = sessions.begin_capture(&session.id, Some(euro(50_00))).unwrap() else {
        panic!("nothing to ask");
    };
    // Its lease ends, and the service has never seen it.
    shop.clock.turn(2 * MINUTE);
    shop.run();
    shop.clock.turn(2 * MINUTE);
    shop.run();
    assert_eq!(charge(&shop, &session).asked, None);
    shop.till.tell(Told::TakeAndLose);
    sessions.capture(&session.id, Some(euro(60_00))).unwrap();
    let late = Answer::Executed(Outcome::NotSent { why: String::new() });
    shop.engine.settle(&slept, &late).unwrap();
    assert_eq!(charge(&shop, &session).asked, Some(Followup::Capture));
    assert!(matches!(
        sessions.void(&session.id),
        Err(Error::PaymentInProgress { .. })
    ));
    shop.clock.turn(2 * MINUTE);
    shop.run();
    assert!(shop.read(&session).is_complete());
    assert_eq!(charge(&shop, &session).captured, 60_00);
    assert_eq!(shop.till.charges().len(), 1);
    shop.clean();
}

#[test]
fn what_is_being_called_off_is_not_taken_meanwhile() {
    let shop = Shop::open();
    let new = NewSession::tier("member", Currency::EUR)
        .customer("u_1")
        .capture_later();
    let session = shop.app.sessions().create(new).unwrap();
    shop.till.tell(Told::AskBuyer);
    shop.pay(&session).unwrap();
    shop.clock.turn(15 * MINUTE);
    mark_lapsed(&shop);
    // The buyer acts in the last moment, and the service says that it holds the amount by now.
    let ask = shop.engine.claim_asks(10).unwrap().remove(0);
    let held = Outcome::Authorized {
        receipt: Receipt::new("till_1", euro(PRICE)),
        expires_at: None,
    };
    shop.engine
        .settle(&ask, &Answer::Canceled(Cancel::TooLate(held)))
        .unwrap();
    assert_eq!(charge(&shop, &session).state, ChargeState::Authorized);
    for error in [
        shop.app.sessions().capture(&session.id, None).unwrap_err(),
        shop.app.sessions().void(&session.id).unwrap_err(),
    ] {
        assert!(matches!(error, Error::PaymentInProgress { .. }), "{error}");
    }
    shop.clock.turn(MINUTE);
    shop.run();
    assert_eq!(charge(&shop, &session).state, ChargeState::Voided);
    assert_eq!(shop.read(&session).state, SessionState::Open);
    shop.clean();
}

#[test]
fn what_the_engine_takes_by_itself_is_asked_for_until_it_is_sent_and_told_of_if_it_is_refused() {
    for refused in [false, true] {
        let shop = Shop::open();
        let session = shop.session("u_1");
        shop.till.answer(Outcome::Authorized {
            receipt: Receipt::new("till_1", euro(PRICE)),
            expires_at: None,
        });
        shop.pay(&session).unwrap();
        for _ in 0..3 {
            shop.till.answer(Outcome::NotSent { why: String::new() });
            shop.run();
            assert_eq!(charge(&shop, &session).asked, Some(Followup::Capture));
            shop.clock.turn(HOUR);
        }
        shop.till.answer(if refused {
            declined("too_late", "It is too late.")
        } else {
            Outcome::succeeded("till_1", euro(PRICE))
        });
        shop.run();
        assert_eq!(shop.read(&session).is_complete(), !refused);
        let told = shop
            .kinds(&charge(&shop, &session).id)
            .contains(&"charge.unresolved".to_owned());
        assert_eq!(told, refused);
        let mut keys: Vec<_> = shop
            .till
            .requests()
            .into_iter()
            .map(|request| request.idempotency_key)
            .collect();
        keys.dedup();
        assert_eq!(keys.len(), 2, "each time under the same key");
        shop.clean();
    }
}

/// A service that has look-ups and cannot call anything off.
struct LooksUpOnly(Till);

impl Processor for LooksUpOnly {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn execute(&self, request: &Request, deadline: Timestamp) -> Outcome {
        self.0.execute(request, deadline)
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        self.0.lookup(key)
    }
}

#[test]
fn what_a_service_cannot_call_off_ends_by_what_a_look_up_finds() {
    for (told, ended) in [
        (Told::LoseRequest, SessionState::Open),
        (Told::TakeAndLose, SessionState::Complete),
    ] {
        let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
        let builder = Engine::builder()
            .clock(clock.clone())
            .test_processor("till", LooksUpOnly(till.clone()));
        let engine = builder.open_in_memory().unwrap();
        let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
        let session = shop.session("u_1");
        shop.till.tell(told);
        shop.pay(&session).unwrap();
        if ended == SessionState::Open {
            // A request that is not there yet may still arrive.
            let early = shop.app.sessions().cancel_payment(&session.id).unwrap();
            assert_eq!(early.session.state, SessionState::Processing);
            shop.clock.turn(2 * MINUTE);
            shop.run();
        } else {
            shop.app.sessions().cancel_payment(&session.id).unwrap();
        }
        assert_eq!(shop.read(&session).state, ended);
        shop.clean();
    }
}

/// An engine on a till, with what it tells of.
fn listening() -> (Shop, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let heard = Arc::clone(&told);
    let engine = builder(&clock, &till, &receiver)
        .on_alarm(move |alarm: &Alarm| locked(&heard).push(format!("{alarm:?}")))
        .open_in_memory()
        .unwrap();
    (Shop::with(engine, Mode::Test, clock, till, receiver), told)
}

fn capturing(shop: &Shop, session: &Session) -> tillite::Ask {
    match shop.app.sessions().begin_capture(&session.id, None).unwrap() {
        Begun::Ask(ask) => *ask,
        Begun::Done(payment) => panic!("{payment:?}"),
    }
}

#[test]
fn what_was_taken_before_it_was_called_off_is_told_as_captured() {
    let shop = Shop::open();
    let new = NewSession::tier("member", Currency::EUR).capture_later();
    let session = shop.app.sessions().create(new).unwrap();
    shop.till.answer(Outcome::Authorized {
        receipt: Receipt::new("p_1", euro(PRICE)),
        expires_at: Some(shop.app.now().unwrap().plus(HOUR)),
    });
    shop.pay(&session).unwrap();
    shop.clock.turn(HOUR);
    assert_eq!(mark_lapsed(&shop), 1);
    let ask = shop.engine.claim_asks(1).unwrap().remove(0);
    assert_eq!(ask.kind, AskKind::Cancel);
    let taken = Cancel::TooLate(Outcome::succeeded("p_1", euro(PRICE)));
    shop.engine.settle(&ask, &Answer::Canceled(taken)).unwrap();
    let charge = charge(&shop, &session);
    assert_eq!((charge.state, charge.captured), (ChargeState::Succeeded, PRICE));
    assert_eq!(shop.kinds(&charge.id)[2..], ["charge.succeeded", "charge.captured"]);
    shop.clean();
}

#[test]
fn a_capture_that_had_failed_and_took_money_beside_another_is_told_of_once() {
    let (shop, told) = listening();
    let session = held(&shop);
    let first = capturing(&shop, &session);
    let settle = |ask: &tillite::Ask, outcome: Outcome| {
        shop.engine.settle(ask, &Answer::Executed(outcome)).unwrap();
    };
    settle(&first, declined("no", "No."));
    let second = capturing(&shop, &session);
    settle(&second, Outcome::succeeded("c_2", euro(PRICE)));
    let before = charge(&shop, &session);
    // What the one that counts says again is no news.
    settle(&second, Outcome::succeeded("c_2", euro(PRICE)));
    assert_eq!(*locked(&told), Vec::<String>::new());
    settle(&first, Outcome::succeeded("c_1", euro(PRICE)));
    settle(&first, Outcome::succeeded("c_1", euro(PRICE)));
    let found = Lookup::Found(Outcome::succeeded("c_1", euro(PRICE)));
    shop.engine.settle(&first, &Answer::LookedUp(found)).unwrap();
    let after = charge(&shop, &session);
    assert_eq!(
        (after.captured, after.reference.as_deref()),
        (before.captured, Some("c_2"))
    );
    assert_eq!(shop.kinds(&after.id).last().unwrap(), "charge.contradicted");
    let told = locked(&told).clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("ChargeContradicted") && told[0].contains(after.id.as_str()));
    shop.clean();
}

#[test]
fn a_payment_of_which_nothing_is_awaited_any_more_can_be_called_off() {
    let shop = Shop::open();
    // Nobody can ask what came of it, so nothing goes on by itself; it can still be called off.
    shop.till.set_capabilities(Capabilities::new());
    let session = shop.session("u_1");
    shop.till.answer(unknown());
    shop.pay(&session).unwrap();
    let lost = charge(&shop, &session);
    assert_eq!(lost.state, ChargeState::Unknown);
    shop.clock.turn(HOUR);
    assert_eq!(shop.run().looked_up, 0);
    shop.till
        .set_capabilities(Capabilities::new().not_found_final_after(MINUTE));
    let payment = shop.app.sessions().cancel_payment(&session.id).unwrap();
    assert_eq!(payment.charge.unwrap().state, ChargeState::Failed);
    assert_eq!(payment.session.state, SessionState::Open);
    assert!(shop.pay(&session).unwrap().is_complete());
    shop.clean();
}
