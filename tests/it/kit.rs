//! What the tests share: the kit that hosts have too, and a shop made of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tillite::webhook::{self, Format, NewEndpoint};
use tillite::{
    Amount, App, Builder, Currency, Engine, Event, HostTx, Lookup, Mode, NewPrice, NewProduct, Outcome, Request,
    Secret, SignedRequest, Timestamp, sandbox,
};

pub use tillite::testing::{FakeProcessor as Till, FakeReceiver as Receiver, ManualClock, SeededEntropy, Told};

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of a header of a signed request, by lower-case name.
pub fn header<'r>(request: &'r SignedRequest, name: &str) -> Option<&'r str> {
    let found = request
        .headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// Checks a request as its receiver would.
pub fn verified(format: Format, secret: &Secret, request: &SignedRequest, now: Timestamp) -> bool {
    webhook::verify(format, secret, |name| header(request, name), &request.body, now).is_ok()
}

pub const SEAL_KEY: [u8; 32] = [42; 32];

/// An engine in memory with everything the tests turn.
pub struct Shop {
    pub engine: Engine,
    pub app: App,
    pub clock: ManualClock,
    pub till: Till,
    pub receiver: Receiver,
}

pub fn builder(clock: &ManualClock, till: &Till, receiver: &Receiver) -> Builder {
    Engine::builder()
        .clock(clock.clone())
        .entropy(SeededEntropy::new(1))
        .test_processor("till", till.clone())
        .processor("till", till.clone())
        .transport(receiver.clone())
        .seal_key(SEAL_KEY)
}

/// What is paid at the sandbox, where there is another processor beside it.
const AT_THE_SANDBOX: i64 = 3_20;

/// The currency for which a method is saved at the sandbox.
pub const AT_THE_SANDBOX_IN: Currency = Currency::GBP;

/// With a consumer that takes every event, and one that never takes the third.
pub fn with_consumers(builder: Builder) -> Builder {
    let note = |tx: &mut HostTx<'_>, event: &Event| {
        tx.execute("CREATE TABLE IF NOT EXISTS notes (mode TEXT, position INTEGER)", &[])?;
        let mode = tx.mode().as_str();
        tx.execute(
            "INSERT INTO notes VALUES ($1, $2)",
            &[mode.into(), event.position.into()],
        )?;
        Ok(())
    };
    builder
        .consumer("notes", note)
        .consumer("stops", |_: &mut HostTx<'_>, event: &Event| match event.position {
            3 => Err("it never takes the third".into()),
            _ => Ok(()),
        })
}

/// With the sandbox beside the other processors, for one amount and one currency.
pub fn with_sandbox(builder: Builder) -> Builder {
    builder.test_processor(sandbox::NAME, sandbox::Sandbox).route(|paid| {
        match (paid.amount.as_minor(), paid.amount.currency()) {
            (AT_THE_SANDBOX, _) | (_, AT_THE_SANDBOX_IN) => sandbox::NAME.to_owned(),
            _ => "till".to_owned(),
        }
    })
}

/// A session whose buyer is asked for 3-D Secure by the sandbox.
pub fn challenged(app: &App) -> tillite::Session {
    let line = tillite::NewLine::inline("A map", euro(AT_THE_SANDBOX));
    let session = app.sessions().create(tillite::NewSession::empty().line(line)).unwrap();
    app.sessions()
        .pay(&session.id, sandbox::card::CHALLENGE)
        .unwrap()
        .session
}

/// A setup whose buyer is asked for 3-D Secure by the sandbox.
pub fn setup_challenged(customer: &tillite::CustomerId) -> tillite::NewSetup {
    tillite::NewSetup::new(customer, AT_THE_SANDBOX_IN).method(sandbox::card::CHALLENGE)
}

/// An endpoint that was switched off.
pub fn disabled(app: &App) -> tillite::EndpointId {
    let new = NewEndpoint::new("https://shop.example/off", Format::XPay);
    let id = app.endpoints().add(new).unwrap().endpoint.id;
    app.endpoints().disable(&id).unwrap();
    id
}

impl Shop {
    pub fn open() -> Shop {
        Shop::open_in(Mode::Test)
    }

    pub fn open_in(mode: Mode) -> Shop {
        let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
        let engine = builder(&clock, &till, &receiver).open_in_memory().unwrap();
        Shop::with(engine, mode, clock, till, receiver)
    }

    /// A shop in test mode, and the alarms that it raises.
    pub fn heard() -> (Shop, Arc<Mutex<Vec<tillite::Alarm>>>) {
        let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&heard);
        let engine = builder(&clock, &till, &receiver)
            .on_alarm(move |alarm| locked(&telling).push(alarm.clone()))
            .open_in_memory()
            .unwrap();
        (Shop::with(engine, Mode::Test, clock, till, receiver), heard)
    }

    pub fn with(engine: Engine, mode: Mode, clock: ManualClock, till: Till, receiver: Receiver) -> Shop {
        let app = engine.app("lixblogs", mode).unwrap();
        app.catalog()
            .set(
                NewProduct::new("member", "Membership")
                    .rank(1)
                    .price(NewPrice::new("member", euro(199_00)).lasting(tillite::Interval::MONTH)),
            )
            .unwrap();
        Shop {
            engine,
            app,
            clock,
            till,
            receiver,
        }
    }

    /// An endpoint that wants everything, and its secret.
    pub fn endpoint(&self, format: Format) -> Secret {
        let url = format!("https://shop.example/hooks/{}", format.as_str());
        self.app.endpoints().add(NewEndpoint::new(url, format)).unwrap().secret
    }

    pub fn clean(&self) {
        clean(&self.engine);
    }
}

/// Every invariant holds.
pub fn clean(engine: &Engine) {
    let report = engine.verify(&tillite::Expect::nothing()).unwrap();
    assert!(report.is_clean(), "{:#?}", report.failed);
}

pub fn euro(minor: i64) -> Amount {
    Amount::minor(minor, Currency::EUR).unwrap()
}

pub fn declined(code: &str, message: &str) -> Outcome {
    Outcome::Declined {
        code: code.to_owned(),
        message: message.to_owned(),
        advice: None,
    }
}

pub fn unknown() -> Outcome {
    Outcome::Unknown {
        why: "no answer".to_owned(),
    }
}

pub fn not_sent() -> Outcome {
    Outcome::NotSent {
        why: "no route to host".to_owned(),
    }
}

pub fn pending(reference: &str) -> Outcome {
    Outcome::Pending {
        reference: reference.to_owned(),
    }
}

pub fn cannot_tell() -> Lookup {
    Lookup::CannotTell { why: "403".to_owned() }
}

/// What the tests of sessions and payments do again and again.
impl Shop {
    /// An open session for a month of membership, 199.00 EUR.
    pub fn session(&self, uid: &str) -> tillite::Session {
        let new = tillite::NewSession::tier("member", Currency::EUR).customer(uid);
        self.app.sessions().create(new).unwrap()
    }

    /// The session as it reads now.
    pub fn read(&self, session: &tillite::Session) -> tillite::Session {
        self.app.sessions().get(&session.id).unwrap()
    }

    pub fn pay(&self, session: &tillite::Session) -> tillite::Result<tillite::Payment> {
        self.app.sessions().pay(&session.id, "tok_1")
    }

    /// Does what is due.
    pub fn run(&self) -> tillite::Ran {
        self.engine.run_due(tillite::Budget::items(100)).unwrap()
    }

    /// The kinds of all events about an object, oldest first.
    pub fn kinds(&self, object: impl std::fmt::Display) -> Vec<String> {
        let history = self.app.history(&object.to_string(), 100, 0).unwrap();
        assert!(!history.has_more);
        history.data.into_iter().map(|event| event.kind).collect()
    }
}

/// Appends a charge to a ledger in a file, on disk before this returns. Several processes may
/// share the file. It does not recognise repetitions: a second charge shows as a second line.
pub fn take_money(ledger: &std::path::Path, request: &Request) -> Outcome {
    use std::io::Write as _;
    let mut file = std::fs::File::options().append(true).create(true).open(ledger).unwrap();
    let line = format!("{} {} {}\n", request.session, request.idempotency_key, request.amount);
    file.write_all(line.as_bytes()).unwrap();
    file.sync_data().unwrap();
    Outcome::succeeded(&request.idempotency_key, request.money().unwrap())
}

/// What was charged by such a ledger: session and idempotency key of each charge.
pub fn money_taken(ledger: &std::path::Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(ledger).unwrap_or_default();
    text.lines()
        .map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect()
}

/// This test program once more, running one test as another process with these variables.
pub fn another_process(test: &str, variables: &[(&str, String)]) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("TILLITE_CHILD", test)
        .envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

/// Whether this process was started by [`another_process`] to run this test.
pub fn is_another_process(test: &str) -> bool {
    std::env::var("TILLITE_CHILD").is_ok_and(|named| named == test)
}

/// The verbs that stand in the sources, each with its documentation as one text.
pub fn documented() -> BTreeMap<String, String> {
    // What only carries values into a verb or out of it.
    const VALUES: &[&str] = &[
        "Budget",
        "Builder",
        "EventFilter",
        "Expect",
        "NewPayment",
        "Payment",
        "Ran",
        "Settled",
        "Work",
    ];
    let mut found = BTreeMap::new();
    let mut paths = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine")];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        let (mut handle, mut doc) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("impl ") {
                rest.split(['<', ' ']).next().unwrap().clone_into(&mut handle);
            }
            let inside = line.trim_start();
            if let Some(said) = inside.strip_prefix("///") {
                doc += said;
                continue;
            }
            if inside.starts_with("#[") {
                continue;
            }
            let verb = inside
                .strip_prefix("pub fn ")
                .or_else(|| inside.strip_prefix("pub const fn "));
            let verb = verb.filter(|_| !VALUES.contains(&handle.as_str()));
            // Without a handle to work on it is a constructor.
            if let Some((name, _)) = verb
                .filter(|rest| rest.contains("self") || rest.ends_with('('))
                .and_then(|rest| rest.split_once(['(', '<']))
            {
                found.insert(format!("{handle}::{name}"), std::mem::take(&mut doc));
            }
            doc.clear();
        }
    }
    found
}
