//! Hosts that are built with `panic = "abort"`: a hook that panics ends the process on the spot, and
//! the next process finds out what became of what was in flight. Nobody is charged twice.
//!
//! The hosts here are other processes of this test program whose panic hook aborts. That is what
//! `panic = "abort"` comes to for the code under test: the process ends at the panic, before anything
//! unwinds, is dropped or is caught.

use std::cell::Cell;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    Alarm, Answered, App, Budget, Capabilities, ChargeState, Clock, Currency, DeliveryFilter, DeliveryState, Engine,
    Hold, Lookup, LookupKey, Mode, NewPayment, NewPrice, NewProduct, NewSession, Outcome, Processor, Request, Session,
    SessionState, SignedRequest, Timestamp, TransportOutcome,
};

use crate::kit::{
    ManualClock, SEAL_KEY, another_process, clean, euro, is_another_process, locked, money_taken, take_money,
};

const HOST: &str = "abort::a_host_that_aborts";
const SIGABRT: i32 = 6;

/// Past the lease of any call, and past the time after which a payment that is not found never
/// arrived.
const LATER: Duration = Duration::from_secs(3_600);

/// Where the host panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Nowhere,
    /// In the processor, before it has taken the money.
    BeforeCharge,
    /// In the processor, when it has taken the money.
    AfterCharge,
    /// In a look-up.
    LookUp,
    Capabilities,
    Transport,
    /// In the callback for alarms, told of money that is held.
    Alarm,
    /// In the n-th reading of the clock of a sale.
    Clock(u32),
}

impl At {
    fn word(self) -> String {
        format!("{self:?}")
    }

    fn parse(word: &str) -> At {
        let plain = [
            At::Nowhere,
            At::BeforeCharge,
            At::AfterCharge,
            At::LookUp,
            At::Capabilities,
            At::Transport,
            At::Alarm,
        ];
        let clock = word.strip_prefix("Clock(").and_then(|rest| rest.strip_suffix(')'));
        match clock {
            Some(reading) => At::Clock(reading.parse().unwrap()),
            None => plain.into_iter().find(|at| at.word() == word).unwrap(),
        }
    }
}

thread_local! {
    /// How many readings of the clock are left until it panics; none: it does not.
    static READINGS: Cell<Option<u32>> = const { Cell::new(None) };
}

struct Breaking(ManualClock);

impl Clock for Breaking {
    fn now(&self) -> Timestamp {
        if let Some(left) = READINGS.get() {
            assert!(left > 1, "the clock panics");
            READINGS.set(Some(left - 1));
        }
        self.0.now()
    }
}

/// Takes money into a file.
struct Till {
    ledger: PathBuf,
    at: At,
}

impl Processor for Till {
    fn capabilities(&self) -> Capabilities {
        assert!(self.at != At::Capabilities, "capabilities panics");
        Capabilities::new()
            .lookup()
            .not_found_final_after(Duration::from_secs(60))
    }

    fn execute(&self, request: &Request, _deadline: Timestamp) -> Outcome {
        assert!(self.at != At::BeforeCharge, "the processor panics");
        let outcome = take_money(&self.ledger, request);
        assert!(self.at != At::AfterCharge, "the processor panics");
        match self.at {
            At::LookUp => Outcome::Unknown { why: "lost".to_owned() },
            // Another amount than asked.
            At::Alarm => Outcome::succeeded("p_1", euro(1)),
            _ => outcome,
        }
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        assert!(self.at != At::LookUp, "the look-up panics");
        let wanted = &key.request.idempotency_key;
        if money_taken(&self.ledger).iter().any(|(_, key)| key == wanted) {
            return Lookup::Found(Outcome::succeeded(wanted, key.request.money().unwrap()));
        }
        Lookup::NotFound
    }
}

fn open(dir: &Path, clock: ManualClock, at: At, alarms: Option<std::sync::mpsc::Sender<Alarm>>) -> Engine {
    let send = move |_: &SignedRequest| {
        assert!(at != At::Transport, "the transport panics");
        TransportOutcome::Answered(Answered::status(204))
    };
    let alarms = std::sync::Mutex::new(alarms);
    let ledger = dir.join("ledger");
    let till = Till { ledger, at };
    Engine::builder()
        .clock(Breaking(clock))
        .test_processor("till", till)
        .transport(send)
        .seal_key(SEAL_KEY)
        .on_alarm(move |alarm| {
            assert!(at != At::Alarm, "the callback panics");
            if let Some(alarms) = &*locked(&alarms) {
                alarms.send(alarm.clone()).unwrap();
            }
        })
        .open(dir.join("shop.db"))
        .unwrap()
}

fn order(app: &App) -> tillite::Result<Session> {
    let new = NewSession::tier("member", Currency::EUR).customer("u_1");
    app.sessions().create(new.idempotency_key("order-1"))
}

/// Pays as a host does that heard no answer: the same order, the same key.
fn pay(app: &App, session: &Session) -> tillite::Result<tillite::Payment> {
    let payment = NewPayment::with("tok_1").idempotency_key("payment-1");
    app.sessions().pay(&session.id, payment)
}

/// Sells, and does what is due.
#[test]
fn a_host_that_aborts() {
    if !is_another_process(HOST) {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::abort();
    }));
    let variable = |name: &str| std::env::var(name).unwrap();
    let at = At::parse(&variable("TILLITE_AT"));
    let clock = ManualClock::new();
    clock.turn(Duration::from_secs(variable("TILLITE_SECONDS").parse().unwrap()));
    let engine = open(Path::new(&variable("TILLITE_DIR")), clock, at, None);
    let app = engine.app("lixblogs", Mode::Test).unwrap();
    if let At::Clock(reading) = at {
        READINGS.set(Some(reading));
    }
    let session = order(&app).unwrap();
    // While another attempt is in flight there is nothing to do but to wait.
    let _ = pay(&app, &session);
    engine.run_due(Budget::items(10)).unwrap();
}

/// The one session and the state of its newest charge.
fn standing(engine: &Engine) -> (Session, Option<ChargeState>) {
    let app = engine.find_app("lixblogs", Mode::Test).unwrap();
    let mut found = app.sessions().list(10, None).unwrap().data;
    assert_eq!(found.len(), 1);
    let session = found.remove(0);
    let intent = session.payment_intent.as_ref();
    let state = intent
        .and_then(|intent| intent.charges.last())
        .map(|charge| charge.state);
    (session, state)
}

/// A shop that a host of its own sells from.
struct Shop {
    dir: tempfile::TempDir,
    clock: ManualClock,
    seconds: u64,
}

impl Shop {
    fn new() -> Shop {
        let shop = Shop {
            dir: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(),
            seconds: 0,
        };
        let engine = shop.open();
        let app = engine.app("lixblogs", Mode::Test).unwrap();
        let member = NewProduct::new("member", "Membership").price(NewPrice::new("member", euro(199_00)));
        app.catalog().set(member).unwrap();
        let endpoint = NewEndpoint::new("https://shop.example/hook", Format::Standard);
        app.endpoints()
            .add(endpoint.events(["checkout.session.completed"]))
            .unwrap();
        shop
    }

    fn open(&self) -> Engine {
        open(self.dir.path(), self.clock.clone(), At::Nowhere, None)
    }

    fn later(&mut self) {
        self.clock.turn(LATER);
        self.seconds += LATER.as_secs();
    }

    /// Lets a host sell; whether it lived through it.
    fn host(&self, at: At) -> bool {
        let variables = [
            ("TILLITE_DIR", self.dir.path().display().to_string()),
            ("TILLITE_AT", at.word()),
            ("TILLITE_SECONDS", self.seconds.to_string()),
        ];
        let mut host = another_process(HOST, &variables);
        let output = host.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let aborted = output.status.signal() == Some(SIGABRT);
        assert!(aborted || output.status.success(), "{at:?}: {} {said}", output.status);
        assert!(!aborted || said.contains("panics"), "{at:?}: {said}");
        !aborted
    }

    fn taken(&self) -> usize {
        money_taken(&self.dir.path().join("ledger")).len()
    }

    /// Everything comes to its end, whatever happened before: sold once, paid once, told of.
    fn ends_well(&mut self, what: At) {
        for _ in 0..4 {
            self.later();
            self.open().run_due(Budget::items(100)).unwrap();
        }
        let engine = self.open();
        let app = engine.app("lixblogs", Mode::Test).unwrap();
        let session = order(&app).unwrap();
        if !session.is_complete() {
            // Its one attempt has failed for certain, so that the buyer tries again.
            assert_eq!(self.taken(), 0, "{what:?}");
            assert!(
                app.sessions().pay(&session.id, "tok_2").unwrap().is_complete(),
                "{what:?}"
            );
        }
        engine.run_due(Budget::items(100)).unwrap();
        let (session, charge) = standing(&engine);
        assert_eq!(
            (session.state, charge, self.taken()),
            (SessionState::Complete, Some(ChargeState::Succeeded), 1),
            "{what:?}"
        );
        assert!(app.entitlements().get("u_1").unwrap().active);
        let deliveries = app.deliveries().list(&DeliveryFilter::all(), 10, None).unwrap().data;
        assert_eq!(deliveries.len(), 1);
        assert_eq!(deliveries[0].state, DeliveryState::Delivered, "{what:?}");
        clean(&engine);
    }
}

#[test]
fn a_processor_that_takes_the_process_down_leaves_an_unknown_charge_that_is_looked_up() {
    for (at, taken) in [(At::BeforeCharge, 0), (At::AfterCharge, 1)] {
        let mut shop = Shop::new();
        assert!(!shop.host(at), "{at:?}");
        assert_eq!(shop.taken(), taken, "{at:?}");
        assert_eq!(standing(&shop.open()).1, Some(ChargeState::Initiated), "{at:?}");
        // The host comes back at once and asks again: it may still be on its way.
        assert!(shop.host(At::Nowhere));
        assert_eq!(shop.taken(), taken, "{at:?}");
        shop.later();
        let engine = shop.open();
        assert_eq!(standing(&engine).1, Some(ChargeState::Unknown), "{at:?}");
        drop(engine);
        assert_eq!(shop.taken(), taken, "{at:?}");
        shop.ends_well(at);
    }
}

#[test]
fn a_look_up_that_takes_the_process_down_is_made_again_by_the_next() {
    let mut shop = Shop::new();
    for _ in 0..3 {
        assert!(!shop.host(At::LookUp));
        assert_eq!(
            (shop.taken(), standing(&shop.open()).1),
            (1, Some(ChargeState::Unknown))
        );
        shop.later();
    }
    shop.ends_well(At::LookUp);
}

#[test]
fn a_processor_that_cannot_even_say_what_it_can_takes_no_money() {
    let mut shop = Shop::new();
    assert!(!shop.host(At::Capabilities));
    assert_eq!((shop.taken(), standing(&shop.open()).1), (0, None));
    shop.ends_well(At::Capabilities);
}

#[test]
fn a_transport_that_takes_the_process_down_does_so_five_times_at_most() {
    let mut shop = Shop::new();
    assert!(!shop.host(At::Transport));
    assert_eq!(standing(&shop.open()).0.state, SessionState::Complete);
    shop.ends_well(At::Transport);

    let mut shop = Shop::new();
    for _ in 0..5 {
        assert!(!shop.host(At::Transport));
        shop.later();
    }
    let (told, alarms) = std::sync::mpsc::channel();
    let engine = open(shop.dir.path(), shop.clock.clone(), At::Transport, Some(told));
    assert_eq!(engine.run_due(Budget::items(100)).unwrap().total(), 0);
    let told: Vec<Alarm> = alarms.try_iter().collect();
    assert!(matches!(told[..], [Alarm::DeliveryExhausted { .. }]), "{told:?}");
    drop(engine);
    assert!(shop.host(At::Transport), "it is sent no more");
    let engine = shop.open();
    let app = engine.find_app("lixblogs", Mode::Test).unwrap();
    let delivery = app
        .deliveries()
        .list(&DeliveryFilter::all(), 10, None)
        .unwrap()
        .data
        .remove(0);
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Exhausted, 5));
    assert_eq!(shop.taken(), 1);
    clean(&engine);
}

#[test]
fn a_callback_that_takes_the_process_down_does_so_when_what_it_was_told_is_on_disk() {
    let mut shop = Shop::new();
    assert!(!shop.host(At::Alarm));
    let (told, alarms) = std::sync::mpsc::channel();
    for _ in 0..3 {
        let engine = open(shop.dir.path(), shop.clock.clone(), At::Nowhere, Some(told.clone()));
        engine.run_due(Budget::items(100)).unwrap();
        let (session, charge) = standing(&engine);
        assert_eq!(
            (session.state, charge),
            (SessionState::Processing, Some(ChargeState::Unknown))
        );
        let app = engine.find_app("lixblogs", Mode::Test).unwrap();
        let held = app.held_charges(10, None).unwrap().data;
        assert_eq!((held.len(), held[0].hold), (1, Some(Hold::Mismatch)));
        assert!(pay(&app, &session).is_err(), "the money waits for a decision");
        assert_eq!(shop.taken(), 1);
        clean(&engine);
        shop.later();
    }
    // It is no news any more; health knows.
    assert_eq!(alarms.try_iter().count(), 0);
    assert_eq!(shop.open().health().unwrap().held_charges, 1);
}

#[test]
fn a_clock_that_takes_the_process_down_at_any_reading_of_a_sale_costs_nobody_twice() {
    let (mut readings, mut deaths, mut in_doubt) = (0, 0, 0);
    loop {
        readings += 1;
        let at = At::Clock(readings);
        let mut shop = Shop::new();
        let lived = shop.host(at);
        assert!(shop.taken() <= 1, "{at:?}");
        deaths += usize::from(!lived);
        let engine = shop.open();
        let app = engine.find_app("lixblogs", Mode::Test).unwrap();
        let sessions = app.sessions().list(10, None).unwrap().data;
        let live = |session: &Session| session.state == SessionState::Processing;
        in_doubt += usize::from(sessions.iter().any(live));
        clean(&engine);
        drop((app, engine));
        shop.ends_well(at);
        if lived {
            break;
        }
    }
    // Among them are deaths between the beats.
    assert!(deaths >= 5 && in_doubt >= 2, "{deaths} deaths, {in_doubt} in doubt");
}
