//! What a processor cannot do is refused before anything is written, with what it can do.

use tillite::testing::FakeProcessor;
use tillite::{
    Ability, Amount, Capabilities, Currency, Engine, Error, Mode, NewLine, NewPayment, NewRefund, NewSession,
    RefundState, Result, Session, Units,
};

use crate::kit::{Shop, euro};

/// A shop whose service says this of itself.
fn shop(capabilities: Capabilities) -> Shop {
    let shop = Shop::open();
    shop.till.set_capabilities(capabilities.lookup());
    shop
}

fn session(shop: &Shop, amount: Amount) -> Session {
    let line = NewLine::inline("A pen", amount).quantity(1);
    let new = NewSession::empty().customer("u_1").line(line);
    shop.app.sessions().create(new).unwrap()
}

/// What was found and what is allowed, of a call that leaves the file as it was and asks nobody.
fn refused<T: std::fmt::Debug>(shop: &Shop, call: impl FnOnce() -> Result<T>) -> (String, String) {
    let before = (shop.engine.dump().unwrap(), shop.till.requests().len());
    let refused = match call() {
        Err(Error::BeyondProcessor { found, allowed, .. }) => (found, allowed),
        other => panic!("{other:?}"),
    };
    assert_eq!((shop.engine.dump().unwrap(), shop.till.requests().len()), before);
    refused
}

fn words(found: &str, allowed: &str) -> (String, String) {
    (found.to_owned(), allowed.to_owned())
}

#[test]
fn an_amount_that_the_processor_does_not_take_is_refused_before_anything_is_written() {
    let shop = shop(
        Capabilities::new()
            .currencies([Currency::EUR, Currency::MGA])
            .minimum(euro(50))
            .maximum(euro(100_00))
            .units(Units::stripe()),
    );
    let pay = |amount| {
        let session = session(&shop, amount);
        refused(&shop, || shop.pay(&session))
    };
    assert_eq!(pay(euro(49)), words("0.49 EUR", "0.50 EUR and more"));
    assert_eq!(pay(euro(100_01)), words("100.01 EUR", "up to 100.00 EUR"));
    let usd = Amount::minor(1_00, Currency::USD).unwrap();
    assert_eq!(pay(usd), words("1.00 USD", "money in EUR, MGA"));
    let ariary = |minor| Amount::minor(minor, Currency::MGA).unwrap();
    assert_eq!(pay(ariary(10_50)).0, "10.50 MGA", "the service counts whole ones");
    for amount in [euro(50), euro(100_00), ariary(10_00)] {
        assert!(shop.pay(&session(&shop, amount)).unwrap().is_complete(), "{amount}");
    }
    shop.clean();
}

#[test]
fn what_the_processor_cannot_do_is_refused_before_anything_is_written() {
    let shop = shop(
        Capabilities::new()
            .cannot(Ability::Authorize)
            .cannot(Ability::PartialRefund),
    );
    let later = NewSession::tier("member", Currency::EUR)
        .customer("u_1")
        .capture_later();
    let later = shop.app.sessions().create(later).unwrap();
    assert_eq!(refused(&shop, || shop.pay(&later)).1, "a payment that is taken at once");
    let open = session(&shop, euro(5_00));
    let saving = || {
        shop.app
            .sessions()
            .pay(&open.id, NewPayment::with("tok_1").save_method(true))
    };
    assert_eq!(refused(&shop, saving).1, "a payment that saves no method");
    shop.pay(&open).unwrap();
    let part = NewRefund::session(&open.id).amount(euro(1_00));
    let part = refused(&shop, || shop.app.refunds().create(part));
    assert_eq!(part, words("1.00 EUR", "all that was taken"));
    let whole = shop.app.refunds().create(NewRefund::session(&open.id)).unwrap();
    assert_eq!(whole.state, RefundState::Succeeded);
    shop.clean();
}

#[test]
fn a_part_of_what_is_held_is_taken_only_where_the_processor_can_and_counts_it() {
    let shop = Shop::open();
    let new = |capabilities: Capabilities| {
        let later = NewSession::tier("member", Currency::EUR)
            .customer("u_1")
            .capture_later();
        let later = shop.app.sessions().create(later).unwrap();
        shop.till.set_capabilities(capabilities.lookup());
        shop.pay(&later).unwrap();
        later
    };
    let held = new(Capabilities::new().cannot(Ability::PartialCapture));
    let part = refused(&shop, || shop.app.sessions().capture(&held.id, Some(euro(1_00))));
    assert_eq!(part, words("1.00 EUR", "all that is held"));
    assert!(shop.app.sessions().capture(&held.id, None).unwrap().is_complete());
    let held = new(Capabilities::new().units(Units::iso().multiple_of(Currency::EUR, 5)));
    let odd = refused(&shop, || shop.app.sessions().capture(&held.id, Some(euro(1_01))));
    assert_eq!(odd.0, "1.01 EUR");
    let capture = shop.app.sessions().capture(&held.id, Some(euro(1_05)));
    assert!(capture.unwrap().is_complete());
    shop.clean();
}

#[test]
fn what_comes_too_late_goes_back_whole_also_where_no_part_could() {
    let shop = shop(Capabilities::new().cannot(Ability::PartialRefund).minimum(euro(1_00)));
    let session = session(&shop, euro(5_00));
    shop.till.answer(tillite::Outcome::Declined {
        code: "no".to_owned(),
        message: String::new(),
        advice: None,
    });
    let tillite::Begun::Ask(ask) = shop.app.sessions().begin_payment(&session.id, "tok_1").unwrap() else {
        panic!("nothing to ask");
    };
    let settle = |outcome| shop.engine.settle(&ask, &tillite::Answer::Executed(outcome)).unwrap();
    settle(crate::kit::declined("no", ""));
    shop.till.untell();
    shop.pay(&session).unwrap();
    settle(tillite::Outcome::succeeded("r_1", euro(5_00)));
    shop.till.answer(tillite::Outcome::succeeded("back_1", euro(5_00)));
    shop.run();
    let refunds = shop.app.refunds().list(10, None).unwrap().data;
    let states: Vec<_> = refunds.iter().map(|refund| (refund.state, refund.amount)).collect();
    assert_eq!(states, [(RefundState::Succeeded, euro(5_00))]);
    shop.clean();
}

#[test]
fn no_processor_is_passed_over_in_silence() {
    let (small, any) = (FakeProcessor::new(), FakeProcessor::new());
    small.set_capabilities(Capabilities::new().lookup().maximum(euro(1_00)));
    let engine = Engine::builder()
        .test_processor("small", small)
        .test_processor("any", any.clone())
        .open_in_memory()
        .unwrap();
    let app = engine.app("shop", Mode::Test).unwrap();
    let line = NewLine::inline("A pen", euro(2_00));
    let session = app.sessions().create(NewSession::empty().line(line)).unwrap();
    let refused = app.sessions().pay(&session.id, "tok_1").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "processor \"small\" cannot do that: found 2.00 EUR, allowed is up to 1.00 EUR; ask for that, or choose \
         another processor with Builder::route"
    );
    assert!(any.requests().is_empty());
}
