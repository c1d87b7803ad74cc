//! Payment methods that a service keeps for a customer: saved with a payment, charged later with the buyer
//! there or not, and detached.

use std::time::Duration;

use tillite::{
    CustomerId, Error, Initiator, MethodState, Mode, NewCustomer, NewPayment, NewSession, Outcome, PaymentMethod,
    Receipt, Request, SavedMethod, Session, SessionState, Unusable,
};

use crate::kit::{Shop, euro};

/// The customer of a session.
fn payer(session: &Session) -> CustomerId {
    session.customer.as_ref().unwrap().id.clone()
}

/// Pays a session of a customer and has the method saved.
fn saved(shop: &Shop, uid: &str) -> PaymentMethod {
    let session = shop.session(uid);
    let payment = NewPayment::with("tok_1").save_method(true);
    assert!(shop.app.sessions().pay(&session.id, payment).unwrap().is_complete());
    let customers = shop.app.customers();
    customers
        .payment_methods(&payer(&session), 1, None)
        .unwrap()
        .data
        .remove(0)
}

/// What the service was asked last.
fn last_request(shop: &Shop) -> Request {
    shop.till.requests().last().unwrap().clone()
}

/// Why a saved method was refused.
fn unusable(refused: Result<tillite::Payment, Error>) -> Unusable {
    match refused {
        Err(Error::MethodUnusable { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_method_saved_with_a_payment_is_charged_later_without_the_buyer() {
    let shop = Shop::open();
    let method = saved(&shop, "u_1");
    let first = last_request(&shop);
    assert!(first.save_method && first.customer_ref.is_none());
    assert_eq!(first.initiator, Initiator::BuyerPresent);
    assert_eq!(
        (method.brand.as_deref(), method.last4.as_deref()),
        (Some("visa"), Some("4242"))
    );
    assert_eq!((method.expiry, method.state), (Some((12, 2099)), MethodState::Attached));
    assert_eq!(shop.kinds(&method.id), ["payment_method.attached"]);

    let next = shop.session("u_1");
    let payment = NewPayment::saved(&method.id).off_session();
    assert!(shop.app.sessions().pay(&next.id, payment).unwrap().is_complete());
    let request = last_request(&shop);
    assert_eq!(request.method.as_deref(), Some(method.token.as_str()));
    assert_eq!(request.initiator, Initiator::OffSession);
    assert_eq!(
        request.customer_ref,
        Some(format!("till_cus_{}", first.attempt)),
        "the service hears its own name for the customer"
    );
    // A method that the buyer types in goes out under the customer's name as well.
    let typed = shop.session("u_1");
    shop.pay(&typed).unwrap();
    assert_eq!(last_request(&shop).customer_ref, request.customer_ref);
    let other = shop.session("u_2");
    shop.pay(&other).unwrap();
    assert_eq!(last_request(&shop).customer_ref, None, "it is nobody else's name");
    shop.clean();
}

#[test]
fn a_token_is_kept_once_for_a_customer_and_once_for_each() {
    let shop = Shop::open();
    let first = saved(&shop, "u_1");
    assert_eq!(saved(&shop, "u_1"), first, "the same token again is the same method");
    assert_ne!(saved(&shop, "u_2").id, first.id);
    let customers = shop.app.customers();
    let all = customers.payment_methods(&first.customer, 100, None).unwrap();
    assert_eq!(all.data, [first]);
    shop.clean();
}

#[test]
fn what_cannot_be_charged_is_refused_before_anything_is_written() {
    let shop = Shop::open();
    let method = saved(&shop, "u_1");
    let session = shop.session("u_1");
    let other = shop.session("u_2");
    let guest = NewSession::tier("member", tillite::Currency::EUR);
    let guest = shop.app.sessions().create(guest).unwrap();
    let pay = |session: &Session| shop.app.sessions().pay(&session.id, NewPayment::saved(&method.id));

    let before = shop.engine.dump().unwrap();
    let requests = shop.till.requests().len();
    assert_eq!(unusable(pay(&other)), Unusable::NotOfThisCustomer);
    assert_eq!(unusable(pay(&guest)), Unusable::NotOfThisCustomer);
    let payments = [
        (NewPayment::with("tok_1").off_session(), "off_session"),
        (NewPayment::saved(&method.id).save_method(true), "save_method"),
    ];
    for (payment, field) in payments {
        let refused = shop.app.sessions().pay(&session.id, payment).unwrap_err();
        assert_eq!(refused.field(), Some(field), "{refused}");
    }
    let nobody_s = NewPayment::with("tok_1").save_method(true);
    let refused = shop.app.sessions().pay(&guest.id, nobody_s).unwrap_err();
    assert_eq!(refused.field(), Some("save_method"), "{refused}");
    assert_eq!(shop.engine.dump().unwrap(), before);

    let gone = shop.app.customers().detach(&method.id).unwrap();
    assert_eq!(gone.state, MethodState::Detached);
    let before = shop.engine.dump().unwrap();
    assert_eq!(unusable(pay(&session)), Unusable::Detached);
    assert_eq!(
        shop.app.customers().detach(&method.id).unwrap(),
        gone,
        "it is detached once"
    );
    assert_eq!(shop.engine.dump().unwrap(), before);
    assert_eq!(shop.till.requests().len(), requests, "nobody was asked");
    assert_eq!(shop.read(&session).state, SessionState::Open);
    shop.clean();
}

#[test]
fn a_method_whose_last_month_is_over_is_not_charged() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    let (year, month) = {
        let text = shop.app.now().unwrap().to_string();
        (text[..4].parse::<u16>().unwrap(), text[5..7].parse::<u8>().unwrap())
    };
    let method = SavedMethod::new("pm_1").expiry(month, year);
    let receipt = Receipt::new("r_1", session.total().unwrap()).saved_method(method);
    shop.till.answer(Outcome::Succeeded(receipt));
    shop.pay(&session).unwrap();
    let customers = shop.app.customers();
    let method = customers
        .payment_methods(&payer(&session), 10, None)
        .unwrap()
        .data
        .remove(0);
    let next = shop.session("u_1");
    let later = shop.session("u_1");
    let pay = |session: &Session| shop.app.sessions().pay(&session.id, NewPayment::saved(&method.id));
    assert!(pay(&next).unwrap().is_complete(), "in its last month it is good");
    shop.app.advance(Duration::from_secs(32 * 86_400)).unwrap();
    let renewed = shop.session("u_1");
    assert_eq!(unusable(pay(&renewed)), Unusable::Expired);
    assert!(method.is_expired(shop.app.now().unwrap()));
    assert_eq!(
        shop.read(&later).state,
        SessionState::Expired(tillite::ExpiredReason::Timeout)
    );
    shop.clean();
}

#[test]
fn a_saved_method_goes_to_the_processor_that_keeps_it() {
    let shop = Shop::open();
    let second = tillite::testing::FakeProcessor::new();
    let engine = tillite::Engine::builder()
        .clock(shop.clock.clone())
        .test_processor("first", shop.till.clone())
        .test_processor("second", second.clone())
        .route(|input| if input.amount == euro(1_00) { "second" } else { "first" }.to_owned())
        .open_in_memory()
        .unwrap();
    let app = engine.app("shop", Mode::Test).unwrap();
    let session = |minor| {
        let line = tillite::NewLine::inline("A pen", euro(minor));
        app.sessions()
            .create(NewSession::empty().customer("u_1").line(line))
            .unwrap()
    };
    let cheap = session(1_00);
    app.sessions()
        .pay(&cheap.id, NewPayment::with("tok_1").save_method(true))
        .unwrap();
    let method = app
        .customers()
        .payment_methods(&payer(&cheap), 10, None)
        .unwrap()
        .data
        .remove(0);
    assert_eq!(method.processor, "second");
    let dear = session(9_00);
    assert!(
        app.sessions()
            .pay(&dear.id, NewPayment::saved(&method.id))
            .unwrap()
            .is_complete()
    );
    assert_eq!((second.requests().len(), shop.till.requests().len()), (2, 0));
    // The name of the customer is that processor's alone.
    let elsewhere = session(8_00);
    app.sessions().pay(&elsewhere.id, "tok_1").unwrap();
    assert_eq!(last_request(&shop).customer_ref, None);
    crate::kit::clean(&engine);
}

#[test]
fn a_key_stands_for_the_method_that_is_charged_with_it() {
    let shop = Shop::open();
    let method = saved(&shop, "u_1");
    let session = shop.session("u_1");
    let pay = |payment: NewPayment| shop.app.sessions().pay(&session.id, payment.idempotency_key("k"));
    let first = pay(NewPayment::saved(&method.id)).unwrap();
    assert_eq!(pay(NewPayment::saved(&method.id)).unwrap(), first);
    let others = [
        NewPayment::saved(&method.id).off_session(),
        NewPayment::hosted(),
        NewPayment::hosted().save_method(true),
    ];
    for other in others {
        assert!(matches!(pay(other), Err(Error::IdempotencyConflict { .. })));
    }
}

#[test]
fn a_deleted_customer_keeps_no_method_and_gets_none() {
    let shop = Shop::open();
    let method = saved(&shop, "u_1");
    let session = shop.session("u_1");
    let deleted = shop.app.customers().delete(&method.customer).unwrap();
    assert!(deleted.deleted_at.is_some());
    let customers = shop.app.customers();
    assert_eq!(
        customers.payment_method(&method.id).unwrap().state,
        MethodState::Detached
    );
    assert_eq!(customers.payment_methods(&method.customer, 10, None).unwrap().data, []);
    assert_eq!(
        shop.kinds(&method.id),
        ["payment_method.attached", "payment_method.detached"]
    );
    let refused = shop
        .app
        .sessions()
        .pay(&session.id, NewPayment::with("tok_1").save_method(true));
    assert!(matches!(refused, Err(Error::Deleted { .. })), "{refused:?}");
    // What the service saves unasked is not kept, and the money counts all the same.
    let receipt = Receipt::new("r_1", session.total().unwrap()).saved_method(SavedMethod::new("pm_9"));
    shop.till.answer(Outcome::Succeeded(receipt));
    assert!(shop.pay(&session).unwrap().is_complete());
    assert_eq!(customers.payment_methods(&method.customer, 10, None).unwrap().data, []);
    shop.clean();
}

#[test]
fn what_is_detached_once_more_does_not_come_back_by_what_was_begun_between() {
    let shop = Shop::open();
    let method = saved(&shop, "u_1");
    let detach = || shop.app.customers().detach(&method.id).unwrap();
    detach();
    shop.clock.turn(Duration::from_secs(60));
    let session = shop.session("u_1");
    shop.till.tell(tillite::testing::Told::TakeAndLose);
    let payment = NewPayment::with("tok_1").save_method(true);
    shop.app.sessions().pay(&session.id, payment).unwrap();
    shop.clock.turn(Duration::from_secs(1));
    assert_eq!(detach().state, MethodState::Detached);
    shop.run();
    assert!(shop.read(&session).is_complete(), "it was looked up");
    let known = shop.app.customers().payment_method(&method.id).unwrap();
    assert_eq!(known.state, MethodState::Detached);
    // Nothing is in doubt any more, so there is nothing to be detached from.
    detach();
    assert_eq!(
        shop.kinds(&method.id),
        [
            "payment_method.attached",
            "payment_method.detached",
            "payment_method.detached"
        ]
    );
    shop.clean();
}

#[test]
fn a_late_word_about_an_older_payment_does_not_bring_a_detached_method_back() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    let method = saved(&shop, "u_1");
    shop.till.tell(tillite::testing::Told::TakeAndLose);
    let payment = NewPayment::with("tok_1").save_method(true);
    shop.app.sessions().pay(&session.id, payment).unwrap();
    shop.app.customers().detach(&method.id).unwrap();
    shop.run();
    assert!(shop.read(&session).is_complete(), "it was looked up");
    let customers = shop.app.customers();
    assert_eq!(
        customers.payment_method(&method.id).unwrap().state,
        MethodState::Detached
    );
    shop.clock.turn(Duration::from_secs(60));
    assert_eq!(saved(&shop, "u_1").id, method.id, "the buyer has saved it anew");
    assert_eq!(
        shop.kinds(&method.id),
        [
            "payment_method.attached",
            "payment_method.detached",
            "payment_method.attached"
        ]
    );
    shop.clean();
}

#[test]
fn methods_are_listed_newest_first_and_page_by_page() {
    let shop = Shop::open();
    let customer = shop.app.customers().create(NewCustomer::uid("u_1")).unwrap().id;
    let mut made = Vec::new();
    for number in 0..3 {
        let session = shop.session("u_1");
        let method = SavedMethod::new(format!("pm_{number}"));
        let receipt = Receipt::new("r_1", session.total().unwrap()).saved_method(method);
        shop.till.answer(Outcome::Succeeded(receipt));
        shop.pay(&session).unwrap();
        let customers = shop.app.customers();
        made.insert(0, customers.payment_methods(&customer, 1, None).unwrap().data.remove(0));
        shop.clock.turn(Duration::from_secs(1));
    }
    let customers = shop.app.customers();
    let first = customers.payment_methods(&customer, 2, None).unwrap();
    assert_eq!((&first.data[..], first.has_more), (&made[..2], true));
    let rest = customers.payment_methods(&customer, 2, Some(&made[1].id)).unwrap();
    assert_eq!((&rest.data[..], rest.has_more), (&made[2..], false));
    let refused = customers.payment_methods(&customer, 0, None).unwrap_err();
    assert_eq!(refused.field(), Some("limit"));
}

#[test]
fn the_sandbox_saves_a_test_card_that_is_charged_later() {
    let engine = tillite::Engine::builder().open_in_memory().unwrap();
    let app = engine.app("shop", Mode::Test).unwrap();
    let session = || {
        let line = tillite::NewLine::inline("A pen", euro(1_00));
        app.sessions()
            .create(NewSession::empty().customer("u_1").line(line))
            .unwrap()
    };
    let first = session();
    let approved = NewPayment::with(tillite::sandbox::card::APPROVED).save_method(true);
    assert!(app.sessions().pay(&first.id, approved).unwrap().is_complete());
    let method = app
        .customers()
        .payment_methods(&payer(&first), 10, None)
        .unwrap()
        .data
        .remove(0);
    assert_eq!(
        (method.last4.as_deref(), method.expiry),
        (Some("0008"), Some((1, 2039)))
    );
    let payment = NewPayment::saved(&method.id).off_session();
    assert!(app.sessions().pay(&session().id, payment).unwrap().is_complete());
    let dump = engine.dump().unwrap();
    assert!(!dump.contains("5123450000000008"), "only its token is anywhere");
    crate::kit::clean(&engine);
}
