//! What somebody has to decide is listed with all that is known of it, and ends by their word, which is
//! evidence like any other: recorded with who said it and why.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tillite::{
    Ability, Actor, Alarm, Amount, Answer, Ask, AttemptId, AttemptRecord, Begun, BegunRefund, Capabilities, Charge,
    ChargeId, ChargeState, Currency, Error, EvidenceSource, GrantEffect, Hold, LatePayments, Lookup, Mode, NewCustomer,
    NewRefund, NewSession, NewSetup, Notice, NoticeKind, Operation, Outcome, Payment, Receipt, Refund, RefundSource,
    RefundState, Resolution, Session, SessionState, Settled, SetupState, Unresolved, WhatNow,
};

use crate::file::Disk;
use crate::kit::{Shop, Told, cannot_tell, declined, euro, locked, not_sent, unknown};
use crate::notification::{evidence, paid};

const PRICE: i64 = 199_00;
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

impl Shop {
    fn list(&self) -> Vec<AttemptRecord> {
        let found = self.app.unresolved(100, None).unwrap();
        assert!(!found.has_more);
        let health = self.engine.health().unwrap();
        assert_eq!(health.unresolved_charges, found.data.len() as u64);
        found.data
    }

    /// The one attempt that somebody has to decide about.
    fn case(&self) -> AttemptRecord {
        let [case] = <[AttemptRecord; 1]>::try_from(self.list()).unwrap();
        assert_eq!(self.app.attempt(&case.id).unwrap(), case);
        case
    }

    fn resolve(&self, attempt: &AttemptId, resolution: Resolution) -> tillite::Result<Settled> {
        self.app.resolve(attempt, resolution, "seen in the dashboard")
    }

    /// What a word comes to, and that saying it twice comes to the same.
    fn says(&self, attempt: &AttemptId, resolution: Resolution) -> Settled {
        let settled = self.resolve(attempt, resolution.clone()).unwrap();
        let after = self.engine.dump().unwrap();
        let head = self.app.journal_head().unwrap();
        assert_eq!(self.resolve(attempt, resolution).unwrap(), settled);
        assert_eq!(self.engine.dump().unwrap(), after);
        assert_eq!(self.app.journal_head().unwrap(), head);
        self.clean();
        settled
    }

    fn paid(&self, attempt: &AttemptId, resolution: Resolution) -> Payment {
        self.says(attempt, resolution).payment().unwrap()
    }

    fn refunded(&self, attempt: &AttemptId, resolution: Resolution) -> Refund {
        self.says(attempt, resolution).refund().unwrap()
    }

    /// What is refused leaves the file as it is.
    fn refuses_word(&self, attempt: &AttemptId, resolution: Resolution) -> Error {
        let before = self.engine.dump().unwrap();
        let refused = self.resolve(attempt, resolution).unwrap_err();
        assert_eq!(self.engine.dump().unwrap(), before, "{refused}");
        refused
    }

    fn first_charge(&self, session: &Session) -> Charge {
        self.read(session).payment_intent.unwrap().charges.remove(0)
    }

    fn charge_by(&self, session: &Session, id: &ChargeId) -> Charge {
        let charges = self.read(session).payment_intent.unwrap().charges;
        charges.into_iter().find(|charge| charge.id == *id).unwrap()
    }

    /// A payment of which nobody knows what came, and of which nobody can be asked.
    fn lost(&self, uid: &str) -> Session {
        self.till.set_capabilities(Capabilities::new());
        let session = self.session(uid);
        self.till.tell(Told::TakeAndLose);
        self.pay(&session).unwrap();
        session
    }

    /// A payment over another amount than was asked.
    fn mismatched(&self, uid: &str, taken: Amount) -> Session {
        let session = self.session(uid);
        self.till.answer(Outcome::succeeded("p_1", taken));
        self.pay(&session).unwrap();
        session
    }

    fn has_paid(&self, uid: &str) -> bool {
        self.app.entitlements().get(uid).unwrap().active
    }

    fn held_ids(&self) -> Vec<ChargeId> {
        let held = self.app.held_charges(100, None).unwrap().data;
        assert_eq!(self.engine.health().unwrap().held_charges, held.len() as u64);
        held.into_iter().map(|charge| charge.id).collect()
    }

    /// A session for which an amount is held.
    fn holding(&self, uid: &str) -> Session {
        let new = NewSession::tier("member", Currency::EUR).customer(uid).capture_later();
        let session = self.app.sessions().create(new).unwrap();
        self.pay(&session).unwrap();
        session
    }

    /// Makes look-ups say nothing until somebody has to look.
    fn silence(&self) {
        for _ in 0..8 {
            self.till.answer_lookup(cannot_tell());
            self.clock.turn(DAY);
            self.run();
        }
    }
}

fn begin(shop: &Shop, session: &Session) -> Ask {
    match shop.app.sessions().begin_payment(&session.id, "tok_1").unwrap() {
        Begun::Ask(ask) => *ask,
        Begun::Done(payment) => panic!("{payment:?}"),
    }
}

fn all() -> [Resolution; 4] {
    [
        Resolution::succeeded(),
        Resolution::Failed,
        Resolution::SendBack,
        Resolution::SettledOutside,
    ]
}

#[test]
fn what_somebody_has_to_decide_is_listed_with_what_was_asked_and_what_is_known() {
    let shop = Shop::open();
    let session = shop.lost("u_1");
    let charge = shop.first_charge(&session);
    let case = shop.case();
    let request = shop.till.requests().remove(0);
    assert_eq!(case.unresolved, Some(Unresolved::NoLookups));
    assert_eq!(
        (case.operation, case.about.as_str(), case.session.as_ref()),
        (Operation::Charge, charge.id.as_str(), Some(&session.id))
    );
    assert_eq!((case.amount, case.processor.as_str()), (euro(PRICE), "till"));
    assert_eq!(case.idempotency_key, request.idempotency_key);
    assert_eq!((case.reference, case.next_at), (None, None));
    assert_eq!((case.evidence.len(), case.evidence_count), (1, 1));
    let answer = &case.evidence[0];
    assert_eq!(
        (answer.number, answer.source, answer.outcome.as_str(), answer.moved),
        (1, EvidenceSource::Answer, "unknown", true)
    );
    assert_eq!(answer.actor, "processor:till");
    shop.clean();
}

#[test]
fn each_reason_to_decide_is_listed_as_such_and_only_while_it_holds() {
    // Look-ups that say nothing.
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.till.tell(Told::TakeAndLose);
    shop.pay(&session).unwrap();
    assert_eq!(shop.list(), []);
    shop.silence();
    assert_eq!(shop.case().unresolved, Some(Unresolved::Silent));
    shop.clock.turn(DAY);
    shop.run();
    assert_eq!(shop.list(), [], "the look-up after found it");

    // Another amount.
    let shop = Shop::open();
    shop.mismatched("u_1", euro(PRICE + 1));
    assert_eq!(shop.case().unresolved, Some(Unresolved::Mismatch));

    // What is due and nobody asks for.
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.till.tell(Told::TakeAndLose);
    shop.pay(&session).unwrap();
    shop.clock.turn(Duration::from_millis(86_400_000 - 1));
    assert_eq!(shop.list(), []);
    shop.clock.turn(Duration::from_millis(1));
    assert_eq!(shop.case().unresolved, Some(Unresolved::NobodyAsks));
    shop.run();
    assert_eq!(shop.list(), []);

    // A refund of the engine's own that does not get through.
    let shop = Shop::open();
    let session = shop.session("u_1");
    let late = begin(&shop, &session);
    shop.clock.turn(HOUR);
    shop.run();
    shop.clock.turn(HOUR);
    shop.run();
    let outcome = Outcome::succeeded("p_1", euro(PRICE));
    shop.engine.settle(&late, &Answer::Executed(outcome)).unwrap();
    for _ in 0..7 {
        shop.till.answer(not_sent());
        shop.run();
        assert_eq!(shop.list(), []);
        shop.clock.turn(DAY);
    }
    shop.till.answer(not_sent());
    shop.run();
    shop.clock.turn(DAY);
    // It is due for a day by now as well, but that is not what is wrong with it.
    assert_eq!(shop.case().unresolved, Some(Unresolved::NotSent));

    // What was to be taken, is held, and is not taken.
    let shop = Shop::open();
    let session = shop.session("u_1");
    let receipt = Receipt::new("p_1", euro(PRICE));
    shop.till.answer(Outcome::Authorized {
        receipt,
        expires_at: None,
    });
    shop.pay(&session).unwrap();
    assert_eq!(shop.list(), []);
    shop.till.answer(declined("no", "No."));
    shop.run();
    let case = shop.case();
    assert_eq!(
        (case.unresolved, case.operation),
        (Some(Unresolved::HeldInstead), Operation::Charge)
    );
    assert!(shop.paid(&case.id, Resolution::succeeded()).session.is_complete());
    assert_eq!(shop.list(), []);
}

#[test]
fn all_evidence_can_be_read_page_by_page() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.till.tell(Told::TakeAndLose);
    shop.pay(&session).unwrap();
    for _ in 0..30 {
        shop.till.answer_lookup(cannot_tell());
        shop.clock.turn(DAY);
        shop.run();
    }
    let case = shop.case();
    assert_eq!((case.evidence.len(), case.evidence_count), (20, 31));
    let numbers: Vec<u32> = case.evidence.iter().map(|piece| piece.number).collect();
    assert_eq!(numbers, (12..=31).rev().collect::<Vec<_>>());
    let (mut read, mut before) = (Vec::new(), None);
    loop {
        let page = shop.app.evidence(&case.id, 7, before).unwrap();
        before = page.data.last().map(|piece| piece.number);
        read.extend(page.data);
        if !page.has_more {
            break;
        }
    }
    assert_eq!(read.len(), 31);
    assert_eq!(read[..20], case.evidence);
    assert!(shop.app.evidence(&case.id, 101, None).is_err());
    assert!(shop.app.unresolved(0, None).is_err());
    let charge = shop.first_charge(&session);
    let about = shop.app.attempts_about(charge.id.as_str(), 10, None).unwrap();
    assert_eq!(about.data, [case]);
}

#[test]
fn a_list_is_read_page_by_page_and_modes_stay_apart() {
    let shop = Shop::open();
    for buyer in 0..5 {
        shop.lost(&format!("u_{buyer}"));
    }
    let whole = shop.list();
    assert_eq!(whole.len(), 5);
    let first = shop.app.unresolved(3, None).unwrap();
    assert!(first.has_more);
    let second = shop.app.unresolved(3, Some(&first.data[2].id)).unwrap();
    assert!(!second.has_more);
    assert_eq!([first.data, second.data].concat(), whole);
    let live = shop.engine.find_app("lixblogs", Mode::Live).unwrap();
    assert_eq!(live.unresolved(100, None).unwrap().data, []);
    let id = &whole[0].id;
    for refused in [
        live.attempt(id).unwrap_err(),
        live.evidence(id, 10, None).unwrap_err(),
        live.unresolved(10, Some(id)).unwrap_err(),
        live.resolve(id, Resolution::Failed, "no").unwrap_err(),
    ] {
        assert!(matches!(refused, Error::WrongMode { .. }), "{refused}");
    }
    let nobody = AttemptId::parse("at_test_000000000000000000000000000000").unwrap();
    let refused = shop.resolve(&nobody, Resolution::Failed).unwrap_err();
    assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
}

#[test]
fn what_succeeded_by_somebodys_word_pays() {
    let shop = Shop::open();
    let session = shop.lost("u_1");
    let case = shop.case();
    let app = shop.app.acting_as(Actor::Operator("ada".to_owned())).unwrap();
    let note = "paid, says Bo; card 4242 4242 4242 4242\nseen at noon";
    let settled = app.resolve(&case.id, Resolution::succeeded_as("p_77"), note).unwrap();
    let payment = settled.payment().unwrap();
    assert!(payment.is_complete() && shop.has_paid("u_1"));
    let charge = payment.charge.unwrap();
    assert_eq!(
        (charge.captured, charge.reference.as_deref(), charge.fee),
        (PRICE, Some("p_77"), None)
    );
    assert_eq!(shop.list(), []);
    let known = shop.app.attempt(&case.id).unwrap();
    assert_eq!((known.unresolved, known.reference.as_deref()), (None, Some("p_77")));
    let word = &known.evidence[0];
    assert_eq!(
        (word.source, word.outcome.as_str(), word.moved, word.actor.as_str()),
        (EvidenceSource::Operator, "succeeded", true, "operator:ada")
    );
    assert_eq!(word.amount, Some(euro(PRICE)));
    let kept = word.detail.clone().unwrap();
    assert!(
        kept.starts_with("paid, says Bo") && kept.ends_with("seen at noon"),
        "{kept}"
    );
    assert!(!shop.engine.dump().unwrap().contains("4242 4242 4242"), "{kept}");
    let history = shop.app.history(charge.id.as_str(), 100, 0).unwrap().data;
    let last = history.last().unwrap();
    assert_eq!(
        (last.kind.as_str(), last.from.as_deref(), last.to.as_deref()),
        ("charge.succeeded", Some("unknown"), Some("succeeded"))
    );
    assert_eq!((last.cause.as_str(), last.actor.as_str()), ("resolve", "operator:ada"));
    // It is refunded as any other.
    shop.app.refunds().create(NewRefund::session(&session.id)).unwrap();
    shop.clean();
}

#[test]
fn what_failed_by_somebodys_word_frees_its_session() {
    let shop = Shop::open();
    let session = shop.lost("u_1");
    let case = shop.case();
    let failed = shop.paid(&case.id, Resolution::Failed);
    assert_eq!(failed.session.state, SessionState::Open);
    let charge = failed.charge.unwrap();
    assert_eq!(
        (charge.state, charge.failure.unwrap().code.as_str()),
        (ChargeState::Failed, "resolved_as_failed")
    );
    assert!(shop.pay(&session).unwrap().is_complete());
    // Money that comes for it after all is late money, and goes back.
    let settled = shop.resolve(&case.id, Resolution::succeeded()).unwrap();
    let charge = settled.payment().unwrap().charge.unwrap();
    assert_eq!(
        (charge.hold, charge.settles, charge.refund_reserved),
        (Some(Hold::Surplus), false, PRICE)
    );
    shop.run();
    assert_eq!(shop.charge_by(&session, &charge.id).refunded, PRICE);
    shop.clean();
}

#[test]
fn what_a_service_says_after_somebodys_word_counts_as_evidence_does() {
    let shop = Shop::open();
    shop.app.set_late_payments(LatePayments::Hold).unwrap();
    let session = shop.session("u_1");
    let ask = begin(&shop, &session);
    shop.clock.turn(HOUR);
    shop.run();
    let charge = shop.first_charge(&session);
    let about = shop.app.attempts_about(charge.id.as_str(), 10, None).unwrap();
    let attempt = about.data[0].id.clone();
    shop.paid(&attempt, Resolution::Failed);
    let outcome = Outcome::succeeded("p_1", euro(PRICE));
    shop.engine.settle(&ask, &Answer::Executed(outcome)).unwrap();
    let charge = shop.first_charge(&session);
    assert_eq!(
        (charge.state, charge.hold, charge.captured),
        (ChargeState::Succeeded, Some(Hold::Late), PRICE)
    );
    assert_eq!(shop.held_ids(), std::slice::from_ref(&charge.id));
    // But that it failed is not believed any more, from nobody.
    let refused = shop.refuses_word(&attempt, Resolution::Failed);
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
    assert_eq!(refused.what_now(), WhatNow::FixInput);
    shop.clean();
}

#[test]
fn what_the_service_calls_otherwise_than_somebody_said_is_the_same_money() {
    for word in [Resolution::succeeded(), Resolution::succeeded_as("order 77")] {
        let shop = Shop::open();
        let session = shop.lost("u_1");
        let case = shop.case();
        shop.paid(&case.id, word);
        let says = |id: &str, outcome: Outcome| {
            shop.hears(evidence(id, outcome).attempt(case.id.as_str()));
            shop.run();
            shop.clean();
            shop.read(&session).payment_intent.unwrap().charges
        };
        let charges = says("n_1", paid("pi_1"));
        assert_eq!(charges.len(), 1, "nothing was taken twice");
        assert_eq!(charges[0].reference.as_deref(), Some("pi_1"));
        assert_eq!(shop.till.refunds(), []);
        assert_eq!(shop.app.attempt(&case.id).unwrap().reference.as_deref(), Some("pi_1"));
        assert_eq!(shop.kinds(&charges[0].id).last().unwrap(), "charge.updated");
        // From then on the service's word is known, and another name is other money.
        assert_eq!(says("n_2", paid("pi_1")).len(), 1);
        let charges = says("n_3", paid("pi_2"));
        assert_eq!(
            (charges.len(), charges[1].hold, charges[1].reference.as_deref()),
            (2, Some(Hold::Surplus), Some("pi_2"))
        );
    }
}

#[test]
fn another_amount_than_somebody_said_is_told_of() {
    let shop = Shop::open();
    let session = shop.lost("u_1");
    let case = shop.case();
    shop.paid(&case.id, Resolution::succeeded_as("order 77"));
    let less = Outcome::succeeded("pi_1", euro(PRICE - 1));
    shop.hears(evidence("n_1", less).attempt(case.id.as_str()));
    shop.run();
    let charge = shop.first_charge(&session);
    assert_eq!(shop.kinds(&charge.id).last().unwrap(), "charge.unresolved");
    assert_eq!(charge.reference.as_deref(), Some("order 77"));
    assert_eq!(shop.till.refunds(), []);
    shop.clean();
}

#[test]
fn a_setup_of_which_nobody_knows_is_listed_and_can_be_said_to_have_failed_only() {
    let shop = Shop::open();
    let customer = shop.app.customers().set(NewCustomer::uid("u_1")).unwrap().id;
    shop.till.set_capabilities(Capabilities::new().can(Ability::Setup));
    shop.till.answer(unknown());
    let wanted = NewSetup::new(&customer, Currency::EUR).method("tok_1");
    let setup = shop.app.setups().create(wanted).unwrap();
    assert_eq!(setup.state, SetupState::Unknown);
    let case = shop.case();
    assert_eq!(
        (case.operation, case.about.as_str(), case.session.as_ref()),
        (Operation::Setup, setup.id.as_str(), None)
    );
    assert_eq!((case.unresolved, case.amount), (Some(Unresolved::NoLookups), euro(0)));
    for word in [
        Resolution::succeeded(),
        Resolution::succeeded_as("seti_1"),
        Resolution::SendBack,
    ] {
        let refused = shop.refuses_word(&case.id, word);
        assert!(
            matches!(&refused, Error::Refused(why) if why.object == "setup"),
            "{refused}"
        );
        assert_eq!(refused.what_now(), WhatNow::FixInput);
    }
    let failed = shop.says(&case.id, Resolution::Failed).setup().unwrap();
    assert_eq!(
        (failed.state, failed.failure.unwrap().code.as_str()),
        (SetupState::Failed, "resolved_as_failed")
    );
    assert_eq!(shop.list(), []);
    assert_eq!(shop.engine.run_due(tillite::Budget::items(100)).unwrap().looked_up, 0);
}

#[test]
fn nobody_decides_while_a_call_may_still_answer() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    begin(&shop, &session);
    let charge = shop.first_charge(&session);
    let attempt = shop
        .app
        .attempts_about(charge.id.as_str(), 10, None)
        .unwrap()
        .data
        .remove(0);
    for resolution in [Resolution::succeeded(), Resolution::Failed] {
        let refused = shop.refuses_word(&attempt.id, resolution);
        let until_ms = attempt.next_at.unwrap().as_millis();
        let about = charge.id.to_string();
        assert_eq!(refused, Error::CallInFlight { about, until_ms });
        assert_eq!(
            (refused.what_now(), refused.code()),
            (WhatNow::RetryLater, "call_in_flight")
        );
    }
    // From the end of the lease on, also before anybody has written that down.
    let left = attempt.next_at.unwrap().since(attempt.since);
    shop.clock.turn(left);
    assert!(shop.paid(&attempt.id, Resolution::succeeded()).is_complete());

    // Nor about what made a charge while it is captured.
    let session = shop.holding("u_2");
    shop.app.sessions().begin_capture(&session.id, None).unwrap();
    let charge = shop.first_charge(&session);
    let made = shop
        .app
        .attempts_about(charge.id.as_str(), 10, None)
        .unwrap()
        .data
        .remove(0);
    assert_eq!(made.operation, Operation::Authorize);
    let refused = shop.refuses_word(&made.id, Resolution::Failed);
    assert!(matches!(refused, Error::CallInFlight { .. }), "{refused}");
    shop.clean();
}

#[test]
fn what_is_held_ends_by_somebodys_word() {
    // It was held, and nobody knew.
    let shop = Shop::open();
    let new = NewSession::tier("member", Currency::EUR)
        .customer("u_1")
        .capture_later();
    let session = shop.app.sessions().create(new).unwrap();
    shop.till.answer(unknown());
    shop.pay(&session).unwrap();
    shop.silence();
    let case = shop.case();
    let payment = shop.paid(&case.id, Resolution::succeeded_as("p_1"));
    let charge = payment.charge.unwrap();
    assert_eq!((charge.state, charge.authorized), (ChargeState::Authorized, PRICE));
    assert_eq!(shop.list(), []);
    // It was given free at the service.
    let payment = shop.paid(&case.id, Resolution::Failed);
    assert_eq!(payment.charge.unwrap().state, ChargeState::Voided);
    // Its time passed while nobody knew.
    assert_eq!(payment.session.state.as_str(), "expired");

    // A capture and a void of which nobody can say what came.
    for (is_void, resolution, state, session_state) in [
        (
            false,
            Resolution::succeeded_as("c_1"),
            ChargeState::Succeeded,
            "complete",
        ),
        (false, Resolution::Failed, ChargeState::Authorized, "processing"),
        (true, Resolution::succeeded(), ChargeState::Voided, "expired"),
        (true, Resolution::Failed, ChargeState::Authorized, "processing"),
    ] {
        let shop = Shop::open();
        let session = shop.holding("u_1");
        shop.till.answer(unknown());
        let sessions = shop.app.sessions();
        let begun = if is_void {
            sessions.void(&session.id)
        } else {
            sessions.capture(&session.id, Some(euro(50_00)))
        };
        begun.unwrap();
        shop.silence();
        let case = shop.case();
        let payment = shop.paid(&case.id, resolution.clone());
        let charge = payment.charge.unwrap();
        assert_eq!((charge.state, charge.asked), (state, None), "{resolution:?}");
        assert_eq!(payment.session.state.as_str(), session_state);
        let taken = if state == ChargeState::Succeeded { 50_00 } else { 0 };
        assert_eq!(charge.captured, taken);
        assert_eq!(shop.list(), []);
    }
}

#[test]
fn another_amount_than_asked_goes_back_if_somebody_says_so() {
    for taken in [PRICE + 5_00, PRICE - 5_00] {
        let shop = Shop::open();
        let session = shop.mismatched("u_1", euro(taken));
        assert_eq!(shop.held_ids().len(), 1);
        let case = shop.case();
        let payment = shop.paid(&case.id, Resolution::SendBack);
        assert_eq!(payment.session.state, SessionState::Open);
        let charge = payment.charge.unwrap();
        assert_eq!(
            (charge.state, charge.hold, charge.settles),
            (ChargeState::Succeeded, Some(Hold::Mismatch), false)
        );
        assert_eq!((charge.captured, charge.refund_reserved), (taken, taken));
        assert_eq!((shop.list(), shop.held_ids()), (vec![], vec![]));
        let refund = shop.app.refunds().of(&charge.id).unwrap().remove(0);
        assert_eq!((refund.amount, refund.source), (euro(taken), RefundSource::Mismatch));
        // The buyer pays what was asked, and is sold it once.
        assert!(shop.pay(&session).unwrap().is_complete());
        shop.till.answer(Outcome::succeeded("re_1", euro(taken)));
        shop.run();
        let request = shop.till.requests().pop().unwrap();
        assert_eq!((request.operation, request.amount), (Operation::Refund, taken));
        let charge = shop.charge_by(&session, &charge.id);
        assert_eq!((charge.refunded, charge.refund_reserved), (taken, 0));
        assert!(shop.has_paid("u_1"));
        assert_eq!((shop.list(), shop.held_ids()), (vec![], vec![]));
        shop.clean();
    }
}

#[test]
fn what_was_sent_back_and_did_not_go_is_held_again() {
    let shop = Shop::open();
    let session = shop.mismatched("u_1", euro(PRICE + 5_00));
    let charge = shop.paid(&shop.case().id, Resolution::SendBack).charge.unwrap();
    shop.till.answer(declined("gone", "The card is gone."));
    shop.run();
    assert_eq!(shop.held_ids(), std::slice::from_ref(&charge.id));
    let kept = shop.app.keep_held(&charge.id, "given in cash").unwrap();
    assert!(kept.hold_closed);
    assert_eq!(shop.held_ids(), []);
    assert_eq!(shop.read(&session).state, SessionState::Open);
    shop.clean();
}

#[test]
fn what_was_settled_outside_counts_as_nothing_here() {
    for taken in [euro(PRICE + 1), Amount::minor(PRICE, Currency::USD).unwrap()] {
        let shop = Shop::open();
        let session = shop.mismatched("u_1", taken);
        let case = shop.case();
        if taken.currency() != Currency::EUR {
            let refused = shop.refuses_word(&case.id, Resolution::SendBack);
            assert!(refused.to_string().contains("another currency"), "{refused}");
        }
        // Money moved, so that it did not is no way out.
        let refused = shop.refuses_word(&case.id, Resolution::Failed);
        assert!(matches!(refused, Error::Refused(_)), "{refused}");
        let payment = shop.paid(&case.id, Resolution::SettledOutside);
        let charge = payment.charge.unwrap();
        assert_eq!(
            (charge.state, charge.captured, charge.hold_closed),
            (ChargeState::Failed, 0, true)
        );
        assert_eq!(charge.failure.unwrap().code, "settled_outside");
        assert_eq!((shop.list(), shop.held_ids()), (vec![], vec![]));
        assert!(shop.pay(&session).unwrap().is_complete());
        shop.clean();
    }
}

#[test]
fn what_was_held_over_another_amount_is_not_sent_back() {
    let shop = Shop::open();
    let new = NewSession::tier("member", Currency::EUR).capture_later();
    let session = shop.app.sessions().create(new).unwrap();
    let receipt = Receipt::new("p_1", euro(PRICE + 1));
    shop.till.answer(Outcome::Authorized {
        receipt,
        expires_at: None,
    });
    shop.pay(&session).unwrap();
    let case = shop.case();
    let refused = shop.refuses_word(&case.id, Resolution::SendBack);
    assert!(refused.to_string().contains("held"), "{refused}");
    shop.paid(&case.id, Resolution::SettledOutside);
    assert_eq!(shop.read(&session).state, SessionState::Open);
}

#[test]
fn another_amount_that_came_too_late_ends_as_well() {
    for resolution in [Resolution::SendBack, Resolution::SettledOutside] {
        let shop = Shop::open();
        let session = shop.session("u_1");
        let late = begin(&shop, &session);
        shop.clock.turn(HOUR);
        shop.run();
        shop.clock.turn(HOUR);
        shop.run();
        assert!(shop.pay(&session).unwrap().is_complete());
        let outcome = Outcome::succeeded("p_1", euro(PRICE + 1));
        shop.engine.settle(&late, &Answer::Executed(outcome.clone())).unwrap();
        let case = shop.case();
        assert_eq!(shop.held_ids().len(), 1);
        let payment = shop.paid(&case.id, resolution.clone());
        assert!(payment.session.is_complete());
        assert_eq!((shop.list(), shop.held_ids()), (vec![], vec![]));
        // That the same amount is named again opens nothing again.
        shop.engine
            .settle(&late, &Answer::LookedUp(Lookup::Found(outcome)))
            .unwrap();
        assert_eq!((shop.list(), shop.held_ids()), (vec![], vec![]));
        shop.clean();
    }
}

#[test]
fn a_capture_over_another_amount_goes_back_too() {
    let shop = Shop::open();
    let session = shop.holding("u_1");
    shop.till.answer(Outcome::succeeded("c_1", euro(PRICE)));
    shop.app.sessions().capture(&session.id, Some(euro(50_00))).unwrap();
    let case = shop.case();
    assert_eq!(case.operation, Operation::Capture);
    let payment = shop.paid(&case.id, Resolution::SendBack);
    let charge = payment.charge.unwrap();
    assert_eq!(
        (charge.captured, charge.authorized, charge.refund_reserved),
        (PRICE, 0, PRICE)
    );
    assert_eq!(payment.session.state, SessionState::Open);
    shop.till.answer(Outcome::succeeded("re_1", euro(PRICE)));
    shop.run();
    let related = shop.till.requests().pop().unwrap().related.unwrap();
    assert_eq!(related.reference.as_deref(), Some("c_1"));
    assert_eq!(shop.first_charge(&session).refunded, PRICE);
    shop.clean();
}

#[test]
fn a_refund_ends_by_somebodys_word() {
    let start = || {
        let shop = Shop::open();
        let session = shop.session("u_1");
        shop.pay(&session).unwrap();
        shop.till.answer(unknown());
        let refund = shop.app.refunds().create(NewRefund::session(&session.id)).unwrap();
        shop.silence();
        let case = shop.case();
        assert_eq!(
            (case.operation, case.about.as_str()),
            (Operation::Refund, refund.id.as_str())
        );
        (shop, session, case.id)
    };
    let (shop, session, case) = start();
    let refund = shop.refunded(&case, Resolution::succeeded_as("re_9"));
    assert_eq!(
        (refund.state, refund.reference.as_deref()),
        (RefundState::Succeeded, Some("re_9"))
    );
    assert_eq!(shop.first_charge(&session).refunded, PRICE);
    assert!(!shop.has_paid("u_1"), "the sale was undone with it");
    // A bank may send it back yet, and somebody hear of it.
    let refund = shop.refunded(&case, Resolution::Failed);
    assert_eq!(refund.state, RefundState::Failed);
    assert_eq!(shop.first_charge(&session).refundable(), PRICE);

    let (shop, session, case) = start();
    let refund = shop.refunded(&case, Resolution::Failed);
    assert_eq!(refund.state, RefundState::Failed);
    assert_eq!(shop.first_charge(&session).refundable(), PRICE);
    assert!(shop.has_paid("u_1"));
    for nonsense in [Resolution::SendBack, Resolution::SettledOutside] {
        let refused = shop.refuses_word(&case, nonsense);
        assert!(matches!(refused, Error::Refused(_)), "{refused}");
    }
}

#[test]
fn a_refund_over_another_amount_ends_by_somebodys_word() {
    for (resolution, state, refunded) in [
        (Resolution::succeeded(), RefundState::Succeeded, 50_00),
        (Resolution::SettledOutside, RefundState::Failed, 0),
    ] {
        let shop = Shop::open();
        let session = shop.session("u_1");
        shop.pay(&session).unwrap();
        shop.till.answer(Outcome::succeeded("re_1", euro(49_00)));
        let new = NewRefund::session(&session.id).amount(euro(50_00));
        let refund = shop.app.refunds().create(new).unwrap();
        assert!(refund.mismatched);
        let case = shop.case();
        assert_eq!(case.unresolved, Some(Unresolved::Mismatch));
        for nonsense in [Resolution::SendBack, Resolution::Failed] {
            let refused = shop.refuses_word(&case.id, nonsense);
            assert!(matches!(refused, Error::Refused(_)), "{refused}");
        }
        let refund = shop.refunded(&case.id, resolution);
        assert_eq!((refund.state, refund.mismatched), (state, false));
        let charge = shop.first_charge(&session);
        assert_eq!((charge.refunded, charge.refund_reserved), (refunded, 0));
        assert_eq!(shop.list(), []);
    }

    // One that had failed, and over another amount at that.
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.pay(&session).unwrap();
    let BegunRefund::Ask(ask, _) = shop.app.refunds().begin(NewRefund::session(&session.id)).unwrap() else {
        panic!("nothing to ask");
    };
    for outcome in [declined("no", "No."), Outcome::succeeded("re_1", euro(1))] {
        shop.engine.settle(&ask, &Answer::Executed(outcome)).unwrap();
    }
    let case = shop.case();
    let refund = shop.refunded(&case.id, Resolution::SettledOutside);
    assert_eq!((refund.state, refund.mismatched), (RefundState::Failed, false));
    assert_eq!(shop.list(), []);
}

#[test]
fn money_that_settled_nothing_is_kept_if_somebody_says_so() {
    let shop = Shop::open();
    shop.app.set_late_payments(LatePayments::Hold).unwrap();
    let session = shop.session("u_1");
    let late = begin(&shop, &session);
    shop.clock.turn(HOUR);
    shop.run();
    shop.clock.turn(HOUR);
    shop.run();
    let outcome = Outcome::succeeded("p_1", euro(PRICE));
    shop.engine.settle(&late, &Answer::Executed(outcome)).unwrap();
    let charge = shop.first_charge(&session);
    assert_eq!(shop.held_ids(), std::slice::from_ref(&charge.id));
    let app = shop.app.acting_as(Actor::Operator("bo".to_owned())).unwrap();
    let kept = app.keep_held(&charge.id, "a gift, she says").unwrap();
    assert_eq!((kept.hold, kept.hold_closed), (Some(Hold::Late), true));
    assert_eq!(shop.held_ids(), []);
    let after = shop.engine.dump().unwrap();
    assert_eq!(app.keep_held(&charge.id, "again").unwrap(), kept);
    assert_eq!(shop.engine.dump().unwrap(), after);
    let attempt = shop
        .app
        .attempts_about(charge.id.as_str(), 10, None)
        .unwrap()
        .data
        .remove(0);
    let word = &attempt.evidence[0];
    assert_eq!(
        (word.outcome.as_str(), word.detail.as_deref(), word.actor.as_str()),
        ("kept", Some("a gift, she says"), "operator:bo")
    );
    // It can go back yet.
    let new = NewRefund::charge(&charge.id).effect(GrantEffect::Keep);
    shop.app.refunds().create(new).unwrap();
    shop.clean();

    // What paid for something, and what went over another amount, is nothing to keep.
    let shop = Shop::open();
    let session = shop.session("u_1");
    let paid = shop.pay(&session).unwrap().charge.unwrap();
    let other = shop.mismatched("u_2", euro(1));
    for charge in [paid.id, shop.first_charge(&other).id] {
        let before = shop.engine.dump().unwrap();
        let refused = shop.app.keep_held(&charge, "mine").unwrap_err();
        assert!(matches!(refused, Error::Refused(_)), "{refused}");
        assert_eq!(shop.engine.dump().unwrap(), before);
    }
}

#[test]
fn what_is_kept_of_a_second_payment_concerns_that_one_and_no_look_up_that_is_due() {
    let shop = Shop::open();
    shop.app.set_late_payments(LatePayments::Hold).unwrap();
    let session = shop.session("u_1");
    shop.pay(&session).unwrap();
    let first = shop.first_charge(&session);
    let attempt = shop.till.requests()[0].attempt.clone();
    let again = shop.till.take_again(&session.id).unwrap();
    shop.hears(evidence("n_1", paid(&again.reference)).attempt(&attempt));
    shop.run();
    let [surplus] = <[Charge; 1]>::try_from(shop.app.held_charges(10, None).unwrap().data).unwrap();
    shop.hears(Notice::new("n_2", NoticeKind::Changed).attempt(&attempt));
    shop.engine.run_due(tillite::Budget::items(1)).unwrap();
    let attempt = AttemptId::parse(&attempt).unwrap();
    let due = shop.app.attempt(&attempt).unwrap().next_at;
    assert!(due.is_some());

    let kept = shop.app.keep_held(&surplus.id, "the buyer takes two").unwrap();
    assert_eq!((&kept.id, kept.hold_closed), (&surplus.id, true));
    assert_eq!(shop.first_charge(&session), first);
    assert_eq!(shop.app.attempt(&attempt).unwrap().next_at, due);
    assert_eq!(shop.app.keep_held(&surplus.id, "once more").unwrap(), kept);
    let refused = shop.app.keep_held(&first.id, "what paid").unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
    shop.clean();
}

#[test]
fn a_word_needs_a_note_and_a_reference_that_can_be_kept() {
    let shop = Shop::open();
    shop.lost("u_1");
    let case = shop.case();
    let before = shop.engine.dump().unwrap();
    for note in ["", "  ", &"n".repeat(501)] {
        let refused = shop.app.resolve(&case.id, Resolution::Failed, note).unwrap_err();
        assert_eq!(refused.field(), Some("note"), "{refused}");
        let charge = ChargeId::parse(&case.about).unwrap();
        assert_eq!(shop.app.keep_held(&charge, note).unwrap_err().field(), Some("note"));
    }
    for reference in ["", "4242424242424242", &"r".repeat(256)] {
        let refused = shop.refuses_word(&case.id, Resolution::succeeded_as(reference));
        assert_eq!(refused.field(), Some("reference"), "{refused}");
        assert!(!refused.to_string().contains("4242424242"), "{refused}");
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    shop.app
        .resolve(&case.id, Resolution::Failed, &"n".repeat(500))
        .unwrap();
}

#[test]
fn somebody_decides_where_the_processor_is_not() {
    let disk = Disk::new();
    let shop = disk.shop();
    shop.till.tell(Told::TakeAndLose);
    let unknown_one = shop.session("u_1");
    shop.pay(&unknown_one).unwrap();
    let other = shop.mismatched("u_2", euro(1_00));
    let charge = shop.first_charge(&other);

    let desk = tillite::Engine::builder()
        .clock(shop.clock.clone())
        .open(disk.path())
        .unwrap();
    let app = desk.find_app("lixblogs", Mode::Test).unwrap();
    let first = shop.first_charge(&unknown_one).id;
    let attempt = app.attempts_about(first.as_str(), 10, None).unwrap().data.remove(0);
    let settled = app.resolve(&attempt.id, Resolution::succeeded(), "seen").unwrap();
    assert!(settled.payment().unwrap().is_complete());
    let attempt = app.unresolved(10, None).unwrap().data.remove(0);
    app.resolve(&attempt.id, Resolution::SendBack, "too little").unwrap();
    desk.run_due(tillite::Budget::items(10)).unwrap();
    assert_eq!(shop.first_charge(&other).refunded, 0);
    // The process that has the processor asks for it.
    shop.till.answer(Outcome::succeeded("re_1", euro(1_00)));
    shop.run();
    assert_eq!(shop.charge_by(&other, &charge.id).refunded, 1_00);
    shop.clean();
}

#[test]
fn no_word_breaks_an_invariant_wherever_it_is_said() {
    // Each state of a charge, by how it comes about.
    let stories: &[fn(&Shop) -> Session] = &[
        |shop| shop.lost("u_1"),
        |shop| shop.mismatched("u_1", euro(PRICE + 1)),
        |shop| shop.mismatched("u_1", Amount::minor(5, Currency::USD).unwrap()),
        |shop| shop.holding("u_1"),
        |shop| {
            let session = shop.session("u_1");
            shop.till.tell(Told::AskBuyer);
            shop.pay(&session).unwrap();
            session
        },
        |shop| {
            let session = shop.session("u_1");
            shop.till.answer(declined("no", "No."));
            shop.pay(&session).unwrap();
            session
        },
        |shop| {
            let session = shop.session("u_1");
            shop.pay(&session).unwrap();
            session
        },
        |shop| {
            let session = shop.holding("u_1");
            shop.app.sessions().void(&session.id).unwrap();
            session
        },
        |shop| {
            let session = shop.holding("u_1");
            shop.till.answer(unknown());
            shop.app.sessions().capture(&session.id, Some(euro(1_00))).unwrap();
            session
        },
    ];
    let mut said = 0;
    for story in stories {
        for first in all() {
            for second in all() {
                let shop = Shop::open();
                let session = story(&shop);
                let charge = shop.first_charge(&session);
                let attempts = shop.app.attempts_about(charge.id.as_str(), 10, None).unwrap().data;
                for attempt in &attempts {
                    for resolution in [&first, &second] {
                        said += u32::from(shop.resolve(&attempt.id, resolution.clone()).is_ok());
                        shop.clean();
                    }
                }
                shop.clock.turn(DAY);
                shop.run();
                shop.clean();
            }
        }
    }
    assert!(said > 100, "{said}");
}

#[test]
fn an_alarm_is_raised_where_a_case_is_and_none_where_somebody_has_decided() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let disk = Disk::new();
    let listening = Arc::clone(&told);
    let engine = disk
        .builder()
        .on_alarm(move |alarm: &Alarm| locked(&listening).push(alarm.to_string()))
        .open(disk.path())
        .unwrap();
    let (clock, till, receiver) = (disk.clock.clone(), disk.till.clone(), disk.receiver.clone());
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    let take = || std::mem::take(&mut *locked(&told));
    shop.mismatched("u_1", euro(PRICE + 1));
    assert_eq!((take().len(), shop.list().len()), (1, 1));
    let case = shop.case();
    shop.paid(&case.id, Resolution::SendBack);
    assert_eq!(take(), Vec::<String>::new());
    shop.lost("u_2");
    assert_eq!((take().len(), shop.list().len()), (1, 1));
    shop.paid(&shop.case().id, Resolution::Failed);
    assert_eq!(take(), Vec::<String>::new());
    shop.mismatched("u_3", euro(PRICE + 1));
    assert_eq!((take().len(), shop.list().len()), (1, 1));
    shop.paid(&shop.case().id, Resolution::SettledOutside);
    assert_eq!(take(), Vec::<String>::new());
}
