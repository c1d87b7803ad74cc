//! Every verb, with what a repetition of it does.

use std::fmt::Debug;
use std::time::Duration;

use tillite::sandbox::Challenge;
use tillite::webhook::{EndpointUpdate, Format, NewEndpoint};
use tillite::{
    Answer, Answered, Begun, BegunRefund, BegunSetup, Budget, Currency, CustomerUpdate, DeliveryFilter, EventFilter,
    Expect, GrantEffect, LatePayments, Metadata, Mode, NewCustomer, NewGrant, NewLine, NewPayment, NewPrice,
    NewProduct, NewRefund, NewReplay, NewSession, NewSetup, Outcome, ReplayOf, Resolution, Result, SessionUpdate,
    TransportOutcome, Work,
};

use super::stage::Host;
use crate::kit::euro;

/// Calls a verb; its answer as text.
pub type Act = fn(&Host<'_>) -> Result<String>;

/// What a verb does to the file, and what a repetition does.
#[derive(Clone, Copy)]
pub enum Effect {
    /// It asks the file for nothing by itself, for this reason.
    Nothing(#[allow(dead_code, reason = "for the reader")] &'static str),
    /// Nothing is written.
    Reads(Act),
    /// What was asked for is there: the same answer, and nothing is written.
    Once(Act),
    /// What there was to do is done: another answer, and nothing is written.
    Spent(Act),
    /// It is refused, because what was asked for is there.
    Refused(Act),
    /// It is done once more.
    Again(Act),
    /// It collects money; while it is not known what became of that, a repetition waits.
    Pays(Act),
    /// It asks a processor; a repetition is answered, or waits for what came of that.
    Asks(Act),
    /// It is done piece by piece; a piece that was begun is somebody's until its lease has ended.
    Works(Act),
}

use Effect::{Again, Asks, Nothing, Once, Pays, Reads, Refused, Spent, Works};

impl Effect {
    pub fn act(self) -> Option<Act> {
        match self {
            Nothing(_) => None,
            Reads(act) | Once(act) | Spent(act) | Refused(act) | Again(act) | Pays(act) | Asks(act) | Works(act) => {
                Some(act)
            }
        }
    }
}

fn shown<T: Debug>(answer: Result<T>) -> Result<String> {
    answer.map(|answer| format!("{answer:?}"))
}

fn pen() -> NewSession {
    NewSession::empty().line(NewLine::inline("A pen", euro(1_20)))
}

/// What is due of one kind of work.
fn run(at: &Host<'_>, work: Work, items: usize) -> Result<String> {
    shown(at.engine.run_due(Budget::items(items).work(work)))
}

fn begun(begun: Begun) -> String {
    match begun {
        Begun::Ask(ask) => format!("{:?}", ask.request),
        Begun::Done(payment) => format!("{:?}", payment.session),
    }
}

const HANDLE: &str = "a handle";

#[rustfmt::skip]
pub const VERBS: &[(&str, Effect)] = &[
    ("App::acting_as", Nothing(HANDLE)),
    ("App::advance", Again(|at| shown(at.app.advance(Duration::from_secs(5))))),
    ("App::attempt", Reads(|at| shown(at.app.attempt(&at.known.unanswered)))),
    ("App::attempts_about", Reads(|at| shown(at.app.attempts_about(at.known.late.as_str(), 100, None)))),
    ("App::catalog", Nothing(HANDLE)),
    ("App::consumers", Nothing(HANDLE)),
    ("App::customers", Nothing(HANDLE)),
    ("App::deliveries", Nothing(HANDLE)),
    ("App::disputes", Nothing(HANDLE)),
    ("App::endpoints", Nothing(HANDLE)),
    ("App::entitlements", Nothing(HANDLE)),
    ("App::event", Reads(|at| shown(at.app.event(&at.known.sent.event)))),
    ("App::event_body", Reads(|at| shown(at.app.event_body(&at.known.sent.event, Format::Standard)))),
    ("App::events", Reads(|at| shown(at.app.events(100, 0)))),
    ("App::evidence", Reads(|at| shown(at.app.evidence(&at.known.unanswered, 100, None)))),
    ("App::held_charges", Reads(|at| shown(at.app.held_charges(100, None)))),
    ("App::history", Reads(|at| shown(at.app.history(at.known.open.as_str(), 100, 0)))),
    ("App::journal_head", Reads(|at| shown(at.app.journal_head()))),
    ("App::keep_held", Once(|at| shown(at.app.keep_held(&at.known.late, "a gift")))),
    ("App::keys", Nothing(HANDLE)),
    ("App::mode", Nothing(HANDLE)),
    ("App::notifications", Nothing(HANDLE)),
    ("App::now", Reads(|at| shown(at.app.now()))),
    ("App::pull", Reads(|at| shown(at.app.pull(&EventFilter::all(), 100, 0)))),
    ("App::refunds", Nothing(HANDLE)),
    ("App::resolve", Once(|at| {
        shown(at.app.resolve(&at.known.unanswered, Resolution::succeeded_as("till_1"), "seen there"))
    })),
    ("App::resolve", Once(|at| shown(at.app.resolve(&at.known.mismatched, Resolution::SendBack, "too much")))),
    ("App::sessions", Nothing(HANDLE)),
    ("App::set_late_payments", Once(|at| shown(at.app.set_late_payments(LatePayments::Hold)))),
    ("App::setups", Nothing(HANDLE)),
    ("App::set_public_url", Once(|at| shown(at.app.set_public_url(Some("https://pay.example"))))),
    ("App::slug", Reads(|at| shown(at.app.slug()))),
    ("App::unresolved", Reads(|at| shown(at.app.unresolved(100, None)))),
    ("Catalog::archive_price", Once(|at| shown(at.app.catalog().archive_price(&at.known.price)))),
    ("Catalog::list", Reads(|at| shown(at.app.catalog().list(100, None)))),
    ("Catalog::price", Reads(|at| shown(at.app.catalog().price(&at.known.price)))),
    ("Catalog::set", Once(|at| {
        let price = NewPrice::new("silver", euro(6_00));
        shown(at.app.catalog().set(NewProduct::new("silver", "Silver").line("metals").price(price)))
    })),
    ("Catalog::set_price", Once(|at| shown(at.app.catalog().set_price(NewPrice::new("iron", euro(1_00)))))),
    ("Consumers::list", Reads(|at| shown(at.app.consumers().list(100, None)))),
    ("Consumers::rewind", Once(|at| shown(at.app.consumers().rewind("notes", 1)))),
    ("Consumers::skip", Once(|at| shown(at.app.consumers().skip("stops", 3)))),
    ("Customers::by_uid", Reads(|at| shown(at.app.customers().by_uid("u_1")))),
    ("Customers::create", Once(|at| {
        shown(at.app.customers().create(NewCustomer::uid("u_9").name("Ada").idempotency_key("new")))
    })),
    ("Customers::create", Refused(|at| shown(at.app.customers().create(NewCustomer::uid("u_9"))))),
    ("Customers::create", Again(|at| shown(at.app.customers().create(NewCustomer::guest())))),
    ("Customers::delete", Once(|at| shown(at.app.customers().delete(&at.known.customer)))),
    ("Customers::detach", Once(|at| shown(at.app.customers().detach(&at.known.method)))),
    ("Customers::get", Reads(|at| shown(at.app.customers().get(&at.known.customer)))),
    ("Customers::list", Reads(|at| shown(at.app.customers().list(100, None)))),
    ("Customers::payment_method", Reads(|at| shown(at.app.customers().payment_method(&at.known.method)))),
    ("Customers::payment_methods", Reads(|at| {
        shown(at.app.customers().payment_methods(&at.known.customer, 100, None))
    })),
    ("Customers::set", Once(|at| shown(at.app.customers().set(NewCustomer::uid("u_1").name("Ada"))))),
    ("Customers::update", Once(|at| {
        let update = CustomerUpdate::new().name(Some("Ada".to_owned()));
        shown(at.app.customers().update(&at.known.customer, update))
    })),
    ("Deliveries::attempts", Reads(|at| shown(at.app.deliveries().attempts(&at.known.sent.id)))),
    ("Deliveries::cancel_replay", Once(|at| shown(at.app.deliveries().cancel_replay(&at.known.replay)))),
    ("Deliveries::get", Reads(|at| shown(at.app.deliveries().get(&at.known.sent.id)))),
    ("Deliveries::list", Reads(|at| shown(at.app.deliveries().list(&DeliveryFilter::all(), 100, None)))),
    ("Deliveries::replay", Once(|at| shown(at.app.deliveries().replay(&at.known.sent.id, Some("again"))))),
    ("Deliveries::replay", Again(|at| {
        shown(at.app.deliveries().replay(&at.known.sent.id, None).map(|delivery| delivery.event))
    })),
    ("Deliveries::replay_range", Once(|at| {
        let new = NewReplay::to(&at.known.endpoint).of(ReplayOf::All).idempotency_key("range");
        shown(at.app.deliveries().replay_range(new))
    })),
    ("Deliveries::replay_status", Reads(|at| shown(at.app.deliveries().replay_status(&at.known.replay)))),
    ("Deliveries::replays", Reads(|at| shown(at.app.deliveries().replays(100, None)))),
    ("Disputes::get", Reads(|at| shown(at.app.disputes().get(&at.known.dispute)))),
    ("Disputes::list", Reads(|at| shown(at.app.disputes().list(100, None)))),
    ("Disputes::of", Reads(|at| {
        let dispute = at.app.disputes().get(&at.known.dispute)?;
        shown(at.app.disputes().of(&dispute.charge))
    })),
    ("Endpoints::add", Refused(|at| {
        let new = NewEndpoint::new("https://shop.example/new", Format::XPay);
        shown(at.app.endpoints().add(new).map(|added| added.endpoint))
    })),
    ("Endpoints::delete", Once(|at| shown(at.app.endpoints().delete(&at.known.endpoint)))),
    ("Endpoints::disable", Once(|at| shown(at.app.endpoints().disable(&at.known.endpoint)))),
    ("Endpoints::enable", Once(|at| shown(at.app.endpoints().enable(&at.known.disabled)))),
    ("Endpoints::get", Reads(|at| shown(at.app.endpoints().get(&at.known.endpoint)))),
    ("Endpoints::update", Once(|at| {
        let update = EndpointUpdate::new().url("https://shop.example/moved").events(["charge.failed"]).max_in_flight(2);
        shown(at.app.endpoints().update(&at.known.endpoint, update))
    })),
    ("Endpoints::ping", Again(|at| shown(at.app.endpoints().ping(&at.known.endpoint)))),
    ("Endpoints::public_key", Reads(|at| {
        shown(at.app.endpoints().public_key(&at.known.endpoint).map(|key| key.is_some()))
    })),
    ("Endpoints::rotate", Once(|at| {
        shown(at.app.endpoints().rotate(&at.known.endpoint, Some("rotate")).map(|rotated| rotated.endpoint))
    })),
    ("Endpoints::list", Reads(|at| shown(at.app.endpoints().list(100, None)))),
    ("Engine::acknowledge", Spent(|at| {
        shown(at.engine.acknowledge(&at.known.delivery, &TransportOutcome::Answered(Answered::status(204))))
    })),
    ("Engine::app", Once(|at| shown(at.engine.app("another", Mode::Live).map(|app| app.mode())))),
    ("Engine::apps", Reads(|at| shown(at.engine.apps(100, None)))),
    ("Engine::authenticate", Reads(|at| {
        let app = at.engine.authenticate(at.known.key.secret.expose())?;
        Ok(format!("{}", app.is_some()))
    })),
    ("Engine::claim_asks", Spent(|at| shown(at.engine.claim_asks(100).map(|asks| asks.len())))),
    ("Engine::acknowledge_all", Spent(|at| {
        let outcome = TransportOutcome::Answered(Answered::status(204));
        shown(at.engine.acknowledge_all(&[(at.known.delivery.clone(), outcome)]))
    })),
    ("Engine::claim_deliveries", Spent(|at| shown(at.engine.claim_deliveries(100).map(|claimed| claimed.len())))),
    ("Engine::backup", Nothing("it copies to the operating system's files")),
    ("Engine::close", Once(|at| shown(at.engine.clone().close()))),
    ("Engine::dump", Reads(|at| at.engine.dump())),
    ("Engine::find_app", Reads(|at| shown(at.engine.find_app("lixblogs", Mode::Live)))),
    ("Engine::numbers", Nothing("counters in memory")),
    ("Engine::health", Reads(|at| shown(at.engine.health()))),
    ("Engine::next_due", Reads(|at| shown(at.engine.next_due()))),
    // With another sealing key than the one that sealed what is there.
    ("Engine::reset_seal", Spent(|at| shown(at.engine.reset_seal().map(|reset| reset.len())))),
    ("Engine::run_due", Works(|at| run(at, Work::PAYMENTS, 10))),
    ("Engine::run_due", Spent(|at| run(at, Work::TIME, 10))),
    ("Engine::run_due", Works(|at| run(at, Work::DELIVERIES, 2))),
    ("Engine::run_due", Spent(|at| run(at, Work::REPLAYS, 3))),
    ("Engine::run_due", Spent(|at| run(at, Work::RETENTION, 10))),
    ("Engine::run_due", Spent(|at| run(at, Work::CONSUMERS, 1_000))),
    ("Engine::settle", Once(|at| {
        let money = at.known.ask.request.money()?;
        shown(at.engine.settle(&at.known.ask, &Answer::Executed(Outcome::succeeded("till_1", money))))
    })),
    ("Engine::settle", Once(|at| {
        let answer = Outcome::Declined { code: "no".to_owned(), message: String::new(), advice: None };
        shown(at.engine.settle(&at.known.ask, &Answer::Executed(answer)))
    })),
    ("Engine::spawn_runner", Nothing("its threads call run_due")),
    ("Engine::verify", Reads(|at| shown(at.engine.verify(&Expect::nothing())))),
    ("Engine::wait_due", Reads(|at| shown(at.engine.wait_due(Duration::ZERO)))),
    ("Engine::wait_due_for", Reads(|at| shown(at.engine.wait_due_for(Work::TIME, Duration::ZERO)))),
    ("Entitlements::as_of", Reads(|at| {
        shown(at.app.entitlements().as_of("u_1", "main", at.app.now()?))
    })),
    ("Entitlements::get", Reads(|at| shown(at.app.entitlements().get("u_1")))),
    ("Entitlements::get_in", Reads(|at| shown(at.app.entitlements().get_in("u_1", "main")))),
    ("Entitlements::grant", Once(|at| {
        shown(at.app.entitlements().grant(NewGrant::tier("u_9", "gold").days(3).idempotency_key("gift")))
    })),
    ("Entitlements::grant", Again(|at| shown(at.app.entitlements().grant(NewGrant::tier("u_1", "gold"))))),
    ("Entitlements::history", Reads(|at| shown(at.app.entitlements().history("u_1", "main", 100, None)))),
    ("Entitlements::list", Reads(|at| shown(at.app.entitlements().list("u_1")))),
    ("Entitlements::revoke", Once(|at| shown(at.app.entitlements().revoke("u_1", None, "a mistake")))),
    ("Entitlements::version", Reads(|at| shown(at.app.entitlements().version("u_1", "main", 1)))),
    ("Keys::add", Once(|at| shown(at.app.keys().add(&at.known.drawn)))),
    ("Keys::create", Again(|at| shown(at.app.keys().create().map(|key| key.key.created_at)))),
    ("Keys::draw", Nothing("nothing is written yet")),
    ("Keys::list", Reads(|at| shown(at.app.keys().list(100, None)))),
    ("Keys::revoke", Once(|at| shown(at.app.keys().revoke(&at.known.key.key.id)))),
    ("Notifications::body", Reads(|at| shown(at.app.notifications().body(&at.known.notified)))),
    ("Notifications::get", Reads(|at| shown(at.app.notifications().get(&at.known.notified)))),
    ("Notifications::list", Reads(|at| shown(at.app.notifications().list(100, None)))),
    ("Notifications::receive", Once(|at| {
        shown(at.app.notifications().receive("till", &at.known.posted.headers(), &at.known.posted.body))
    })),
    ("Refunds::begin", Once(|at| {
        let new = NewRefund::session(&at.known.paid).amount(euro(1_00)).idempotency_key("back-1");
        let refund = match at.app.refunds().begin(new)? {
            BegunRefund::Ask(_, refund) | BegunRefund::Done(refund) => refund,
        };
        Ok(format!("{refund:?}"))
    })),
    ("Refunds::create", Asks(|at| {
        let new = NewRefund::session(&at.known.paid).effect(GrantEffect::Revoke).idempotency_key("back-1");
        shown(at.app.refunds().create(new).map(|refund| refund.amount))
    })),
    ("Refunds::get", Reads(|at| shown(at.app.refunds().get(&at.known.refund)))),
    ("Refunds::list", Reads(|at| shown(at.app.refunds().list(100, None)))),
    ("Refunds::of", Reads(|at| {
        let refund = at.app.refunds().get(&at.known.refund)?;
        shown(at.app.refunds().of(&refund.charge))
    })),
    ("Runner::stop", Nothing("a thread")),
    ("Runner::threads", Nothing("a thread")),
    ("Sessions::answer_challenge", Once(|at| {
        let payment = at.app.sessions().answer_challenge(&at.known.challenged, Challenge::Approve);
        shown(payment.map(|payment| payment.session.state))
    })),
    ("Sessions::begin_payment", Pays(|at| {
        let begun = at.app.sessions().begin_payment(&at.known.open, "tok_1")?;
        Ok(match begun {
            Begun::Ask(ask) => format!("{:?}", ask.request),
            Begun::Done(payment) => format!("{payment:?}"),
        })
    })),
    ("Sessions::begin_capture", Asks(|at| Ok(begun(at.app.sessions().begin_capture(&at.known.held, None)?)))),
    ("Sessions::begin_void", Asks(|at| Ok(begun(at.app.sessions().begin_void(&at.known.held)?)))),
    ("Sessions::cancel_payment", Asks(|at| {
        shown(at.app.sessions().cancel_payment(&at.known.acting).map(|payment| payment.session.state))
    })),
    ("Sessions::capture", Asks(|at| {
        shown(at.app.sessions().capture(&at.known.held, Some(euro(100_00))).map(|payment| payment.session.state))
    })),
    ("Sessions::refresh", Asks(|at| {
        shown(at.app.sessions().refresh(&at.known.acting).map(|payment| payment.session.state))
    })),
    ("Sessions::void", Asks(|at| {
        shown(at.app.sessions().void(&at.known.held).map(|payment| payment.session.state))
    })),
    ("Sessions::cancel", Once(|at| shown(at.app.sessions().cancel(&at.known.open)))),
    ("Sessions::create", Once(|at| {
        let new = pen().customer("u_9").order_key("order-1").idempotency_key("order-1");
        shown(at.app.sessions().create(new))
    })),
    ("Sessions::create", Again(|at| shown(at.app.sessions().create(pen())))),
    ("Sessions::expire", Once(|at| shown(at.app.sessions().expire(&at.known.open)))),
    ("Sessions::get", Reads(|at| shown(at.app.sessions().get(&at.known.open)))),
    ("Sessions::list", Reads(|at| shown(at.app.sessions().list(100, None)))),
    ("Setups::answer_challenge", Once(|at| {
        let setup = at.app.setups().answer_challenge(&at.known.setup_challenged, Challenge::Approve);
        shown(setup.map(|setup| setup.state))
    })),
    ("Setups::begin", Once(|at| {
        let new = NewSetup::new(&at.known.customer, Currency::EUR).idempotency_key("card-1");
        let setup = match at.app.setups().begin(new)? {
            BegunSetup::Ask(_, setup) | BegunSetup::Done(setup) => setup,
        };
        Ok(format!("{setup:?}"))
    })),
    ("Setups::cancel", Asks(|at| shown(at.app.setups().cancel(&at.known.setup).map(|setup| setup.id)))),
    ("Setups::create", Asks(|at| {
        let new = NewSetup::new(&at.known.customer, Currency::EUR).idempotency_key("card-1");
        shown(at.app.setups().create(new).map(|setup| setup.number))
    })),
    ("Setups::get", Reads(|at| shown(at.app.setups().get(&at.known.setup)))),
    ("Setups::list", Reads(|at| shown(at.app.setups().list(100, None)))),
    ("Setups::refresh", Asks(|at| shown(at.app.setups().refresh(&at.known.setup).map(|setup| setup.id)))),
    ("Sessions::pay", Pays(|at| shown(at.app.sessions().pay(&at.known.open, "tok_1").map(|paid| paid.session)))),
    ("Sessions::pay", Pays(|at| {
        let payment = NewPayment::with("tok_1").idempotency_key("pay-1");
        shown(at.app.sessions().pay(&at.known.open, payment))
    })),
    ("Sessions::update", Once(|at| {
        let update = SessionUpdate::new().metadata(Metadata::new([("a", "b")])?);
        shown(at.app.sessions().update(&at.known.open, update))
    })),
];
