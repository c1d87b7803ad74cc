//! Money goes back in the same three beats as it came: what is to go back is reserved before anybody is
//! asked, stays reserved while nobody knows, and is never more than was taken. Money that settled
//! nothing goes back by itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tillite::webhook::Format;
use tillite::{
    Action, Alarm, Amount, Answer, Ask, AskKind, Begun, BegunRefund, Budget, Capabilities, Charge, ChargeId,
    ChargeState, Currency, Engine, Error, GrantEffect, LatePayments, Lookup, Metadata, Mode, NewLine, NewPrice,
    NewProduct, NewRefund, NewSession, Operation, Outcome, Payment, Processor, Refund, RefundId, RefundSource,
    RefundState, Result, Session, SessionId, SessionState, Timestamp, Work,
};

use crate::file::{Disk, sql};
use crate::kit::{
    ManualClock, Receiver, Shop, Till, Told, builder, cannot_tell, clean, declined, euro, locked, not_sent, pending,
    unknown,
};

const PRICE: i64 = 199_00;
const DAY: Duration = Duration::from_secs(86_400);
const LONGEST_GAP: Duration = Duration::from_secs(21_600);

fn no() -> Outcome {
    declined("expired_or_canceled_card", "The card is gone.")
}

fn gave(minor: i64) -> Outcome {
    Outcome::succeeded("re_1", euro(minor))
}

/// What the tests of refunds do again and again.
impl Shop {
    /// A month of membership that was paid.
    fn member(&self, uid: &str) -> (Session, Charge) {
        paid(self.pay(&self.session(uid)).unwrap())
    }

    /// Things at a price each that were paid.
    fn things(&self, unit_amount: Amount, quantities: &[u32]) -> (Session, Charge) {
        let new = quantities.iter().fold(NewSession::empty(), |new, quantity| {
            new.line(NewLine::inline("A thing", unit_amount).quantity(*quantity))
        });
        paid(self.pay(&self.app.sessions().create(new).unwrap()).unwrap())
    }

    fn back(&self, new: NewRefund) -> Result<Refund> {
        self.app.refunds().create(new)
    }

    fn begin_refund(&self, new: NewRefund) -> (Ask, Refund) {
        match self.app.refunds().begin(new).unwrap() {
            BegunRefund::Ask(ask, refund) => (*ask, *refund),
            BegunRefund::Done(refund) => panic!("{refund:?}"),
        }
    }

    fn tell(&self, ask: &Ask, outcome: Outcome) -> Refund {
        let settled = self.engine.settle(ask, &Answer::Executed(outcome)).unwrap();
        settled.refund().unwrap()
    }

    /// What a look-up says that the host made by itself.
    fn tell_looked_up(&self, ask: &Ask, found: Lookup) -> Refund {
        let settled = self.engine.settle(ask, &Answer::LookedUp(found)).unwrap();
        settled.refund().unwrap()
    }

    fn refund(&self, id: &RefundId) -> Refund {
        self.app.refunds().get(id).unwrap()
    }

    fn charge(&self, of: &Charge) -> Charge {
        let session = self.app.sessions().get(&of.session).unwrap();
        let mut charges = session.payment_intent.unwrap().charges.into_iter();
        charges.find(|charge| charge.id == of.id).unwrap()
    }

    /// What is reserved of a charge, and what went back.
    fn booked(&self, charge: &Charge) -> (i64, i64) {
        let charge = self.charge(charge);
        (charge.refund_reserved, charge.refunded)
    }

    /// What the till gave back so far.
    fn given(&self) -> Vec<i64> {
        self.till.refunds().iter().map(|given| given.amount).collect()
    }

    fn has(&self, uid: &str) -> bool {
        self.app.entitlements().get(uid).unwrap().active
    }

    /// What is refused is refused before anything is written and anybody is asked.
    fn refuses(&self, new: NewRefund) -> Error {
        let (before, asked) = (self.engine.dump().unwrap(), self.till.requests().len());
        let refused = self.back(new.clone()).unwrap_err();
        assert_eq!(self.app.refunds().begin(new).unwrap_err(), refused);
        assert_eq!(self.engine.dump().unwrap(), before, "{refused}");
        assert_eq!(self.till.requests().len(), asked);
        refused
    }

    /// A payment of which nothing was heard until it was taken for lost, and that was made all the same:
    /// the answer is yet to come.
    fn lost_payment(&self, uid: &str) -> (Session, Ask, Outcome) {
        let session = self.session(uid);
        let Begun::Ask(ask) = self.app.sessions().begin_payment(&session.id, "tok_1").unwrap() else {
            panic!("nothing to ask");
        };
        self.clock.turn(Duration::from_secs(41));
        self.run();
        self.clock.turn(Duration::from_secs(3_600));
        self.run();
        assert_eq!(self.read(&session).state, SessionState::Open);
        let outcome = self.till.execute(&ask.request, ask.deadline);
        (session, *ask, outcome)
    }

    /// The same, and the answer has come: the money is late.
    fn late_money(&self, uid: &str) -> Charge {
        let (session, ask, outcome) = self.lost_payment(uid);
        self.engine.settle(&ask, &Answer::Executed(outcome)).unwrap();
        let intent = self.read(&session).payment_intent.unwrap();
        intent.charges[0].clone()
    }

    fn only_refund(&self, charge: &Charge) -> Refund {
        let refunds = self.app.refunds().of(&charge.id).unwrap();
        let [refund] = &refunds[..] else {
            panic!("{refunds:?}");
        };
        refund.clone()
    }

    fn held(&self) -> usize {
        let held = self.app.held_charges(100, None).unwrap().data.len();
        assert_eq!(self.engine.health().unwrap().held_charges, held as u64);
        held
    }
}

fn paid(payment: Payment) -> (Session, Charge) {
    assert!(payment.is_complete());
    (payment.session, payment.charge.unwrap())
}

/// The alarms that were told of, each by its kind and what it is about.
type Heard = Arc<Mutex<Vec<(&'static str, String)>>>;

/// A shop that notes each alarm.
fn watched() -> (Shop, Heard) {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let heard = Heard::default();
    let note = Arc::clone(&heard);
    let engine = builder(&clock, &till, &receiver)
        .on_alarm(move |alarm| {
            // A panic in here would go no further.
            let about = match alarm {
                Alarm::RefundFailed { refund, .. } => ("failed", refund.to_string()),
                Alarm::RefundUnresolved { refund, .. } => ("unresolved", refund.to_string()),
                Alarm::RefundContradicted { refund, .. } => ("contradicted", refund.to_string()),
                other => ("other", other.to_string()),
            };
            locked(&note).push(about);
        })
        .open_in_memory()
        .unwrap();
    (Shop::with(engine, Mode::Test, clock, till, receiver), heard)
}

/// A shop on a file, whose only processor has this name.
fn shop_on(path: &Path, clock: &ManualClock, name: &str, till: &Till) -> Shop {
    let receiver = Receiver::new();
    let setup = Engine::builder().clock(clock.clone()).transport(receiver.clone());
    let engine = setup.test_processor(name, till.clone()).open(path).unwrap();
    Shop::with(engine, Mode::Test, clock.clone(), till.clone(), receiver)
}

#[test]
fn what_was_paid_goes_back_once() {
    for mode in [Mode::Test, Mode::Live] {
        let shop = Shop::open_in(mode);
        let (session, charge) = shop.member("u_1");
        let refund = shop.back(NewRefund::session(&session.id)).unwrap();
        assert_eq!((refund.state, refund.amount), (RefundState::Succeeded, euro(PRICE)));
        assert_eq!((&refund.charge, &refund.session), (&charge.id, &session.id));
        assert_eq!((refund.source, refund.number), (RefundSource::Requested, 1));
        let [given] = &shop.till.refunds()[..] else {
            panic!("not once");
        };
        assert_eq!((given.amount, given.currency.as_str()), (PRICE, "EUR"));
        assert_eq!(
            given.of.as_deref(),
            Some(shop.till.charges()[0].idempotency_key.as_str())
        );
        assert_eq!(refund.reference.as_deref(), Some(given.reference.as_str()));
        assert_eq!(shop.booked(&charge), (0, PRICE));
        // The sale stays what it was; only the money is back.
        assert_eq!(shop.read(&session).state, SessionState::Complete);
        assert_eq!(shop.refund(&refund.id), refund);
        assert_eq!(shop.app.refunds().list(10, None).unwrap().data, [refund]);
        let refused = shop.refuses(NewRefund::session(&session.id));
        assert!(matches!(refused, Error::Refused(_)), "{refused}");
        shop.clean();
    }
}

#[test]
fn it_goes_back_in_parts_until_nothing_is_left() {
    let shop = Shop::open();
    let (_, charge) = shop.member("u_1");
    let part = |minor| NewRefund::charge(&charge.id).amount(euro(minor));
    let mut made: Vec<Refund> = [1, 100_00, 98_00 - 1]
        .into_iter()
        .map(|minor| {
            shop.clock.turn(Duration::from_secs(1));
            shop.back(part(minor)).unwrap()
        })
        .collect();
    shop.clock.turn(Duration::from_secs(1));
    assert_eq!(shop.booked(&charge), (0, PRICE - 1_00));
    let last = shop.back(NewRefund::charge(&charge.id)).unwrap();
    assert_eq!(last.amount, euro(1_00));
    made.push(last);
    assert_eq!(shop.booked(&charge), (0, PRICE));
    assert_eq!(shop.given().iter().sum::<i64>(), PRICE);
    let keys: BTreeSet<_> = shop
        .till
        .refunds()
        .into_iter()
        .map(|given| given.idempotency_key)
        .collect();
    assert_eq!(keys.len(), 4);
    let numbers: Vec<u32> = made.iter().map(|refund| refund.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(shop.app.refunds().of(&charge.id).unwrap(), made);
    made.reverse();
    let page = shop.app.refunds().list(3, None).unwrap();
    assert_eq!((&page.data[..], page.has_more), (&made[..3], true));
    let rest = shop.app.refunds().list(3, Some(&made[2].id)).unwrap();
    assert_eq!((&rest.data[..], rest.has_more), (&made[3..], false));
    shop.clean();
}

#[test]
fn units_of_lines_go_back_at_what_they_cost_in_any_currency() {
    for (code, unit) in [("JPY", 150), ("EUR", 9_99), ("KWD", 1_250)] {
        let shop = Shop::open();
        let unit_amount = Amount::minor(unit, Currency::parse(code).unwrap()).unwrap();
        let (session, charge) = shop.things(unit_amount, &[3, 2]);
        let refund = shop
            .back(NewRefund::session(&session.id).units(1, 1).units(0, 2))
            .unwrap();
        assert_eq!(refund.amount.as_minor(), 3 * unit);
        let lines: Vec<_> = refund
            .lines
            .iter()
            .map(|line| (line.position, line.quantity, line.amount))
            .collect();
        assert_eq!(lines, [(0, 2, 2 * unit), (1, 1, unit)]);
        assert_eq!(shop.refund(&refund.id), refund);
        // The processor hears of what it is for.
        let asked = shop.till.requests().pop().unwrap();
        let heard: BTreeSet<_> = asked.lines.iter().map(|line| (line.quantity, line.total)).collect();
        assert_eq!(heard, BTreeSet::from([(1, unit), (2, 2 * unit)]));
        let too_many = shop.refuses(NewRefund::session(&session.id).units(0, 2));
        assert_eq!(too_many.field(), Some("units[0].quantity"));
        shop.back(NewRefund::session(&session.id).units(0, 1).units(1, 1))
            .unwrap();
        assert_eq!(shop.booked(&charge), (0, 5 * unit));
        shop.clean();
    }
}

#[test]
fn more_than_is_left_is_refused_and_nothing_is_written() {
    let shop = Shop::open();
    let (session, charge) = shop.member("u_1");
    let too_large = |new: NewRefund, asked: &str, left: &str| {
        let expected = Error::RefundTooLarge {
            charge: charge.id.to_string(),
            asked: asked.to_owned(),
            left: left.to_owned(),
        };
        assert_eq!(shop.refuses(new), expected);
    };
    let of = |minor| NewRefund::session(&session.id).amount(euro(minor));
    too_large(of(PRICE + 1), "199.01 EUR", "199.00 EUR");
    too_large(of(Amount::MAX_MINOR), "90071992547409.91 EUR", "199.00 EUR");
    // What is on its way is not there any more, whether it arrives or not.
    let (ask, _) = shop.begin_refund(of(100_00));
    too_large(of(99_01), "99.01 EUR", "99.00 EUR");
    shop.tell(&ask, unknown());
    too_large(of(99_01), "99.01 EUR", "99.00 EUR");
    shop.tell(&ask, no());
    shop.back(of(PRICE)).unwrap();
    assert_eq!(shop.given(), [PRICE]);
    shop.clean();
}

#[test]
fn what_does_not_fit_the_sale_is_refused_by_its_field() {
    let shop = Shop::open();
    let (session, charge) = shop.things(euro(1_00), &[3]);
    let of = || NewRefund::session(&session.id);
    let dollars = Amount::minor(1, Currency::USD).unwrap();
    for (new, field) in [
        (of().amount(dollars), "amount.currency"),
        (of().amount(euro(0)), "amount"),
        (of().units(1, 1), "units[0].position"),
        (of().units(0, 4), "units[0].quantity"),
        (of().units(0, 0), "units[0].quantity"),
        (of().units(0, 1).units(0, 1), "units[1].position"),
        (of().reason("x".repeat(501)), "reason"),
        (of().idempotency_key(""), "idempotency_key"),
    ] {
        assert_eq!(shop.refuses(new.clone()).field(), Some(field), "{new:?}");
    }
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    for new in [of(), NewRefund::charge(&charge.id)] {
        assert!(matches!(live.refunds().create(new), Err(Error::WrongMode { .. })));
    }
    assert!(matches!(live.refunds().of(&charge.id), Err(Error::WrongMode { .. })));
    let nowhere = |what: &str, error: Error| {
        assert!(
            matches!(&error, Error::NotFound { what: known, .. } if *known == what),
            "{error}"
        );
    };
    let other = Shop::open();
    let (elsewhere, unknown) = other.member("u_1");
    let unknown = ChargeId::parse(&unknown.id.as_str().replace("ch_test_0", "ch_test_1")).unwrap();
    let elsewhere = SessionId::parse(&elsewhere.id.as_str().replace("cs_test_0", "cs_test_1")).unwrap();
    nowhere("charge", shop.refuses(NewRefund::charge(&unknown)));
    nowhere("charge", shop.app.refunds().of(&unknown).unwrap_err());
    nowhere("checkout session", shop.refuses(NewRefund::session(&elsewhere)));
}

#[test]
fn a_charge_that_took_nothing_gives_nothing_back() {
    let action = Outcome::RequiresAction {
        reference: "p_1".to_owned(),
        action: Action::Client("x".to_owned()),
        within: DAY,
    };
    let held = Outcome::Authorized {
        receipt: tillite::Receipt::new("p_1", euro(PRICE)),
        expires_at: None,
    };
    let other = gave(PRICE + 1);
    for (outcome, state) in [
        (no(), ChargeState::Failed),
        (unknown(), ChargeState::Unknown),
        (pending("re_1"), ChargeState::Pending),
        (action, ChargeState::RequiresAction),
        (held, ChargeState::Authorized),
        (other, ChargeState::Unknown),
    ] {
        let shop = Shop::open();
        let session = shop.session("u_1");
        shop.till.answer(outcome);
        let charge = shop.pay(&session).unwrap().charge.unwrap();
        assert_eq!(charge.state, state);
        for new in [
            NewRefund::charge(&charge.id),
            NewRefund::charge(&charge.id).amount(euro(1)),
        ] {
            let Error::Refused(refused) = shop.refuses(new) else {
                panic!("{state:?}");
            };
            assert_eq!((refused.object, refused.state), ("charge", state.as_str()));
        }
        assert!(matches!(
            shop.refuses(NewRefund::session(&session.id)),
            Error::Refused(_)
        ));
        shop.clean();
    }
}

#[test]
fn a_session_that_was_not_paid_gives_nothing_back() {
    let shop = Shop::open();
    let create = |new: NewSession| shop.app.sessions().create(new).unwrap();
    let free = create(NewSession::empty().line(NewLine::inline("A hug", euro(0))));
    shop.pay(&free).unwrap();
    let (open, expired, paying) = (shop.session("u_1"), shop.session("u_2"), shop.session("u_3"));
    shop.app.sessions().expire(&expired.id).unwrap();
    shop.app.sessions().begin_payment(&paying.id, "tok_1").unwrap();
    for (session, state) in [
        (free, "complete with nothing paid"),
        (open, "open"),
        (expired, "expired"),
        (paying, "processing"),
    ] {
        let Error::Refused(refused) = shop.refuses(NewRefund::session(&session.id)) else {
            panic!("{state}");
        };
        assert_eq!((refused.object, refused.state), ("checkout session", state));
    }
    shop.clean();
}

#[test]
fn a_session_is_refunded_by_what_paid_it_and_any_charge_by_itself() {
    let shop = Shop::open();
    shop.app.set_late_payments(LatePayments::Hold).unwrap();
    let (session, ask, outcome) = shop.lost_payment("u_1");
    let (_, settling) = paid(shop.pay(&session).unwrap());
    shop.engine.settle(&ask, &Answer::Executed(outcome)).unwrap();
    let surplus = shop.app.held_charges(10, None).unwrap().data.pop().unwrap();
    assert_ne!(surplus.id, settling.id);
    // What was bought was paid for by the other charge, and stays.
    let refund = shop.back(NewRefund::charge(&surplus.id)).unwrap();
    assert_eq!((refund.effect, refund.state), (None, RefundState::Succeeded));
    assert!(shop.has("u_1"));
    assert_eq!((shop.booked(&surplus), shop.booked(&settling)), ((0, PRICE), (0, 0)));
    assert_eq!(shop.held(), 0);
    let refund = shop.back(NewRefund::session(&session.id)).unwrap();
    assert_eq!((refund.charge, refund.effect), (settling.id.clone(), None));
    assert!(!shop.has("u_1"));
    assert_eq!(shop.booked(&settling), (0, PRICE));
    shop.clean();
}

#[test]
fn what_the_processor_declines_is_an_answer_and_gives_the_amount_free() {
    let (shop, heard) = watched();
    let (session, charge) = shop.member("u_1");
    shop.till.answer(no());
    let refund = shop.back(NewRefund::session(&session.id)).unwrap();
    let failure = refund.failure.clone().unwrap();
    assert_eq!(
        (refund.state, failure.code.as_str()),
        (RefundState::Failed, "expired_or_canceled_card")
    );
    assert_eq!(failure.message, "The card is gone.");
    shop.till.answer(not_sent());
    let second = shop.back(NewRefund::session(&session.id)).unwrap();
    assert_eq!(
        (second.state, second.failure.unwrap().code.as_str()),
        (RefundState::Failed, "not_sent")
    );
    let why = "by the merchant".to_owned();
    shop.till.answer(Outcome::Canceled { why });
    let third = shop.back(NewRefund::session(&session.id)).unwrap();
    assert_eq!((third.state, third.failure), (RefundState::Canceled, None));
    assert_eq!((shop.booked(&charge), shop.given()), ((0, 0), vec![]));
    assert!(shop.has("u_1"), "nothing went back");
    // Whoever asked was answered; nobody else has to look, and nothing is tried again by itself.
    shop.clock.turn(30 * DAY);
    assert_eq!(shop.run().looked_up, 0);
    assert_eq!(*locked(&heard), []);
    shop.back(NewRefund::session(&session.id)).unwrap();
    assert_eq!((shop.booked(&charge), shop.given()), ((0, PRICE), vec![PRICE]));
    shop.clean();
}

#[test]
fn what_is_reserved_is_on_disk_before_the_processor_is_asked() {
    let shop = Shop::open();
    let (session, charge) = shop.member("u_1");
    let (app, of, id) = (shop.app.clone(), charge.id.clone(), session.id.clone());
    shop.till.tell(Told::Meanwhile(Box::new(move || {
        let [refund] = &app.refunds().of(&of).unwrap()[..] else {
            panic!("not committed");
        };
        assert_eq!(refund.state, RefundState::Pending);
        let read = app.sessions().get(&id).unwrap().payment_intent.unwrap();
        assert_eq!(read.charges[0].refund_reserved, 150_00);
        let second = app.refunds().create(NewRefund::charge(&of).amount(euro(50_00)));
        assert!(matches!(second, Err(Error::RefundTooLarge { .. })), "{second:?}");
        let small = app.refunds().create(NewRefund::charge(&of).amount(euro(49_00)));
        assert_eq!(small.unwrap().state, RefundState::Succeeded);
    })));
    // An assertion that fails in the hook is a panic there, and leaves the refund unknown.
    let refund = shop.back(NewRefund::session(&session.id).amount(euro(150_00))).unwrap();
    assert_eq!(refund.state, RefundState::Succeeded);
    assert_eq!(shop.booked(&charge), (0, PRICE));
    shop.clean();
}

#[test]
fn an_accepted_refund_is_looked_up_by_its_name_until_it_is_decided() {
    for (found, ends, booked) in [
        (gave(50_00), RefundState::Succeeded, (0, 50_00)),
        (no(), RefundState::Failed, (0, 0)),
    ] {
        let shop = Shop::open();
        let (_, charge) = shop.member("u_1");
        shop.till.answer(pending("re_1"));
        let refund = shop.back(NewRefund::charge(&charge.id).amount(euro(50_00))).unwrap();
        assert_eq!(
            (refund.state, refund.reference.as_deref()),
            (RefundState::Pending, Some("re_1"))
        );
        // It takes the bank days. That it is heard of now and then, and at times not, is no news.
        for round in 0..20 {
            let still = match round % 4 {
                0 => cannot_tell(),
                1 => Lookup::NotFound,
                2 => Lookup::Found(unknown()),
                _ => Lookup::Found(pending("re_1")),
            };
            shop.till.answer_lookup(still);
            assert_eq!(shop.run().looked_up, 1, "{round}");
            assert_eq!(shop.refund(&refund.id).state, RefundState::Pending, "{round}");
            assert_eq!(shop.booked(&charge), (50_00, 0));
            shop.clock.turn(LONGEST_GAP);
        }
        let ask = shop.engine.claim_asks(10).unwrap().remove(0);
        assert_eq!((ask.kind, ask.reference.as_deref()), (AskKind::LookUp, Some("re_1")));
        assert_eq!(ask.request.operation, Operation::Refund);
        let refund = shop.tell_looked_up(&ask, Lookup::Found(found));
        assert_eq!((refund.state, shop.booked(&charge)), (ends, booked));
        assert_eq!(shop.kinds(&refund.id)[..2], ["refund.created", "refund.updated"]);
        assert_eq!(shop.kinds(&refund.id).len(), 3);
        shop.clock.turn(DAY);
        assert_eq!(shop.run().looked_up, 0);
        shop.clean();
    }
}

#[test]
fn what_nobody_knows_stays_reserved_until_there_is_evidence() {
    for went in [true, false] {
        let (shop, heard) = watched();
        let (_, charge) = shop.member("u_1");
        shop.till.tell(if went { Told::TakeAndLose } else { Told::LoseRequest });
        let refund = shop.back(NewRefund::charge(&charge.id)).unwrap();
        assert_eq!(refund.state, RefundState::Unknown);
        for looked_up in 1..=12 {
            shop.till.answer_lookup(cannot_tell());
            assert_eq!(shop.run().looked_up, 1);
            assert_eq!(shop.booked(&charge), (PRICE, 0));
            assert_eq!(locked(&heard).len(), usize::from(looked_up >= 8), "{looked_up}");
            let health = shop.engine.health().unwrap();
            assert_eq!(
                (health.open_charges, health.unresolved_charges),
                (1, u64::from(looked_up >= 8))
            );
            shop.clock.turn(LONGEST_GAP);
        }
        assert_eq!(*locked(&heard), [("unresolved", refund.id.to_string())]);
        assert!(matches!(shop.refuses(NewRefund::charge(&charge.id)), Error::Refused(_)));
        assert!(shop.has("u_1"));
        shop.clean();
        shop.run();
        let (state, booked) = if went {
            (RefundState::Succeeded, (0, PRICE))
        } else {
            (RefundState::Failed, (0, 0))
        };
        assert_eq!((shop.refund(&refund.id).state, shop.booked(&charge)), (state, booked));
        assert_eq!(shop.has("u_1"), !went);
        assert_eq!(shop.engine.health().unwrap().unresolved_charges, 0);
        assert_eq!(shop.till.requests().len(), 2, "it is asked for once");
        shop.clean();
    }
}

#[test]
fn a_panic_of_the_processor_is_no_answer() {
    let shop = Shop::open();
    let (_, charge) = shop.member("u_1");
    shop.till.tell(Told::Panic);
    let refund = shop.back(NewRefund::charge(&charge.id)).unwrap();
    assert_eq!((refund.state, shop.booked(&charge)), (RefundState::Unknown, (PRICE, 0)));
    shop.clock.turn(Duration::from_secs(60));
    shop.run();
    assert_eq!(shop.refund(&refund.id).failure.unwrap().code, "never_arrived");
    assert_eq!(shop.booked(&charge), (0, 0));
    shop.clean();
}

#[test]
fn without_look_ups_a_lost_refund_is_a_case_for_a_person_at_once() {
    let (shop, heard) = watched();
    shop.till.set_capabilities(Capabilities::new());
    let (_, charge) = shop.member("u_1");
    shop.till.tell(Told::TakeAndLose);
    let refund = shop.back(NewRefund::charge(&charge.id)).unwrap();
    assert_eq!(*locked(&heard), [("unresolved", refund.id.to_string())]);
    assert_eq!(
        shop.kinds(&refund.id),
        ["refund.created", "refund.updated", "refund.unresolved"]
    );
    shop.clock.turn(365 * DAY);
    assert_eq!(shop.run().looked_up, 0);
    assert_eq!(shop.booked(&charge), (PRICE, 0));
    shop.clean();
}

#[test]
fn a_call_that_lost_its_lease_stays_reserved_and_its_answer_is_still_heard() {
    for (late, state) in [(gave(PRICE), RefundState::Succeeded), (no(), RefundState::Failed)] {
        let shop = Shop::open();
        let (_, charge) = shop.member("u_1");
        let (ask, refund) = shop.begin_refund(NewRefund::charge(&charge.id));
        assert_eq!((refund.state, shop.booked(&charge)), (RefundState::Pending, (PRICE, 0)));
        shop.app.advance(365 * DAY).unwrap();
        shop.clock.turn(Duration::from_millis(39_999));
        assert_eq!(shop.run().recovered, 0);
        shop.clock.turn(Duration::from_millis(1));
        let ran = shop.engine.run_due(Budget::items(1)).unwrap();
        assert_eq!((ran.recovered, ran.looked_up), (1, 0));
        assert_eq!(shop.refund(&refund.id).state, RefundState::Unknown);
        assert_eq!(shop.booked(&charge), (PRICE, 0));
        assert_eq!(shop.tell(&ask, late).state, state);
        shop.clean();
    }
}

#[test]
fn a_process_that_dies_between_the_beats_is_taken_up_by_the_next() {
    for (asked, answered) in [(false, false), (true, false), (true, true)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.db");
        let (clock, till) = (ManualClock::new(), Till::new());
        let shop = shop_on(&path, &clock, "till", &till);
        let (_, charge) = shop.member("u_1");
        let new = || {
            NewRefund::charge(&charge.id)
                .amount(euro(150_00))
                .idempotency_key("k_1")
        };
        let (ask, refund) = shop.begin_refund(new());
        if asked {
            let outcome = till.execute(&ask.request, ask.deadline);
            if answered {
                shop.tell(&ask, outcome);
            }
        }
        drop(shop);
        // Until the lease ends, somebody else may still be waiting for the answer.
        clock.turn(Duration::from_secs(39));
        let shop = shop_on(&path, &clock, "till", &till);
        let before = if answered {
            RefundState::Succeeded
        } else {
            RefundState::Pending
        };
        assert_eq!(shop.refund(&refund.id).state, before);
        // Whoever repeats the call with its key starts no other.
        assert_eq!(shop.back(new()).unwrap().id, refund.id);
        let rest = shop.back(NewRefund::charge(&charge.id).amount(euro(50_00)));
        assert!(matches!(rest, Err(Error::RefundTooLarge { .. })), "{rest:?}");
        drop(shop);
        clock.turn(Duration::from_secs(1));
        let shop = shop_on(&path, &clock, "till", &till);
        assert_eq!(till.looked_up(), 0);
        clock.turn(DAY);
        shop.run();
        let went = if asked { 150_00 } else { 0 };
        assert_eq!((shop.booked(&charge), shop.given().iter().sum()), ((0, went), went));
        assert_eq!(till.requests().len(), 1 + usize::from(asked));
        clean(&shop.engine);
    }
}

#[test]
fn a_process_without_the_processor_commits_a_refund_and_one_that_has_it_asks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let (clock, ours, other) = (ManualClock::new(), Till::new(), Till::new());
    let selling = shop_on(&path, &clock, "ours", &ours);
    let (session, charge) = selling.member("u_1");

    // A dashboard, or a command line.
    let dashboard = shop_on(&path, &clock, "other", &other);
    let new = NewRefund::session(&session.id)
        .amount(euro(150_00))
        .idempotency_key("k_1");
    let refund = dashboard.back(new.clone()).unwrap();
    assert_eq!(
        (refund.state, refund.processor.as_str()),
        (RefundState::Pending, "ours")
    );
    assert_eq!(selling.booked(&charge), (150_00, 0));
    assert_eq!(dashboard.back(new).unwrap(), refund);
    // However long it waits, nobody takes it for lost, and whoever cannot ask leaves it alone.
    clock.turn(2 * DAY);
    let ran = dashboard.run();
    assert_eq!((ran.recovered, ran.looked_up), (0, 0));
    assert_eq!(dashboard.engine.claim_asks(10).unwrap().len(), 0);
    let too_large = dashboard.back(NewRefund::session(&session.id).amount(euro(50_00)));
    assert!(matches!(too_large, Err(Error::RefundTooLarge { .. })), "{too_large:?}");
    assert_eq!(selling.refund(&refund.id).state, RefundState::Pending);

    assert!(selling.engine.wait_due(Duration::ZERO).unwrap());
    assert_eq!(selling.run().looked_up, 1);
    assert_eq!(dashboard.refund(&refund.id).state, RefundState::Succeeded);
    assert_eq!((selling.booked(&charge), ours.refunds().len()), ((0, 150_00), 1));
    assert_eq!((ours.looked_up(), other.requests().len(), other.looked_up()), (0, 0, 0));

    // The call by hand, and one whose process dies: it is looked up, not made again.
    let second = dashboard.back(NewRefund::session(&session.id)).unwrap();
    let ask = selling.engine.claim_asks(10).unwrap().remove(0);
    assert_eq!((ask.kind, ask.request.amount), (AskKind::Execute, 49_00));
    assert_eq!(selling.engine.claim_asks(10).unwrap().len(), 0, "it is taken");
    ours.execute(&ask.request, ask.deadline);
    clock.turn(Duration::from_secs(60));
    selling.run();
    assert_eq!(selling.refund(&second.id).state, RefundState::Succeeded);
    assert_eq!(
        (ours.looked_up(), ours.requests().len(), ours.refunds().len()),
        (1, 3, 2)
    );
    selling.clean();
}

#[test]
fn the_same_key_refunds_once() {
    let shop = Shop::open();
    let (session, charge) = shop.member("u_1");
    let new = || {
        let metadata = Metadata::new([("order", "4711")]).unwrap();
        let new = NewRefund::session(&session.id).amount(euro(50_00)).reason("broken");
        new.metadata(metadata).idempotency_key("k_1")
    };
    // While it is in flight, when it is lost, and when it is done.
    let (ask, begun) = shop.begin_refund(new());
    assert_eq!(shop.back(new()).unwrap(), begun);
    shop.tell(&ask, unknown());
    assert_eq!(shop.back(new()).unwrap().state, RefundState::Unknown);
    let done = shop.tell(&ask, gave(50_00));
    let before = shop.engine.dump().unwrap();
    assert_eq!(shop.back(new()).unwrap(), done);
    match shop.app.refunds().begin(new()).unwrap() {
        BegunRefund::Done(known) => assert_eq!(*known, done),
        BegunRefund::Ask(..) => panic!("asked again"),
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    assert_eq!(shop.booked(&charge), (0, 50_00));
    for other in [
        new().amount(euro(50_01)),
        new().units(0, 1),
        new().reason("late"),
        new().effect(GrantEffect::Keep),
        new().metadata(Metadata::default()),
        NewRefund::charge(&charge.id)
            .amount(euro(50_00))
            .reason("broken")
            .idempotency_key("k_1"),
    ] {
        let conflict = shop.refuses(other);
        assert!(matches!(conflict, Error::IdempotencyConflict { .. }), "{conflict}");
    }
    // Without a key each call is another refund; and a key of a payment is none of a refund.
    let without = NewRefund::session(&session.id).amount(euro(50_00));
    assert_ne!(shop.back(without.clone()).unwrap().id, shop.back(without).unwrap().id);
    shop.clean();
}

#[test]
fn a_key_is_known_for_as_long_as_its_refund_is_open() {
    let shop = Shop::open();
    let (session, charge) = shop.member("u_1");
    let new = || {
        NewRefund::session(&session.id)
            .amount(euro(50_00))
            .idempotency_key("k_1")
    };
    shop.till.answer(pending("re_1"));
    let refund = shop.back(new()).unwrap();
    for _ in 0..30 {
        shop.till.answer_lookup(Lookup::Found(pending("re_1")));
        shop.run();
        shop.clock.turn(DAY);
    }
    assert_eq!(shop.back(new()).unwrap().id, refund.id);
    shop.till.answer_lookup(Lookup::Found(gave(50_00)));
    shop.run();
    shop.clock.turn(2 * DAY);
    shop.run();
    assert_ne!(shop.back(new()).unwrap().id, refund.id, "it is another request by now");
    assert_eq!(shop.booked(&charge), (0, 100_00));
    shop.clean();
}

/// A session for two memberships, which go to lines of products of their own, and a book.
fn cart(shop: &Shop) -> Session {
    for (tier, line, price) in [
        (
            "club",
            "clubs",
            NewPrice::new("club", euro(50_00)).lasting(tillite::Interval::MONTH),
        ),
        ("book", "books", NewPrice::new("book", euro(20_00))),
    ] {
        let product = NewProduct::new(tier, tier).line(line).price(price);
        shop.app.catalog().set(product).unwrap();
    }
    let new = NewSession::empty()
        .customer("u_1")
        .line(NewLine::tier("club", Currency::EUR).quantity(2));
    let session = shop
        .app
        .sessions()
        .create(new.line(NewLine::tier("book", Currency::EUR)))
        .unwrap();
    assert!(shop.pay(&session).unwrap().is_complete());
    session
}

/// Which of its lines the buyer of such a session may still use.
fn uses(shop: &Shop) -> (bool, bool) {
    let active = |line| shop.app.entitlements().get_in("u_1", line).unwrap().active;
    (active("clubs"), active("books"))
}

#[test]
fn what_was_sold_falls_as_the_refund_says() {
    use GrantEffect::{AtPeriodEnd, Keep, Revoke};
    let part = |new: NewRefund| new.amount(euro(1_00));
    let whole = |new: NewRefund| new;
    let check = |new: fn(NewRefund) -> NewRefund, effect: Option<GrantEffect>, left: (bool, bool)| {
        let shop = Shop::open();
        let session = cart(&shop);
        let new = new(NewRefund::session(&session.id));
        let new = effect.into_iter().fold(new, NewRefund::effect);
        shop.till.answer(pending("re_1"));
        let refund = shop.back(new).unwrap();
        assert_eq!(uses(&shop), (true, true), "the money is not back yet");
        shop.till.answer_lookup(Lookup::Found(gave(refund.amount.as_minor())));
        shop.run();
        assert_eq!(uses(&shop), left, "{refund:?}");
        shop.clean();
    };
    check(whole, None, (false, false));
    check(whole, Some(Keep), (true, true));
    check(whole, Some(Revoke), (false, false));
    // A month that was paid may be used to its end, a book has none.
    check(whole, Some(AtPeriodEnd), (true, false));
    check(part, None, (true, true));
    check(part, Some(Revoke), (false, false));
    check(part, Some(AtPeriodEnd), (true, false));
}

#[test]
fn what_a_line_granted_falls_when_its_last_unit_went_back() {
    let shop = Shop::open();
    let session = cart(&shop);
    let back = |position, units| {
        let new = NewRefund::session(&session.id).units(position, units);
        shop.back(new.effect(GrantEffect::Revoke)).unwrap()
    };
    back(0, 1);
    assert_eq!(uses(&shop), (true, true));
    back(0, 1);
    assert_eq!(uses(&shop), (false, true));
    back(1, 1);
    assert_eq!(uses(&shop), (false, false));
    let version = |line| shop.app.entitlements().get_in("u_1", line).unwrap().version;
    assert_eq!((version("clubs"), version("books")), (2, 2));
    shop.clean();
}

#[test]
fn all_that_was_sold_falls_with_the_refund_that_leaves_nothing() {
    // Unless it is said: what goes back before leaves it.
    let shop = Shop::open();
    let session = cart(&shop);
    let units = |position, units| NewRefund::session(&session.id).units(position, units);
    shop.back(units(0, 2)).unwrap();
    assert_eq!(uses(&shop), (true, true));
    let last = shop.back(units(1, 1)).unwrap();
    assert_eq!(last.effect, None);
    assert_eq!(uses(&shop), (false, false));
    shop.clean();

    // Which of two is heard of first does not matter.
    let shop = Shop::open();
    let session = cart(&shop);
    let units = |position, units| NewRefund::session(&session.id).units(position, units);
    let (first, _) = shop.begin_refund(units(0, 2));
    let (second, _) = shop.begin_refund(units(1, 1));
    shop.tell(&second, gave(20_00));
    assert_eq!(uses(&shop), (true, true), "something is left");
    shop.tell(&first, gave(100_00));
    assert_eq!(uses(&shop), (false, false));
    shop.clean();
}

#[test]
fn what_became_of_a_refund_is_told_in_order_and_says_on_whose_behalf() {
    let shop = Shop::open();
    let (session, charge) = shop.member("u_1");
    let start = shop.app.journal_head().unwrap().position;
    let as_clerk = shop.app.acting_as(tillite::Actor::Operator("ada".to_owned())).unwrap();
    shop.till.tell(Told::TakeAndLose);
    let refund = as_clerk.refunds().create(NewRefund::session(&session.id)).unwrap();
    shop.run();
    let told: Vec<String> = shop
        .app
        .events(100, start)
        .unwrap()
        .data
        .into_iter()
        .map(|event| {
            let state = |state: Option<String>| state.unwrap_or_default();
            let (kind, cause, actor) = (event.kind, event.cause, event.actor);
            format!("{kind} {}>{} {cause} {actor}", state(event.from), state(event.to))
        })
        .collect();
    assert_eq!(
        told,
        [
            "charge.updated > refunds.create operator:ada",
            "refund.created >pending refunds.create operator:ada",
            "refund.updated pending>unknown settle.answer processor:till",
            "refund.updated unknown>succeeded settle.lookup processor:till",
            "charge.refunded > settle.lookup processor:till",
            "entitlement.revoked active>revoked settle.lookup processor:till",
            "grant.revoked > settle.lookup processor:till",
        ]
    );
    assert_eq!(
        shop.kinds(&charge.id)[2..],
        ["charge.updated", "charge.refunded"],
        "{}",
        refund.id
    );
    shop.clean();
}

#[test]
fn receivers_are_told_in_xpays_own_words() {
    let shop = Shop::open();
    shop.endpoint(Format::XPay);
    let (session, charge) = shop.member("u_1");
    shop.run();
    let _ = shop.receiver.take_requests();
    shop.till.answer(no());
    let part = || NewRefund::session(&session.id).amount(euro(50_00)).reason("late");
    let failed = shop.back(part()).unwrap();
    let done = shop.back(part()).unwrap();
    shop.run();
    let bodies: Vec<serde_json::Value> = shop
        .receiver
        .take_requests()
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    let told: Vec<_> = bodies
        .iter()
        .map(|body| {
            let object = &body["data"]["object"];
            let word = |name: &str| object[name].as_str().unwrap().to_owned();
            (body["type"].as_str().unwrap(), word("id"), word("status"))
        })
        .collect();
    let of = |id: &dyn ToString, kind: &'static str, status: &str| (kind, id.to_string(), status.to_owned());
    assert_eq!(
        told,
        [
            of(&failed.id, "refund.created", "PENDING"),
            of(&failed.id, "refund.failed", "FAILED"),
            of(&done.id, "refund.created", "PENDING"),
            of(&charge.id, "charge.refunded", "SUCCEEDED"),
        ]
    );
    let created = &bodies[2]["data"]["object"];
    assert_eq!(
        (created["amount"].as_i64(), created["currency"].as_str()),
        (Some(50_00), Some("EUR"))
    );
    assert_eq!(created["chargeId"].as_str(), Some(charge.id.as_str()));
    assert_eq!(created["reason"].as_str(), Some("late"));
    let refunded = &bodies[3]["data"]["object"];
    assert_eq!(
        (refunded["amountRefunded"].as_i64(), refunded["refunded"].as_bool()),
        (Some(50_00), Some(false))
    );
    shop.clean();
}

#[test]
fn late_money_goes_back_by_itself() {
    let (shop, heard) = watched();
    let charge = shop.late_money("u_1");
    assert_eq!((charge.state, charge.settles), (ChargeState::Succeeded, false));
    assert_eq!((charge.captured, charge.refund_reserved), (PRICE, PRICE));
    let refund = shop.only_refund(&charge);
    assert_eq!(
        (refund.source, refund.state),
        (RefundSource::Late, RefundState::Pending)
    );
    assert_eq!((refund.amount, refund.number), (euro(PRICE), 1));
    // It is on its way, so it waits for nobody; whoever asks for it as well is refused.
    assert_eq!((shop.held(), locked(&heard).len()), (0, 0));
    assert!(matches!(shop.refuses(NewRefund::charge(&charge.id)), Error::Refused(_)));
    assert_eq!(shop.given(), [0; 0]);
    assert!(shop.engine.wait_due(Duration::ZERO).unwrap());
    assert_eq!(shop.run().looked_up, 1);
    assert_eq!((shop.given(), shop.booked(&charge)), (vec![PRICE], (0, PRICE)));
    assert_eq!(shop.refund(&refund.id).state, RefundState::Succeeded);
    assert_eq!((shop.held(), locked(&heard).len()), (0, 0));
    shop.clock.turn(30 * DAY);
    assert_eq!((shop.run().looked_up, shop.till.requests().len()), (0, 2));
    shop.clean();
}

#[test]
fn surplus_money_goes_back_by_itself_and_what_the_other_charge_bought_stays() {
    let shop = Shop::open();
    let (session, ask, outcome) = shop.lost_payment("u_1");
    let (_, settling) = paid(shop.pay(&session).unwrap());
    let version = shop.app.entitlements().get("u_1").unwrap().version;
    shop.engine.settle(&ask, &Answer::Executed(outcome)).unwrap();
    let intent = shop.read(&session).payment_intent.unwrap();
    let surplus = &intent.charges[0];
    assert_eq!(shop.only_refund(surplus).source, RefundSource::Surplus);
    assert_eq!(shop.held(), 0);
    shop.run();
    assert_eq!((shop.booked(surplus), shop.booked(&settling)), ((0, PRICE), (0, 0)));
    assert_eq!(shop.app.entitlements().get("u_1").unwrap().version, version);
    assert!(shop.has("u_1"));
    assert_eq!((shop.till.charges().len(), shop.given()), (2, vec![PRICE]));
    shop.clean();
}

#[test]
fn money_is_held_where_it_is_to_be_held_and_a_person_sends_it_back() {
    let shop = Shop::open();
    shop.app.set_late_payments(LatePayments::Hold).unwrap();
    let charge = shop.late_money("u_1");
    assert_eq!(shop.app.refunds().of(&charge.id).unwrap(), []);
    shop.app.set_late_payments(LatePayments::Refund).unwrap();
    shop.run();
    assert_eq!((shop.held(), shop.given()), (1, vec![]), "what arrived before stays");
    shop.back(NewRefund::charge(&charge.id).amount(euro(100_00))).unwrap();
    assert_eq!(shop.held(), 1, "something is left");
    let refund = shop.back(NewRefund::charge(&charge.id)).unwrap();
    assert_eq!((refund.amount, shop.held()), (euro(99_00), 0));
    shop.clean();
}

#[test]
fn another_amount_than_asked_does_not_go_back_by_itself() {
    let shop = Shop::open();
    let (session, ask, _) = shop.lost_payment("u_1");
    let more = Outcome::succeeded("p_1", euro(PRICE + 1));
    shop.engine.settle(&ask, &Answer::Executed(more)).unwrap();
    let charge = shop.read(&session).payment_intent.unwrap().charges[0].clone();
    assert_eq!((shop.app.refunds().of(&charge.id).unwrap(), shop.held()), (vec![], 1));
    assert!(matches!(shop.refuses(NewRefund::charge(&charge.id)), Error::Refused(_)));
    shop.clean();
}

#[test]
fn what_goes_back_by_itself_is_sent_again_with_the_same_bytes_while_nothing_was_sent() {
    let (shop, heard) = watched();
    let charge = shop.late_money("u_1");
    let refund = shop.only_refund(&charge);
    let paying = shop.till.requests().len();
    let gaps = [10, 60, 300, 1_800, 7_200, 21_600, 21_600, 21_600, 21_600];
    for (round, gap) in gaps.into_iter().enumerate() {
        shop.till.answer(not_sent());
        assert_eq!(shop.run().looked_up, 1, "call {}", round + 1);
        assert_eq!(shop.till.requests().len(), paying + round + 1);
        assert_eq!((shop.booked(&charge), shop.held()), ((PRICE, 0), 0));
        assert_eq!(locked(&heard).len(), usize::from(round + 1 >= 8), "call {}", round + 1);
        let unresolved = shop.engine.health().unwrap().unresolved_charges;
        assert_eq!(unresolved, u64::from(round + 1 >= 8));
        shop.clock.turn(Duration::from_millis(gap * 1_000 - 1));
        assert_eq!(shop.run().looked_up, 0, "call {}", round + 2);
        shop.clock.turn(Duration::from_millis(1));
    }
    assert_eq!(*locked(&heard), [("unresolved", refund.id.to_string())]);
    assert_eq!(shop.run().looked_up, 1);
    assert_eq!(shop.refund(&refund.id).state, RefundState::Succeeded);
    assert_eq!((shop.given(), shop.booked(&charge)), (vec![PRICE], (0, PRICE)));
    let sent = &shop.till.requests()[paying..];
    assert!(sent.iter().all(|request| *request == sent[0]));
    assert_eq!(shop.engine.health().unwrap().unresolved_charges, 0);
    assert_eq!(
        shop.kinds(&refund.id),
        ["refund.created", "refund.unresolved", "refund.updated"]
    );
    shop.clean();
}

#[test]
fn a_call_that_was_tried_again_is_taken_for_lost_no_sooner_than_a_first_one() {
    let shop = Shop::open();
    let charge = shop.late_money("u_1");
    let refund = shop.only_refund(&charge);
    shop.till.answer(not_sent());
    shop.run();
    // A day later it goes out, and arrives only when nobody waits for it any more.
    shop.clock.turn(DAY);
    shop.till.tell(Told::LoseRequest);
    // It is looked up at once, as a first call is.
    assert_eq!(shop.run().looked_up, 2);
    shop.clock.turn(Duration::from_secs(10));
    shop.till.answer_lookup(Lookup::NotFound);
    assert_eq!(shop.run().looked_up, 1);
    assert_eq!(shop.refund(&refund.id).state, RefundState::Unknown);
    assert_eq!((shop.booked(&charge), shop.held()), ((PRICE, 0), 0));
    let request = shop.till.requests().pop().unwrap();
    shop.till.execute(&request, Timestamp::MAX);
    shop.clock.turn(Duration::from_secs(60));
    shop.run();
    assert_eq!(shop.refund(&refund.id).state, RefundState::Succeeded);
    assert_eq!((shop.booked(&charge), shop.given()), ((0, PRICE), vec![PRICE]));
    shop.clean();
}

#[test]
fn what_cannot_go_back_by_itself_is_held_again_and_told_of() {
    let why = "by the merchant".to_owned();
    for outcome in [no(), Outcome::Canceled { why }] {
        let (shop, heard) = watched();
        let charge = shop.late_money("u_1");
        let refund = shop.only_refund(&charge);
        shop.till.answer(outcome);
        shop.run();
        assert_eq!(*locked(&heard), [("failed", refund.id.to_string())]);
        assert_eq!((shop.booked(&charge), shop.held()), ((0, 0), 1));
        shop.clock.turn(30 * DAY);
        assert_eq!(shop.run().looked_up, 0);
        // Somebody decides about it, and that is another refund with a key of its own.
        let second = shop.back(NewRefund::charge(&charge.id)).unwrap();
        assert_eq!(
            (second.state, second.source, second.number),
            (RefundState::Succeeded, RefundSource::Requested, 2)
        );
        assert_eq!((shop.held(), shop.given()), (0, vec![PRICE]));
        let keys: BTreeSet<_> = shop
            .till
            .requests()
            .into_iter()
            .map(|asked| asked.idempotency_key)
            .collect();
        assert_eq!(keys.len(), 3);
        assert_eq!(locked(&heard).len(), 1);
        shop.clean();
    }
}

#[test]
fn another_amount_given_back_than_asked_is_for_a_person_to_decide() {
    let dollars = Outcome::succeeded("re_1", Amount::minor(50_00, Currency::USD).unwrap());
    for outcome in [gave(49_99), gave(50_01), gave(PRICE), dollars] {
        let (shop, heard) = watched();
        let (_, charge) = shop.member("u_1");
        let (ask, refund) = shop.begin_refund(NewRefund::charge(&charge.id).amount(euro(50_00)));
        let held = shop.tell(&ask, outcome.clone());
        assert_eq!((held.state, held.mismatched), (RefundState::Unknown, true));
        assert_eq!(
            (shop.refund(&refund.id), shop.booked(&charge)),
            (held.clone(), (50_00, 0))
        );
        assert_eq!(*locked(&heard), [("unresolved", refund.id.to_string())]);
        assert_eq!(shop.engine.health().unwrap().unresolved_charges, 1);
        assert_eq!(
            shop.kinds(&refund.id),
            ["refund.created", "refund.updated", "refund.unresolved"]
        );
        for said in [outcome, no(), not_sent(), unknown(), pending("re_1")] {
            assert_eq!(shop.tell(&ask, said), held);
        }
        shop.clock.turn(30 * DAY);
        assert_eq!((shop.run().looked_up, locked(&heard).len()), (0, 1));
        shop.clean();
        assert_eq!(shop.tell(&ask, gave(50_00)).state, RefundState::Succeeded);
        assert!(!shop.refund(&refund.id).mismatched);
        assert_eq!(shop.engine.health().unwrap().unresolved_charges, 0);
        shop.clean();
    }
}

#[test]
fn only_a_look_up_gives_free_what_had_gone_back() {
    let (shop, heard) = watched();
    let (session, charge) = shop.member("u_1");
    let (ask, refund) = shop.begin_refund(NewRefund::session(&session.id));
    shop.tell(&ask, gave(PRICE));
    let done = shop.refund(&refund.id);
    // What the call says late is older than that the money went; were it believed, the money could go a
    // second time.
    let why = "x".to_owned();
    for late in [
        no(),
        not_sent(),
        Outcome::Canceled { why },
        unknown(),
        pending("re_1"),
        gave(1),
    ] {
        assert_eq!(shop.tell(&ask, late.clone()), done, "{late:?}");
    }
    for silent in [
        Lookup::NotFound,
        cannot_tell(),
        Lookup::Found(unknown()),
        Lookup::Found(not_sent()),
    ] {
        shop.clock.turn(DAY);
        assert_eq!(shop.tell_looked_up(&ask, silent.clone()), done, "{silent:?}");
    }
    assert_eq!((shop.booked(&charge), locked(&heard).len()), ((0, PRICE), 0));
    assert!(matches!(
        shop.refuses(NewRefund::session(&session.id)),
        Error::Refused(_)
    ));
    // The bank has sent it back.
    let bounced = shop.tell_looked_up(&ask, Lookup::Found(no()));
    assert_eq!(bounced.state, RefundState::Failed);
    assert_eq!(shop.booked(&charge), (0, 0));
    assert_eq!(*locked(&heard), [("failed", refund.id.to_string())]);
    assert_eq!(
        shop.kinds(&refund.id),
        ["refund.created", "refund.updated", "refund.failed"]
    );
    assert!(!shop.has("u_1"), "what was taken back stays taken back");
    shop.clean();
    // It can go another way now, unless the first turns out to have arrived after all.
    let (second, _) = shop.begin_refund(NewRefund::session(&session.id).amount(euro(1)));
    shop.tell_looked_up(&ask, Lookup::Found(gave(PRICE)));
    assert_eq!(shop.refund(&refund.id).state, RefundState::Failed);
    assert_eq!(shop.booked(&charge), (1, 0));
    shop.tell(&second, no());
    shop.clean();
}

#[test]
fn what_was_taken_for_failed_and_went_back_is_booked_if_it_fits_and_told_of_in_any_case() {
    // So much was given back otherwise meanwhile.
    for (meanwhile, fits) in [(0, true), (99_00, true), (99_01, false), (PRICE, false)] {
        let (shop, heard) = watched();
        let (_, charge) = shop.member("u_1");
        let of = |minor| NewRefund::charge(&charge.id).amount(euro(minor));
        let (ask, refund) = shop.begin_refund(of(100_00));
        shop.tell(&ask, no());
        if meanwhile > 0 {
            shop.back(of(meanwhile)).unwrap();
        }
        let after = shop.tell_looked_up(&ask, Lookup::Found(gave(100_00)));
        assert_eq!(*locked(&heard), [("contradicted", refund.id.to_string())]);
        let (state, back) = if fits {
            (RefundState::Succeeded, meanwhile + 100_00)
        } else {
            (RefundState::Failed, meanwhile)
        };
        assert_eq!((after.state, shop.booked(&charge)), (state, (0, back)), "{meanwhile}");
        assert_eq!(after.failure.is_none(), fits);
        let mut told = vec!["refund.created", "refund.failed", "refund.contradicted"];
        told.extend(fits.then_some("refund.updated"));
        assert_eq!(shop.kinds(&refund.id), told);
        assert_eq!(shop.refund(&refund.id), after);
        shop.clean();
    }
}

#[test]
fn what_went_back_twice_by_units_is_booked_and_the_file_stays_whole() {
    let (shop, heard) = watched();
    let (session, charge) = shop.things(euro(10_00), &[1, 5]);
    let unit = || NewRefund::session(&session.id).units(0, 1);
    let (ask, first) = shop.begin_refund(unit());
    shop.tell(&ask, no());
    shop.back(unit()).unwrap();
    shop.tell_looked_up(&ask, Lookup::Found(gave(10_00)));
    assert_eq!(shop.refund(&first.id).state, RefundState::Succeeded);
    assert_eq!(shop.booked(&charge), (0, 20_00));
    assert_eq!(*locked(&heard), [("contradicted", first.id.to_string())]);
    assert_eq!(shop.refuses(unit()).field(), Some("units[0].quantity"));
    shop.clean();
}

#[test]
fn what_was_taken_for_failed_and_went_over_another_amount_is_told_of_once() {
    let (shop, heard) = watched();
    let (_, charge) = shop.member("u_1");
    let (ask, refund) = shop.begin_refund(NewRefund::charge(&charge.id).amount(euro(50_00)));
    shop.tell(&ask, no());
    for _ in 0..3 {
        let after = shop.tell_looked_up(&ask, Lookup::Found(gave(49_00)));
        assert_eq!((after.state, after.mismatched), (RefundState::Failed, true));
    }
    assert_eq!(*locked(&heard), [("contradicted", refund.id.to_string())]);
    assert_eq!(shop.booked(&charge), (0, 0));
    shop.clean();
}

#[test]
fn the_beats_by_hand_write_what_create_and_run_due_write() {
    let check = |first: Outcome, found: Option<Lookup>| {
        let (hooked, by_hand) = (Shop::open(), Shop::open());
        let (session, _) = hooked.member("u_1");
        assert_eq!(by_hand.member("u_1").0, session);
        let new = || NewRefund::session(&session.id).amount(euro(50_00));
        hooked.till.answer(first.clone());
        let created = hooked.back(new()).unwrap();
        let (ask, _) = by_hand.begin_refund(new());
        assert_eq!(by_hand.tell(&ask, first.clone()), created, "{first:?}");
        assert_eq!(
            by_hand.engine.dump().unwrap(),
            hooked.engine.dump().unwrap(),
            "{first:?}"
        );
        if let Some(found) = found {
            hooked.till.answer_lookup(found.clone());
            for shop in [&hooked, &by_hand] {
                shop.clock.turn(Duration::from_secs(60));
            }
            let budget = Budget::items(1).work(Work::PAYMENTS);
            assert_eq!(hooked.engine.run_due(budget).unwrap().looked_up, 1);
            let ask = by_hand.engine.claim_asks(1).unwrap().remove(0);
            by_hand.tell_looked_up(&ask, found);
            assert_eq!(by_hand.engine.dump().unwrap(), hooked.engine.dump().unwrap());
        }
        by_hand.clean();
    };
    check(gave(50_00), None);
    check(gave(1), None);
    check(no(), None);
    check(not_sent(), None);
    check(unknown(), Some(cannot_tell()));
    check(unknown(), Some(Lookup::NotFound));
    check(pending("re_1"), Some(Lookup::Found(gave(50_00))));
    check(pending("re_1"), Some(Lookup::Found(no())));
}

#[test]
fn refunds_and_their_lines_are_in_the_dump_and_in_what_verify_looks_at() {
    let shop = Shop::open();
    let (session, _) = shop.things(euro(1_00), &[3]);
    let refund = shop
        .back(NewRefund::session(&session.id).units(0, 2).reason("broken"))
        .unwrap();
    let dump = shop.engine.dump().unwrap();
    let lines = |table: &str| -> Vec<&str> { dump.lines().filter(|line| line.starts_with(table)).collect() };
    let [line] = lines("tillite_refund ")[..] else {
        panic!("{dump}");
    };
    for said in [
        refund.id.as_str(),
        "state=\"succeeded\"",
        "amount=200",
        "reason=\"broken\"",
    ] {
        assert!(line.contains(said), "{said} in {line}");
    }
    assert_eq!(lines("tillite_refund_line ").len(), 1);
    let after = shop.engine.verify(&tillite::Expect::nothing()).unwrap();
    assert!(after.is_clean(), "{after:?}");
    for invariant in [
        "refunds_are_booked_on_their_charge",
        "refunded_lines_within_their_refund",
    ] {
        assert!(after.checked[invariant] > 0, "{invariant}");
    }
}

#[test]
fn the_file_itself_refuses_that_more_goes_back_than_was_taken() {
    let disk = Disk::new();
    let shop = disk.shop();
    let (_, charge) = shop.member("u_1");
    let (_ask, refund) = shop.begin_refund(NewRefund::charge(&charge.id).amount(euro(50_00)));
    let before = shop.engine.dump().unwrap();
    drop(shop);
    let raw = disk.raw();
    let refused = |change: &str| {
        let statement = format!("UPDATE tillite_charge SET {change}");
        let error = raw.execute(&statement, []).unwrap_err().to_string();
        assert!(error.contains("CHECK constraint failed"), "{change}: {error}");
    };
    refused("refund_reserved = captured + 1");
    refused("refunded = captured");
    refused("refunded = captured - refund_reserved + 1");
    refused("refund_reserved = -1");
    refused("captured = 0");
    for change in ["amount = 0", "amount = -1"] {
        let statement = format!("UPDATE tillite_refund SET {change} WHERE id = '{}'", refund.id);
        let error = raw.execute(&statement, []).unwrap_err().to_string();
        assert!(error.contains("CHECK constraint failed"), "{change}: {error}");
    }
    // What fits is let through: it is the bound that refuses, not the table.
    assert_eq!(
        sql(&raw, "UPDATE tillite_charge SET refund_reserved = captured").len(),
        0
    );
    assert_eq!(sql(&raw, "UPDATE tillite_charge SET refund_reserved = 5000").len(), 0);
    drop(raw);
    let shop = disk.shop();
    assert_eq!(shop.engine.dump().unwrap(), before);
    shop.clean();
}
