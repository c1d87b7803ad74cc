//! Where a sweep takes place: a file in which every verb has something to do, in the states that a
//! program can find one in, and the world around it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tillite::Work;
use tillite::testing::{Disk, FakeProcessor, FakeReceiver, ManualClock, Posted, SeededEntropy, Survive, Taken, Told};
use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    Amount, Answer, App, Ask, AttemptId, Begun, Budget, Charge, ChargeId, ClaimedDelivery, Currency, CustomerId,
    Delivery, DisputeId, DisputeState, EndpointId, Engine, Expect, LatePayments, Mode, NewApiKey, NewCustomer,
    NewGrant, NewPayment, NewPrice, NewProduct, NewRefund, NewReplay, NewSession, NewSetup, Notice, NoticeKind,
    NotificationId, Outcome, PaymentMethodId, PriceId, RefundId, ReplayId, Result, SessionId, SetupId,
};

use crate::file::sql;
use crate::kit::{
    SEAL_KEY, challenged, clean, declined, disabled, euro, locked, setup_challenged, with_consumers, with_sandbox,
};

pub const FILE: &str = "shop.db";
const SLUG: &str = "lixblogs";
const OTHER_KEY: [u8; 32] = [43; 32];

/// How long after the file was made a verb is called: a grant of a day has ended, its key may be
/// forgotten, a session of half an hour is overdue, a lost answer may be looked up.
const LATER: Duration = Duration::from_secs(25 * 3_600);

/// How the file is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// Whole, with no log beside it.
    AtRest,
    /// With a log that a process left when it died, and something in it that is nowhere else.
    AfterACrash,
    /// With a log so long that the next commit works it into the file.
    LongLog,
}

/// What outlives an engine.
pub struct World {
    pub disk: Disk,
    pub clock: ManualClock,
    pub till: FakeProcessor,
    pub receiver: FakeReceiver,
}

impl World {
    pub fn new(disk: Disk) -> World {
        let clock = ManualClock::new();
        World {
            disk,
            till: FakeProcessor::new().clock(clock.clone()),
            receiver: FakeReceiver::new(),
            clock,
        }
    }

    /// Another process that opens the file, with randomness of its own.
    pub fn open(&self, seed: u64) -> Result<Engine> {
        self.open_with(seed, false)
    }

    /// The same with a key that seals anew, or with another one, which opens no secret of the file.
    pub fn open_with(&self, seed: u64, other_key: bool) -> Result<Engine> {
        let processors = Engine::builder().test_processor("till", self.till.clone());
        with_consumers(with_sandbox(processors))
            .clock(self.clock.clone())
            .entropy(SeededEntropy::new(seed))
            .transport(self.receiver.clone())
            .seal_key(if other_key { OTHER_KEY } else { SEAL_KEY })
            .keep_idempotency_keys(Duration::from_secs(24 * 3_600))
            .virtual_waiting()
            .open_on(&self.disk, FILE)
    }

    /// No session was charged twice.
    pub fn charged_once(&self, case: &str) {
        let mut payers = BTreeSet::new();
        for taken in self.till.charges() {
            assert!(payers.insert(taken.session.clone()), "{case}: {taken:?}");
        }
    }
}

/// An engine that verbs are called on.
pub struct Host<'t> {
    pub engine: Engine,
    pub app: App,
    pub known: &'t Known,
}

/// What the verbs are called with.
pub struct Known {
    /// An open session.
    pub open: SessionId,
    /// A session that was paid, with an answer that was lost.
    pub lost: SessionId,
    /// A session that was paid, of which a part went back.
    pub paid: SessionId,
    pub refund: RefundId,
    /// A payment method that was saved.
    pub method: PaymentMethodId,
    /// A setup whose buyer must do something.
    pub setup: SetupId,
    /// A session for which an amount is held.
    pub held: SessionId,
    /// A session whose buyer must do something.
    pub acting: SessionId,
    /// A session whose buyer is asked by the sandbox.
    pub challenged: SessionId,
    /// A setup whose buyer is asked by the sandbox.
    pub setup_challenged: SetupId,
    pub dispute: DisputeId,
    /// A notice that was stored.
    pub notified: NotificationId,
    /// What the service posts and was not received yet.
    pub posted: Posted,
    /// What was asked for the session whose answer was lost.
    pub unanswered: AttemptId,
    /// What was taken over another amount than asked.
    pub mismatched: AttemptId,
    /// A charge whose money came too late and is held.
    pub late: ChargeId,
    /// A call that is on its way, for another session.
    pub ask: Ask,
    /// A delivery that is on its way; more are due.
    pub delivery: ClaimedDelivery,
    /// The same delivery.
    pub sent: Delivery,
    /// A replay that was begun.
    pub replay: ReplayId,
    pub price: PriceId,
    pub customer: CustomerId,
    pub endpoint: EndpointId,
    /// An endpoint that was switched off.
    pub disabled: EndpointId,
    /// A key in force.
    pub key: NewApiKey,
    /// A key that is not added yet.
    pub drawn: NewApiKey,
}

/// A file to begin from, again and again.
pub struct Template {
    disk: Disk,
    booked: Vec<Taken>,
    notices: Vec<Notice>,
    pub known: Known,
}

impl Template {
    /// The file in one of its states, made once.
    pub fn of(start: Start) -> Arc<Template> {
        static MADE: OnceLock<Mutex<BTreeMap<Start, Arc<Template>>>> = OnceLock::new();
        let mut made = locked(MADE.get_or_init(Mutex::default));
        Arc::clone(made.entry(start).or_insert_with(|| Arc::new(Template::new(start))))
    }

    /// A world with a copy of the file.
    pub fn world(&self) -> World {
        let world = World::new(self.disk.copy(1));
        world.clock.turn(LATER);
        world.till.add_charges(self.booked.iter().cloned());
        for notice in &self.notices {
            world.till.post([notice.clone()]);
        }
        world
    }

    pub fn host(&self, engine: Engine) -> Host<'_> {
        let app = engine.find_app(SLUG, Mode::Test).unwrap();
        Host {
            engine,
            app,
            known: &self.known,
        }
    }

    fn new(start: Start) -> Template {
        let world = World::new(Disk::new(0));
        let engine = world.open(0).unwrap();
        let app = engine.app(SLUG, Mode::Test).unwrap();
        let member = NewPrice::new("member", euro(199_00)).lasting(tillite::Interval::MONTH);
        let product = NewProduct::new("member", "Membership").rank(1).price(member);
        app.catalog().set(product).unwrap();
        let price = app.catalog().set_price(NewPrice::new("gold", euro(9_00))).unwrap().id;
        let customer = app.customers().set(NewCustomer::uid("u_1")).unwrap().id;
        let grant = NewGrant::tier("u_1", "member").days(1).idempotency_key("old");
        app.entitlements().grant(grant).unwrap();
        let sessions = app.sessions();
        let new = |uid: &str| NewSession::tier("member", Currency::EUR).customer(uid);
        let overdue = new("u_2").expires_after(Duration::from_secs(30 * 60));
        sessions.create(overdue).unwrap();
        let lost = sessions.create(new("u_3").expires_after(LATER * 2)).unwrap().id;
        world.till.tell(Told::TakeAndLose);
        sessions.pay(&lost, "tok_1").unwrap();
        let (paid, method) = paid_and_saved(&app, new("u_5"));
        let unanswered = attempt_of(&app, &lost);
        let other = sessions.create(new("u_more")).unwrap().id;
        late_charge(&engine, &app, &other, euro(200_00));
        let mismatched = attempt_of(&app, &other);
        let late = late_charge(&engine, &app, &sessions.create(new("u_late")).unwrap().id, euro(199_00));
        let part = NewRefund::session(&paid).amount(euro(5_00));
        let refund = app.refunds().create(part).unwrap().id;
        let told = disputed(&world, &engine, &app, &paid);
        let dispute = app.disputes().list(1, None).unwrap().data.remove(0).id;
        world.clock.turn(LATER);

        // Late, so that the file holds bodies enough to deliver and not more: each is looked at often.
        let endpoint = NewEndpoint::new("https://shop.example/hooks", Format::Standard);
        let endpoint = app.endpoints().add(endpoint).unwrap().endpoint.id;
        let disabled = disabled(&app);
        let key = app.keys().create().unwrap();
        let drawn = app.keys().draw().unwrap();
        let held = sessions.create(new("u_6").capture_later()).unwrap().id;
        sessions.pay(&held, "tok_1").unwrap();
        let acting = sessions.create(new("u_7")).unwrap().id;
        world.till.tell(Told::AskBuyer);
        sessions.pay(&acting, "tok_1").unwrap();
        let challenged = challenged(&app).id;
        let setup_challenged = app.setups().create(setup_challenged(&customer)).unwrap().id;
        world.till.tell(Told::AskBuyer);
        let setup = app.setups().create(NewSetup::new(&customer, Currency::EUR)).unwrap().id;
        let open = sessions.create(new("u_1")).unwrap().id;
        let flying = sessions.create(new("u_4")).unwrap().id;
        let Begun::Ask(ask) = sessions.begin_payment(&flying, "tok_1").unwrap() else {
            panic!("nothing to ask");
        };
        let changed = |id: &str| Notice::new(id, NoticeKind::Changed).attempt(&ask.request.attempt);
        let notices = ["n_1", "n_2"].map(changed);
        let [first, posted] = notices.clone().map(|notice| world.till.post([notice]));
        app.notifications()
            .receive("till", &first.headers(), &first.body)
            .unwrap();
        let notified = app.notifications().list(1, None).unwrap().data.remove(0).id;
        run_consumers(&engine);
        let delivery = engine.claim_deliveries(1).unwrap().remove(0);
        let sent = app.deliveries().get(&delivery.id).unwrap();
        let replay = begun_replay(&app, &endpoint);
        clean(&engine);
        drop(app);
        engine.close().unwrap();
        leave(&world, start);
        let has_log = world.disk.files().contains(&format!("{FILE}-wal"));
        assert_eq!(has_log, start != Start::AtRest);
        let mut booked = world.till.charges();
        booked.extend(world.till.refunds());
        Template {
            disk: world.disk,
            booked,
            notices: [told].into_iter().chain(notices).collect(),
            known: Known {
                open,
                lost,
                paid,
                refund,
                method,
                setup,
                held,
                acting,
                challenged,
                setup_challenged,
                dispute,
                late,
                mismatched,
                notified,
                posted,
                unanswered,
                ask: *ask,
                delivery,
                sent,
                replay,
                price,
                customer,
                endpoint,
                disabled,
                key,
                drawn,
            },
        }
    }
}

/// They have their turns: one takes some of what there is, the other comes to what it never takes.
fn run_consumers(engine: &Engine) {
    for items in [20, 3] {
        engine.run_due(Budget::items(items).work(Work::CONSUMERS)).unwrap();
    }
}

/// A session that is paid, and the payment method that was saved with it.
fn paid_and_saved(app: &App, new: NewSession) -> (SessionId, PaymentMethodId) {
    let paid = app.sessions().create(new).unwrap().id;
    let payment = NewPayment::with("tok_1").save_method(true);
    let payment = app.sessions().pay(&paid, payment).unwrap();
    assert!(payment.is_complete());
    let payer = payment.session.customer.unwrap().id;
    let methods = app.customers().payment_methods(&payer, 1, None).unwrap();
    (paid, methods.data[0].id.clone())
}

/// A replay of the newest events to an endpoint.
fn begun_replay(app: &App, endpoint: &EndpointId) -> ReplayId {
    let head = app.journal_head().unwrap().position;
    let replay = NewReplay::to(endpoint).after(head - 3);
    app.deliveries().replay_range(replay).unwrap().id
}

/// Has the service tell of a dispute about what a session was paid with, and that written down.
fn disputed(world: &World, engine: &Engine, app: &App, paid: &SessionId) -> Notice {
    let kind = NoticeKind::Dispute {
        reference: "dp_1".to_owned(),
        state: DisputeState::Open,
        amount: euro(199_00),
        reason: None,
    };
    let mut requests = world.till.requests().into_iter();
    let paying = requests.find(|request| request.session == paid.as_str()).unwrap();
    let told = Notice::new("n_0", kind).attempt(paying.attempt);
    let posted = world.till.post([told.clone()]);
    let notifications = app.notifications();
    notifications.receive("till", &posted.headers(), &posted.body).unwrap();
    engine.run_due(Budget::items(1).work(Work::PAYMENTS)).unwrap();
    told
}

fn first_charge(app: &App, session: &SessionId) -> Charge {
    let session = app.sessions().get(session).unwrap();
    session.payment_intent.unwrap().charges.remove(0)
}

/// What was asked for a session first.
fn attempt_of(app: &App, session: &SessionId) -> AttemptId {
    let charge = first_charge(app, session);
    app.attempts_about(charge.id.as_str(), 1, None)
        .unwrap()
        .data
        .remove(0)
        .id
}

/// A charge that failed and took the money after all, which is held.
fn late_charge(engine: &Engine, app: &App, session: &SessionId, taken: Amount) -> ChargeId {
    let Begun::Ask(ask) = app.sessions().begin_payment(session, "tok_1").unwrap() else {
        panic!("nothing to ask");
    };
    app.set_late_payments(LatePayments::Hold).unwrap();
    let taken = Outcome::succeeded("till_9", taken);
    for outcome in [declined("no", "No."), taken] {
        engine.settle(&ask, &Answer::Executed(outcome)).unwrap();
    }
    app.set_late_payments(LatePayments::Refund).unwrap();
    let charge = first_charge(app, session);
    assert!(charge.hold.is_some());
    charge.id
}

/// Leaves a file that is whole as it is to be found.
fn leave(world: &World, start: Start) {
    match start {
        Start::AtRest => return,
        Start::AfterACrash => {
            let engine = world.open(8).unwrap();
            let app = engine.find_app(SLUG, Mode::Test).unwrap();
            app.customers().set(NewCustomer::uid("u_last")).unwrap();
            world.disk.power_off();
        }
        Start::LongLog => {
            let neighbour = world.disk.open(FILE).unwrap();
            sql(&neighbour, "PRAGMA wal_autocheckpoint = 0");
            sql(&neighbour, "CREATE TABLE neighbour (count INTEGER)");
            sql(&neighbour, "INSERT INTO neighbour VALUES (0)");
            // Past the thousand pages at which a commit works the log into the file.
            for _ in 0..1_000 {
                sql(&neighbour, "UPDATE neighbour SET count = count + 1");
            }
            world.disk.power_off();
        }
    }
    world.disk.reboot(Survive::Everything);
}

/// The shape of a dump or an answer: the same text without what is drawn anew each time. Ids keep
/// their kind, bytes their length, and rows stand in the order of what is left.
pub fn shape(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(line_shape).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn line_shape(mut line: &str) -> String {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut shape = String::with_capacity(line.len());
    while !line.is_empty() {
        let word = line.bytes().position(|byte| !is_part(byte)).unwrap_or(line.len());
        push_shape(&mut shape, &line[..word]);
        line = &line[word..];
        let between = line.bytes().position(is_part).unwrap_or(line.len());
        shape += &line[..between];
        line = &line[between..];
    }
    shape
}

fn push_shape(shape: &mut String, word: &str) {
    // The body of an id has thirty characters; numbers that fence claims have fifteen and more, and
    // as many as it happens.
    let (kind, body) = word.rsplit_once('_').unwrap_or(("", word));
    if word.len() < 15 {
        *shape += word;
    } else if body.len() == 30 {
        *shape += kind;
    } else if word.bytes().all(|byte| byte.is_ascii_digit()) {
        shape.push('#');
    } else if word.len() >= 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        shape.push('#');
        *shape += &word.len().to_string();
    } else {
        *shape += word;
    }
}

/// Every invariant of the file holds.
pub fn is_clean(engine: &Engine, case: &str) {
    let report = engine
        .verify(&Expect::nothing())
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    assert!(report.is_clean(), "{case}: {:#?}", report.failed);
}
