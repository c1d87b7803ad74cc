//! Money moves in three beats: intend, ask, settle. Whatever goes wrong in between, the buyer pays
//! at most once, and nothing that is not known for certain is taken for a failure.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tillite::{
    Action, Answer, Ask, AskKind, Begun, Budget, Capabilities, ChargeState, Currency, Engine, Error, ExpiredReason,
    Hold, IntentStatus, LatePayments, Lookup, LookupKey, Mode, NewLine, NewPayment, NewPrice, NewProduct, NewSession,
    Outcome, Processor, Ran, Request, RouteInput, Session, SessionState, SessionUpdate, Timestamp, Work,
};

use crate::kit::{
    ManualClock, Receiver, Shop, Till, Told, builder, cannot_tell, clean, declined, euro, not_sent, pending, unknown,
};

const DAY: Duration = Duration::from_secs(86_400);
const PRICE: i64 = 199_00;

fn requires_action() -> Outcome {
    Outcome::RequiresAction {
        reference: "p_1".to_owned(),
        action: Action::Redirect("https://bank.example/3ds".to_owned()),
        within: DAY,
    }
}

fn authorized() -> Outcome {
    Outcome::Authorized {
        receipt: tillite::Receipt::new("p_1", euro(PRICE)),
        expires_at: None,
    }
}

fn succeeded(amount: tillite::Amount) -> Outcome {
    Outcome::succeeded("p_1", amount)
}

/// The newest charge of a session, as it is stored.
fn charge(shop: &Shop, session: &Session) -> tillite::Charge {
    let intent = shop.read(session).payment_intent.unwrap();
    intent.charges.last().unwrap().clone()
}

fn begin(shop: &Shop, session: &Session) -> Ask {
    match shop.app.sessions().begin_payment(&session.id, "tok_1").unwrap() {
        Begun::Ask(ask) => *ask,
        Begun::Done(payment) => panic!("{payment:?}"),
    }
}

fn in_progress(answer: tillite::Result<tillite::Payment>, charge: &tillite::Charge) {
    let expected = Error::PaymentInProgress {
        attempt: charge.id.to_string(),
        since_ms: charge.created_at.as_millis(),
    };
    assert_eq!(answer.unwrap_err(), expected);
}

/// What a payment can still change about a session: everything but the number of pieces of
/// evidence, which grows with each.
fn standing(shop: &Shop, session: &Session) -> (Session, tillite::JournalHead, Vec<tillite::Charge>) {
    let head = shop.app.journal_head().unwrap();
    (shop.read(session), head, shop.app.held_charges(100, None).unwrap().data)
}

type Execute = dyn Fn(&Till, &Request) -> Outcome + Send + Sync;
type LookUp = dyn Fn(&Till, &LookupKey<'_>) -> Lookup + Send + Sync;

/// A processor out of parts, for what the till does not do.
struct Parts {
    till: Till,
    capabilities: Box<dyn Fn(&Till) -> Capabilities + Send + Sync>,
    execute: Box<Execute>,
    lookup: Box<LookUp>,
}

impl Parts {
    fn of(till: &Till) -> Parts {
        Parts {
            till: till.clone(),
            capabilities: Box::new(Processor::capabilities),
            execute: Box::new(|till, request| till.execute(request, Timestamp::MAX)),
            lookup: Box::new(Processor::lookup),
        }
    }
}

impl Processor for Parts {
    fn capabilities(&self) -> Capabilities {
        (self.capabilities)(&self.till)
    }

    fn execute(&self, request: &Request, _deadline: Timestamp) -> Outcome {
        (self.execute)(&self.till, request)
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        (self.lookup)(&self.till, key)
    }
}

/// A shop in test mode whose payments go to this processor.
fn shop_with(till: Till, processor: impl Processor + 'static) -> Shop {
    let (clock, receiver) = (ManualClock::new(), Receiver::new());
    let engine = builder(&clock, &till, &receiver)
        .test_processor("parts", processor)
        .route(|_| "parts".to_owned())
        .open_in_memory()
        .unwrap();
    Shop::with(engine, Mode::Test, clock, till, receiver)
}

/// A shop on a file with test-mode processors of these names, the last of which takes payments.
fn shop_on(path: &Path, clock: &ManualClock, tills: &[(&str, &Till)]) -> Shop {
    let receiver = Receiver::new();
    let mut setup = Engine::builder().clock(clock.clone()).transport(receiver.clone());
    for (name, till) in tills {
        setup = setup.test_processor(*name, (*till).clone());
    }
    let (last, till) = tills.last().unwrap();
    let last = (*last).to_owned();
    let engine = setup.route(move |_| last.clone()).open(path).unwrap();
    Shop::with(engine, Mode::Test, clock.clone(), (*till).clone(), receiver)
}

#[test]
fn a_decline_is_an_answer_and_the_session_can_be_paid_again() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.till.answer(declined("insufficient_funds", "Not enough money."));
    let first = shop.pay(&session).unwrap();
    let failed = first.charge.unwrap();
    let failure = failed.failure.clone().unwrap();
    assert_eq!((failed.state, failed.number), (ChargeState::Failed, 1));
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        ("insufficient_funds", "Not enough money.")
    );
    assert_eq!(first.session.state, SessionState::Open);
    assert_eq!(first.session, shop.read(&session));
    assert_eq!(shop.app.entitlements().get("u_1").unwrap().version, 0);

    let second = shop.pay(&session).unwrap();
    assert_eq!(second.session, shop.read(&session));
    let intent = second.session.payment_intent.clone().unwrap();
    assert_eq!(second.session.state, SessionState::Complete);
    assert_eq!(intent.status(), IntentStatus::Succeeded);
    let states: Vec<_> = intent
        .charges
        .iter()
        .map(|charge| (charge.number, charge.state))
        .collect();
    assert_eq!(states, [(1, ChargeState::Failed), (2, ChargeState::Succeeded)]);
    assert_eq!(shop.till.charges().len(), 1);
    let moves = [
        "checkout.session.created",
        "checkout.session.processing",
        "checkout.payment.failed",
        "checkout.session.processing",
        "checkout.session.completed",
    ];
    assert_eq!(shop.kinds(&session.id), moves);
    // A complete session is answered as it is.
    assert_eq!(shop.pay(&session).unwrap().session, second.session);
    assert_eq!(shop.till.requests().len(), 2);
    shop.clean();
}

#[test]
fn only_a_definite_failure_frees_the_buyer() {
    use ChargeState::{Authorized, Failed, Pending, RequiresAction, Unknown};
    let check = |told: Told, state: ChargeState, status: IntentStatus| {
        let shop = Shop::open();
        let session = shop.session("u_1");
        shop.till.tell(told);
        let payment = shop.pay(&session).unwrap();
        let tried = payment.charge.clone().unwrap();
        assert_eq!(tried.state, state);
        assert_eq!(payment.session, shop.read(&session), "{state:?}");
        assert_eq!(payment.session.payment_intent.as_ref().unwrap().status(), status);
        if state.is_live() {
            assert_eq!(payment.session.state, SessionState::Processing);
            let before = shop.engine.dump().unwrap();
            in_progress(shop.pay(&session), &tried);
            let sessions = shop.app.sessions();
            let refused = [
                sessions.expire(&session.id),
                sessions.cancel(&session.id),
                sessions.update(&session.id, SessionUpdate::new().lines([])),
            ];
            for answer in refused {
                assert!(matches!(answer, Err(Error::Refused(_))), "{state:?}: {answer:?}");
            }
            assert_eq!(shop.engine.dump().unwrap(), before, "{state:?}");
            // Not even when its time passes, long after.
            shop.clock.turn(30 * DAY);
            shop.engine.run_due(Budget::items(100).work(Work::TIME)).unwrap();
            in_progress(shop.pay(&session), &tried);
            assert_eq!(shop.till.requests().len(), 1);
        } else {
            assert_eq!(payment.session.state, SessionState::Open);
            assert_eq!(shop.pay(&session).unwrap().session.state, SessionState::Complete);
        }
        shop.clean();
    };
    check(
        Told::Answer(declined("insufficient_funds", "Not enough money.")),
        Failed,
        IntentStatus::RequiresPaymentMethod,
    );
    check(Told::Answer(not_sent()), Failed, IntentStatus::RequiresPaymentMethod);
    check(Told::Answer(unknown()), Unknown, IntentStatus::Processing);
    check(Told::TakeAndLose, Unknown, IntentStatus::Processing);
    check(Told::Panic, Unknown, IntentStatus::Processing);
    check(Told::Answer(pending("p_1")), Pending, IntentStatus::Processing);
    check(
        Told::Answer(requires_action()),
        RequiresAction,
        IntentStatus::RequiresAction,
    );
    check(Told::Answer(authorized()), Authorized, IntentStatus::RequiresCapture);
}

#[test]
fn what_the_buyer_must_do_is_on_the_charge() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.till.answer(requires_action());
    let charge = shop.pay(&session).unwrap().charge.unwrap();
    let url = "https://bank.example/3ds".to_owned();
    assert_eq!(charge.action, Some(Action::Redirect(url)));
    assert_eq!(charge.action_deadline, Some(shop.app.now().unwrap().plus(DAY)));
    // Once it is done there is nothing to do any more.
    shop.till.answer_lookup(Lookup::Found(succeeded(euro(PRICE))));
    shop.run();
    let charge = self::charge(&shop, &session);
    assert_eq!((charge.state, charge.action), (ChargeState::Succeeded, None));
    shop.clean();
}

#[test]
fn unknown_ends_by_evidence_and_never_by_time() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.till.tell(Told::TakeAndLose);
    shop.pay(&session).unwrap();
    let unresolved = |shop: &Shop| shop.engine.health().unwrap().unresolved_charges;
    // Six hours are the longest gap between two look-ups: each turn brings one.
    for asked in 1..=12 {
        shop.till.answer_lookup(cannot_tell());
        assert_eq!(shop.run().looked_up, 1, "look-up {asked}");
        assert_eq!(shop.till.looked_up(), asked);
        assert_eq!(unresolved(&shop), u64::from(asked >= 8), "after look-up {asked}");
        shop.clock.turn(Duration::from_secs(21_600));
    }
    shop.clock.turn(20 * 365 * DAY);
    shop.till.answer_lookup(cannot_tell());
    shop.run();
    let charge = charge(&shop, &session);
    assert_eq!((charge.state, charge.failure), (ChargeState::Unknown, None));
    assert_eq!(shop.read(&session).state, SessionState::Processing);
    let told = shop.kinds(&charge.id);
    assert_eq!(told, ["charge.initiated", "charge.unknown", "charge.unresolved"]);
    shop.clean();
    // The look-ups go on, and the first that can tell decides.
    shop.clock.turn(Duration::from_secs(21_600));
    shop.run();
    assert_eq!(shop.read(&session).state, SessionState::Complete);
    assert_eq!(unresolved(&shop), 0);
    assert_eq!(shop.till.charges().len(), 1);
    shop.clean();
}

#[test]
fn an_accepted_payment_that_look_ups_say_nothing_about_is_told_and_counted_until_it_is_heard_of() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    let accepted = || Outcome::Pending {
        reference: "p_1".to_owned(),
    };
    shop.till.answer(accepted());
    shop.pay(&session).unwrap();
    let unresolved = |shop: &Shop| shop.engine.health().unwrap().unresolved_charges;
    let look_up = |found: Lookup| {
        shop.till.answer_lookup(found);
        assert_eq!(shop.run().looked_up, 1);
        shop.clock.turn(Duration::from_secs(21_600));
    };
    for _ in 0..20 {
        look_up(Lookup::Found(accepted()));
        assert_eq!(unresolved(&shop), 0, "it is heard of");
    }
    for silent in 1..=12 {
        look_up(if silent % 2 == 0 {
            Lookup::NotFound
        } else {
            cannot_tell()
        });
        assert_eq!(unresolved(&shop), u64::from(silent >= 8), "after {silent} look-ups");
    }
    let charge = charge(&shop, &session);
    assert_eq!(charge.state, ChargeState::Pending);
    let told = shop.kinds(&charge.id);
    assert_eq!(told, ["charge.initiated", "charge.pending", "charge.unresolved"]);
    shop.clean();
    look_up(Lookup::Found(accepted()));
    assert_eq!(unresolved(&shop), 0);
    look_up(Lookup::Found(succeeded(euro(PRICE))));
    assert_eq!(shop.read(&session).state, SessionState::Complete);
    shop.clean();
}

#[test]
fn a_payment_is_looked_up_by_the_reference_as_it_was_given_or_by_the_attempts_id() {
    for (reference, kept) in [
        (" pay/ü=? ", true),
        ("7a04e8d0-4242-4242-4242-4242ab000000", true),
        ("pi_4242424242424242", false),
        ("r\n", false),
    ] {
        let mut parts = Parts::of(&Till::new());
        parts.execute = Box::new(|_, _| Outcome::Pending {
            reference: reference.to_owned(),
        });
        parts.lookup = Box::new(move |_, key| {
            assert!(key.request.attempt_id().is_ok());
            assert_eq!(key.reference, kept.then_some(reference));
            Lookup::Found(Outcome::succeeded(reference, euro(PRICE)))
        });
        let shop = shop_with(Till::new(), parts);
        let session = shop.session("u_1");
        let accepted = shop.pay(&session).unwrap().charge.unwrap();
        assert_eq!(accepted.state, ChargeState::Pending);
        assert_eq!(accepted.reference.as_deref(), kept.then_some(reference));
        shop.run();
        assert_eq!(shop.read(&session).state, SessionState::Complete, "{reference:?}");
        shop.clean();
    }
}

#[test]
fn a_lost_answer_that_a_look_up_finds_completes_exactly_once() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.till.tell(Told::TakeAndLose);
    assert_eq!(shop.pay(&session).unwrap().session.state, SessionState::Processing);
    assert_eq!(shop.app.entitlements().get("u_1").unwrap().version, 0);
    for _ in 0..5 {
        shop.run();
        shop.clock.turn(Duration::from_secs(3_600));
    }
    let paid = shop.read(&session);
    assert_eq!(paid.state, SessionState::Complete);
    assert_eq!(shop.app.entitlements().get("u_1").unwrap().version, 1);
    let completed = shop.kinds(&session.id);
    assert_eq!(
        completed
            .iter()
            .filter(|kind| *kind == "checkout.session.completed")
            .count(),
        1
    );
    let till = &shop.till;
    assert_eq!(
        (till.charges().len(), till.requests().len(), till.looked_up()),
        (1, 1, 1)
    );
    shop.clean();
}

#[test]
fn not_found_counts_only_once_a_late_call_would_have_shown() {
    // The till promises that what arrived shows after 60 seconds. They run from the end of the
    // call: from its answer, or from the end of its lease after 40 seconds.
    let check = |heard: Option<Outcome>, lookup_after: Duration, freed: bool| {
        let shop = Shop::open();
        let session = shop.session("u_1");
        let ask = begin(&shop, &session);
        if let Some(outcome) = &heard {
            shop.engine.settle(&ask, &Answer::Executed(outcome.clone())).unwrap();
        } else {
            shop.clock.turn(Duration::from_secs(40));
            assert_eq!(shop.engine.run_due(Budget::items(1)).unwrap().recovered, 1);
        }
        shop.clock.turn(lookup_after);
        let asking = Budget::items(100).work(Work::PAYMENTS);
        let ran = shop.engine.run_due(asking).unwrap();
        assert_eq!(ran.looked_up, 1, "{heard:?} {lookup_after:?}");
        let state = shop.read(&session).state;
        let expected = if freed {
            SessionState::Open
        } else {
            SessionState::Processing
        };
        assert_eq!(state, expected, "{heard:?} {lookup_after:?}");
        if freed {
            let failure = charge(&shop, &session).failure.unwrap();
            assert_eq!(failure.code, "never_arrived");
            assert!(shop.pay(&session).unwrap().is_complete());
        }
        shop.clean();
    };
    let just_before = Duration::from_millis(59_999);
    let in_time = Duration::from_secs(60);
    check(Some(unknown()), Duration::ZERO, false);
    check(Some(unknown()), just_before, false);
    check(Some(unknown()), in_time, true);
    check(None, Duration::ZERO, false);
    check(None, just_before, false);
    check(None, in_time, true);
    // What the processor has acknowledged has arrived; that it is not found is its own riddle.
    check(Some(pending("p_1")), 365 * DAY, false);
    check(Some(requires_action()), 365 * DAY, false);
}

#[test]
fn a_session_whose_time_passes_while_paying_closes_only_if_the_payment_fails() {
    let check = |found: Outcome, expected: SessionState, last: &[&str]| {
        let shop = Shop::open();
        let session = shop.session("u_1");
        shop.till.answer(unknown());
        shop.pay(&session).unwrap();
        shop.clock.turn(2 * DAY);
        let ran = shop.engine.run_due(Budget::items(100).work(Work::TIME)).unwrap();
        assert_eq!(ran, Ran::default());
        assert_eq!(shop.read(&session).state, SessionState::Processing);
        shop.till.answer_lookup(Lookup::Found(found));
        // The sweep has no part in it: what ends the attempt closes the session.
        shop.engine.run_due(Budget::items(100).work(Work::PAYMENTS)).unwrap();
        assert_eq!(shop.read(&session).state, expected);
        let kinds = shop.kinds(&session.id);
        assert_eq!(kinds[2..], *last);
        shop.clean();
    };
    check(
        declined("insufficient_funds", "Not enough money."),
        SessionState::Expired(ExpiredReason::Timeout),
        &["checkout.payment.failed", "checkout.session.expired"],
    );
    check(
        succeeded(euro(PRICE)),
        SessionState::Complete,
        &["checkout.session.completed"],
    );
}

#[test]
fn money_that_arrives_after_its_attempt_was_closed_is_held_where_it_is_to_be() {
    let check = |meanwhile: fn(&Shop, &Session), arrived: Outcome, hold: Hold| {
        let shop = Shop::open();
        shop.app.set_late_payments(LatePayments::Hold).unwrap();
        let session = shop.session("u_1");
        let ask = begin(&shop, &session);
        shop.clock.turn(Duration::from_secs(41));
        shop.run();
        assert_eq!(charge(&shop, &session).state, ChargeState::Unknown);
        shop.clock.turn(Duration::from_secs(3_600));
        shop.run();
        assert_eq!(charge(&shop, &session).state, ChargeState::Failed);
        meanwhile(&shop, &session);
        let before = shop.read(&session);
        let held_before = shop.app.entitlements().get("u_1").unwrap();
        assert_eq!(shop.app.held_charges(100, None).unwrap().data, []);

        shop.engine.settle(&ask, &Answer::Executed(arrived.clone())).unwrap();
        let held = shop.app.held_charges(100, None).unwrap().data;
        assert_eq!(held.len(), 1, "{hold:?}");
        assert_eq!((held[0].number, held[0].hold, held[0].settles), (1, Some(hold), false));
        assert_eq!(shop.engine.health().unwrap().held_charges, 1);
        assert_eq!(shop.read(&session).state, before.state);
        assert_eq!(shop.app.entitlements().get("u_1").unwrap(), held_before);
        assert_eq!(shop.kinds(&session.id).last().unwrap(), "checkout.session.late_payment");
        assert!(shop.kinds(&held[0].id).contains(&"charge.contradicted".to_owned()));
        shop.clean();

        let once = standing(&shop, &session);
        shop.engine.settle(&ask, &Answer::Executed(arrived)).unwrap();
        shop.engine
            .settle(
                &ask,
                &Answer::Executed(declined("insufficient_funds", "Not enough money.")),
            )
            .unwrap();
        assert_eq!(standing(&shop, &session), once);
        // The hold is a matter of its own: an open session can still be paid by another attempt.
        if before.state == SessionState::Open {
            assert!(shop.pay(&session).unwrap().is_complete());
            assert_eq!(shop.app.held_charges(100, None).unwrap().data[0].hold, Some(hold));
        }
        shop.clean();
    };
    let nothing: fn(&Shop, &Session) = |_, _| {};
    let closed: fn(&Shop, &Session) = |shop, session| drop(shop.app.sessions().expire(&session.id).unwrap());
    let paid: fn(&Shop, &Session) = |shop, session| assert!(shop.pay(session).unwrap().is_complete());
    let more = || succeeded(euro(PRICE + 1));
    check(nothing, succeeded(euro(PRICE)), Hold::Late);
    check(closed, succeeded(euro(PRICE)), Hold::Late);
    check(paid, succeeded(euro(PRICE)), Hold::Surplus);
    check(nothing, more(), Hold::Mismatch);
    check(closed, more(), Hold::Mismatch);
    check(paid, more(), Hold::Mismatch);
}

#[test]
fn another_amount_than_asked_is_held_whatever_is_said_afterwards() {
    let dollars = tillite::Amount::minor(PRICE, Currency::USD).unwrap();
    let held_dollars = Outcome::Authorized {
        receipt: tillite::Receipt::new("p_1", dollars),
        expires_at: None,
    };
    let check = |taken: Outcome| {
        let shop = Shop::open();
        let session = shop.session("u_1");
        let ask = begin(&shop, &session);
        shop.engine.settle(&ask, &Answer::Executed(taken.clone())).unwrap();
        let charge = charge(&shop, &session);
        assert_eq!(
            (charge.state, charge.hold),
            (ChargeState::Unknown, Some(Hold::Mismatch))
        );
        assert_eq!(
            shop.app.held_charges(100, None).unwrap().data,
            std::slice::from_ref(&charge)
        );
        assert_eq!(shop.app.entitlements().get("u_1").unwrap().version, 0);
        assert_eq!(
            shop.kinds(&charge.id),
            ["charge.initiated", "charge.mismatch", "charge.unresolved"]
        );
        in_progress(shop.pay(&session), &charge);
        let once = standing(&shop, &session);
        for said in [
            taken,
            declined("insufficient_funds", "Not enough money."),
            not_sent(),
            unknown(),
            pending("p_1"),
            requires_action(),
            authorized(),
        ] {
            shop.engine.settle(&ask, &Answer::Executed(said.clone())).unwrap();
            assert_eq!(standing(&shop, &session), once, "{said:?}");
        }
        // Nor does a look-up that was under way end it.
        shop.clock.turn(2 * DAY);
        assert_eq!(shop.run().looked_up, 0);
        assert_eq!(standing(&shop, &session), once);
        shop.clean();
    };
    check(succeeded(euro(PRICE + 1)));
    check(succeeded(euro(PRICE - 1)));
    check(succeeded(euro(0)));
    check(succeeded(dollars));
    check(held_dollars);
}

#[test]
fn a_panic_of_the_processor_is_no_answer_and_harms_nobody() {
    // While executing, before or after the charge.
    for (charges, ends) in [(false, ChargeState::Failed), (true, ChargeState::Succeeded)] {
        let till = Till::new();
        let shop = shop_with(
            till.clone(),
            Parts {
                execute: Box::new(move |till, request| {
                    if charges {
                        till.execute(request, Timestamp::MAX);
                    }
                    panic!("in execute")
                }),
                ..Parts::of(&till)
            },
        );
        let session = shop.session("u_1");
        let charge = shop.pay(&session).unwrap().charge.unwrap();
        assert_eq!(charge.state, ChargeState::Unknown);
        shop.clock.turn(Duration::from_secs(3_600));
        shop.run();
        assert_eq!(self::charge(&shop, &session).state, ends);
        assert_eq!(shop.till.charges().len(), usize::from(charges));
        shop.clean();
    }
    // While being looked up: nothing was learned.
    let till = Till::new();
    let parts = Parts {
        lookup: Box::new(|_, _| panic!("in lookup")),
        ..Parts::of(&till)
    };
    let shop = shop_with(till, parts);
    let session = shop.session("u_1");
    shop.till.tell(Told::TakeAndLose);
    shop.pay(&session).unwrap();
    shop.clock.turn(Duration::from_secs(3_600));
    assert_eq!(shop.run().looked_up, 1);
    assert_eq!(charge(&shop, &session).state, ChargeState::Unknown);
    shop.clean();
}

#[test]
fn capabilities_that_panic_for_a_while_only_put_the_look_ups_off() {
    let till = Till::new();
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let seen = Arc::clone(&broken);
    let parts = Parts {
        capabilities: Box::new(move |till| {
            assert!(!seen.load(std::sync::atomic::Ordering::SeqCst), "in capabilities");
            till.capabilities()
        }),
        ..Parts::of(&till)
    };
    let shop = shop_with(till, parts);
    let session = shop.session("u_1");
    shop.till.tell(Told::TakeAndLose);
    assert_eq!(shop.pay(&session).unwrap().charge.unwrap().state, ChargeState::Unknown);
    shop.run();
    assert_eq!(charge(&shop, &session).state, ChargeState::Unknown);
    assert_eq!(shop.till.looked_up(), 0);
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    shop.clock.turn(DAY);
    shop.run();
    assert_eq!(shop.read(&session).state, SessionState::Complete);
    assert_eq!(shop.till.charges().len(), 1);
    shop.clean();
}

#[test]
fn two_processors_of_a_mode_have_two_names() {
    let till = Till::new();
    let twice = || Engine::builder().processor("till", till.clone());
    let error = twice().processor("till", till.clone()).open_in_memory().unwrap_err();
    assert_eq!(error.field(), Some("processor"));
    twice().test_processor("till", till.clone()).open_in_memory().unwrap();
}

#[test]
fn without_its_processor_a_payment_is_refused_before_anything_is_written() {
    type Rule = Option<fn(&RouteInput) -> String>;
    let check = |rule: Rule, name: &str| {
        let clock = ManualClock::new();
        let mut setup = Engine::builder().clock(clock.clone());
        if let Some(rule) = rule {
            setup = setup.processor("till", Till::new()).route(rule);
        }
        let engine = setup.open_in_memory().unwrap();
        let shop = Shop::with(engine, Mode::Live, clock, Till::new(), Receiver::new());
        let session = shop.session("u_1");
        let before = shop.engine.dump().unwrap();
        let refused = shop.pay(&session).unwrap_err();
        let name = name.to_owned();
        assert_eq!(refused, Error::NoProcessor { name, mode: "live" });
        assert_eq!(shop.engine.dump().unwrap(), before);
        shop.clean();
    };
    check(None, "");
    check(Some(|_| "elsewhere".to_owned()), "elsewhere");
    check(Some(|_| panic!("in route")), "");
}

#[test]
fn live_money_needs_a_processor_that_can_resolve_a_lost_answer() {
    let keys = || Capabilities::new().idempotency_window(DAY);
    let check = |mode: Mode, capabilities: Capabilities, accepted: bool, pays: bool| {
        let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
        till.set_capabilities(capabilities);
        let mut setup = builder(&clock, &till, &receiver);
        if accepted {
            setup = setup.accept_manual_resolution("till");
        }
        let engine = setup.open_in_memory().unwrap();
        let shop = Shop::with(engine, mode, clock, till, receiver);
        let session = shop.session("u_1");
        let before = shop.engine.dump().unwrap();
        match shop.pay(&session) {
            Ok(payment) => assert!(pays && payment.is_complete()),
            Err(refused) => {
                let name = "till".to_owned();
                assert_eq!(refused, Error::UnsafeProcessor { name });
                assert!(!pays);
                assert_eq!(shop.engine.dump().unwrap(), before);
                assert_eq!(shop.till.requests(), []);
            }
        }
        shop.clean();
    };
    check(Mode::Live, Capabilities::new(), false, false);
    check(Mode::Live, Capabilities::new(), true, true);
    // A key alone tells a repetition from a second payment, not what became of the first.
    check(Mode::Live, keys(), false, false);
    check(Mode::Live, Capabilities::new().lookup(), false, true);
    check(Mode::Test, Capabilities::new(), false, true);
}

#[test]
fn without_look_ups_a_lost_answer_is_a_case_for_a_human_at_once() {
    let shop = Shop::open();
    shop.till.set_capabilities(Capabilities::new().idempotency_window(DAY));
    let session = shop.session("u_1");
    shop.till.tell(Told::TakeAndLose);
    let charge = shop.pay(&session).unwrap().charge.unwrap();
    assert_eq!(
        shop.kinds(&charge.id),
        ["charge.initiated", "charge.unknown", "charge.unresolved"]
    );
    shop.clock.turn(365 * DAY);
    assert_eq!(shop.run().looked_up, 0);
    assert_eq!(shop.engine.health().unwrap().unresolved_charges, 1);
    in_progress(shop.pay(&session), &self::charge(&shop, &session));
    shop.clean();
}

#[test]
fn the_rule_chooses_the_processor_and_the_charge_stays_with_it() {
    let (clock, first, second) = (ManualClock::new(), Till::new(), Till::new());
    let engine = Engine::builder()
        .clock(clock.clone())
        .test_processor("first", first.clone())
        .test_processor("second", second.clone())
        .route(|input| {
            assert_eq!((input.app.as_str(), input.mode), ("lixblogs", Mode::Test));
            let chosen = if input.amount == euro(PRICE) { "second" } else { "first" };
            chosen.to_owned()
        })
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, first.clone(), Receiver::new());
    let session = shop.session("u_1");
    second.tell(Told::TakeAndLose);
    let charge = shop.pay(&session).unwrap().charge.unwrap();
    assert_eq!(charge.processor, "second");
    shop.run();
    assert_eq!(shop.read(&session).state, SessionState::Complete);
    let looked_up = (first.looked_up(), second.looked_up());
    assert_eq!(
        (first.charges().len(), second.charges().len(), looked_up),
        (0, 1, (0, 1))
    );
    let cheap = NewSession::empty().line(NewLine::inline("A pen", euro(1_00)));
    let cheap = shop.app.sessions().create(cheap).unwrap();
    assert_eq!(shop.pay(&cheap).unwrap().charge.unwrap().processor, "first");
    shop.clean();
}

#[test]
fn a_process_without_the_processor_leaves_the_attempt_to_one_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let (clock, ours, other) = (ManualClock::new(), Till::new(), Till::new());
    let selling = shop_on(&path, &clock, &[("ours", &ours)]);
    let (lost, asked) = (selling.session("u_1"), selling.session("u_2"));
    ours.tell(Told::TakeAndLose);
    selling.pay(&lost).unwrap();
    let ask = begin(&selling, &asked);

    let without = shop_on(&path, &clock, &[("other", &other)]);
    clock.turn(DAY / 2);
    let ran = without.run();
    assert_eq!((ran.recovered, ran.looked_up), (1, 0));
    assert_eq!(without.engine.claim_asks(10).unwrap().len(), 0);
    assert_eq!(other.looked_up(), 0);
    for session in [&lost, &asked] {
        let charge = charge(&without, session);
        assert_eq!(
            (charge.state, charge.processor.as_str()),
            (ChargeState::Unknown, "ours")
        );
        in_progress(without.pay(session), &charge);
    }
    assert_eq!(without.engine.health().unwrap().unresolved_charges, 0);

    // The one that has it resolves both: one was charged, the other never arrived.
    clock.turn(DAY / 4);
    assert_eq!(selling.run().looked_up, 2);
    assert_eq!(without.read(&lost).state, SessionState::Complete);
    assert_eq!(without.read(&asked).state, SessionState::Open);
    assert_eq!(ask.processor, "ours");
    selling.clean();
}

#[test]
fn a_request_is_frozen_and_its_key_belongs_to_its_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let (clock, till) = (ManualClock::new(), Till::new());
    let shop = shop_on(&path, &clock, &[("till", &till)]);
    let stored = |shop: &Shop| -> Vec<String> {
        let dump = shop.engine.dump().unwrap();
        let attempts = dump.lines().filter(|line| line.starts_with("tillite_attempt "));
        let field = |line: &str, name: &str| {
            let from = line.find(name).unwrap() + name.len();
            line[from..].split(' ').next().unwrap().to_owned()
        };
        attempts
            .map(|line| field(line, " request=") + &field(line, " request_hash="))
            .collect()
    };
    let session = shop.session("u_1");
    let payment = NewPayment::with("tok_1").context("order 7");
    let Begun::Ask(first) = shop.app.sessions().begin_payment(&session.id, payment).unwrap() else {
        panic!("nothing to ask");
    };
    let request = first.request.clone();
    let frozen = stored(&shop);
    assert_eq!((first.kind, frozen.len()), (AskKind::Execute, 1));
    assert_eq!(
        (request.amount, request.currency.as_str(), request.exponent),
        (PRICE, "EUR", 2)
    );
    assert_eq!(
        (request.session.as_str(), request.mode.as_str()),
        (session.id.as_str(), "test")
    );
    assert_eq!(
        (request.method.as_deref(), request.context.as_deref()),
        (Some("tok_1"), Some("order 7"))
    );

    // A change of the catalogue, the answer, and another process change nothing about it.
    let price = NewPrice::new("member", euro(1_00));
    shop.app.catalog().set_price(price).unwrap();
    shop.engine.settle(&first, &Answer::Executed(unknown())).unwrap();
    let again = shop_on(&path, &clock, &[("till", &till)]);
    let looked_up = again.engine.claim_asks(1).unwrap().remove(0);
    assert_eq!((looked_up.kind, &looked_up.request), (AskKind::LookUp, &request));
    assert_eq!(stored(&again), frozen);
    let found = Answer::LookedUp(Lookup::Found(declined("insufficient_funds", "Not enough money.")));
    again.engine.settle(&looked_up, &found).unwrap();

    // The next attempt is another one, with a key of its own.
    let second = begin(&again, &session).request;
    assert_ne!(second.attempt, request.attempt);
    assert_ne!(second.idempotency_key, request.idempotency_key);
    assert_eq!(stored(&again).len(), 2);
    assert!(stored(&again).contains(&frozen[0]));
    shop.clean();
}

#[test]
fn no_two_attempts_share_a_key() {
    let shop = Shop::open();
    let mut keys = BTreeSet::new();
    for buyer in 0..5 {
        let session = shop.session(&format!("u_{buyer}"));
        for _ in 0..5 {
            shop.till.answer(declined("insufficient_funds", "Not enough money."));
            shop.pay(&session).unwrap();
        }
    }
    let requests = shop.till.requests();
    keys.extend(requests.iter().map(|request| request.idempotency_key.clone()));
    assert_eq!((keys.len(), requests.len()), (25, 25));
}

#[test]
fn after_fifty_attempts_a_session_is_not_tried_again() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    for _ in 0..50 {
        shop.till.answer(declined("insufficient_funds", "Not enough money."));
        shop.pay(&session).unwrap();
    }
    let before = shop.engine.dump().unwrap();
    assert!(matches!(shop.pay(&session), Err(Error::Refused(_))));
    assert_eq!(shop.engine.dump().unwrap(), before);
    assert_eq!(shop.till.requests().len(), 50);
    shop.clean();
}

#[test]
fn the_hooks_may_call_back_into_the_engine() {
    let till = Till::new();
    let engine: Arc<std::sync::OnceLock<Engine>> = Arc::default();
    let call_back = {
        let engine = Arc::clone(&engine);
        move |session: &str| {
            let app = engine.get().unwrap().find_app("lixblogs", Mode::Test).unwrap();
            let id = tillite::SessionId::parse(session).unwrap();
            let read = app.sessions().get(&id).unwrap();
            assert_eq!(read.state, SessionState::Processing);
            let again = app.sessions().pay(&id, "tok_2");
            assert!(matches!(again, Err(Error::PaymentInProgress { .. })), "{again:?}");
            let other = NewSession::empty().line(NewLine::inline("A gift", euro(0)));
            let other = app.sessions().create(other).unwrap();
            assert!(app.sessions().pay(&other.id, "tok_3").unwrap().is_complete());
            engine
                .get()
                .unwrap()
                .run_due(Budget::items(10).work(Work::TIME))
                .unwrap();
        }
    };
    let (executing, looking_up) = (call_back.clone(), call_back);
    let parts = Parts {
        lookup: Box::new(move |till, key| {
            looking_up(&key.request.session);
            till.lookup(key)
        }),
        ..Parts::of(&till)
    };
    let shop = shop_with(till, parts);
    assert!(engine.set(shop.engine.clone()).is_ok());
    // An assertion that fails in a hook is a panic there, which counts as no answer; so nothing
    // less than completion will do.
    let (first, second) = (shop.session("u_1"), shop.session("u_2"));
    let id = first.id.to_string();
    shop.till.tell(Told::Meanwhile(Box::new(move || executing(&id))));
    assert!(shop.pay(&first).unwrap().is_complete());
    shop.till.tell(Told::TakeAndLose);
    assert_eq!(shop.pay(&second).unwrap().charge.unwrap().state, ChargeState::Unknown);
    shop.run();
    assert_eq!(shop.read(&second).state, SessionState::Complete);
    let all = shop.app.sessions().list(100, None).unwrap().data;
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(Session::is_complete));
    shop.clean();
}

#[test]
fn a_total_of_zero_completes_at_pay_and_asks_nobody() {
    let check = |new: NewSession, version: i64| {
        let shop = Shop::open();
        let free = NewPrice::new("gift", euro(0));
        shop.app
            .catalog()
            .set(NewProduct::new("gift", "A gift").price(free))
            .unwrap();
        let session = shop.app.sessions().create(new.customer("u_1")).unwrap();
        assert_eq!(session.state, SessionState::Open);
        let payment = shop.pay(&session).unwrap();
        assert!(payment.is_complete());
        assert_eq!((payment.charge, &payment.session.payment_intent), (None, &None));
        assert_eq!(payment.session.payment_status(), "no_payment_required");
        assert_eq!(payment.session, shop.read(&session));
        assert_eq!(
            shop.kinds(&session.id),
            ["checkout.session.created", "checkout.session.completed"]
        );
        assert_eq!(shop.app.entitlements().get("u_1").unwrap().version, version);
        // Again, and nothing more happens.
        let head = shop.app.journal_head().unwrap();
        assert_eq!(shop.pay(&session).unwrap().session, payment.session);
        assert_eq!(shop.app.journal_head().unwrap(), head);
        assert_eq!(shop.till.requests(), []);
        shop.clean();
    };
    check(NewSession::tier("gift", Currency::EUR), 1);
    check(NewSession::empty().line(NewLine::inline("A hug", euro(0))), 0);
}

#[test]
fn a_session_without_lines_is_not_paid() {
    let shop = Shop::open();
    let session = shop.app.sessions().create(NewSession::empty()).unwrap();
    let before = shop.engine.dump().unwrap();
    assert!(matches!(shop.pay(&session), Err(Error::Refused(_))));
    assert_eq!(shop.engine.dump().unwrap(), before);
    shop.clean();
}

#[test]
fn the_beats_by_hand_write_what_pay_and_run_due_write() {
    let check = |first: Outcome, found: Option<Lookup>| {
        let (hooked, by_hand) = (Shop::open(), Shop::open());
        let session = hooked.session("u_1");
        assert_eq!(by_hand.session("u_1"), session);

        hooked.till.answer(first.clone());
        let paid = hooked.pay(&session).unwrap();
        let ask = begin(&by_hand, &session);
        let settled = by_hand.engine.settle(&ask, &Answer::Executed(first.clone())).unwrap();
        let settled = settled.payment().unwrap();
        assert_eq!(settled, paid, "{first:?}");
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
            let work = Work::PAYMENTS;
            assert_eq!(hooked.engine.run_due(Budget::items(1).work(work)).unwrap().looked_up, 1);
            let ask = by_hand.engine.claim_asks(1).unwrap().remove(0);
            by_hand.engine.settle(&ask, &Answer::LookedUp(found.clone())).unwrap();
            assert_eq!(
                by_hand.engine.dump().unwrap(),
                hooked.engine.dump().unwrap(),
                "{found:?}"
            );
        }
        assert_eq!(by_hand.till.requests(), []);
        by_hand.clean();
    };
    check(succeeded(euro(PRICE)), None);
    check(declined("insufficient_funds", "Not enough money."), None);
    check(not_sent(), None);
    check(authorized(), None);
    check(succeeded(euro(1)), None);
    check(unknown(), Some(cannot_tell()));
    check(unknown(), Some(Lookup::NotFound));
    check(unknown(), Some(Lookup::Found(succeeded(euro(PRICE)))));
    check(
        pending("p_1"),
        Some(Lookup::Found(declined("insufficient_funds", "Not enough money."))),
    );
    check(requires_action(), Some(Lookup::Found(pending("p_1"))));
}

#[test]
fn an_ask_that_is_never_settled_becomes_unknown_when_its_lease_ends() {
    // The lease is the call's own timeout and ten seconds; the test clock does not move it.
    let check = |timeout: Option<Duration>, call: Duration| {
        let shop = Shop::open();
        let almost = call + Duration::from_millis(9_999);
        if let Some(timeout) = timeout {
            let mut known = shop.till.capabilities();
            known.call_timeout = timeout;
            shop.till.set_capabilities(known);
        }
        let session = shop.session("u_1");
        let ask = begin(&shop, &session);
        let now = tillite::Clock::now(&shop.clock);
        assert_eq!(ask.deadline, now.plus(call));
        shop.app.advance(365 * DAY).unwrap();
        shop.clock.turn(almost);
        assert_eq!(shop.run().recovered, 0);
        assert_eq!(charge(&shop, &session).state, ChargeState::Initiated);
        shop.clock.turn(Duration::from_millis(1));
        assert_eq!(shop.run().recovered, 1);
        assert_eq!(charge(&shop, &session).state, ChargeState::Unknown);
        // The answer may still come: it is evidence like any other.
        let paid = shop
            .engine
            .settle(&ask, &Answer::Executed(succeeded(euro(PRICE))))
            .unwrap();
        assert!(paid.payment().unwrap().is_complete());
        shop.clean();
    };
    let seconds = Duration::from_secs;
    check(None, seconds(30));
    check(Some(seconds(5)), seconds(5));
    check(Some(seconds(600)), seconds(600));
    // A call takes a second at least and ten minutes at most, whatever the processor says.
    check(Some(seconds(0)), seconds(1));
    check(Some(seconds(3_600)), seconds(600));
    check(Some(Duration::MAX), seconds(600));
}

/// Randomness during whose drawing ten minutes pass, once it is told: the process was put to sleep.
#[derive(Clone)]
struct Stalling(ManualClock, Arc<std::sync::atomic::AtomicBool>);

impl tillite::Entropy for Stalling {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), tillite::EntropyFailed> {
        if self.1.swap(false, std::sync::atomic::Ordering::SeqCst) {
            self.0.turn(Duration::from_secs(600));
        }
        tillite::SystemEntropy::new().fill(bytes)
    }
}

#[test]
fn a_call_whose_time_is_over_before_it_is_made_is_not_made() {
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let stall = Stalling(clock.clone(), Arc::default());
    till.set_capabilities(Capabilities::new().lookup().not_found_final_after(Duration::ZERO));
    let engine = builder(&clock, &till, &receiver)
        .entropy(stall.clone())
        .open_in_memory()
        .unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    let session = shop.session("u_1");
    // Were the call made now, somebody else could have found the lease ended and the service
    // without the payment, and the buyer could have paid again.
    let (engine, app, id) = (shop.engine.clone(), shop.app.clone(), session.id.clone());
    shop.till.tell(Told::Meanwhile(Box::new(move || {
        engine.run_due(Budget::items(10)).unwrap();
        assert!(app.sessions().pay(&id, "tok_2").unwrap().is_complete());
    })));
    stall.1.store(true, std::sync::atomic::Ordering::SeqCst);
    let late = shop.pay(&session).unwrap();
    assert_eq!(shop.till.charges().len(), 0, "nobody was asked");
    assert_eq!(late.charge.unwrap().failure.unwrap().code, "not_sent");
    shop.till.untell();
    assert!(shop.pay(&session).unwrap().is_complete());
    assert_eq!(shop.till.charges().len(), 1);
    shop.clean();
}

#[test]
fn an_answer_that_comes_twice_or_says_less_changes_nothing() {
    let check = |first: Outcome, then: &[Outcome]| {
        let shop = Shop::open();
        let session = shop.session("u_1");
        let ask = begin(&shop, &session);
        shop.engine.settle(&ask, &Answer::Executed(first.clone())).unwrap();
        let once = standing(&shop, &session);
        for said in [&first, &first].into_iter().chain(then) {
            let answer = shop.engine.settle(&ask, &Answer::Executed(said.clone())).unwrap();
            assert_eq!(standing(&shop, &session), once, "{first:?}, then {said:?}");
            assert_eq!(answer.payment().unwrap().session, once.0);
        }
        shop.clean();
    };
    let paid = || succeeded(euro(PRICE));
    check(
        paid(),
        &[
            declined("insufficient_funds", "Not enough money."),
            not_sent(),
            unknown(),
            pending("p_1"),
            requires_action(),
        ],
    );
    check(
        declined("insufficient_funds", "Not enough money."),
        &[unknown(), pending("p_1"), requires_action(), not_sent()],
    );
    check(
        not_sent(),
        &[unknown(), declined("insufficient_funds", "Not enough money.")],
    );
    check(pending("p_1"), &[unknown(), requires_action()]);
    check(requires_action(), &[unknown()]);
    check(authorized(), &[unknown(), pending("p_1")]);
    check(unknown(), &[]);
}

#[test]
fn an_answer_that_was_lost_with_its_process_is_looked_up_by_the_next() {
    // The engine goes away between the commit of the attempt and the answer; whether the charge
    // was made decides, not how much time passed.
    for charged in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.db");
        let (clock, till) = (ManualClock::new(), Till::new());
        let shop = shop_on(&path, &clock, &[("till", &till)]);
        let session = shop.session("u_1");
        let ask = begin(&shop, &session);
        if charged {
            till.execute(&ask.request, ask.deadline);
        }
        drop(shop);
        // Before the lease ends somebody else may still be waiting for the answer.
        clock.turn(Duration::from_secs(39));
        let shop = shop_on(&path, &clock, &[("till", &till)]);
        assert_eq!(charge(&shop, &session).state, ChargeState::Initiated);
        drop(shop);
        clock.turn(Duration::from_secs(1));
        let shop = shop_on(&path, &clock, &[("till", &till)]);
        assert_eq!(charge(&shop, &session).state, ChargeState::Unknown);
        assert_eq!(till.looked_up(), 0);
        clock.turn(DAY / 2);
        shop.run();
        let read = shop.read(&session);
        if charged {
            assert_eq!(read.state, SessionState::Complete);
        } else {
            assert_eq!(read.state, SessionState::Open);
            assert!(shop.pay(&session).unwrap().is_complete());
        }
        assert_eq!(till.charges().len(), 1);
        clean(&shop.engine);
    }
}
