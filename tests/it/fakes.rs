//! What the fakes of the kit promise to a host that tests with them.

use std::time::Duration;

use tillite::{Budget, Currency, NewSession, SessionState};

use crate::kit::{ManualClock, Receiver};
use crate::kit::{Shop, Till, Told, builder};

/// A shop whose payment service was given no clock, or the engine's.
fn shop(till: Till, with_clock: bool) -> Shop {
    let (clock, receiver) = (ManualClock::new(), Receiver::new());
    let till = if with_clock { till.clock(clock.clone()) } else { till };
    let engine = builder(&clock, &till, &receiver).open_in_memory().unwrap();
    Shop::with(engine, tillite::Mode::Test, clock, till, receiver)
}

/// Lets a day pass, in which all that falls due is done.
fn a_day_later(shop: &Shop) {
    for _ in 0..24 * 12 {
        while shop.engine.run_due(Budget::items(1_000)).unwrap().total() > 0 {}
        shop.clock.turn(Duration::from_secs(5 * 60));
    }
}

#[test]
fn what_a_payment_service_puts_off_happens_with_a_clock_and_without_one() {
    type Put = fn(Duration) -> Told;
    let after = Duration::from_secs(20);
    let cases: [(Put, bool); 3] = [
        (Told::ArriveLate, true),
        (|after| Told::Pend { after, taken: true }, true),
        (|after| Told::Pend { after, taken: false }, false),
    ];
    for with_clock in [false, true] {
        for (told, is_taken) in &cases {
            let told = told(after);
            let what = format!("{told:?}, taken: {is_taken}, with a clock: {with_clock}");
            let shop = shop(Till::new(), with_clock);
            shop.till.tell(told);
            let new = NewSession::tier("member", Currency::EUR).customer("u_1");
            let session = shop.app.sessions().create(new).unwrap();
            let paid = shop.app.sessions().pay(&session.id, "tok_1").unwrap();
            assert_eq!(paid.session.state, SessionState::Processing, "{what}");
            assert_eq!(shop.till.charges(), [], "{what}");
            a_day_later(&shop);
            let state = shop.app.sessions().get(&session.id).unwrap().state;
            assert_eq!(state == SessionState::Complete, *is_taken, "{what}: {state:?}");
            assert_ne!(state, SessionState::Processing, "{what}");
            assert_eq!(shop.till.charges().len(), usize::from(*is_taken), "{what}");
        }
    }
}

#[test]
fn a_moody_payment_service_without_a_clock_leaves_nothing_in_flight() {
    for seed in 0..4 {
        let shop = shop(Till::moody(seed), false);
        let mut put_off = 0;
        for _ in 0..50 {
            let new = NewSession::tier("member", Currency::EUR).customer("u_1");
            let session = shop.app.sessions().create(new).unwrap();
            let paid = shop.app.sessions().pay(&session.id, "tok_1").unwrap();
            put_off += usize::from(paid.session.state == SessionState::Processing);
        }
        assert!(put_off > 5, "seed {seed} has little to show");
        a_day_later(&shop);
        let sessions = shop.app.sessions().list(100, None).unwrap().data;
        let complete = sessions.iter().filter(|session| session.is_complete()).count();
        let in_flight = sessions
            .iter()
            .filter(|session| session.state == SessionState::Processing);
        assert_eq!(in_flight.count(), 0, "seed {seed}");
        assert_eq!(shop.till.charges().len(), complete, "seed {seed}");
    }
}

#[test]
fn money_that_arrives_late_is_in_the_ledger_when_its_time_has_come() {
    let shop = shop(Till::new(), true);
    shop.till.tell(Told::ArriveLate(Duration::from_secs(5)));
    let session = shop
        .app
        .sessions()
        .create(NewSession::tier("member", Currency::EUR))
        .unwrap();
    shop.app.sessions().pay(&session.id, "tok_1").unwrap();
    assert_eq!(shop.till.charges(), []);
    shop.clock.turn(Duration::from_secs(6));
    assert_eq!(shop.till.charges().len(), 1);
}
