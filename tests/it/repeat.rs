//! Every verb says what a repetition does, and does it: who lost an answer may ask again.
//!
//! The table below has an entry per public verb, and is compared with the verbs that stand in the
//! sources. Where an entry says that a repetition writes nothing, the whole file is compared.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use tillite::sandbox::Challenge;
use tillite::testing::Posted;
use tillite::webhook::{EndpointUpdate, Format, NewEndpoint};
use tillite::{
    Actor, Answer, Answered, Ask, AttemptRecord, Begun, BegunRefund, BegunSetup, Budget, ChargeId, ClaimedDelivery,
    Currency, CustomerUpdate, Delivery, DeliveryFilter, Dispute, DisputeState, EndpointId, Error, EventFilter, Expect,
    JournalHead, LatePayments, Metadata, Mode, NewApiKey, NewCustomer, NewGrant, NewLine, NewPayment, NewPrice,
    NewProduct, NewRefund, NewReplay, NewSession, NewSetup, Notice, NoticeKind, NotificationId, Outcome, PaymentMethod,
    Price, Refund, ReplayId, Resolution, Result, Session, SessionUpdate, Setup, TransportOutcome, WhatNow, Work,
};

use crate::kit::{
    self, ManualClock, Receiver, Shop, Till, Told, builder, challenged, documented, euro, setup_challenged,
    with_consumers, with_sandbox,
};

/// What a repetition of a verb does.
enum Repeat {
    /// Nothing is written, the first time neither.
    Reads(Call),
    /// The state that was asked for is there: the same answer, nothing written.
    State(Call),
    /// What there was to do is done: another answer, nothing written.
    Spent(Call),
    /// The key stands for the first answer: the same answer, nothing written; a conflict for
    /// anything else under the key; without a key, what the next field says.
    Key(KeyedCall, Without),
    /// It is done once more, and the documentation says so.
    Again(Call),
}

use Repeat::{Again, Key, Reads, Spent, State};

type Call = fn(&Stage) -> Result<String>;
/// With this key, and whether with other parameters than usual.
type KeyedCall = fn(&Stage, Option<&str>, bool) -> Result<String>;

/// What a verb that takes a key does when it is repeated without one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Without {
    /// It is done once more.
    Again,
    /// The state that was asked for is there.
    State,
    /// It is refused: the state that was asked for is there.
    Refused,
}

/// A shop in which every verb has something to do.
struct Stage {
    shop: Shop,
    /// An open session.
    open: Session,
    /// A call that is on its way.
    ask: Ask,
    /// A delivery that is on its way; more are due.
    delivery: ClaimedDelivery,
    /// The same delivery.
    sent: Delivery,
    /// A replay that was begun, to an endpoint that is off.
    replay: ReplayId,
    price: Price,
    /// A refund of a part of what was paid for a session.
    refunded: Refund,
    /// A payment method that was saved.
    method: PaymentMethod,
    /// A setup whose buyer must do something.
    setup_acting: Setup,
    /// A setup whose buyer must answer the sandbox.
    setup_challenged: Setup,
    /// A session for which an amount is held.
    held: Session,
    /// A session whose buyer must do something.
    acting: Session,
    /// A session whose buyer must answer the sandbox.
    challenged: Session,
    dispute: Dispute,
    /// A notice that was stored.
    notified: NotificationId,
    /// What the service posts and was not received yet.
    posted: Posted,
    /// A payment over another amount than was asked.
    undecided: AttemptRecord,
    /// A charge whose money came when another had paid.
    surplus: ChargeId,
    endpoint: EndpointId,
    /// An endpoint that was switched off.
    disabled: EndpointId,
    /// A key in force.
    key: NewApiKey,
    drawn: NewApiKey,
}

impl Stage {
    fn new() -> Stage {
        let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
        let engine = with_consumers(with_sandbox(builder(&clock, &till, &receiver)))
            .open_in_memory()
            .unwrap();
        let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
        let app = &shop.app;
        shop.endpoint(Format::XPay);
        let endpoint = app.endpoints().list(1, None).unwrap().data.remove(0).id;
        let disabled = kit::disabled(app);
        app.customers().set(NewCustomer::uid("u_1")).unwrap();
        let price = app.catalog().set_price(NewPrice::new("gold", euro(5_00))).unwrap();
        app.entitlements().grant(NewGrant::tier("u_1", "gold")).unwrap();
        let overdue = NewSession::empty().expires_after(Duration::from_secs(30 * 60));
        app.sessions().create(overdue).unwrap();
        let dispute = disputed(&shop);
        // A lost answer, to be looked up.
        let lost = shop.session("u_2");
        shop.till.answer(Outcome::Unknown { why: String::new() });
        shop.pay(&lost).unwrap();
        shop.clock.turn(Duration::from_secs(40 * 60));
        let open = shop.session("u_1");
        let flying = shop.session("u_3");
        let Begun::Ask(ask) = app.sessions().begin_payment(&flying.id, "tok_1").unwrap() else {
            panic!("nothing to ask");
        };
        let delivery = shop.engine.claim_deliveries(1).unwrap().remove(0);
        let sent = app.deliveries().get(&delivery.id).unwrap();
        let replay = app.deliveries().replay_range(NewReplay::to(&disabled)).unwrap().id;
        let paid = shop.session("u_4");
        shop.pay(&paid).unwrap();
        let part = NewRefund::session(&paid.id).amount(euro(1_00));
        let refunded = app.refunds().create(part).unwrap();
        let later = NewSession::tier("member", Currency::EUR)
            .customer("u_5")
            .capture_later();
        let held = app.sessions().create(later).unwrap();
        shop.pay(&held).unwrap();
        let acting = shop.session("u_6");
        shop.till.tell(Told::AskBuyer);
        shop.pay(&acting).unwrap();
        assert!(shop.till.act(&acting.id, true));
        let changed = |id: &str| Notice::new(id, NoticeKind::Changed).attempt(&ask.request.attempt);
        let first = shop.till.post([changed("n_1")]);
        app.notifications()
            .receive("till", &first.headers(), &first.body)
            .unwrap();
        let notified = app.notifications().list(1, None).unwrap().data.remove(0).id;
        let posted = shop.till.post([changed("n_2")]);
        let saving = shop.session("u_7");
        let payment = NewPayment::with("tok_1").save_method(true);
        app.sessions().pay(&saving.id, payment).unwrap();
        let payer = &saving.customer.as_ref().unwrap().id;
        let method = app.customers().payment_methods(payer, 1, None).unwrap().data.remove(0);
        shop.till.tell(Told::AskBuyer);
        let setup_acting = app.setups().create(NewSetup::new(payer, Currency::EUR)).unwrap();
        assert!(shop.till.act_on_setup(&setup_acting.id, true));
        let (surplus, undecided) = held_back(&shop);
        let key = app.keys().create().unwrap();
        shop.engine.run_due(Budget::items(100).work(Work::CONSUMERS)).unwrap();
        let drawn = app.keys().draw().unwrap();
        Stage {
            open,
            ask: *ask,
            delivery,
            sent,
            replay,
            price,
            refunded,
            method,
            setup_acting,
            setup_challenged: app.setups().create(setup_challenged(payer)).unwrap(),
            held,
            challenged: challenged(app),
            acting,
            dispute,
            notified,
            posted,
            surplus,
            undecided,
            endpoint,
            disabled,
            key,
            drawn,
            shop,
        }
    }

    /// Everything that is in the file, and where its journal stands.
    fn written(&self) -> (String, JournalHead) {
        let head = self.shop.app.journal_head().unwrap();
        (self.shop.engine.dump().unwrap(), head)
    }

    fn refund(&self, key: Option<&str>, other: bool) -> NewRefund {
        let new = NewRefund::charge(&self.refunded.charge).amount(euro(if other { 2_00 } else { 1_00 }));
        keyed(new, key, |new, key| new.idempotency_key(key))
    }

    fn setup(&self, key: Option<&str>, other: bool) -> NewSetup {
        let new = NewSetup::new(&self.method.customer, Currency::EUR).method(if other { "tok_2" } else { "tok_1" });
        keyed(new, key, |new, key| new.idempotency_key(key))
    }

    fn grant(&self, grant: NewGrant) -> Result<String> {
        shown(self.shop.app.entitlements().grant(grant))
    }
}

/// A payment that the buyer's bank disputes.
fn disputed(shop: &Shop) -> Dispute {
    let session = shop.session("u_7");
    shop.pay(&session).unwrap();
    let attempt = shop.till.requests()[0].attempt.clone();
    let told = Notice::new(
        "n_0",
        NoticeKind::Dispute {
            reference: "dp_1".to_owned(),
            state: DisputeState::Open,
            amount: euro(199_00),
            reason: None,
        },
    );
    let posted = shop.till.post([told.attempt(attempt)]);
    shop.app
        .notifications()
        .receive("till", &posted.headers(), &posted.body)
        .unwrap();
    shop.engine.run_due(Budget::items(1).work(Work::PAYMENTS)).unwrap();
    shop.app.disputes().list(1, None).unwrap().data.remove(0)
}

/// A charge whose money came when another had paid, and is held; and a payment over another amount.
fn held_back(shop: &Shop) -> (ChargeId, AttemptRecord) {
    let sessions = shop.app.sessions();
    let twice = shop.session("u_7");
    let Begun::Ask(late) = sessions.begin_payment(&twice.id, "tok_1").unwrap() else {
        panic!("nothing to ask");
    };
    let charge = shop.read(&twice).payment_intent.unwrap().charges.remove(0).id;
    let declined = kit::declined("no", "No.");
    shop.engine.settle(&late, &Answer::Executed(declined)).unwrap();
    shop.pay(&twice).unwrap();
    shop.app.set_late_payments(LatePayments::Hold).unwrap();
    let taken = Outcome::succeeded("till_3", late.request.money().unwrap());
    shop.engine.settle(&late, &Answer::Executed(taken)).unwrap();
    shop.app.set_late_payments(LatePayments::Refund).unwrap();
    let other = shop.session("u_8");
    shop.till.answer(Outcome::succeeded("till_4", euro(200_00)));
    shop.pay(&other).unwrap();
    let undecided = shop.app.unresolved(100, None).unwrap().data;
    let is_over_another = |record: &AttemptRecord| record.session.as_ref() == Some(&other.id);
    let undecided = undecided.into_iter().find(is_over_another).unwrap();
    (charge, undecided)
}

fn shown<T: Debug>(answer: Result<T>) -> Result<String> {
    answer.map(|answer| format!("{answer:?}"))
}

/// A builder's step that is taken where there is a key.
fn keyed<T>(new: T, key: Option<&str>, give: fn(T, &str) -> T) -> T {
    match key {
        Some(key) => give(new, key),
        None => new,
    }
}

fn payment(key: Option<&str>, other: bool) -> NewPayment {
    let method = if other { "tok_2" } else { "tok_1" };
    keyed(NewPayment::with(method), key, |payment, key| {
        payment.idempotency_key(key)
    })
}

/// What is begun, brought to its end by a processor that does as it is asked.
fn begun(stage: &Stage, begun: Begun) -> Result<String> {
    let payment = match begun {
        Begun::Done(payment) => *payment,
        Begun::Ask(ask) => {
            let answer = Answer::Executed(Outcome::succeeded("till_2", ask.request.money().unwrap()));
            stage.shop.engine.settle(&ask, &answer)?.payment().unwrap()
        }
    };
    Ok(format!("{:?}", payment.session))
}

fn succeeded(stage: &Stage) -> Answer {
    let money = stage.ask.request.money().unwrap();
    Answer::Executed(Outcome::succeeded("till_1", money))
}

#[rustfmt::skip]
const VERBS: &[(&str, Repeat)] = &[
    ("App::acting_as", Reads(|at| shown(at.shop.app.acting_as(Actor::Page)))),
    ("App::advance", Again(|at| shown(at.shop.app.advance(Duration::from_secs(1))))),
    ("App::attempt", Reads(|at| shown(at.shop.app.attempt(&at.undecided.id)))),
    ("App::attempts_about", Reads(|at| shown(at.shop.app.attempts_about(&at.undecided.about, 100, None)))),
    ("App::catalog", Reads(|at| Ok(format!("{:?}", at.shop.app.catalog())))),
    ("App::consumers", Reads(|at| Ok(format!("{:?}", at.shop.app.consumers())))),
    ("App::customers", Reads(|at| Ok(format!("{:?}", at.shop.app.customers())))),
    ("App::deliveries", Reads(|at| Ok(format!("{:?}", at.shop.app.deliveries())))),
    ("App::disputes", Reads(|at| Ok(format!("{:?}", at.shop.app.disputes())))),
    ("App::endpoints", Reads(|at| Ok(format!("{:?}", at.shop.app.endpoints())))),
    ("App::entitlements", Reads(|at| Ok(format!("{:?}", at.shop.app.entitlements())))),
    ("App::event", Reads(|at| shown(at.shop.app.event(&at.sent.event)))),
    ("App::event_body", Reads(|at| shown(at.shop.app.event_body(&at.sent.event, Format::XPay)))),
    ("App::events", Reads(|at| shown(at.shop.app.events(100, 0)))),
    ("App::evidence", Reads(|at| shown(at.shop.app.evidence(&at.undecided.id, 100, None)))),
    ("App::held_charges", Reads(|at| shown(at.shop.app.held_charges(100, None)))),
    ("App::history", Reads(|at| shown(at.shop.app.history(at.open.id.as_str(), 100, 0)))),
    ("App::journal_head", Reads(|at| shown(at.shop.app.journal_head()))),
    ("App::keep_held", State(|at| shown(at.shop.app.keep_held(&at.surplus, "a gift")))),
    ("App::keys", Reads(|at| Ok(format!("{:?}", at.shop.app.keys())))),
    ("App::mode", Reads(|at| Ok(format!("{:?}", at.shop.app.mode())))),
    ("App::notifications", Reads(|at| Ok(format!("{:?}", at.shop.app.notifications())))),
    ("App::now", Reads(|at| shown(at.shop.app.now()))),
    ("App::pull", Reads(|at| shown(at.shop.app.pull(&EventFilter::all(), 100, 0)))),
    ("App::refunds", Reads(|at| Ok(format!("{:?}", at.shop.app.refunds())))),
    ("App::resolve", State(|at| shown(at.shop.app.resolve(&at.undecided.id, Resolution::SendBack, "too much")))),
    ("App::sessions", Reads(|at| Ok(format!("{:?}", at.shop.app.sessions())))),
    ("App::set_public_url", State(|at| shown(at.shop.app.set_public_url(Some("https://pay.example"))))),
    ("App::setups", Reads(|at| Ok(format!("{:?}", at.shop.app.setups())))),
    ("App::set_late_payments", State(|at| shown(at.shop.app.set_late_payments(LatePayments::Hold)))),
    ("App::slug", Reads(|at| shown(at.shop.app.slug()))),
    ("App::unresolved", Reads(|at| shown(at.shop.app.unresolved(100, None)))),
    ("Catalog::archive_price", State(|at| shown(at.shop.app.catalog().archive_price(&at.price.id)))),
    ("Catalog::list", Reads(|at| shown(at.shop.app.catalog().list(100, None)))),
    ("Catalog::price", Reads(|at| shown(at.shop.app.catalog().price(&at.price.id)))),
    ("Catalog::set", State(|at| {
        let product = NewProduct::new("gold", "Gold").line("metals").price(NewPrice::new("gold", euro(6_00)));
        shown(at.shop.app.catalog().set(product))
    })),
    ("Catalog::set_price", State(|at| shown(at.shop.app.catalog().set_price(NewPrice::new("iron", euro(1_00)))))),
    ("Consumers::list", Reads(|at| shown(at.shop.app.consumers().list(100, None)))),
    ("Consumers::rewind", State(|at| shown(at.shop.app.consumers().rewind("notes", 1)))),
    ("Consumers::skip", State(|at| shown(at.shop.app.consumers().skip("stops", 3)))),
    ("Customers::by_uid", Reads(|at| shown(at.shop.app.customers().by_uid("u_1")))),
    ("Customers::create", Key(|at, key, other| {
        let new = NewCustomer::uid(if other { "u_8" } else { "u_9" });
        shown(at.shop.app.customers().create(keyed(new, key, |new, key| new.idempotency_key(key))))
    }, Without::Refused)),
    ("Customers::delete", State(|at| {
        shown(at.shop.app.customers().delete(&at.open.customer.as_ref().unwrap().id))
    })),
    ("Customers::detach", State(|at| shown(at.shop.app.customers().detach(&at.method.id)))),
    ("Customers::get", Reads(|at| {
        let customers = at.shop.app.customers();
        shown(customers.get(&customers.by_uid("u_1")?.id))
    })),
    ("Customers::list", Reads(|at| shown(at.shop.app.customers().list(100, None)))),
    ("Customers::payment_method", Reads(|at| shown(at.shop.app.customers().payment_method(&at.method.id)))),
    ("Customers::payment_methods", Reads(|at| {
        shown(at.shop.app.customers().payment_methods(&at.method.customer, 100, None))
    })),
    ("Customers::set", State(|at| shown(at.shop.app.customers().set(NewCustomer::uid("u_1").name("Ada"))))),
    ("Customers::update", State(|at| {
        let update = CustomerUpdate::new().name(Some("Ada".to_owned()));
        shown(at.shop.app.customers().update(&at.open.customer.as_ref().unwrap().id, update))
    })),
    ("Deliveries::attempts", Reads(|at| shown(at.shop.app.deliveries().attempts(&at.sent.id)))),
    ("Deliveries::cancel_replay", State(|at| shown(at.shop.app.deliveries().cancel_replay(&at.replay)))),
    ("Deliveries::get", Reads(|at| shown(at.shop.app.deliveries().get(&at.sent.id)))),
    ("Deliveries::list", Reads(|at| shown(at.shop.app.deliveries().list(&DeliveryFilter::all(), 100, None)))),
    ("Deliveries::replay", Key(|at, key, other| {
        let all = at.shop.app.deliveries().list(&DeliveryFilter::all(), 100, None)?.data;
        // What is sent again is the newest of them.
        let oldest = &all[all.len() - if other { 2 } else { 1 }];
        shown(at.shop.app.deliveries().replay(&oldest.id, key))
    }, Without::Again)),
    ("Deliveries::replay_range", Key(|at, key, other| {
        let new = NewReplay::to(&at.endpoint).after(i64::from(other));
        shown(at.shop.app.deliveries().replay_range(keyed(new, key, |new, key| new.idempotency_key(key))))
    }, Without::Again)),
    ("Deliveries::replay_status", Reads(|at| shown(at.shop.app.deliveries().replay_status(&at.replay)))),
    ("Deliveries::replays", Reads(|at| shown(at.shop.app.deliveries().replays(100, None)))),
    ("Disputes::get", Reads(|at| shown(at.shop.app.disputes().get(&at.dispute.id)))),
    ("Disputes::list", Reads(|at| shown(at.shop.app.disputes().list(100, None)))),
    ("Disputes::of", Reads(|at| shown(at.shop.app.disputes().of(&at.dispute.charge)))),
    ("Endpoints::add", Key(|at, key, other| {
        let format = if other { Format::XPay } else { Format::Standard };
        let new = NewEndpoint::new("https://shop.example/new", format);
        let new = keyed(new, key, |new, key| new.idempotency_key(key));
        let added = at.shop.app.endpoints().add(new)?;
        Ok(format!("{:?} {}", added.endpoint, added.secret.expose()))
    }, Without::Refused)),
    ("Endpoints::delete", State(|at| shown(at.shop.app.endpoints().delete(&at.endpoint)))),
    ("Endpoints::disable", State(|at| shown(at.shop.app.endpoints().disable(&at.endpoint)))),
    ("Endpoints::enable", State(|at| shown(at.shop.app.endpoints().enable(&at.disabled)))),
    ("Endpoints::get", Reads(|at| shown(at.shop.app.endpoints().get(&at.endpoint)))),
    ("Endpoints::update", State(|at| {
        let update = EndpointUpdate::new().url("https://shop.example/moved").events(["charge.failed"]).max_in_flight(2);
        shown(at.shop.app.endpoints().update(&at.endpoint, update))
    })),
    ("Endpoints::ping", Again(|at| shown(at.shop.app.endpoints().ping(&at.endpoint)))),
    ("Endpoints::public_key", Reads(|at| shown(at.shop.app.endpoints().public_key(&at.endpoint)))),
    ("Endpoints::rotate", Key(|at, key, other| {
        let endpoints = at.shop.app.endpoints();
        let id = at.endpoint.clone();
        let another = EndpointId::parse(&format!("we_test_{}", "0".repeat(30)))?;
        let rotated = endpoints.rotate(if other { &another } else { &id }, key)?;
        Ok(format!("{:?} {}", rotated.endpoint, rotated.secret.expose()))
    }, Without::Again)),
    ("Endpoints::list", Reads(|at| shown(at.shop.app.endpoints().list(100, None)))),
    ("Engine::acknowledge", Spent(|at| {
        shown(at.shop.engine.acknowledge(&at.delivery, &TransportOutcome::Answered(Answered::status(204))))
    })),
    ("Engine::app", State(|at| shown(at.shop.engine.app("another", Mode::Test).and_then(|app| app.slug())))),
    ("Engine::apps", Reads(|at| shown(at.shop.engine.apps(100, None)))),
    ("Engine::authenticate", Reads(|at| shown(at.shop.engine.authenticate(at.key.secret.expose())))),
    ("Engine::claim_asks", Spent(|at| shown(at.shop.engine.claim_asks(100).map(|asks| asks.len())))),
    ("Engine::acknowledge_all", Spent(|at| {
        let outcome = TransportOutcome::Answered(Answered::status(204));
        shown(at.shop.engine.acknowledge_all(&[(at.delivery.clone(), outcome)]))
    })),
    ("Engine::claim_deliveries", Spent(|at| shown(at.shop.engine.claim_deliveries(100).map(|claimed| claimed.len())))),
    ("Engine::backup", Reads(|at| {
        let folder = tempfile::tempdir().unwrap();
        shown(at.shop.engine.backup(folder.path().join("copy.db")))
    })),
    ("Engine::close", Reads(|at| shown(at.shop.engine.clone().close()))),
    ("Engine::dump", Reads(|at| at.shop.engine.dump())),
    ("Engine::find_app", Reads(|at| shown(at.shop.engine.find_app("lixblogs", Mode::Live)))),
    ("Engine::numbers", Reads(|at| Ok(format!("{}", at.shop.engine.numbers().exhausted)))),
    ("Engine::health", Reads(|at| shown(at.shop.engine.health()))),
    ("Engine::next_due", Reads(|at| shown(at.shop.engine.next_due()))),
    ("Engine::reset_seal", State(|at| shown(at.shop.engine.reset_seal()))),
    ("Engine::run_due", Spent(|at| shown(at.shop.engine.run_due(Budget::items(1_000))))),
    ("Engine::settle", State(|at| shown(at.shop.engine.settle(&at.ask, &succeeded(at))))),
    ("Engine::spawn_runner", Reads(|at| {
        // It starts a thread, and nothing else by itself: here one that nothing is left to do for.
        at.shop.engine.run_due(Budget::items(1_000))?;
        let before = at.written();
        assert!(at.shop.engine.spawn_runner(1).stop(Duration::from_secs(60)));
        assert_eq!(at.written(), before);
        Ok(String::new())
    })),
    ("Engine::verify", Reads(|at| shown(at.shop.engine.verify(&Expect::nothing())))),
    ("Engine::wait_due", Reads(|at| shown(at.shop.engine.wait_due(Duration::ZERO)))),
    ("Engine::wait_due_for", Reads(|at| shown(at.shop.engine.wait_due_for(Work::TIME, Duration::ZERO)))),
    ("Entitlements::as_of", Reads(|at| {
        shown(at.shop.app.entitlements().as_of("u_1", "main", at.shop.app.now()?))
    })),
    ("Entitlements::get", Reads(|at| shown(at.shop.app.entitlements().get("u_1")))),
    ("Entitlements::get_in", Reads(|at| shown(at.shop.app.entitlements().get_in("u_1", "main")))),
    ("Entitlements::grant", Key(|at, key, other| {
        let new = NewGrant::tier("u_9", "gold").quantity(if other { 2 } else { 1 });
        at.grant(keyed(new, key, |new, key| new.idempotency_key(key)))
    }, Without::Again)),
    ("Entitlements::history", Reads(|at| shown(at.shop.app.entitlements().history("u_1", "main", 100, None)))),
    ("Entitlements::list", Reads(|at| shown(at.shop.app.entitlements().list("u_1")))),
    ("Entitlements::revoke", State(|at| shown(at.shop.app.entitlements().revoke("u_1", None, "a mistake")))),
    ("Entitlements::version", Reads(|at| shown(at.shop.app.entitlements().version("u_1", "main", 1)))),
    ("Keys::add", State(|at| shown(at.shop.app.keys().add(&at.drawn)))),
    ("Keys::create", Again(|at| shown(at.shop.app.keys().create()))),
    ("Keys::draw", Reads(|at| at.shop.app.keys().draw().map(|_| String::new()))),
    ("Keys::list", Reads(|at| shown(at.shop.app.keys().list(100, None)))),
    ("Keys::revoke", State(|at| shown(at.shop.app.keys().revoke(&at.key.key.id)))),
    ("Notifications::body", Reads(|at| shown(at.shop.app.notifications().body(&at.notified)))),
    ("Notifications::get", Reads(|at| shown(at.shop.app.notifications().get(&at.notified)))),
    ("Notifications::list", Reads(|at| shown(at.shop.app.notifications().list(100, None)))),
    ("Notifications::receive", State(|at| {
        shown(at.shop.app.notifications().receive("till", &at.posted.headers(), &at.posted.body))
    })),
    ("Refunds::begin", Key(|at, key, other| {
        Ok(match at.shop.app.refunds().begin(at.refund(key, other))? {
            BegunRefund::Done(refund) => format!("{refund:?}"),
            BegunRefund::Ask(ask, _) => {
                let answer = Answer::Executed(Outcome::succeeded("back_1", ask.request.money().unwrap()));
                format!("{:?}", at.shop.engine.settle(&ask, &answer)?.refund().unwrap())
            }
        })
    }, Without::Again)),
    ("Refunds::create", Key(|at, key, other| {
        shown(at.shop.app.refunds().create(at.refund(key, other)))
    }, Without::Again)),
    ("Refunds::get", Reads(|at| shown(at.shop.app.refunds().get(&at.refunded.id)))),
    ("Refunds::list", Reads(|at| shown(at.shop.app.refunds().list(100, None)))),
    ("Refunds::of", Reads(|at| shown(at.shop.app.refunds().of(&at.refunded.charge)))),
    ("Runner::stop", Reads(|_| Ok(String::new()))),
    ("Runner::threads", Reads(|_| Ok(String::new()))),
    ("Sessions::answer_challenge", State(|at| {
        shown(at.shop.app.sessions().answer_challenge(&at.challenged.id, Challenge::Approve))
    })),
    ("Sessions::begin_payment", Key(|at, key, other| {
        let sessions = at.shop.app.sessions();
        Ok(match sessions.begin_payment(&at.open.id, payment(key, other))? {
            Begun::Done(payment) => format!("{payment:?}"),
            Begun::Ask(ask) => {
                let answer = Answer::Executed(Outcome::succeeded("till_2", ask.request.money().unwrap()));
                format!("{:?}", at.shop.engine.settle(&ask, &answer)?.payment().unwrap())
            }
        })
    }, Without::State)),
    ("Sessions::begin_capture", State(|at| begun(at, at.shop.app.sessions().begin_capture(&at.held.id, None)?))),
    ("Sessions::begin_void", State(|at| begun(at, at.shop.app.sessions().begin_void(&at.held.id)?))),
    ("Sessions::cancel_payment", State(|at| {
        shown(at.shop.app.sessions().cancel_payment(&at.acting.id).map(|payment| payment.session))
    })),
    ("Sessions::capture", State(|at| {
        shown(at.shop.app.sessions().capture(&at.held.id, None).map(|payment| payment.session))
    })),
    ("Sessions::refresh", State(|at| {
        shown(at.shop.app.sessions().refresh(&at.acting.id).map(|payment| payment.session.state))
    })),
    ("Sessions::void", State(|at| {
        shown(at.shop.app.sessions().void(&at.held.id).map(|payment| payment.session))
    })),
    ("Sessions::cancel", State(|at| shown(at.shop.app.sessions().cancel(&at.open.id)))),
    ("Sessions::create", Key(|at, key, other| {
        let new = NewSession::empty().line(NewLine::inline("A pen", euro(if other { 2_00 } else { 1_00 })));
        shown(at.shop.app.sessions().create(keyed(new, key, |new, key| new.idempotency_key(key))))
    }, Without::Again)),
    ("Sessions::expire", State(|at| shown(at.shop.app.sessions().expire(&at.open.id)))),
    ("Sessions::get", Reads(|at| shown(at.shop.app.sessions().get(&at.open.id)))),
    ("Sessions::list", Reads(|at| shown(at.shop.app.sessions().list(100, None)))),
    ("Setups::answer_challenge", State(|at| {
        shown(at.shop.app.setups().answer_challenge(&at.setup_challenged.id, Challenge::Approve))
    })),
    ("Setups::begin", Key(|at, key, other| {
        let setup = match at.shop.app.setups().begin(at.setup(key, other))? {
            BegunSetup::Ask(_, setup) | BegunSetup::Done(setup) => setup,
        };
        Ok(format!("{setup:?}"))
    }, Without::Again)),
    ("Setups::cancel", State(|at| shown(at.shop.app.setups().cancel(&at.setup_acting.id)))),
    ("Setups::create", Key(|at, key, other| shown(at.shop.app.setups().create(at.setup(key, other))), Without::Again)),
    ("Setups::get", Reads(|at| shown(at.shop.app.setups().get(&at.setup_acting.id)))),
    ("Setups::list", Reads(|at| shown(at.shop.app.setups().list(100, None)))),
    ("Setups::refresh", State(|at| shown(at.shop.app.setups().refresh(&at.setup_acting.id)))),
    ("Sessions::pay", Key(|at, key, other| {
        shown(at.shop.app.sessions().pay(&at.open.id, payment(key, other)))
    }, Without::State)),
    ("Sessions::update", State(|at| {
        let update = SessionUpdate::new().metadata(Metadata::new([("a", "b")])?);
        shown(at.shop.app.sessions().update(&at.open.id, update))
    })),
];

#[test]
fn the_table_has_every_verb_and_its_documentation_says_the_same() {
    let documented = documented();
    let listed: BTreeSet<&str> = VERBS.iter().map(|(verb, _)| *verb).collect();
    let known: BTreeSet<&str> = documented.keys().map(String::as_str).collect();
    assert_eq!(listed, known);
    assert_eq!(listed.len(), VERBS.len());
    for (verb, repeat) in VERBS {
        let doc = documented[*verb].to_lowercase();
        let says: Vec<bool> = ["idempotency key", "idempotent by state", "not idempotent"]
            .map(|words| doc.contains(words))
            .into();
        let expected = match repeat {
            Reads(_) => [false, false, false],
            State(_) | Spent(_) => [false, true, false],
            Key(_, Without::State) => [true, true, false],
            Key(..) => [true, false, false],
            Again(_) => [false, false, true],
        };
        assert_eq!(says, expected, "{verb}: {doc}");
    }
}

#[test]
fn a_repetition_does_what_the_table_says() {
    for (verb, repeat) in VERBS {
        let stage = Stage::new();
        let start = stage.written();
        match repeat {
            Reads(call) => {
                let fresh = verb.starts_with("Engine::spawn");
                call(&stage).unwrap();
                call(&stage).unwrap();
                assert!(fresh || stage.written() == start, "{verb}");
            }
            State(call) | Spent(call) => {
                let first = call(&stage).unwrap();
                let after = stage.written();
                // Here every secret opens; where one does not, its own test resets it twice.
                assert_eq!(after == start, *verb == "Engine::reset_seal", "{verb} did nothing");
                let second = call(&stage).unwrap();
                assert_eq!(second == first, matches!(repeat, State(_)), "{verb}: {second}");
                assert_eq!(stage.written(), after, "{verb}");
            }
            Again(call) => {
                let first = call(&stage).unwrap();
                let after = stage.written();
                assert_ne!(after, start, "{verb}");
                assert_ne!(call(&stage).unwrap(), first, "{verb}");
                assert_ne!(stage.written(), after, "{verb}");
            }
            Key(call, without) => {
                let first = call(&stage, Some("k"), false).unwrap();
                let after = stage.written();
                assert_ne!(after, start, "{verb}");
                for _ in 0..2 {
                    assert_eq!(call(&stage, Some("k"), false).unwrap(), first, "{verb}");
                    let conflict = call(&stage, Some("k"), true).unwrap_err();
                    assert_eq!(conflict, Error::IdempotencyConflict { key: "k".to_owned() }, "{verb}");
                    assert_eq!(stage.written(), after, "{verb}");
                }
                let stage = Stage::new();
                call(&stage, None, false).unwrap();
                let after = stage.written();
                let second = call(&stage, None, false);
                match without {
                    Without::Again => assert!(second.is_ok() && stage.written() != after, "{verb}"),
                    Without::State => assert!(second.is_ok() && stage.written() == after, "{verb}"),
                    Without::Refused => {
                        assert_eq!(second.unwrap_err().what_now(), WhatNow::FixInput, "{verb}");
                        assert_eq!(stage.written(), after, "{verb}");
                    }
                }
                stage.shop.clean();
            }
        }
        stage.shop.clean();
    }
}

#[test]
fn while_a_payment_is_in_flight_no_key_starts_another() {
    for (state, outcome) in [
        ("initiated", None),
        ("unknown", Some(Outcome::Unknown { why: String::new() })),
        (
            "pending",
            Some(Outcome::Pending {
                reference: "till_1".to_owned(),
            }),
        ),
    ] {
        let shop = Shop::open();
        let sessions = shop.app.sessions();
        let session = shop.session("u_1");
        let Begun::Ask(ask) = sessions.begin_payment(&session.id, payment(Some("k"), false)).unwrap() else {
            panic!("nothing to ask");
        };
        if let Some(outcome) = outcome {
            shop.engine.settle(&ask, &Answer::Executed(outcome)).unwrap();
        }
        let charge = shop.read(&session).payment_intent.unwrap().charges.remove(0);
        assert_eq!(charge.state.as_str(), state);
        let in_progress = Error::PaymentInProgress {
            attempt: charge.id.to_string(),
            since_ms: charge.created_at.as_millis(),
        };
        let before = shop.engine.dump().unwrap();
        for key in [Some("k"), Some("another"), None] {
            assert_eq!(sessions.pay(&session.id, payment(key, false)), Err(in_progress.clone()));
            let begun = sessions.begin_payment(&session.id, payment(key, false));
            assert_eq!(begun.map(drop), Err(in_progress.clone()));
        }
        assert_eq!(in_progress.what_now(), WhatNow::RetryLater);
        assert_eq!(shop.engine.dump().unwrap(), before);
        assert!(shop.till.requests().is_empty());
        shop.clean();
    }
}
