//! Setups: a payment method is saved without taking money, and what comes of it is known as of a payment.

use std::time::Duration;

use tillite::testing::Told;
use tillite::{
    Ability, Alarm, Answer, AskKind, BegunSetup, Capabilities, Currency, CustomerId, Error, Lookup, MethodState,
    NewCustomer, NewPayment, NewSetup, Operation, Outcome, Receipt, SavedMethod, Setup, SetupState,
};

use crate::kit::{Shop, cannot_tell, declined, euro, not_sent, pending, unknown};

fn ada(shop: &Shop) -> CustomerId {
    shop.app.customers().set(NewCustomer::uid("u_1")).unwrap().id
}

fn wanted(shop: &Shop) -> NewSetup {
    NewSetup::new(&ada(shop), Currency::EUR).method("tok_1")
}

fn create(shop: &Shop) -> Setup {
    shop.app.setups().create(wanted(shop)).unwrap()
}

fn read(shop: &Shop, setup: &Setup) -> Setup {
    shop.app.setups().get(&setup.id).unwrap()
}

/// A success over nothing that brings a method under this token.
fn saved(token: &str) -> Outcome {
    let receipt = Receipt::new("seti_1", euro(0)).saved_method(SavedMethod::new(token));
    Outcome::Succeeded(receipt)
}

#[test]
fn a_setup_saves_a_method_without_taking_money_and_it_is_charged_later() {
    let shop = Shop::open();
    let setup = create(&shop);
    assert_eq!(setup.state, SetupState::Succeeded);
    let request = shop.till.requests().pop().unwrap();
    assert_eq!(
        (request.operation, request.amount, request.save_method),
        (Operation::Setup, 0, true)
    );
    assert_eq!(
        (request.currency.as_str(), request.session.as_str()),
        ("EUR", setup.id.as_str())
    );
    assert_eq!(shop.till.charges(), [], "nothing was taken");
    assert_eq!(shop.kinds(&setup.id), ["setup.created", "setup.succeeded"]);
    let method = shop
        .app
        .customers()
        .payment_method(setup.method.as_ref().unwrap())
        .unwrap();
    assert_eq!(
        (&method.customer, method.state),
        (&setup.customer, MethodState::Attached)
    );
    let session = shop.session("u_1");
    let payment = NewPayment::saved(&method.id).off_session();
    assert!(shop.app.sessions().pay(&session.id, payment).unwrap().is_complete());
    let request = shop.till.requests().pop().unwrap();
    assert!(request.customer_ref.is_some(), "the name that the setup has brought");
    shop.clean();
}

#[test]
fn the_same_key_makes_one_setup() {
    let shop = Shop::open();
    let keyed = || shop.app.setups().create(wanted(&shop).idempotency_key("k")).unwrap();
    let first = keyed();
    assert_eq!(keyed(), first);
    let other = wanted(&shop).method("tok_2").idempotency_key("k");
    assert!(matches!(
        shop.app.setups().create(other),
        Err(Error::IdempotencyConflict { .. })
    ));
    let again = create(&shop);
    assert_eq!((first.number, again.number), (1, 2));
    assert_eq!(again.method, first.method, "the same token is the same method");
    let keys: Vec<String> = shop
        .till
        .requests()
        .into_iter()
        .map(|request| request.idempotency_key)
        .collect();
    assert!(keys.len() == 2 && keys[0] != keys[1]);
    shop.clean();
}

#[test]
fn what_nobody_knows_of_a_setup_ends_by_evidence_only() {
    let shop = Shop::open();
    shop.till.tell(Told::TakeAndLose);
    let lost = create(&shop);
    assert_eq!(lost.state, SetupState::Unknown);
    shop.run();
    let found = read(&shop, &lost);
    assert!(found.state == SetupState::Succeeded && found.method.is_some());
    assert_eq!(
        shop.kinds(&lost.id),
        ["setup.created", "setup.updated", "setup.succeeded"]
    );

    // A call whose process died is unknown when its lease has ended, and stays so while nobody can tell.
    let BegunSetup::Ask(ask, begun) = shop.app.setups().begin(wanted(&shop)).unwrap() else {
        panic!("nothing to ask");
    };
    shop.clock.turn(Duration::from_secs(41));
    shop.till.answer_lookup(cannot_tell());
    shop.run();
    assert_eq!(read(&shop, &begun).state, SetupState::Unknown);
    for _ in 0..3 {
        shop.clock.turn(Duration::from_secs(6));
        shop.till.answer_lookup(Lookup::NotFound);
        shop.run();
        assert_eq!(read(&shop, &begun).state, SetupState::Unknown, "it may still arrive");
    }
    let late = shop.engine.settle(&ask, &Answer::Executed(saved("tok_late"))).unwrap();
    assert_eq!(late.setup().unwrap().state, SetupState::Succeeded);
    shop.clean();
}

#[test]
fn a_definite_no_fails_a_setup_and_a_later_success_is_believed() {
    let shop = Shop::open();
    for outcome in [declined("card_declined", "No"), not_sent()] {
        shop.till.answer(outcome);
        let failed = create(&shop);
        assert_eq!(failed.state, SetupState::Failed);
        assert!(failed.failure.is_some() && failed.method.is_none());
    }
    let BegunSetup::Ask(ask, _) = shop.app.setups().begin(wanted(&shop)).unwrap() else {
        panic!("nothing to ask");
    };
    let settle = |outcome| {
        let settled = shop.engine.settle(&ask, &Answer::Executed(outcome)).unwrap();
        settled.setup().unwrap()
    };
    assert_eq!(settle(declined("no", "")).state, SetupState::Failed);
    let after_all = settle(saved("tok_9"));
    assert!(after_all.state == SetupState::Succeeded && after_all.method.is_some());
    assert_eq!(settle(saved("tok_9")), after_all, "the same answer moves nothing");
    shop.clean();
}

#[test]
fn a_success_without_a_method_or_over_money_waits_for_somebody() {
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (clock, till, receiver) = (
        tillite::testing::ManualClock::new(),
        tillite::testing::FakeProcessor::new(),
        tillite::testing::FakeReceiver::new(),
    );
    let heard = std::sync::Arc::clone(&told);
    let engine = crate::kit::builder(&clock, &till, &receiver)
        .on_alarm(move |alarm| crate::kit::locked(&heard).push(alarm.clone()))
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, tillite::Mode::Test, clock, till, receiver);
    let bad_token = Receipt::new("r", euro(0)).saved_method(SavedMethod::new("4242424242424242"));
    let with_money = Receipt::new("r", euro(1)).saved_method(SavedMethod::new("tok_1"));
    for receipt in [Receipt::new("r", euro(0)), bad_token, with_money] {
        shop.till.answer(Outcome::Succeeded(receipt));
        let setup = create(&shop);
        assert_eq!(
            (setup.state, setup.mismatched, &setup.method),
            (SetupState::Unknown, true, &None)
        );
        let alarms = std::mem::take(&mut *crate::kit::locked(&told));
        let [Alarm::SetupUnresolved { setup: of, .. }] = &alarms[..] else {
            panic!("{alarms:?}");
        };
        assert_eq!(*of, setup.id);
        assert_eq!(
            shop.kinds(&setup.id),
            ["setup.created", "setup.updated", "setup.unresolved"]
        );
        shop.clock.turn(Duration::from_secs(90_000));
        shop.run();
        assert_eq!(read(&shop, &setup), setup, "nobody else decides");
    }
    let methods = shop.app.customers().payment_methods(&ada(&shop), 10, None).unwrap();
    assert_eq!(methods.data, []);
    assert_eq!(shop.engine.health().unwrap().unresolved_charges, 3);
    shop.clean();
}

#[test]
fn an_action_is_awaited_until_its_deadline_and_called_off_then() {
    let shop = Shop::open();
    shop.till.tell(Told::AskBuyer);
    let acting = create(&shop);
    assert_eq!(acting.state, SetupState::RequiresAction);
    assert!(acting.action.is_some() && acting.action_deadline.is_some());
    assert!(shop.till.act_on_setup(&acting.id, true));
    assert_eq!(
        shop.app.setups().refresh(&acting.id).unwrap().state,
        SetupState::Succeeded
    );

    shop.till.tell(Told::AskBuyer);
    let idle = create(&shop);
    shop.app.advance(Duration::from_secs(3_600)).unwrap();
    assert!(shop.engine.next_due().unwrap().is_some());
    shop.run();
    shop.run();
    assert_eq!(read(&shop, &idle).state, SetupState::Canceled);
    assert_eq!(shop.kinds(&idle.id).last().unwrap(), "setup.canceled");

    shop.till.tell(Told::AskBuyer);
    let given_up = create(&shop);
    assert_eq!(
        shop.app.setups().cancel(&given_up.id).unwrap().state,
        SetupState::Canceled
    );
    shop.clean();
}

#[test]
fn a_host_that_calls_the_processor_itself_claims_and_settles_setups() {
    let shop = Shop::open();
    let BegunSetup::Ask(ask, begun) = shop.app.setups().begin(wanted(&shop)).unwrap() else {
        panic!("nothing to ask");
    };
    assert_eq!((ask.kind, begun.state), (AskKind::Execute, SetupState::Initiated));
    let refused = shop.app.setups().cancel(&begun.id);
    assert!(matches!(refused, Err(Error::PaymentInProgress { .. })), "{refused:?}");
    let settled = shop.engine.settle(&ask, &Answer::Executed(pending("seti_1"))).unwrap();
    assert_eq!(settled.setup().unwrap().state, SetupState::Pending);
    shop.clock.turn(Duration::from_secs(60));
    let [look_up] = &shop.engine.claim_asks(10).unwrap()[..] else {
        panic!("one look-up is due");
    };
    assert_eq!(
        (look_up.kind, look_up.reference.as_deref()),
        (AskKind::LookUp, Some("seti_1"))
    );
    let found = Answer::LookedUp(Lookup::Found(saved("tok_7")));
    let settled = shop.engine.settle(look_up, &found).unwrap().setup().unwrap();
    assert!(settled.state == SetupState::Succeeded && settled.method.is_some());
    let unclear = shop.engine.settle(&ask, &Answer::Executed(unknown())).unwrap();
    assert_eq!(unclear.setup(), Some(settled), "what says less moves nothing");
    shop.clean();
}

#[test]
fn a_setup_that_cannot_be_is_refused_before_anything_is_written() {
    let shop = Shop::open();
    let customer = ada(&shop);
    let before = shop.engine.dump().unwrap();
    let refused = |new: NewSetup| shop.app.setups().create(new).unwrap_err();
    let new = || NewSetup::new(&customer, Currency::EUR);
    for (bad, field) in [
        (new().method("4242424242424242"), "method"),
        (new().context("x".repeat(4_097)), "context"),
        (new().return_to("javascript:alert(1)"), "return_url"),
        (new().idempotency_key(""), "idempotency_key"),
    ] {
        assert_eq!(refused(bad).field(), Some(field));
    }
    shop.till.set_capabilities(Capabilities::new().lookup());
    assert!(matches!(refused(new()), Error::BeyondProcessor { .. }));
    let dollars = Capabilities::new()
        .lookup()
        .can(Ability::Setup)
        .currencies([Currency::USD]);
    shop.till.set_capabilities(dollars);
    assert!(matches!(refused(new()), Error::BeyondProcessor { .. }));
    assert_eq!(shop.engine.dump().unwrap(), before);
    shop.app.customers().delete(&customer).unwrap();
    shop.till
        .set_capabilities(Capabilities::new().lookup().can(Ability::Setup));
    assert!(matches!(refused(new()), Error::Deleted { .. }));
    assert!(shop.till.requests().is_empty());
}

#[test]
fn a_customer_deleted_meanwhile_gets_no_method() {
    let shop = Shop::open();
    let BegunSetup::Ask(ask, begun) = shop.app.setups().begin(wanted(&shop)).unwrap() else {
        panic!("nothing to ask");
    };
    shop.app.customers().delete(&begun.customer).unwrap();
    let settled = shop
        .engine
        .settle(&ask, &Answer::Executed(saved("tok_1")))
        .unwrap()
        .setup()
        .unwrap();
    assert_eq!((settled.state, settled.method), (SetupState::Succeeded, None));
    shop.clean();
}

#[test]
fn the_sandbox_sets_a_test_card_up() {
    let engine = tillite::Engine::builder().open_in_memory().unwrap();
    let app = engine.app("shop", tillite::Mode::Test).unwrap();
    let customer = app.customers().set(NewCustomer::uid("u_1")).unwrap().id;
    let create = |card| {
        app.setups()
            .create(NewSetup::new(&customer, Currency::EUR).method(card))
            .unwrap()
    };
    let done = create(tillite::sandbox::card::APPROVED);
    assert_eq!(done.state, SetupState::Succeeded);
    assert_eq!(create(tillite::sandbox::card::DECLINED).state, SetupState::Failed);
    assert_eq!(create(tillite::sandbox::card::NEVER_ANSWERS).state, SetupState::Unknown);
    assert_eq!(app.setups().list(2, None).unwrap().data.len(), 2);
    crate::kit::clean(&engine);
}
