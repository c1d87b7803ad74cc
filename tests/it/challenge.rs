//! 3-D Secure in the sandbox: what becomes of a payment when the buyer answers, or does not.

use std::time::Duration;

use tillite::sandbox::{self, Challenge, card};
use tillite::testing::{FakeProcessor, ManualClock, Told};
use tillite::{
    Action, Advice, App, Begun, Budget, ChargeState, Currency, Engine, Error, Expect, Mode, NewCustomer, NewLine,
    NewPrice, NewSession, NewSetup, NotificationState, Payment, Request, Session, SessionId, SessionState, SetupState,
};

use crate::kit::euro;

struct Page {
    engine: Engine,
    app: App,
    clock: ManualClock,
}

impl Page {
    fn open() -> Page {
        let clock = ManualClock::new();
        let engine = Engine::builder().clock(clock.clone()).open_in_memory().unwrap();
        let app = engine.app("shop", Mode::Test).unwrap();
        app.catalog().set_price(NewPrice::new("member", euro(12_00))).unwrap();
        Page { engine, app, clock }
    }

    /// A session that waits for the buyer.
    fn asked(&self, later: bool) -> Session {
        let new = NewSession::tier("member", Currency::EUR).customer("u_1");
        let new = if later { new.capture_later() } else { new };
        let session = self.app.sessions().create(new).unwrap();
        let asked = self.pay(&session, card::CHALLENGE);
        let charge = asked.charge.unwrap();
        assert_eq!(charge.state, ChargeState::RequiresAction);
        assert_eq!(charge.action, Some(Action::Client(card::CHALLENGE.to_owned())));
        assert_eq!(asked.session.state, SessionState::Processing);
        asked.session
    }

    fn pay(&self, session: &Session, method: &str) -> Payment {
        self.app.sessions().pay(&session.id, method).unwrap()
    }

    fn answer(&self, session: &Session, answer: Challenge) -> Payment {
        self.app.sessions().answer_challenge(&session.id, answer).unwrap()
    }

    fn clean(&self) {
        assert!(self.engine.verify(&Expect::nothing()).unwrap().is_clean());
    }
}

fn state(payment: &Payment) -> ChargeState {
    payment.charge.as_ref().unwrap().state
}

#[test]
fn an_approved_challenge_settles_the_payment_as_any_notification_does() {
    let page = Page::open();
    let session = page.asked(false);
    let paid = page.answer(&session, Challenge::Approve);
    assert!(paid.is_complete());
    assert_eq!(state(&paid), ChargeState::Succeeded);
    assert!(page.app.entitlements().get("u_1").unwrap().active);
    let charge = paid.charge.unwrap().id;
    let history = page.app.history(charge.as_str(), 100, 0).unwrap().data;
    let last = history.last().unwrap();
    assert_eq!(
        (last.cause.as_str(), last.actor.as_str()),
        ("settle.notification", "processor:sandbox")
    );
    let notices = page.app.notifications().list(100, None).unwrap().data;
    let states: Vec<_> = notices.iter().map(|notice| notice.state).collect();
    assert_eq!(states, [NotificationState::Applied]);
    page.clean();
}

#[test]
fn a_failed_challenge_says_so_and_the_buyer_can_pay_again() {
    let page = Page::open();
    for later in [false, true] {
        let session = page.asked(later);
        let failed = page.answer(&session, Challenge::Fail);
        assert_eq!(
            (state(&failed), failed.session.state),
            (ChargeState::Failed, SessionState::Open)
        );
        let failure = failed.charge.unwrap().failure.unwrap();
        assert_eq!(failure.code, "authentication_failed");
        assert_eq!(failure.advice, Some(Advice::OtherMethod));
        // Again with the same card, and with another one.
        page.pay(&session, card::CHALLENGE);
        page.answer(&session, Challenge::Fail);
        let paid = page.pay(&session, card::APPROVED);
        assert_eq!(paid.is_complete(), !later);
        page.clean();
    }
}

#[test]
fn an_approved_challenge_holds_what_is_taken_later() {
    let page = Page::open();
    let [taken, free] = [page.asked(true), page.asked(true)];
    for session in [&taken, &free] {
        assert_eq!(
            state(&page.answer(session, Challenge::Approve)),
            ChargeState::Authorized
        );
    }
    let paid = page.app.sessions().capture(&taken.id, None).unwrap();
    assert!(paid.is_complete());
    let void = page.app.sessions().void(&free.id).unwrap();
    assert_eq!(state(&void), ChargeState::Voided);
    page.clean();
}

#[test]
fn the_first_answer_stands() {
    let page = Page::open();
    for (first, second) in [
        (Challenge::Approve, Challenge::Fail),
        (Challenge::Fail, Challenge::Approve),
    ] {
        let session = page.asked(false);
        let answered = page.answer(&session, first);
        let before = page.engine.dump().unwrap();
        assert_eq!(page.answer(&session, second), answered);
        assert_eq!(page.answer(&session, first), answered);
        assert_eq!(page.engine.dump().unwrap(), before);
    }
    // Where nothing was asked, there is nothing to answer.
    let new = NewSession::tier("member", Currency::EUR);
    let open = page.app.sessions().create(new).unwrap();
    let answered = page.answer(&open, Challenge::Approve);
    assert_eq!((answered.session.state, answered.charge), (SessionState::Open, None));
}

#[test]
fn a_challenge_that_nobody_answers_is_called_off_and_an_answer_comes_too_late() {
    let page = Page::open();
    let session = page.asked(false);
    page.engine.run_due(Budget::items(100)).unwrap();
    assert_eq!(
        page.app.sessions().get(&session.id).unwrap().state,
        SessionState::Processing
    );
    page.clock.turn(Duration::from_secs(15 * 60 + 1));
    for _ in 0..2 {
        page.engine.run_due(Budget::items(100)).unwrap();
    }
    let late = page.answer(&session, Challenge::Approve);
    assert_eq!(
        (state(&late), late.session.state),
        (ChargeState::Failed, SessionState::Open)
    );
    assert!(page.pay(&session, card::APPROVED).is_complete());
    let again = page.asked(false);
    let given_up = page.app.sessions().cancel_payment(&again.id).unwrap();
    assert_eq!(given_up.session.state, SessionState::Open);
    page.clean();
}

#[test]
fn real_money_and_other_processors_have_no_such_challenge() {
    let till = FakeProcessor::new();
    let engine = Engine::builder()
        .processor("till", till.clone())
        .test_processor("till", till.clone())
        .open_in_memory()
        .unwrap();
    for (mode, expected) in [(Mode::Live, "live"), (Mode::Test, "another processor's")] {
        let app = engine.app("shop", mode).unwrap();
        let line = NewLine::inline("A pen", euro(1_00));
        let session = app.sessions().create(NewSession::empty().line(line)).unwrap();
        till.tell(Told::AskBuyer);
        app.sessions().pay(&session.id, "tok_1").unwrap();
        let error = app
            .sessions()
            .answer_challenge(&session.id, Challenge::Approve)
            .unwrap_err();
        match error {
            Error::Refused(refused) => assert_eq!((refused.object, refused.state), ("challenge", expected)),
            other => panic!("{other:?}"),
        }
        let after = app.sessions().get(&session.id).unwrap();
        assert_eq!(after.state, SessionState::Processing);
    }
}

#[test]
fn what_does_not_come_from_the_sandbox_is_refused() {
    let page = Page::open();
    let session = page.asked(false);
    let declined = page
        .app
        .sessions()
        .create(NewSession::tier("member", Currency::EUR))
        .unwrap();
    page.pay(&declined, card::DECLINED);
    let before = page.engine.dump().unwrap();
    for body in ["", "{}", "challenge=approve", r#"{"challenge":"approve"}"#] {
        let error = page
            .app
            .notifications()
            .receive("sandbox", &[], body.as_bytes())
            .unwrap_err();
        assert!(matches!(error, Error::NotificationRefused { .. }), "{error:?}");
    }
    assert_eq!(page.engine.dump().unwrap(), before);
    assert!(page.answer(&session, Challenge::Approve).is_complete());
}

#[test]
fn a_challenge_about_a_setup_is_answered_as_well() {
    let page = Page::open();
    let customer = page.app.customers().set(NewCustomer::uid("u_1")).unwrap().id;
    let asked = || {
        let new = NewSetup::new(&customer, Currency::EUR).method(card::CHALLENGE);
        let setup = page.app.setups().create(new).unwrap();
        assert_eq!(setup.state, SetupState::RequiresAction);
        setup.id
    };
    let answered = |id, answer| page.app.setups().answer_challenge(id, answer).unwrap();
    let setup = asked();
    let saved = answered(&setup, Challenge::Approve);
    assert_eq!(saved.state, SetupState::Succeeded);
    assert!(saved.method.is_some());
    assert_eq!(answered(&setup, Challenge::Fail), saved, "it was answered");
    let failed = answered(&asked(), Challenge::Fail);
    assert_eq!(
        (failed.state, failed.failure.unwrap().code.as_str()),
        (SetupState::Failed, "authentication_failed")
    );
    page.clean();
}

/// What the sandbox posts when the challenge of a request was answered so.
fn post(answer: &str, request: &Request) -> Vec<u8> {
    let request = serde_json::to_string(request).unwrap();
    format!(r#"{{"challenge":"{answer}","request":{request}}}"#).into_bytes()
}

/// A payment whose call is in flight.
fn begun(app: &App) -> (SessionId, Request) {
    let line = NewLine::inline("A pen", euro(1_00));
    let session = app.sessions().create(NewSession::empty().line(line)).unwrap();
    match app.sessions().begin_payment(&session.id, card::CHALLENGE).unwrap() {
        Begun::Ask(ask) => (session.id, ask.request.clone()),
        Begun::Done(payment) => panic!("{payment:?}"),
    }
}

#[test]
fn of_two_answers_at_the_same_moment_the_one_that_was_stored_first_stands() {
    for (answers, expected) in [
        (["fail", "approve"], SessionState::Open),
        (["approve", "fail"], SessionState::Complete),
    ] {
        let page = Page::open();
        let (session, request) = begun(&page.app);
        for answer in answers {
            let body = post(answer, &request);
            page.app.notifications().receive("sandbox", &[], &body).unwrap();
        }
        page.clock.turn(Duration::from_secs(60));
        page.engine.run_due(Budget::items(10)).unwrap();
        let after = page.app.sessions().get(&session).unwrap();
        assert_eq!(after.state, expected, "{answers:?}");
        let charges = after.payment_intent.unwrap().charges;
        assert_eq!(charges.len(), 1);
        assert_eq!(charges[0].refund_reserved, 0, "nothing came late");
        page.clean();
    }
}

#[test]
fn the_sandbox_never_moves_real_money_whatever_a_post_says_of_its_mode() {
    let engine = Engine::builder()
        .processor("sandbox", sandbox::Sandbox)
        .open_in_memory()
        .unwrap();
    let app = engine.app("shop", Mode::Live).unwrap();
    let (session, mut request) = begun(&app);
    assert_eq!(request.mode, "live");
    for mode in ["live", "test"] {
        request.mode = mode.to_owned();
        let body = post("approve", &request);
        let refused = app.notifications().receive("sandbox", &[], &body).unwrap_err();
        assert!(matches!(refused, Error::NotificationRefused { .. }), "{refused:?}");
    }
    assert_eq!(app.sessions().get(&session).unwrap().state, SessionState::Processing);
}
