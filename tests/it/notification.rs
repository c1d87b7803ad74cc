//! What a payment service says by itself is stored before it is answered, each thing once, and applied
//! later, in order, as evidence like any other: what is older or weaker than what is known moves nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tillite::{
    Action, Alarm, Answer, Ask, Begun, Capabilities, Charge, ChargeState, Currency, DisputeState, Error, Hold, Lookup,
    LookupKey, NewCustomer, NewSetup, Notice, NoticeKind, Notification, NotificationKind, NotificationState, Outcome,
    Post, Processor, Reception, RefundSource, RefundState, Reply, Request, Result, Session, SessionState, Timestamp,
    WhatNow,
};

use crate::file::{Disk, sql};
use crate::kit::{ManualClock, Shop, Told, declined, euro, locked, pending, unknown};

const PRICE: i64 = 199_00;
const DAY: Duration = Duration::from_secs(86_400);
/// Longer than the lease of a call.
const LEASE: Duration = Duration::from_secs(41);

pub fn evidence(id: &str, outcome: Outcome) -> Notice {
    Notice::new(id, NoticeKind::Evidence(outcome))
}

pub fn paid(reference: &str) -> Outcome {
    Outcome::succeeded(reference, euro(PRICE))
}

fn canceled() -> Outcome {
    Outcome::Canceled {
        why: "the page was closed".to_owned(),
    }
}

impl Shop {
    /// The service posts this to the host.
    pub fn hears(&self, notice: Notice) {
        let posted = self.till.post([notice]);
        let reply = self
            .app
            .notifications()
            .receive("till", &posted.headers(), &posted.body)
            .unwrap();
        assert_eq!(reply, Reply::ok());
    }

    /// All notices, oldest first.
    pub fn notices(&self) -> Vec<Notification> {
        let page = self.app.notifications().list(100, None).unwrap();
        assert!(!page.has_more);
        page.data.into_iter().rev().collect()
    }

    pub fn states(&self) -> Vec<NotificationState> {
        self.notices().into_iter().map(|notice| notice.state).collect()
    }

    /// A payment whose call is in flight.
    fn begun(&self, uid: &str) -> (Session, Ask) {
        let session = self.session(uid);
        match self.app.sessions().begin_payment(&session.id, "tok_1").unwrap() {
            Begun::Ask(ask) => (session, *ask),
            Begun::Done(payment) => panic!("{payment:?}"),
        }
    }

    /// A payment of which the answer was this.
    pub fn answered(&self, uid: &str, outcome: Outcome) -> (Session, Ask) {
        let (session, ask) = self.begun(uid);
        self.engine.settle(&ask, &Answer::Executed(outcome)).unwrap();
        (session, ask)
    }

    pub fn newest_charge(&self, session: &Session) -> Charge {
        let intent = self.read(session).payment_intent.unwrap();
        intent.charges.last().cloned().unwrap()
    }
}

fn action() -> Outcome {
    Outcome::RequiresAction {
        reference: "pi_1".to_owned(),
        action: Action::Redirect("https://bank.example/3ds".to_owned()),
        within: Duration::from_secs(900),
    }
}

#[test]
fn what_is_not_the_services_is_refused_and_nothing_of_it_is_stored() {
    let shop = Shop::open();
    let (_, ask) = shop.begun("u_1");
    let posted = shop
        .till
        .post([evidence("n_1", paid("pi_1")).attempt(&ask.request.attempt)]);
    let before = shop.engine.dump().unwrap();
    let receive = |processor: &str, headers: &[(&str, &str)], body: &[u8]| {
        shop.app.notifications().receive(processor, headers, body).unwrap_err()
    };
    for headers in [&[][..], &[("till-signature", "forged")]] {
        let refused = receive("till", headers, &posted.body);
        assert!(
            matches!(&refused, Error::NotificationRefused { processor, why }
                if processor == "till" && why == "the signature is wrong"),
            "{refused}"
        );
        assert_eq!(refused.what_now(), WhatNow::FixInput);
    }
    let nobody = receive("nobody", &posted.headers(), &posted.body);
    assert!(matches!(nobody, Error::NoProcessor { .. }), "{nobody}");
    let too_long = receive("till", &posted.headers(), &vec![b' '; 1_048_577]);
    assert_eq!(too_long.field(), Some("body"));
    assert_eq!(shop.engine.dump().unwrap(), before);
    // A processor that says nothing about notifications takes none.
    let sandbox = tillite::sandbox::Sandbox;
    let refused = sandbox.receive(&Post::new(&posted.headers(), &posted.body, Timestamp::MIN));
    assert!(matches!(refused, Reception::Refused { .. }), "{refused:?}");
}

#[test]
fn a_post_is_stored_before_it_is_answered_and_applied_by_the_next_run() {
    let shop = Shop::open();
    let (session, ask) = shop.answered("u_1", unknown());
    shop.hears(evidence("n_1", paid("pi_1")).attempt(&ask.request.attempt));
    assert_eq!(shop.newest_charge(&session).state, ChargeState::Unknown);
    let stored = shop.notices().remove(0);
    assert_eq!(
        (
            stored.kind,
            stored.state,
            stored.key.as_str(),
            stored.processor.as_str()
        ),
        (NotificationKind::Evidence, NotificationState::Waiting, "n_1", "till")
    );
    assert_eq!(shop.engine.next_due().unwrap(), stored.due_at);
    assert_eq!(shop.app.notifications().get(&stored.id).unwrap(), stored);
    assert_eq!(shop.app.notifications().body(&stored.id).unwrap(), b"1");

    assert_eq!(shop.run().notified, 1);
    let charge = shop.newest_charge(&session);
    assert_eq!(
        (charge.state, charge.reference.as_deref()),
        (ChargeState::Succeeded, Some("pi_1"))
    );
    assert!(shop.read(&session).is_complete());
    assert_eq!(shop.states(), [NotificationState::Applied]);
    assert_eq!(shop.till.looked_up(), 0, "it was heard, so nobody has to ask");
    let history = shop.app.history(charge.id.as_str(), 100, 0).unwrap().data;
    let succeeded = history.iter().find(|event| event.kind == "charge.succeeded").unwrap();
    assert_eq!(
        (succeeded.cause.as_str(), succeeded.actor.as_str()),
        ("settle.notification", "processor:till")
    );
    shop.clean();
}

#[test]
fn a_notice_is_stored_and_applied_once_however_often_it_comes() {
    let shop = Shop::open();
    let (session, ask) = shop.answered("u_1", unknown());
    let notice = || evidence("n_1", paid("pi_1")).attempt(&ask.request.attempt);
    let both = shop.till.post([notice(), notice()]);
    shop.app
        .notifications()
        .receive("till", &both.headers(), &both.body)
        .unwrap();
    shop.hears(notice());
    shop.run();
    shop.hears(notice());
    let before = shop.engine.dump().unwrap();
    assert_eq!(shop.run().notified, 0);
    assert_eq!(shop.engine.dump().unwrap(), before);
    assert_eq!(shop.notices().len(), 1);
    assert!(shop.read(&session).is_complete());
    let succeeded = |kind: &String| kind == "charge.succeeded";
    let kinds = shop.kinds(shop.newest_charge(&session).id);
    assert_eq!(kinds.iter().filter(|kind| succeeded(kind)).count(), 1);
    shop.clean();
}

#[test]
fn a_notice_that_overtakes_its_answer_waits_for_it_or_for_the_end_of_its_lease() {
    for answers in [true, false] {
        let shop = Shop::open();
        let (session, ask) = shop.begun("u_1");
        shop.hears(evidence("n_1", paid("pi_1")).attempt(&ask.request.attempt));
        assert_eq!(shop.run().notified, 1);
        assert_eq!(shop.run().notified, 0, "it is not looked at again and again");
        assert_eq!(shop.states(), [NotificationState::Waiting]);
        assert_eq!(shop.newest_charge(&session).state, ChargeState::Initiated);
        if answers {
            shop.engine.settle(&ask, &Answer::Executed(action())).unwrap();
            assert_eq!(shop.newest_charge(&session).state, ChargeState::RequiresAction);
        } else {
            shop.clock.turn(LEASE);
        }
        assert_eq!(shop.run().notified, 1);
        assert_eq!(shop.states(), [NotificationState::Applied]);
        assert!(shop.read(&session).is_complete());
        shop.clean();
    }
}

#[test]
fn what_is_about_one_attempt_is_applied_in_the_order_in_which_it_came() {
    let shop = Shop::open();
    let (session, ask) = shop.begun("u_1");
    let about = |notice: Notice| notice.attempt(&ask.request.attempt);
    shop.hears(about(evidence("n_1", action())));
    shop.run();
    shop.hears(about(evidence("n_2", pending("pi_1"))));
    shop.run();
    shop.hears(about(evidence("n_3", paid("pi_1"))));
    shop.engine.settle(&ask, &Answer::Executed(unknown())).unwrap();
    shop.run();
    shop.run();
    let kinds = shop.kinds(shop.newest_charge(&session).id);
    let moved: Vec<&str> = kinds.iter().map(String::as_str).collect();
    assert_eq!(
        moved,
        [
            "charge.initiated",
            "charge.unknown",
            "charge.requires_action",
            "charge.pending",
            "charge.succeeded"
        ]
    );
    shop.clean();
}

#[test]
fn what_is_older_or_weaker_than_what_is_known_is_written_down_and_moves_nothing() {
    let shop = Shop::open();
    let (session, ask) = shop.answered("u_1", paid("pi_1"));
    let before = shop.read(&session);
    for (id, outcome) in [
        ("n_1", pending("pi_1")),
        ("n_2", action()),
        ("n_3", declined("no", "No.")),
        ("n_4", canceled()),
        ("n_5", unknown()),
        ("n_6", paid("pi_1")),
    ] {
        shop.hears(evidence(id, outcome).attempt(&ask.request.attempt));
        shop.run();
    }
    assert_eq!(shop.read(&session), before);
    assert_eq!(shop.states(), [NotificationState::Applied; 6]);
    let dump = shop.engine.dump().unwrap();
    let written = dump.lines().filter(|line| line.starts_with("tillite_evidence"));
    assert_eq!(
        written.filter(|line| line.contains("source=\"notification\"")).count(),
        6
    );
    shop.clean();
}

#[test]
fn while_the_buyer_is_to_act_a_decline_ends_nothing_and_a_cancellation_does() {
    let shop = Shop::open();
    let (session, ask) = shop.answered("u_1", action());
    shop.hears(evidence("n_1", declined("card_declined", "Another card.")).reference("pi_1"));
    shop.run();
    assert_eq!(shop.newest_charge(&session).state, ChargeState::RequiresAction);
    assert_eq!(shop.read(&session).state, SessionState::Processing);
    // The buyer took another card on the service's page.
    shop.hears(evidence("n_2", paid("pi_1")).reference("pi_1"));
    shop.run();
    assert!(shop.read(&session).is_complete());

    let (session, _) = shop.answered(
        "u_2",
        Outcome::RequiresAction {
            reference: "pi_2".to_owned(),
            action: Action::Client("secret".to_owned()),
            within: Duration::from_secs(900),
        },
    );
    shop.hears(evidence("n_3", canceled()).reference("pi_2"));
    shop.run();
    assert_eq!(shop.newest_charge(&session).state, ChargeState::Failed);
    assert_eq!(shop.read(&session).state, SessionState::Open);
    drop(ask);
    shop.clean();
}

#[test]
fn a_decline_that_nobody_asked_about_is_looked_up_before_it_ends_anything() {
    let shop = Shop::open();
    let (session, ask) = shop.answered("u_1", pending("pi_1"));
    let notice = || evidence("n_1", declined("no", "No.")).attempt(&ask.request.attempt);
    shop.till.answer_lookup(Lookup::Found(pending("pi_1")));
    shop.clock.turn(Duration::from_secs(1));
    shop.hears(notice());
    let ran = shop.run();
    assert_eq!((ran.notified, ran.looked_up), (1, 1));
    // It was that of an earlier try.
    assert_eq!(shop.newest_charge(&session).state, ChargeState::Pending);
    shop.till.answer_lookup(Lookup::Found(declined("no", "No.")));
    shop.hears(evidence("n_2", declined("no", "No.")).attempt(&ask.request.attempt));
    shop.run();
    assert_eq!(shop.newest_charge(&session).state, ChargeState::Failed);
    shop.clean();

    // Where nothing can be looked up, it is all that there is to know.
    let shop = Shop::open();
    shop.till.set_capabilities(Capabilities::new());
    let (session, ask) = shop.answered("u_1", pending("pi_1"));
    shop.hears(evidence("n_1", declined("no", "No.")).attempt(&ask.request.attempt));
    shop.run();
    assert_eq!(shop.newest_charge(&session).state, ChargeState::Failed);
    shop.clean();
}

#[test]
fn what_nothing_is_known_of_is_parked_until_its_name_is_learned() {
    let shop = Shop::open();
    let (session, ask) = shop.answered("u_1", unknown());
    shop.hears(evidence("n_1", paid("pi_1")).reference("pi_1"));
    shop.till.answer_lookup(Lookup::CannotTell {
        why: "later".to_owned(),
    });
    shop.run();
    assert_eq!(shop.states(), [NotificationState::Parked]);
    assert_eq!(shop.newest_charge(&session).state, ChargeState::Unknown);
    shop.engine
        .settle(&ask, &Answer::LookedUp(Lookup::Found(pending("pi_1"))))
        .unwrap();
    assert_eq!(shop.run().notified, 1, "at once, not when its time comes again");
    assert_eq!(shop.states(), [NotificationState::Applied]);
    assert!(shop.read(&session).is_complete());
    shop.clean();
}

#[test]
fn what_nothing_turns_up_for_is_given_up_after_three_days_with_an_alarm() {
    let (shop, heard) = Shop::heard();
    // By a name, by an attempt of nobody's, and by one of another processor.
    let nobodys = "at_test_000000000000000000000000000000";
    shop.hears(evidence("n_1", paid("pi_9")).reference("pi_9"));
    shop.hears(Notice::new("n_2", NoticeKind::Changed).attempt(nobodys));
    shop.hears(Notice::new("n_3", NoticeKind::Changed).attempt("no id at all"));
    let mut looked_at = 0;
    for _ in 0..3 * 24 - 1 {
        looked_at += shop.run().notified;
        shop.clock.turn(Duration::from_secs(3_600));
    }
    assert_eq!(shop.states(), [NotificationState::Parked; 3]);
    assert!(looked_at < 3 * 30, "{looked_at}");
    assert!(locked(&heard).is_empty());
    shop.clock.turn(DAY);
    shop.run();
    assert_eq!(shop.states(), [NotificationState::Unmatched; 3]);
    let told = locked(&heard).clone();
    assert_eq!(told.len(), 3);
    for (alarm, notice) in told.iter().zip(shop.notices()) {
        let Alarm::NotificationUnmatched {
            processor,
            notification,
            ..
        } = alarm
        else {
            panic!("{alarm:?}");
        };
        assert_eq!((processor.as_str(), notification), ("till", &notice.id));
    }
    assert_eq!(shop.engine.next_due().unwrap(), None);
    shop.clean();
}

#[test]
fn money_over_another_amount_is_held_as_from_anybody_else() {
    let shop = Shop::open();
    let (session, ask) = shop.answered("u_1", unknown());
    shop.hears(evidence("n_1", Outcome::succeeded("pi_1", euro(1_00))).attempt(&ask.request.attempt));
    shop.run();
    let charge = shop.newest_charge(&session);
    assert_eq!(
        (charge.state, charge.hold),
        (ChargeState::Unknown, Some(Hold::Mismatch))
    );
    assert_eq!(shop.app.held_charges(10, None).unwrap().data, [charge]);
    shop.clean();
}

#[test]
fn what_has_changed_is_looked_up_at_once_settled_or_not_and_no_call_is_disturbed() {
    let shop = Shop::open();
    let (session, ask) = shop.begun("u_1");
    let changed = |id: &str| Notice::new(id, NoticeKind::Changed);
    shop.hears(changed("n_1").attempt(&ask.request.attempt));
    let ran = shop.run();
    assert_eq!((ran.notified, ran.looked_up), (1, 0));
    assert_eq!(shop.newest_charge(&session).state, ChargeState::Initiated);
    shop.engine.settle(&ask, &Answer::Executed(paid("pi_1"))).unwrap();
    shop.till.answer_lookup(Lookup::Found(paid("pi_1")));
    let ran = shop.run();
    assert_eq!((ran.notified, ran.looked_up), (1, 1));

    // A bank sends back what a refund gave.
    shop.till.answer(Outcome::succeeded("re_1", euro(PRICE)));
    let refund = shop
        .app
        .refunds()
        .create(tillite::NewRefund::session(&session.id))
        .unwrap();
    assert_eq!(refund.state, RefundState::Succeeded);
    shop.hears(changed("n_2").reference(refund.reference.clone().unwrap()));
    shop.till.answer_lookup(Lookup::Found(declined("bank", "Sent back.")));
    shop.run();
    assert_eq!(shop.app.refunds().get(&refund.id).unwrap().state, RefundState::Failed);
    assert_eq!(shop.run().looked_up, 0);
    shop.clean();
}

#[test]
fn that_a_refund_fell_back_is_believed_once_it_was_looked_up() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.pay(&session).unwrap();
    let refund = shop
        .app
        .refunds()
        .create(tillite::NewRefund::session(&session.id))
        .unwrap();
    let told = |id: &str| evidence(id, declined("bank", "Sent back.")).reference(refund.reference.clone().unwrap());
    let state = || shop.app.refunds().get(&refund.id).unwrap().state;
    shop.hears(told("n_1"));
    shop.run();
    assert_eq!(
        state(),
        RefundState::Succeeded,
        "the service says otherwise when it is asked"
    );
    shop.till.answer_lookup(Lookup::Found(declined("bank", "Sent back.")));
    shop.hears(told("n_2"));
    shop.run();
    assert_eq!(state(), RefundState::Failed);
    shop.clean();
}

#[test]
fn what_a_service_says_of_a_payment_is_about_its_capture_while_that_is_in_flight() {
    let shop = Shop::open();
    let later = tillite::NewSession::tier("member", Currency::EUR)
        .customer("u_1")
        .capture_later();
    let session = shop.app.sessions().create(later).unwrap();
    shop.pay(&session).unwrap();
    let held = shop.newest_charge(&session);
    assert_eq!(held.state, ChargeState::Authorized);
    shop.till.tell(Told::TakeAndLose);
    shop.app.sessions().capture(&session.id, Some(euro(50_00))).unwrap();
    // The service knows one payment, whose name is that of what was held.
    let reference = held.reference.unwrap();
    shop.hears(evidence("n_1", Outcome::succeeded(&reference, euro(50_00))).reference(&reference));
    shop.run();
    let charge = shop.newest_charge(&session);
    assert_eq!(
        (charge.state, charge.captured, charge.hold),
        (ChargeState::Succeeded, 50_00, None)
    );
    assert!(shop.read(&session).is_complete());
    shop.clean();
}

/// A processor whose code for notifications is this.
struct Reading<F>(F);

impl<F: Fn(&Post<'_>) -> Reception + Send + Sync> Processor for Reading<F> {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    fn execute(&self, _: &Request, _: Timestamp) -> Outcome {
        unknown()
    }

    fn lookup(&self, _: &LookupKey<'_>) -> Lookup {
        Lookup::NotFound
    }

    fn receive(&self, post: &Post<'_>) -> Reception {
        (self.0)(post)
    }
}

/// What comes of a post that a processor reads so, and what was stored and told.
fn received(
    read: impl Fn(&Post<'_>) -> Reception + Send + Sync + 'static,
    body: &[u8],
) -> (Result<Reply>, tillite::App, Vec<Alarm>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&heard);
    let engine = tillite::Engine::builder()
        .clock(ManualClock::new())
        .test_processor("own", Reading(read))
        .on_alarm(move |alarm| locked(&telling).push(alarm.clone()))
        .open_in_memory()
        .unwrap();
    let app = engine.app("lixblogs", tillite::Mode::Test).unwrap();
    let answer = app.notifications().receive("own", &[("Signature", "s")], body);
    let told = locked(&heard).clone();
    (answer, app, told)
}

#[test]
fn code_that_panics_or_says_too_much_stores_nothing_and_is_an_error_that_makes_the_service_send_again() {
    let (answer, app, alarms) = received(|_| panic!("told to panic"), b"{}");
    let unread = answer.unwrap_err();
    assert!(
        matches!(&unread, Error::NotificationUnread { processor, .. } if processor == "own"),
        "{unread}"
    );
    assert_eq!(unread.what_now(), WhatNow::AskOperator);
    assert!(matches!(&alarms[..], [Alarm::HookPanicked { .. }]), "{alarms:?}");
    assert!(app.notifications().list(100, None).unwrap().data.is_empty());

    let many = |count: usize| {
        received(
            move |_| {
                let notices = (0..count).map(|number| Notice::new(format!("n_{number}"), NoticeKind::Changed));
                Reception::genuine(notices.collect::<Vec<_>>())
            },
            b"{}",
        )
    };
    let (answer, app, _) = many(Reception::MAX_NOTICES);
    assert_eq!(answer, Ok(Reply::ok()));
    assert_eq!(app.notifications().list(100, None).unwrap().data.len(), 100);
    let (answer, app, _) = many(Reception::MAX_NOTICES + 1);
    assert!(matches!(answer, Err(Error::NotificationUnread { .. })), "{answer:?}");
    assert!(app.notifications().list(100, None).unwrap().data.is_empty());
}

#[test]
fn the_service_hears_what_its_processor_says_and_the_processor_sees_what_came() {
    let reply = Reply::status(202).body("text/plain", "[accepted]");
    let answers = reply.clone();
    let (answer, app, _) = received(
        move |post| {
            assert_eq!(post.header("signature"), Some("s"));
            assert_eq!(post.body, b"\xff{}");
            assert!(post.received_at > Timestamp::MIN);
            let mut said = Reception::genuine([Notice::new("n_1", NoticeKind::Ignored)]);
            if let Reception::Genuine { reply, .. } = &mut said {
                reply.clone_from(&answers);
            }
            said
        },
        b"\xff{}",
    );
    assert_eq!(answer, Ok(reply));
    let stored = app.notifications().list(1, None).unwrap().data.remove(0);
    assert_eq!((stored.state, stored.due_at), (NotificationState::Ignored, None));
    assert_eq!(app.notifications().body(&stored.id).unwrap(), b"\xff{}");
}

#[test]
fn no_card_number_gets_into_the_file_by_a_notification() {
    let card = "4242424242424242";
    let body = format!("{{\"card\":\"{card}\",\"note\":\"\u{e9}\"}}");
    let (answer, app, _) = received(
        move |_| {
            let outcome = declined(card, &format!("card {card} was declined"));
            Reception::genuine([
                evidence("n_1", outcome).reference(card),
                evidence("n_2", Outcome::succeeded(card, euro(1))),
                evidence(
                    "n_3",
                    Outcome::RequiresAction {
                        reference: card.to_owned(),
                        action: Action::Client(card.to_owned()),
                        within: DAY,
                    },
                ),
            ])
        },
        body.as_bytes(),
    );
    answer.unwrap();
    let stored = app.notifications().list(100, None).unwrap().data;
    assert_eq!(stored.len(), 3);
    let kept = app.notifications().body(&stored[0].id).unwrap();
    assert_eq!(kept, body.replace(card, &"*".repeat(16)).as_bytes());
    assert!(!format!("{stored:?}").contains("4242"));
}

#[test]
fn a_notice_without_a_name_of_its_own_is_an_error_and_no_repetition_of_another() {
    for id in ["", " ", "4242424242424242", "evt 4242 4242 4242 4242"] {
        let (answer, app, _) = received(
            move |_| Reception::genuine([evidence("n_1", paid("pi_1")), evidence(id, paid("pi_2"))]),
            b"{}",
        );
        let unread = answer.unwrap_err();
        assert!(
            matches!(&unread, Error::NotificationUnread { why, .. } if why.contains("id") && !why.contains("4242")),
            "{unread}"
        );
        assert!(app.notifications().list(100, None).unwrap().data.is_empty());
    }
    let long = "n".repeat(300);
    let (answer, app, _) = received(move |_| Reception::genuine([evidence(&long, paid("pi_1"))]), b"{}");
    answer.unwrap();
    let stored = app.notifications().list(1, None).unwrap().data.remove(0);
    assert!(stored.key.starts_with("sha256:"), "{}", stored.key);
}

#[test]
fn notices_are_read_page_by_page_the_newest_first() {
    let shop = Shop::open();
    for number in 0..5 {
        shop.hears(Notice::new(format!("n_{number}"), NoticeKind::Ignored));
    }
    let notifications = shop.app.notifications();
    let first = notifications.list(3, None).unwrap();
    let rest = notifications.list(3, first.data.last().map(|last| &last.id)).unwrap();
    assert!(first.has_more && !rest.has_more);
    let keys: Vec<String> = first
        .data
        .into_iter()
        .chain(rest.data)
        .map(|notice| notice.key)
        .collect();
    assert_eq!(keys, ["n_4", "n_3", "n_2", "n_1", "n_0"]);
    assert_eq!(notifications.list(101, None).unwrap_err().field(), Some("limit"));
    let live = "nt_live_000000000000000000000000000000";
    let other = tillite::NotificationId::parse(live).unwrap();
    assert!(matches!(notifications.get(&other), Err(Error::WrongMode { .. })));
    let nobodys = tillite::NotificationId::parse(&live.replace("live", "test")).unwrap();
    assert!(matches!(notifications.get(&nobodys), Err(Error::NotFound { .. })));
    assert!(matches!(notifications.body(&nobodys), Err(Error::NotFound { .. })));
}

#[test]
fn money_that_was_taken_twice_for_one_attempt_goes_back_once() {
    let shop = Shop::open();
    let session = shop.session("u_1");
    shop.pay(&session).unwrap();
    let first = shop.newest_charge(&session);
    let again = shop.till.take_again(&session.id).unwrap();
    let attempt = shop.till.requests()[0].attempt.clone();
    for id in ["n_1", "n_2"] {
        shop.hears(evidence(id, paid(&again.reference)).attempt(&attempt));
        shop.run();
    }
    let read = shop.read(&session);
    let charges = read.payment_intent.unwrap().charges;
    let [settling, surplus] = &charges[..] else {
        panic!("{charges:?}");
    };
    assert_eq!(
        (settling.reference.clone(), settling.captured),
        (first.reference.clone(), PRICE)
    );
    assert!(settling.settles && settling.refunded == 0);
    assert_eq!(
        (surplus.state, surplus.hold, surplus.captured, surplus.refunded),
        (ChargeState::Succeeded, Some(Hold::Surplus), PRICE, PRICE)
    );
    assert_eq!(surplus.comes_with.as_ref(), Some(&first.id));
    assert_eq!(surplus.reference.as_deref(), Some(again.reference.as_str()));
    let request = shop.till.requests().pop().unwrap();
    let related = request.related.unwrap();
    assert_eq!(
        (related.attempt, related.reference),
        (attempt, Some(again.reference.clone()))
    );
    assert_eq!(shop.till.refunds().len(), 1);
    assert!(shop.app.entitlements().get("u_1").unwrap().active);
    assert_eq!(shop.read(&session).state, SessionState::Complete);
    shop.clean();
}

#[test]
fn money_that_was_taken_twice_is_held_where_the_app_says_so_and_heard_of_by_a_look_up_too() {
    let shop = Shop::open();
    shop.app.set_late_payments(tillite::LatePayments::Hold).unwrap();
    let session = shop.session("u_1");
    shop.pay(&session).unwrap();
    let again = shop.till.take_again(&session.id).unwrap();
    let first = shop.newest_charge(&session);
    shop.hears(Notice::new("n_1", NoticeKind::Changed).reference(first.reference.unwrap()));
    shop.till.answer_lookup(Lookup::Found(paid(&again.reference)));
    shop.run();
    let held = shop.app.held_charges(10, None).unwrap().data;
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].comes_with.as_ref(), Some(&first.id));
    let back = shop
        .app
        .refunds()
        .create(tillite::NewRefund::charge(&held[0].id))
        .unwrap();
    assert_eq!(back.state, RefundState::Succeeded);
    assert!(shop.app.held_charges(10, None).unwrap().data.is_empty());
    shop.clean();
}

#[test]
fn money_taken_twice_that_no_row_can_hold_is_told_of() {
    let shop = Shop::open();
    let (session, ask) = shop.answered("u_1", paid("pi_1"));
    shop.hears(evidence("n_1", Outcome::succeeded("pi_2", euro(PRICE + 1))).attempt(&ask.request.attempt));
    shop.run();
    assert_eq!(shop.read(&session).payment_intent.unwrap().charges.len(), 1);
    let kinds = shop.kinds(shop.newest_charge(&session).id);
    assert_eq!(kinds.last().map(String::as_str), Some("charge.contradicted"));
    shop.clean();
}

pub fn made_there(id: &str, reference: &str, minor: i64) -> Notice {
    let kind = NoticeKind::ExternalRefund {
        reference: reference.to_owned(),
        amount: euro(minor),
        reason: Some("by hand".to_owned()),
    };
    Notice::new(id, kind)
}

#[test]
fn what_is_told_of_a_refund_that_has_gone_through_is_another_refund_of_the_charge() {
    let shop = Shop::open();
    let (session, _) = shop.answered("u_1", paid("pi_1"));
    let charge = shop.newest_charge(&session);
    shop.till.answer(Outcome::succeeded("re_1", euro(50_00)));
    let part = tillite::NewRefund::charge(&charge.id).amount(euro(50_00));
    let refund = shop.app.refunds().create(part).unwrap();
    assert_eq!(refund.state, RefundState::Succeeded);
    let about = shop.app.attempts_about(refund.id.as_str(), 1, None).unwrap().data;
    let attempt = about[0].id.as_str();
    shop.hears(made_there("n_1", "other_refund", 20_00).attempt(attempt));
    shop.hears(evidence("n_2", Outcome::succeeded("re_2", euro(50_00))).attempt(attempt));
    shop.run();
    let refunds = shop.app.refunds().of(&charge.id).unwrap();
    let names: Vec<_> = refunds[1..]
        .iter()
        .map(|refund| (refund.source, refund.amount, refund.reference.as_deref()))
        .collect();
    let theirs = RefundSource::Processor;
    let expected = [
        (theirs, euro(20_00), Some("other_refund")),
        (theirs, euro(50_00), Some("re_2")),
    ];
    assert_eq!(names, expected);
    assert_eq!(shop.newest_charge(&session).refunded, 120_00);
    shop.clean();
    // What the charge has not is for somebody to see, once.
    for id in ["n_3", "n_4"] {
        shop.hears(evidence(id, Outcome::succeeded("re_3", euro(50_00))).attempt(attempt));
        shop.hears(evidence(&format!("{id}b"), Outcome::succeeded("re_4", euro(50_00))).attempt(attempt));
    }
    shop.run();
    let kinds = shop.kinds(&refund.id);
    let contradicted = kinds.iter().filter(|kind| *kind == "refund.contradicted").count();
    assert_eq!(contradicted, 1, "one of the two fits");
    assert_eq!(shop.newest_charge(&session).refunded, 170_00);
    shop.clean();
}

#[test]
fn money_that_a_setup_moves_after_it_was_over_is_told_of_once() {
    let shop = Shop::open();
    let customer = shop.app.customers().set(NewCustomer::uid("u_1")).unwrap().id;
    let setup = NewSetup::new(&customer, Currency::EUR).method("tok_1");
    let setup = shop.app.setups().create(setup).unwrap();
    assert_eq!(setup.state, tillite::SetupState::Succeeded);
    let about = shop.app.attempts_about(setup.id.as_str(), 1, None).unwrap().data;
    let before = shop.kinds(&setup.id);
    for id in ["n_1", "n_2"] {
        shop.hears(evidence(id, paid("seti_9")).attempt(about[0].id.as_str()));
        shop.run();
    }
    let kinds = shop.kinds(&setup.id);
    assert_eq!(kinds[before.len()..], ["setup.unresolved"]);
    let after = shop.app.setups().get(&setup.id).unwrap();
    assert_eq!((after.state, after.method), (setup.state, setup.method));
    shop.clean();
}

#[test]
fn a_refund_that_was_made_at_the_service_is_a_refund_here_and_counts_once() {
    let shop = Shop::open();
    let (session, _) = shop.answered("u_1", paid("pi_1"));
    let charge = shop.newest_charge(&session);
    let refunds = || shop.app.refunds().of(&charge.id).unwrap();
    shop.hears(made_there("n_1", "re_9", 50_00).reference("pi_1"));
    shop.hears(made_there("n_2", "re_9", 50_00).reference("pi_1"));
    shop.run();
    assert_eq!(refunds().len(), 1);
    let refund = refunds().remove(0);
    assert_eq!(
        (refund.state, refund.source, refund.reference.as_deref(), refund.amount),
        (
            RefundState::Succeeded,
            RefundSource::Processor,
            Some("re_9"),
            euro(50_00)
        )
    );
    assert_eq!(refund.effect, None);
    assert_eq!(shop.newest_charge(&session).refundable(), PRICE - 50_00);
    assert!(shop.app.entitlements().get("u_1").unwrap().active);
    shop.hears(made_there("n_3", "re_10", PRICE - 50_00).reference("pi_1"));
    shop.run();
    assert_eq!(shop.newest_charge(&session).refunded, PRICE);
    assert!(!shop.app.entitlements().get("u_1").unwrap().active, "nothing is left");
    assert!(shop.till.refunds().is_empty(), "nobody is asked for what was done");
    // What is more than there is cannot be written down.
    shop.hears(made_there("n_4", "re_11", 1).reference("pi_1"));
    shop.run();
    let held = shop.notices().pop().unwrap();
    assert_eq!(held.state, NotificationState::Held);
    assert!(held.why.is_some());
    assert_eq!(refunds().len(), 2);
    shop.clean();
}

#[test]
fn a_refund_of_ours_in_doubt_is_decided_before_one_that_was_made_at_the_service_counts() {
    for is_ours in [true, false] {
        let shop = Shop::open();
        let (session, _) = shop.answered("u_1", paid("pi_1"));
        let charge = shop.newest_charge(&session);
        let part = tillite::NewRefund::charge(&charge.id).amount(euro(50_00));
        shop.till.answer(unknown());
        let refund = shop.app.refunds().create(part).unwrap();
        assert_eq!(refund.state, RefundState::Unknown);
        shop.till.answer_lookup(Lookup::CannotTell {
            why: "later".to_owned(),
        });
        shop.hears(made_there("n_1", "re_1", 50_00).reference("pi_1"));
        shop.run();
        assert_eq!(shop.states(), [NotificationState::Waiting]);
        assert_eq!(shop.app.refunds().of(&charge.id).unwrap().len(), 1);
        shop.till.answer_lookup(Lookup::Found(if is_ours {
            Outcome::succeeded("re_1", euro(50_00))
        } else {
            declined("no", "No.")
        }));
        shop.clock.turn(Duration::from_secs(600));
        shop.run();
        shop.run();
        assert_eq!(shop.states(), [NotificationState::Applied]);
        let refunds = shop.app.refunds().of(&charge.id).unwrap();
        assert_eq!(refunds.len(), if is_ours { 1 } else { 2 });
        assert_eq!(shop.newest_charge(&session).refunded, 50_00);
        shop.clean();
    }
}

#[test]
fn what_was_held_because_a_refund_was_in_doubt_is_applied_when_that_ends() {
    let (shop, heard) = Shop::heard();
    let (session, _) = shop.answered("u_1", paid("pi_1"));
    let charge = shop.newest_charge(&session);
    shop.till.answer(unknown());
    let part = tillite::NewRefund::charge(&charge.id).amount(euro(50_00));
    let refund = shop.app.refunds().create(part).unwrap();
    shop.hears(made_there("n_1", "re_1", 50_00).reference("pi_1"));
    for _ in 0..5 {
        shop.till.answer_lookup(Lookup::CannotTell {
            why: "later".to_owned(),
        });
        shop.run();
        shop.clock.turn(DAY);
    }
    assert_eq!(shop.states(), [NotificationState::Held]);
    assert_eq!(shop.notices()[0].due_at, None);
    let told = || {
        let held = |alarm: &&Alarm| matches!(alarm, Alarm::NotificationHeld { .. });
        locked(&heard).iter().filter(held).count()
    };
    assert_eq!(told(), 1);
    let attempt = shop
        .app
        .attempts_about(refund.id.as_str(), 1, None)
        .unwrap()
        .data
        .remove(0);
    shop.app
        .resolve(&attempt.id, tillite::Resolution::Failed, "not in the dashboard")
        .unwrap();
    shop.run();
    assert_eq!(shop.states(), [NotificationState::Applied]);
    assert_eq!(shop.newest_charge(&session).refunded, 50_00);
    assert_eq!(told(), 1);
    shop.clean();
}

#[test]
fn a_refund_of_ours_that_the_service_tells_of_as_its_own_is_evidence_for_ours() {
    let shop = Shop::open();
    let (session, _) = shop.answered("u_1", paid("pi_1"));
    let charge = shop.newest_charge(&session);
    shop.till.answer(pending("re_1"));
    let part = tillite::NewRefund::charge(&charge.id).amount(euro(50_00));
    let refund = shop.app.refunds().create(part).unwrap();
    shop.hears(made_there("n_1", "re_1", 50_00).reference("pi_1"));
    shop.run();
    let after = shop.app.refunds().of(&charge.id).unwrap();
    assert_eq!(
        (after.len(), &after[0].id, after[0].state),
        (1, &refund.id, RefundState::Succeeded)
    );
    assert_eq!(shop.newest_charge(&session).refunded, 50_00);
    shop.clean();
}

#[test]
fn a_refund_or_a_dispute_of_a_setup_waits_for_somebody_and_keeps_nothing_from_being_done() {
    let shop = Shop::open();
    let customer = shop.app.customers().set(NewCustomer::uid("u_1")).unwrap().id;
    let setup = NewSetup::new(&customer, Currency::EUR).method("tok_1");
    let setup = shop.app.setups().create(setup).unwrap();
    let attempt = shop
        .app
        .attempts_about(setup.id.as_str(), 1, None)
        .unwrap()
        .data
        .remove(0);
    let (session, ask) = shop.answered("u_1", unknown());
    let dispute = NoticeKind::Dispute {
        reference: "dp_1".to_owned(),
        state: DisputeState::Open,
        amount: euro(PRICE),
        reason: None,
    };
    shop.hears(made_there("n_1", "re_1", PRICE).attempt(attempt.id.as_str()));
    shop.hears(Notice::new("n_2", dispute).attempt(attempt.id.as_str()));
    shop.hears(evidence("n_3", paid("pi_1")).attempt(&ask.request.attempt));
    assert_eq!(shop.run().notified, 3);
    assert_eq!(
        shop.states(),
        [
            NotificationState::Held,
            NotificationState::Held,
            NotificationState::Applied
        ]
    );
    let why = "it is about a setup, which takes no money";
    assert_eq!(shop.notices()[1].why.as_deref(), Some(why));
    assert_eq!(shop.newest_charge(&session).state, ChargeState::Succeeded);
    shop.clean();
}

#[test]
fn a_notice_that_cannot_be_read_keeps_nothing_else_from_being_done() {
    let disk = Disk::new();
    let shop = disk.shop();
    let (session, ask) = shop.answered("u_1", unknown());
    let (other, _) = shop.answered("u_2", unknown());
    shop.hears(evidence("n_1", paid("pi_9")).attempt(&ask.request.attempt));
    shop.hears(evidence("n_2", paid("pi_1")).attempt(&ask.request.attempt));
    sql(&disk.raw(), "UPDATE tillite_notice SET said = '?' WHERE key = 'n_1'");
    shop.till.answer_lookup(Lookup::Found(paid("pi_2")));
    shop.engine.run_due(tillite::Budget::items(100)).unwrap_err();
    for session in [&session, &other] {
        assert_eq!(shop.read(session).state, SessionState::Complete);
    }
}

#[test]
fn however_many_notices_cannot_be_read_those_behind_them_have_their_turn() {
    let disk = Disk::new();
    let shop = disk.shop();
    for number in 0..40 {
        shop.hears(evidence(&format!("bad_{number}"), paid("pi_9")));
    }
    let (session, ask) = shop.answered("u_1", unknown());
    shop.hears(evidence("n_1", paid("pi_1")).attempt(&ask.request.attempt));
    let raw = "UPDATE tillite_notice SET said = '?' WHERE key LIKE 'bad%'";
    sql(&disk.raw(), raw);
    shop.till.answer_lookup(Lookup::Found(unknown()));
    for _ in 0..5 {
        shop.engine.run_due(tillite::Budget::items(10)).unwrap_err();
    }
    shop.run();
    assert_eq!(shop.read(&session).state, SessionState::Complete);
}

#[test]
fn notices_about_nothing_leave_every_other_work_its_share_of_a_run() {
    let shop = Shop::open();
    let (session, _) = shop.answered("u_1", unknown());
    for number in 0..100 {
        shop.hears(evidence(&format!("n_{number}"), paid("pi_9")).reference("pi_9"));
    }
    let (other, ask) = shop.answered("u_2", unknown());
    shop.till.answer_lookup(Lookup::Found(paid("pi_1")));
    shop.till.answer_lookup(Lookup::Found(unknown()));
    let ran = shop.engine.run_due(tillite::Budget::items(10)).unwrap();
    assert_eq!((ran.total(), ran.looked_up), (10, 2), "{ran:?}");
    assert_eq!(shop.read(&session).state, SessionState::Complete);
    // What is about a payment goes before what is about nothing, though it came later.
    shop.run();
    shop.clock.turn(DAY);
    shop.hears(evidence("n_own", paid("pi_2")).attempt(&ask.request.attempt));
    shop.till.answer_lookup(Lookup::Found(unknown()));
    shop.engine.run_due(tillite::Budget::items(5)).unwrap();
    assert_eq!(shop.read(&other).state, SessionState::Complete);
}

#[test]
fn a_refund_of_ours_without_a_name_takes_the_one_the_service_tells_and_no_second_one() {
    let shop = Shop::open();
    let (session, _) = shop.answered("u_1", paid("pi_1"));
    let charge = shop.newest_charge(&session);
    shop.till.answer(Outcome::succeeded("", euro(50_00)));
    let part = tillite::NewRefund::charge(&charge.id).amount(euro(50_00));
    assert_eq!(shop.app.refunds().create(part).unwrap().reference, None);
    for (id, reference) in [("n_1", "re_1"), ("n_2", "re_1"), ("n_3", "re_2")] {
        shop.hears(made_there(id, reference, 50_00).reference("pi_1"));
        shop.run();
    }
    let refunds = shop.app.refunds().of(&charge.id).unwrap();
    let known: Vec<_> = refunds
        .iter()
        .map(|refund| (refund.source, refund.reference.as_deref()))
        .collect();
    let (ours, theirs) = (RefundSource::Requested, RefundSource::Processor);
    assert_eq!(known, [(ours, Some("re_1")), (theirs, Some("re_2"))]);
    assert_eq!(shop.newest_charge(&session).refunded, 100_00);
    shop.clean();
}
